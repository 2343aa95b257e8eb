"""Restarts, ended sessions, read-only servers, full pools: what do callers see, and what is there afterwards?"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from devtools.embedded_pg import EmbeddedServer
from duraflow import NewInstance, StoreUnavailable
from duraflow.testing.driver import Driver
from tests.pg.conftest import Notes
from tests.pg.kit import check_all, engine_of, in_both_worlds, look, order, runtime_on
from tests.pg.wire import Wire
from tests.support.databases import name_of
from tests.support.servers import PgServer


@pytest.mark.parametrize("mode", ["fast", "immediate"])
@in_both_worlds
async def test_a_restart_between_calls_is_not_noticed(
    driver: Driver, own_pg_server: EmbeddedServer, own_pg_dsn: str, mode: Any
) -> None:
    """Every connection of the pool is dead after a restart; calls of all kinds succeed, and nothing is lost."""
    async with runtime_on(driver, own_pg_dsn, order(), pool={"min_size": 4, "max_size": 4}) as runtime:
        one = await runtime.create("order")
        for call in (
            lambda: runtime.fire(one, "reopen"),
            lambda: runtime.fire(one, "pay"),
            lambda: runtime.get(one),
            lambda: runtime.create("order"),
        ):
            if mode == "immediate" or call.__code__.co_names[0] == "fire":
                own_pg_server.restart(mode)
            await call()
        assert (await runtime.get(one)).version == 3
        await check_all(runtime)


@in_both_worlds
async def test_a_restart_in_a_stream_of_fires(
    driver: Driver, own_pg_server: EmbeddedServer, own_pg_dsn: str
) -> None:
    """While the server restarts each fire succeeds or says truthfully that it is not written: none is done twice."""
    async with runtime_on(driver, own_pg_dsn, order(), pool={"max_size": 4}) as runtime:
        made = await runtime.create_many([NewInstance("order")] * 4)
        restarted, done = driver.signal(), [0] * len(made)
        stop, outcomes = list[bool](), list[str]()

        async def stream(number: int) -> None:
            for step in range(1_000_000):
                if stop:
                    return
                try:
                    await runtime.fire(made[number], "pay" if step % 2 else "reopen")
                    done[number] += 1
                except StoreUnavailable as error:
                    outcomes.append(error.outcome)
                if number == 0 and step == 20:
                    restarted.set()

        async def restart() -> None:
            await restarted.wait()
            if driver.waits.suspends:
                await asyncio.to_thread(own_pg_server.restart, "immediate")
            else:
                own_pg_server.restart("immediate")
            before = list(done)
            for _ in range(200):
                await driver.waits.sleep(0.05)
                if all(now > then for now, then in zip(done, before, strict=True)):
                    break
            stop.append(True)

        await driver.together(restart, *(lambda n=n: stream(n) for n in range(len(made))))
        versions = [(await runtime.get(one)).version for one in made]
        assert versions == [1 + count for count in done]
        assert set(outcomes) <= {"not_written"}
        await check_all(runtime)


@in_both_worlds
async def test_all_sessions_are_ended(driver: Driver, notes: Notes, pg_server: PgServer) -> None:
    """After `pg_terminate_backend` of every session, one transaction after the other goes on."""
    pool = {"namespace": notes.namespace, "min_size": 3, "max_size": 3}
    async with runtime_on(driver, notes.dsn, order(notes.command(driver)), pool=pool) as runtime:
        one = await runtime.create("order")
        for event in ("pay", "reopen", "ask"):
            assert pg_server.kill_backends(name_of(notes.dsn)) >= 1
            await runtime.fire(one, event)
        pg_server.kill_backends(name_of(notes.dsn))
        async with runtime.transaction() as tx:
            await tx.fire(one, "pay")
        assert (await runtime.get(one)).version == 5
        await check_all(runtime)
    assert notes.read() == ["paid", "paid"]


@in_both_worlds
async def test_a_session_ended_in_a_command_is_begun_again(
    driver: Driver, notes: Notes, pg_server: PgServer
) -> None:
    """A backend terminated in the middle of a command costs one more run of it, whose effect alone is kept."""
    runs: list[int] = []

    async def pay(ctx: Any, runtime: Any) -> None:
        await notes.write(ctx.connection, "paid")
        runs.append(1)
        if len(runs) == 1:
            pid = ctx.connection.info.backend_pid
            look(pg_server.admin_dsn, "SELECT pg_terminate_backend(%s, 5000)", [pid])

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(pay)), pool=pool) as runtime:
        one = await runtime.create("order")
        assert (await runtime.fire(one, "pay")).ok
        assert ((await runtime.get(one)).version, len(runs)) == (2, 2)
        await check_all(runtime)
    assert notes.read() == ["paid"]


@in_both_worlds
async def test_a_read_only_server_is_unavailable_for_writing(
    driver: Driver, fresh_pg_dsn: str, pg_server: PgServer
) -> None:
    """Reads go on, writes raise `StoreUnavailable`, health says not writable; and all is well when it is over."""
    pool = {"max_size": 2, "min_size": 0}
    database = name_of(fresh_pg_dsn)
    async with runtime_on(driver, fresh_pg_dsn, order(), pool=pool) as runtime:
        one = await runtime.create("order")
    look(pg_server.admin_dsn, f'ALTER DATABASE "{database}" SET default_transaction_read_only = on')
    # What it knows is in the database already, so that a runtime starts on a standby too.
    async with runtime_on(driver, fresh_pg_dsn, order(), pool=pool) as runtime:
        assert await runtime.get(one) == one
        for write in (
            lambda: runtime.fire(one, "reopen"),
            lambda: runtime.fire(one, "pay"),
            lambda: runtime.create("order"),
        ):
            with pytest.raises(StoreUnavailable, match="read-only transaction") as caught:
                await write()
            assert caught.value.outcome == "not_written"
        health = await runtime.health()
        assert (health.ok, health.writable, health.schema_fits) == (False, False, True)
        assert "read-only" in health.problem
    look(pg_server.admin_dsn, f'ALTER DATABASE "{database}" RESET default_transaction_read_only')
    async with runtime_on(driver, fresh_pg_dsn, order(), pool=pool) as runtime:
        assert (await runtime.fire(one, "pay")).ok
        assert (await runtime.health()).ok


@in_both_worlds
async def test_a_full_pool_is_a_clear_error(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Whoever waits too long for a connection learns that the pool is full, not that the server is down."""
    pool = {"namespace": namespace, "max_size": 1}
    async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
        one = await runtime.create("order")
        engine_of(runtime).persistence.database.connections.pool.timeout = 0.1
        async with runtime.transaction() as tx:
            await tx.fire(one, "reopen")
            for call in (lambda: runtime.get(one), lambda: runtime.fire(one, "pay")):
                with pytest.raises(StoreUnavailable, match=r"no connection became free.*max_size") as caught:
                    await call()
                assert (caught.value.outcome, caught.value.retryable) == ("not_written", False)
            assert (await runtime.health()).ok is False
        assert (await runtime.get(one)).version == 2
        await check_all(runtime)


@in_both_worlds
async def test_a_pool_of_one_is_enough_for_everything(driver: Driver, notes: Notes) -> None:
    """No call needs a second connection while it holds one, creations in a transaction with a cold clock included."""
    pool = {"namespace": notes.namespace, "max_size": 1}

    async def spawn(ctx: Any, runtime: Any) -> None:
        other = await runtime.create("order", ref=f"child of {ctx.instance.id}")
        await runtime.fire(other, "ship")
        await runtime.get(other)

    async with runtime_on(driver, notes.dsn, order(driver.command(spawn)), pool=pool) as runtime:
        database = engine_of(runtime).persistence.database
        database.connections.pool.timeout = 1.0
        (one,) = await runtime.create_many([NewInstance("order")])
        database._clock = None
        await runtime.fire(one, "pay")
        database._clock = None
        async with runtime.transaction() as tx:
            await tx.create("order")
            await tx.create_many([NewInstance("order")] * 2)
            await tx.list()
            async with tx.locked(one) as held:
                await held.fire(one, "ship")
        await check_all(runtime)


@in_both_worlds
async def test_a_server_that_is_not_there_is_named(driver: Driver, pg_dsn: str) -> None:
    """Starting where nothing listens says that it cannot connect, and why; later it can be started."""
    with Wire(pg_dsn) as wire:
        runtime = runtime_on(driver, wire.dsn, order(), pool={"max_size": 1})
        engine_of(runtime).persistence.database.connections.pool.timeout = 0.1
        wire.refuse_new()
        with pytest.raises(StoreUnavailable, match=r"127\.0\.0\.1"):
            await runtime.start()
        wire.heal()
        async with runtime:
            assert (await runtime.health()).ok
            wire.refuse_new()
            wire.cut_all()
            health = await runtime.health()
            assert (health.ok, health.writable, health.server) == (False, False, "")
            assert health.problem
            wire.heal()
