"""How is what happened to an instance told to people, in a line each?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from duraflow.instance import Blocker, HistoryEntry, Instance

MAX_VALUE = 80
"""How many characters of a value are shown."""


def told_value(value: Any) -> str:
    """A value as Python writes it, cut where it gets long."""
    text = repr(value)
    return text if len(text) <= MAX_VALUE else f"{text[: MAX_VALUE - 1]}…"


def told_time(at: datetime) -> str:
    """A time as people read it, with its zone."""
    return at.isoformat(" ", "seconds" if at.microsecond == 0 else "auto")


def told_span(span: timedelta) -> str:
    """How long something takes, in the two largest units: `3 days 4 h`."""
    seconds = int(span.total_seconds())
    if seconds < 1:
        return "less than a second"
    parts = []
    for size, unit in ((86_400, " days"), (3_600, " h"), (60, " min"), (1, " s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit if count > 1 or unit != ' days' else ' day'}")
    return " ".join(parts[:2])


def told_parameters(parameters: Mapping[str, Any]) -> str:
    """`limit=5, n=1`."""
    return ", ".join(f"{name}={told_value(value)}" for name, value in parameters.items())


def told_blocker(blocker: Blocker) -> str:
    """Who says no, why, and with which values."""
    text = str(blocker)
    if blocker.guard and repr(blocker.guard) not in text:
        text += f" (guard {blocker.guard!r})"
    return f"{text} [{told_parameters(blocker.parameters)}]" if blocker.parameters else text


def told_blockers(blockers: Iterable[Blocker]) -> str:
    """All of them, in the order in which they were asked."""
    return "; ".join(map(told_blocker, blockers))


def told_instance(instance: Instance) -> str:
    """Which one it is."""
    ref = f" (ref {instance.ref!r})" if instance.ref is not None else ""
    return f"instance {instance.id} of {instance.workflow!r}{ref}"


def told_entry(entry: HistoryEntry) -> str:
    """What one history entry says, without its instance."""
    where = entry.to_state if entry.from_state is None else f"{entry.from_state} -> {entry.to_state}"
    if entry.kind == "rejected":
        where = f"rejected in {entry.to_state}: {told_blockers(entry.blockers)}"
    elif entry.from_state == entry.to_state and not entry.entered:
        where = f"in {entry.to_state}"
    if entry.status == "failure":
        where += " by a failure" + "".join(
            f" of {result.name!r}: {result.message or result.code}"
            for result in entry.commands
            if result.status == "failure"
        )
    signed = ", ".join(f"{key} {told_value(value)}" for key, value in entry.trigger.items())
    return f"{entry.seq}  {told_time(entry.at)}  {entry.event}: {where}" + (f" ({signed})" if signed else "")
