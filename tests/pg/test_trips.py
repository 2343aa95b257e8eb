"""How many trips to the server, and which statements, does each call take? Counted on the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from duraflow import AsyncRuntime, CommandRef, Firing, NewInstance, State, Transition, Workflow
from duraflow.testing import ManualClock
from duraflow.testing.driver import Driver
from tests.pg.kit import DAY, in_both_worlds, nothing, order, reminder, runtime_on
from tests.pg.wire import Seen, Wire

ONE_CONNECTION = {"min_size": 1, "max_size": 1}
LOCKED = ["BEGIN", "SELECT", "WITH"]  # begin, the timeouts, the row with its lock: one trip
WRITTEN = ["WITH", "COMMIT"]  # the move and the commit: the other


@asynccontextmanager
async def warm(
    driver: Driver, dsn: str, namespace: str, *workflows: Workflow, **options: Any
) -> AsyncIterator[tuple[Wire, AsyncRuntime]]:
    """A runtime on one watched connection."""
    with Wire(dsn) as wire:
        pool = {"namespace": namespace, **ONE_CONNECTION}
        async with runtime_on(driver, wire.dsn, *workflows, pool=pool, **options) as runtime:
            yield wire, runtime


async def seen_second(wire: Wire, call: Any, *arguments: Any) -> Seen:
    """What a call takes when its statements are prepared: the third time it is made."""
    for _ in range(2):
        await call(*arguments)
    with wire.watched() as seen:
        await call(*arguments)
    return seen


def polite() -> CommandRef:
    """A command that may fail."""
    return CommandRef("polite", best_effort=True)


@pytest.mark.parametrize(
    ("event", "commands", "words", "trips"),
    [
        pytest.param("reopen", [nothing], ["SELECT", "WITH"], 2, id="a free move: a read and a compare-and-set"),
        pytest.param("ask", [nothing], ["SELECT", "WITH"], 2, id="a rejection: the same"),
        pytest.param("pay", [nothing], LOCKED + WRITTEN, 2, id="one command: two trips"),
        pytest.param("pay", [nothing] * 4, LOCKED + WRITTEN, 2, id="four commands: no statement more"),
        pytest.param(
            "pay",
            [nothing, polite()],
            [*LOCKED, "SAVEPOINT", "RELEASE", *WRITTEN],
            4,
            id="best effort alone has a savepoint",
        ),
    ],
)  # fmt: skip
@in_both_worlds
async def test_a_move_takes_two_trips(
    driver: Driver, pg_dsn: str, namespace: str, event: str, commands: list[Any], words: list[str], trips: int
) -> None:
    """A move is two trips, whatever it runs; only a savepoint that the definition asks for adds to them."""
    workflow = order(*commands)
    async with warm(driver, pg_dsn, namespace, workflow, commands={"polite": nothing}) as (wire, runtime):
        made = await runtime.create("order")
        seen = await seen_second(wire, runtime.fire, made, event)
    assert (seen.words, seen.trips, seen.connected) == (words, trips, 0)


@in_both_worlds
async def test_hops_cost_no_statement(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """A chain of three hops with a command each, and an entry each, is still two trips and one write."""
    async with warm(driver, pg_dsn, namespace, order(nothing, nothing)) as (wire, runtime):

        async def post() -> None:
            result = await runtime.fire(made.pop(), "post")
            assert len(result.entries) == 3

        made = [await runtime.create("order") for _ in range(3)]
        seen = await seen_second(wire, post)
    assert (seen.words, seen.trips) == (LOCKED + WRITTEN, 2)


@in_both_worlds
async def test_reads_are_one_trip(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Reading is one statement, by id or by ref; so are list, count, history and parked."""
    async with warm(driver, pg_dsn, namespace, order(), reminder()) as (wire, runtime):
        made = await runtime.create("order", ref="A1", metadata={"town": "Bari"})
        calls: dict[str, Any] = {
            "get": lambda: runtime.get(made),
            "get by ref": lambda: runtime.get(("order", "A1")),
            "explain": lambda: runtime.explain(made),
            "list": lambda: runtime.list("order", metadata={"town": "Bari"}),
            "count": lambda: runtime.count("order"),
            "parked": lambda: runtime.parked(),
        }
        for name, call in calls.items():
            seen = await seen_second(wire, call)
            assert (seen.words, seen.trips) == (["SELECT"], 1), name
        seen = await seen_second(wire, lambda: runtime.history(made))
        assert (seen.words, seen.trips) == (["SELECT"], 1)


@in_both_worlds
async def test_a_handle_reads_nothing(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Binding an id asks no server."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        made = await runtime.create("order")
        with wire.watched() as seen:
            runtime.handle(made.id)
        assert seen == Seen()


@in_both_worlds
async def test_a_creation_is_one_trip(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """A creation that runs no command is one statement; the server's clock is asked for once in several creations."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        with wire.watched() as first:
            await runtime.create("order")
        assert first.words == ["SELECT", "WITH"]  # the clock, once
        assert "clock_timestamp" in first.statements[0]
        with wire.watched() as seen:
            for _ in range(20):
                await runtime.create("order")
    assert (seen.words, seen.trips) == (["WITH"] * 20, 20)


@in_both_worlds
async def test_a_clock_of_ones_own_asks_no_server(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """With a `Clock` the server is never asked for the time."""
    async with warm(driver, pg_dsn, namespace, order(), clock=ManualClock()) as (wire, runtime):
        with wire.watched() as seen:
            await runtime.create("order")
    assert seen.words == ["WITH"]


@in_both_worlds
async def test_many_creations_are_one_statement(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """100 creations: one set-based INSERT, and the commit once its answer is known."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        seen = await seen_second(wire, runtime.create_many, [NewInstance("order")] * 100)
        assert (seen.words, seen.trips) == (["BEGIN", "SELECT", "WITH", "COMMIT"], 2)


@in_both_worlds
async def test_many_firings_are_a_read_and_a_write(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """100 command-free events at 100 instances: one read, one write."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        made = await runtime.create_many([NewInstance("order", ref=str(number)) for number in range(100)])
        seen = await seen_second(wire, runtime.fire_many, [Firing(one.id, "reopen") for one in made])
        assert (seen.words, seen.trips) == (["SELECT", "WITH"], 2)
        by_ref = [Firing(("order", str(number)), "reopen") for number in range(100)]
        seen = await seen_second(wire, runtime.fire_many, by_ref)
        assert (seen.words, seen.trips) == (["SELECT", "WITH"], 2)
        mixed = [Firing(one.id, "ask" if number % 2 else "reopen") for number, one in enumerate(made)]
        seen = await seen_second(wire, runtime.fire_many, mixed)
        assert (seen.words, seen.trips) == (["SELECT", "WITH"], 2)


@in_both_worlds
async def test_a_sweep_of_a_hundred_timers_is_two_trips(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """Command-free due timers are claimed in one trip and written, with the commit, in another."""
    clock = ManualClock()
    async with warm(driver, pg_dsn, namespace, reminder(), clock=clock) as (wire, runtime):

        async def sweep() -> None:
            await runtime.create_many([NewInstance("reminder")] * 100)
            clock.advance(2 * DAY)
            with wire.watched() as seen:
                assert (await runtime.fire_due_timers()).fired == 100
            found.append(seen)

        found: list[Seen] = []
        for _ in range(3):
            await sweep()
    assert (found[-1].words, found[-1].trips) == (LOCKED + WRITTEN, 2)


@in_both_worlds
async def test_nothing_due_is_one_trip_and_a_commit(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """An idle sweep asks once."""
    async with warm(driver, pg_dsn, namespace, reminder()) as (wire, runtime):
        await runtime.create("reminder")
        seen = await seen_second(wire, runtime.fire_due_timers)
    assert (seen.words, seen.trips) == ([*LOCKED, "COMMIT"], 2)


@in_both_worlds
async def test_a_transaction_of_several_moves(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """In a transaction each command-free move is a lock and a write, without a savepoint."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        made = await runtime.create_many([NewInstance("order")] * 2)

        async def both() -> None:
            async with runtime.transaction() as tx:
                for one in made:
                    await tx.fire(one, "reopen")

        seen = await seen_second(wire, both)
    assert (seen.words, seen.trips) == (["BEGIN", "SELECT", *["WITH", "WITH"] * 2, "COMMIT"], 6)


@in_both_worlds
async def test_a_move_without_timers_leaves_due_work_alone(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """The statement of a move with no timer before or after does not name the table of due work; with one it does."""
    alarm = Workflow(
        name="alarm",
        initial="quiet",
        states=[
            State("quiet", [Transition("hush", target="quiet"), Transition("set", target="armed")]),
            State("armed", [Transition("hush", target="quiet"), Transition("ring", target="armed", after=DAY)]),
        ],
    )  # fmt: skip
    async with warm(driver, pg_dsn, namespace, alarm) as (wire, runtime):
        made = await runtime.create("alarm")
        touched = {}
        for event in ("hush", "set", "ring", "hush"):
            with wire.watched() as seen:
                before = (await runtime.get(made)).state
                await runtime.fire(made, event)
            touched[before, event] = "workflow_due" in seen.statements[-1]
    assert touched == {
        ("quiet", "hush"): False,
        ("quiet", "set"): True,
        ("armed", "ring"): True,
        ("armed", "hush"): True,
    }
