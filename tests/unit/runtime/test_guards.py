"""Is each guard asked at most once in a step, and only what is needed?"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from duraflow import (
    Blocker,
    DefinitionError,
    GuardRef,
    InvalidArgument,
    Runtime,
    State,
    Transition,
    Workflow,
    all_of,
    any_of,
    not_,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing.conformance import World

asked: Counter[str] = Counter()


def _guard(name: str, answer: Any) -> Any:
    def guard() -> Any:
        asked[name] += 1
        return answer

    guard.__name__ = name
    return guard


YES, NO, OTHER = _guard("yes", True), _guard("no", False), _guard("other", False)


def _flow(*transitions: Transition, second: Any = ()) -> Workflow:
    return Workflow(
        name="flow",
        initial="a",
        states=[
            State("a", [*transitions, Transition("stop", target="end")]),
            State("b", [*second, Transition("stop", target="end")]),
            State("end"),
        ],
    )


CASES: list[tuple[list[Transition], str, dict[str, int]]] = [
    ([Transition("go", target="b", guard=YES)], "success", {"yes": 1}),
    # The same guard in several candidates and parts: one question.
    (
        [
            Transition("go", target="b", guard=all_of(NO, YES)),
            Transition("go", target="b", guard=any_of(NO, OTHER)),
            Transition("go", target="end", guard=not_(NO)),
        ],
        "success",
        {"no": 1, "yes": 1, "other": 1},
    ),
    # The first that holds ends the search.
    (
        [Transition("go", target="b", guard=YES), Transition("go", target="b", guard=OTHER)],
        "success",
        {"yes": 1},
    ),
    # `all_of` tells all that is missing, `any_of` stops at the first yes.
    (
        [Transition("go", target="b", guard=all_of(NO, OTHER, YES))],
        "rejected",
        {"no": 1, "other": 1, "yes": 1},
    ),
    ([Transition("go", target="b", guard=any_of(YES, NO))], "success", {"yes": 1}),
    # Other events' guards are nobody's business.
    ([Transition("go", target="b"), Transition("x", target="b", guard=NO)], "success", {}),
]


@pytest.mark.parametrize(("transitions", "status", "questions"), CASES)
@pytest.mark.parametrize("locking", ["auto", "always"])
async def test_a_guard_is_asked_once(
    world: World, transitions: list[Transition], status: str, questions: dict[str, int], locking: str
) -> None:
    """For one event, whatever the path."""
    async with world.runtime(_flow(*transitions), locking=locking) as runtime:
        created = await runtime.create("flow")
        asked.clear()
        assert (await runtime.fire(created.id, "go")).status == status
        assert asked == questions


async def test_an_automatic_search_asks_each_once(world: World) -> None:
    """Until a command has run: then the context may be another, and it is asked again."""

    def act(ctx: Any) -> None:
        ctx.context["acted"] = True

    searching = [
        Transition(target="end", guard=NO),
        Transition(target="end", guard=all_of(NO, YES)),
        Transition(commands=[act], guard=YES),
        Transition(target="end", guard=all_of(NO, YES)),
    ]
    async with world.runtime(_flow(Transition("go", target="b"), second=searching)) as runtime:
        created = await runtime.create("flow")
        asked.clear()
        await runtime.fire(created.id, "go")
        assert asked == {"no": 2, "yes": 2}


async def test_one_guard_with_two_parameters_is_two_questions(world: World) -> None:
    """`params` is the metadata of the reference."""

    def at_least(params: Any, context: Any) -> bool | Blocker:
        asked[f"at least {params['n']}"] += 1
        return bool(context["n"] >= params["n"]) or Blocker("low", parameters={"n": params["n"]})

    flow = _flow(
        Transition("go", target="end", guard=GuardRef("at_least", metadata={"n": 9})),
        Transition("go", target="b", guard=GuardRef("at_least", metadata={"n": 5})),
    )
    async with world.runtime(flow, guards=[at_least]) as runtime:
        created = await runtime.create("flow", {"n": 6})
        asked.clear()
        assert (await runtime.fire(created.id, "go")).to_state == "b"
        assert asked == {"at least 9": 1, "at least 5": 1}


@pytest.mark.parametrize("answer", [None, 1, 0, "yes", "", [], Blocker, (False, "why")])
async def test_a_guard_says_yes_no_or_why(world: World, answer: Any) -> None:
    """Anything else is a mistake, told by name; nothing is written."""
    async with world.runtime(_flow(Transition("go", target="b", guard=_guard("vague", answer)))) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(InvalidArgument, match="vague"):
            await runtime.fire(created.id, "go")
        assert await runtime.get(created.id) == created


async def test_what_a_guard_raises_goes_on(world: World) -> None:
    """With a note that names the guard; nothing is written."""

    def burst() -> bool:
        raise ZeroDivisionError

    async with world.runtime(_flow(Transition("go", target="b", guard=burst))) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(ZeroDivisionError) as caught:
            await runtime.fire(created.id, "go")
        assert any("burst" in text for text in caught.value.__notes__)
        assert await runtime.get(created.id) == created


async def test_a_guard_cannot_write(world: World) -> None:
    """Its context is read-only."""

    def meddle(context: Any) -> bool:
        context["x"] = 1
        return True

    async with world.runtime(_flow(Transition("go", target="b", guard=meddle))) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(TypeError):
            await runtime.fire(created.id, "go")


async def test_guards_may_be_objects(world: World) -> None:
    """With a method `check`; commands with a method `execute`."""

    class Limit:
        def check(self, context: Any, metadata: Any, now: Any, payload: Any) -> bool:
            return bool(context["n"] < 5)

    class Add:
        def execute(self, ctx: Any) -> None:
            ctx.context["n"] += 1

    flow = Workflow(
        name="flow",
        initial="a",
        states=[State("a", [Transition("go", target="a", guard="limit", commands=["add"])])],
    )
    async with world.runtime(flow, guards={"limit": Limit()}, commands={"add": Add()}) as runtime:
        created = await runtime.create("flow", {"n": 4})
        assert (await runtime.fire(created.id, "go")).status == "success"
        assert (await runtime.fire(created.id, "go")).status == "rejected"


async def _async_guard() -> bool:
    return True


def _star(*args: Any) -> bool:
    return True


def _stars(**kwargs: Any) -> bool:
    return True


def _subject(subject: Any) -> bool:
    return True


@pytest.mark.parametrize("guard", [_async_guard, _star, _stars, _subject, 5, object()])
def test_a_guard_that_cannot_be_asked_is_refused_at_once(guard: Any) -> None:
    """Async, with parameters that are none of its business, or not callable: when the runtime is made."""
    with pytest.raises(InvalidArgument, match="guards"):
        Runtime(
            workflows=[_flow(Transition("go", target="b", guard="g"))],
            guards={"g": guard},
            persistence=InMemoryPersistence(),
        )


def test_names_that_nobody_registered_are_told_together() -> None:
    """Commands, guards and delays, when the runtime is made (LESSONS 4.6: not when something is fired)."""
    flow = _flow(
        Transition("go", target="b", guard="missing_guard", commands=["missing_command"]),
        Transition("tick", target="b", after="missing_delay"),
    )
    with pytest.raises(DefinitionError) as caught:
        Runtime(workflows=[flow], persistence=InMemoryPersistence())
    assert {finding.code for finding in caught.value.findings} == {
        "unknown_guard",
        "unknown_command",
        "unknown_delay",
    }


def test_one_name_is_one_handler() -> None:
    """Two functions of one name are refused; the same one twice is fine; lambdas need a name."""
    flow = _flow(Transition("go", target="b", guard=YES))

    def runtime(**handlers: Any) -> Runtime:
        return Runtime(workflows=[flow], persistence=InMemoryPersistence(), **handlers)

    runtime(guards=[YES])
    runtime(guards={"yes": YES, "unused": NO})
    for handlers in (
        {"guards": [_guard("yes", False)]},
        {"guards": [lambda: True]},
        {"commands": [5]},
        {"guards": {"$x": YES}},
        {"guards": {"": YES}},
    ):
        with pytest.raises(InvalidArgument, match=r"guards|commands"):
            runtime(**handlers)
