"""Do the files work with the real dbmate, and do we read files as it does?"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import psycopg
import pytest

from devtools.embedded_pg import apply_dbmate
from duraflow_pg.schema import copy_migrations, migrations_path
from duraflow_pg.schema.files import MigrationFileError, migration_files, parse_migration
from tests.pg.migrations.shapes import schemas_with_tables, shape, versions

if TYPE_CHECKING:
    from pathlib import Path

_OURS = [file.version for file in migration_files()]
_MINE = "-- migrate:up\nCREATE TABLE mine ();\n-- migrate:down\nDROP TABLE mine;\n"


def test_up_down_up(every_empty_pg_dsn: str) -> None:
    """On every server, and what the second up makes is what the first made."""
    apply_dbmate(every_empty_pg_dsn, migrations_path(), command=["up", "--strict"])
    first = shape(every_empty_pg_dsn, "public")
    assert versions(every_empty_pg_dsn) == _OURS
    for _ in _OURS:
        apply_dbmate(every_empty_pg_dsn, migrations_path(), command=["rollback"])
    assert versions(every_empty_pg_dsn) == []
    assert schemas_with_tables(every_empty_pg_dsn) == {"public": 1}
    apply_dbmate(every_empty_pg_dsn, migrations_path(), command=["up", "--strict"])
    assert shape(every_empty_pg_dsn, "public") == first


def test_strict_with_migrations_of_the_users_own(empty_pg_dsn: str, tmp_path: Path) -> None:
    """Between their older and their newer ones, in one folder, in one run."""
    copy_migrations(tmp_path)
    (tmp_path / "20000101000000_before.sql").write_text(_MINE)
    (tmp_path / "29990101000000_after.sql").write_text(_MINE.replace("mine", "mine_too"))
    apply_dbmate(empty_pg_dsn, tmp_path, command=["up", "--strict"])
    assert versions(empty_pg_dsn) == ["20000101000000", *_OURS, "29990101000000"]


def test_after_later_migrations_of_the_users_own(empty_pg_dsn: str, tmp_path: Path) -> None:
    """Dbmate applies ours late; with --strict it refuses, and a later number of one's own is the way."""
    (tmp_path / "29990101000000_mine.sql").write_text(_MINE)
    apply_dbmate(empty_pg_dsn, tmp_path)
    copied = copy_migrations(tmp_path).copied
    with pytest.raises(subprocess.CalledProcessError, match="out of order"):
        apply_dbmate(empty_pg_dsn, tmp_path, command=["up", "--strict"])
    for number, path in enumerate(copied, start=2):
        path.rename(tmp_path / f"2999010100000{number}_{path.name}")
    apply_dbmate(empty_pg_dsn, tmp_path, command=["up", "--strict"])
    assert not copy_migrations(tmp_path).copied
    assert schemas_with_tables(empty_pg_dsn)["public"] > 2


def test_after_later_migrations_without_strict(empty_pg_dsn: str, tmp_path: Path) -> None:
    """The plain way: dbmate applies whatever is not applied."""
    (tmp_path / "29990101000000_mine.sql").write_text(_MINE)
    apply_dbmate(empty_pg_dsn, tmp_path)
    copy_migrations(tmp_path)
    apply_dbmate(empty_pg_dsn, tmp_path)
    assert versions(empty_pg_dsn) == [*_OURS, "29990101000000"]


@pytest.mark.parametrize("schema", ["workflows", 'My "weird" schéma', "it's $duraflow$ %s"])
def test_files_for_another_schema(every_empty_pg_dsn: str, tmp_path: Path, schema: str) -> None:
    """Two schemas in one database, each with its own folder and record; down takes back the one only."""
    copy_migrations(tmp_path / "a", schema="first")
    copy_migrations(tmp_path / "b", schema=schema)
    tables = {"a": "first.schema_migrations", "b": f"{schema}.schema_migrations"}
    for folder, table in tables.items():
        apply_dbmate(
            every_empty_pg_dsn,
            tmp_path / folder,
            command=["up", "--strict"],
            options=["--migrations-table", table],
        )
    assert shape(every_empty_pg_dsn, "first") == shape(every_empty_pg_dsn, schema)
    assert versions(every_empty_pg_dsn, schema) == _OURS
    assert "public" not in schemas_with_tables(every_empty_pg_dsn)
    for _ in _OURS:
        apply_dbmate(
            every_empty_pg_dsn,
            tmp_path / "b",
            command=["rollback"],
            options=["--migrations-table", tables["b"]],
        )
    assert schemas_with_tables(every_empty_pg_dsn)[schema] == 1
    assert versions(every_empty_pg_dsn, "first") == _OURS


def test_the_connections_search_path_places_plain_files(empty_pg_dsn: str) -> None:
    """What dbmate's users do for a schema with a simple name; the record goes there, too."""
    apply_dbmate(f"{empty_pg_dsn}{'&' if '?' in empty_pg_dsn else '?'}search_path=app", migrations_path())
    assert set(schemas_with_tables(empty_pg_dsn)) == {"app"}
    assert versions(empty_pg_dsn, "app") == _OURS


_UP = "-- migrate:up\nCREATE TABLE up1 ();\n"
_DOWN = "-- migrate:down\nDROP TABLE up1;\n"


@pytest.mark.parametrize(
    "text",
    [
        _UP + _DOWN,
        (_UP + _DOWN).replace("\n", "\r\n"),
        (_UP + _DOWN).replace("-- ", "--"),
        (_UP + _DOWN).replace("-- ", "--   "),
        (_UP + _DOWN).replace("-- ", " -- "),
        (_UP + _DOWN).replace("migrate", "Migrate"),
        _UP.replace("up\n", "up a b\n") + _DOWN.replace("down\n", "down a b\n"),
        _UP.replace("up\n", "upwards\n") + _DOWN,
        "\n-- hello\n  -- again\n\n" + _UP + _DOWN,
        "/* hello */\n" + _UP + _DOWN,
        "SELECT 1;\n" + _UP + _DOWN,
        _UP,
        _DOWN,
        _DOWN + _UP,
        _UP + _UP + _DOWN,
        _UP + _DOWN + _DOWN,
        _UP + _DOWN.rstrip("\n"),
        _UP + "-- migrate:down",
        _UP + _DOWN + _UP.replace("up1", "up2") + _DOWN.replace("up1", "up2"),
        _UP + _DOWN.replace("down\n", "down transaction:false\n"),
        "-- migrate:up transaction:false\nCREATE TABLE up1 ();\n" + _DOWN,
        "",
    ],
)
def test_we_read_files_as_dbmate_does(empty_pg_dsn: str, tmp_path: Path, text: str) -> None:
    """It accepts what we accept, and what it runs, up and down, is what we say are the parts."""
    file = tmp_path / "1_x.sql"
    file.write_bytes(text.encode())
    try:
        parsed = parse_migration(file.name, text)
    except MigrationFileError:
        with pytest.raises(subprocess.CalledProcessError):
            apply_dbmate(empty_pg_dsn, tmp_path)
        return
    apply_dbmate(empty_pg_dsn, tmp_path)
    with psycopg.connect(empty_pg_dsn, autocommit=True) as connection:
        tables = "SELECT tablename FROM pg_tables WHERE tablename ~ '^up' ORDER BY 1"
        made = connection.execute(tables).fetchall()
        apply_dbmate(empty_pg_dsn, tmp_path, command=["rollback"])
        left = connection.execute(tables).fetchall()
        connection.execute("DROP TABLE IF EXISTS up1, up2")
        for section in parsed.up:
            connection.execute(section.sql.encode())
        assert connection.execute(tables).fetchall() == made
        for section in parsed.down:
            connection.execute(section.sql.encode())
        assert connection.execute(tables).fetchall() == left
