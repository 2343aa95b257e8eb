"""How many trips, commits and bytes of log does one operation take? Counted, not timed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs

from bench.figures import Figure
from bench.pg.byhand import BATCH, Bills, Pingpong
from bench.pg.moves import by_hand, creating_by_hand
from bench.pg.stage import Loop, Stage, async_persistence, blocking, on_asyncio, seeded
from bench.process import CONTEXT, METADATA, PAYLOAD
from bench.rounds import Effort
from duraflow import Firing, NewInstance
from duraflow_pg.connections import Connections
from duraflow_pg.statements import Parameters, Row

OPERATIONS = 500


@attrs.define(eq=False)
class Counting:
    """Connections that count the trips that are made on them."""

    inner: Any
    trips: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def run(self, connection: Any, statement: bytes, parameters: Parameters | None = None) -> list[Row]:
        self.trips += 1
        rows: list[Row] = await self.inner.run(connection, statement, parameters)
        return rows

    async def begin(self, connection: Any, statements: Sequence[Any]) -> Any:
        self.trips += 1
        return await self.inner.begin(connection, statements)

    async def finish(
        self, connection: Any, transaction: Any, statement: bytes, parameters: Parameters
    ) -> Any:
        self.trips += 1
        return await self.inner.finish(connection, transaction, statement, parameters)

    async def end(self, transaction: Any, error: BaseException | None) -> None:
        self.trips += 1
        await self.inner.end(transaction, error)


def counted(connections: Connections) -> Any:
    """The same connections, counting."""
    return Counting(connections)


@attrs.frozen
class Cost:
    """What so many operations took."""

    trips: float
    commits: float
    wal_bytes: float


def figures(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """Trips, commits and log of each operation, beside those of the statements by hand."""
    schema = stage.schema("costs")
    count = max(2, effort.scaled(OPERATIONS) // BATCH) * BATCH
    with blocking(stage, schema) as (runtime, persistence), by_hand(stage, schema) as hand:
        counting = persistence.database.connections = counted(persistence.database.connections)
        mine, theirs, bills = (seeded(runtime, count) for _ in range(3))
        turns, letters = Pingpong(hand.hand, theirs), Bills(hand.hand, bills)
        stage.settle(schema)
        stage.checkpoint()

        def cost(operation: Callable[[], object], operations: int = count) -> Cost:
            return _cost(stage, counting, operation, operations)

        def each(call: Callable[[Any], object]) -> Callable[[], object]:
            return lambda: [call(one) for one in mine]

        # Once before, so that whole pages after the checkpoint are in nobody's figure.
        for _ in range(2):
            each(lambda one: runtime.fire(one, "assign", PAYLOAD))()
            each(lambda one: runtime.fire(one, "release", PAYLOAD))()
            _times(count, lambda: hand.fire(turns))
        fired = cost(each(lambda one: runtime.fire(one, "assign", PAYLOAD)))
        by_itself = attrs.evolve(cost(lambda: _times(count, lambda: hand.fire(turns))), trips=2)
        yield from _told("fire, no command", fired, by_itself)
        each(lambda one: runtime.fire(one, "release", PAYLOAD))()
        _times(count, lambda: hand.bill(letters))
        # The command's own statement is a third trip on both sides, which the runtime does not make.
        billed = cost(each(lambda one: runtime.fire(one, "bill", PAYLOAD)))
        billed = attrs.evolve(billed, trips=billed.trips + 1)
        billed_by_hand = attrs.evolve(cost(lambda: _times(count, lambda: hand.bill(letters))), trips=3)
        yield from _told("fire, one command and its statement", billed, billed_by_hand)
        created = cost(each(lambda _: runtime.create("ticket", CONTEXT, metadata=METADATA)))
        created_by_hand = attrs.evolve(cost(lambda: creating_by_hand(hand)(count)), trips=1)
        yield from _told("create", created, created_by_hand)
        new = [NewInstance("ticket", CONTEXT, METADATA) for _ in range(BATCH)]
        batches = [mine[start : start + BATCH] for start in range(0, count, BATCH)]
        batched = cost(lambda: [runtime.create_many(new) for _ in batches])
        yield from _told("create_many by 100, beside one by one", batched, created_by_hand)
        batched = cost(
            lambda: [runtime.fire_many(Firing(i, "assign", PAYLOAD) for i in batch) for batch in batches]
        )
        yield from _told("fire_many by 100, beside one by one", batched, by_itself)
    yield from _asyncio(stage, schema, count, by_itself)


def _asyncio(stage: Stage, schema: str, count: int, by_itself: Cost) -> Iterator[Figure]:
    with Loop() as loop, blocking(stage, schema) as (runtime, _):
        for flights in (1, 10, 100):
            ids = seeded(runtime, count)
            persistence = async_persistence(stage, schema)
            counting = persistence.database.connections = counted(persistence.database.connections)
            with on_asyncio(loop, persistence) as asynchronous:

                async def client(mine: Sequence[Any], event: str, to: Any = asynchronous) -> None:
                    for one in mine:
                        await to.fire(one, event, PAYLOAD)

                async def clients(event: str, all_ids: Sequence[Any] = ids, at_once: int = flights) -> None:
                    await asyncio.gather(*(client(all_ids[n::at_once], event) for n in range(at_once)))

                loop.run(clients("assign"))
                taken = _cost(stage, counting, lambda: loop.run(clients("release")), count)
            yield from _told(f"fire, asyncio, {flights} in flight", taken, by_itself)


def _times(count: int, operation: Callable[[], object]) -> None:
    for _ in range(count):
        operation()


def _cost(stage: Stage, counting: Counting, operation: Callable[[], object], operations: int) -> Cost:
    trips, commits, wal = counting.trips, stage.commits(), stage.wal_bytes()
    operation()
    return Cost(
        (counting.trips - trips) / operations,
        (stage.commits() - commits) / operations,
        (stage.wal_bytes() - wal) / operations,
    )


def _told(name: str, ours: Cost, reference: Cost) -> Iterator[Figure]:
    yield Figure.of_sizes(f"{name}: trips", ours.trips, reference.trips, "trips")
    yield Figure.of_sizes(f"{name}: commits that write", ours.commits, reference.commits, "commits")
    yield Figure.of_sizes(f"{name}: log", ours.wal_bytes, reference.wal_bytes, "bytes")
