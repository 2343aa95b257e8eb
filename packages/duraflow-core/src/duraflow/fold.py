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
        _check_follows(entry, 0 if folded is None else folded.version)
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


def _check_follows(entry: HistoryEntry, version: int) -> None:
    if entry.seq != version + 1 or (entry.kind == "created") is not (version == 0):
        raise InvalidArgument(
            "history",
            f"entry {entry.seq} ({entry.kind}) stands where entry {version + 1} should: history has a gap",
        )


def unborn(current: Instance) -> Instance:
    """An instance before its first entry (version 0), with only what is fixed for life: where folding it begins."""
    return attrs.evolve(
        current,
        version=0,
        context={},
        metadata=EMPTY,
        outcome=None,
        finished_at=None,
        timers=(),
        lease_token=None,
        waiting_events=False,
        continuation=None,
    )


def snapshot_after(instance: Instance, entries: Iterable[HistoryEntry]) -> Instance:
    """An instance after further entries, so that a long history can be folded page by page; begin with `unborn`.

    What history does not record is empty in it: lease_token, waiting_events and continuation.

    Raises:
        InvalidArgument: they do not follow on its version, or `seq` has a gap.
    """
    version, timers = instance.version, instance.timers
    created_at, entered_at, metadata = instance.created_at, instance.entered_at, instance.metadata
    context = dict(instance.context)
    entry: HistoryEntry | None = None
    for entry in entries:
        _check_follows(entry, version)
        version = entry.seq
        if entry.kind == "created":
            created_at, metadata = entry.at, entry.metadata or EMPTY
        if entry.entered:
            entered_at = entry.at
        if entry.timers is not None:
            timers = entry.timers
        for key in entry.change.unset:
            context.pop(key, None)
        context.update(entry.change.set)
    if entry is None:
        return instance
    return attrs.evolve(
        instance,
        definition_version=entry.definition_version,
        state=entry.to_state,
        version=version,
        created_at=created_at,
        updated_at=entry.at,
        entered_at=entered_at,
        context=context,
        metadata=metadata,
        outcome=entry.outcome,
        # What is finished only an operator moves, who finishes it anew: so the last entry's time is the right one.
        finished_at=entry.at if entry.outcome is not None else None,
        timers=timers,
        lease_token=None,
        waiting_events=False,
        continuation=None,
    )
