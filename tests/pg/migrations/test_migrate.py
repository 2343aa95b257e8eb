"""Does `migrate` do what dbmate does, safely, whoever else is at it?"""

from __future__ import annotations

import asyncio
import subprocess
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import conninfo, sql
from psycopg.rows import dict_row

from devtools.embedded_pg import apply_dbmate
from duraflow.errors import InvalidArgument, LockTimeout, Misuse, SchemaMismatch, StoreUnavailable
from duraflow.runtime.drive import drive
from duraflow_pg.schema import (
    check_schema,
    copy_migrations,
    generate_migration_sql,
    migrate,
    migrate_async,
    migrations_path,
)
from duraflow_pg.schema.applying import LOCK_KEY, apply
from duraflow_pg.schema.files import migration_files, read_directory
from duraflow_pg.schema.sessions import BlockingSession
from tests.pg.migrations.shapes import schemas_with_tables, shape, versions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_OURS = tuple(file.version for file in migration_files())
_NOW = timedelta(0)
_SOON = timedelta(seconds=20)


# --- as dbmate does ----------------------------------------------------------------------------------------------


def test_it_says_what_it_applied(every_empty_pg_dsn: str) -> None:
    """The first time all versions, then none."""
    assert migrate(every_empty_pg_dsn) == _OURS
    assert migrate(every_empty_pg_dsn) == ()
    check_schema(every_empty_pg_dsn)


def test_dbmate_after_us_has_nothing_to_do(empty_pg_dsn: str) -> None:
    """And can take back what we applied; then we apply it again."""
    migrate(empty_pg_dsn)
    before = shape(empty_pg_dsn, "public")
    assert "Applying" not in apply_dbmate(empty_pg_dsn, migrations_path(), command=["up", "--strict"])
    for _ in _OURS:
        apply_dbmate(empty_pg_dsn, migrations_path(), command=["rollback"])
    assert versions(empty_pg_dsn) == []
    assert migrate(empty_pg_dsn) == _OURS
    assert shape(empty_pg_dsn, "public") == before


def test_we_after_dbmate_have_nothing_to_do(empty_pg_dsn: str) -> None:
    """The versions are read from its table."""
    apply_dbmate(empty_pg_dsn, migrations_path())
    assert migrate(empty_pg_dsn) == ()


def test_the_record_is_the_table_that_dbmate_makes(databases: Any, empty_pg_dsn: str) -> None:
    """The same column, type and key."""
    migrate(empty_pg_dsn, schema="s")
    apply_dbmate(empty_pg_dsn, migrations_path())
    with psycopg.connect(empty_pg_dsn) as connection:
        rows = connection.execute(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,"
            " (SELECT pg_get_constraintdef(k.oid) FROM pg_constraint AS k WHERE k.conrelid = c.oid AND k.contype = 'p')"
            " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
            " WHERE c.relname = 'schema_migrations'"
        ).fetchall()
    assert rows == [("version", "character varying", True, "PRIMARY KEY (version)")] * 2


def test_versions_of_others_in_the_record_are_left_alone(empty_pg_dsn: str, tmp_path: Path) -> None:
    """Earlier, later, and of any form."""
    for version in ("1", "29990101000000"):
        (tmp_path / f"{version}_mine.sql").write_text("-- migrate:up\n-- migrate:down\n")
    apply_dbmate(empty_pg_dsn, tmp_path)
    assert migrate(empty_pg_dsn) == _OURS
    assert versions(empty_pg_dsn) == ["1", *_OURS, "29990101000000"]


@pytest.mark.parametrize(
    "schema", ["other", 'My "weird" schéma', "it's $duraflow$ %s \\ a.b", "x" * 63, "select"]
)
def test_any_schema_in_one_database(empty_pg_dsn: str, schema: str) -> None:
    """Each has its tables and its record; nothing lands in `public`."""
    assert migrate(empty_pg_dsn, schema=schema) == _OURS
    assert migrate(empty_pg_dsn, schema=schema) == ()
    assert set(schemas_with_tables(empty_pg_dsn)) == {schema}
    assert migrate(empty_pg_dsn) == _OURS
    assert shape(empty_pg_dsn, schema) == shape(empty_pg_dsn, "public")
    assert versions(empty_pg_dsn, schema) == list(_OURS)
    check_schema(empty_pg_dsn, schema=schema)


def test_the_search_path_of_the_role_is_nothing_to_us(empty_pg_dsn: str) -> None:
    """Nor are tables of the same name in it."""
    migrate(empty_pg_dsn, schema="elsewhere")
    hostile = conninfo.make_conninfo(empty_pg_dsn, options="-c search_path=elsewhere,public")
    assert migrate(hostile) == _OURS
    assert migrate(hostile, schema="third") == _OURS
    assert shape(empty_pg_dsn, "third") == shape(empty_pg_dsn, "public")


def test_functions_of_others_do_not_get_into_our_constraints(empty_pg_dsn: str) -> None:
    """One in a schema that the role has before `pg_catalog` in its search_path."""
    with psycopg.connect(empty_pg_dsn) as connection:
        connection.execute("CREATE FUNCTION jsonb_typeof(jsonb) RETURNS text LANGUAGE sql RETURN 'object'")
    migrate(
        conninfo.make_conninfo(empty_pg_dsn, options="-c search_path=public,pg_catalog"), schema="hostile"
    )
    migrate(empty_pg_dsn, schema="plain")
    assert shape(empty_pg_dsn, "hostile") == shape(empty_pg_dsn, "plain")


def test_migrations_under_other_numbers_are_not_applied_again(empty_pg_dsn: str, tmp_path: Path) -> None:
    """The tables are all there, whatever the record says: nothing to do, and nothing is recorded."""
    for number, path in enumerate(copy_migrations(tmp_path).copied):
        path.rename(tmp_path / f"2999010100000{number}_x.sql")
    apply_dbmate(empty_pg_dsn, tmp_path)
    assert migrate(empty_pg_dsn) == ()
    assert not set(_OURS) & set(versions(empty_pg_dsn))


def test_nor_is_what_generated_sql_has_made(empty_pg_dsn: str) -> None:
    """By alembic or Django, say."""
    with psycopg.connect(empty_pg_dsn) as connection:
        connection.execute(generate_migration_sql(schema="s").up.encode())
    assert migrate(empty_pg_dsn, schema="s") == ()


def test_half_a_schema_without_a_record_is_not_touched(empty_pg_dsn: str) -> None:
    """The error says what is in the way, and how to record it."""
    with psycopg.connect(empty_pg_dsn) as connection:
        connection.execute("CREATE TABLE workflow_history ()")
    with pytest.raises(SchemaMismatch, match='"workflow_history" already exists') as raised:
        migrate(empty_pg_dsn)
    assert raised.value.remedy == f"INSERT INTO \"public\".schema_migrations (version) VALUES ('{_OURS[0]}')"
    assert schemas_with_tables(empty_pg_dsn) == {"public": 1}


# --- the connection ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocommit", [True, False])
def test_a_connection_is_borrowed(empty_pg_dsn: str, autocommit: bool) -> None:
    """Its row factory does not matter, it stays open and idle, and its settings are as before."""
    with psycopg.connect(
        empty_pg_dsn, autocommit=autocommit, row_factory=dict_row, cursor_factory=psycopg.ClientCursor
    ) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        before = connection.execute(
            "SELECT current_setting('search_path'), current_setting('lock_timeout')"
        ).fetchone()
        connection.commit()
        assert migrate(connection) == _OURS
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        after = connection.execute(
            "SELECT current_setting('search_path'), current_setting('lock_timeout')"
        ).fetchone()
        assert after == before
        connection.rollback()
        check_schema(connection)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def test_a_connection_in_the_middle_of_something_is_refused(empty_pg_dsn: str) -> None:
    """A transaction, a pipeline, or closed: each says what to do."""
    with psycopg.connect(empty_pg_dsn) as connection:
        connection.execute("SELECT 1")
        with pytest.raises(Misuse, match="inside a transaction; commit or roll back first"):
            migrate(connection)
        connection.rollback()
        with connection.pipeline(), pytest.raises(Misuse, match="pipeline mode"):
            migrate(connection)
    with pytest.raises(InvalidArgument, match="closed"):
        migrate(connection)
    assert schemas_with_tables(empty_pg_dsn) == {}


def test_asyncio(empty_pg_dsn: str) -> None:
    """The same by `await`, on a DSN and on a connection."""

    async def both() -> None:
        async with await psycopg.AsyncConnection.connect(empty_pg_dsn, row_factory=dict_row) as connection:
            assert await migrate_async(connection) == _OURS
            await connection.execute("SELECT 1")
            with pytest.raises(Misuse, match="inside a transaction"):
                await migrate_async(connection)
        assert await migrate_async(empty_pg_dsn) == ()
        assert await migrate_async(empty_pg_dsn, schema="s") == _OURS

    asyncio.run(both())


def test_a_server_that_is_not_there(empty_pg_dsn: str) -> None:
    """Unavailable, and not our database's password in the message."""
    nowhere = conninfo.make_conninfo(empty_pg_dsn, port=1, host="127.0.0.1", hostaddr="", password="scret")
    with pytest.raises(StoreUnavailable) as raised:
        migrate(nowhere)
    assert "scret" not in str(raised.value)
    with pytest.raises(StoreUnavailable):
        asyncio.run(migrate_async(nowhere))


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"schema": "pg_x"}, "schema"),
        ({"timeout": timedelta(seconds=-1)}, "timeout"),
        ({"lock_timeout": timedelta(0)}, "lock_timeout"),
    ],
)
def test_bad_options_are_refused_before_connecting(options: dict[str, Any], argument: str) -> None:
    """So the DSN need not even work."""
    with pytest.raises(InvalidArgument, match=f"^{argument}: "):
        migrate("postgresql://127.0.0.1:1/x", **options)


# --- several at once ---------------------------------------------------------------------------------------------


def test_threads_that_start_together(every_empty_pg_dsn: str) -> None:
    """Exactly one applies each version, in two schemas at the same time; nobody fails."""
    barrier = threading.Barrier(12)

    def one(number: int) -> tuple[str, ...]:
        barrier.wait()
        return migrate(every_empty_pg_dsn, schema=f"s{number % 2}", timeout=_SOON)

    with ThreadPoolExecutor(12) as pool:
        applied = [version for done in pool.map(one, range(12)) for version in done]
    assert sorted(applied) == sorted(_OURS * 2)
    assert versions(every_empty_pg_dsn, "s0") == versions(every_empty_pg_dsn, "s1") == list(_OURS)


def test_tasks_that_start_together(empty_pg_dsn: str) -> None:
    """The same in one event loop."""

    async def together() -> list[tuple[str, ...]]:
        return await asyncio.gather(*(migrate_async(empty_pg_dsn, timeout=_SOON) for _ in range(8)))

    # One may apply the first and another the second: each migration is a transaction of its own.
    assert sorted(version for done in asyncio.run(together()) for version in done) == sorted(_OURS)
    assert versions(empty_pg_dsn, "public") == list(_OURS)


def test_beside_dbmate_without_its_lock(empty_pg_dsn: str) -> None:
    """It may be at it at the same moment: one of the two fails to make a table, looks again, and finds it done."""
    with psycopg.connect(empty_pg_dsn) as dbmate:
        dbmate.execute("CREATE TABLE schema_migrations (version varchar PRIMARY KEY)")
        for file in migration_files():
            dbmate.execute(file.up[0].sql.encode())
            dbmate.execute("INSERT INTO schema_migrations VALUES (%s)", [file.version])
        with ThreadPoolExecutor(1) as pool:
            ours = pool.submit(migrate, empty_pg_dsn, timeout=_SOON)
            _wait_until_someone_waits(empty_pg_dsn)
            dbmate.commit()
            assert ours.result() == ()
    assert versions(empty_pg_dsn) == list(_OURS)


@pytest.fixture
def lock_holder(empty_pg_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Someone who holds the lock of `dbmate --migration-lock`, in a session, as it does."""
    with psycopg.connect(empty_pg_dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        yield connection


def test_the_lock_is_that_of_dbmate(empty_pg_dsn: str, lock_holder: psycopg.Connection[Any]) -> None:
    """While it is held we wait, and so does `dbmate --migration-lock`, which shows that it is the same one."""
    with pytest.raises(LockTimeout, match="another migration of this database is running"):
        migrate(empty_pg_dsn, timeout=_NOW)
    with pytest.raises(subprocess.CalledProcessError, match="waiting for migration lock"):
        apply_dbmate(
            empty_pg_dsn, migrations_path(), options=["--migration-lock", "--migration-lock-timeout", "100ms"]
        )
    assert schemas_with_tables(empty_pg_dsn) == {}


def test_who_waits_goes_on_when_the_lock_is_free(
    empty_pg_dsn: str, lock_holder: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And holds no transaction open while it waits, which CREATE INDEX CONCURRENTLY would wait for."""
    states: list[psycopg.pq.TransactionStatus] = []

    async def wait(self: BlockingSession, seconds: float, /) -> None:
        states.append(self._connection.info.transaction_status)
        if len(states) == 3:
            lock_holder.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])

    monkeypatch.setattr(BlockingSession, "wait", wait)
    assert migrate(empty_pg_dsn) == _OURS
    assert states == [psycopg.pq.TransactionStatus.IDLE] * 3


def test_where_nothing_is_missing_nobody_waits(
    empty_pg_dsn: str, lock_holder: psycopg.Connection[Any]
) -> None:
    """A hundred processes may start while a migration of something else runs."""
    apply_dbmate(empty_pg_dsn, migrations_path())
    assert migrate(empty_pg_dsn, timeout=_NOW) == ()


# --- files that are not shipped yet ------------------------------------------------------------------------------


def _files(folder: Path, *ups: str) -> Any:
    for number, up in enumerate(ups, start=1):
        (folder / f"{number}_x.sql").write_text(f"-- migrate:up{up}\n-- migrate:down\n")
    return read_directory(folder)


def _apply(
    dsn: str, files: Any, *, autocommit: bool = True, lock_timeout: timedelta = _SOON
) -> tuple[str, ...]:
    with psycopg.connect(dsn, autocommit=autocommit) as connection:
        session = BlockingSession(connection)
        return drive(apply(session, files, "s", timeout=_NOW, lock_timeout=lock_timeout))


@pytest.mark.parametrize(
    "isolation", [psycopg.IsolationLevel.READ_COMMITTED, psycopg.IsolationLevel.REPEATABLE_READ]
)
def test_after_the_lock_it_looks_again(
    empty_pg_dsn: str, tmp_path: Path, isolation: psycopg.IsolationLevel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What someone else has applied between our look and our lock is not run, whatever the isolation level."""
    files = _files(tmp_path, "\nCREATE TABLE a ();")
    scripts: list[str] = []
    run, rows = BlockingSession.run, BlockingSession.rows

    async def watched_rows(self: BlockingSession, query: Any, parameters: Any = None, /) -> Any:
        if "pg_try_advisory" in str(query):
            monkeypatch.setattr(BlockingSession, "rows", rows)
            assert _apply(empty_pg_dsn, files) == ("1",)
            scripts.clear()
        return await rows(self, query, parameters)

    async def watched_run(self: BlockingSession, script: str, /) -> None:
        scripts.append(script)
        await run(self, script)

    monkeypatch.setattr(BlockingSession, "rows", watched_rows)
    monkeypatch.setattr(BlockingSession, "run", watched_run)
    with psycopg.connect(empty_pg_dsn, autocommit=True) as connection:
        connection.isolation_level = isolation
        assert drive(apply(BlockingSession(connection), files, "s", timeout=_NOW, lock_timeout=_SOON)) == ()
    assert not [script for script in scripts if "CREATE" in script]


def test_a_failed_migration_leaves_nothing_of_itself(empty_pg_dsn: str, tmp_path: Path) -> None:
    """Those before it stay, with their record; after a repair the rest is applied."""
    files = _files(
        tmp_path, "\nCREATE TABLE a ();", "\nCREATE TABLE b (); SELECT 1/0;", "\nCREATE TABLE c ();"
    )
    with pytest.raises(psycopg.errors.DivisionByZero):
        _apply(empty_pg_dsn, files)
    assert versions(empty_pg_dsn, "s") == ["1"]
    assert schemas_with_tables(empty_pg_dsn) == {"s": 2}
    assert _apply(empty_pg_dsn, _files(tmp_path, "\nCREATE TABLE a ();", "\nCREATE TABLE b ();", "\n")) == (
        "2",
        "3",
    )


def test_a_busy_table_is_tried_again_and_then_given_up(empty_pg_dsn: str, tmp_path: Path) -> None:
    """The attempts are short, so that others do not queue behind them."""
    _apply(empty_pg_dsn, _files(tmp_path, "\nCREATE TABLE a ();"))
    files = _files(tmp_path, "\nCREATE TABLE a ();", "\nALTER TABLE a ADD b int;")
    with psycopg.connect(empty_pg_dsn) as reader:
        reader.execute("SELECT FROM s.a")
        with pytest.raises(LockTimeout, match=r"migration 2_x\.sql needs a table that others use"):
            _apply(empty_pg_dsn, files, lock_timeout=timedelta(milliseconds=1))
    assert _apply(empty_pg_dsn, files) == ("2",)


def test_a_part_that_cannot_run_in_a_transaction(empty_pg_dsn: str, tmp_path: Path) -> None:
    """It runs alone, under a lock of the session that is given back, also after an error."""
    files = _files(
        tmp_path,
        "\nCREATE TABLE a (b int);",
        " transaction:false\nCREATE INDEX CONCURRENTLY a_b ON a (b);",
        " transaction:false\nCREATE INDEX CONCURRENTLY a_c ON a (c);",
    )
    with psycopg.connect(empty_pg_dsn, autocommit=True) as connection:
        with pytest.raises(psycopg.errors.UndefinedColumn):
            drive(apply(BlockingSession(connection), files, "s", timeout=_NOW, lock_timeout=_SOON))
        assert connection.execute("SELECT 's.a_b'::regclass::text").fetchone() == ("s.a_b",)
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        assert connection.execute(held).fetchone() == (0,)
    assert versions(empty_pg_dsn, "s") == ["1", "2"]
    with pytest.raises(Misuse, match="set autocommit"):
        _apply(empty_pg_dsn, files, autocommit=False)


# --- rights ------------------------------------------------------------------------------------------------------


@pytest.fixture
def poor_role(empty_pg_dsn: str) -> Iterator[str]:
    """The DSN of a role that has no right to create schemas, and may do what it likes in `given`."""
    role = f"duraflow_poor_{uuid.uuid4().hex[:12]}"
    name = sql.Identifier(role)
    with psycopg.connect(empty_pg_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(name))
        admin.execute(sql.SQL("CREATE SCHEMA given; GRANT ALL ON SCHEMA given TO {}").format(name))
        yield conninfo.make_conninfo(empty_pg_dsn, user=role, password="x")
        admin.execute(sql.SQL("DROP OWNED BY {0} CASCADE; DROP ROLE {0}").format(name))


def test_a_role_needs_no_more_than_its_schema(poor_role: str, empty_pg_dsn: str) -> None:
    """An administrator makes the schema; the right to make others is not asked for."""
    assert migrate(poor_role, schema="given") == _OURS
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for database"):
        migrate(poor_role, schema="not_given")
    with psycopg.connect(empty_pg_dsn) as admin:
        admin.execute("DROP SCHEMA given CASCADE")
        admin.execute("CREATE SCHEMA given")
        admin.execute(
            sql.SQL("GRANT ALL ON SCHEMA given TO {}").format(
                sql.Identifier(str(conninfo.conninfo_to_dict(poor_role)["user"]))
            )
        )
    with psycopg.connect(poor_role) as connection:
        connection.execute(generate_migration_sql(schema="given").up.encode())


def test_a_role_that_may_only_read_finds_nothing_to_do(poor_role: str, empty_pg_dsn: str) -> None:
    """The application's role needs no right to create, if something else migrates."""
    migrate(empty_pg_dsn, schema="made")
    with psycopg.connect(empty_pg_dsn) as admin:
        user = sql.Identifier(str(conninfo.conninfo_to_dict(poor_role)["user"]))
        admin.execute(
            sql.SQL(
                "GRANT USAGE ON SCHEMA made TO {0}; GRANT SELECT ON made.schema_migrations TO {0}"
            ).format(user)
        )
    assert migrate(poor_role, schema="made") == ()
    check_schema(poor_role, schema="made")


def _wait_until_someone_waits(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(1000):
            rows = connection.execute(
                "SELECT FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)"
                " WHERE NOT l.granted AND a.datname = current_database()"
            ).fetchall()
            if rows:
                return
            connection.execute("SELECT pg_sleep(0.01)")
    pytest.fail("nobody waited")
