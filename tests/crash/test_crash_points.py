"""What is left when the process dies at the n-th port call, for every n, on either side of it?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import attrs
import pytest
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from duraflow import AsyncRuntime, InstanceNotFound, Persistence
from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing import ManualClock, acheck_invariants, crash_attempts
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver
from duraflow_pg import AsyncPgPersistence, PgPersistence
from tests.crash.letters import Letters, Mailbox, MemoryMailbox, PgMailbox
from tests.crash.scenarios import AGAIN, CLAIM, DAY, SCENARIOS, Told, commands
from tests.support.databases import new_namespace

Scenario = Callable[[AsyncRuntime, Told, ManualClock], Coroutine[Any, Any, None]]
T = TypeVar("T")
WRITES = frozenset({"letter", "burst", "decline"})


@attrs.frozen
class Store:
    """One fresh, empty store: how to open it, as often as one likes, and its mailbox."""

    persistence: Callable[[], Persistence]
    mailbox: Mailbox


@attrs.frozen
class Kind:
    """A kind of store under test."""

    driver: Driver
    fresh: Callable[[], Store]


def _memory(driver: Driver, request: pytest.FixtureRequest) -> Kind:
    def fresh() -> Store:
        database = InMemoryDatabase()
        return Store(lambda: InMemoryPersistence(database=database), MemoryMailbox())

    return Kind(driver, fresh)


def memory_blocking(request: pytest.FixtureRequest) -> Kind:
    """In memory, blocking."""
    return _memory(BlockingDriver(), request)


def memory_asyncio(request: pytest.FixtureRequest) -> Kind:
    """In memory, asyncio."""
    return _memory(AsyncioDriver(), request)


def _pg(driver: Driver, dsn: str, open_on: Callable[[str], Persistence]) -> Kind:
    PgMailbox.prepare(dsn)

    def fresh() -> Store:
        namespace = new_namespace()
        return Store(lambda: open_on(namespace), PgMailbox(dsn, namespace))

    return Kind(driver, fresh)


def pg_blocking(request: pytest.FixtureRequest) -> Kind:
    """PostgreSQL, blocking; one pool for all, which the dead process cannot take along."""
    dsn: str = request.getfixturevalue("pg_dsn")
    pool = ConnectionPool(dsn, min_size=1, max_size=2, kwargs={"autocommit": True}, open=True)
    request.addfinalizer(pool.close)
    return _pg(BlockingDriver(), dsn, lambda namespace: PgPersistence(pool, namespace=namespace))


class _OneLoop(AsyncioDriver):
    """All runs in one event loop, so that they can share a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(coroutine)


def pg_asyncio(request: pytest.FixtureRequest) -> Kind:
    """PostgreSQL, asyncio, likewise."""
    dsn: str = request.getfixturevalue("pg_dsn")
    driver = _OneLoop()

    async def opened() -> Any:
        pool = AsyncConnectionPool(dsn, min_size=1, max_size=2, kwargs={"autocommit": True}, open=False)
        await pool.open(wait=True)
        return pool

    pool = driver.run(opened())

    def close() -> None:
        driver.run(pool.close())
        driver.runner.close()

    request.addfinalizer(close)
    return _pg(driver, dsn, lambda namespace: AsyncPgPersistence(pool, namespace=namespace))


KINDS = [
    pytest.param(memory_blocking, id="memory-blocking"),
    pytest.param(memory_asyncio, id="memory-asyncio"),
    pytest.param(pg_blocking, id="pg-blocking", marks=pytest.mark.pg),
    pytest.param(pg_asyncio, id="pg-asyncio", marks=pytest.mark.pg),
]


def _runtime(
    kind: Kind, persistence: Persistence, store: Store, told: Told, clock: ManualClock
) -> AsyncRuntime:
    return kind.driver.runtime(
        workflows=[CLAIM],
        commands=commands(kind.driver),
        persistence=persistence,
        resources={Letters: store.mailbox.resource},
        clock=clock,
        observers=[told.notice],
    )


async def _run(scenario: Scenario, runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    async with runtime as started:
        await scenario(started, told, clock)


async def _recover(kind: Kind, store: Store, scenario: Scenario, told: Told, clock: ManualClock) -> None:
    """A fresh process on the same store: everything holds, and whoever is open can be led to its end."""
    persistence = store.persistence()
    async with _runtime(kind, persistence, store, Told(), clock) as runtime:

        async def check(before: Any = None) -> Any:
            return await acheck_invariants(
                persistence,
                workflows=[CLAIM],
                effects=[letter for letter in store.mailbox.found() if letter[0] not in of_deleted],
                effect_commands=WRITES,
                before=before,
            )

        # A deleted instance's letters stay: they are the application's. Whose they were, only what was told can say.
        of_deleted = {entry.transition_id for entry in told.entries if entry.instance_id in told.deleted}
        if told.deleted:
            try:
                kept = await runtime.history(told.deleted[0])
                of_deleted -= {entry.transition_id for entry in kept}
            except InstanceNotFound:
                pass
        before = await check()
        # Invariant 10: what a caller or an observer was told has happened.
        for entry in told.entries:
            if entry.instance_id in before.histories:
                assert entry in before.histories[entry.instance_id]
            else:
                assert entry.instance_id in told.deleted
        for instance_id in told.created:
            assert instance_id in before.instances or instance_id in told.deleted
        if scenario in AGAIN:
            await AGAIN[scenario](runtime, told, clock)
            before = await check(before)
        # Life goes on.
        clock.advance(9 * DAY)
        await runtime.fire_due_timers()
        before = await check(before)
        for instance in (await runtime.list(open=True)).instances:
            await runtime.fire(instance.id, "end")
        await check(before)
        assert not (await runtime.list(open=True)).instances


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
@pytest.mark.parametrize("make", KINDS)
def test_every_crash_point(
    make: Callable[[pytest.FixtureRequest], Kind], scenario: Scenario, request: pytest.FixtureRequest
) -> None:
    """Wherever it dies: the invariants hold, what was told is there, and everything can go on."""
    kind = make(request)
    stores: list[Store] = []

    def fresh() -> Persistence:
        stores.append(kind.fresh())
        return stores[-1].persistence()

    crashes = 0
    for attempt in crash_attempts(fresh):
        told, clock = Told(), ManualClock()
        with attempt:
            runtime = _runtime(kind, attempt.persistence, stores[-1], told, clock)
            kind.driver.run(_run(scenario, runtime, told, clock))
        try:
            kind.driver.run(_recover(kind, stores[-1], scenario, told, clock))
        except BaseException as error:
            error.add_note(str(attempt))
            raise
        crashes += attempt.crash is not None
    assert crashes >= 6
