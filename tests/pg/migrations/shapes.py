"""What does a schema look like to someone who compares two of them?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

import psycopg
from psycopg import sql

from duraflow_pg.schema import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Mapping

Shape = dict[str, list[tuple[Any, ...]]]

# Names of constraints are the server's, made from table and column, so they must agree, too.
_QUERIES: Mapping[str, LiteralString] = {
    "tables": """
        SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, c.relhastriggers, obj_description(c.oid)
        FROM pg_class AS c WHERE c.relnamespace = %(schema)s::regnamespace AND c.relname <> 'schema_migrations'
          AND c.relkind NOT IN ('i', 't') ORDER BY 1
    """,
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated, a.attstorage, a.attcompression,
               a.attcollation::regcollation::text
        FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = %(schema)s::regnamespace AND c.relkind = 'r' AND c.relname <> 'schema_migrations'
          AND a.attnum > 0 ORDER BY 1, 2
    """,
    "constraints": """
        SELECT c.conrelid::regclass::text, c.conname, c.contype, pg_get_constraintdef(c.oid), c.convalidated
        FROM pg_constraint AS c WHERE c.connamespace = %(schema)s::regnamespace
          AND c.conrelid::regclass::text !~ 'schema_migrations' ORDER BY 1, 2
    """,
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE schemaname = %(name)s AND tablename <> 'schema_migrations' ORDER BY 1, 2
    """,
}


def shape(dsn: str, schema: str) -> Shape:
    """Every table, column, constraint and index of a schema, its own name left out."""
    quoted = quote_identifier(schema)
    with psycopg.connect(dsn) as connection:
        ((as_server_writes,),) = connection.execute("SELECT quote_ident(%s)", [schema]).fetchall()
        # so that references inside the schema are printed without it
        connection.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
        found = {
            what: connection.execute(query, {"schema": quoted, "name": schema}).fetchall()
            for what, query in _QUERIES.items()
        }
    found["indexes"] = [
        (table, index, definition.replace(f"{as_server_writes}.", ""))
        for table, index, definition in found["indexes"]
    ]
    assert found["columns"]
    return found


def versions(dsn: str, schema: str = "public") -> list[str]:
    """What is recorded in the schema's `schema_migrations`."""
    query = sql.SQL("SELECT version FROM {} ORDER BY 1").format(sql.Identifier(schema, "schema_migrations"))
    with psycopg.connect(dsn) as connection:
        return [version for (version,) in connection.execute(query).fetchall()]


def schemas_with_tables(dsn: str) -> dict[str, int]:
    """How many tables each schema has."""
    with psycopg.connect(dsn) as connection:
        rows = connection.execute(
            "SELECT schemaname, count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)' GROUP BY 1"
        ).fetchall()
    return dict(rows)
