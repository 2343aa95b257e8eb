"""What are observers told of a step? Read-only snapshots, one for each state entered."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from duraflow.instance import Change
from duraflow.results import Notice

if TYPE_CHECKING:
    from duraflow.machine.step import Step
    from duraflow.writes import Writes


def freeze(value: Any) -> Any:
    """The same data, read-only all the way down: mappings become read-only views of copies, lists become tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return value


def notices_of(step: Step, writes: Writes) -> list[Notice]:
    """One notice for each state that the step entered, in order."""
    found = []
    for after, index in step.snapshots or ():
        entry = writes.entries[index]
        if entry.entered or entry.kind == "cancelled":
            last = index == len(writes.entries) - 1
            snapshot = writes.after if last else after
            found.append(
                Notice(
                    attrs.evolve(
                        snapshot,
                        context=freeze(snapshot.context),
                        metadata=freeze(snapshot.metadata),
                        # Armed at the end of the step, but told with the state that they belong to, as in history.
                        timers=snapshot.timers if entry.timers is None else entry.timers,
                    ),
                    attrs.evolve(
                        entry,
                        payload=freeze(entry.payload),
                        trigger=freeze(entry.trigger),
                        change=Change(freeze(entry.change.set), entry.change.unset),
                        commands=tuple(attrs.evolve(row, data=freeze(row.data)) for row in entry.commands),
                    ),
                )
            )
    return found
