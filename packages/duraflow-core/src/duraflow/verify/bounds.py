"""How long can a run become: moves, commands, history entries, time in timers?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

import attrs

from duraflow.definition.resolve import ResolvedState
from duraflow.verify.dead import leaves_for_sure
from duraflow.verify.graph import Graph
from duraflow.verify.moves import Run
from duraflow.verify.places import Edge, Place
from duraflow.verify.search import shortest_loop

_BUDGET = 200_000
"""Moves tried in the search for the longest way: where there are loops, proving it takes exponential time."""


@attrs.frozen
class Bound:
    """The most of something that one instance can have.

    Attributes:
        value: on the longest way that passes no place twice.
        run: that way.
        loop: a way round on which it grows, so that there is no limit; empty if there is one.
        exact: False when the search was ended before all ways were tried: `value` is then the most that was seen.
    """

    value: Any
    run: Run = attrs.field(repr=False)
    loop: Run = ()
    exact: bool = True

    @property
    def limited(self) -> bool:
        """Whether no instance can have more."""
        return not self.loop


@attrs.frozen
class Bounds:
    """What one instance can come to, at most.

    Attributes:
        moves: transitions taken, automatic ones included.
        commands: commands run.
        entries: history entries: the creation and the moves. Each rejection adds one more.
        waiting: a timedelta, the time that timers let pass: in each state until the earliest timer that leaves it for
            sure, else until its latest timer.
        no_timer: states in which an instance waits as long as nobody fires an event, which `waiting` does not count.
        unsure: states that may be rested in for longer than `waiting` counts, because each of their timers is computed,
            can be refused by a guard, stays in the state, or runs a command that may fail.
    """

    moves: Bound
    commands: Bound
    entries: Bound
    waiting: Bound
    no_timer: tuple[str, ...]
    unsure: tuple[str, ...]


def bounds_of(graph: Graph) -> Bounds | None:
    """The bounds of everything that can happen; None if nothing can be created."""
    if graph.start is None:
        return None
    edges = {
        place: tuple(edge for edge in following if edge.move.status != "rejected")
        for place, following in graph.onward.items()
    }
    waits = {name: _wait(graph.workflow.resolved[name]) for name in sorted(graph.resting)}
    start = graph.start

    def bound(weight: Callable[[Edge], Any], zero: Any) -> Bound:
        loop = shortest_loop(edges, lambda edge: weight(edge) > zero)
        longest, run, exact = _longest(edges, start.target, weight, zero)
        return Bound(longest, (start.move, *run), tuple(e.move for e in loop or ()), exact)

    moves = bound(lambda edge: int(edge.move.moves), 0)

    def wait(edge: Edge) -> timedelta:
        # What stays in its state leaves its timers alone.
        leaves = edge.source is not None and edge.source.rests and edge.move.entered
        return waits[str(edge.move.from_state)][0] if leaves else timedelta(0)

    order = [state.name for state in graph.workflow.states]
    return Bounds(
        moves=moves,
        commands=bound(lambda edge: len(edge.move.commands), 0),
        entries=attrs.evolve(moves, value=moves.value + 1),
        waiting=bound(wait, timedelta(0)),
        no_timer=tuple(name for name in order if name in waits and waits[name][1] == "no timer"),
        unsure=tuple(name for name in order if name in waits and waits[name][1] == "unsure"),
    )


def _wait(state: ResolvedState) -> tuple[timedelta, str]:
    """(how long timers let pass in a state, why it can be longer)."""
    if state.final or not state.timers:
        return timedelta(0), "" if state.final else "no timer"
    fixed = {
        timer.event: timer.after for timer in state.timers.values() if isinstance(timer.after, timedelta)
    }
    sure = [after for event, after in fixed.items() if leaves_for_sure(state.timers[event])]
    if sure:
        return min(sure), ""
    return max(fixed.values(), default=timedelta(0)), "unsure"


def _longest(
    edges: Mapping[Place, Iterable[Edge]], start: Place, weight: Callable[[Edge], Any], zero: Any
) -> tuple[Any, Run, bool]:
    """The heaviest way from the start that passes no place twice, by trying all; whether all were tried."""
    best = zero
    best_run: tuple[Edge, ...] = ()
    run: list[Edge] = []
    weights = [zero]
    passed = {start}
    work = [iter(edges[start])]
    budget = _BUDGET
    while work:
        edge = next(work[-1], None)
        if edge is None:
            work.pop()
            if run:
                passed.discard(run.pop().target)
                weights.pop()
            continue
        if edge.target in passed:
            continue
        budget -= 1
        if budget < 0:
            return best, tuple(e.move for e in best_run), False
        run.append(edge)
        weights.append(weights[-1] + weight(edge))
        passed.add(edge.target)
        if weights[-1] > best and edge.target.settled:
            best, best_run = weights[-1], tuple(run)
        work.append(iter(edges[edge.target]))
    return best, tuple(e.move for e in best_run), True
