"""What is wrong or doubtful in a definition, seen from everything that can happen in it?"""

from __future__ import annotations

from collections.abc import Iterator

from duraflow.definition.findings import Finding
from duraflow.verify.dead import (
    find_dead_timers,
    find_dead_transitions,
    find_unaccepted_events,
    find_unreachable,
)
from duraflow.verify.graph import Graph
from duraflow.verify.loops import find_automatic_loops
from duraflow.verify.traps import find_traps


def find_all(graph: Graph, max_automatic_moves: int) -> tuple[Finding, ...]:
    """What construction found, and then what only shows when everything is tried out; nothing twice, errors first."""
    workflow = graph.workflow
    allowed = {(state.name, code) for state in workflow.states for code in state.allow}
    told = {(finding.code, finding.state, finding.path) for finding in workflow.findings}
    found = [
        finding
        for finding in _new(graph, max_automatic_moves)
        if (finding.state, finding.code) not in allowed
        and (finding.code, finding.state, finding.path) not in told
    ]
    every = [*workflow.findings, *found]
    return tuple(sorted(every, key=lambda finding: finding.severity != "error"))


def _new(graph: Graph, max_automatic_moves: int) -> Iterator[Finding]:
    unreachable = [*find_unreachable(graph)]
    yield from unreachable
    endless = {finding.state for finding in unreachable if finding.code == "never_rests"}
    yield from (f for f in find_automatic_loops(graph, max_automatic_moves) if f.state not in endless)
    if graph.start is None:
        # Nothing can be created, so all that follows would be said of everything.
        return
    timers = [*find_dead_timers(graph)]
    yield from timers
    # What is said of a timer need not be said again of its event and its transitions.
    silent = {finding.path.removesuffix(".after") for finding in timers}
    for finding in find_unaccepted_events(graph):
        if not _is_told(graph, finding.path, silent):
            yield finding
    yield from (finding for finding in find_dead_transitions(graph) if finding.path not in silent)
    yield from find_traps(graph)


def _is_told(graph: Graph, path: str, silent: set[str]) -> bool:
    event = path.removeprefix("events[").removesuffix("]")
    return any(
        candidate.path in silent
        for state in graph.workflow.resolved.values()
        for candidate in state.events.get(event, ())
    )
