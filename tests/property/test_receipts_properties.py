"""Are random requests with keys, sent again and among one another, answered as a dictionary would answer them?

The model knows nothing of receipts: it remembers which request came first under a key, and what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duraflow import (
    AsyncRuntime,
    EventRefused,
    FireResult,
    Firing,
    IdempotencyConflict,
    Instance,
    NewInstance,
    State,
    Transition,
    Unfired,
    Workflow,
)
from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing import acheck_invariants
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver


def log(ctx: Any) -> None:
    """Writes down what it was given."""
    ctx.context["log"] = [*ctx.context.get("log", []), ctx.payload]


def boom(ctx: Any) -> None:
    """Writes, and raises."""
    log(ctx)
    raise ZeroDivisionError


def no(context: Mapping[str, Any]) -> bool:
    """Never."""
    return False


BOOK = Workflow(
    name="book",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("log", commands=[log]),
                Transition("touch", target="open"),
                Transition("ask", target="closed", guard=no),
                Transition("boom", commands=[boom]),
                Transition("close", target="closed"),
            ],
        ),
        State("closed"),
    ],
)

Form = Literal["one", "try", "many", "transaction"]
FORMS: tuple[Form, ...] = ("one", "try", "many", "transaction")
KEYS = st.sampled_from([None, "a", "b", "a ", "A"])
VALUES = st.sampled_from([None, 0, 1, True, "x", [1], {"n": 1}, {"n": 1, "m": 2}, {"n": [1]}])


@attrs.frozen
class Fire:
    """An event at the n-th instance."""

    number: int
    event: str
    payload: Any
    key: str | None
    form: Form


@attrs.frozen
class Create:
    """A creation."""

    value: Any
    key: str | None
    form: Form


@attrs.frozen
class Again:
    """An earlier request, sent again; in another form."""

    number: int
    form: Form


@attrs.frozen
class Restart:
    """Another process goes on."""


EVENTS = st.sampled_from(["log", "log", "touch", "ask", "boom", "sing", "touch", "log", "close"])
FIRES = st.builds(Fire, st.integers(0, 9), EVENTS, VALUES, KEYS, st.sampled_from(FORMS))
CREATES = st.builds(Create, VALUES, KEYS, st.sampled_from(FORMS))
AGAIN = st.builds(Again, st.integers(0, 30), st.sampled_from(FORMS))
SCRIPTS = st.lists(st.one_of(FIRES, FIRES, CREATES, AGAIN, AGAIN, st.builds(Restart)), max_size=25)


@attrs.define
class Model:
    """What there is to be, and what was said under each key."""

    instances: list[Instance] = attrs.field(factory=list)
    logs: list[list[Any]] = attrs.field(factory=list)
    open: list[bool] = attrs.field(factory=list)
    versions: list[int] = attrs.field(factory=list)
    fired: dict[tuple[int, str], tuple[str, FireResult]] = attrs.field(factory=dict)
    created: dict[str, tuple[str, Instance]] = attrs.field(factory=dict)


async def _fire(runtime: AsyncRuntime, one: Firing, form: Form) -> Any:
    """A result or an error, as a value."""
    try:
        if form == "try":
            return await runtime.try_fire(one.target, one.event, one.payload, key=one.key)
        if form == "many":
            return (await runtime.fire_many([one]))[0]
        if form == "transaction":
            async with runtime.transaction() as tx:
                return await tx.fire(one.target, one.event, one.payload, key=one.key)
        return await runtime.fire(one.target, one.event, one.payload, key=one.key)
    except (EventRefused, IdempotencyConflict, ZeroDivisionError) as error:
        return error


async def _create(runtime: AsyncRuntime, new: NewInstance, form: Form) -> Any:
    try:
        if form == "many":
            return (await runtime.create_many([new]))[0]
        if form == "transaction":
            async with runtime.transaction() as tx:
                return await tx.create("book", new.context, key=new.key)
        return await runtime.create("book", new.context, key=new.key)
    except IdempotencyConflict as error:
        return error


def _kind(answer: Any) -> Any:
    return type(answer.error if isinstance(answer, Unfired) else answer)


async def _check_fire(model: Model, runtime: AsyncRuntime, asked: Fire) -> None:
    if not model.instances:
        return
    n = asked.number % len(model.instances)
    target = model.instances[n].id
    answer = await _fire(runtime, Firing(target, asked.event, asked.payload, key=asked.key), asked.form)
    request = repr((asked.event, asked.payload))
    first = None if asked.key is None else model.fired.get((n, asked.key))
    if first is not None:
        if first[0] == request:
            assert (answer, answer.replayed) == (first[1], True)
        else:
            assert _kind(answer) is IdempotencyConflict
    elif asked.event == "sing" or not model.open[n]:
        assert _kind(answer) is EventRefused
    elif asked.event == "boom":
        assert _kind(answer) is ZeroDivisionError
    else:
        assert isinstance(answer, FireResult)
        assert (answer.event, answer.replayed) == (asked.event, False)
        assert answer.status == ("rejected" if asked.event == "ask" else "success")
        model.versions[n] += 1
        if asked.event == "log":
            model.logs[n].append(asked.payload)
        if asked.event == "close":
            model.open[n] = False
        if asked.key is not None:
            model.fired[n, asked.key] = request, answer
    after = await runtime.get(target)
    assert (after.version, after.context.get("log", []), after.open) == (
        model.versions[n],
        model.logs[n],
        model.open[n],
    )


async def _check_create(model: Model, runtime: AsyncRuntime, asked: Create) -> None:
    answer = await _create(runtime, NewInstance("book", {"value": asked.value}, key=asked.key), asked.form)
    first = None if asked.key is None else model.created.get(asked.key)
    if first is None:
        assert isinstance(answer, Instance)
        model.instances.append(answer)
        model.logs.append([])
        model.open.append(True)
        model.versions.append(1)
        if asked.key is not None:
            model.created[asked.key] = repr(asked.value), answer
    elif first[0] == repr(asked.value):
        assert answer == first[1]
    else:
        assert isinstance(answer, IdempotencyConflict)
    assert sum(row.count for row in await runtime.count()) == len(model.instances)


async def _run(driver: Driver, script: list[Any]) -> None:
    database, model, earlier = InMemoryDatabase(), Model(), list[Any]()
    rest = [Create(None, None, "one"), *script]
    while True:
        persistence = InMemoryPersistence(database=database)
        async with driver.runtime(workflows=[BOOK], persistence=persistence) as runtime:
            while rest:
                asked = rest.pop(0)
                if isinstance(asked, Restart):
                    break
                if isinstance(asked, Again):
                    if not earlier:
                        continue
                    asked = attrs.evolve(earlier[asked.number % len(earlier)], form=asked.form)
                earlier.append(asked)
                await (_check_fire if isinstance(asked, Fire) else _check_create)(model, runtime, asked)
            else:
                await acheck_invariants(persistence, workflows=[BOOK])
                return


@pytest.mark.parametrize("driver", [BlockingDriver(), AsyncioDriver()], ids=["blocking", "asyncio"])
@given(script=SCRIPTS)
def test_keys_are_answered_as_a_dictionary_would(driver: Driver, script: list[Any]) -> None:
    """What came first under a key is the answer for good; everything else is done as without one."""
    driver.run(_run(driver, script))
