"""Does all of it work through a pooler that gives each transaction another connection?

A real PgBouncer in transaction mode with a single connection to the server: whatever one session left behind, the next
client would find. Debian's 1.18 does not keep prepared statements, so they are off.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from duraflow import CommandRef, Firing, NewInstance, StoreUnavailable
from duraflow.testing import ManualClock
from duraflow.testing.driver import Driver
from tests.pg.conftest import Notes
from tests.pg.kit import DAY, check_all, execute, in_both_worlds, look, order, reminder, runtime_on

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="pgbouncer is not installed (Debian: apt-get install pgbouncer)"
)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def bouncer(pg_dsn: str) -> Iterator[str]:
    """A PgBouncer before the shared database, with one server connection for all clients; its DSN."""
    assert PROGRAM is not None
    parts = conninfo_to_dict(pg_dsn)
    port = _free_port()
    directory = Path(tempfile.mkdtemp(prefix="duraflow-bouncer-"))
    directory.chmod(0o755)
    (directory / "users.txt").write_text(f'"{parts["user"]}" ""\n')
    (directory / "pgbouncer.ini").write_text(
        f"""
[databases]
app = host={parts["host"]} port={parts["port"]} dbname={parts["dbname"]} user={parts["user"]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
auth_file = {directory}/users.txt
pool_mode = transaction
default_pool_size = 1
max_client_conn = 100
server_reset_query =
logfile = {directory}/log
"""
    )
    # It refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else None
    if user is not None:
        os.chown(directory, pwd.getpwnam(user).pw_uid, -1)
    process = subprocess.Popen(
        [PROGRAM, "-q", str(directory / "pgbouncer.ini")],
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    dsn = f"postgresql://{parts['user']}@127.0.0.1:{port}/app?sslmode=disable"
    try:
        for _ in range(200):
            try:
                psycopg.connect(dsn, connect_timeout=2).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.05)
        else:
            pytest.fail(f"pgbouncer did not start:\n{(directory / 'log').read_text()}")
        yield dsn
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(directory, ignore_errors=True)


def through(namespace: str, **options: Any) -> dict[str, Any]:
    """Options of a persistence behind a pooler in transaction mode."""
    return {"namespace": namespace, "prepared_statements": False, "max_size": 4, **options}


@in_both_worlds
async def test_the_whole_flow(driver: Driver, bouncer: str, notes: Notes) -> None:
    """Creations, moves, commands, chains, batches, timers, lists and operators' moves, by two clients at once."""
    clock = ManualClock()
    workflow = order(notes.command(driver), CommandRef("fails", best_effort=True))

    async def fails(ctx: Any, runtime: Any) -> None:
        await execute(ctx.connection, "SELECT 1 / 0")

    options: dict[str, Any] = {"clock": clock, "commands": {"fails": driver.command(fails)}}
    async with (
        runtime_on(driver, bouncer, workflow, reminder(), pool=through(notes.namespace), **options) as first,
        runtime_on(driver, bouncer, workflow, reminder(), pool=through(notes.namespace), **options) as second,
    ):
        one = await first.create("order", ref="A1", metadata={"town": "Bari"})
        made = await second.create_many([NewInstance("order")] * 20)
        for runtime in (first, second, first):
            await runtime.fire(("order", "A1"), "reopen")
            await runtime.fire(one, "ask")
            assert (await runtime.fire(one, "pay")).ok

        async def move(runtime: Any, number: int) -> None:
            await runtime.fire(made[number], "reopen")
            await runtime.fire(made[number], "pay")

        await driver.together(*(lambda n=n: move((first, second)[n % 2], n) for n in range(6)))
        results = await first.fire_many([Firing(target, "reopen") for target in made])
        assert all(result.ok for result in results)
        assert len((await second.fire(made[0], "post")).entries) == 3
        async with second.transaction() as tx:
            await notes.write(tx.connection, "mine")
            await tx.fire(made[1], "ship")
        await first.create_many([NewInstance("reminder")] * 30)
        clock.advance(2 * DAY)
        swept = await driver.together(first.fire_due_timers, second.fire_due_timers)
        assert sum(result.fired for result in swept) == 30
        assert (await second.cancel(made[2])).ok
        assert len((await first.list(metadata={"town": "Bari"})).instances) == 1
        assert len(await second.history(one)) == 10
        assert (await first.health()).ok
        await check_all(first)
        await check_all(second)
    assert notes.read() == ["mine"] + ["paid"] * 11


@in_both_worlds
async def test_nothing_stays_on_the_session(driver: Driver, bouncer: str, notes: Notes) -> None:
    """Limits are set for the transaction alone: the next client of the one server connection finds the defaults."""
    settings = (
        "SELECT current_setting('lock_timeout'), current_setting('statement_timeout'), "
        "current_setting('idle_in_transaction_session_timeout'), current_setting('search_path'), "
        "(SELECT count(*) FROM pg_prepared_statements), pg_backend_pid()"
    )
    with psycopg.connect(bouncer, autocommit=True, prepare_threshold=None) as other:
        before = other.execute(settings).fetchone()
        assert before is not None
        workflow = order(notes.command(driver))
        async with runtime_on(driver, bouncer, workflow, pool=through(notes.namespace)) as runtime:
            one = await runtime.create("order")
            for event in ("reopen", "pay", "reopen", "pay"):
                await runtime.fire(one, event)
                assert other.execute(settings).fetchone() == before
            async with runtime.transaction() as tx:
                await tx.fire(one, "reopen")
            assert other.execute(settings).fetchone() == before
    assert before[4] == 0


@in_both_worlds
async def test_a_session_lost_behind_the_pooler(driver: Driver, bouncer: str, notes: Notes) -> None:
    """A backend terminated behind the pooler is a lost connection like any other: the call is done again."""
    async with runtime_on(driver, bouncer, order(), pool=through(notes.namespace)) as runtime:
        one = await runtime.create("order")
        for event in ("reopen", "pay"):
            look(
                notes.dsn,
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()",
            )
            try:
                await runtime.fire(one, event)
            except StoreUnavailable as error:
                pytest.fail(f"not done again: {error}")
        assert (await runtime.get(one)).version == 3
        await check_all(runtime)
