"""What do batches cost: `create_many`, `fire_many`, and a sweep of timers, beside `unnest` by hand?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, LiteralString
from uuid import UUID

from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from bench.figures import Figure
from bench.pg.byhand import BATCH, NAMESPACE, OPENING, BlockingHand, Hand, fresh_ids, versions
from bench.pg.moves import by_hand, opened_pool, repeat
from bench.pg.stage import Loop, Stage, async_persistence, blocking, on_asyncio, seeded
from bench.process import CONTEXT, METADATA, PAYLOAD
from bench.rounds import Effort, Run, compare, timed
from duraflow import AsyncRuntime, Firing, NewInstance, Runtime
from duraflow_pg.statements import int_array, uuid_array

TICKETS = 2_000
TIMERS = 10_000

_NEW = [NewInstance("ticket", CONTEXT, METADATA) for _ in range(BATCH)]


def figures(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """Batches of 100, and the sweep."""
    slow = effort.slower(5)
    schema = stage.schema("batches")
    count = max(2, effort.scaled(TICKETS // BATCH)) * BATCH
    with blocking(stage, schema) as (runtime, _), by_hand(stage, schema) as hand, Loop() as loop:
        mine, read, unread, others, last = (seeded(runtime, count) for _ in range(5))
        stage.settle(schema)
        ours, reference = compare([_creating(runtime), _creating_by_hand(hand)], slow)
        yield Figure.of_rates("create_many by 100, one instance", ours / BATCH, reference / BATCH, 0.6)
        with (
            on_asyncio(loop, async_persistence(stage, schema)) as asynchronous,
            opened_pool(loop, stage) as pool,
        ):
            ours, reference, strict, awaited, awaited_reference = compare(
                [
                    _firing(runtime, mine),
                    _firing_by_hand(hand, read, reading=True),
                    _firing_by_hand(hand, unread, reading=False),
                    _async_firing(loop, asynchronous, others),
                    _async_firing_by_hand(loop, pool, hand.hand, last),
                ],
                slow,
            )
        name = "fire_many by 100, one move"
        yield Figure.of_rates(f"{name}, beside read and unnest", ours / BATCH, reference / BATCH, 0.6)
        yield Figure.of_rates(f"{name}, beside unnest alone", ours / BATCH, strict / BATCH)
        name = f"{name}, asyncio, beside read and unnest"
        yield Figure.of_rates(name, awaited / BATCH, awaited_reference / BATCH, 0.6)
        yield _sweeping(stage, runtime, hand, effort)


def _creating(runtime: Runtime) -> Run:
    return repeat(lambda: runtime.create_many(_NEW))


def _creating_by_hand(hand: BlockingHand) -> Run:
    statement, parameters = hand.hand.creations()

    def one() -> None:
        parameters["id"] = parameters["root_id"] = parameters["e_instance_id"] = fresh_ids(BATCH)
        assert len(hand.run(statement, parameters)) == BATCH

    return repeat(one)


def _batches(ids: Sequence[UUID]) -> Iterator[tuple[int, Sequence[UUID], str]]:
    """Batch after batch, to and fro: the turn, whom, and the event."""
    for turn in itertools.count():
        for start in range(0, len(ids), BATCH):
            yield turn, ids[start : start + BATCH], "release" if turn % 2 else "assign"


def _firing(runtime: Runtime, ids: Sequence[UUID]) -> Run:
    batches = _batches(ids)

    def one() -> None:
        _, batch, event = next(batches)
        assert all(result.ok for result in runtime.fire_many(Firing(i, event, PAYLOAD) for i in batch))

    return repeat(one)


def _async_firing(loop: Loop, runtime: AsyncRuntime, ids: Sequence[UUID]) -> Run:
    batches = _batches(ids)

    async def fire(count: int) -> None:
        for _, batch, event in itertools.islice(batches, count):
            assert all(
                result.ok for result in await runtime.fire_many(Firing(i, event, PAYLOAD) for i in batch)
            )

    return lambda count: loop.run(fire(count))


Turn = tuple[tuple[bytes, dict[str, Any]], dict[str, Any]]


def _turns_by_hand(hand: Hand, ids: Sequence[UUID]) -> Iterator[Turn]:
    """The statement and parameters of batch after batch, and those of the read before it."""
    made = {
        event: {
            batch[0]: hand.moves(state, event, batch)
            for _, batch, _ in itertools.islice(_batches(ids), len(ids) // BATCH)
        }
        for event, state in (("assign", "open"), ("release", "assigned"))
    }
    for turn, batch, event in _batches(ids):
        statement, parameters = made[event][batch[0]]
        parameters["expected"] = versions(turn + 1)
        parameters["version"] = parameters["e_seq"] = versions(turn + 2)
        yield (statement, parameters), {"ids": parameters["id"], "namespace": NAMESPACE, "clock": None}


def _firing_by_hand(hand: BlockingHand, ids: Sequence[UUID], *, reading: bool) -> Run:
    turns = _turns_by_hand(hand.hand, ids)

    def one() -> None:
        move, key = next(turns)
        if reading:
            assert len(hand.run(hand.hand.sql["get many"], key)) == BATCH
        assert len(hand.run(*move)) == BATCH

    return repeat(one)


def _async_firing_by_hand(loop: Loop, pool: AsyncConnectionPool[Any], hand: Hand, ids: Sequence[UUID]) -> Run:
    turns = _turns_by_hand(hand, ids)

    async def fire(count: int) -> None:
        for move, key in itertools.islice(turns, count):
            for statement, parameters in ((hand.sql["get many"], key), move):
                async with pool.connection() as connection:
                    cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
                    assert len(await cursor.fetchall()) == BATCH

    return lambda count: loop.run(fire(count))


# --- timers -------------------------------------------------------------------------------------------------------


def _sweeping(stage: Stage, runtime: Runtime, hand: BlockingHand, effort: Effort) -> Figure:
    """A sweep is not repeated: each round has all timers armed anew, which is not measured."""
    count = max(2, effort.scaled(TIMERS // BATCH)) * BATCH
    ids = seeded(runtime, count)
    sweeps: list[Callable[[int], object]] = [
        lambda limit: _swept(runtime, limit),
        lambda limit: _sweep_by_hand(hand, limit),
    ]
    taken: list[list[float]] = [[], []]
    for number in range(max(2, effort.rounds // 2)):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            _arm(stage, hand.hand, ids)
            taken[place].append(timed(sweeps[place], count) / count)
    ours, reference = (median(times) for times in taken)
    return Figure.of_rates(f"sweep of {count:,} timers, one timer", ours, reference, 0.6)


_ARM: tuple[LiteralString, ...] = (
    """
    UPDATE {instances} SET state = 'waiting', timers = jsonb_build_array(
        jsonb_build_object('event', 'expire', 'due_at', '2024-02-29T12:00:00+00:00')
    ) WHERE id = ANY (%(ids)s::uuid[])
    """,
    """
    INSERT INTO {due} (instance_id, namespace, due_at)
    SELECT id, namespace, '2024-02-29 12:00Z' FROM {instances} WHERE id = ANY (%(ids)s::uuid[])
    """,
)


def _arm(stage: Stage, hand: Hand, ids: Sequence[UUID]) -> None:
    names = {name: sql.Identifier(hand.schema, f"workflow_{name}") for name in ("instances", "due")}
    for statement in _ARM:
        stage.control.execute(sql.SQL(statement).format(**names), {"ids": uuid_array(ids)})
    stage.settle(hand.schema)


def _swept(runtime: Runtime, limit: int) -> None:
    result = runtime.fire_due_timers(limit=limit)
    assert result.fired == limit, result


def _sweep_by_hand(hand: BlockingHand, limit: int) -> None:
    """Claim a batch and write it, in two trips."""
    statement, parameters = hand.hand.sweeping()
    parameters["updated_at"] = parameters["entered_at"] = parameters["e_at"] = _times()
    execute = hand.cursor.execute
    for _ in range(limit // BATCH):
        with hand.connection.pipeline():
            execute(b"BEGIN", prepare=True)
            execute(OPENING, prepare=True, binary=True)
            execute(
                hand.hand.sql["claim"],
                {"namespace": NAMESPACE, "clock": None, "limit": BATCH, "exclude": "{}"},
                prepare=True,
                binary=True,
            )
        rows = hand.cursor.fetchall()
        ids = uuid_array(row[0] for row in rows)
        parameters["id"] = parameters["e_instance_id"] = parameters["cleared"] = ids
        parameters["expected"] = int_array(row[7] for row in rows)
        parameters["version"] = parameters["e_seq"] = int_array(row[7] + 1 for row in rows)
        with hand.connection.pipeline():
            execute(statement, parameters, prepare=True, binary=True)
            execute(b"COMMIT", prepare=True)


def _times() -> str:
    at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    return "{" + ",".join([f'"{at}"'] * BATCH) + "}"
