"""Can an observer do harm? Neither its errors nor those of the error handler reach anyone."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from duraflow import Notice, Runtime, State, Transition, Workflow
from duraflow.memory import InMemoryPersistence
from duraflow.testing.conformance import World

FLOW = Workflow(
    name="flow",
    initial="a",
    states=[State("a", [Transition("go", target="b")]), State("b", [Transition("go", target="a")])],
)


def _burst(notice: Notice) -> None:
    raise ZeroDivisionError(f"at {notice.entry.seq}")


async def test_a_failing_observer_is_contained(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """The move is done, the next observer is told, the log names instance and entry."""
    seen: list[Notice] = []
    async with world.runtime(FLOW, observers=[_burst, seen.append, _burst]) as runtime:
        with caplog.at_level(logging.ERROR, "duraflow.observers"):
            created = await runtime.create("flow")
            result = await runtime.fire(created.id, "go")
        assert [notice.entry.seq for notice in seen] == [1, 2]
        assert result.ok
    assert len(caplog.records) == 4
    assert str(created.id) in caplog.records[0].getMessage()
    assert caplog.records[0].exc_info is not None


async def test_the_error_handler_is_told(world: World) -> None:
    """With the error and the notice; then the next observer is told."""
    told: list[Any] = []
    handler = lambda error, notice: told.append((str(error), notice.entry.event))  # noqa: E731  # as people write it
    async with world.runtime(FLOW, observers=[_burst, _burst], on_observer_error=handler) as runtime:
        await runtime.create("flow")
    assert told == [("at 1", "$created")] * 2


async def test_a_failing_error_handler_is_contained_too(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged."""

    def worse(error: Exception, notice: Notice) -> None:
        raise LookupError("worse")

    seen: list[Notice] = []
    async with world.runtime(FLOW, observers=[_burst, seen.append], on_observer_error=worse) as runtime:
        with caplog.at_level(logging.ERROR, "duraflow.observers"):
            created = await runtime.create("flow")
        assert await runtime.get(created.id) == created
    assert len(seen) == 1
    assert "on_observer_error failed" in caplog.text


async def test_every_observer_is_told_of_one_notice_before_the_next(world: World) -> None:
    """In the order in which they were given."""
    seen: list[tuple[str, int]] = []
    observers = [lambda n: seen.append(("one", n.entry.seq)), lambda n: seen.append(("two", n.entry.seq))]
    async with world.runtime(FLOW, observers=observers) as runtime, runtime.transaction() as tx:
        created = await tx.create("flow")
        await tx.fire(created.id, "go")
    assert seen == [("one", 1), ("two", 1), ("one", 2), ("two", 2)]


async def test_an_observer_may_fire(world: World) -> None:
    """After the commit it is not inside anything: what it does is a step of its own, and is told as well."""
    if world.subject.asyncio:
        holder: list[Any] = []
        told: list[int] = []

        async def follow(notice: Notice) -> None:
            told.append(notice.entry.seq)
            if notice.entry.seq < 4:
                await holder[0].fire(notice.instance.id, "go")

        async with world.runtime(FLOW, observers=[follow]) as runtime:
            holder.append(runtime)
            created = await runtime.create("flow")
            assert (await runtime.get(created.id)).version == 4
        assert told == [1, 2, 3, 4]


def test_the_blocking_runtime_contains_an_async_observer() -> None:
    """It cannot be awaited there: that is its error, and the handler learns of it."""
    told: list[Exception] = []

    async def waits(notice: Notice) -> None:
        raise AssertionError("it ran")

    runtime = Runtime(
        workflows=[FLOW],
        persistence=InMemoryPersistence(),
        observers=[waits],
        on_observer_error=lambda error, notice: told.append(error),
    )
    with runtime:
        runtime.create("flow")
    assert ["async" in str(error) for error in told] == [True]
