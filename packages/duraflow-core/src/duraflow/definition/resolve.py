"""What can happen in each state, once wildcards and groups are worked out?

The runtime never looks at a definition again: it looks here. A `Candidate` is one transition as seen from one
state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from duraflow.definition.values import (
    EMPTY,
    CommandRef,
    DelayRef,
    Guard,
    Outcome,
    State,
    Transition,
    Wildcard,
    as_given,
)

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow


@attrs.frozen(eq=False)
class Candidate:
    """One transition as one state has it, with what is asked of it at every step worked out once.

    Attributes:
        path: where it stands in the definition, for messages and history readers.
        internal: it does not enter any state.
        external: one of its commands talks to the outside world.
    """

    transition: Transition
    state: str
    path: str
    wildcard: bool
    event: str | None
    target: str | None
    error_target: str | None
    guard: Guard | None
    commands: tuple[CommandRef, ...]
    emits: tuple[str, ...]
    internal: bool
    external: bool


@attrs.frozen(eq=False)
class Timer:
    """One timer of a state: an event that fires by itself when it is due. `candidates` are tried in order."""

    event: str
    after: timedelta | DelayRef
    candidates: tuple[Candidate, ...]
    disarms: bool


@attrs.frozen(eq=False)
class ResolvedState:
    """Everything that a state allows, in the order in which it is tried."""

    name: str
    final: bool
    outcome: Outcome | None
    context: Mapping[str, Any]
    events: Mapping[str, tuple[Candidate, ...]]
    automatic: tuple[Candidate, ...]
    timers: Mapping[str, Timer]
    quiet: bool
    """Entering this state cannot run a command, however far the automatic chain goes."""
    free: frozenset[str]
    """Events that can be fired here without running a command, automatic chain included."""

    @cached_property
    def accepted(self) -> tuple[str, ...]:
        return tuple(self.events)


def unknown_state(name: str) -> ResolvedState:
    """A state that the definition lacks (the row was edited by hand): it allows nothing, and `force` leads out."""
    return ResolvedState(name, False, None, EMPTY, EMPTY, (), EMPTY, True, frozenset())


def own_transitions(state: State) -> Iterator[tuple[str, Transition]]:
    """(path, transition) of what the state itself declares."""
    for index, transition in enumerate(state.transitions):
        if isinstance(transition, Transition):
            yield f"states[{state.name}].transitions[{index}]", transition


def is_final(state: State) -> bool:
    """Whether the state has no way out: declared, or because it has no transitions of its own."""
    return state.final if state.final is not None else not state.transitions


def expand(names: Iterable[Any], groups: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """The states that names of states and groups stand for."""
    found: set[str] = set()
    for name in names:
        found.update(groups.get(name, (name,)))
    return frozenset(found)


def wildcard_transitions(
    state: State, wildcards: tuple[Wildcard, ...], groups: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, Transition]]:
    """The shared transitions that apply to one state, which must not be final."""
    for number, wildcard in enumerate(as_given(wildcards)):
        if not isinstance(wildcard, Wildcard):
            continue
        if wildcard.within and state.name not in expand(wildcard.within, groups):
            continue
        if state.name in expand(wildcard.exclude, groups):
            continue
        for index, transition in enumerate(wildcard.transitions):
            if isinstance(transition, Transition):
                yield f"from_any[{number}].transitions[{index}]", transition


def _candidate(state: str, path: str, transition: Transition, *, wildcard: bool) -> Candidate:
    return Candidate(
        transition=transition,
        state=state,
        path=path,
        wildcard=wildcard,
        event=transition.event,
        target=transition.target,
        error_target=transition.error_target,
        guard=transition.guard,
        commands=transition.commands,
        emits=tuple(map(str, as_given(transition.emits))),
        internal=transition.target is None,
        external=any(isinstance(ref, CommandRef) and ref.external for ref in as_given(transition.commands)),
    )


def _timers(candidates: Iterable[Candidate]) -> dict[str, Timer]:
    timers: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        if candidate.transition.after is not None and candidate.event is not None:
            timers.setdefault(candidate.event, []).append(candidate)
    resolved = {}
    for event, found in timers.items():
        after = found[0].transition.after
        assert after is not None
        disarms = any(candidate.transition.on_rejected == "disarm" for candidate in found)
        resolved[event] = Timer(event, after, tuple(found), disarms)
    return resolved


def _quiet_states(automatic: Mapping[str, tuple[Candidate, ...]]) -> frozenset[str]:
    """States whose automatic chain, followed as far as it can go, runs no command: the greatest such set."""
    quiet = set(automatic)
    changed = True
    while changed:
        changed = False
        for name in tuple(quiet):
            if any(c.commands or (c.target is not None and c.target not in quiet) for c in automatic[name]):
                quiet.discard(name)
                changed = True
    return frozenset(quiet)


def resolve(
    states: Iterable[State], wildcards: tuple[Wildcard, ...], groups: Mapping[str, tuple[str, ...]]
) -> Mapping[str, ResolvedState]:
    """Every state with all that it allows. Of a wrong definition, what cannot be understood is left out."""
    candidates: dict[str, tuple[Candidate, ...]] = {}
    by_name: dict[str, State] = {}
    for state in as_given(states):
        if not isinstance(state, State) or not isinstance(as_given(state.name), str) or state.name in by_name:
            continue
        by_name[state.name] = state
        found = [_candidate(state.name, path, t, wildcard=False) for path, t in own_transitions(state)]
        if not is_final(state):
            found += [
                _candidate(state.name, path, t, wildcard=True)
                for path, t in wildcard_transitions(state, wildcards, groups)
            ]
        candidates[state.name] = tuple(found)

    automatic = {name: tuple(c for c in found if c.event is None) for name, found in candidates.items()}
    quiet = _quiet_states(automatic)
    resolved: dict[str, ResolvedState] = {}
    for name, state in by_name.items():
        events: dict[str, list[Candidate]] = {}
        for candidate in candidates[name]:
            if candidate.event is not None:
                events.setdefault(candidate.event, []).append(candidate)
        free = frozenset(
            event
            for event, answering in events.items()
            if not any(c.commands or (c.target is not None and c.target not in quiet) for c in answering)
        )
        final = is_final(state)
        resolved[name] = ResolvedState(
            name=name,
            final=final,
            outcome=(state.outcome or "done") if final else None,
            context=state.context or EMPTY,
            events=MappingProxyType({event: tuple(answering) for event, answering in events.items()}),
            automatic=automatic[name],
            timers=MappingProxyType(_timers(candidates[name])),
            quiet=name in quiet,
            free=free,
        )
    return MappingProxyType(resolved)


def all_transitions(workflow: Workflow) -> Iterator[tuple[str, Transition, str | None]]:
    """Every transition with its path, and the state it stands in (None for shared ones)."""
    for state in workflow.states:
        if isinstance(state, State):
            for path, transition in own_transitions(state):
                yield path, transition, state.name
    for number, wildcard in enumerate(workflow.from_any):
        if isinstance(wildcard, Wildcard):
            for index, transition in enumerate(wildcard.transitions):
                if isinstance(transition, Transition):
                    yield f"from_any[{number}].transitions[{index}]", transition, None
