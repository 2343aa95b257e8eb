"""Does the test harness itself hold what it promises?"""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from devtools.embedded_pg import EmbeddedServer, apply_dbmate, keep_running
from tests.support.databases import apply_migrations, name_of
from tests.support.servers import TestRun

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.databases import Databases
    from tests.support.servers import PgServer


def test_every_server_is_the_version_that_it_says(every_pg_server: PgServer) -> None:
    """A server's label, version and programs belong together."""
    with psycopg.connect(every_pg_server.admin_dsn) as connection:
        assert connection.info.server_version // 10_000 == every_pg_server.version
    if every_pg_server.label != "dsn":
        assert every_pg_server.label == f"pg{every_pg_server.version}"
        said = subprocess.check_output([f"{every_pg_server.bin_dir}/pg_config", "--version"], text=True)
        assert said.startswith(f"PostgreSQL {every_pg_server.version}.")


def test_a_database_is_reached_by_socket_too(pg_server: PgServer, pg_dsn: str) -> None:
    """The unix socket leads to the same database as TCP."""
    if pg_server.socket_dsn is None:
        pytest.skip("no unix socket known for this server")
    with psycopg.connect(pg_server.dsn(name_of(pg_dsn), unix_socket=True)) as connection:
        assert connection.info.dbname == name_of(pg_dsn)


def test_fresh_databases_do_not_see_each_other(databases: Databases, fresh_pg_dsn: str) -> None:
    """A table made in one clone is in no other, and not in the template."""
    with psycopg.connect(fresh_pg_dsn) as connection:
        connection.execute("CREATE TABLE only_here ()")
    other = databases.clone()
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('only_here')").fetchone() == (None,)
    databases.drop(other)


def test_a_dropped_database_is_gone_though_in_use(databases: Databases) -> None:
    """Dropping does not wait for a connection that a test forgot."""
    dsn = databases.clone()
    with psycopg.connect(dsn) as forgotten:
        databases.drop(dsn)
        with pytest.raises(psycopg.OperationalError):
            forgotten.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dsn)


def test_a_clone_is_cheap(databases: Databases) -> None:
    """A database per test stays affordable: the fastest of several takes well under 200 ms."""
    took = []
    for _ in range(4):
        begun = time.perf_counter()
        dsn = databases.clone()
        took.append(time.perf_counter() - begun)
        databases.drop(dsn)
    assert min(took) < 0.2, took


def test_namespaces_differ(namespace: str, request: pytest.FixtureRequest) -> None:
    """Each test has another namespace, short enough for any name built from it."""
    assert namespace.startswith("t_")
    assert len(namespace) == 18


def test_sessions_of_one_database_can_be_ended(pg_server: PgServer, fresh_pg_dsn: str, pg_dsn: str) -> None:
    """Ending the sessions of one database leaves those of others alone."""
    with psycopg.connect(pg_dsn) as bystander, psycopg.connect(fresh_pg_dsn) as victim:
        assert pg_server.kill_backends(name_of(fresh_pg_dsn)) == 1
        with pytest.raises(psycopg.errors.AdminShutdown):
            victim.execute("SELECT 1")
        bystander.execute("SELECT 1")


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_ones_own_server_restarts(own_pg_server: EmbeddedServer, own_pg_dsn: str, mode: str) -> None:
    """Sessions end with a restart, committed rows stay, the address stays."""
    with psycopg.connect(own_pg_dsn) as connection:
        connection.execute("CREATE TABLE kept ()")
        connection.commit()
        own_pg_server.restart("fast" if mode == "fast" else "immediate")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with psycopg.connect(own_pg_dsn) as connection:
        assert connection.execute("SELECT to_regclass('kept')::text").fetchone() == ("kept",)


def test_ones_own_server_stops_and_is_there_again(own_pg_server: EmbeddedServer, own_pg_dsn: str) -> None:
    """A stopped server refuses connections until it is started."""
    own_pg_server.stop()
    assert not own_pg_server.running
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(own_pg_dsn)
    own_pg_server.start()
    psycopg.connect(own_pg_dsn).close()


def test_all_sessions_of_ones_own_server_can_be_ended(own_pg_server: EmbeddedServer, own_pg_dsn: str) -> None:
    """`kill_backends` without a name ends every client session."""
    with psycopg.connect(own_pg_dsn) as connection:
        assert own_pg_server.kill_backends() >= 1
        with pytest.raises(psycopg.errors.AdminShutdown):
            connection.execute("SELECT 1")


def test_a_throw_away_server_leaves_nothing() -> None:
    """`close` removes the directory, also when called twice; durable means with fsync."""
    with EmbeddedServer.throw_away(durable=True) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        connection.close()
    assert not server.base.exists()
    server.close()


def test_a_kept_server_is_found_again(tmp_path: Path) -> None:
    """`keep_running` joins the running server, and starts the stopped one with its data."""
    first = keep_running(tmp_path / "pg")
    try:
        dsn = first.create_database("app")
        with psycopg.connect(dsn) as connection:
            connection.execute("CREATE TABLE kept ()")
        again = keep_running(tmp_path / "pg")
        assert (again.base, again.port) == (first.base, first.port)
        first.stop()
        revived = keep_running(tmp_path / "pg")
        with psycopg.connect(revived.create_database("app")) as connection:
            assert connection.execute("SELECT to_regclass('kept')::text").fetchone() == ("kept",)
    finally:
        first.temporary = True
        first.close()
    assert not first.base.exists()


_MIGRATION = """\
-- migrate:up
CREATE TABLE made ();
CREATE TABLE made_too ();

-- migrate:down
DROP TABLE made_too;
DROP TABLE made;
"""


def test_dbmate_goes_up_and_down(empty_pg_dsn: str, tmp_path: Path) -> None:
    """The real dbmate applies, takes back, and says what is wrong."""
    (tmp_path / "20250101000000_make.sql").write_text(_MIGRATION)
    apply_dbmate(empty_pg_dsn, tmp_path)
    with psycopg.connect(empty_pg_dsn) as connection:
        assert connection.execute("SELECT version FROM schema_migrations").fetchall() == [("20250101000000",)]
    apply_dbmate(empty_pg_dsn, tmp_path, command=["rollback"])
    with psycopg.connect(empty_pg_dsn) as connection:
        assert connection.execute("SELECT to_regclass('made')").fetchone() == (None,)
    (tmp_path / "20250101000000_make.sql").write_text("-- migrate:up\nnonsense;\n-- migrate:down\n")
    with pytest.raises(subprocess.CalledProcessError, match="nonsense"):
        apply_dbmate(empty_pg_dsn, tmp_path)


def test_without_dbmate_the_same_is_applied(
    empty_pg_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for dbmate runs the up part only and records the version in the same table."""

    def missing(*args: object) -> str:
        raise FileNotFoundError

    (tmp_path / "20250101000000_make.sql").write_text(_MIGRATION)
    monkeypatch.setattr("tests.support.databases.apply_dbmate", missing)
    apply_migrations(empty_pg_dsn, tmp_path)
    with psycopg.connect(empty_pg_dsn) as connection:
        assert connection.execute("SELECT version FROM schema_migrations").fetchall() == [("20250101000000",)]
        assert connection.execute("SELECT to_regclass('made_too')::text").fetchone() == ("made_too",)


def test_a_killed_run_is_cleared_away_by_the_next() -> None:
    """The servers of a run whose process is gone are stopped, and its directory removed."""
    left = TestRun.begin()
    server = left.start_own("pg18", "left")
    TestRun.begin().end()
    psycopg.connect(server.dsn()).close()  # its process lives: nobody touched it
    assert left._owner is not None
    left._owner.close()  # as the system does when a process ends
    next_run = TestRun.begin()
    assert not left.directory.exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn())
    next_run.end()
    assert not next_run.directory.exists()
