"""How is a persistence made, started, closed and asked how it is; and do several of them stay apart?"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from duraflow import (
    DefinitionConflict,
    InvalidArgument,
    Misuse,
    NewInstance,
    Runtime,
    SchemaMismatch,
    State,
    StoreUnavailable,
    Transition,
    Workflow,
)
from duraflow.testing import ManualClock
from duraflow.testing.driver import Driver
from duraflow_pg import AsyncPgPersistence, PgPersistence, Timeouts, migrate
from tests.pg.kit import (
    DAY,
    check_all,
    engine_of,
    execute,
    in_both_worlds,
    look,
    order,
    persistence_of,
    reminder,
    resolved,
    runtime_on,
)
from tests.support.databases import Databases, name_of

BOTH = pytest.mark.parametrize("kind", [PgPersistence, AsyncPgPersistence])
Kind = type[PgPersistence] | type[AsyncPgPersistence]

HOST = "postgresql://anna:s3cret@db.example/app"


# --- making one -----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("dsn", "options", "argument", "reason"),
    [
        ("mysql://db.example/app", {}, "dsn", "is not a postgresql:// URL"),
        ("postgresql+psycopg://db.example/app", {}, "dsn", "takes no driver name"),
        (f"{HOST}?pool_max=3", {}, "dsn", "has a parameter that libpq does not know: pool_max"),
        (f"{HOST}?pool_size=many", {}, "dsn", "pool_size is 'many', not a whole number"),
        (f"{HOST}?pool_size=0", {}, "max_size", "a pool of 1 to 0 connections makes no sense"),
        (f"{HOST}?search_path=app", {}, "dsn", "search_path"),
        ("postgresql://anna:s3cret@x@db.example/app", {}, "dsn", "percent-encode"),
        ("just words", {}, "dsn", "is not a PostgreSQL connection string"),
        (HOST, {"min_size": 5, "max_size": 2}, "max_size", "a pool of 5 to 2 connections makes no sense"),
        (HOST, {"min_size": -1}, "max_size", "a pool of -1 to 10"),
        (HOST, {"min_size": 0, "max_size": 0}, "max_size", "a pool of 0 to 0"),
        (HOST, {"colour": "red"}, "dsn", "cannot be used: .*colour"),
        (HOST, {"namespace": ""}, "namespace", "empty|blank"),
        (HOST, {"namespace": "a\0b"}, "namespace", "NUL|control"),
        (HOST, {"schema": ""}, "schema", "is empty"),
        (HOST, {"schema": "x" * 64}, "schema", "63"),
        (HOST, {"schema": "pg_mine"}, "schema", "pg_"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    kind: Kind, dsn: str, options: dict[str, Any], argument: str, reason: str
) -> None:
    """A wrong DSN, size, schema or namespace is refused before anything is connected; no message shows the password."""
    with pytest.raises(InvalidArgument, match=reason) as caught:
        kind.from_dsn(dsn, **options)
    assert caught.value.argument == argument
    assert "s3cret" not in str(caught.value)


@BOTH
@pytest.mark.parametrize(
    ("dsn", "options", "sizes"),
    [
        (HOST, {}, (1, 10)),
        (f"{HOST}?pool_size=4", {}, (1, 4)),
        (f"{HOST}?pool_size=4&connect_timeout=3", {"max_size": 6}, (1, 6)),
        (HOST, {"min_size": 12}, (12, 12)),
        (HOST, {"min_size": 0, "max_size": 2}, (0, 2)),
        ("", {"host": "db.example", "dbname": "app"}, (1, 10)),
    ],
)
def test_sizes_come_from_options_then_from_the_dsn(
    kind: Kind, dsn: str, options: dict[str, Any], sizes: tuple[int, int]
) -> None:
    """An option wins over `pool_size` in the DSN, that over the default; nothing is connected."""
    pool = kind.from_dsn(dsn, **options).pool
    assert (pool.min_size, pool.max_size, pool.closed) == (*sizes, True)
    known = conninfo_to_dict(str(pool.conninfo))
    assert (known["host"], known["dbname"]) == ("db.example", "app")
    assert known["connect_timeout"] == ("3" if "connect_timeout" in dsn else "10")


@BOTH
def test_keepalives_of_the_dsn_are_kept(kind: Kind) -> None:
    """Without them a dead network shows after hours, so they are set; what the DSN says stays."""
    plain = conninfo_to_dict(str(kind.from_dsn(HOST).pool.conninfo))
    assert (plain["keepalives_idle"], plain["tcp_user_timeout"]) == ("30", "30000")
    said = conninfo_to_dict(str(kind.from_dsn(f"{HOST}?keepalives_idle=7").pool.conninfo))
    assert (said["keepalives_idle"], said["tcp_user_timeout"]) == ("7", "30000")


@BOTH
@pytest.mark.parametrize(
    ("environment", "schema", "namespace", "host"),
    [
        ({"DATABASE_URL": "postgresql://a.example/app"}, "public", "default", "a.example"),
        (
            {"DURAFLOW_DSN": "postgresql://b.example/app", "DATABASE_URL": "postgresql://a.example/app"},
            "public",
            "default",
            "b.example",
        ),
        (
            {
                "DURAFLOW_DSN": "",
                "DATABASE_URL": "postgresql://a.example/app",
                "DURAFLOW_SCHEMA": "flows",
                "DURAFLOW_NAMESPACE": "shop",
                "DURAFLOW_PERSISTENCE": "postgres",
            },
            "flows",
            "shop",
            "a.example",
        ),
    ],
)
def test_the_environment_is_read(
    kind: Kind, environment: Mapping[str, str], schema: str, namespace: str, host: str
) -> None:
    """`DURAFLOW_DSN` wins over `DATABASE_URL`, and an empty variable is none; options win over the environment."""
    found = kind.from_env(environment)
    assert (found.schema, found.namespace) == (schema, namespace)
    assert conninfo_to_dict(str(found.pool.conninfo))["host"] == host
    assert kind.from_env(environment, schema="other", max_size=3).schema == "other"


@BOTH
@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, "DURAFLOW_DSN"),
        ({"DURAFLOW_DSN": "nonsense"}, "DURAFLOW_DSN"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL"),
        ({"DURAFLOW_DSN": HOST, "DURAFLOW_SCHEMA": "pg_mine"}, "DURAFLOW_SCHEMA"),
        ({"DURAFLOW_DSN": HOST, "DURAFLOW_NAMESPACE": " "}, "DURAFLOW_NAMESPACE"),
        ({"DURAFLOW_DSN": HOST, "DURAFLOW_PERSISTENCE": "memory"}, "DURAFLOW_PERSISTENCE"),
    ],
)
def test_a_bad_variable_is_named(kind: Kind, environment: Mapping[str, str], variable: str) -> None:
    """The error says which variable to correct."""
    with pytest.raises(InvalidArgument) as caught:
        kind.from_env(environment)
    assert caught.value.argument == variable


def test_the_process_environment_is_the_default(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without arguments `from_env` reads the variables of the process."""
    monkeypatch.setenv("DURAFLOW_DSN", pg_dsn)
    with Runtime(workflows=[order()], persistence=PgPersistence.from_env()) as runtime:
        assert runtime.health().ok


def test_libpqs_own_environment_serves(pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty DSN leaves everything to PGHOST and its kin."""
    parts = conninfo_to_dict(pg_dsn)
    for variable, name in (
        ("PGHOST", "host"),
        ("PGPORT", "port"),
        ("PGUSER", "user"),
        ("PGDATABASE", "dbname"),
    ):
        monkeypatch.setenv(variable, str(parts[name]))
    with Runtime(workflows=[order()], persistence=PgPersistence.from_dsn()) as runtime:
        assert runtime.health().ok


# --- starting and closing -------------------------------------------------------------------------------------------


@in_both_worlds
async def test_a_runtime_is_closed_and_started_again(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Closing closes the pool of our own; starting again opens a new one, as often as one likes."""
    runtime = runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace})
    with pytest.raises(Misuse, match="not started"):
        await runtime.create("order")
    for round_ in range(3):
        await runtime.start()
        await runtime.start()
        await runtime.create("order")
        assert (await runtime.count())[0].count == round_ + 1
        pool = engine_of(runtime).persistence.database.connections.pool
        await runtime.close()
        await runtime.close()
        assert pool.closed
        with pytest.raises(Misuse, match="not started"):
            await runtime.create("order")


@in_both_worlds
async def test_a_callers_pool_stays_as_it_was(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """A pool that was given is never closed, and its connections come back out of autocommit, as their owner wants."""
    kind: Any = AsyncConnectionPool if driver.waits.suspends else ConnectionPool
    persistence: Any = AsyncPgPersistence if driver.waits.suspends else PgPersistence
    pool = kind(pg_dsn, min_size=1, max_size=1, open=False)
    given = persistence(pool, namespace=namespace)
    with pytest.raises(StoreUnavailable, match=r"pool is closed; .* open the pool you gave it"):
        await runtime_on(driver, pg_dsn, order(), persistence=given).start()
    await resolved(pool.open())
    try:
        for ref in ("A1", "A2"):
            async with runtime_on(driver, pg_dsn, order(), persistence=given) as runtime:
                one = await runtime.create("order", ref=ref)
                await runtime.fire(one, "reopen")
                await runtime.fire(one, "pay")
                connection = await resolved(pool.getconn())
                assert connection.autocommit is False
                assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
                await resolved(pool.putconn(connection))
                async with runtime.transaction() as tx:
                    assert tx.connection.autocommit is True
            assert not pool.closed
        connection = await resolved(pool.getconn())
        await resolved(connection.set_autocommit(True))
        await resolved(pool.putconn(connection))
        async with runtime_on(driver, pg_dsn, order(), persistence=given) as runtime:
            await runtime.fire(("order", "A1"), "pay")
        connection = await resolved(pool.getconn())
        assert connection.autocommit is True
        await resolved(pool.putconn(connection))
    finally:
        await resolved(pool.close())


@in_both_worlds
async def test_two_runtimes_share_a_pool(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Two persistences over one pool, in two namespaces, do not see each other's instances, refs or definitions."""
    kind: Any = AsyncConnectionPool if driver.waits.suspends else ConnectionPool
    persistence: Any = AsyncPgPersistence if driver.waits.suspends else PgPersistence
    pool = kind(pg_dsn, min_size=1, max_size=2, open=False)
    await resolved(pool.open())
    try:
        async with (
            runtime_on(driver, pg_dsn, order(), persistence=persistence(pool, namespace=namespace)) as left,
            runtime_on(
                driver, pg_dsn, order(explode), persistence=persistence(pool, namespace=f"{namespace}_b")
            ) as right,
        ):
            mine = await left.create("order", ref="A1")
            theirs = await right.create("order", ref="A1")
            assert (await left.get(("order", "A1"))).id == mine.id != theirs.id
            assert [one.id for one in (await right.list()).instances] == [theirs.id]
    finally:
        await resolved(pool.close())


def explode(ctx: Any) -> None:
    """A command that the other runtime's workflow of the same name does not have."""


@in_both_worlds
async def test_one_persistence_serves_one_runtime(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """A second runtime on a started persistence is refused with the remedy, and the first one is unharmed."""
    persistence = persistence_of(driver, pg_dsn, namespace=namespace)
    async with runtime_on(driver, pg_dsn, order(), persistence=persistence) as runtime:
        with pytest.raises(Misuse, match="one persistence for each runtime"):
            await runtime_on(driver, pg_dsn, order(), persistence=persistence).start()
        assert (await runtime.create("order")).state == "open"


@in_both_worlds
async def test_the_wrong_runtime_is_refused(driver: Driver, pg_dsn: str) -> None:
    """A blocking persistence in an asyncio runtime, and the other way round, is refused when the runtime is made."""
    wrong: Any = (PgPersistence if driver.waits.suspends else AsyncPgPersistence).from_dsn(pg_dsn)
    with pytest.raises(InvalidArgument, match=r"serves the .* runtime, and this is the"):
        runtime_on(driver, pg_dsn, order(), persistence=wrong)


@in_both_worlds
async def test_a_missing_schema_says_what_to_run(
    driver: Driver, empty_pg_dsn: str, fresh_pg_dsn: str
) -> None:
    """Without tables, or without one column, start raises `SchemaMismatch` with the command, and closes its pool."""
    runtime = runtime_on(driver, empty_pg_dsn, order())
    with pytest.raises(SchemaMismatch, match="migrate") as caught:
        await runtime.start()
    assert (caught.value.schema, "duraflow_pg" in caught.value.remedy) == ("public", True)
    assert engine_of(runtime).persistence.database.connections.pool.closed
    await resolved(engine_of(runtime).persistence.migrate())
    async with runtime:
        await runtime.create("order")
    look(fresh_pg_dsn, "ALTER TABLE workflow_instances DROP COLUMN waiting_events")
    with pytest.raises(SchemaMismatch, match="waiting_events"):
        await runtime_on(driver, fresh_pg_dsn, order()).start()
    with pytest.raises(SchemaMismatch, match="elsewhere"):
        await runtime_on(driver, fresh_pg_dsn, order(), pool={"schema": "elsewhere"}).start()


@in_both_worlds
async def test_a_table_that_vanishes_is_a_schema_mismatch(driver: Driver, fresh_pg_dsn: str) -> None:
    """Tables that are dropped, or rights that are taken, while a runtime runs are named, in calls and in health."""
    async with runtime_on(driver, fresh_pg_dsn, order()) as runtime:
        one = await runtime.create("order")
        look(fresh_pg_dsn, "ALTER TABLE workflow_history RENAME TO gone")
        for event in ("reopen", "pay"):
            with pytest.raises(SchemaMismatch, match="workflow_history"):
                await runtime.fire(one, event)
        health = await runtime.health()
        assert (health.ok, health.schema_fits, health.writable) == (False, False, True)
        look(fresh_pg_dsn, "ALTER TABLE gone RENAME TO workflow_history")
        assert (await runtime.health()).ok
        assert await runtime.get(one) == one


@in_both_worlds
async def test_a_role_without_rights_is_told(driver: Driver, fresh_pg_dsn: str) -> None:
    """A role that may not write learns which right it lacks; what it may do, it can."""
    role = f"reader_{name_of(fresh_pg_dsn)[-12:]}"
    async with runtime_on(driver, fresh_pg_dsn, order()) as runtime:
        one = await runtime.create("order")
    look(fresh_pg_dsn, f"CREATE ROLE {role} LOGIN")
    try:
        look(fresh_pg_dsn, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        async with runtime_on(driver, fresh_pg_dsn, order(), pool={"user": role}) as runtime:
            assert await runtime.get(one) == one
            with pytest.raises(SchemaMismatch, match=r"lacks a right .*permission denied"):
                await runtime.fire(one, "reopen")
    finally:
        look(fresh_pg_dsn, f"DROP OWNED BY {role}")
        look(fresh_pg_dsn, f"DROP ROLE {role}")


@in_both_worlds
async def test_migrate_at_start(driver: Driver, empty_pg_dsn: str) -> None:
    """`migrate=True` makes the tables, also when several start at once, and does nothing the second time."""

    async def start() -> None:
        async with runtime_on(
            driver, empty_pg_dsn, order(), pool={"migrate": True, "max_size": 2}
        ) as runtime:
            await runtime.create("order")

    await driver.together(start, start, start)
    await start()
    assert look(empty_pg_dsn, "SELECT count(*) FROM workflow_instances") == [(4,)]


@in_both_worlds
async def test_another_content_of_a_known_version_is_refused(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """The database remembers what a version contains; a runtime with another content does not start, and may again."""
    changed = Workflow(
        name="order",
        initial="open",
        states=[State("open", [Transition("ship", target="gone")]), State("gone", final=True)],
    )
    async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace}):
        pass
    runtime = runtime_on(driver, pg_dsn, changed, pool={"namespace": namespace})
    for _ in range(2):  # nothing is left open or taken by the first try
        with pytest.raises(DefinitionConflict, match="raise its version number"):
            await runtime.start()
        assert engine_of(runtime).persistence.database.connections.pool.closed
    async with runtime_on(driver, pg_dsn, changed, pool={"namespace": f"{namespace}_b"}) as runtime:
        assert (await runtime.health()).ok


# --- health ---------------------------------------------------------------------------------------------------------


@in_both_worlds
async def test_health_tells_how_things_are(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """A healthy store says its server, a round trip, and how its pool is used."""
    pool = {"namespace": namespace, "min_size": 2, "max_size": 3}
    async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
        async with runtime.transaction(), runtime.transaction():
            health = await runtime.health()
            assert (health.ok, health.schema_fits, health.writable, health.problem) == (True, True, True, "")
            ((version,),) = look(pg_dsn, "SHOW server_version")
            assert health.server == f"PostgreSQL {version}"
            assert timedelta(0) < health.round_trip < timedelta(seconds=5)
            assert health.pool["size"] == 3
            assert set(health.pool) == {"size", "available", "waiting"}
        await check_all(runtime)


# --- schemas, databases and namespaces side by side -----------------------------------------------------------------

ODD = ["Flows", "two words", 'say "hi"', "100%", "%s", "a{b}", "select", "it's", "größe", "public", "x" * 63]


@pytest.mark.parametrize("schema", ODD)
@in_both_worlds
async def test_any_schema_name_serves(driver: Driver, empty_pg_dsn: str, schema: str) -> None:
    """Moves, commands, batches, timers, lists and look-ups work in a schema of any name, whatever the search path."""
    migrate(empty_pg_dsn, schema=schema)
    pool = {"schema": schema, "options": "-c search_path=pg_catalog"}
    clock = ManualClock()
    async with runtime_on(driver, empty_pg_dsn, order(), reminder(), clock=clock, pool=pool) as runtime:
        one = await runtime.create("order", ref="A1", metadata={"a": 1})
        await runtime.fire(one, "reopen")
        await runtime.fire(("order", "A1"), "post")
        await runtime.create_many([NewInstance("reminder"), NewInstance("reminder", ref="A2")])
        clock.advance(2 * DAY)
        assert (await runtime.fire_due_timers()).fired == 2
        assert len((await runtime.list(metadata={"a": 1})).instances) == 1
        assert len(await runtime.history(one)) == 5
        assert await runtime.parked() == ()
        assert (await runtime.health()).ok
        await check_all(runtime)


@in_both_worlds
async def test_runtimes_side_by_side_never_mix(
    driver: Driver, pg_dsn: str, databases: Databases, namespace: str
) -> None:
    """Two databases, two schemas and two namespaces in one process, all at once: each sees exactly its own."""
    other = databases.clone()
    try:
        migrate(other, schema="second")
        places: list[dict[str, Any]] = [
            {"dsn": pg_dsn, "namespace": namespace},
            {"dsn": pg_dsn, "namespace": f"{namespace}_b"},
            {"dsn": other, "namespace": namespace},
            {"dsn": other, "namespace": namespace, "schema": "second"},
        ]

        async def live(number: int) -> None:
            place = dict(places[number])
            dsn = place.pop("dsn")

            async def mark(ctx: Any, runtime: Any) -> None:
                ((found,),) = await execute(ctx.connection, "SELECT current_database()::text")
                ctx.context["where"] = f"{found} {number}"

            workflow = order(driver.command(mark))
            async with runtime_on(driver, dsn, workflow, pool={**place, "max_size": 2}) as runtime:
                made = [await runtime.create("order", ref=str(step)) for step in range(5)]

                async def move(step: int) -> None:
                    await runtime.fire(("order", str(step)), "reopen")
                    result = await runtime.fire(("order", str(step)), "pay")
                    assert result.instance.id == made[step].id
                    assert result.instance.context == {"where": f"{name_of(dsn)} {number}"}

                await driver.together(*(lambda step=step: move(step) for step in range(5)))
                found = (await runtime.list()).instances
                assert {one.id for one in found} == {one.id for one in made}
                assert {one.version for one in found} == {3}
                await check_all(runtime)

        await driver.together(*(lambda number=number: live(number) for number in range(len(places))))
    finally:
        databases.drop(other)


def test_both_kinds_of_runtime_in_one_process(pg_dsn: str, namespace: str) -> None:
    """A blocking and an asyncio runtime share a namespace: each sees and moves what the other made."""

    async def body(blocking: Runtime) -> None:
        from duraflow import AsyncRuntime

        async with AsyncRuntime(
            workflows=[order()], persistence=AsyncPgPersistence.from_dsn(pg_dsn, namespace=namespace)
        ) as runtime:
            one = await asyncio.to_thread(blocking.create, "order")
            await runtime.fire(one, "reopen")
            await asyncio.to_thread(blocking.fire, one, "pay")
            assert (await runtime.get(one)).version == 3

    with Runtime(
        workflows=[order()], persistence=PgPersistence.from_dsn(pg_dsn, namespace=namespace)
    ) as blocking:
        asyncio.run(body(blocking))


@pytest.mark.parametrize("value", [timedelta(0), timedelta(seconds=-1)])
def test_a_limit_that_makes_no_sense(value: timedelta) -> None:
    """A limit of nothing would mean no limit to the server; it is refused, and None says so in words."""
    with pytest.raises(InvalidArgument, match="at least 1 ms"):
        Timeouts(lock=value)
