"""What does someone hear who takes a small wrong step?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from duraflow import (
    CommandContext,
    Firing,
    InvalidArgument,
    NotSupported,
    Runtime,
    State,
    Transition,
    Unfired,
    Workflow,
)
from duraflow.memory import InMemoryPersistence


class _Ledger:
    pass


def _asks(ctx: object) -> None:
    ctx.resource(_Ledger)  # type: ignore[attr-defined]


_DOOR = Workflow(
    name="door",
    initial="open",
    states=[State("open", [Transition("shut", target="shut", commands=[_asks])]), State("shut")],
)


def test_one_workflow_stands_for_itself() -> None:
    """As one state or one transition does in a definition."""
    with Runtime(workflows=_DOOR, persistence=InMemoryPersistence()) as runtime:  # type: ignore[arg-type]
        assert runtime.create("door").state == "open"
    with pytest.raises(InvalidArgument, match=r"workflows: 'door' is not a Workflow"):
        Runtime(workflows="door", persistence=InMemoryPersistence())  # type: ignore[arg-type]


def test_a_missing_resource_says_what_to_give() -> None:
    """The text is what is to be written."""
    with Runtime(workflows=[_DOOR], persistence=InMemoryPersistence()) as runtime:
        created = runtime.create("door")
        with pytest.raises(NotSupported) as raised:
            runtime.fire(created.id, "shut")
    assert str(raised.value) == "resource(_Ledger) needs a factory: `Runtime(resources={_Ledger: …})`"


def test_one_handler_or_observer_stands_for_itself() -> None:
    """Also where several could be given."""
    told: list[object] = []
    single: Any = {"commands": _asks, "observers": told.append}
    with Runtime(workflows=[_DOOR], persistence=InMemoryPersistence(), **single) as runtime:
        runtime.create("door")
    assert len(told) == 1


def test_a_persistence_is_an_object() -> None:
    """The class itself is a slip that is easily made."""
    with pytest.raises(InvalidArgument, match=r"persistence: .* is not a Persistence; make one"):
        Runtime(workflows=[_DOOR], persistence=InMemoryPersistence)  # type: ignore[arg-type]


def test_a_bound_is_a_number() -> None:
    """A text from a settings file is told so."""
    with pytest.raises(
        InvalidArgument, match="max_automatic_moves: '3' is not a whole number from 1 to 1000"
    ):
        Runtime(workflows=[_DOOR], persistence=InMemoryPersistence(), max_automatic_moves="3")  # type: ignore[arg-type]


def test_what_one_of_many_raises_is_its_own_answer() -> None:
    """The others of a batch are committed by then: their answers are not lost to an exception."""

    def fails(ctx: CommandContext) -> None:
        raise ZeroDivisionError("by the command")

    def never(context: Mapping[str, Any]) -> bool:
        raise LookupError("by the guard")

    batch = Workflow(
        name="batch",
        initial="a",
        states=[
            State(
                "a",
                [
                    Transition("go", target="b"),
                    Transition("work", target="b", commands=[fails]),
                    Transition("ask", target="b", guard=never),
                ],
            ),
            State("b", final=True),
        ],
    )
    with Runtime(workflows=[batch], persistence=InMemoryPersistence()) as runtime:
        one, two, three, four = (runtime.create(batch) for _ in range(4))
        answers = runtime.fire_many(
            [Firing(one, "go"), Firing(two, "work"), Firing(three, "ask"), Firing(four, "go")]
        )
        assert [answer.ok for answer in answers] == [True, False, False, True]
        errors = [answer.error for answer in answers if isinstance(answer, Unfired)]
        assert [type(error) for error in errors] == [ZeroDivisionError, LookupError]
        assert [runtime.get(each).state for each in (one, two, three, four)] == ["b", "a", "a", "b"]
