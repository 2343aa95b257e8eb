"""Are the tables and indexes there that this library needs, and are they valid?"""

from __future__ import annotations

import re
from typing import Final

from psycopg import sql

from duraflow_pg.doctor.running import Looked, Ward
from duraflow_pg.schema.check import EXPECTED_COLUMNS, SCHEMA_PARAMETERS, SCHEMA_QUERY, schema_problem
from duraflow_pg.schema.files import migration_files
from duraflow_pg.schema.generate import objects_of
from duraflow_pg.schema.names import quote_identifier, quote_in_query

_RECORD: Final = (
    "SELECT to_regclass(%(record)s) IS NOT NULL, has_table_privilege(to_regclass(%(record)s), 'SELECT')"
)

_INDEXES: Final = """
SELECT c.relname::text, t.relname::text, x.indisvalid AND x.indisready
FROM pg_index x
JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s::text[]) ORDER BY 1
"""

_LEFTOVER: Final = re.compile(r"_cc(?:new|old)\d*$")


async def check_schema(ward: Ward, looked: Looked) -> None:
    """Tables and columns by the catalogue, migrations by their record."""
    schema = ward.database.schema
    problem = schema_problem(await ward.ask_compiled(SCHEMA_QUERY.encode(), **SCHEMA_PARAMETERS), schema)
    if problem is not None:
        looked.found("schema_older", [problem.problem])
    looked.scanned = f"{len(EXPECTED_COLUMNS)} tables and their columns"
    ((recorded, readable),) = await ward.ask(_RECORD, record=f"{quote_identifier(schema)}.schema_migrations")
    files = migration_files()
    if not recorded:
        looked.scanned += "; another tool keeps record of the migrations"
    elif not readable:
        looked.blind("no right to read schema_migrations; GRANT SELECT on it")
    else:
        statement = sql.SQL(f"SELECT version::text FROM {quote_in_query(schema)}.schema_migrations")  # noqa: S608 - quoted
        known = {version for (version,) in await ward.ask_compiled(statement.as_bytes(None))}
        missing = [file.name for file in files if file.version not in known]
        # None at all: it was made from generated SQL, or under numbers of another tool's own.
        looked.found("migration_missing", missing if len(missing) < len(files) else [])
        looked.scanned += f", {len(files)} migrations"


async def check_indexes(ward: Ward, looked: Looked) -> None:
    """Those of the migrations are there; all on our tables are valid."""
    rows = await ward.ask(_INDEXES, schema=ward.database.schema, tables=list(EXPECTED_COLUMNS))
    there = {name for name, _, _ in rows}
    wanted = {
        name
        for name in objects_of(migration_files()) - EXPECTED_COLUMNS.keys()
        if name.startswith("workflow_")
    }
    looked.found("index_missing", sorted(wanted - there))
    looked.found(
        "index_leftover",
        [f"{name} on {table}" for name, table, _ in rows if _LEFTOVER.search(name)],
    )
    looked.found(
        "index_invalid",
        [f"{name} on {table}" for name, table, valid in rows if not valid and not _LEFTOVER.search(name)],
    )
    looked.scanned = f"{len(rows)} indexes"
