"""From where can an instance no longer come to an end, or only to a bad one?"""

from __future__ import annotations

from collections.abc import Iterator

from duraflow.definition.findings import Finding
from duraflow.verify.graph import Graph, closure
from duraflow.verify.places import Place


def leading_to(graph: Graph, states: frozenset[str]) -> set[Place]:
    """The places from which one of these states can still be reached."""
    back: dict[Place, list[Place]] = {}
    for place, edges in graph.onward.items():
        for edge in edges:
            back.setdefault(edge.target, []).append(place)
    return closure([place for place in graph.onward if place.settled and place.state in states], back)


def find_traps(graph: Graph) -> Iterator[Finding]:
    """States without a way to a final one, and failures after which none of the good ends can be reached."""
    resolved = graph.workflow.resolved
    final = frozenset(name for name, state in resolved.items() if state.final)
    ending = leading_to(graph, final)
    stuck = {place.state for place in graph.onward if place.settled and place not in ending}
    for name in resolved:
        if name in stuck and name in graph.resting and not resolved[name].events and resolved[name].automatic:
            yield Finding(
                f"states[{name}]",
                "nothing_wakes",
                "an instance rests here when the guards of its automatic transitions all say no, and then nothing can "
                "wake it; add an event or a timer, or let the last automatic transition have no guard",
                "warning",
                name,
            )
        elif name in stuck:
            yield Finding(
                f"states[{name}]",
                "no_way_to_final",
                "whatever happens, no final state can be reached from here: what leads on can never be taken",
                "warning",
                name,
            )
    yield from _after_failures(graph, stuck)


def _after_failures(graph: Graph, stuck: set[str]) -> Iterator[Finding]:
    resolved = graph.workflow.resolved
    good = frozenset(name for name, state in resolved.items() if state.outcome == "done")
    succeeding = leading_to(graph, good)
    told: set[str] = set()
    for edge in graph.edges:
        move = edge.move
        target = move.to_state
        if move.status != "failure" or move.path in told:
            continue
        # A final state says itself what it means: its outcome.
        if resolved[target].final or target in stuck:
            continue
        if edge.source in succeeding and edge.target not in succeeding:
            told.add(move.path)
            yield Finding(
                f"{move.path}.error_target",
                "trap_after_failure",
                f"after a Failure, {target!r} is entered, from which no final state with outcome 'done' can be reached "
                f"any more (from {move.from_state!r} it can); lead back, or end at once in a final state with outcome "
                "'failed'",
                "warning",
                target,
            )
