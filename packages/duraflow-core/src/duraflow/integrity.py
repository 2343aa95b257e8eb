"""Do an instance, its history and its definition belong together? The invariants that one instance can show.

1. History is gap-free, and folding it gives exactly the stored row.
2. Every recorded move exists in the definition version recorded with it (operator entries excepted).
5. No open instance without something that will wake it.
7. A final instance never changes (operator entries excepted).

Pure: `check_invariants` raises the first breach, `doctor` lists them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from duraflow.definition.resolve import Candidate, ResolvedState
from duraflow.definition.workflow import Workflow
from duraflow.errors import DuraflowError, InvalidArgument
from duraflow.fold import Folded, fold
from duraflow.instance import HistoryEntry, Instance
from duraflow.machine.chain import AUTO

Versions = Mapping[tuple[str, int], Workflow]
"""Definitions by name and version."""


@attrs.frozen
class Breach:
    """One thing about an instance that should not be.

    Attributes:
        code: as of a `Diagnosis`.
        invariant: its number in DESIGN section 10.
        what: what is so, the instance's id not said.
    """

    code: str
    invariant: int
    what: str


def first_of_each(breaches: Iterable[Breach]) -> list[Breach]:
    """One breach of each kind: an instance is named once for it."""
    found: dict[str, Breach] = {}
    for breach in breaches:
        found.setdefault(breach.code, breach)
    return list(found.values())


UNREADABLE = (DuraflowError, ArithmeticError, LookupError, TypeError, ValueError)
"""What reading a row raises whose values the codec does not know, or which were edited by hand."""


def unreadable(error: Exception) -> Breach:
    """That a row cannot be read."""
    return Breach("unreadable_values", 1, f"{type(error).__name__}: {error}")


# --- against the history ------------------------------------------------------------------------------------


def history_breaches(
    instance: Instance, entries: Sequence[HistoryEntry], versions: Versions | None = None
) -> Iterator[Breach]:
    """Everything in which an instance and its whole history, oldest first, do not belong together (1, 2 and 7).

    Args:
        versions: entries of versions that are not among them are not held to their definition.
    """
    try:
        folded = fold(entries)
    except InvalidArgument as error:
        yield Breach("history_gap", 1, error.reason)
        return
    if any(entry.instance_id != instance.id for entry in entries):
        yield Breach("history_gap", 1, "it has an entry of another instance")
        return
    stored = Folded.of(instance)
    if folded.version != stored.version:
        yield Breach(
            "history_gap", 1, f"its version is {stored.version}, but history ends with {folded.version}"
        )
        return
    if folded != stored:
        yield Breach("row_unlike_history", 1, _difference(folded, stored))
    yield from _time_breaches(instance, entries)
    previous: HistoryEntry | None = None
    for entry in entries:
        if previous is not None:
            if entry.from_state != previous.to_state:
                yield Breach("history_gap", 1, f"entry {entry.seq} does not begin where the last one ended")
            if previous.outcome is not None and entry.kind != "forced":
                yield Breach(
                    "changed_after_end", 7, f"entry {entry.seq} ({entry.kind}) after it was finished"
                )
        workflow = (versions or {}).get((instance.workflow, entry.definition_version))
        if workflow is not None:
            problem = _unlike_definition(entry, workflow)
            if problem:
                yield Breach("unknown_move", 2, f"entry {entry.seq} ({entry.event!r}): {problem}")
        previous = entry


def _difference(folded: Folded, stored: Folded) -> str:
    """In which fields they differ; values only of those that are short by nature."""
    parts = []
    for field in attrs.fields(Folded):
        told, found = getattr(folded, field.name), getattr(stored, field.name)
        if told == found:
            continue
        if field.name in ("context", "metadata"):
            keys = sorted(key for key in {*told, *found} if told.get(key, _NONE) != found.get(key, _NONE))
            parts.append(f"{field.name} differs in {', '.join(map(repr, keys[:5]))}")
        else:
            parts.append(f"{field.name} is {found!r}, but history says {told!r}")
    return "; ".join(parts)


_NONE = object()


def _time_breaches(instance: Instance, entries: Sequence[HistoryEntry]) -> Iterator[Breach]:
    entered = None
    last = entries[0].at
    for entry in entries:
        if entry.at < last:
            yield Breach("history_gap", 1, f"time goes backwards at entry {entry.seq}")
            return
        last = entry.at
        entered = entry.at if entry.entered else entered
    # Only an operator moves what is finished, and where that leads is entered then.
    finished = None if entries[-1].outcome is None else last
    told = (entries[0].at, entered, last, finished)
    stored = (instance.created_at, instance.entered_at, instance.updated_at, instance.finished_at)
    if told != stored:
        names = ("created_at", "entered_at", "updated_at", "finished_at")
        yield Breach(
            "row_unlike_history",
            1,
            "; ".join(
                f"{name} is {found}, but history says {said}"
                for name, said, found in zip(names, told, stored, strict=True)
                if said != found
            ),
        )


# --- against the definition ---------------------------------------------------------------------------------


def _unlike_definition(entry: HistoryEntry, workflow: Workflow) -> str:
    """Why this entry cannot have been made by this definition; empty if it can."""
    target = workflow.resolved.get(entry.to_state)
    if target is None:
        return f"there is no state {entry.to_state!r}"
    if entry.entered and entry.outcome != target.outcome:
        return f"the outcome is {entry.outcome!r}, but that of {target.name!r} is {target.outcome!r}"
    unknown = {timer.event for timer in entry.timers or ()} - set(target.timers)
    if unknown:
        return f"{target.name!r} has no timer {', '.join(sorted(unknown))}"
    match entry.kind:
        case "created":
            return (
                "" if entry.to_state == workflow.initial else f"{entry.to_state!r} is not the initial state"
            )
        case "moved":
            state = workflow.resolved.get(entry.from_state or "")
            if state is None:
                return f"there is no state {entry.from_state!r}"
            if any(_explains(candidate, entry) for candidate in _candidates(state, entry.event)):
                return ""
            return f"nothing in {state.name!r} leads like this to {entry.to_state!r}"
        case "rejected":
            state = workflow.resolved.get(entry.from_state or "")
            if state is None or entry.event not in state.events:
                return f"{entry.from_state!r} does not answer it"
            if entry.to_state != entry.from_state or entry.entered or entry.change or not entry.blockers:
                return "a rejection changes nothing and says why"
    return ""


def _candidates(state: ResolvedState, event: str) -> tuple[Candidate, ...]:
    return state.automatic if event == AUTO else state.events.get(event, ())


def _explains(candidate: Candidate, entry: HistoryEntry) -> bool:
    names = tuple(ref.name for ref in candidate.commands)
    ran = tuple(result.name for result in entry.commands)
    if entry.status == "failure":
        return (
            candidate.error_target == entry.to_state
            and entry.entered
            and ran == names[: len(ran)]
            and bool(ran)
            and entry.commands[-1].status == "failure"
        )
    if ran != names:
        return False
    if candidate.target is None:
        return not entry.entered and entry.to_state == entry.from_state
    return entry.entered and candidate.target == entry.to_state


# --- what wakes it ------------------------------------------------------------------------------------------


def row_breaches(instance: Instance, versions: Versions) -> Iterator[Breach]:
    """What the row alone shows of 5 and 7. Of a version that is not known nothing is said."""
    if not instance.open:
        if instance.timers or instance.continuation is not None:
            yield Breach("finished_with_work", 7, "it is finished, but has something left to do")
        return
    workflow = versions.get((instance.workflow, instance.definition_version))
    if workflow is None:
        return
    state = workflow.resolved.get(instance.state)
    if state is None:
        yield Breach(
            "unknown_state", 5, f"version {workflow.version} of its workflow has no state {instance.state!r}"
        )
        return
    strange = {timer.event for timer in instance.timers} - set(state.timers)
    if instance.continuation is None and strange:
        yield Breach(
            "unknown_timer", 5, f"it waits for {', '.join(sorted(strange))}, no timer of {instance.state!r}"
        )
    if not (state.events or instance.timers or instance.continuation or instance.lease_token):
        yield Breach("nothing_wakes_it", 5, f"it is open in {instance.state!r}, and nothing will wake it")
