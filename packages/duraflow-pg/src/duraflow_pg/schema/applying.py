"""How are the migrations applied without dbmate, so that dbmate could have done it?

The versions are recorded as dbmate records them, in the table `schema_migrations` of the schema itself, so that two
schemas in one database have a record each. One migration is one transaction: lock, look again, apply, record.
"""

from __future__ import annotations

import random
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from duraflow.errors import InvalidArgument, LockTimeout, Misuse, SchemaMismatch
from duraflow.runtime.drive import drive
from duraflow_pg._psycopg import psycopg
from duraflow_pg.schema.check import SCHEMA_PARAMETERS, SCHEMA_QUERY, schema_problem
from duraflow_pg.schema.files import migration_files
from duraflow_pg.schema.generate import objects_of
from duraflow_pg.schema.names import check_schema_name, quote_identifier, quote_in_query
from duraflow_pg.schema.placement import create_schema, qualify
from duraflow_pg.schema.sessions import async_session, blocking_session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duraflow_pg.schema.files import MigrationFile
    from duraflow_pg.schema.sessions import Session

# The key of `dbmate --migration-lock` (2.37), so that it and we wait for each other, too.
LOCK_KEY: Final = 48_372_615

_ALREADY_THERE = (
    psycopg.errors.DuplicateColumn,
    psycopg.errors.DuplicateFunction,
    psycopg.errors.DuplicateObject,
    psycopg.errors.DuplicateSchema,
    psycopg.errors.DuplicateTable,
    # what the loser of two simultaneous CREATEs is told
    psycopg.errors.UniqueViolation,
)


def migrate(
    target: str | psycopg.Connection[Any],
    *,
    schema: str = "public",
    timeout: timedelta = timedelta(minutes=5),
    lock_timeout: timedelta = timedelta(seconds=5),
) -> tuple[str, ...]:
    """Apply Duraflow's migrations that a schema does not have yet; make the schema if it is missing.

    Safe when several start at once, also beside `dbmate --migration-lock`: one applies, the others wait and find it
    done. Where nothing is missing it only reads. What dbmate has applied is not applied again, and the other way
    round. Versions of other migrations in the same `schema_migrations` are left alone.

    Args:
        target: a DSN, or an open connection with no transaction in progress.
        schema: where the tables are to be.
        timeout: how long to wait in all for other migrations and for locks on tables.
        lock_timeout: how long one attempt may wait for a lock on a table. While it waits, everyone who needs that
            table waits behind it, so it is short, and tried again.

    Returns:
        The versions that this call has applied, in order.

    Raises:
        LockTimeout: others were busy all the time. What was applied until then stays; run it again.
        SchemaMismatch: the schema has some of the objects already without a record of their migration.
        InvalidArgument: the DSN, the schema's name or a timeout cannot be used.
        Misuse: the connection is inside a transaction.
        StoreUnavailable: no connection could be made.
        psycopg.Error: the server refused a statement, for want of a right, say. That migration was rolled back.
    """
    _check(schema, timeout, lock_timeout)
    with blocking_session(target) as session:
        return drive(apply(session, migration_files(), schema, timeout=timeout, lock_timeout=lock_timeout))


async def migrate_async(
    target: str | psycopg.AsyncConnection[Any],
    *,
    schema: str = "public",
    timeout: timedelta = timedelta(minutes=5),  # noqa: ASYNC109 - not of the call, but of its waiting for locks
    lock_timeout: timedelta = timedelta(seconds=5),
) -> tuple[str, ...]:
    """As `migrate`, on asyncio."""
    _check(schema, timeout, lock_timeout)
    async with async_session(target) as session:
        return await apply(session, migration_files(), schema, timeout=timeout, lock_timeout=lock_timeout)


async def apply(
    session: Session,
    files: tuple[MigrationFile, ...],
    schema: str,
    *,
    timeout: timedelta,  # noqa: ASYNC109 - see migrate_async
    lock_timeout: timedelta,
) -> tuple[str, ...]:
    """Apply those of the files that are not recorded; see `migrate`."""
    applied: list[str] = []
    give_up = time.monotonic() + timeout.total_seconds()
    pauses = _pauses()
    disputed: set[str] = set()
    while (file := await _next(session, files, schema)) is not None:
        try:
            if all(section.transaction for section in file.up):
                done = await _apply_inside(session, file, files, schema, lock_timeout)
            else:
                done = await _apply_outside(session, file, files, schema)
        except _Waiting as waiting:
            if time.monotonic() >= give_up:
                raise LockTimeout(str(waiting)) from waiting.__cause__
            await session.wait(next(pauses))
        except _ALREADY_THERE as error:
            # dbmate without --migration-lock may have been at it at the same moment: then it is recorded by now
            if file.version in disputed:
                raise _unrecorded(schema, file, error) from error
            disputed.add(file.version)
        else:
            applied += [file.version] if done else []
    return tuple(applied)


async def _next(session: Session, files: tuple[MigrationFile, ...], schema: str) -> MigrationFile | None:
    # a transaction of its own: without autocommit a bare read would leave one open
    async with session.transaction():
        recorded = await recorded_versions(session, schema)
        pending = [file for file in files if file.version not in recorded]
        if len(pending) == len(files):
            # none recorded: another tool may have made it all, from generated SQL or under numbers of its own
            rows = await session.rows(SCHEMA_QUERY, SCHEMA_PARAMETERS)
            if schema_problem(rows, schema) is None:
                return None
    return pending[0] if pending else None


async def recorded_versions(session: Session, schema: str) -> frozenset[str]:
    """The versions in the schema's own `schema_migrations`, other people's included; none if it is not there."""
    table = f"{quote_identifier(schema)}.schema_migrations"
    ((exists,),) = await session.rows("SELECT pg_catalog.to_regclass(%s) IS NOT NULL", [table])
    if not exists:
        return frozenset()
    rows = await session.rows(psycopg.sql.SQL(f"SELECT version::text FROM {table}"))  # noqa: S608 - quoted
    return frozenset(str(version) for (version,) in rows)


async def _apply_inside(
    session: Session,
    file: MigrationFile,
    files: tuple[MigrationFile, ...],
    schema: str,
    lock_timeout: timedelta,
) -> bool:
    """Apply one migration in one transaction; False if someone else has done it meanwhile."""
    try:
        async with session.transaction():
            # READ COMMITTED, whatever the default: what is read after the lock must be what was committed before it
            await session.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED READ WRITE")
            await session.rows(
                "SELECT pg_catalog.set_config('lock_timeout', %s, true),"
                " pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)",
                [f"{max(1, int(lock_timeout.total_seconds() * 1000))}ms"],
            )
            # Tried, not waited for: who waits inside a statement holds a snapshot, for which another one's
            # CREATE INDEX CONCURRENTLY would wait in turn.
            ((locked,),) = await session.rows("SELECT pg_catalog.pg_try_advisory_xact_lock(%s)", [LOCK_KEY])
            if not locked:
                raise _Waiting("another migration of this database is running")
            if file.version in await recorded_versions(session, schema):
                return False
            await _make_migrations_table(session, schema)
            for section in file.up:
                await session.run(qualify(section.sql, schema, objects_of(files)))
            await _record(session, schema, file)
    except psycopg.errors.LockNotAvailable as error:
        raise _Waiting(
            f"migration {file.name} needs a table that others use ({error.diag.message_primary})"
        ) from error
    return True


async def _apply_outside(
    session: Session, file: MigrationFile, files: tuple[MigrationFile, ...], schema: str
) -> bool:
    """Apply one migration with a part that cannot run in a transaction, under a lock of the whole session."""
    if not session.autocommit:
        raise Misuse(
            f"migration {file.name} cannot run in a transaction",
            "set autocommit on the connection, or give a DSN",
        )
    ((locked,),) = await session.rows("SELECT pg_catalog.pg_try_advisory_lock(%s)", [LOCK_KEY])
    if not locked:
        raise _Waiting("another migration of this database is running")
    try:
        if file.version in await recorded_versions(session, schema):
            return False
        await _make_migrations_table(session, schema)
        for section in file.up:
            sql = qualify(section.sql, schema, objects_of(files))
            if section.transaction:
                async with session.transaction():
                    await session.run(sql)
            else:
                await session.run(sql)
        await _record(session, schema, file)
    finally:
        await session.rows("SELECT pg_catalog.pg_advisory_unlock(%s)", [LOCK_KEY])
    return True


async def _make_migrations_table(session: Session, schema: str) -> None:
    name = quote_identifier(schema)
    ((exists,),) = await session.rows(
        "SELECT pg_catalog.to_regclass(%s) IS NOT NULL", [f"{name}.schema_migrations"]
    )
    if not exists:
        # the statement of dbmate 2.37
        await session.run(
            f"{create_schema(schema)}CREATE TABLE IF NOT EXISTS {name}.schema_migrations (version varchar PRIMARY KEY)"
        )


async def _record(session: Session, schema: str, file: MigrationFile) -> None:
    table = f"{quote_in_query(schema)}.schema_migrations"
    insert = psycopg.sql.SQL(f"INSERT INTO {table} (version) VALUES (%s) RETURNING version")  # noqa: S608 - quoted
    await session.rows(insert, [file.version])


def _unrecorded(schema: str, file: MigrationFile, error: psycopg.Error) -> SchemaMismatch:
    table = f"{quote_identifier(schema)}.schema_migrations"
    return SchemaMismatch(
        schema,
        f"it has something that migration {file.name} makes ({error.diag.message_primary}), but no record of it; "
        "go on with the tool that made it, or, if all of that migration is there, record it",
        f"INSERT INTO {table} (version) VALUES ('{file.version}')",  # noqa: S608 - for a person to run
    )


class _Waiting(Exception):
    """Someone else is at it; try again."""


def _pauses() -> Iterator[float]:
    pause = 0.05
    while True:
        yield pause * random.uniform(0.5, 1)
        pause = min(pause * 2, 1.0)


def _check(schema: str, timeout: timedelta, lock_timeout: timedelta) -> None:
    check_schema_name(schema)
    if timeout < timedelta(0):
        raise InvalidArgument("timeout", f"{timeout} is negative")
    if lock_timeout <= timedelta(0):
        raise InvalidArgument("lock_timeout", f"{lock_timeout} is not positive")
