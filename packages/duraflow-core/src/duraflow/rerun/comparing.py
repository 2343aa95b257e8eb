"""Does what was found in a rerun agree with the record?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from duraflow.definition.resolve import Candidate
from duraflow.instance import HistoryEntry
from duraflow.machine.chain import AUTO
from duraflow.machine.step import Step
from duraflow.rerun.report import RerunOutcome
from duraflow.rerun.verdicts import Differs


def recorded(entry: HistoryEntry) -> RerunOutcome:
    """What an entry says that happened."""
    return RerunOutcome(entry.to_state, entry.status, entry.entered, entry.outcome, blockers=entry.blockers)


def landing_of(candidate: Candidate, state: str) -> RerunOutcome:
    """Where a transition leads if its commands succeed."""
    detail = "if its commands succeed" if candidate.commands else ""
    return RerunOutcome(candidate.target or state, "success", not candidate.internal, detail=detail)


def waiting(outcome: RerunOutcome, path: str) -> RerunOutcome:
    """The same, but that the chain waits for a worker before this transition."""
    return attrs.evolve(outcome, status="continuing", detail=path)


def state_before(entry: HistoryEntry) -> str:
    """Where the instance was; of a creation, where it was born."""
    return entry.from_state or entry.to_state


def compare(entries: Sequence[HistoryEntry], ours: Sequence[HistoryEntry]) -> None:
    """Hold what was found so far to the record.

    Raises:
        Differs: at the first entry that is another, or that the record does not have.
    """
    for theirs, mine in zip(entries, ours, strict=False):
        if _shape(theirs) != _shape(mine):
            raise Differs(theirs, recorded(theirs), recorded(mine))
    if len(ours) > len(entries):
        last = entries[-1]
        raise Differs(last, RerunOutcome(last.to_state, "resting"), recorded(ours[len(entries)]))


def compare_all(entries: Sequence[HistoryEntry], step: Step) -> None:
    """Hold a step that has been worked out to the record of it: nothing more, and nothing less.

    Raises:
        Differs: at the first entry that is another, or is missing on one side.
    """
    ours = step.entries
    compare(entries, ours)
    if len(ours) < len(entries):
        missing = entries[len(ours)]
        found = RerunOutcome(step.state.name, "continuing" if step.continuing else "resting")
        raise Differs(missing, recorded(missing), found)


def _shape(entry: HistoryEntry) -> tuple[Any, ...]:
    return (entry.kind, entry.event, entry.to_state, entry.status, entry.entered, entry.outcome)


def begins_step(entry: HistoryEntry, step: Sequence[HistoryEntry]) -> bool:
    """Whether an entry begins another step: what someone did, and not one more automatic hop after it."""
    return entry.event != AUTO or entry.attempt_id != step[0].attempt_id
