"""What is doubtful in a definition that can be used?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from duraflow.definition.findings import Finding
from duraflow.definition.resolve import Candidate, ResolvedState, expand, is_final

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow


def find_warnings(workflow: Workflow, resolved: Mapping[str, ResolvedState]) -> Iterator[Finding]:
    """Everything doubtful."""
    onward = {name: _targets(state) for name, state in resolved.items()}
    reachable = _closure({workflow.initial}, onward)
    backward: dict[str, set[str]] = {name: set() for name in resolved}
    for name, targets in onward.items():
        for target in targets:
            backward[target].add(name)
    final = {name for name, state in resolved.items() if state.final}
    finishing = _closure(final, backward)
    for name, state in resolved.items():
        path = f"states[{name}]"
        if name not in reachable:
            yield Finding(path, "unreachable_state", "no transition leads here", "warning", name)
        if name not in finishing:
            yield Finding(path, "no_way_to_final", "no final state can be reached from here", "warning", name)
        leaving = [c for c in _candidates(state) if {c.target, c.error_target} - {None, name}]
        if not state.final and leaving and all(candidate.wildcard for candidate in leaving):
            yield Finding(
                path,
                "only_wildcards_leave",
                "only transitions shared by many states leave it",
                "warning",
                name,
            )
    yield from _final_by_inference(workflow)
    answered = workflow.event_names
    for event in workflow.events:
        if event not in answered:
            yield Finding(f"events[{event}]", "unanswered_event", "no state answers this event", "warning")


def _final_by_inference(workflow: Workflow) -> Iterator[Finding]:
    """A state without transitions counts as final, which shuts out what every other state shares: is it meant?"""
    if not any(not wildcard.within for wildcard in workflow.from_any):
        return
    excluded = [
        expand(wildcard.exclude, workflow.groups) for wildcard in workflow.from_any if not wildcard.within
    ]
    for state in workflow.states:
        if state.final is None and is_final(state) and any(state.name not in names for names in excluded):
            yield Finding(
                f"states[{state.name}]",
                "final_by_inference",
                "it has no transitions of its own, so it counts as final and those shared by all states do not apply; "
                "say final=True if that is meant, final=False if they shall apply",
                "warning",
                state.name,
            )


def _candidates(state: ResolvedState) -> Iterator[Candidate]:
    for answering in state.events.values():
        yield from answering
    yield from state.automatic


def _targets(state: ResolvedState) -> set[str]:
    found = {candidate.target for candidate in _candidates(state)}
    found |= {candidate.error_target for candidate in _candidates(state)}
    return {name for name in found if name is not None}


def _closure(start: set[str], edges: Mapping[str, set[str]]) -> set[str]:
    seen = set(start)
    waiting = list(start)
    while waiting:
        for name in edges[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen
