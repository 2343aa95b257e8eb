"""Is each transition right, with its commands, guards and timer, and each wildcard?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from duraflow.definition.checks.labels import check_labels
from duraflow.definition.checks.names import check_name, listed
from duraflow.definition.findings import Finding
from duraflow.definition.resolve import is_final
from duraflow.definition.values import (
    MAX_DELAY,
    AllOf,
    AnyOf,
    CommandRef,
    DelayRef,
    GuardRef,
    Not,
    State,
    Transition,
    Wildcard,
    as_given,
)

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow


def check_transition(
    path: str, transition: Transition, state: str | None, known: frozenset[str]
) -> Iterator[Finding]:
    """One transition."""
    if transition.event is not None:
        yield from check_name(f"{path}.event", transition.event)
    for field in ("target", "error_target"):
        name = getattr(transition, field)
        if name is not None and name not in known:
            yield Finding(
                f"{path}.{field}",
                f"unknown_{field}",
                f"{name!r} is not a state; known: {listed(known)}",
                state=state,
            )
    if transition.target is None and not transition.commands and not transition.emits:
        yield Finding(
            path, "does_nothing", "it has no target, no commands and emits nothing; give it one", state=state
        )
    for index, topic in enumerate(as_given(transition.emits)):
        yield from check_name(f"{path}.emits[{index}]", topic)
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
    yield from check_labels(f"{path}.", transition)


def _commands(path: str, transition: Transition) -> Iterator[Finding]:
    transactional: CommandRef | None = None
    for index, ref in enumerate(as_given(transition.commands)):
        where = f"{path}.commands[{index}]"
        if not isinstance(ref, CommandRef):
            yield Finding(
                where, "bad_command", f"{ref!r} is not a command: give a name, a function or a CommandRef"
            )
            continue
        yield from check_name(where, ref.name)
        yield from check_labels(f"{where}.", ref)
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


def _guard(path: str, guard: object) -> Iterator[Finding]:
    match guard:
        case GuardRef():
            yield from check_name(path, guard.name)
            yield from check_labels(f"{path}.", guard)
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
        yield from check_name(f"{path}.after", after.name)
    else:
        yield Finding(
            f"{path}.after", "bad_timer", f"{after!r} is not a timedelta, a function or the name of one"
        )


def check_wildcards(workflow: Workflow, known: frozenset[str]) -> Iterator[Finding]:
    """Each wildcard."""
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
                        f"{name!r} is no state or group; known: {listed(places)}",
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
