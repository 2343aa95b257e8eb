"""Is a schema the same whoever made it, on every server?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from devtools.embedded_pg import apply_dbmate
from duraflow_pg.schema import (
    EXPECTED_COLUMNS,
    SCHEMA_PARAMETERS,
    SCHEMA_QUERY,
    copy_migrations,
    generate_migration_sql,
    migrate,
    migrations_path,
)
from tests.pg.migrations.shapes import schemas_with_tables, shape

if TYPE_CHECKING:
    from pathlib import Path

    from duraflow_pg.schema.generate import UuidStrategy

_ODD = 'My "weird" schéma'


def _run(dsn: str, script: str) -> None:
    with psycopg.connect(dsn, options="-c search_path=") as connection:
        connection.execute(script.encode())


def test_dbmate_generator_and_migrate_make_the_same(every_empty_pg_dsn: str, tmp_path: Path) -> None:
    """Column by column, constraint by constraint, index by index; nothing lands elsewhere."""
    dsn = every_empty_pg_dsn
    apply_dbmate(dsn, migrations_path())
    copy_migrations(tmp_path, schema="copied")
    apply_dbmate(dsn, tmp_path, options=["--migrations-table", "copied.schema_migrations"])
    _run(dsn, generate_migration_sql(schema=_ODD).up)
    migrate(dsn, schema="migrated")
    of_dbmate = shape(dsn, "public")
    assert shape(dsn, "copied") == of_dbmate
    assert shape(dsn, _ODD) == of_dbmate
    assert shape(dsn, "migrated") == of_dbmate
    tables = schemas_with_tables(dsn)
    assert tables["copied"] == tables["migrated"] == tables["public"] == tables[_ODD] + 1


def test_generated_sql_goes_down_too(every_empty_pg_dsn: str) -> None:
    """Up, down, up, with no search_path to lean on; the schema itself stays."""
    generated = generate_migration_sql(schema=_ODD)
    _run(every_empty_pg_dsn, generated.up)
    first = shape(every_empty_pg_dsn, _ODD)
    _run(every_empty_pg_dsn, generated.down)
    assert schemas_with_tables(every_empty_pg_dsn) == {}
    _run(every_empty_pg_dsn, generated.up)
    assert shape(every_empty_pg_dsn, _ODD) == first


@pytest.mark.parametrize("schema", ["public", "new"])
def test_v7_on_a_server_that_has_it(every_empty_pg_dsn: str, schema: str) -> None:
    """From 18 on the one default differs; before, the SQL stops at once with a reason and leaves nothing."""
    with psycopg.connect(every_empty_pg_dsn) as connection:
        version = connection.info.server_version
    strategy: UuidStrategy = "v7"
    generated = generate_migration_sql(schema=schema, uuid_strategy=strategy)
    if version < 180_000:
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="need PostgreSQL 18 or later") as raised:
            _run(every_empty_pg_dsn, generated.up)
        assert raised.value.diag.message_hint == 'Generate the migrations with the uuid strategy "random".'
        assert schemas_with_tables(every_empty_pg_dsn) == {}
        return
    _run(every_empty_pg_dsn, generated.up)
    migrate(every_empty_pg_dsn, schema="plain")
    ours, plain = shape(every_empty_pg_dsn, schema), shape(every_empty_pg_dsn, "plain")
    differ = [(a, b) for a, b in zip(ours["columns"], plain["columns"], strict=True) if a != b]
    assert [(a[0], a[2], a[5], b[5]) for a, b in differ] == [
        ("workflow_instances", "id", "uuidv7()", "gen_random_uuid()")
    ]
    assert {**ours, "columns": []} == {**plain, "columns": []}


def test_the_expected_columns_are_those_of_the_migrations(every_pg_dsn: str) -> None:
    """If this fails, put what it shows into duraflow_pg/schema/check.py."""
    with psycopg.connect(every_pg_dsn) as connection:
        made = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^workflow_'"
        ).fetchall()
        rows = connection.execute(SCHEMA_QUERY, SCHEMA_PARAMETERS).fetchall()
    assert {(schema, table): tuple(columns) for schema, table, columns in rows} == {
        ("public", table): columns for table, columns in EXPECTED_COLUMNS.items()
    }
    assert {table for (table,) in made} == set(EXPECTED_COLUMNS)
