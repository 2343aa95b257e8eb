"""What does an instance's history say it must look like? Folding it from the creation gives exactly the stored row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from duraflow.definition.values import EMPTY, Outcome
from duraflow.errors import InvalidArgument
from duraflow.instance import ArmedTimer, HistoryEntry, Instance


@attrs.frozen
class Folded:
    """All of an instance that history determines."""

    state: str
    version: int
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    outcome: Outcome | None
    definition_version: int
    timers: tuple[ArmedTimer, ...]

    @classmethod
    def of(cls, instance: Instance) -> Folded:
        """The same parts of a stored row, to compare with."""
        return cls(
            instance.state,
            instance.version,
            instance.context,
            instance.metadata,
            instance.outcome,
            instance.definition_version,
            instance.timers,
        )


def fold(entries: Iterable[HistoryEntry]) -> Folded:
    """The instance after these entries, oldest first.

    Raises:
        InvalidArgument: they do not begin with the creation, or `seq` has a gap.
    """
    folded: Folded | None = None
    for entry in entries:
        expected = 1 if folded is None else folded.version + 1
        if entry.seq != expected or (entry.kind == "created") is not (folded is None):
            raise InvalidArgument(
                "history",
                f"entry {entry.seq} ({entry.kind}) stands where entry {expected} should: history has a gap",
            )
        if folded is None:
            folded = Folded(
                entry.to_state, 0, {}, entry.metadata or EMPTY, None, entry.definition_version, ()
            )
        folded = Folded(
            state=entry.to_state,
            version=entry.seq,
            context=entry.change.apply(folded.context),
            metadata=folded.metadata,
            outcome=entry.outcome,
            definition_version=entry.definition_version,
            timers=folded.timers if entry.timers is None else entry.timers,
        )
    if folded is None:
        raise InvalidArgument("history", "there are no entries to fold")
    return folded
