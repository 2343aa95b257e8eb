"""On PostgreSQL: does a pruning keep out of everyone's way, and is only taken in what the tables can hold?"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from duraflow import ImportRefused, PruneResult, Runtime, State, Transition, Workflow
from duraflow.testing import check_invariants
from duraflow.testing.driver import Driver
from duraflow_pg import PgPersistence
from tests.pg.kit import in_both_worlds, look, runtime_on

JOB = Workflow(
    name="job",
    initial="open",
    states=[
        State(
            "open",
            [Transition("note", emits=("noted",)), Transition("end", target="ended", emits=("ended",))],
        ),
        State("ended"),
    ],
)
MOMENT = timedelta(microseconds=1)


@pytest.fixture
def runtime(pg_dsn: str, namespace: str) -> Iterator[Runtime]:
    """A runtime in the shared database."""
    persistence = PgPersistence.from_dsn(pg_dsn, namespace=namespace, max_size=8)
    with Runtime(workflows=[JOB], persistence=persistence) as started:
        yield started


def _ended(runtime: Runtime, count: int, key: str | None = None) -> list[Any]:
    made = [runtime.create("job", key=key and f"{key} {number}") for number in range(count)]
    return [runtime.fire(instance.id, "end", key=key).instance for instance in made]


def test_nobody_waits_for_a_pruning(runtime: Runtime, pg_dsn: str) -> None:
    """Neither does it wait: what an operator is about to bring back to life stays, and lives."""
    kept, _ = _ended(runtime, 2)
    with psycopg.connect(pg_dsn) as connection:
        with runtime.using(connection) as bound:
            bound.force(kept.id, state="open", reason="again")
            began = time.monotonic()
            assert runtime.prune(older_than=MOMENT) == PruneResult(instances=1, entries=2)
            assert time.monotonic() - began < 5
        connection.commit()
    assert runtime.get(kept.id).open
    assert runtime.list().instances == (runtime.get(kept.id),)


def test_what_lives_again_is_looked_at_again(runtime: Runtime, pg_dsn: str, namespace: str) -> None:
    """A pruning that found it finished, and gets its lock when it is not any more, leaves it."""
    (one,) = _ended(runtime, 1)
    retention: Any = runtime._engine.persistence.retention
    with psycopg.connect(pg_dsn, autocommit=True) as pruner, psycopg.connect(pg_dsn) as operator:
        operator.execute("SELECT 1")
        with runtime.using(operator) as bound:
            bound.force(one.id, state="open", reason="again")
            finished: list[Any] = []

            def prune() -> None:
                # Without SKIP LOCKED it must wait, and then sees the newer row.
                waiting = retention._sql["instances"].replace(b"SKIP LOCKED", b"")
                parameters = {
                    "namespace": namespace, "before": one.finished_at + timedelta(days=1), "outcomes": None,
                    "workflow": None, "after_at": "-infinity", "after_id": "0" * 32, "limit": 10, "window": 10,
                }  # fmt: skip
                finished.extend(pruner.execute(waiting, parameters).fetchall())

            thread = threading.Thread(target=prune)
            thread.start()
            time.sleep(0.3)
            assert not finished
        operator.commit()
        thread.join(10)
    assert finished[0][0] == 0
    assert runtime.get(one.id).open


@in_both_worlds
async def test_prunings_and_life_at_once(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Three prunings, keyed moves and new instances: each ended one goes once, no move fails, nothing is left over."""
    async with runtime_on(driver, pg_dsn, JOB, pool={"namespace": namespace, "max_size": 8}) as runtime:
        alive = [(await runtime.create("job")).id for _ in range(4)]

        async def live() -> int:
            for number in range(15):
                for instance_id in alive:
                    await runtime.fire(instance_id, "note", key=f"n{number}")
                made = await runtime.create("job", key=f"new {number}")
                await runtime.fire(made.id, "end", key="k")
            return 0

        async def prune() -> int:
            taken = 0
            for _ in range(10):
                taken += (await runtime.prune(older_than=MOMENT, batch=2)).instances
            return taken

        taken = sum(await driver.together(live, prune, prune, prune))
        taken += (await runtime.prune(older_than=MOMENT)).instances
        assert taken == 15
        left = {instance.id for instance in (await runtime.list()).instances}
        assert left == set(alive)
        for instance_id in alive:
            assert (await runtime.get(instance_id)).version == 16
            assert (await runtime.fire(instance_id, "note", key="n3")).replayed is True
    for table in ("history", "receipts", "outbox", "due"):
        rows = look(
            pg_dsn,
            f"SELECT DISTINCT instance_id FROM workflow_{table} WHERE namespace = %s",
            [namespace],
        )
        assert {row[0] for row in rows} <= set(alive)


def test_an_export_is_of_whole_instances(runtime: Runtime) -> None:
    """While they move: each line adds up, so that all of them can be taken in again."""
    made = [runtime.create("job") for _ in range(12)]
    going = True

    def move() -> None:
        while going:
            for instance in made:
                runtime.fire(instance.id, "note")

    thread = threading.Thread(target=move)
    thread.start()
    try:
        exports = [list(runtime.export()) for _ in range(10)]
    finally:
        going = False
        thread.join(20)
    for lines in exports:
        for line in map(json.loads, lines):
            if line["type"] == "instance":
                assert [entry["seq"] for entry in line["history"]] == [
                    *range(1, line["instance"]["version"] + 1)
                ]
                assert len(line["messages"]) == line["instance"]["version"] - 1
    for instance in made:
        runtime.delete(instance.id, force=True)
    assert runtime.import_(exports[-1]).instances == 12
    check_invariants(runtime)


def test_what_the_tables_refuse_is_named_by_its_line(runtime: Runtime, pg_dsn: str, namespace: str) -> None:
    """The rest of its batch is in."""
    one, two, three = _ended(runtime, 3)
    lines = list(runtime.export([one.id, two.id, three.id]))
    for instance in (one, two, three):
        runtime.delete(instance.id)
    look(pg_dsn, f"ALTER TABLE workflow_instances ADD CONSTRAINT no_two CHECK (id <> '{two.id}')")
    try:
        with pytest.raises(ImportRefused, match="no_two") as caught:
            runtime.import_(lines)
    finally:
        look(pg_dsn, "ALTER TABLE workflow_instances DROP CONSTRAINT no_two")
    assert (caught.value.line, caught.value.imported) == (4, 2)
    assert runtime.import_(lines, on_conflict="skip").instances == 1
    for line, problem in (
        (lines[2].replace('"ended"', '"en\\u0000ded"'), "NUL"),
        (lines[2].replace('"ended"', '"en\\ud800ded"'), "surrogate"),
    ):
        with pytest.raises(ImportRefused, match=problem):
            runtime.import_([lines[0], lines[1], line])


def test_a_large_export_is_read_a_few_at_a_time(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many there are, and however long their histories."""
    monkeypatch.setattr("duraflow.runtime.exporting.PAGE", 7)
    monkeypatch.setattr("duraflow.runtime.exporting.ENTRIES", 9)
    store: Any = runtime._engine.persistence.retention
    sizes: list[int] = []
    real = type(store).read

    async def read(self: Any, unit: Any, ids: Any) -> Any:
        found = await real(self, unit, ids)
        sizes.append(sum(len(whole.entries) for whole in found))
        return found

    monkeypatch.setattr(type(store), "read", read)
    made = runtime.create("job")
    for _ in range(20):
        runtime.fire(made.id, "note")
    _ended(runtime, 20)
    lines = list(runtime.export())
    assert len(lines) == 21 + 3
    assert sum(sizes) == 61
    assert max(size for size in sizes if size != 21) <= 9


def test_a_pruning_walks_along_indexes(fresh_pg_dsn: str) -> None:
    """No table is read as a whole for one batch, and no trigger reads one for each instance that goes."""
    # Small tables are read as a whole by choice; without that choice it shows which have no index to use.
    persistence = PgPersistence.from_dsn(fresh_pg_dsn, options="-c enable_seqscan=off")
    with Runtime(workflows=[JOB], persistence=persistence) as runtime:
        _ended(runtime, 300, key="k")
        alive = runtime.create("job")
        look(fresh_pg_dsn, "VACUUM ANALYZE")
        look(fresh_pg_dsn, "SELECT pg_stat_reset()")
        assert runtime.prune(older_than=MOMENT, limit=50).instances == 50
        assert runtime.get(alive.id) == alive
    time.sleep(1.2)
    scanned = dict(
        look(
            fresh_pg_dsn,
            "SELECT relname, seq_scan FROM pg_stat_user_tables WHERE relname LIKE 'workflow%' AND seq_scan > 0",
        )
    )
    assert scanned == {}
