"""What has changed in an instance between two moments?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from duraflow.codec import Codec, canonical_json
from duraflow.instance import ArmedTimer, HistoryEntry, Instance
from duraflow.telling import told_entry, told_instance, told_time, told_value


@attrs.frozen
class InstanceDiff:
    """What has changed in an instance between two moments of its life. As a text it is a report for people.

    Attributes:
        before: the instance at the earlier moment; see `state_at` for what of it is not recorded.
        after: the instance at the later one.
        context_set: keys of the context that came, with their values.
        context_changed: keys whose value is another, with (before, after).
        context_unset: keys that went, with the values they had.
        armed: timers that came; one with another due time is here and in `disarmed`.
        disarmed: timers that went: fired, or left behind.
        entries: what was recorded after the earlier moment, up to the later one.
    """

    before: Instance
    after: Instance
    context_set: Mapping[str, Any]
    context_changed: Mapping[str, tuple[Any, Any]]
    context_unset: Mapping[str, Any]
    armed: tuple[ArmedTimer, ...]
    disarmed: tuple[ArmedTimer, ...]
    entries: tuple[HistoryEntry, ...]

    def __bool__(self) -> bool:
        """Whether anything was recorded in between."""
        return bool(self.entries)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        before, after = self.before, self.after
        yield (
            f"{told_instance(after)}: entry {before.version} ({told_time(before.updated_at)}) to entry "
            f"{after.version} ({told_time(after.updated_at)})"
        )
        if not self.entries:
            yield "nothing happened"
            return
        for name, old, new in (
            ("state", before.state, after.state),
            ("outcome", before.outcome or "open", after.outcome or "open"),
            ("definition version", before.definition_version, after.definition_version),
        ):
            if old != new:
                yield f"{name}: {old} -> {new}"
        for key, value in self.context_set.items():
            yield f"context {key!r}: set to {told_value(value)}"
        for key, (old, new) in self.context_changed.items():
            yield f"context {key!r}: {told_value(old)} -> {told_value(new)}"
        for key, value in self.context_unset.items():
            yield f"context {key!r}: unset (was {told_value(value)})"
        for timer in self.armed:
            yield f"timer {timer.event!r}: armed for {told_time(timer.due_at)}"
        for timer in self.disarmed:
            yield f"timer {timer.event!r}: disarmed (was due {told_time(timer.due_at)})"
        yield "entries:"
        for entry in self.entries:
            yield f"  {told_entry(entry)}"


def diff_of(
    before: Instance, after: Instance, entries: tuple[HistoryEntry, ...], codec: Codec
) -> InstanceDiff:
    """The differences between two snapshots of one instance.

    Values are compared as they are stored, so that 1, True and 1.0 differ.
    """

    def text(value: Any) -> str:
        return canonical_json(codec.to_plain(value, path="context"))

    old, new = before.context, after.context
    return InstanceDiff(
        before,
        after,
        context_set={key: value for key, value in new.items() if key not in old},
        context_changed={
            key: (old[key], value)
            for key, value in new.items()
            if key in old and text(old[key]) != text(value)
        },
        context_unset={key: value for key, value in old.items() if key not in new},
        armed=tuple(timer for timer in after.timers if timer not in before.timers),
        disarmed=tuple(timer for timer in before.timers if timer not in after.timers),
        entries=entries,
    )
