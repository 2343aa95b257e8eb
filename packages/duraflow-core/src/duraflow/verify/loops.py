"""Where can automatic transitions with guards lead round without end?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from duraflow.definition.findings import Finding
from duraflow.verify.graph import Graph
from duraflow.verify.places import Edge, Place
from duraflow.verify.search import components, shortest_loop


def find_automatic_loops(graph: Graph, max_automatic_moves: int) -> Iterator[Finding]:
    """Ways round within one step. What is certain to be one, because it has no guard, is a definition error already."""
    chains: dict[Place, list[Edge]] = {
        place: [edge for edge in edges if edge.chains and edge.move.recorded]
        for place, edges in graph.every.items()
        if not place.rests
    }
    told: set[frozenset[str]] = set()
    for part in components(chains, lambda place: [e.target for e in chains.get(place, ())]):
        inside: Mapping[Place, list[Edge]] = {
            place: [edge for edge in chains[place] if edge.target in part]
            for place in part
            if place in chains
        }
        loop = shortest_loop(inside)
        if loop is None:
            continue
        states = frozenset(edge.move.from_state or "" for edge in loop)
        if states in told:
            continue
        told.add(states)
        yield _finding(graph, loop, max_automatic_moves)


def _finding(graph: Graph, loop: tuple[Edge, ...], max_automatic_moves: int) -> Finding:
    # Begin with the state that is declared first, so that the text is the same in every run.
    order = {state.name: number for number, state in enumerate(graph.workflow.states)}
    first = min(range(len(loop)), key=lambda i: order.get(loop[i].move.from_state or "", 0))
    loop = loop[first:] + loop[:first]
    moves = [edge.move for edge in loop]
    names = [str(move.from_state) for move in moves]
    asked = {f"{q} says {'yes' if answer else 'no'}" for move in moves for q, answer in move.guards.items()}
    when = f" when {' and '.join(sorted(asked))}" if asked else ""
    writes = any(m.commands for m in moves) or any(graph.workflow.resolved[n].context for n in names)
    if writes:
        why = (
            f"it ends only if what is written on the way changes the answers; after {max_automatic_moves} automatic "
            "moves the step raises ChainTooDeep and all is rolled back; make sure that it ends, or let an event or a "
            "timer lead round"
        )
    else:
        why = (
            "nothing on the way writes the context, so the guards keep their answers, and every such step raises "
            "ChainTooDeep and is rolled back; let the guards exclude each other (`not_`), or let an event lead round"
        )
    return Finding(
        moves[0].path,
        "automatic_loop",
        f"automatic transitions can lead round for ever{when}: {' -> '.join([*names, names[0]])}; {why}",
        "warning",
        names[0],
    )
