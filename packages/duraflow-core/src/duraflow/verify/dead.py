"""Which parts of a definition can never come into play, and why?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from duraflow.definition.findings import Finding
from duraflow.definition.resolve import Candidate, ResolvedState, Timer
from duraflow.verify.answers import choices, holds
from duraflow.verify.graph import Graph
from duraflow.verify.moves import Move
from duraflow.verify.words import span


def find_unreachable(graph: Graph) -> Iterator[Finding]:
    """States to which transitions lead that can never be taken; those to which none leads are construction findings."""
    endless = _never_ending(graph)
    for name in graph.workflow.resolved:
        if name in endless:
            yield Finding(
                f"states[{name}]",
                "never_rests",
                "whatever its guards say, the automatic transitions from here lead round and round: every step that "
                "enters it raises ChainTooDeep and is rolled back; lead out of the loop",
                state=name,
            )
        elif name not in graph.states:
            into = sorted({c.path for c in _all(graph) if name in (c.target, c.error_target)})
            yield Finding(
                f"states[{name}]",
                "unreachable_state",
                f"what leads here can never be taken ({', '.join(into)}): see there, or take the state out",
                "warning",
                name,
            )


def find_unaccepted_events(graph: Graph) -> Iterator[Finding]:
    """Events that states answer, none of which an instance ever rests in."""
    for event in sorted(graph.workflow.event_names - _accepted(graph)):
        states = [name for name, state in graph.workflow.resolved.items() if event in state.events]
        passing = [name for name in states if name in graph.states]
        why = (
            f"in {_listed(passing)} an automatic transition always leaves first"
            if passing
            else "they cannot be reached"
        )
        yield Finding(
            f"events[{event}]",
            "unaccepted_event",
            f"it is declared in {_listed(states)}, but no instance ever rests there: {why}",
            "warning",
            states[0] if len(states) == 1 else None,
        )


def find_dead_timers(graph: Graph) -> Iterator[Finding]:
    """Timers that never fire: of states that are always left at once, and those that another one always forestalls."""
    for name, state in graph.workflow.resolved.items():
        if name not in graph.states:
            continue
        for event, timer in state.timers.items():
            path = f"{timer.candidates[0].path}.after"
            if name not in graph.resting:
                leaving = next(c for c in state.automatic if not c.internal)
                yield Finding(
                    path,
                    "dead_timer",
                    f"the timer {event!r} of state {name!r} can never fire: an automatic transition always leaves "
                    f"first ({leaving.path}); put the timer where the chain comes to rest",
                    "warning",
                    name,
                )
            elif (found := _forestalls(state, timer)) is not None:
                earlier, sooner, later = found
                yield Finding(
                    path,
                    "dead_timer",
                    f"the timer {event!r} ({span(later)}) of state {name!r} can never fire by itself: the timer "
                    f"{earlier!r} ({span(sooner)}) always leaves the state before; change one of them",
                    "warning",
                    name,
                )


def find_dead_transitions(graph: Graph) -> Iterator[Finding]:
    """Transitions of reachable states that can never be taken, and error targets that no command leads to."""
    taken: dict[tuple[str, str], set[str]] = {}
    # What can be taken, but only into a step that never ends, is told of that step.
    for edges in graph.every.values():
        for edge in edges:
            if edge.move.moves:
                taken.setdefault((edge.move.path, str(edge.move.from_state)), set()).add(edge.move.status)
    accepted = _accepted(graph)
    places: dict[str, list[Candidate]] = {}
    for candidate in _all(graph):
        if candidate.state in graph.states and (candidate.event is None or candidate.event in accepted):
            places.setdefault(candidate.path, []).append(candidate)
    for path, candidates in places.items():
        found = {status for c in candidates for status in taken.get((path, c.state), ())}
        first = candidates[0]
        state = first.state if not first.wildcard else None
        if not found:
            yield Finding(
                path, "dead_transition", f"it can never be taken: {_why(graph, first)}", "warning", state
            )
        elif first.error_target is not None and all(ref.best_effort for ref in first.commands):
            yield Finding(
                f"{path}.error_target",
                "dead_error_target",
                "it can never be taken: its commands are best-effort, so what they answer diverts nothing; take it "
                "out, or let a command be binding",
                "warning",
                state,
            )


def _why(graph: Graph, candidate: Candidate) -> str:
    state = graph.workflow.resolved[candidate.state]
    if candidate.event is not None and candidate.state not in graph.resting:
        return f"{candidate.state!r} is never rested in, an automatic transition always leaves first; put it elsewhere"
    if not any(answer for _, answer in holds(candidate.guard, {})):
        return "its guard contradicts itself; correct the guard"
    pool = state.automatic if candidate.event is None else state.events[candidate.event]
    index = pool.index(candidate)
    if not any(choice == index for _, choice in choices(pool, {})):
        before = ", ".join(other.path for other in pool[:index])
        return f"whenever its guard holds, one before it is taken ({before}); change the order or the guards"
    return "what guards have answered on the way here excludes it; correct the guards"


def _forestalls(state: ResolvedState, timer: Timer) -> tuple[str, timedelta, timedelta] | None:
    """(event, time, time of this one) of a timer that is always due before this one, and always leaves."""
    if not isinstance(timer.after, timedelta):
        return None
    for other in state.timers.values():
        if isinstance(other.after, timedelta) and other.after < timer.after and leaves_for_sure(other):
            return other.event, other.after, timer.after
    return None


def leaves_for_sure(timer: Timer) -> bool:
    """Whether nothing can keep an instance in its state once this timer is due: no guard, no command."""
    for _, taken in choices(timer.candidates, {}):
        if taken is None or timer.candidates[taken].internal or timer.candidates[taken].commands:
            return False
    return True


def _accepted(graph: Graph) -> frozenset[str]:
    return frozenset(e for name in graph.resting for e in graph.workflow.resolved[name].events)


def _never_ending(graph: Graph) -> frozenset[str]:
    """States that moves lead into, all of them within steps that cannot end."""
    entered: dict[str, bool] = {}
    moves = [(edge.move, edge.target) for edges in graph.every.values() for edge in edges]
    if graph.start is None:
        entered[graph.workflow.initial] = True
    for move, target in moves:
        if _enters(move):
            entered[target.state] = entered.get(target.state, True) and target in graph.endless
    return frozenset(name for name, endless in entered.items() if endless and name not in graph.states)


def _enters(move: Move) -> bool:
    return move.moves and move.entered


def _all(graph: Graph) -> Iterator[Candidate]:
    for state in graph.workflow.resolved.values():
        for answering in state.events.values():
            yield from answering
        yield from state.automatic


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)
