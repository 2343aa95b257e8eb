"""What is the shortest way there, and where does it go round?"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TypeVar

from duraflow.verify.graph import Graph
from duraflow.verify.moves import Move, Run
from duraflow.verify.places import Edge, Place

M = TypeVar("M", bound=Hashable)
N = TypeVar("N", bound=Hashable)

_TRIES = 500


def shortest(
    graph: Graph,
    goal: Callable[[Place, M], bool],
    *,
    before: M,
    note: Callable[[M, Move], M],
    avoid_rejections: bool = True,
) -> Run | None:
    """The shortest run, by its history, whose last step is over where `goal` says so; None if there is none.

    Args:
        before: what is noted before the creation.
        note: what is noted after one more move; the search goes over places and notes together, so there must be
            finitely many of them.
    """
    if graph.start is None:
        return None
    first = (graph.start.target, note(before, graph.start.move))
    came: dict[tuple[Place, M], tuple[tuple[Place, M], Move] | None] = {first: None}
    # Moves that cost nothing go in front, so that the first way found is a shortest one.
    waiting = deque([(0, first)])
    cost = {first: 0}
    while waiting:
        spent, here = waiting.popleft()
        if spent > cost[here]:
            continue
        place, noted = here
        if place.settled and goal(place, noted):
            return (graph.start.move, *_back(came, here))
        for edge in graph.onward[place]:
            if avoid_rejections and edge.move.status == "rejected":
                continue
            there = (edge.target, note(noted, edge.move))
            if there not in cost or spent + edge.cost < cost[there]:
                cost[there] = spent + edge.cost
                came[there] = (here, edge.move)
                if edge.cost:
                    waiting.append((spent + 1, there))
                else:
                    waiting.appendleft((spent, there))
    return None


def _back(came: Mapping[N, tuple[N, Move] | None], here: N) -> Run:
    moves = []
    step = came[here]
    while step is not None:
        here, move = step
        moves.append(move)
        step = came[here]
    return tuple(reversed(moves))


def nothing(_noted: None, _move: Move) -> None:
    """Notes nothing: for searches that only ask for the place."""
    return


def components(nodes: Iterable[N], onward: Callable[[N], Iterable[N]]) -> Iterator[frozenset[N]]:
    """The strongly connected parts (Tarjan 1972, without recursion): whoever is in one gets back to where it was."""
    index: dict[N, int] = {}
    low: dict[N, int] = {}
    stack: list[N] = []
    standing: set[N] = set()
    for root in nodes:
        if root in index:
            continue
        index[root] = low[root] = len(index)
        stack.append(root)
        standing.add(root)
        work: list[tuple[N, Iterator[N]]] = [(root, iter(onward(root)))]
        while work:
            node, following = work[-1]
            for there in following:
                if there not in index:
                    index[there] = low[there] = len(index)
                    stack.append(there)
                    standing.add(there)
                    work.append((there, iter(onward(there))))
                    break
                if there in standing:
                    low[node] = min(low[node], index[there])
            else:
                work.pop()
                if work:
                    parent = work[-1][0]
                    low[parent] = min(low[parent], low[node])
                if low[node] == index[node]:
                    found = set()
                    while True:
                        member = stack.pop()
                        standing.discard(member)
                        found.add(member)
                        if member == node:
                            break
                    yield frozenset(found)


def shortest_loop(
    edges: Mapping[Place, Iterable[Edge]], through: Callable[[Edge], bool] = lambda _edge: True
) -> tuple[Edge, ...] | None:
    """A shortest way round among these moves that has one for which `through` says yes; None if there is none.

    In a very large graph the first `_TRIES` such moves are looked at: any way round is news enough.
    """
    inside: dict[Place, frozenset[Place]] = {}
    for part in components(edges, lambda place: [e.target for e in edges.get(place, ())]):
        inside.update(dict.fromkeys(part, part))
    best: tuple[Edge, ...] | None = None
    tries = 0
    for place, following in edges.items():
        for edge in following:
            if edge.target not in inside[place] or not through(edge):
                continue
            tries += 1
            back = _way(edges, edge.target, place, inside[place])
            if back is not None and (best is None or 1 + len(back) < len(best)):
                best = (edge, *back)
            if best is not None and (len(best) == 1 or tries > _TRIES):
                return best
    return best


def _way(
    edges: Mapping[Place, Iterable[Edge]], source: Place, target: Place, inside: frozenset[Place]
) -> tuple[Edge, ...] | None:
    came: dict[Place, Edge | None] = {source: None}
    waiting = deque([source])
    while waiting:
        place = waiting.popleft()
        if place == target:
            break
        for edge in edges.get(place, ()):
            if edge.target in inside and edge.target not in came:
                came[edge.target] = edge
                waiting.append(edge.target)
    if target not in came:
        return None
    found = []
    step = came[target]
    while step is not None:
        found.append(step)
        assert step.source is not None
        step = came[step.source]
    return tuple(reversed(found))
