"""Which runs would a test need to have seen every transition, and every guard say yes and no?"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Literal

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.verify.answers import questions
from duraflow.verify.graph import MAX_EDGES, Graph, build
from duraflow.verify.moves import Run, print_run
from duraflow.verify.places import Edge, Place

PathKind = Literal["transition", "error_target", "guard"]


@attrs.frozen
class Path:
    """The shortest run to one thing that a test should see.

    Attributes:
        kind: a `transition` taken, its `error_target` taken, or a `guard` that answers.
        path: the transition, as in the definition.
        guard: the guard, with its metadata if it has any; empty for the other kinds.
        answer: what the guard says; None for the other kinds.
        state: where it happens.
        run: the run, up to where its last step is over.
    """

    kind: PathKind
    path: str
    state: str
    run: Run = attrs.field(repr=False)
    guard: str = ""
    answer: bool | None = None

    @property
    def goal(self) -> str:
        """What the run is for, in words."""
        if self.kind == "guard":
            return f"{self.path}: {self.guard} says {'yes' if self.answer else 'no'}"
        return self.path if self.kind == "transition" else f"{self.path}: Failure"

    def __str__(self) -> str:
        return f"{self.goal}\n{print_run(self.run, indent='  ')}"


def paths(workflow: Workflow, *, each_state: bool = False, max_edges: int = MAX_EDGES) -> tuple[Path, ...]:
    """The shortest run to every transition, every error target, and both answers of each guard where it is asked.

    What can never happen is left out: `explore` reports it.

    Args:
        each_state: a transition shared by many states once for each of them, not once in all.
        max_edges: see `explore`.
    """
    return paths_in(build(workflow, max_edges=max_edges), each_state=each_state)


def paths_in(graph: Graph, *, each_state: bool = False) -> tuple[Path, ...]:
    """`paths`, of a graph that is there already."""
    if graph.start is None:
        return ()
    to, cost = _from_start(graph)
    rest = _to_rest(graph)
    found: dict[tuple[object, ...], tuple[int, Edge]] = {}
    for place, edges in graph.onward.items():
        for edge in edges:
            whole = cost[place] + edge.cost + rest[edge.target][0]
            for goal in _goals(graph, edge, each_state=each_state):
                if goal not in found or whole < found[goal][0]:
                    found[goal] = (whole, edge)
    order = {state.name: number for number, state in enumerate(graph.workflow.states)}

    def run(edge: Edge) -> Run:
        assert edge.source is not None
        assert graph.start is not None
        moves = [edge.move]
        step = to[edge.source]
        while step is not None:
            moves.append(step.move)
            assert step.source is not None
            step = to[step.source]
        moves.append(graph.start.move)
        moves.reverse()
        place = edge.target
        while (onward := rest[place][1]) is not None:
            moves.append(onward.move)
            place = onward.target
        return tuple(moves)

    result = [
        Path(kind, path, str(edge.move.from_state), run(edge), guard, answer)  # type: ignore[arg-type]
        for (kind, path, _, guard, answer), (_, edge) in found.items()
    ]
    wild = len(order)
    return tuple(
        sorted(
            result,
            key=lambda p: (
                order[p.state] if p.path.startswith("states[") else wild,
                p.path,
                order[p.state],
                ("transition", "error_target", "guard").index(p.kind),
                p.guard,
                p.answer is False,
            ),
        )
    )


def _goals(graph: Graph, edge: Edge, *, each_state: bool) -> Iterator[tuple[object, ...]]:
    move = edge.move
    state = move.from_state if each_state else None
    if move.moves:
        kind = "transition" if move.status == "success" else "error_target"
        yield kind, move.path, state, "", None
    # A guard is seen where it is asked: in a rejection, or before a later candidate, it is that of an earlier one.
    for path, asked in _asked(graph, edge):
        yield "guard", path, state, asked, move.guards[asked]


def _asked(graph: Graph, edge: Edge) -> Iterator[tuple[str, str]]:
    resolved = graph.workflow.resolved[str(edge.move.from_state)]
    pool = resolved.automatic if edge.move.event == "$auto" else resolved.events[edge.move.event]
    for candidate in pool:
        for asked in sorted(questions([candidate])):
            if asked in edge.move.guards:
                yield candidate.path, asked
        if candidate.path == edge.move.path:
            return


def _from_start(graph: Graph) -> tuple[dict[Place, Edge | None], dict[Place, int]]:
    assert graph.start is not None
    first = graph.start.target
    came: dict[Place, Edge | None] = {first: None}
    cost = {first: 0}
    waiting = deque([(0, first)])
    while waiting:
        spent, place = waiting.popleft()
        if spent > cost[place]:
            continue
        for edge in graph.onward[place]:
            there = spent + edge.cost
            if edge.target not in cost or there < cost[edge.target]:
                cost[edge.target], came[edge.target] = there, edge
                if edge.cost:
                    waiting.append((there, edge.target))
                else:
                    waiting.appendleft((there, edge.target))
    return came, cost


def _to_rest(graph: Graph) -> dict[Place, tuple[int, Edge | None]]:
    """How each step ends soonest, as (how many moves, the next one)."""
    back: dict[Place, list[Edge]] = {}
    for edge in graph.edges:
        if edge.chains and edge.source is not None:
            back.setdefault(edge.target, []).append(edge)
    found: dict[Place, tuple[int, Edge | None]] = {p: (0, None) for p in graph.onward if p.settled}
    waiting = deque(found)
    while waiting:
        place = waiting.popleft()
        for edge in back.get(place, ()):
            there = found[place][0] + edge.cost
            assert edge.source is not None
            if edge.source not in found or there < found[edge.source][0]:
                found[edge.source] = (there, edge)
                waiting.append(edge.source)
    return found
