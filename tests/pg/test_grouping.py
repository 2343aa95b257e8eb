"""Do calls that wait at the same time share a trip, and is each told its own truth?"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from duraflow import NewInstance
from duraflow.testing.driver import AsyncioDriver
from duraflow_pg.grouping import Grouping
from tests.pg.kit import check_all, order, runtime_on
from tests.pg.wire import Wire


class Flush:
    """Notes the batches; each waits until it is let go, and answers ten times its item."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gates: list[asyncio.Event] = []
        self.failing: set[int] = set()
        self.ended = 0

    async def __call__(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        gate = asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        self.ended += 1
        if self.failing & set(items):
            raise ValueError(f"refused {sorted(self.failing & set(items))}")
        return [item * 10 for item in items]


def run(body: Coroutine[Any, Any, None]) -> None:
    """Run a test that must not hang."""

    async def limited() -> None:
        async with asyncio.timeout(10):
            await body

    asyncio.run(limited())


async def settle() -> None:
    """Let every task go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


def submit(grouping: Grouping[int, int], flush: Flush, item: int, key: Any = None) -> asyncio.Task[int]:
    """Hand one in, in a task of its own."""
    return asyncio.ensure_future(grouping.submit(item, item if key is None else key, flush))


async def under_way(grouping: Grouping[int, int], flush: Flush, *items: int) -> list[asyncio.Task[int]]:
    """Hand these in at one moment, and see them sent."""
    tasks = [submit(grouping, flush, item) for item in items]
    await settle()
    assert flush.batches[-1] == list(items)
    return tasks


def test_the_first_goes_at_once_and_the_rest_together() -> None:
    """With nothing under way a call is sent as it is; what comes while all slots are taken goes as one batch."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=2), Flush()
        tasks = await under_way(grouping, flush, 0)
        tasks += await under_way(grouping, flush, 1)
        tasks += [submit(grouping, flush, item) for item in range(2, 6)]
        await settle()
        assert flush.batches == [[0], [1]]
        flush.gates[0].set()
        await settle()
        assert flush.batches == [[0], [1], [2, 3, 4, 5]]
        for gate in flush.gates:
            gate.set()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50]

    run(body())


def test_those_who_are_woken_together_go_together() -> None:
    """Callers that go on at one moment are in one batch: the first of them does not leave the others behind."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=2), Flush()
        tasks = await under_way(grouping, flush, 0, 1, 2)
        flush.gates[0].set()
        assert await asyncio.gather(*tasks) == [0, 10, 20]
        tasks = await under_way(grouping, flush, 3, 4, 5)
        flush.gates[1].set()
        assert await asyncio.gather(*tasks) == [30, 40, 50]

    run(body())


@pytest.mark.parametrize(("eager", "sent"), [(False, [[0, 1, 2, 3]]), (True, [[0, 1, 2, 3], [4]])])
def test_a_second_batch_is_at_least_half_as_large_as_the_last(eager: bool, sent: list[list[int]]) -> None:
    """A few that come beside a large batch wait for it to end, or for more of them; unless they must not wait."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=2, eager=eager), Flush()
        tasks = await under_way(grouping, flush, 0, 1, 2, 3)
        tasks.append(submit(grouping, flush, 4))
        await settle()
        assert flush.batches == sent
        tasks.append(submit(grouping, flush, 5))
        await settle()
        assert len(flush.batches) == 2
        flush.gates[0].set()
        flush.gates[1].set()
        await settle()
        for gate in flush.gates:
            gate.set()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40, 50]

    run(body())


def test_a_few_go_when_the_large_batch_has_ended() -> None:
    """Whoever waited beside a large batch is sent as soon as nothing is under way."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=2), Flush()
        tasks = await under_way(grouping, flush, 0, 1, 2, 3)
        tasks.append(submit(grouping, flush, 4))
        await settle()
        flush.gates[0].set()
        await settle()
        assert flush.batches == [[0, 1, 2, 3], [4]]
        flush.gates[1].set()
        assert await asyncio.gather(*tasks) == [0, 10, 20, 30, 40]

    run(body())


def test_a_batch_has_a_largest_size_and_one_item_for_a_key() -> None:
    """More than the largest batch, and a second item of one key, wait for the next one, in order."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1, largest=3), Flush()
        keys = ["x", "a", "a", "b", "c", "d", "a"]
        tasks = [submit(grouping, flush, 0, keys[0])]
        await settle()
        tasks += [submit(grouping, flush, item, key) for item, key in enumerate(keys) if item]
        for number in range(5):
            await settle()
            if number < len(flush.gates):
                flush.gates[number].set()
        assert await asyncio.gather(*tasks) == [item * 10 for item in range(7)]
        assert flush.batches == [[0], [1, 3, 4], [2, 5], [6]]

    run(body())


def test_whoever_is_cancelled_before_the_flush_is_withdrawn() -> None:
    """A waiter that is cancelled while it waits for its turn is in no batch."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1), Flush()
        tasks = await under_way(grouping, flush, 0)
        tasks += [submit(grouping, flush, item) for item in range(1, 4)]
        await settle()
        tasks[2].cancel()
        await settle()
        flush.gates[0].set()
        await settle()
        assert flush.batches == [[0], [1, 3]]
        flush.gates[1].set()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(answer) for answer in answers] == [int, int, asyncio.CancelledError, int]

    run(body())


def test_when_all_are_withdrawn_nothing_is_sent() -> None:
    """A batch of cancelled waiters alone is no batch, and the slot stays free."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1), Flush()
        tasks = await under_way(grouping, flush, 0)
        tasks += [submit(grouping, flush, item) for item in range(1, 3)]
        await settle()
        tasks[1].cancel()
        tasks[2].cancel()
        await settle()
        flush.gates[0].set()
        await settle()
        late = submit(grouping, flush, 7)
        await settle()
        assert flush.batches == [[0], [7]]
        flush.gates[1].set()
        assert await late == 70

    run(body())


def test_after_the_flush_the_batch_goes_on() -> None:
    """Cancelling a waiter whose batch is under way ends its waiting, not the batch: the others get their answers."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1), Flush()
        (blocker,) = await under_way(grouping, flush, 0)
        tasks = [submit(grouping, flush, item) for item in (1, 2)]
        await settle()
        flush.gates[0].set()
        await settle()
        assert flush.batches == [[0], [1, 2]]
        tasks[0].cancel()
        await settle()
        assert tasks[0].cancelled()
        assert flush.ended == 1
        flush.gates[1].set()
        assert (await blocker, await tasks[1]) == (0, 20)
        assert flush.ended == 2

    run(body())


def test_the_task_that_sends_is_nobodys() -> None:
    """Cancelling the very caller whose call began a batch does not stop that batch."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1), Flush()
        first = submit(grouping, flush, 1)
        await settle()
        first.cancel()
        await settle()
        flush.gates[0].set()
        await grouping.drain()
        assert (flush.ended, first.cancelled()) == (1, True)

    run(body())


def test_a_failure_reaches_its_whole_batch_and_no_other() -> None:
    """What the flush raises goes to everyone in the batch; the next batch is sent all the same."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1), Flush()
        flush.failing = {2}
        tasks = await under_way(grouping, flush, 0)
        tasks += [submit(grouping, flush, item) for item in (1, 2)]
        await settle()
        flush.gates[0].set()
        await settle()
        later = submit(grouping, flush, 3)
        flush.gates[1].set()
        await settle()
        flush.gates[2].set()
        answers = await asyncio.gather(*tasks, later, return_exceptions=True)
        assert [str(answer) for answer in answers] == ["0", "refused [2]", "refused [2]", "30"]

    run(body())


def test_drain_waits_for_everything() -> None:
    """After `drain` nothing is under way, also what was still waiting when it was called."""

    async def body() -> None:
        grouping, flush = Grouping[int, int](slots=1), Flush()
        tasks = await under_way(grouping, flush, 0)
        tasks += [submit(grouping, flush, item) for item in range(1, 3)]
        await settle()
        draining = asyncio.ensure_future(grouping.drain())
        await settle()
        assert not draining.done()
        flush.gates[0].set()
        await settle()
        assert not draining.done()
        flush.gates[1].set()
        await draining
        assert [task.done() for task in tasks] == [True] * 3

    run(body())


@pytest.mark.parametrize("event", ["reopen", "ask"])
def test_fires_at_the_same_time_share_reads_and_writes(pg_dsn: str, namespace: str, event: str) -> None:
    """50 concurrent command-free fires take a handful of statements, and each is told its own result."""
    driver = AsyncioDriver()

    async def body() -> None:
        with Wire(pg_dsn) as wire:
            pool = {"namespace": namespace, "min_size": 4, "max_size": 4}
            async with runtime_on(driver, wire.dsn, order(), pool=pool) as runtime:
                made = await runtime.create_many([NewInstance("order")] * 50)
                await runtime.fire(made[0], event)
                with wire.watched() as seen:
                    results = await driver.together(
                        *(lambda one=one: runtime.fire(one, event) for one in made)
                    )
                assert [result.instance.id for result in results] == [one.id for one in made]
                assert {result.status for result in results} == {
                    "success" if event == "reopen" else "rejected"
                }
                assert len(seen.statements) <= 12
                await check_all(runtime)

    driver.run(body())


def test_alone_there_is_no_added_wait(pg_dsn: str, namespace: str) -> None:
    """One fire after the other takes exactly a read and a write each: nothing waits for company."""
    driver = AsyncioDriver()

    async def body() -> None:
        with Wire(pg_dsn) as wire:
            pool = {"namespace": namespace, "min_size": 1, "max_size": 1}
            async with runtime_on(driver, wire.dsn, order(), pool=pool) as runtime:
                one = await runtime.create("order")
                with wire.watched() as seen:
                    for _ in range(5):
                        await runtime.fire(one, "reopen")
                assert seen.words == ["SELECT", "WITH"] * 5

    driver.run(body())


def test_closing_waits_for_what_is_under_way(pg_dsn: str, namespace: str) -> None:
    """A move whose caller was cancelled after it was sent is written before the pool closes."""
    driver = AsyncioDriver()

    async def body() -> None:
        async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace}) as runtime:
            made = await runtime.create_many([NewInstance("order")] * 30)
            tasks = [asyncio.ensure_future(runtime.fire(one, "reopen")) for one in made]
            await asyncio.sleep(0.005)
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace}) as runtime:
            await check_all(runtime)

    driver.run(body())
