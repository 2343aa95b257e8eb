"""Which transitions does a workflow have, as texts for people?

The one introspection that all diagrams and tables are made from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import attrs

from duraflow.definition.values import AllOf, AnyOf, CommandRef, DelayRef, Guard, Not, Transition, Wildcard
from duraflow.definition.workflow import Workflow

Kind = Literal["event", "automatic", "timer"]


@attrs.frozen(kw_only=True)
class Row:
    """One transition. Texts are empty where there is nothing to say.

    Attributes:
        path: where it stands in the definition.
        source: the state that it leaves; None for a wildcard, which is listed once.
        within: for a wildcard, the states and groups that have it; empty for every non-final state.
        exclude: for a wildcard, the states and groups that do not.
        guard: such as `a and (b or not c)`.
        commands: names in order, such as `charge (external), note`.
        emits: topics in order, such as `order.paid, mail`.
        target: None for an internal transition.
        after: when its timer fires: `60d`, `1h 30m`, or the name of a function.
    """

    path: str
    source: str | None
    within: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    kind: Kind
    event: str | None
    guard: str = ""
    commands: str = ""
    emits: str = ""
    target: str | None
    error_target: str | None = None
    after: str = ""
    description: str = ""

    @property
    def internal(self) -> bool:
        """It runs its commands and stays in the state, without entering it again."""
        return self.target is None

    @property
    def reach(self) -> str:
        """For a wildcard, in words where it applies; else empty."""
        if self.source is not None:
            return ""
        where = f"any of {', '.join(self.within)}" if self.within else "any state"
        return where + (f" but {', '.join(self.exclude)}" if self.exclude else "")


def transition_table(workflow: Workflow) -> tuple[Row, ...]:
    """All transitions in the order of the definition: those of each state, then the wildcards."""
    return tuple(_rows(workflow))


def _rows(workflow: Workflow) -> Iterator[Row]:
    for state in workflow.states:
        for index, transition in enumerate(state.transitions):
            yield _row(f"states[{state.name}].transitions[{index}]", transition, state.name, None)
    for number, wildcard in enumerate(workflow.from_any):
        for index, transition in enumerate(wildcard.transitions):
            yield _row(f"from_any[{number}].transitions[{index}]", transition, None, wildcard)


def _row(path: str, transition: Transition, source: str | None, wildcard: Wildcard | None) -> Row:
    if transition.event is None:
        kind: Kind = "automatic"
    else:
        kind = "event" if transition.after is None else "timer"
    return Row(
        path=path,
        source=source,
        within=wildcard.within if wildcard else (),
        exclude=wildcard.exclude if wildcard else (),
        kind=kind,
        event=transition.event,
        guard=guard_text(transition.guard),
        commands=", ".join(map(_command_text, transition.commands)),
        emits=", ".join(transition.emits),
        target=transition.target,
        error_target=transition.error_target,
        after=delay_text(transition.after),
        description=transition.description,
    )


def guard_text(guard: Guard | None) -> str:
    """A guard as a condition.

    >>> from duraflow.definition.values import all_of, any_of, not_
    >>> guard_text(all_of("paid", any_of("small", not_("foreign"))))
    'paid and (small or not foreign)'
    """
    return "" if guard is None else _guard_text(guard, outermost=True)


def _guard_text(guard: Guard, *, outermost: bool = False) -> str:
    match guard:
        case AllOf(parts) | AnyOf(parts):
            text = (" and " if isinstance(guard, AllOf) else " or ").join(map(_guard_text, parts))
            return text if outermost or len(parts) == 1 else f"({text})"
        case Not(part):
            return f"not {_guard_text(part)}"
    # Quotes keep apart the name "a and b" and the names a, b.
    return guard.name if re.fullmatch(r"\S+", guard.name) else f"“{guard.name}”"


def _command_text(command: CommandRef) -> str:
    kinds = [
        text
        for is_so, text in ((command.external, "external"), (command.best_effort, "best effort"))
        if is_so
    ]
    return f"{command.name} ({', '.join(kinds)})" if kinds else command.name


def delay_text(after: timedelta | DelayRef | None) -> str:
    """A delay in short.

    >>> delay_text(timedelta(days=1, hours=2, seconds=1.5))
    '1d 2h 1.5s'
    """
    if after is None:
        return ""
    if isinstance(after, DelayRef):
        return after.name
    minutes, seconds = divmod(after.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f"{seconds}.{after.microseconds:06d}".rstrip("0").rstrip(".")
    parts = ((f"{after.days}", "d"), (f"{hours}", "h"), (f"{minutes}", "m"), (fraction or "0", "s"))
    return " ".join(f"{amount}{unit}" for amount, unit in parts if amount != "0")
