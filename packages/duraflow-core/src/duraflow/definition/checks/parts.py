"""Are the parts right, each by itself: identity, states, groups and events?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from duraflow.definition.checks.labels import check_json, check_labels
from duraflow.definition.checks.names import check_name, listed
from duraflow.definition.findings import ALLOWABLE, Finding
from duraflow.definition.payloads import UnusablePayload
from duraflow.definition.resolve import is_final
from duraflow.definition.values import FOLLOWS, OUTCOMES, State, Transition, as_given

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow

MAX_VERSION = 2**31 - 1


def check_identity(workflow: Workflow) -> Iterator[Finding]:
    """Name, version and labels of the workflow."""
    yield from check_name("name", workflow.name)
    version = as_given(workflow.version)
    if not isinstance(version, int) or isinstance(version, bool) or not 1 <= version <= MAX_VERSION:
        yield Finding("version", "bad_version", f"{version!r} is not a whole number from 1 to {MAX_VERSION}")
    if workflow.follows not in FOLLOWS:
        yield Finding("follows", "bad_follows", f"{workflow.follows!r} is not one of {', '.join(FOLLOWS)}")
    yield from check_labels("", workflow)


def check_states(workflow: Workflow) -> Iterator[Finding]:
    """Each state by itself."""
    if not workflow.states:
        yield Finding("states", "no_states", "a workflow needs at least one state")
    seen: set[str] = set()
    for index, state in enumerate(as_given(workflow.states)):
        if not isinstance(state, State):
            yield Finding(f"states[{index}]", "bad_state", f"{state!r} is not a State")
            continue
        path = f"states[{state.name}]"
        yield from check_name(f"states[{index}].name", state.name)
        if state.name in seen:
            yield Finding(path, "duplicate_state", f"the state {state.name!r} is declared twice")
        seen.add(state.name)
        for number, transition in enumerate(as_given(state.transitions)):
            if not isinstance(transition, Transition):
                yield Finding(
                    f"{path}.transitions[{number}]", "bad_transition", f"{transition!r} is no Transition"
                )
        yield from _finality(path, state)
        yield from check_json(f"{path}.context", state.context)
        yield from check_labels(f"{path}.", state)
        for code in state.allow:
            if code not in ALLOWABLE:
                yield Finding(
                    f"{path}.allow",
                    "unknown_finding",
                    f"{code!r} cannot be allowed; known: {listed(ALLOWABLE)}",
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


def check_groups(workflow: Workflow) -> Iterator[Finding]:
    """Each group of states."""
    names = {state.name for state in as_given(workflow.states) if isinstance(state, State)}
    for group, members in workflow.groups.items():
        path = f"groups[{group}]"
        yield from check_name(path, group)
        if group in names:
            yield Finding(path, "ambiguous_group", f"{group!r} is also the name of a state")
        if not members:
            yield Finding(path, "empty_group", "a group needs at least one state")
        for member in members:
            if member not in names:
                yield Finding(path, "unknown_state", f"{member!r} is not a state; known: {listed(names)}")


def check_events(workflow: Workflow) -> Iterator[Finding]:
    """Each declared event and its payload type."""
    for event, payload in workflow.events.items():
        yield from check_name(f"events[{event}]", event)
        if isinstance(payload, UnusablePayload):
            yield Finding(f"events[{event}]", "bad_payload_type", payload.problem)
