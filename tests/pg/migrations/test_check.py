"""Is a schema that does not fit found out, and does the remedy work?"""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest

from devtools.embedded_pg import apply_dbmate
from duraflow.errors import SchemaMismatch
from duraflow_pg.schema import check_schema, check_schema_async, copy_migrations, migrate, migrations_path
from duraflow_pg.schema.files import read_directory

if TYPE_CHECKING:
    from pathlib import Path


def test_the_remedy_works(every_empty_pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the error says to run, run as it stands, is enough; with an odd name, too."""
    monkeypatch.setenv("DURAFLOW_DSN", every_empty_pg_dsn)
    for schema in ("public", 'it\'s my "own"'):
        with pytest.raises(SchemaMismatch, match="Duraflow's tables are missing") as raised:
            check_schema(every_empty_pg_dsn, schema=schema)
        command = shlex.split(raised.value.remedy.partition("  (")[0])
        assert command[:3] == ["python", "-m", "duraflow_pg"]
        subprocess.run([sys.executable, *command[1:]], check=True, capture_output=True)
        check_schema(every_empty_pg_dsn, schema=schema)


def test_the_tables_in_another_schema_are_pointed_at(empty_pg_dsn: str) -> None:
    """A role with a search_path of its own has put them there."""
    migrate(empty_pg_dsn, schema="app")
    with pytest.raises(SchemaMismatch, match=r"there are some in 'app': is `schema=` right\?"):
        check_schema(empty_pg_dsn)


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("ALTER TABLE workflow_history DROP COLUMN attempt_id", "column workflow_history.attempt_id"),
        ("DROP TABLE workflow_due", "table workflow_due"),
    ],
)
def test_an_old_schema_is_found_out(fresh_pg_dsn: str, change: str, missing: str) -> None:
    """By what is not there, though the record says that all is well."""
    with psycopg.connect(fresh_pg_dsn) as connection:
        connection.execute(change.encode())
    with pytest.raises(SchemaMismatch, match=f"older than this library: missing {missing}"):
        check_schema(fresh_pg_dsn)
    with pytest.raises(SchemaMismatch, match=missing):
        asyncio.run(check_schema_async(fresh_pg_dsn))


def test_a_newer_schema_is_good_enough(fresh_pg_dsn: str) -> None:
    """Migrations are deployed before the code that needs them."""
    with psycopg.connect(fresh_pg_dsn) as connection:
        connection.execute("ALTER TABLE workflow_due ADD later int; CREATE TABLE workflow_later ()")
    check_schema(fresh_pg_dsn)


def test_a_view_is_not_the_table(fresh_pg_dsn: str) -> None:
    """Nor is anything else that has its name."""
    with psycopg.connect(fresh_pg_dsn) as connection:
        connection.execute("ALTER TABLE workflow_due RENAME TO kept; CREATE VIEW workflow_due AS TABLE kept")
    with pytest.raises(SchemaMismatch, match="missing table workflow_due"):
        check_schema(fresh_pg_dsn)


def test_versions_of_ones_own_are_good_enough(empty_pg_dsn: str, tmp_path: Path) -> None:
    """What counts is what is there."""
    for number, path in enumerate(copy_migrations(tmp_path).copied):
        path.rename(tmp_path / f"2999010100000{number}_x.sql")
    apply_dbmate(empty_pg_dsn, tmp_path)
    check_schema(empty_pg_dsn)


def test_a_version_that_shows_in_no_column_is_missed(
    fresh_pg_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where some of our versions are recorded, all must be: a later one may make an index only."""
    (tmp_path / "29990101000000_index.sql").write_text("-- migrate:up\n-- migrate:down\n")
    more = read_directory(migrations_path()) + read_directory(tmp_path)
    monkeypatch.setattr("duraflow_pg.schema.checking.migration_files", lambda: more)
    with pytest.raises(SchemaMismatch, match=r"not applied: 29990101000000_index\.sql"):
        check_schema(fresh_pg_dsn)
