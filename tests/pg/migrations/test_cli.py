"""Do the commands work as processes: words, exit codes, and no password?"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import conninfo

from duraflow_pg.schema import generate_migration_sql, migrations_path
from duraflow_pg.schema.files import migration_files
from tests.pg.migrations.shapes import shape, versions

if TYPE_CHECKING:
    from pathlib import Path

_OURS = [file.version for file in migration_files()]
_OURS_ENV = {"DURAFLOW_DSN", "DATABASE_URL", "DURAFLOW_SCHEMA"}


def _start(*arguments: str, folder: Path, **variables: str) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name not in _OURS_ENV}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "duraflow_pg", *arguments],
        cwd=folder,
        env={**environment, **variables, "PYTHONIOENCODING": "utf-8"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def _run(*arguments: str, folder: Path, **variables: str) -> tuple[int, str, str]:
    process = _start(*arguments, folder=folder, **variables)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_migrate_and_check(empty_pg_dsn: str, tmp_path: Path) -> None:
    """Not there, made, there: 1, 0, 0."""
    code, out, err = _run("check", "--dsn", empty_pg_dsn, folder=tmp_path)
    assert (code, out) == (1, "")
    assert "Duraflow's tables are missing\nrun: python -m duraflow_pg migrate" in err
    code, out, err = _run("migrate", "--dsn", empty_pg_dsn, folder=tmp_path)
    assert (code, out, err) == (
        0,
        "".join(f"applied {version} to schema 'public'\n" for version in _OURS),
        "",
    )
    up_to_date = (0, "schema 'public' is up to date\n", "")
    assert _run("migrate", "--dsn", empty_pg_dsn, folder=tmp_path) == up_to_date
    assert _run("check", "--dsn", empty_pg_dsn, folder=tmp_path) == up_to_date


def test_where_the_dsn_comes_from(empty_pg_dsn: str, tmp_path: Path) -> None:
    """The option, then DURAFLOW_DSN, then DATABASE_URL; `.env` lies beneath the environment."""
    wrong = "postgresql://127.0.0.1:1/wrong"
    assert _run("migrate", folder=tmp_path, DURAFLOW_DSN=empty_pg_dsn, DATABASE_URL=wrong)[0] == 0
    assert _run("check", "--dsn", empty_pg_dsn, folder=tmp_path, DURAFLOW_DSN=wrong)[0] == 0
    assert _run("check", folder=tmp_path, DATABASE_URL=wrong)[0] == 1
    (tmp_path / ".env").write_text(f"DATABASE_URL={empty_pg_dsn}\n")
    assert _run("check", folder=tmp_path)[0] == 0
    assert _run("check", folder=tmp_path, DATABASE_URL=wrong)[0] == 1


def test_where_the_schema_comes_from(empty_pg_dsn: str, tmp_path: Path) -> None:
    """The option, then DURAFLOW_SCHEMA; a bad value names the variable."""
    assert _run("migrate", folder=tmp_path, DATABASE_URL=empty_pg_dsn, DURAFLOW_SCHEMA="mine")[0] == 0
    assert versions(empty_pg_dsn, "mine") == _OURS
    assert (
        _run("migrate", "--schema", "it's", folder=tmp_path, DATABASE_URL=empty_pg_dsn, DURAFLOW_SCHEMA="x")[
            0
        ]
        == 0
    )
    assert versions(empty_pg_dsn, "it's") == _OURS
    code, _, err = _run("check", folder=tmp_path, DATABASE_URL=empty_pg_dsn, DURAFLOW_SCHEMA="pg_x")
    assert (code, err) == (
        2,
        "duraflow: DURAFLOW_SCHEMA: 'pg_x' is reserved for the server; choose another name\n",
    )


def test_processes_that_start_together(every_empty_pg_dsn: str, tmp_path: Path) -> None:
    """One of them applies, the others find it done."""
    together = [_start("migrate", folder=tmp_path, DATABASE_URL=every_empty_pg_dsn) for _ in range(4)]
    said = [process.communicate(timeout=60) for process in together]
    assert [process.returncode for process in together] == [0] * 4, said
    applied = sum(out.count("applied ") for out, _ in said)
    assert applied == len(_OURS)
    assert versions(every_empty_pg_dsn) == _OURS


def test_copy(tmp_path: Path) -> None:
    """New, unchanged, changed: 0, 0, 1, each file by name."""
    names = sorted(path.name for path in migrations_path().glob("*.sql"))
    assert _run("migrations", "copy", "db", folder=tmp_path) == (
        0,
        "".join(f"new        db/{name}\n" for name in names),
        "",
    )
    code, out, _ = _run("migrations", "copy", "db", folder=tmp_path)
    assert (code, out) == (0, "".join(f"unchanged  db/{name}\n" for name in names) + "nothing new\n")
    code, out, err = _run("migrations", "copy", "db", "--schema", "other", folder=tmp_path)
    assert (code, out) == (1, "")
    assert all(name in err for name in names)
    assert _run("migrations", "copy", "other", "--schema", "pg_x", folder=tmp_path)[0] == 2


def test_print(empty_pg_dsn: str, tmp_path: Path) -> None:
    """What is printed makes the same schema, and takes it back; it is the generator's."""
    schema = 'My "weird" schéma'
    code, up, err = _run("migrations", "print", "--schema", schema, folder=tmp_path)
    assert (code, up, err) == (0, generate_migration_sql(schema=schema).up, "")
    down = _run("migrations", "print", "--schema", schema, "--down", folder=tmp_path)[1]
    v7 = _run("migrations", "print", "--uuid", "v7", folder=tmp_path)[1]
    assert v7 == generate_migration_sql(uuid_strategy="v7").up
    _run("migrate", "--dsn", empty_pg_dsn, folder=tmp_path)
    with psycopg.connect(empty_pg_dsn) as connection:
        connection.execute(up.encode())
        connection.commit()
        assert shape(empty_pg_dsn, schema) == shape(empty_pg_dsn, "public")
        connection.execute(down.encode())
        connection.execute(up.encode())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "required: COMMAND"),
        (["migrations"], "required: COMMAND"),
        (["nonsense"], "invalid choice"),
        (["migrate", "--timeout", "soon"], "is no number of seconds"),
        (["migrate", "--timeout", "nan"], "is no number of seconds"),
        (["migrate", "--timeout", "-1"], "expected one argument|is negative"),
        (["migrations", "print", "--uuid", "v4"], "invalid choice"),
        (["check"], "no database was named; give --dsn, or set DURAFLOW_DSN or DATABASE_URL"),
        (["check", "--schema", ""], "--schema: is empty"),
        (["check", "--dsn", "postgresql+asyncpg://u:scret@h/d"], "--dsn: is not a postgresql:// URL"),
    ],
)
def test_a_wrong_call_ends_with_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    """And says what is wrong with it, in one line of its own."""
    code, out, err = _run(*arguments, folder=tmp_path)
    assert (code, out) == (2, "")
    assert any(words in err for words in said.split("|")), err
    assert "Traceback" not in err
    assert "cret" not in err


@pytest.mark.parametrize(
    "change",
    [
        {"port": 1, "host": "127.0.0.1"},
        {"host": "no-such-host.invalid"},
        {"dbname": "no_such_database"},
        {"user": "no_such_role"},
        {"sslmode": "require"},
    ],
)
def test_what_cannot_be_reached_ends_with_1_and_without_the_password(
    empty_pg_dsn: str, tmp_path: Path, change: dict[str, str]
) -> None:
    """Libpq says why."""
    dsn = conninfo.make_conninfo(empty_pg_dsn, **{"password": "s:cr@et", "connect_timeout": "5", **change})
    code, out, err = _run("migrate", folder=tmp_path, DATABASE_URL=dsn)
    assert (code, out) == (1, "")
    assert err.startswith("duraflow: the store is not available: ")
    assert "cr@et" not in err
    assert "Traceback" not in err


def test_what_the_server_refuses_ends_with_1(empty_pg_dsn: str, tmp_path: Path) -> None:
    """In the server's words."""
    with psycopg.connect(empty_pg_dsn) as connection:
        connection.execute("CREATE TABLE workflow_due ()")
    code, _, err = _run("migrate", "--dsn", empty_pg_dsn, folder=tmp_path)
    assert code == 1
    assert 'relation "workflow_due" already exists' in err
    assert "run: INSERT INTO" in err
    assert "Traceback" not in err


def test_help_says_the_exit_codes(tmp_path: Path) -> None:
    """So that a script can rely on them."""
    code, out, _ = _run("--help", folder=tmp_path)
    assert code == 0
    assert "Exit codes: 0 done, 1 it did not work, 2 it was not asked rightly." in " ".join(out.split())
