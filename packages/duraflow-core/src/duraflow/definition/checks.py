"""Is a definition right? Every rule about definitions is here, one function for each question.

A check yields findings and never raises, also on values that make no sense, so that one construction reports
all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from duraflow.definition.findings import Finding
from duraflow.definition.payloads import UnusablePayload
from duraflow.definition.resolve import Candidate, ResolvedState, is_final, own_transitions
from duraflow.definition.values import (
    MAX_JSON_DEPTH,
    OUTCOMES,
    AllOf,
    AnyOf,
    CommandRef,
    DelayRef,
    Guard,
    GuardRef,
    Not,
    State,
    Transition,
    Wildcard,
    as_given,
)

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow

MAX_NAME = 200
MAX_VERSION = 2**31 - 1
MAX_DELAY = timedelta(days=36_525)
"""A hundred years: enough for any business rule, and no due time overflows a timestamp."""

ALLOWABLE = frozenset({"unreachable_state", "no_way_to_final", "only_wildcards_leave"})

Resolved = Mapping[str, ResolvedState]


def check_definition(workflow: Workflow, resolved: Resolved) -> tuple[Finding, ...]:
    """Everything found, errors first, each kind in the order of the definition."""
    found = [*_errors(workflow, resolved)]
    if not found:
        allowed = {state.name: frozenset(state.allow) for state in workflow.states}
        found = [w for w in _warnings(workflow, resolved) if w.code not in allowed.get(w.state or "", ())]
    return tuple(found)


def _errors(workflow: Workflow, resolved: Resolved) -> Iterator[Finding]:
    yield from _identity(workflow)
    yield from _states(workflow)
    yield from _groups(workflow)
    known = frozenset(resolved)
    if workflow.initial not in known:
        yield Finding(
            "initial", "unknown_initial", f"{workflow.initial!r} is not a state; known: {_listed(known)}"
        )
    for path, transition, state in _all_transitions(workflow):
        yield from _transition(path, transition, state, known)
    yield from _wildcards(workflow, known)
    yield from _events(workflow)
    # Two wildcards can be at odds in every state; once is enough.
    told: set[tuple[str, str]] = set()
    for found in resolved.values():
        for finding in [*_shadowed(found), *_timers(found)]:
            if (finding.path, finding.code) not in told:
                told.add((finding.path, finding.code))
                yield finding
    yield from _automatic_cycles(resolved)


# --- names and versions -------------------------------------------------------------------------------------


def name_problem(name: object) -> tuple[str, str] | None:
    """(code, reason) if this cannot be a name: blank, reserved, too long, or not fit for JSONB or logs."""
    if not isinstance(name, str):
        return "bad_name", f"{name!r} is not a name: give text or a StrEnum member"
    if not name.strip() or name != name.strip():
        return "blank_name", f"{name!r} is blank or has white space around it"
    if name.startswith("$"):
        return "reserved_name", f"{name!r}: names that begin with $ are reserved"
    if len(name) > MAX_NAME:
        return "long_name", f"{name[:20]!r}… has {len(name)} characters; {MAX_NAME} is the limit"
    if any(
        ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF or ord(character) == 127
        for character in name
    ):
        return "bad_name", f"{name!r} has control characters or lone surrogates"
    return None


def _name(path: str, name: object) -> Iterator[Finding]:
    problem = name_problem(name)
    if problem is not None:
        yield Finding(path, problem[0], problem[1])


def _identity(workflow: Workflow) -> Iterator[Finding]:
    yield from _name("name", workflow.name)
    version = as_given(workflow.version)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        yield Finding("version", "bad_version", f"{version!r} is not a whole number from 1 to {MAX_VERSION}")
    yield from _labels("", workflow)


def _states(workflow: Workflow) -> Iterator[Finding]:
    if not workflow.states:
        yield Finding("states", "no_states", "a workflow needs at least one state")
    seen: set[str] = set()
    for index, state in enumerate(as_given(workflow.states)):
        if not isinstance(state, State):
            yield Finding(f"states[{index}]", "bad_state", f"{state!r} is not a State")
            continue
        path = f"states[{state.name}]"
        yield from _name(f"states[{index}].name", state.name)
        if state.name in seen:
            yield Finding(path, "duplicate_state", f"the state {state.name!r} is declared twice")
        seen.add(state.name)
        for number, transition in enumerate(as_given(state.transitions)):
            if not isinstance(transition, Transition):
                yield Finding(
                    f"{path}.transitions[{number}]", "bad_transition", f"{transition!r} is no Transition"
                )
        yield from _finality(path, state)
        yield from _json_mapping(f"{path}.context", state.context)
        yield from _labels(f"{path}.", state)
        for code in state.allow:
            if code not in ALLOWABLE:
                yield Finding(
                    f"{path}.allow",
                    "unknown_finding",
                    f"{code!r} cannot be allowed; known: {_listed(ALLOWABLE)}",
                )


def _finality(path: str, state: State) -> Iterator[Finding]:
    if not (state.final is None or isinstance(as_given(state.final), bool)):
        yield Finding(f"{path}.final", "bad_final", f"{state.final!r} is not True, False or None")
    if state.final and state.transitions:
        yield Finding(
            path, "final_with_transitions", "a final state has no way out, but this one has transitions"
        )
    if state.outcome is not None and state.outcome not in OUTCOMES:
        yield Finding(
            f"{path}.outcome", "bad_outcome", f"{state.outcome!r} is not one of {', '.join(OUTCOMES)}"
        )
    if state.outcome is not None and not is_final(state):
        yield Finding(f"{path}.outcome", "outcome_of_open_state", "only a final state has an outcome")


def _groups(workflow: Workflow) -> Iterator[Finding]:
    names = {state.name for state in as_given(workflow.states) if isinstance(state, State)}
    for group, members in workflow.groups.items():
        path = f"groups[{group}]"
        yield from _name(path, group)
        if group in names:
            yield Finding(path, "ambiguous_group", f"{group!r} is also the name of a state")
        if not members:
            yield Finding(path, "empty_group", "a group needs at least one state")
        for member in members:
            if member not in names:
                yield Finding(path, "unknown_state", f"{member!r} is not a state; known: {_listed(names)}")


def _events(workflow: Workflow) -> Iterator[Finding]:
    for event, payload in workflow.events.items():
        yield from _name(f"events[{event}]", event)
        if isinstance(payload, UnusablePayload):
            yield Finding(f"events[{event}]", "bad_payload_type", payload.problem)


# --- transitions --------------------------------------------------------------------------------------------


def _all_transitions(workflow: Workflow) -> Iterator[tuple[str, Transition, str | None]]:
    for state in workflow.states:
        if isinstance(state, State):
            for path, transition in own_transitions(state):
                yield path, transition, state.name
    for number, wildcard in enumerate(workflow.from_any):
        if isinstance(wildcard, Wildcard):
            for index, transition in enumerate(wildcard.transitions):
                if isinstance(transition, Transition):
                    yield f"from_any[{number}].transitions[{index}]", transition, None


def _transition(
    path: str, transition: Transition, state: str | None, known: frozenset[str]
) -> Iterator[Finding]:
    if transition.event is not None:
        yield from _name(f"{path}.event", transition.event)
    for field in ("target", "error_target"):
        name = getattr(transition, field)
        if name is not None and name not in known:
            yield Finding(
                f"{path}.{field}",
                f"unknown_{field}",
                f"{name!r} is not a state; known: {_listed(known)}",
                state=state,
            )
    if transition.target is None and not transition.commands:
        yield Finding(path, "does_nothing", "it has neither a target nor commands; give it one", state=state)
    if transition.error_target is not None and not transition.commands:
        yield Finding(
            f"{path}.error_target",
            "idle_error_target",
            "it has no commands that could fail; remove it",
            state=state,
        )
    yield from _commands(path, transition)
    if transition.guard is not None:
        yield from _guard(f"{path}.guard", transition.guard)
    yield from _after(path, transition)
    yield from _labels(f"{path}.", transition)


def _commands(path: str, transition: Transition) -> Iterator[Finding]:
    transactional: CommandRef | None = None
    for index, ref in enumerate(as_given(transition.commands)):
        where = f"{path}.commands[{index}]"
        if not isinstance(ref, CommandRef):
            yield Finding(
                where, "bad_command", f"{ref!r} is not a command: give a name, a function or a CommandRef"
            )
            continue
        yield from _name(where, ref.name)
        yield from _labels(f"{where}.", ref)
        for flag in ("best_effort", "external"):
            if not isinstance(getattr(ref, flag), bool):
                yield Finding(
                    f"{where}.{flag}", "bad_command", f"{getattr(ref, flag)!r} is not True or False"
                )
        if not ref.external:
            transactional = ref
        elif transactional is not None:
            yield Finding(
                where,
                "external_after_transactional",
                f"the external command {ref.name!r} comes after the transactional {transactional.name!r}, "
                f"whose writes could then not commit with the move; put {ref.name!r} first, or use two "
                f"states: this transition runs {transactional.name!r} and leads to a state with an automatic "
                f"transition that runs {ref.name!r}",
            )


def guard_refs(guard: Guard | None) -> Iterator[GuardRef]:
    """Every named guard inside a combination."""
    match guard:
        case GuardRef():
            yield guard
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from guard_refs(part)
        case Not(part):
            yield from guard_refs(part)


def _guard(path: str, guard: object) -> Iterator[Finding]:
    match guard:
        case GuardRef():
            yield from _name(path, guard.name)
            yield from _labels(f"{path}.", guard)
        case AllOf(parts) | AnyOf(parts):
            if not parts:
                yield Finding(path, "empty_guard", "a combination of guards needs at least one part")
            for index, part in enumerate(parts):
                yield from _guard(f"{path}[{index}]", part)
        case Not(part):
            yield from _guard(f"{path}.not", part)
        case _:
            yield Finding(
                path, "bad_guard", f"{guard!r} is not a guard: give a name, a function or a GuardRef"
            )


def _after(path: str, transition: Transition) -> Iterator[Finding]:
    after = as_given(transition.after)
    if transition.on_rejected not in ("retry", "disarm"):
        yield Finding(
            f"{path}.on_rejected", "bad_on_rejected", f"{transition.on_rejected!r}: use 'retry' or 'disarm'"
        )
    if after is None:
        if transition.on_rejected == "disarm":
            yield Finding(f"{path}.on_rejected", "not_a_timer", "only a transition with `after` can disarm")
        return
    if transition.event is None:
        yield Finding(
            path, "timer_without_event", "a timer needs an event name, under which history shows it"
        )
    if isinstance(after, timedelta):
        if after <= timedelta(0):
            yield Finding(
                f"{path}.after",
                "bad_timer",
                f"{after} is not positive; for at once, leave out event and after",
            )
        elif after > MAX_DELAY:
            yield Finding(
                f"{path}.after", "bad_timer", f"{after} is longer than the limit of {MAX_DELAY.days} days"
            )
    elif isinstance(after, DelayRef):
        yield from _name(f"{path}.after", after.name)
    else:
        yield Finding(
            f"{path}.after", "bad_timer", f"{after!r} is not a timedelta, a function or the name of one"
        )


def _wildcards(workflow: Workflow, known: frozenset[str]) -> Iterator[Finding]:
    final = {
        state.name for state in as_given(workflow.states) if isinstance(state, State) and is_final(state)
    }
    places = known | frozenset(workflow.groups)
    for number, wildcard in enumerate(as_given(workflow.from_any)):
        path = f"from_any[{number}]"
        if not isinstance(wildcard, Wildcard):
            yield Finding(path, "bad_wildcard", f"{wildcard!r} is neither a Transition nor a Wildcard")
            continue
        for field in ("within", "exclude"):
            for name in getattr(wildcard, field):
                if name not in places:
                    yield Finding(
                        f"{path}.{field}",
                        "unknown_state",
                        f"{name!r} is no state or group; known: {_listed(places)}",
                    )
                elif name in final and field == "within":
                    yield Finding(
                        f"{path}.within", "leaves_final_state", f"{name!r} is final; nothing leaves it"
                    )
        for index, transition in enumerate(as_given(wildcard.transitions)):
            where = f"{path}.transitions[{index}]"
            if not isinstance(transition, Transition):
                yield Finding(where, "bad_transition", f"{transition!r} is no Transition")
            elif transition.event is None:
                yield Finding(
                    where,
                    "automatic_wildcard",
                    "an automatic transition from many states would run on every entry",
                )


# --- what states allow, taken together ----------------------------------------------------------------------


def _shadowed(state: ResolvedState) -> Iterator[Finding]:
    """An unguarded candidate hides those after it. A state's own may hide a wildcard: that is overriding."""
    rows: list[tuple[str, tuple[Candidate, ...]]] = [*state.events.items()]
    rows.append(("$auto", tuple(c for c in state.automatic if not c.internal)))
    for event, candidates in rows:
        for wildcard in (False, True):
            group = [candidate for candidate in candidates if candidate.wildcard is wildcard]
            earlier = next((candidate for candidate in group if candidate.guard is None), None)
            if earlier is not None:
                for later in group[group.index(earlier) + 1 :]:
                    yield Finding(
                        later.path,
                        "shadowed",
                        f"in state {state.name!r} it is never tried for {event!r}: {earlier.path} comes "
                        "first and has no guard; guard that one, or put it last",
                        state=state.name,
                    )


def _timers(state: ResolvedState) -> Iterator[Finding]:
    for event, timer in state.timers.items():
        for candidate in timer.candidates[1:]:
            if candidate.transition.after != timer.after:
                yield Finding(
                    f"{candidate.path}.after",
                    "two_timers",
                    f"in state {state.name!r} the event {event!r} already has a timer of "
                    f"{_delay(timer.after)}; use another event name for the second one",
                    state=state.name,
                )
            elif candidate.transition.on_rejected != timer.candidates[0].transition.on_rejected:
                yield Finding(
                    f"{candidate.path}.on_rejected",
                    "two_timers",
                    f"the candidates of one timer ({event!r}) must agree on `on_rejected`",
                    state=state.name,
                )


def _delay(after: timedelta | DelayRef) -> str:
    return repr(after.name) if isinstance(after, DelayRef) else str(after)


def _automatic_cycles(resolved: Resolved) -> Iterator[Finding]:
    """States whose first automatic move has no guard lead on for ever if they lead back to each other."""
    onward: dict[str, Candidate] = {}
    for state in resolved.values():
        leaving = [candidate for candidate in state.automatic if not candidate.internal]
        if leaving and leaving[0].guard is None and leaving[0].target in resolved:
            onward[state.name] = leaving[0]
    reported: set[str] = set()
    for start in onward:
        path: list[str] = []
        name: str | None = start
        while name in onward and name not in path and name not in reported:
            path.append(name)
            name = onward[name].target
        if name in path:
            cycle = path[path.index(name) :]
            reported.update(cycle)
            yield Finding(
                onward[cycle[0]].path,
                "automatic_cycle",
                "automatic transitions without guards lead round for ever: "
                f"{' -> '.join([*cycle, cycle[0]])}",
                state=cycle[0],
            )


# --- warnings -----------------------------------------------------------------------------------------------


def _warnings(workflow: Workflow, resolved: Resolved) -> Iterator[Finding]:
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
    answered = workflow.event_names
    for event in workflow.events:
        if event not in answered:
            yield Finding(f"events[{event}]", "unanswered_event", "no state answers this event", "warning")


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


# --- values -------------------------------------------------------------------------------------------------


def _labels(prefix: str, value: Workflow | State | Transition | CommandRef | GuardRef) -> Iterator[Finding]:
    """What can be wrong in a description and in metadata."""
    description = as_given(value.description)
    if not isinstance(description, str):
        yield Finding(f"{prefix}description", "not_json", f"{description!r} is no text")
    for path, problem in _json_problems(f"{prefix}description", str(description), 0):
        yield Finding(path, "not_json", problem)
    yield from _json_mapping(f"{prefix}metadata", value.metadata)


def _json_mapping(path: str, value: object) -> Iterator[Finding]:
    if not isinstance(value, Mapping):
        yield Finding(path, "not_json", f"{value!r} is no mapping")
        return
    for problem in _json_problems(path, dict(value), 0):
        yield Finding(problem[0], "not_json", problem[1])
        return


def _json_problems(path: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_JSON_DEPTH:
        yield path, f"it is nested deeper than {MAX_JSON_DEPTH} levels"
        return
    match value:
        case None | bool() | int():
            return
        case str():
            if "\x00" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value):
                yield path, "text with NUL or lone surrogates cannot be stored"
        case float():
            if not math.isfinite(value):
                yield path, f"{value!r} has no JSON form"
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _json_problems(f"{path}[{index}]", item, depth + 1)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    yield path, f"the key {key!r} is not text"
                else:
                    yield from _json_problems(f"{path}.{key}", key, depth + 1)
                    yield from _json_problems(f"{path}.{key}", item, depth + 1)
        case _:
            yield path, f"{value!r} is not JSON; in definitions use text, numbers, lists and objects only"


def _listed(names: frozenset[str] | set[str]) -> str:
    return ", ".join(sorted(map(str, names))) or "none"


def missing_handlers(
    workflow: Workflow,
    *,
    commands: Callable[[str], bool],
    guards: Callable[[str], bool],
    delays: Callable[[str], bool],
) -> Iterator[Finding]:
    """Names that a definition uses and a runtime's registries do not have."""
    for path, transition, state in _all_transitions(workflow):
        for index, ref in enumerate(transition.commands):
            if not commands(ref.name):
                yield Finding(
                    f"{path}.commands[{index}]",
                    "unknown_command",
                    f"no command {ref.name!r} is registered; pass it in `Runtime(commands=…)`",
                    state=state,
                )
        for guard in guard_refs(transition.guard):
            if not guards(guard.name):
                yield Finding(
                    f"{path}.guard",
                    "unknown_guard",
                    f"no guard {guard.name!r} is registered; pass it in `Runtime(guards=…)`",
                    state=state,
                )
        if isinstance(transition.after, DelayRef) and not delays(transition.after.name):
            yield Finding(
                f"{path}.after",
                "unknown_delay",
                f"no delay function {transition.after.name!r} is registered; pass it in `Runtime(delays=…)`",
                state=state,
            )


__all__ = ["check_definition", "guard_refs", "missing_handlers", "name_problem"]
