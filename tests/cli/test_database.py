"""Do `db` and `dev` put tables where they are wanted, and do diagrams show what is there?"""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import psycopg
import pytest

from duraflow_cli.codes import Code
from duraflow_cli.embedded import kept
from tests.cli.conftest import SHOP, Shell

SQL = Path(__file__).parents[2] / "sql" / "dbmate"


def test_tables_are_made_and_checked(folder: Shell, empty_pg_dsn: str) -> None:
    """Not there: 1 and what to run. Made: named one by one. There: 0. In the schema that is asked for."""
    here = attrs.evolve(folder, environment={**folder.environment, "DATABASE_URL": empty_pg_dsn})
    missing = here("db", "check", "--schema", "work flows", code=Code.NO)
    assert "Duraflow's tables are missing" in missing.err
    assert here("db", "check", "--json", code=Code.NO).json["fits"] is False
    versions = sorted(file.name.partition("_")[0] for file in SQL.glob("*.sql"))
    assert here("db", "migrate", "--schema", "work flows", "--json").json == {
        "schema": "work flows",
        "applied": versions,
    }
    assert here("db", "migrate", "--schema", "work flows").out == "schema 'work flows' is up to date\n"
    assert here("db", "--schema", "work flows", "check", "--json").json["fits"] is True


def test_files_are_copied_and_printed(folder: Shell) -> None:
    """As dbmate wants them, and as one piece of SQL; an edited one is not overwritten."""
    copied = folder("db", "copy", "db/migrations", "--json").json
    assert [Path(path).name for path in copied["copied"]] == sorted(file.name for file in SQL.glob("*.sql"))
    (folder.folder / copied["copied"][0]).write_text("-- edited\n")
    assert "with other content" in folder("db", "copy", "db/migrations", code=Code.REFUSED).err
    assert "CREATE TABLE" in folder("db", "print", "--uuid", "v7").out


def test_a_feed_is_mended_after_a_restore(shop: Shell, create: Callable[..., str], fresh_pg_dsn: str) -> None:
    """Positions from a server that had counted further: found, and put right once somebody agrees."""
    here = attrs.evolve(shop, environment={**shop.environment, "DURAFLOW_DSN": fresh_pg_dsn})
    here("create", "order", "--context", '{"total": 1}')
    with psycopg.connect(fresh_pg_dsn, autocommit=True) as connection:
        for table in ("workflow_instances", "workflow_history"):
            connection.execute(f"UPDATE {table} SET position = '900000000000'".encode())
    assert "restored into a new server" in here("db", "check", code=Code.NO).err
    assert "give --yes" in here("db", "check", "--reset-positions", code=Code.MISUSED).err
    assert here("db", "check", "--reset-positions", "--yes", "--json").json["positions_reset"] is True
    assert len(here("changes", "--json").lines) == 1


@pytest.mark.pg
def test_a_database_for_trying_things(folder: Shell) -> None:
    """`dev` prints where it is when it can be used, and takes it away at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "duraflow_cli", "dev", "--json"],
        cwd=folder.folder, env=dict(folder.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        with psycopg.connect(told["dsn"]) as connection:
            assert connection.execute("SELECT count(*) FROM workflow_instances").fetchone() == (0,)
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (Code.DONE, "stopping\n")
    assert not Path(told["directory"]).exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(told["dsn"])


@pytest.mark.pg
def test_a_database_that_is_kept(folder: Shell) -> None:
    """With --directory the data are there the next time; two at the same time are refused."""

    def started() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "duraflow_cli", "dev", "--directory", "kept", "--schema", "flows"],
            cwd=folder.folder, env=dict(folder.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    for number in (1, 2):
        with started() as process:
            assert process.stdout is not None
            (dsn,) = shlex.split(process.stdout.readline().removeprefix("export DURAFLOW_DSN="))
            assert process.stdout.readline() == "export DURAFLOW_SCHEMA=flows\n"
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute("CREATE TABLE IF NOT EXISTS kept (number int)")
                connection.execute("INSERT INTO kept VALUES (%s)", [number])
                rows = connection.execute("SELECT count(*) FROM kept").fetchone()
            if number == 2:
                said = folder("dev", "--directory", "kept", code=Code.REFUSED).err
                assert "a server is running there already" in said
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
        assert (process.returncode, rows) == (Code.DONE, (number,))
    server = kept(folder.folder / "kept")
    assert server is not None
    assert not server.running
    shutil.rmtree(server.base)  # which may be elsewhere: see `kept`


def test_dev_takes_no_database(folder: Shell) -> None:
    """It makes one."""
    assert "a database of its own" in folder("dev", "--dsn", "postgresql:///x", code=Code.MISUSED).err


def test_a_diagram_needs_no_database(folder: Shell) -> None:
    """Mermaid, Graphviz, a table, or all of it as JSON."""
    folder.write("shop.py", SHOP)
    assert folder("diagram", "--app", "shop:runtime").out.startswith("stateDiagram-v2\n")
    assert (
        folder("diagram", "order", "--app", "shop:order", "--as", "dot", "--highlight", "open").out.count(
            "gold"
        )
        == 1
    )
    assert folder("diagram", "--app", "shop:order", "--as", "markdown").out.startswith("|")
    document = folder("diagram", "--app", "shop:order", "--json").json
    assert (document["workflow"]["name"], document["transitions"][0]["event"]) == ("order", "pay")


def test_a_diagram_shows_where_instances_are(shop: Shell, create: Callable[..., str]) -> None:
    """Its own state stands out; open ones are counted."""
    made = create()
    drawn = shop("diagram", "--of", made, "--counts").out
    assert 'state "open (1)" as open' in drawn
    assert "class open highlighted" in drawn
