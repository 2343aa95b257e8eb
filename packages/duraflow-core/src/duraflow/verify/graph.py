"""Which places can an instance really get to, and which steps can never end?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from types import MappingProxyType
from typing import TypeVar

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.verify.places import Edge, Place, Places

N = TypeVar("N", bound=Hashable)

MAX_EDGES = 500_000
"""More than any workflow that people wrote: it takes some seconds, and some hundred megabytes."""


@attrs.frozen(eq=False)
class Graph:
    """Everything that can happen in a workflow.

    Attributes:
        start: the creation; None if it can never end, because the initial state leads round for ever.
        onward: what can happen in each place that can be reached, steps that never end left out: such a step is undone.
        every: the same with them.
        endless: places within a step from which it cannot end, so that an instance is never really there.
        raises: in how many ways commands can undo a step: they lead nowhere.
    """

    workflow: Workflow
    start: Edge | None
    onward: Mapping[Place, tuple[Edge, ...]]
    every: Mapping[Place, tuple[Edge, ...]]
    endless: frozenset[Place]
    raises: int

    @property
    def edges(self) -> Iterable[Edge]:
        """All moves, place by place."""
        return (edge for edges in self.onward.values() for edge in edges)

    @property
    def outcomes(self) -> int:
        """In how many ways the events, guards, commands and timers of all places can turn out."""
        return sum(len(edges) for edges in self.onward.values()) + self.raises

    @property
    def states(self) -> frozenset[str]:
        """The states that an instance can enter."""
        return frozenset(place.state for place in self.onward)

    @property
    def resting(self) -> frozenset[str]:
        """The states in which an instance can come to rest."""
        return frozenset(place.state for place in self.onward if place.rests)


def build(workflow: Workflow, *, max_edges: int = MAX_EDGES) -> Graph:
    """Everything that a workflow allows, worked out exhaustively.

    Raises:
        InvalidArgument: there is too much of it; `max_edges` may be raised.
    """
    places = Places(workflow)
    start = places.start()
    every = _all(places, start.target, max_edges)
    endless = _endless(every)
    if start.target in endless:
        return Graph(workflow, None, MappingProxyType({}), every, endless, 0)
    ending = {
        place: tuple(edge for edge in edges if edge.target not in endless)
        for place, edges in every.items()
        if place not in endless
    }
    reached = closure([start.target], {p: [e.target for e in edges] for p, edges in ending.items()})
    onward = {place: ending[place] for place in every if place in reached}
    return Graph(workflow, start, onward, every, endless, sum(map(places.raises, onward)))


def _all(places: Places, first: Place, max_edges: int) -> Mapping[Place, tuple[Edge, ...]]:
    found: dict[Place, tuple[Edge, ...]] = {}
    waiting = [first]
    seen = {first}
    count = 0
    for place in waiting:
        edges: list[Edge] = []
        for edge in places.onward(place):
            edges.append(edge)
            count += 1
            if count > max_edges:
                raise InvalidArgument(
                    "workflow",
                    f"{places.workflow.name!r} can go on in more than {max_edges} ways: too many guards are asked "
                    "together; raise `max_edges`, or let a command write down what they find out",
                )
            if edge.target not in seen:
                seen.add(edge.target)
                waiting.append(edge.target)
        found[place] = tuple(edges)
    return found


def _endless(every: Mapping[Place, tuple[Edge, ...]]) -> frozenset[Place]:
    """Places within a step that lead to no place where it is over."""
    back: dict[Place, list[Place]] = {}
    ends: list[Place] = []
    for place, edges in every.items():
        if place.settled:
            ends.append(place)
        for edge in edges:
            if edge.chains:
                back.setdefault(edge.target, []).append(place)
    ending = closure(ends, back)
    return frozenset(place for place in every if place not in ending)


def closure(start: Iterable[N], edges: Mapping[N, Iterable[N]]) -> set[N]:
    """Everything that can be reached, the start included."""
    seen = set(start)
    waiting = list(seen)
    while waiting:
        for node in edges.get(waiting.pop(), ()):
            if node not in seen:
                seen.add(node)
                waiting.append(node)
    return seen
