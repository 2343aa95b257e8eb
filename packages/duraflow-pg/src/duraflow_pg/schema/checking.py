"""Does this database have the schema that the library needs? Asks it, and only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duraflow.errors import SchemaMismatch
from duraflow.runtime.drive import drive
from duraflow_pg._psycopg import psycopg
from duraflow_pg.schema.applying import recorded_versions
from duraflow_pg.schema.check import SCHEMA_PARAMETERS, SCHEMA_QUERY, remedy, schema_problem
from duraflow_pg.schema.files import migration_files
from duraflow_pg.schema.names import check_schema_name
from duraflow_pg.schema.sessions import async_session, blocking_session

if TYPE_CHECKING:
    from duraflow_pg.schema.sessions import Session


def check_schema(target: str | psycopg.Connection[Any], *, schema: str = "public") -> None:
    """Return if everything that this version of the library needs is there.

    Tables and columns are what counts. Beyond them, if the schema's own `schema_migrations` has some of Duraflow's
    versions it must have all of them: a later one may have made an index only.

    Args:
        target: a DSN, or an open connection with no transaction in progress.
        schema: which schema.

    Raises:
        SchemaMismatch: it is missing or too old; `remedy` is the command to run.
        InvalidArgument: the DSN or the schema's name cannot be used.
        Misuse: the connection is inside a transaction.
        StoreUnavailable: no connection could be made.
        psycopg.Error: the role may not read the schema's `schema_migrations`.
    """
    check_schema_name(schema)
    with blocking_session(target) as session:
        drive(_check(session, schema))


async def check_schema_async(target: str | psycopg.AsyncConnection[Any], *, schema: str = "public") -> None:
    """As `check_schema`, on asyncio."""
    check_schema_name(schema)
    async with async_session(target) as session:
        await _check(session, schema)


async def _check(session: Session, schema: str) -> None:
    async with session.transaction():
        problem = schema_problem(await session.rows(SCHEMA_QUERY, SCHEMA_PARAMETERS), schema)
        if problem is not None:
            raise problem
        recorded = await recorded_versions(session, schema)
    names = {file.version: file.name for file in migration_files()}
    missing = names.keys() - recorded
    if missing and len(missing) < len(names):
        raise SchemaMismatch(
            schema,
            f"migrations were not applied: {', '.join(names[version] for version in sorted(missing))}",
            remedy(schema),
        )
