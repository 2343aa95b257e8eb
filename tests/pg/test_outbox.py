"""Is every message delivered, in order and by one dispatcher at a time, whatever else the server is doing?"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import ConnectionPool

from duraflow import (
    DispatchResult,
    Message,
    MessageHandler,
    MessageRetryPolicy,
    Misuse,
    NewInstance,
    Runtime,
    State,
    Transition,
    Workflow,
)
from duraflow.testing.driver import AsyncioDriver, Driver
from duraflow_pg import PgPersistence
from tests.pg.kit import engine_of, in_both_worlds, look, persistence_of, pool_is_whole, runtime_on
from tests.support.databases import new_namespace

SECOND = timedelta(seconds=1)


def tell(ctx: Any) -> None:
    """A message with its number in the instance's life."""
    ctx.context["told"] = ctx.context.get("told", 0) + 1
    ctx.emit(ctx.payload or "told", ctx.context["told"])


TALE = Workflow(
    name="tale",
    initial="open",
    states=[
        State("open", [Transition("tell", commands=[tell]), Transition("end", target="over")]),
        State("over"),
    ],
)


class Taker:
    """Keeps what it was given, from several threads."""

    def __init__(self) -> None:
        self.taken: list[tuple[UUID, int]] = []

    def __call__(self, message: Message) -> None:
        """Take a message."""
        self.taken.append((message.instance_id, message.payload))

    def check(self, expected: Counter[UUID]) -> None:
        """Each once, and in order."""
        found: dict[UUID, list[int]] = {}
        for instance_id, number in self.taken:
            found.setdefault(instance_id, []).append(number)
        assert found == {one: [*range(1, count + 1)] for one, count in expected.items()}


@pytest.fixture(scope="module")
def pool(pg_dsn: str) -> Iterator[ConnectionPool[Any]]:
    """Connections for several open transactions."""
    with ConnectionPool(pg_dsn, min_size=5, max_size=5, kwargs={"autocommit": True}, open=True) as opened:
        yield opened


def _dispatch_until(runtime: Runtime, done: Any, *, seconds: float = 20) -> DispatchResult:
    """Dispatch until it is done; other tests' transactions may hold messages back for a while."""
    result, until = DispatchResult(), time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, result
        result += runtime.dispatch()
        time.sleep(0.005)
    return result


def test_every_interleaving_of_transactions(pool: ConnectionPool[Any]) -> None:
    """Three open transactions in every order of first writes and commits, dispatching after each step."""
    for steps in sorted(set(itertools.permutations((0, 0, 1, 1, 2, 2)))):
        taker = Taker()
        persistence = PgPersistence(pool, namespace=new_namespace())
        with (
            Runtime(
                workflows=[TALE], persistence=persistence, message_handlers=[MessageHandler("taker", taker)]
            ) as runtime,
            ExitStack() as stack,
        ):
            shared, *own = runtime.create_many([NewInstance("tale")] * 4)
            expected: Counter[UUID] = Counter()
            opened: dict[int, tuple[Any, Any]] = {}
            for number in steps:
                if number not in opened:
                    scope = runtime.transaction()
                    opened[number] = (scope, scope.__enter__())
                    stack.callback(scope.__exit__, None, None, None)
                    opened[number][1].fire(own[number], "tell")
                else:
                    scope, tx = opened[number]
                    tx.fire(shared, "tell")  # what one that began later has moved before, as it may be
                    scope.__exit__(None, None, None)
                    expected.update([shared.id, own[number].id])
                runtime.dispatch()
            stack.pop_all()
            _dispatch_until(runtime, lambda taker=taker: len(taker.taken) >= 6)
            taker.check(expected)


def test_dispatchers_race_with_writers(pg_dsn: str, namespace: str) -> None:
    """Four dispatchers of their own pools, four writers with transactions of all lengths: each message once."""
    taker = Taker()
    expected: Counter[UUID] = Counter()
    errors: list[BaseException] = []
    finished = threading.Event()
    with ExitStack() as stack:
        runtimes = [
            stack.enter_context(
                Runtime(
                    workflows=[TALE],
                    persistence=PgPersistence.from_dsn(pg_dsn, namespace=namespace, max_size=4),
                    message_handlers=[MessageHandler("taker", taker)],
                )
            )
            for _ in range(4)
        ]
        made = runtimes[0].create_many([NewInstance("tale")] * 5)

        def write(number: int) -> None:
            pause = threading.Event()
            for step in range(20):
                mine = made[(number + step) % len(made)]
                with runtimes[number].transaction() as tx:
                    tx.fire(mine, "tell")
                    pause.wait(0.003 * (step % 4))

        def deliver(number: int) -> None:
            while not finished.is_set():
                result = runtimes[number].dispatch(limit=3)
                assert not result.lost
                time.sleep(0.001)

        def guarded(call: Any, number: int) -> None:
            try:
                call(number)
            except BaseException as error:  # noqa: BLE001  # told by the test's own thread
                errors.append(error)

        writers = [threading.Thread(target=guarded, args=(write, n)) for n in range(4)]
        dispatchers = [threading.Thread(target=guarded, args=(deliver, n)) for n in range(4)]
        for thread in (*writers, *dispatchers):
            thread.start()
        for thread in writers:
            thread.join(30)
        until = time.monotonic() + 20
        while len(taker.taken) < 80 and time.monotonic() < until:
            time.sleep(0.01)
        finished.set()
        for thread in dispatchers:
            thread.join(10)
        assert not errors, errors
        expected.update({one.id: 16 for one in made})
        taker.check(expected)
        ((delivered,),) = look(
            pg_dsn, "SELECT delivered FROM workflow_outbox_handlers WHERE namespace = %s", [namespace]
        )
        assert delivered == 80


_KILLED = textwrap.dedent(
    """
    import sys, time
    from duraflow import MessageHandler, Runtime
    from duraflow_pg import PgPersistence
    from tests.pg.test_outbox import TALE, SECOND

    dsn, namespace, path = sys.argv[1:]

    def take(message):
        with open(path, "a") as file:
            file.write(f"{message.id} {message.instance_id} {message.payload}\\n")
        if message.payload == 5:
            time.sleep(60)

    persistence = PgPersistence.from_dsn(dsn, namespace=namespace)
    handler = MessageHandler("taker", take, lease=SECOND)
    with Runtime(workflows=[TALE], persistence=persistence, message_handlers=[handler]) as runtime:
        while True:
            runtime.dispatch(limit=3)
            time.sleep(0.01)
    """
)


def test_a_killed_dispatcher_is_succeeded(pg_dsn: str, namespace: str, tmp_path: Path) -> None:
    """SIGKILL in a handler: after the lease another goes on; what comes twice was not recorded, and has the same id."""
    script, told = tmp_path / "dispatcher.py", tmp_path / "told"
    script.write_text(_KILLED)
    later: list[str] = []

    def take(message: Message) -> None:
        later.append(f"{message.id} {message.instance_id} {message.payload}")

    handler = MessageHandler("taker", take, lease=SECOND)
    persistence = PgPersistence.from_dsn(pg_dsn, namespace=namespace)
    with Runtime(workflows=[TALE], persistence=persistence, message_handlers=[handler]) as runtime:
        one = runtime.create("tale")
        for _ in range(8):
            runtime.fire(one, "tell")
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(["", *sys.path])}
        process = subprocess.Popen(
            [sys.executable, str(script), pg_dsn, namespace, str(told)], env=environment
        )
        try:
            until = time.monotonic() + 30
            while not told.exists() or len(told.read_text().splitlines()) < 5:
                assert time.monotonic() < until
                assert process.poll() is None
                time.sleep(0.01)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        first = told.read_text().splitlines()
        assert runtime.dispatch().busy == 1
        _dispatch_until(runtime, lambda: later and later[-1].endswith(" 8"))
        assert [line.split()[2] for line in first] == ["1", "2", "3", "4", "5"]
        # Passes are of three messages at most, and the one that died recorded nothing.
        begun = int(later[0].split()[2])
        assert 3 <= begun <= 5
        assert [line.split()[2] for line in later] == [str(number) for number in range(begun, 9)]
        # What came twice is told by its id.
        assert set(later) & set(first) == set(later[: 6 - begun])


@in_both_worlds
async def test_a_dispatcher_that_is_too_slow_is_succeeded(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """It says so, records nothing, and stops; what it delivered since comes again, from the one that took over."""
    first: list[int] = []
    second: list[int] = []
    taking = driver.signal()

    async def slow(message: Message) -> None:
        first.append(message.payload)
        taking.set()
        await driver.waits.sleep(1.5)

    def handler(call: Any) -> MessageHandler:
        return MessageHandler("taker", call, lease=SECOND)

    def plain(message: Message) -> None:
        driver.run(slow(message))

    pool = {"namespace": namespace}
    async with (
        runtime_on(
            driver,
            pg_dsn,
            TALE,
            pool=pool,
            message_handlers=[handler(slow if driver.waits.suspends else plain)],
        ) as slow_one,
        runtime_on(
            driver, pg_dsn, TALE, pool=pool, message_handlers=[handler(lambda m: second.append(m.payload))]
        ) as quick,
    ):
        one = await slow_one.create("tale")
        for _ in range(3):
            await slow_one.fire(one, "tell")

        async def deliver_slowly() -> DispatchResult:
            result = DispatchResult()
            while not first:
                result = await slow_one.dispatch()
                await driver.waits.sleep(0.01)
            return result

        async def deliver() -> DispatchResult:
            await taking.wait()
            result = DispatchResult()
            while len(second) < 3:
                result += await quick.dispatch()
                await driver.waits.sleep(0.02)
            return result

        slowly, quickly = await driver.together(deliver_slowly, deliver)
        assert (slowly.lost, slowly.delivered) == (1, 1)
        assert (quickly.lost, quickly.delivered) == (0, 3)
        assert quickly.busy > 3
        assert (first, second) == ([1], [1, 2, 3])
        assert await slow_one.dispatch() == DispatchResult()


@in_both_worlds
async def test_a_long_pass_keeps_its_lease(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Longer than the lease in all, but no message is: nobody else gets in."""
    taken: list[int] = []

    def take(message: Message) -> None:
        taken.append(message.payload)
        time.sleep(0.15)

    handler = MessageHandler("taker", take, lease=SECOND)
    pool = {"namespace": namespace}
    async with (
        runtime_on(driver, pg_dsn, TALE, pool=pool, message_handlers=[handler]) as runtime,
        runtime_on(driver, pg_dsn, TALE, pool=pool) as other,
    ):
        one = await runtime.create("tale")
        for _ in range(12):
            await runtime.fire(one, "tell")
        outbox = engine_of(other).persistence.outbox
        stolen: list[Any] = []

        async def deliver() -> None:
            while len(taken) < 12:
                result = await runtime.dispatch()
                assert not result.lost
                await driver.waits.sleep(0.01)

        async def steal() -> None:
            while len(taken) < 12:
                if taken and len(taken) < 11:
                    found = await outbox.claim("taker", lease=SECOND, start="first")
                    # Between two passes it is free, and may be taken; in the midst of one it is not.
                    stolen.append(found)
                    if found is not None:
                        await outbox.save(
                            found, reached=found.reached, change=None, delivered=0, clock=None, keep=None
                        )
                await driver.waits.sleep(0.05)

        await driver.together(deliver, steal)
        assert taken == [*range(1, 13)]
        assert stolen.count(None) >= len(stolen) - 2


@in_both_worlds
async def test_handlers_hold_no_connection(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """With a pool of one: it is free while a handler runs, and when all is done."""
    whole: list[bool] = []
    handler = MessageHandler("taker", lambda message: whole.append(pool_is_whole(runtime)))
    pool = {"namespace": namespace, "min_size": 1, "max_size": 1}
    async with runtime_on(driver, pg_dsn, TALE, pool=pool, message_handlers=[handler]) as runtime:
        one = await runtime.create("tale")
        await runtime.fire(one, "tell")
        await runtime.fire(one, "tell")
        while len(whole) < 2:
            await runtime.dispatch()
            await driver.waits.sleep(0.01)
        assert whole == [True, True]
        assert pool_is_whole(runtime)


def test_a_cancelled_dispatch_loses_nothing(pg_dsn: str, namespace: str) -> None:
    """Cancelled at any moment, in a handler or between: what was taken is recorded, the rest comes with the next."""

    async def run() -> None:
        taken: list[int] = []

        async def take(message: Message) -> None:
            await asyncio.sleep(0.002)
            taken.append(message.payload)

        driver = AsyncioDriver()
        async with runtime_on(
            driver,
            pg_dsn,
            TALE,
            pool={"namespace": namespace, "max_size": 2},
            message_handlers=[MessageHandler("taker", take, lease=SECOND)],
        ) as runtime:
            one = await runtime.create("tale")
            for _ in range(40):
                await runtime.fire(one, "tell")
            for step in range(25):
                task = asyncio.create_task(runtime.dispatch(limit=4))
                await asyncio.sleep(step * 0.001)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            until = time.monotonic() + 20
            while not taken or taken[-1] < 40:
                assert time.monotonic() < until, taken
                await runtime.dispatch()
                await asyncio.sleep(0.01)
            highest = 0
            for number in taken:
                assert number <= highest + 1, taken
                highest = max(highest, number)
            # Only what no cancelled call could record any more comes again.
            assert len(taken) <= 40 + 25
            for _ in range(200):
                if pool_is_whole(runtime):
                    break
                await asyncio.sleep(0.01)
            assert pool_is_whole(runtime)

    asyncio.run(run())


@in_both_worlds
async def test_delivering_writes_once_a_page(
    driver: Driver, pg_dsn: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hundred messages cost a handful of statements; with nothing to do it is one, which writes nothing."""
    taken: list[int] = []
    handlers = [MessageHandler("taker", lambda message: taken.append(message.payload))]
    async with runtime_on(
        driver, pg_dsn, TALE, pool={"namespace": namespace}, message_handlers=handlers
    ) as runtime:
        one = await runtime.create("tale")
        for _ in range(100):
            await runtime.fire(one, "tell")
        kind = type(engine_of(runtime).persistence.database.connections)
        statements: list[bytes] = []
        run = kind.run

        async def counted(self: Any, connection: Any, statement: bytes, parameters: Any = None) -> Any:
            statements.append(statement)
            return await run(self, connection, statement, parameters)

        monkeypatch.setattr(kind, "run", counted)
        while len(taken) < 100:
            statements.clear()
            await runtime.dispatch()
            await driver.waits.sleep(0.01)
        assert len(statements) <= 6
        statements.clear()
        assert await runtime.dispatch() == DispatchResult()
        assert len(statements) == 1
        assert statements[0].lstrip().startswith(b"SELECT")


@in_both_worlds
async def test_deleting_while_delivering(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """An instance that is deleted by its own handler, which then fails: there is nothing to hold back."""

    async def delete(message: Message) -> None:
        await runtime.delete(message.instance_id, force=True)
        raise ValueError("after all")

    def plain(message: Message) -> None:
        driver.run(delete(message))

    handler = MessageHandler(
        "taker",
        delete if driver.waits.suspends else plain,
        retry=MessageRetryPolicy(first=timedelta(milliseconds=1)),
    )
    async with runtime_on(
        driver, pg_dsn, TALE, pool={"namespace": namespace}, message_handlers=[handler]
    ) as runtime:
        for one in await runtime.create_many([NewInstance("tale")] * 2):
            await runtime.fire(one, "tell")
        result = DispatchResult()
        while result.failed < 2:
            result += await runtime.dispatch()
            await driver.waits.sleep(0.01)
        assert await runtime.dispatch() == DispatchResult()
        assert look(pg_dsn, "SELECT 1 FROM workflow_outbox_held WHERE namespace = %s", [namespace]) == []


def test_it_reads_by_its_indexes(fresh_pg_dsn: str) -> None:
    """From the middle of 40,000 messages, and among 2,000 that are held back, with known and unknown parameters."""
    with psycopg.connect(fresh_pg_dsn, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        for statement in _SEED.split(";"):
            connection.execute(statement.encode())
        connection.execute("VACUUM (ANALYZE)")
        outbox: Any = persistence_of(BLOCKING, fresh_pg_dsn).outbox
        place = {
            "position": "200",
            "instance_id": UUID("00000000-0000-4000-8000-000000010001"),
            "seq": 1,
            "ordinal": 0,
        }
        parameters: dict[str, Any] = {
            "waiting": {"handlers": "{taker,late}"},
            "due": {**place, "limit": 100, "topics": "{}", "exclude": "{}"},
            "read": {**place, "limit": 100, "topics": "{}"},
        }
        for name, mode in itertools.product(parameters, ("force_custom_plan", "force_generic_plan")):
            connection.execute(f"SET plan_cache_mode = {mode}".encode())
            ((plan,),) = connection.execute(
                b"EXPLAIN (ANALYZE, FORMAT JSON) " + outbox._sql[name],
                {"namespace": "default", "handler": "taker", "clock": None, **parameters[name]},
                prepare=True,
            ).fetchall()
            for node in _nodes(plan[0]["Plan"]):
                where = (name, mode, node.get("Relation Name"), json.dumps(plan))
                if node.get("Relation Name") != "workflow_outbox_handlers":
                    assert node["Node Type"] != "Seq Scan", where
                assert node["Actual Rows"] * node["Actual Loops"] <= 2_000, where
                if node.get("Index Name") == "workflow_outbox_position":
                    assert "ROW(" in node["Index Cond"], where


BLOCKING = type("Blocking", (), {"waits": type("Waits", (), {"suspends": False})})()

_SEED = """
INSERT INTO workflow_instances (id, namespace, workflow, definition_version, state, version,
    created_at, updated_at, entered_at)
SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'default', 'order', 1, 'open', 2,
    now(), now(), now() FROM generate_series(1, 20000) n;
INSERT INTO workflow_history (instance_id, seq, namespace, kind, event, from_state, to_state, status,
    entered, at, definition_version, attempt_id)
SELECT i.id, s, 'default', CASE s WHEN 1 THEN 'created' ELSE 'moved' END, 'x',
    CASE s WHEN 1 THEN NULL ELSE 'open' END, 'open', 'success', true, now(), 1, i.id
FROM workflow_instances i CROSS JOIN generate_series(1, 2) s;
INSERT INTO workflow_outbox (id, namespace, instance_id, seq, ordinal, topic, position)
SELECT gen_random_uuid(), 'default', i.id, s, 0, 'told', (right(i.id::text, 6)::int / 50)::text::xid8
FROM workflow_instances i CROSS JOIN generate_series(1, 2) s;
INSERT INTO workflow_outbox_handlers (namespace, handler, position)
SELECT 'default', h, '390' FROM unnest(ARRAY['taker', 'late']) h;
INSERT INTO workflow_outbox_held (namespace, handler, instance_id, seq, ordinal, attempts, next_at)
SELECT 'default', h, i.id, 1, 0, 1, now() + (right(i.id::text, 6)::int - 50) * interval '1 minute'
FROM workflow_instances i CROSS JOIN unnest(ARRAY['taker', 'late']) h WHERE i.id::text LIKE '%1'
"""


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _nodes(child)


@in_both_worlds
async def test_who_has_come_further_than_the_server_is_told(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """After a restore into a new server a handler would be given nothing, and nobody would know why."""
    taken: list[int] = []
    handlers = [
        MessageHandler(name, lambda message: taken.append(message.payload)) for name in ("one", "two")
    ]
    async with runtime_on(
        driver, pg_dsn, TALE, pool={"namespace": namespace}, message_handlers=handlers
    ) as runtime:
        await runtime.dispatch()
        await runtime.fire(await runtime.create("tale"), "tell")
        ahead = "UPDATE workflow_outbox_handlers SET position = {} WHERE namespace = %s AND handler = 'two'"
        look(pg_dsn, ahead.format("(pg_current_xact_id()::text::bigint + 1000000)::text::xid8"), [namespace])
        with pytest.raises(Misuse, match=r"'two' has come further .*--reset-positions"):
            await runtime.dispatch()
        assert taken == []
        look(pg_dsn, ahead.format("pg_snapshot_xmax(pg_current_snapshot())"), [namespace])
        await runtime.dispatch()
