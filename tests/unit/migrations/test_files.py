"""Are migration files read as dbmate reads them? (tests/pg/migrations/test_dbmate.py asks dbmate itself.)"""

from __future__ import annotations

from pathlib import Path

import pytest

from duraflow_pg.schema.files import (
    MigrationFileError,
    migration_files,
    migrations_path,
    parse_migration,
    read_directory,
)

_PLAIN = "-- migrate:up\nSELECT 1;\n\n-- migrate:down\nSELECT 2;\n"


def test_a_file_has_a_version_an_up_and_a_down() -> None:
    """The version is the digits of the name; each part begins with its marker, which dbmate sends along."""
    file = parse_migration("20260101000000_first.sql", _PLAIN)
    assert file.version == "20260101000000"
    assert [section.sql for section in file.up] == ["-- migrate:up\nSELECT 1;\n\n"]
    assert [section.sql for section in file.down] == ["-- migrate:down\nSELECT 2;\n"]
    assert [section.body for section in (*file.up, *file.down)] == ["SELECT 1;\n\n", "SELECT 2;\n"]
    assert file.up[0].transaction
    assert file.down[0].transaction


@pytest.mark.parametrize(
    ("marker", "transaction"),
    [
        ("-- migrate:up transaction:false", False),
        ("-- migrate:up   other:option transaction:false", False),
        ("--migrate:up transaction:true", True),
        ("--\tmigrate:up", True),
        ("-- migrate:up \r", True),
        ("-- migrate:up transaction:false\r", False),
    ],
)
def test_a_marker_has_options(marker: str, transaction: bool) -> None:
    """Only `transaction:false` takes a part out of its transaction."""
    (section,) = parse_migration("1_x.sql", f"{marker}\nSELECT 1;\n-- migrate:down\n").up
    assert section.transaction is transaction


def test_several_parts_go_up_in_order_and_down_in_reverse() -> None:
    """What was made last is taken back first."""
    text = "".join(f"-- migrate:up\nup {n};\n-- migrate:down\ndown {n};\n" for n in "12")
    file = parse_migration("1_x.sql", text)
    assert [section.body for section in file.up] == ["up 1;\n", "up 2;\n"]
    assert [section.body for section in file.down] == ["down 2;\n", "down 1;\n"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("SELECT 1;\n", "`-- migrate:up` is missing"),
        ("-- migrate:up\nSELECT 1;\n", "`-- migrate:down` is missing"),
        ("SELECT 0;\n-- migrate:up\n-- migrate:down\n", "statements before"),
        ("/* c */\n-- migrate:up\n-- migrate:down\n", "statements before"),
        ("-- migrate:down\n-- migrate:up\n", "needs one `-- migrate:down` after it"),
        ("-- migrate:up\n-- migrate:up\n-- migrate:down\n", "needs one `-- migrate:down` after it"),
        (" -- migrate:up\n-- migrate:down\n", "`-- migrate:up` is missing"),
        ("-- migrate:upwards\n-- migrate:down\n", "`-- migrate:up` is missing"),
        ("-- Migrate:Up\n-- migrate:down\n", "`-- migrate:up` is missing"),
    ],
)
def test_what_dbmate_refuses_is_refused(text: str, message: str) -> None:
    """The message names the file and what is wrong."""
    with pytest.raises(MigrationFileError, match=f"^1_x.sql: .*{message}"):
        parse_migration("1_x.sql", text)


def test_a_name_without_a_version_is_refused() -> None:
    """Digits first, .sql last."""
    with pytest.raises(MigrationFileError, match="begins with digits"):
        parse_migration("first.sql", _PLAIN)


def test_a_folder_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    """Other files are passed over; names are compared as text, as dbmate does."""
    for name in ("20_b.sql", "100_c.sql", "1_a.sql", "README.md", "notes.sql"):
        (tmp_path / name).write_text(_PLAIN)
    assert [file.version for file in read_directory(tmp_path)] == ["100", "1", "20"]


def test_two_files_with_one_version_are_refused(tmp_path: Path) -> None:
    """Dbmate would silently pass over the second."""
    (tmp_path / "1_a.sql").write_text(_PLAIN)
    (tmp_path / "1_b.sql").write_text(_PLAIN)
    with pytest.raises(MigrationFileError, match=r"1_a\.sql and 1_b\.sql have one version"):
        read_directory(tmp_path)


def test_in_a_checkout_the_migrations_are_those_of_the_repository() -> None:
    """Nothing is copied by an editable install, so a changed migration is seen at once."""
    assert migrations_path() == Path(__file__).parents[3] / "sql" / "dbmate"


def test_shipped_migrations_can_be_applied_through_a_pooler() -> None:
    """Each is one part in one transaction; a lock of the session would be needed otherwise."""
    files = migration_files()
    assert files
    for file in files:
        assert len(file.up) == len(file.down) == 1, file.name
        assert file.up[0].transaction, file.name
        assert file.down[0].transaction, file.name


def test_shipped_versions_are_times_of_one_length() -> None:
    """So that their order as text is their order in time."""
    assert {len(file.version) for file in migration_files()} == {14}
