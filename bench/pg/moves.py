"""What does one `fire` or `create` cost, blocking and asyncio, beside the same statements by hand?"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import attrs
import psycopg
from psycopg_pool import AsyncConnectionPool

from bench.figures import Figure
from bench.pg.byhand import NAMESPACE, Bills, BlockingHand, Hand, Pingpong, hand_pool
from bench.pg.stage import Loop, Stage, async_persistence, blocking, on_asyncio, seeded
from bench.process import CONTEXT, METADATA, PAYLOAD
from bench.rounds import Effort, Run, compare
from duraflow import AsyncRuntime, Runtime
from duraflow_pg import AsyncPgPersistence
from duraflow_pg.instances import PgInstanceStore
from duraflow_pg.writer import PgWriter

TICKETS = 1_000
IN_FLIGHT = (1, 10, 100)


@contextmanager
def by_hand(stage: Stage, schema: str) -> Iterator[BlockingHand]:
    """A connection for code by hand."""
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        yield BlockingHand(connection, Hand(schema))


# --- blocking -----------------------------------------------------------------------------------------------------


def blocking_figures(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """One client that waits for each answer."""
    effort = effort.slower(3)
    schema = stage.schema("moves")
    count = effort.scaled(TICKETS)
    with blocking(stage, schema) as (runtime, _), by_hand(stage, schema) as hand:
        mine, theirs = seeded(runtime, count), seeded(runtime, count)
        stage.settle(schema)
        turns, bills = Pingpong(hand.hand, theirs), Bills(hand.hand, seeded(runtime, count))
        ours, reference = compare([firing(runtime, mine), repeat(lambda: hand.fire(turns))], effort)
        yield Figure.of_rates("fire, blocking, no command", ours, reference, 0.8)
        to_bill = seeded(runtime, count)
        ours, reference = compare([billing(runtime, to_bill), repeat(lambda: hand.bill(bills))], effort)
        yield Figure.of_rates("fire, blocking, one transactional command", ours, reference)
        ours, reference = compare([creating(runtime), creating_by_hand(hand)], effort)
        yield Figure.of_rates("create, blocking", ours, reference)


def repeat(operation: Callable[[], object]) -> Run:
    """A round of it."""

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            operation()

    return run


def firing(runtime: Runtime, ids: Sequence[UUID]) -> Run:
    """Moves of tickets to and fro."""
    turn = _turns(ids)

    def run(count: int) -> None:
        for one, event in itertools.islice(turn, count):
            runtime.fire(one, event, PAYLOAD)

    return run


def _turns(ids: Sequence[UUID]) -> Iterator[tuple[UUID, str]]:
    while True:
        for event in ("assign", "release"):
            for one in ids:
                yield one, event


def billing(runtime: Runtime, ids: Sequence[UUID]) -> Run:
    """Moves with a command."""
    turn = itertools.cycle(ids)
    return repeat(lambda: runtime.fire(next(turn), "bill", PAYLOAD))


def creating(runtime: Runtime) -> Run:
    """New tickets."""
    return repeat(lambda: runtime.create("ticket", CONTEXT, metadata=METADATA))


def creating_by_hand(hand: BlockingHand) -> Run:
    """New rows."""
    statement, parameters = hand.hand.creation()

    def one() -> None:
        parameters["id"] = parameters["instance_id"] = parameters["root_id"] = uuid4()
        assert hand.run(statement, parameters)

    return repeat(one)


# --- asyncio ------------------------------------------------------------------------------------------------------


def asyncio_figures(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """Clients of one event loop."""
    effort = effort.slower(3)
    schema = stage.schema("moves")
    count = max(*IN_FLIGHT, effort.scaled(TICKETS))
    with Loop() as loop, blocking(stage, schema) as (runtime, _):
        sets = [seeded(runtime, count) for _ in range(4)]
        grouped, alone = async_persistence(stage, schema), ungrouped(async_persistence(stage, schema))
        stage.settle(schema)
        with (
            on_asyncio(loop, grouped) as together,
            on_asyncio(loop, alone) as single,
            opened_pool(loop, stage) as pool,
        ):
            hand = AsyncHand(pool, Hand(schema))
            for flights in IN_FLIGHT:
                ours, each, one_statement, two = compare(
                    [
                        async_firing(loop, together, sets[0], flights),
                        async_firing(loop, single, sets[1], flights),
                        hand.firing(loop, sets[2], flights, read=False),
                        hand.firing(loop, sets[3], flights, read=True),
                    ],
                    effort,
                )
                name = f"fire, asyncio, {flights} in flight"
                if flights == 1:
                    yield Figure.of_rates(f"{name}, beside read and statement", ours, two, 0.7)
                    yield Figure.of_rates(f"{name}, beside one statement", ours, one_statement)
                    continue
                yield Figure.of_rates(f"{name}, no groups, beside read and statement", each, two, 0.7)
                yield Figure.of_rates(f"{name}, no groups, beside one statement", each, one_statement)
                yield Figure.of_rates(f"{name}, group commit, beside one statement", ours, one_statement, 1.0)


def ungrouped(persistence: AsyncPgPersistence) -> AsyncPgPersistence:
    """The same, every read and every move in a trip of its own."""
    return attrs.evolve(
        persistence,
        database=persistence.database,
        lifecycle=persistence.lifecycle,
        instances=PgInstanceStore(persistence.database),
        writer=PgWriter(persistence.database),
    )


@contextmanager
def opened_pool(loop: Loop, stage: Stage) -> Iterator[AsyncConnectionPool[Any]]:
    """A pool for code by hand."""
    pool = loop.run(_open(stage))
    try:
        yield pool
    finally:
        loop.run(pool.close())


async def _open(stage: Stage) -> AsyncConnectionPool[Any]:
    pool = hand_pool(stage)
    await pool.open(wait=True)
    return pool


def in_flight(loop: Loop, flights: int, one: Callable[[int], Awaitable[object]]) -> Run:
    """So many clients at once, each waiting for its own answers."""

    async def client(number: int, count: int) -> None:
        for _ in itertools.repeat(None, count):
            await one(number)

    async def clients(count: int) -> None:
        share, more = divmod(count, flights)
        await asyncio.gather(*(client(n, share + (n < more)) for n in range(flights)))

    return lambda count: loop.run(clients(count))


def async_firing(loop: Loop, runtime: AsyncRuntime, ids: Sequence[UUID], flights: int) -> Run:
    """Moves of tickets to and fro, every client its own ones."""
    turns = [_turns(ids[number::flights]) for number in range(flights)]
    # Earlier measurements may have left some in the second state.
    states = {one: loop.run(runtime.get(one)).state for one in ids}

    async def one(number: int) -> None:
        target, _ = next(turns[number])
        event = "assign" if states[target] == "open" else "release"
        result = await runtime.fire(target, event, PAYLOAD)
        states[target] = result.to_state

    return in_flight(loop, flights, one)


@attrs.define(eq=False)
class AsyncHand:
    """A pool, and a connection of it for each move."""

    pool: AsyncConnectionPool[Any]
    hand: Hand
    _turns: dict[tuple[UUID, ...], Pingpong] = attrs.field(factory=dict)

    def firing(self, loop: Loop, ids: Sequence[UUID], flights: int, *, read: bool) -> Run:
        """Moves to and fro, each one statement, after a read or without one."""
        known = self._turns.get(tuple(ids))
        if known is None:
            known = self._turns[tuple(ids)] = Pingpong(self.hand, ids)
        get = self.hand.sql["get"]

        async def one(_number: int) -> None:
            statement, parameters = known.next()
            async with self.pool.connection() as connection:
                if read:
                    key = {"id": parameters["id"], "namespace": NAMESPACE, "clock": None}
                    cursor = await connection.execute(get, key, prepare=True, binary=True)
                    assert await cursor.fetchall()
                cursor = await connection.execute(statement, parameters, prepare=True, binary=True)
                assert await cursor.fetchall()

        return in_flight(loop, flights, one)
