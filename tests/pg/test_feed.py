"""Does the feed give every entry once, in order, however transactions overlap, and leave nothing behind?"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from duraflow import FeedEntry, InvalidArgument, NewInstance, Runtime
from duraflow.ports import FeedPosition
from duraflow.testing.driver import AsyncioDriver, Driver
from duraflow_pg import PgPersistence
from tests.pg.kit import in_both_worlds, look, order, pool_is_whole, runtime_on
from tests.support.databases import new_namespace

Key = tuple[UUID, int]
SOON = timedelta(milliseconds=20)


@pytest.fixture(scope="module")
def pool(pg_dsn: str) -> Iterator[ConnectionPool[Any]]:
    """Connections for several open transactions."""
    with ConnectionPool(pg_dsn, min_size=4, max_size=4, kwargs={"autocommit": True}, open=True) as opened:
        yield opened


def _key(change: FeedEntry) -> Key:
    return change.entry.instance_id, change.entry.seq


class _Reader:
    """Reads on from its cursor whenever it is asked to, as a process does that was started again each time."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.cursor: str | None = None
        self.found: list[FeedEntry] = []

    def read(self) -> None:
        for change in self.runtime.changes(after=self.cursor):
            self.cursor = change.cursor
            self.found.append(change)

    def read_until(self, expected: set[Key]) -> None:
        """Read until all of it is there; other tests' transactions may hold it back for a while."""
        pause = threading.Event()
        for _ in range(1_000):
            self.read()
            if len(self.found) >= len(expected):
                break
            pause.wait(0.01)
        keys = [_key(change) for change in self.found]
        assert set(keys) == expected
        assert len(keys) == len(expected)
        positions = [change.position for change in self.found]
        assert positions == sorted(positions)
        by_instance: dict[UUID, list[int]] = {}
        for instance_id, seq in keys:
            by_instance.setdefault(instance_id, []).append(seq)
        assert all(seqs == sorted(seqs) for seqs in by_instance.values())


def _interleavings() -> list[tuple[int, ...]]:
    """Every order of two steps each of three transactions: its first write, and its end."""
    return sorted(set(itertools.permutations((0, 0, 1, 1, 2, 2))))


@pytest.mark.parametrize("undone", [None, 0, 2], ids=["all commit", "first rolls back", "last rolls back"])
def test_every_interleaving(pool: ConnectionPool[Any], undone: int | None) -> None:
    """Three open transactions, begun and ended in each order: none is passed over, and none is given twice.

    Before it ends, each moves an instance that they share: one that began early (with a low transaction id) then moves
    what one that began late has moved before, and its entry must come after that one's all the same.
    """
    for steps in _interleavings():
        persistence = PgPersistence(pool, namespace=new_namespace())
        with Runtime(workflows=[order()], persistence=persistence) as runtime, ExitStack() as stack:
            shared, *own = runtime.create_many([NewInstance("order")] * 4)
            expected = {(one.id, 1) for one in (shared, *own)}
            reader = _Reader(runtime)
            opened: dict[int, tuple[Any, Any]] = {}
            for number in steps:
                if number not in opened:
                    scope = runtime.transaction()
                    tx = scope.__enter__()
                    opened[number] = (scope, tx)
                    stack.callback(scope.__exit__, None, None, None)
                    tx.fire(own[number], "reopen")
                else:
                    scope, tx = opened[number]
                    entries = tx.fire(shared, "reopen").entries
                    stack.pop_all()
                    if number == undone:
                        error = ZeroDivisionError()
                        assert not scope.__exit__(ZeroDivisionError, error, None)
                    else:
                        scope.__exit__(None, None, None)
                        expected |= {(own[number].id, 2), (shared.id, entries[0].seq)}
                reader.read()
            reader.read_until(expected)


def test_many_writers_and_followers(pg_dsn: str, namespace: str) -> None:
    """Transactions of all lengths in eight threads, read by two followers as they come: both get everything, once."""
    seed = random.randrange(2**32)
    persistence = PgPersistence.from_dsn(pg_dsn, namespace=namespace, max_size=12)
    with Runtime(workflows=[order()], persistence=persistence) as runtime:
        shared = runtime.create_many([NewInstance("order")] * 3)
        done = threading.Event()
        found: list[list[FeedEntry]] = [[], []]
        errors: list[BaseException] = []

        def write(number: int) -> None:
            draw, pause = random.Random(seed + number), threading.Event()
            for _ in range(25):
                with runtime.transaction() as tx:
                    mine = tx.create("order")
                    pause.wait(draw.random() * 0.01)
                    tx.fire(mine, "reopen")
                    if draw.random() < 0.5:
                        tx.fire(draw.choice(shared), "reopen")
                    pause.wait(draw.random() * 0.005)
                if draw.random() < 0.3:
                    runtime.fire(draw.choice(shared), "ask")

        def follow(number: int) -> None:
            changes = runtime.changes(follow=True, poll=SOON)
            for change in changes:
                found[number].append(change)
                if done.is_set() and len(found[number]) >= total():
                    break

        def total() -> int:
            ((count,),) = look(
                pg_dsn, "SELECT count(*) FROM workflow_history WHERE namespace = %s", [namespace]
            )
            return int(count)

        def guarded(call: Any, number: int) -> None:
            try:
                call(number)
            except BaseException as error:  # noqa: BLE001  # told by the test's own thread
                errors.append(error)

        followers = [threading.Thread(target=guarded, args=(follow, n), daemon=True) for n in range(2)]
        writers = [threading.Thread(target=guarded, args=(write, n)) for n in range(8)]
        for thread in (*followers, *writers):
            thread.start()
        for thread in writers:
            thread.join(60)
        done.set()
        last = runtime.create("order")  # what the followers end with
        for thread in followers:
            thread.join(30)
            assert not thread.is_alive(), f"seed {seed}: {[len(f) for f in found]} of {total()}"
        assert not errors, (seed, errors)
        stored = look(
            pg_dsn,
            "SELECT instance_id, seq FROM workflow_history WHERE namespace = %s ORDER BY position, instance_id, seq",
            [namespace],
        )
        assert _key(found[0][-1]) == (last.id, 1) or len(found[0]) == len(stored)
        for one in found:
            assert [_key(change) for change in one] == stored, seed


@in_both_worlds
async def test_no_connection_is_held(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """With a pool of one: calls between two entries, inside of pages and after leaving, all find it free."""
    async with runtime_on(
        driver, pg_dsn, order(), pool={"namespace": namespace, "min_size": 1, "max_size": 1}
    ) as runtime:
        one, *_ = await runtime.create_many([NewInstance("order")] * 3)
        for follow in (False, True):
            async for change in runtime.changes(follow=follow, poll=SOON):
                assert pool_is_whole(runtime)
                await runtime.get(change.entry.instance_id)
                break
            assert pool_is_whole(runtime)
        changes = runtime.changes(follow=True, poll=SOON)
        assert (await anext(changes)).entry.seq == 1
        await runtime.fire(one, "reopen")
        await changes.aclose()
        assert pool_is_whole(runtime)


def test_a_cancelled_follower_leaves_nothing(pg_dsn: str, namespace: str) -> None:
    """Cancelled at any moment, in a read or while waiting, it gives its connection back, and can be gone on with."""

    async def run() -> None:
        async with runtime_on(
            AsyncioDriver(), pg_dsn, order(), pool={"namespace": namespace, "max_size": 2}
        ) as runtime:
            await runtime.create_many([NewInstance("order")] * 3)
            tasks = len(asyncio.all_tasks())
            for step in range(60):
                changes = runtime.changes(follow=True, poll=timedelta(seconds=5))

                async def follow(changes: Any = changes) -> None:
                    async for _ in changes:
                        pass

                task = asyncio.create_task(follow())
                await asyncio.sleep(step * 0.0002)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            found = [change async for change in runtime.changes()]
            assert len(found) <= 3
            for _ in range(200):
                if pool_is_whole(runtime):
                    break
                await asyncio.sleep(0.01)
            assert pool_is_whole(runtime)
            assert len(asyncio.all_tasks()) <= tasks

    asyncio.run(run())


def test_after_a_restore_a_cursor_is_refused(pg_dsn: str, namespace: str) -> None:
    """A cursor from a server that had counted further says that positions must be reset, and what to do."""
    with Runtime(
        workflows=[order()], persistence=PgPersistence.from_dsn(pg_dsn, namespace=namespace)
    ) as runtime:
        runtime.create("order")
        feed = runtime._engine.persistence.feed
        assert feed is not None
        ((ahead,),) = look(pg_dsn, "SELECT (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 1000)")
        with pytest.raises(InvalidArgument, match="reset the positions"):
            list(runtime.changes(after=FeedPosition(ahead, UUID(int=1), 1).text))


def test_it_reads_by_its_index(fresh_pg_dsn: str) -> None:
    """From the middle of 40,000 entries, with the parameters known and unknown, it touches a page of the index."""
    with psycopg.connect(fresh_pg_dsn, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            """
            INSERT INTO workflow_instances (id, namespace, workflow, definition_version, state, version,
                created_at, updated_at, entered_at)
            SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'default', 'order', 1, 'open', 2,
                now(), now(), now() FROM generate_series(1, 20000) n
            """
        )
        connection.execute(
            """
            INSERT INTO workflow_history (instance_id, seq, namespace, kind, event, from_state, to_state, status,
                entered, at, definition_version, attempt_id, position)
            SELECT i.id, s, 'default', CASE s WHEN 1 THEN 'created' ELSE 'moved' END, 'x',
                CASE s WHEN 1 THEN NULL ELSE 'open' END, 'open', 'success', true, now(), 1, i.id,
                (right(i.id::text, 6)::int / 50)::text::xid8
            FROM workflow_instances i CROSS JOIN generate_series(1, 2) s
            """
        )
        connection.execute("VACUUM (ANALYZE)")
        persistence = PgPersistence.from_dsn(fresh_pg_dsn)
        statement: bytes = persistence.feed._read  # type: ignore[union-attr]
        parameters = {
            "namespace": "default",
            "position": "200",
            "instance_id": UUID("00000000-0000-4000-8000-000000010001"),
            "seq": 1,
            "limit": 500,
            "workflow": None,
        }
        for mode in ("force_custom_plan", "force_generic_plan"):
            connection.execute(f"SET plan_cache_mode = {mode}".encode())
            ((plan,),) = connection.execute(
                b"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + statement, parameters, prepare=True
            ).fetchall()
            nodes = list(_nodes(plan[0]["Plan"]))
            assert not [node for node in nodes if node["Node Type"] == "Seq Scan"], (mode, json.dumps(plan))
            (scan,) = (node for node in nodes if node.get("Index Name") == "workflow_history_position")
            assert scan["Actual Rows"] == 500
            assert "ROW(" in scan["Index Cond"]
            assert "pg_snapshot_xmin" in scan["Index Cond"]


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)
