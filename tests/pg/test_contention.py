"""Several at once over real connections: who waits, who wins, what is lost? Nothing may be."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from duraflow import (
    AlreadyExists,
    AsyncRuntime,
    EventRefused,
    Firing,
    Instance,
    LockTimeout,
    NewInstance,
    State,
    StoreUnavailable,
    Transition,
    Unfired,
    Workflow,
)
from duraflow.testing import ManualClock
from duraflow.testing.driver import AsyncioDriver, Driver
from duraflow_pg import Timeouts
from tests.pg.conftest import Notes
from tests.pg.kit import DAY, check_all, engine_of, execute, in_both_worlds, look, order, reminder, runtime_on

SHORT = Timeouts(lock=timedelta(milliseconds=150))
LOCK = "SELECT 1 FROM workflow_instances WHERE id = %s FOR UPDATE"


def counter(driver: Driver) -> Workflow:
    """`count` reads, adds and writes in a command; `touch` runs none; `shut` ends it; `remind` is a timer."""

    async def count(ctx: Any, runtime: Any) -> None:
        number = ctx.context.get("n", 0)
        await driver.waits.sleep(0)
        ctx.context["n"] = number + 1

    return Workflow(
        name="counter",
        initial="open",
        states=[
            State(
                "open",
                [
                    Transition("count", commands=[driver.command(count)]),
                    Transition("touch", target="open"),
                    Transition("shut", target="shut"),
                    Transition("remind", target="open", after=DAY),
                ],
            ),
            State("shut", final=True),
        ],
    )


# --- locks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", ["reopen", "ask", "pay"])
@in_both_worlds
async def test_a_held_row_is_waited_for_with_a_limit(
    driver: Driver, pg_dsn: str, namespace: str, event: str
) -> None:
    """Whoever fires at a row that someone holds gets `LockTimeout` after the limit, command or not; nothing written."""
    pool = {"namespace": namespace, "timeouts": SHORT}
    async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
        one = await runtime.create("order")
        with psycopg.connect(pg_dsn) as holder:
            holder.execute(LOCK, [one.id])
            with pytest.raises(LockTimeout):
                await runtime.fire(one, event)
            assert isinstance((await runtime.fire_many([Firing(one, event)]))[0], Unfired)
        assert await runtime.get(one) == one
        assert (await runtime.fire(one, event)).status in ("success", "rejected")
        await check_all(runtime)


def test_a_held_row_holds_up_nobody_else(pg_dsn: str, namespace: str) -> None:
    """However many tasks wait for rows that someone holds, moves of other instances go on in the same process."""
    driver = AsyncioDriver()

    async def body() -> None:
        pool = {"namespace": namespace, "max_size": 10, "timeouts": Timeouts(lock=timedelta(seconds=5))}
        async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
            held = await runtime.create_many([NewInstance("order")] * 4)
            free = await runtime.create("order")
            with psycopg.connect(pg_dsn) as holder:
                holder.execute("SELECT 1 FROM workflow_instances WHERE id = ANY (%s) FOR UPDATE", [ids(held)])
                waiting = [asyncio.ensure_future(runtime.fire(one, "reopen")) for one in held]
                await asyncio.sleep(0.05)
                async with asyncio.timeout(2):
                    for _ in range(3):
                        await runtime.fire(free, "reopen")
                assert not any(task.done() for task in waiting)
            assert [result.ok for result in await asyncio.gather(*waiting)] == [True] * 4
            await check_all(runtime)

    driver.run(body())


@in_both_worlds
async def test_a_ref_that_someone_is_about_to_take_is_waited_for(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """A creation waits, with a limit, for an open transaction with the same ref; other moves go on meanwhile."""
    pool = {"namespace": namespace, "timeouts": SHORT}
    async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
        free = await runtime.create("order")
        async with runtime.transaction() as tx:
            taken = await tx.create("order", ref="A1")
            with pytest.raises(LockTimeout):
                await runtime.create("order", ref="A1")
            with pytest.raises(LockTimeout):
                await runtime.create_many([NewInstance("order", ref="A1"), NewInstance("order")])
            await runtime.fire(free, "reopen")
            assert await execute(tx.connection, "SHOW lock_timeout") == [("150ms",)]
        with pytest.raises(AlreadyExists) as caught:
            await runtime.create("order", ref="A1")
        assert caught.value.instance_id == taken.id
        await check_all(runtime)


def ids(instances: Any) -> list[Any]:
    """Their ids."""
    return [one.id for one in instances]


# --- deadlocks and serialization failures -------------------------------------------------------------------------


@in_both_worlds
async def test_a_deadlock_of_our_own_is_tried_again(driver: Driver, notes: Notes) -> None:
    """Two steps whose commands lock each other's rows crosswise both succeed: the victim is tried again."""
    both = driver.signal()
    inside: list[int] = []
    rows = {"a": "left", "b": "right"}

    async def cross(ctx: Any, runtime: Any) -> None:
        mine, other = ("left", "right") if ctx.instance.ref == "a" else ("right", "left")
        await execute(ctx.connection, lock, [notes.namespace, mine])
        inside.append(1)
        if len(inside) == 2:
            both.set()
        if len(inside) <= 2:
            await both.wait()
        await execute(ctx.connection, lock, [notes.namespace, other])
        await notes.write(ctx.connection, f"done {mine}")

    lock = "SELECT 1 FROM app_notes WHERE namespace = %s AND note = %s FOR UPDATE"
    for row in rows.values():
        look(notes.dsn, "INSERT INTO app_notes VALUES (%s, %s)", [notes.namespace, row])
    async with runtime_on(
        driver, notes.dsn, order(driver.command(cross)), pool={"namespace": notes.namespace}
    ) as runtime:
        made = [await runtime.create("order", ref=ref) for ref in rows]
        results = await driver.together(*(lambda one=one: runtime.fire(one, "pay") for one in made))
        assert [result.ok for result in results] == [True, True]
        assert len(inside) > 2  # the server may pick both for victims, one after the other
        await check_all(runtime)
    assert notes.read() == ["done left", "done right", "left", "right"]


@in_both_worlds
async def test_a_deadlock_in_the_callers_transaction_is_raised(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """Two `transaction()` blocks that lock crosswise: one commits, the other is told that a retry is safe."""
    async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace}) as runtime:
        first, second = await runtime.create("order"), await runtime.create("order")
        both, held = driver.signal(), list[Instance]()

        async def cross(mine: Instance, other: Instance) -> str:
            try:
                async with runtime.transaction() as tx:
                    await tx.fire(mine, "reopen")
                    held.append(mine)
                    if len(held) == 2:
                        both.set()
                    await both.wait()
                    await tx.fire(other, "reopen")
            except StoreUnavailable as error:
                return f"{error.outcome} {error.retryable} {'deadlock' in str(error)}"
            return "done"

        answers = await driver.together(lambda: cross(first, second), lambda: cross(second, first))
        assert sorted(answers) == ["done", "not_written True True"]
        assert [(await runtime.get(one)).version for one in (first, second)] == [2, 2]
        await check_all(runtime)


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
@in_both_worlds
async def test_serialization_failures_are_tried_again(
    driver: Driver, pg_dsn: str, namespace: str, level: str
) -> None:
    """Under a stricter isolation level commands that meet are tried again until all have counted."""
    pool = {
        "namespace": namespace,
        "options": f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}",
    }
    async with runtime_on(driver, pg_dsn, counter(driver), pool=pool) as runtime:
        one = await runtime.create("counter")

        async def count() -> int:
            assert await _level(runtime) == level
            failed = 0
            for _ in range(5):
                while True:
                    try:
                        await runtime.fire(one, "count")
                        break
                    except StoreUnavailable:  # after six attempts; it says that a retry is safe
                        failed += 1
            return failed

        await driver.together(*[count] * 3)
        after = await runtime.get(one)
        assert (after.context, after.version) == ({"n": 15}, 16)
        await check_all(runtime)


async def _level(runtime: AsyncRuntime) -> str:
    async with engine_of(runtime).persistence.database.lent() as raw:
        ((found,),) = await execute(raw, "SHOW transaction_isolation")
        return str(found)


@pytest.mark.parametrize(("failures", "succeeds"), [(5, True), (6, False)])
@in_both_worlds
async def test_a_command_may_ask_for_another_attempt(
    driver: Driver, notes: Notes, failures: int, succeeds: bool
) -> None:
    """A serialization failure of an application's own statement repeats the step, six times at most."""
    runs: list[int] = []

    async def fails(ctx: Any, runtime: Any) -> None:
        runs.append(1)
        await notes.write(ctx.connection, "paid")
        if len(runs) <= failures:
            await execute(ctx.connection, "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$")

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(fails)), pool=pool) as runtime:
        one = await runtime.create("order")
        if succeeds:
            assert (await runtime.fire(one, "pay")).ok
        else:
            with pytest.raises(StoreUnavailable) as caught:
                await runtime.fire(one, "pay")
            assert (caught.value.outcome, caught.value.retryable) == ("not_written", True)
        assert len(runs) == 6
        await check_all(runtime)
    assert notes.read() == (["paid"] if succeeds else [])


# --- races --------------------------------------------------------------------------------------------------------


@in_both_worlds
async def test_everything_at_once_loses_nothing(driver: Driver, fresh_pg_dsn: str) -> None:
    """Singles, batches, commands, sweeps and a cancel over the same few instances: versions add up, no deadlock."""
    clock = ManualClock()
    async with runtime_on(
        driver, fresh_pg_dsn, counter(driver), clock=clock, pool={"max_size": 8}
    ) as runtime:
        made = await runtime.create_many([NewInstance("counter")] * 6)
        told: list[bool] = []

        async def singles(event: str, step: int) -> None:
            for number in range(18):
                one = made[number * step % len(made)]
                told.append((await runtime.fire(one, event)).ok)

        async def batches() -> None:
            for _ in range(6):
                firings = [Firing(one, "touch") for one in made] + [Firing(one, "count") for one in made[:2]]
                told.extend(result.ok for result in await runtime.fire_many(firings))

        async def sweep() -> None:
            for _ in range(6):
                clock.advance(2 * DAY)
                swept.append((await runtime.fire_due_timers()).fired)

        swept: list[int] = []
        await driver.together(
            lambda: singles("touch", 1),
            lambda: singles("count", 5),
            lambda: singles("touch", 5),
            batches,
            sweep,
        )
        versions = sum([(await runtime.get(one)).version for one in made])
        assert versions == len(made) + sum(told) + sum(swept)
        counted = sum([(await runtime.get(one)).context.get("n", 0) for one in made])
        assert counted == 18 + 6 * 2
        await check_all(runtime)
    assert deadlocks(fresh_pg_dsn) == 0


@in_both_worlds
async def test_a_cancel_or_the_last_event_wins(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Of a final event, a cancel and a timer that meet exactly one ends the instance, and each caller knows which."""
    clock = ManualClock()
    workflow = reminder()
    async with runtime_on(driver, pg_dsn, workflow, clock=clock, pool={"namespace": namespace}) as runtime:
        for _ in range(8):
            one = await runtime.create("reminder")
            clock.advance(2 * DAY)

            async def answer(target: Instance = one) -> bool:
                return (await runtime.try_fire(target, "answer")).ok

            async def cancel(target: Instance = one) -> bool:
                try:
                    return (await runtime.cancel(target)).ok
                except EventRefused:
                    return False

            async def sweep() -> bool:
                return (await runtime.fire_due_timers()).fired == 1

            answered, cancelled, reminded = await driver.together(answer, cancel, sweep)
            assert answered is not cancelled
            entries = await runtime.history(one)
            assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
            assert Counter(entry.event for entry in entries) == {
                "$created": 1,
                **({"answer": 1} if answered else {"$cancelled": 1}),
                **({"remind": 1} if reminded else {}),
            }
        await check_all(runtime)


@in_both_worlds
async def test_one_ref_is_created_once(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Of many that create one ref at once, alone or in batches, one succeeds; all others learn its id."""
    async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace, "max_size": 8}) as runtime:
        for number in range(6):

            async def create(alone: bool, ref: str = str(number)) -> tuple[bool, Any]:
                try:
                    if alone:
                        return True, (await runtime.create("order", ref=ref)).id
                    many = await runtime.create_many([NewInstance("order", ref=ref), NewInstance("order")])
                    return True, many[0].id
                except AlreadyExists as error:
                    return False, error.instance_id

            answers = await driver.together(
                *[lambda create=create: create(True)] * 4, *[lambda create=create: create(False)] * 2
            )
            assert [won for won, _ in answers].count(True) == 1
            assert len({instance_id for _, instance_id in answers}) == 1
        await check_all(runtime)


@in_both_worlds
async def test_sweeps_share_the_work(driver: Driver, fresh_pg_dsn: str) -> None:
    """Sweeps at the same time never wait for each other, fire each timer once, and pass over what someone holds."""
    clock = ManualClock()
    async with runtime_on(
        driver, fresh_pg_dsn, reminder(), clock=clock, pool={"max_size": 4, "timeouts": SHORT}
    ) as runtime:
        made = await runtime.create_many([NewInstance("reminder")] * 350)
        clock.advance(2 * DAY)
        with psycopg.connect(fresh_pg_dsn) as holder:
            holder.execute(
                "SELECT 1 FROM workflow_instances WHERE id = ANY (%s) FOR UPDATE", [ids(made[:20])]
            )
            swept = await driver.together(*[lambda: runtime.fire_due_timers(limit=1_000)] * 3)
            assert sum(result.fired for result in swept) == sum(result.total for result in swept) == 330
        assert (await runtime.fire_due_timers()).fired == 20
        await check_all(runtime)


def test_group_commit_under_contention(fresh_pg_dsn: str) -> None:
    """300 tasks over 30 instances, through the group commits of two runtimes: every move is there, and no deadlock."""
    driver = AsyncioDriver()

    async def body() -> None:
        async with (
            runtime_on(driver, fresh_pg_dsn, counter(driver), pool={"max_size": 4}) as first,
            runtime_on(driver, fresh_pg_dsn, counter(driver), pool={"max_size": 4}) as second,
        ):
            made = await first.create_many([NewInstance("counter")] * 30)

            async def fire(number: int) -> None:
                runtime = (first, second)[number % 2]
                event = "count" if number % 10 == 0 else "touch"
                assert (await runtime.fire(made[number % len(made)], event)).ok

            await asyncio.gather(*(fire(number) for number in range(300)))
            versions = [(await first.get(one)).version for one in made]
            assert versions == [11] * 30
            await check_all(first)
            await check_all(second)

    driver.run(body())
    assert deadlocks(fresh_pg_dsn) == 0


@in_both_worlds
async def test_batches_in_any_order_do_not_lock_crosswise(driver: Driver, fresh_pg_dsn: str) -> None:
    """Batches over the same instances, each in another order, all succeed without one deadlock on the server."""
    async with runtime_on(driver, fresh_pg_dsn, counter(driver), pool={"max_size": 4}) as runtime:
        made = await runtime.create_many([NewInstance("counter")] * 80)

        async def client(number: int) -> None:
            order_of = random.Random(number)
            for _ in range(4):
                firings = [Firing(one, "touch") for one in order_of.sample(made, len(made))]
                assert all(result.ok for result in await runtime.fire_many(firings))

        await driver.together(*(lambda number=number: client(number) for number in range(4)))
        assert {(await runtime.get(one)).version for one in made} == {17}
        await check_all(runtime)
    assert deadlocks(fresh_pg_dsn) == 0


def deadlocks(dsn: str) -> int:
    """How many the server has counted in this database; sessions that ended have reported theirs."""
    ((count,),) = look(dsn, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
    return int(count)


# --- tasks that are cancelled ---------------------------------------------------------------------------------------


def test_cancelled_tasks_leak_nothing(notes: Notes) -> None:
    """Tasks cancelled at any moment, some of them twice, leave every move whole or absent, and the pool complete."""
    driver = AsyncioDriver()

    async def body() -> None:
        pool = {"namespace": notes.namespace, "min_size": 3, "max_size": 3}
        async with runtime_on(driver, notes.dsn, order(notes.command(driver)), pool=pool) as runtime:
            made = await runtime.create_many([NewInstance("order")] * 8)
            for number in range(60):
                tasks = [
                    asyncio.ensure_future(runtime.fire(one, ("pay", "reopen", "ask")[place % 3]))
                    for place, one in enumerate(made)
                ]
                await asyncio.sleep(number / 10_000)
                for task in tasks[::2]:
                    task.cancel()
                if number % 2:
                    await asyncio.sleep(0)
                    for task in tasks[::4]:
                        task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            paid = sum(
                [
                    sum(entry.event == "pay" for entry in await runtime.history(one, limit=1_000))
                    for one in made
                ]
            )
            assert paid == len(notes.read())
            await check_all(runtime)

    driver.run(body())


def test_a_connection_handed_to_a_cancelled_task_comes_back(pg_dsn: str, namespace: str) -> None:
    """A task cancelled in the instant in which the pool hands it a connection does not take it to the grave."""
    driver = AsyncioDriver()

    async def body() -> None:
        pool = {"namespace": namespace, "min_size": 1, "max_size": 1}
        async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
            one = await runtime.create("order")
            connections = engine_of(runtime).persistence.database.connections
            raw = await connections.acquire()
            waiting = asyncio.ensure_future(runtime.fire(one, "pay"))
            await asyncio.sleep(0.05)
            await connections._give(raw)  # hands it over without letting the other task run
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            async with asyncio.timeout(5):
                assert (await runtime.fire(one, "pay")).ok
            await check_all(runtime)

    driver.run(body())
