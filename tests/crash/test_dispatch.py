"""What becomes of messages when a dispatcher dies: at any port call, in a handler, or killed again and again by one?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import attrs
import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from duraflow import (
    AsyncRuntime,
    DispatchResult,
    Message,
    MessageHandler,
    MessageRetryPolicy,
    Persistence,
    State,
    Transition,
    Workflow,
)
from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing import ManualClock, acheck_invariants, crash_attempts
from duraflow.testing.crashes import Crash, InjectedCrash, count_calls
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver
from duraflow_pg import AsyncPgPersistence, PgPersistence
from tests.support.databases import new_namespace

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
RETRY = MessageRetryPolicy(first=MINUTE, jitter=0, park_after=3)


def tell(ctx: Any) -> None:
    """Two messages, numbered over the instance's life."""
    for _ in range(2):
        ctx.context["told"] = ctx.context.get("told", 0) + 1
        ctx.emit("told", ctx.context["told"])


TALE = Workflow(
    name="tale",
    initial="open",
    states=[
        State("open", [Transition("tell", commands=[tell]), Transition("end", target="over")]),
        State("over"),
    ],
)


@attrs.define
class Consumer:
    """What the world outside was told: it outlives every dispatcher."""

    given: list[tuple[str, Message]] = attrs.field(factory=list)
    failing: set[tuple[str, str, int]] = attrs.field(factory=set)

    def handlers(self) -> list[MessageHandler]:
        """Two handlers that fail where they are told to."""
        return [MessageHandler(name, self._call(name), retry=RETRY) for name in ("left", "right")]

    def _call(self, name: str) -> Callable[[Message], None]:
        def take(message: Message) -> None:
            self.given.append((name, message))
            if (name, str(message.ref), message.payload) in self.failing:
                raise ValueError("not now")

        return take

    def taken(self, name: str, ref: str) -> list[int]:
        """What a handler was given of an instance."""
        return [m.payload for handler, m in self.given if (handler, m.ref) == (name, ref)]


@attrs.frozen
class Store:
    """One fresh, empty store, and how time passes for its leases."""

    driver: Driver
    open: Callable[[], Persistence]
    end_leases: Callable[[], None]


Open = Callable[[], Store]


def _memory(driver: Driver) -> Open:
    def fresh() -> Store:
        database, clock = InMemoryDatabase(), ManualClock()

        def end_leases() -> None:
            clock.advance(timedelta(hours=1))

        return Store(driver, lambda: InMemoryPersistence(database=database, clock=clock), end_leases)

    return fresh


def _pg(driver: Driver, dsn: str, open_on: Callable[[str], Persistence]) -> Open:
    """One pool for all, which the dead process cannot take along."""

    def fresh() -> Store:
        namespace = new_namespace()

        def end_leases() -> None:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(
                    "UPDATE workflow_outbox_handlers SET lease_until = now() "
                    "WHERE namespace = %s AND lease_token IS NOT NULL",
                    [namespace],
                )

        return Store(driver, lambda: open_on(namespace), end_leases)

    return fresh


def memory_blocking(request: pytest.FixtureRequest) -> Open:
    """In memory, blocking."""
    return _memory(BlockingDriver())


def memory_asyncio(request: pytest.FixtureRequest) -> Open:
    """In memory, asyncio."""
    return _memory(AsyncioDriver())


def pg_blocking(request: pytest.FixtureRequest) -> Open:
    """PostgreSQL, blocking."""
    dsn: str = request.getfixturevalue("pg_dsn")
    pool = ConnectionPool(dsn, min_size=2, max_size=2, kwargs={"autocommit": True}, open=True)
    request.addfinalizer(pool.close)
    return _pg(BlockingDriver(), dsn, lambda namespace: PgPersistence(pool, namespace=namespace))


class _OneLoop(AsyncioDriver):
    """All runs in one event loop, so that they can share a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)


def pg_asyncio(request: pytest.FixtureRequest) -> Open:
    """PostgreSQL, asyncio."""
    dsn: str = request.getfixturevalue("pg_dsn")
    driver = _OneLoop()

    async def opened() -> Any:
        pool = AsyncConnectionPool(dsn, min_size=2, max_size=2, kwargs={"autocommit": True}, open=False)
        await pool.open(wait=True)
        return pool

    pool = driver.run(opened())

    def close() -> None:
        driver.run(pool.close())
        driver.runner.close()

    request.addfinalizer(close)
    return _pg(driver, dsn, lambda namespace: AsyncPgPersistence(pool, namespace=namespace))


Make = Callable[[pytest.FixtureRequest], Open]
KINDS = [
    pytest.param(memory_blocking, id="memory-blocking"),
    pytest.param(memory_asyncio, id="memory-asyncio"),
    pytest.param(pg_blocking, id="pg-blocking", marks=pytest.mark.pg),
    pytest.param(pg_asyncio, id="pg-asyncio", marks=pytest.mark.pg),
]


def _runtime(
    store: Store, persistence: Persistence, clock: ManualClock, handlers: list[MessageHandler]
) -> AsyncRuntime:
    return store.driver.runtime(
        workflows=[TALE], persistence=persistence, clock=clock, message_handlers=handlers
    )


async def _seed(store: Store, clock: ManualClock) -> None:
    async with _runtime(store, store.open(), clock, []) as runtime:
        for ref in ("A", "B"):
            created = await runtime.create("tale", ref=ref)
            for _ in range(2):
                await runtime.fire(created.id, "tell")


async def _deliver(runtime: AsyncRuntime, consumer: Consumer, clock: ManualClock) -> None:
    """Failures, tries again, one that is parked and skipped, and new messages between."""
    consumer.failing = {("left", "A", 2), ("right", "B", 1)}
    for _ in range(3):
        await runtime.dispatch(limit=3)
        clock.advance(3 * MINUTE)
    for parked in await runtime.parked_messages():
        await runtime.skip_message(parked.handler, parked.message.id)
    consumer.failing = set()
    await runtime.fire(("tale", "A"), "tell")
    await runtime.dispatch()


async def _recover(store: Store, consumer: Consumer, clock: ManualClock) -> None:
    """Fresh dispatchers, until nothing is waiting any more."""
    consumer.failing = set()
    async with _runtime(store, persistence := store.open(), clock, consumer.handlers()) as runtime:
        told = {ref: (await runtime.get(("tale", ref))).context["told"] for ref in ("A", "B")}
        wanted = {(name, ref) for name in ("left", "right") for ref in told}
        # Other transactions of a shared server may hold messages back for a while.
        for _ in range(1_000):
            store.end_leases()
            clock.advance(10 * MINUTE)
            await runtime.dispatch()
            for parked in await runtime.parked_messages():
                await runtime.retry_message(parked.handler, parked.message.id)
            if all(told[ref] in consumer.taken(name, ref) for name, ref in wanted):
                break
            await store.driver.waits.sleep(0.002)
        assert await runtime.dispatch() == DispatchResult()
        await acheck_invariants(persistence, workflows=[TALE])
        for name, ref in sorted(wanted):
            _check(consumer.taken(name, ref), told[ref], name, ref)


def _check(taken: list[int], told: int, name: str, ref: str) -> None:
    """Nothing is missing, nothing came before what is before it, and little came twice."""
    highest = 0
    for number in taken:
        assert number <= highest + 1, (name, ref, taken)
        highest = max(highest, number)
    assert highest == told, (name, ref, taken)
    assert len(taken) <= told + 8, (name, ref, taken)


@pytest.mark.parametrize("make", KINDS)
def test_every_crash_point(make: Make, request: pytest.FixtureRequest) -> None:
    """Wherever it dies, others go on: every message comes, in order, and those not recorded come again."""
    new_store = make(request)
    stores: list[tuple[Store, ManualClock]] = []

    def fresh() -> Persistence:
        store, clock = new_store(), ManualClock()
        store.driver.run(_seed(store, clock))
        stores.append((store, clock))
        return store.open()

    async def deliver(persistence: Persistence, consumer: Consumer, store: Store, clock: ManualClock) -> None:
        async with _runtime(store, persistence, clock, consumer.handlers()) as runtime:
            await _deliver(runtime, consumer, clock)

    crashes = 0
    for attempt in crash_attempts(fresh):
        store, clock = stores[-1]
        consumer = Consumer()
        with attempt:
            store.driver.run(deliver(attempt.persistence, consumer, store, clock))
        try:
            store.driver.run(_recover(store, consumer, clock))
        except BaseException as error:
            error.add_note(str(attempt))
            raise
        ids: dict[tuple[str | None, int], UUID] = {}
        for _, message in consumer.given:
            assert ids.setdefault((message.ref, message.payload), message.id) == message.id
        crashes += attempt.crash is not None
    assert crashes >= 40


@pytest.mark.parametrize("make", KINDS)
def test_a_message_that_kills_its_dispatcher_is_parked(make: Make, request: pytest.FixtureRequest) -> None:
    """It kills as many processes as it has tries; all else is delivered, and a person sees it."""
    store, clock, consumer = make(request)(), ManualClock(), Consumer()
    store.driver.run(_seed(store, clock))
    deaths = 0

    async def live() -> bool:
        """One process; whether it was killed."""
        nonlocal deaths
        persistence, calls = count_calls(store.open())

        def take(message: Message) -> None:
            consumer.given.append(("killed", message))
            if (message.ref, message.payload) == ("A", 2):
                calls.crash = Crash(calls.count, "before", "handler")
                raise InjectedCrash(calls.crash)

        try:
            async with _runtime(
                store, persistence, clock, [MessageHandler("killed", take, retry=RETRY)]
            ) as runtime:
                await runtime.dispatch()
        except InjectedCrash:
            deaths += 1
        return calls.crash is not None

    # Other transactions of a shared server may hold messages back for a while.
    for _ in range(1_000):
        store.end_leases()
        clock.advance(10 * MINUTE)
        if not store.driver.run(live()) and len({(m.ref, m.payload) for _, m in consumer.given}) == 6:
            break
        store.driver.run(store.driver.waits.sleep(0.01))
    # The first death is by a message that was not written down before; after it each one counts.
    assert 3 <= deaths <= 4

    async def look() -> None:
        async with _runtime(store, store.open(), clock, []) as runtime:
            (parked,) = await runtime.parked_messages()
            assert (parked.message.ref, parked.message.payload, parked.attempts) == ("A", 2, 3)
            assert "ended" in parked.error

    store.driver.run(look())
    assert {(m.ref, m.payload) for _, m in consumer.given} == {
        ("A", 1),
        ("A", 2),
        *(("B", n) for n in range(1, 5)),
    }
