"""Upgrades over real connections: what if the process is killed, others fire meanwhile, or someone holds a row?"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from duraflow import (
    EventRefused,
    InvalidArgument,
    NewInstance,
    Runtime,
    UpgradeReport,
)
from duraflow.testing import check_invariants
from duraflow.testing.driver import Driver
from duraflow_pg import PgPersistence, Timeouts
from tests.pg.kit import check_all, in_both_worlds, look, runtime_on
from tests.pg.upgrade_process import NEW, OLD, make, plan

SHORT = Timeouts(lock=timedelta(milliseconds=100))
ROOT = Path(__file__).parent.parent.parent


def _runtime(dsn: str, namespace: str) -> Runtime:
    return Runtime(workflows=[OLD, NEW], persistence=PgPersistence.from_dsn(dsn, namespace=namespace))


@pytest.fixture(autouse=True)
def stamps(fresh_pg_dsn: str) -> None:
    """An application's table."""
    look(fresh_pg_dsn, "CREATE TABLE app_stamps (instance_id uuid NOT NULL)")


def _all_over(dsn: str, namespace: str, count: int) -> None:
    """Each is upgraded once, with one effect for each that was packed, and everything holds."""
    rows = look(
        dsn,
        "SELECT i.definition_version, i.context->>'upgrades', i.state, count(*) FROM workflow_instances i "
        "WHERE i.namespace = %s GROUP BY 1, 2, 3 ORDER BY 3",
        [namespace],
    )
    packed = -(-count // 3)
    assert rows == [(2, "1", "open", count - packed), (2, "1", "stamped", packed)]
    entries = look(
        dsn,
        "SELECT count(*), count(DISTINCT h.instance_id) FROM workflow_history h "
        "WHERE h.namespace = %s AND h.kind = 'upgraded'",
        [namespace],
    )
    assert entries == [(count, count)]
    assert look(dsn, "SELECT count(*), count(DISTINCT instance_id) FROM app_stamps") == [(packed, packed)]
    with _runtime(dsn, namespace) as runtime:
        check_invariants(runtime)


@pytest.mark.parametrize("batches", [0, 1, 4])
def test_a_killed_process_is_followed_by_another(fresh_pg_dsn: str, namespace: str, batches: int) -> None:
    """SIGKILL in the middle, then a new process: the result is that of a run that nobody killed."""
    make(fresh_pg_dsn, namespace, 60)
    command = [sys.executable, "-m", "tests.pg.upgrade_process", fresh_pg_dsn, namespace]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    with process.stdout as told:
        for _ in range(batches):
            assert told.readline().strip() != "done"
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    ((left,),) = look(
        fresh_pg_dsn,
        "SELECT count(*) FROM workflow_instances WHERE namespace = %s AND definition_version = 1",
        [namespace],
    )
    assert 0 < left <= 60 - 7 * batches
    with _runtime(fresh_pg_dsn, namespace) as runtime:
        check_invariants(runtime)
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    assert done.stdout.splitlines()[-2:] == [str(left), "done"]
    _all_over(fresh_pg_dsn, namespace, 60)


def test_two_processes_at_once_share_the_work(fresh_pg_dsn: str, namespace: str) -> None:
    """Each instance is moved by one of them; what one lost to the other is simply gone for it."""
    make(fresh_pg_dsn, namespace, 60)
    command = [sys.executable, "-m", "tests.pg.upgrade_process", fresh_pg_dsn, namespace]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(3)]
    moved = 0
    for process in running:
        told, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        moved += int(told.splitlines()[-2])
    assert moved == 60
    _all_over(fresh_pg_dsn, namespace, 60)


def test_fires_meanwhile_lose_nothing(fresh_pg_dsn: str, namespace: str) -> None:
    """Events keep coming while instances are upgraded: each is answered by the version that then governs."""
    count, threads = 80, 4
    failed: list[BaseException] = []
    fired: Counter[str] = Counter()
    stop = threading.Event()
    with _runtime(fresh_pg_dsn, namespace) as runtime:
        made = runtime.create_many([NewInstance("parcel") for _ in range(count)])
        down = runtime.plan_upgrade("parcel", 2, 1)
        assert runtime.apply_upgrade(down).moved == count

        def fire(seed: int) -> None:
            chance = random.Random(seed)
            try:
                while not stop.is_set():
                    one = chance.choice(made)
                    for event in ("pack", "unpack"):
                        try:
                            runtime.fire(one.id, event)
                            fired[event] += 1
                        except EventRefused:
                            fired["refused"] += 1
            except BaseException as error:  # noqa: BLE001  # told at the end
                failed.append(error)

        firing = [threading.Thread(target=fire, args=(seed,)) for seed in range(threads)]
        for thread in firing:
            thread.start()
        reports: list[UpgradeReport] = []
        try:
            reports += [runtime.apply_upgrade(plan(runtime), batch=9) for _ in range(2)]
        finally:
            stop.set()
            for thread in firing:
                thread.join(30)
        assert failed == []
        assert sum(report.moved for report in reports) == count
        assert [report.failed + report.busy for report in reports] == [0, 0]
        for one in made:
            assert runtime.get(one.id).definition_version == 2
            versions = [entry.definition_version for entry in runtime.history(one.id, limit=1_000)]
            # From the one over to the other, once, after it was brought down in the beginning.
            assert sorted(versions[1:]) == versions[1:]
        check_invariants(runtime)
    assert fired["pack"] > 0


@in_both_worlds
async def test_a_row_that_someone_holds_comes_last(driver: Driver, fresh_pg_dsn: str, namespace: str) -> None:
    """The batch passes it over, the lock is waited for with a limit, and it is told as busy."""
    make(fresh_pg_dsn, namespace, 9)
    pool = {"namespace": namespace, "timeouts": SHORT}
    async with runtime_on(driver, fresh_pg_dsn, OLD, NEW, pool=pool) as runtime:
        upgrade = await runtime.plan_upgrade("parcel", 1, 2, states={"packed": "wrapped"})
        one = (await runtime.list("parcel", state="open")).instances[0]
        with psycopg.connect(fresh_pg_dsn) as holder:
            holder.execute("SELECT 1 FROM workflow_instances WHERE id = %s FOR UPDATE", [one.id])
            report = await runtime.apply_upgrade(upgrade)
        assert (report.moved, report.busy, report.failed, report.done) == (8, 1, 0, True)
        assert report.held[0].instance_id == one.id
        assert "lock" in report.held[0].reason
        assert await runtime.get(one.id) == one
        assert await runtime.apply_upgrade(upgrade) == UpgradeReport(moved=1, done=True)
        await check_all(runtime)


@in_both_worlds
async def test_a_row_that_the_database_refuses_stops_nobody_else(
    driver: Driver, fresh_pg_dsn: str, namespace: str
) -> None:
    """A trigger that says no to one: it is listed with its reason, the others of its batch move."""
    make(fresh_pg_dsn, namespace, 9)
    look(
        fresh_pg_dsn,
        """
        CREATE FUNCTION app_no() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.definition_version = 2 AND new.context->>'n' = '4' THEN RAISE EXCEPTION 'not this one'; END IF;
            RETURN new;
        END $$
        """,
    )
    look(
        fresh_pg_dsn,
        "CREATE TRIGGER app_no BEFORE UPDATE ON workflow_instances FOR EACH ROW EXECUTE FUNCTION app_no()",
    )
    async with runtime_on(driver, fresh_pg_dsn, OLD, NEW, pool={"namespace": namespace}) as runtime:
        upgrade = await runtime.plan_upgrade("parcel", 1, 2, states={"packed": "wrapped"})
        report = await runtime.apply_upgrade(upgrade)
        assert (report.moved, report.failed, report.busy, report.done) == (8, 1, 0, True)
        assert "not this one" in report.failures[0].reason
        await check_all(runtime)


@in_both_worlds
async def test_a_version_is_loaded_inside_the_callers_transaction(
    driver: Driver, fresh_pg_dsn: str, namespace: str
) -> None:
    """With a pool of one connection: nothing waits for a second one."""
    make(fresh_pg_dsn, namespace, 3)
    pool = {"namespace": namespace, "min_size": 1, "max_size": 1}
    async with runtime_on(driver, fresh_pg_dsn, NEW, pool=pool, live_check="off") as runtime:
        one = (await runtime.list("parcel", state="open")).instances[0]
        async with runtime.transaction() as tx:
            assert (await tx.fire(one.id, "pack")).to_state == "packed"
        assert (await runtime.get(one.id)).definition_version == 1


def test_a_version_in_use_cannot_be_taken_out(fresh_pg_dsn: str, namespace: str) -> None:
    """The schema itself keeps a snapshot of every version that governs an instance."""
    make(fresh_pg_dsn, namespace, 1)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        look(fresh_pg_dsn, "DELETE FROM workflow_definitions WHERE namespace = %s", [namespace])


def test_a_plan_of_another_namespace_finds_nobody(fresh_pg_dsn: str, namespace: str) -> None:
    """What is counted and moved is the namespace's own."""
    make(fresh_pg_dsn, namespace, 3)
    with _runtime(fresh_pg_dsn, f"{namespace}_b") as runtime:
        assert runtime.plan_upgrade("parcel", 1, 2).rows == ()
        with pytest.raises(InvalidArgument, match="two versions"):
            runtime.plan_upgrade("parcel", 1, 1)
