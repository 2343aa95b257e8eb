"""Does copying keep what users have, and say what is new?"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import pytest

from duraflow.errors import InvalidArgument
from duraflow_pg.schema import CopyReport, FilesDiffer, copy_migrations, migrations_path
from duraflow_pg.schema.files import read_directory

if TYPE_CHECKING:
    from pathlib import Path

_SHIPPED = sorted(path.name for path in migrations_path().glob("*.sql"))


def test_a_new_folder_gets_the_files_as_they_are(tmp_path: Path) -> None:
    """Byte by byte, and the folder is made."""
    folder = tmp_path / "db" / "migrations"
    report = copy_migrations(folder)
    assert report == CopyReport(copied=tuple(folder / name for name in _SHIPPED), identical=())
    assert sorted(path.name for path in folder.iterdir()) == _SHIPPED
    for name in _SHIPPED:
        assert (folder / name).read_bytes() == (migrations_path() / name).read_bytes()


def test_a_second_time_nothing_is_new(tmp_path: Path) -> None:
    """And nothing is written."""
    copy_migrations(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert copy_migrations(str(tmp_path)) == CopyReport((), tuple(tmp_path / name for name in _SHIPPED))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_line_ends_are_no_change(tmp_path: Path) -> None:
    """Git's autocrlf makes them."""
    copy_migrations(tmp_path)
    file = tmp_path / _SHIPPED[0]
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert not copy_migrations(tmp_path).copied


def test_a_file_under_the_users_own_version_is_recognised(tmp_path: Path) -> None:
    """It was given a later number for `dbmate --strict`, maybe; a second copy would fail on the database."""
    copy_migrations(tmp_path)
    mine = (tmp_path / _SHIPPED[0]).rename(tmp_path / "29990101000000_workflows.sql")
    report = copy_migrations(tmp_path)
    assert mine in report.identical
    assert not report.copied


def test_a_changed_file_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names it; a second, new file is not copied either."""
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    for number in (1, 2):
        (shipped / f"{number}_x.sql").write_text(f"-- migrate:up\nSELECT {number};\n-- migrate:down\n")
    monkeypatch.setattr("duraflow_pg.schema.copying.migration_files", lambda: read_directory(shipped))
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "2_x.sql").write_text("-- migrate:up\nSELECT 3;\n-- migrate:down\n")
    with pytest.raises(FilesDiffer, match=r"other content: 2_x\.sql; nothing was copied") as raised:
        copy_migrations(folder)
    assert raised.value.files == (folder / "2_x.sql",)
    assert pickle.loads(pickle.dumps(raised.value)).args == raised.value.args
    assert [path.name for path in folder.iterdir()] == ["2_x.sql"]


def test_one_folder_is_for_one_schema(tmp_path: Path) -> None:
    """The names are the same, the content is not."""
    copy_migrations(tmp_path, schema="one")
    assert copy_migrations(tmp_path, schema="one").copied == ()
    with pytest.raises(FilesDiffer, match="for another schema"):
        copy_migrations(tmp_path, schema="two")


def test_a_file_for_another_schema_is_one_that_dbmate_takes(tmp_path: Path) -> None:
    """Its first part makes the schema, its markers are where they were."""
    copy_migrations(tmp_path, schema="my schema")
    first, *_ = read_directory(tmp_path)
    assert first.up[0].body.lstrip().startswith("DO $duraflow$")
    assert 'CREATE SCHEMA IF NOT EXISTS "my schema"' in first.up[0].body
    assert "CREATE SCHEMA" not in first.down[0].body


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    """As is a bad schema name, before the folder is made."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidArgument, match=r"^directory: .* is not a folder"):
        copy_migrations(tmp_path / "file")
    with pytest.raises(InvalidArgument, match=r"^schema: "):
        copy_migrations(tmp_path / "new", schema="pg_x")
    assert not (tmp_path / "new").exists()
