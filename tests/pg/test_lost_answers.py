"""When the connection breaks around a COMMIT, is the outcome told truthfully, and the effect there exactly once?

The wire is cut before the commit reaches the server, or after it took effect but before the answer is back. All of it
with a pool of one connection: looking up what became of the last one must not wait for it.
"""

# ruff: noqa: PT012  # what leaves a transaction is what these tests are about

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from duraflow import AsyncRuntime, Firing, Instance, NewInstance, StoreUnavailable
from duraflow.testing import ManualClock
from duraflow.testing.driver import AsyncioDriver, Driver
from tests.pg.conftest import Notes
from tests.pg.kit import DAY, check_all, engine_of, in_both_worlds, order, reminder, runtime_on
from tests.pg.wire import When, Wire

BOTH_SIDES = pytest.mark.parametrize("when", ["before", "after"])


@pytest.fixture
def wire(pg_dsn: str) -> Iterator[Wire]:
    """A proxy before the shared server."""
    with Wire(pg_dsn) as made:
        yield made


@asynccontextmanager
async def runtime_over(
    driver: Driver, wire: Wire, notes: Notes, *, size: int = 1, **options: Any
) -> AsyncIterator[AsyncRuntime]:
    """A runtime whose connections go through the wire; invariants and the pool are checked on the way out."""
    pool = {"namespace": notes.namespace, "min_size": 1, "max_size": size}
    workflows = (order(notes.command(driver)), reminder())
    async with runtime_on(driver, wire.dsn, *workflows, pool=pool, **options) as runtime:
        yield runtime
        assert wire.cuts_made == 1
        await check_all(runtime)


@attrs.frozen
class Call:
    """A call in whose commit the wire is cut.

    Attributes:
        text: of the statement at which it is cut.
        do: the call, at an open instance of `order`.
        version: of that instance afterwards.
        notes: what the command left.
    """

    text: str
    do: Callable[[AsyncRuntime, Instance], Coroutine[Any, Any, Any]]
    version: int
    notes: tuple[str, ...] = ()


CALLS = {
    "a free move": Call("UPDATE", lambda runtime, one: runtime.fire(one, "reopen"), 2),
    "a rejection": Call("UPDATE", lambda runtime, one: runtime.fire(one, "ask"), 2),
    "a move with a command": Call("COMMIT", lambda runtime, one: runtime.fire(one, "pay"), 2, ("paid",)),
    "a chain": Call("COMMIT", lambda runtime, one: runtime.fire(one, "post"), 4, ("paid", "paid")),
    "cancel": Call("COMMIT", lambda runtime, one: runtime.cancel(one), 2),
    "force": Call("COMMIT", lambda runtime, one: runtime.force(one, state="open", reason="test"), 2),
}


@BOTH_SIDES
@pytest.mark.parametrize("name", CALLS)
@in_both_worlds
async def test_a_call_succeeds_once(driver: Driver, wire: Wire, notes: Notes, name: str, when: When) -> None:
    """The caller sees success whichever way it broke, and the entries and the command's rows are there once."""
    call = CALLS[name]
    async with runtime_over(driver, wire, notes) as runtime:
        one = await runtime.create("order")
        wire.cut(call.text, when)
        await call.do(runtime, one)
        assert (await runtime.get(one)).version == call.version
    assert notes.read() == list(call.notes)


@BOTH_SIDES
@in_both_worlds
async def test_a_creation_succeeds_once(driver: Driver, wire: Wire, notes: Notes, when: When) -> None:
    """A creation is neither lost nor refused as its own twin, with a ref and without."""
    async with runtime_over(driver, wire, notes) as runtime:
        wire.cut("INSERT INTO", when)
        made = await runtime.create("order", ref="A1")
        assert await runtime.get(("order", "A1")) == made
        wire.cut("INSERT INTO", when)
        other = await runtime.create("order", {"n": 1})
        assert await runtime.get(other) == other
        assert wire.cuts_made == 2
        wire.cuts_made = 1


@BOTH_SIDES
@in_both_worlds
async def test_many_creations_are_all_there(driver: Driver, wire: Wire, notes: Notes, when: When) -> None:
    """A batch of creations whose commit was lost is looked up, or written again, as a whole."""
    async with runtime_over(driver, wire, notes) as runtime:
        await runtime.create("order")  # the clock is known
        wire.cut("COMMIT", when)
        made = await runtime.create_many([NewInstance("order", ref=str(number)) for number in range(20)])
        assert [await runtime.get(one) for one in made] == list(made)


@BOTH_SIDES
@in_both_worlds
async def test_a_batch_of_moves_is_written_once(driver: Driver, wire: Wire, notes: Notes, when: When) -> None:
    """Every member of a batch whose answer was lost is told what became of it."""
    async with runtime_over(driver, wire, notes) as runtime:
        made = await runtime.create_many([NewInstance("order")] * 20)
        wire.cut("FROM unnest", when)
        results = await runtime.fire_many([Firing(one, "reopen") for one in made])
        assert [result.ok for result in results] == [True] * 20
        assert {(await runtime.get(one)).version for one in made} == {2}


@BOTH_SIDES
def test_a_group_commit_is_written_once(wire: Wire, notes: Notes, when: When) -> None:
    """Concurrent fires that shared a commit whose answer was lost are each told the truth."""
    driver = AsyncioDriver()

    async def body() -> None:
        async with runtime_over(driver, wire, notes, size=3) as runtime:
            made = await runtime.create_many([NewInstance("order")] * 30)
            wire.cut("), moved AS", when)
            results = await driver.together(*(lambda one=one: runtime.fire(one, "reopen") for one in made))
            assert {result.status for result in results} == {"success"}
            assert {(await runtime.get(one)).version for one in made} == {2}

    driver.run(body())


@BOTH_SIDES
@in_both_worlds
async def test_a_sweep_fires_once(driver: Driver, wire: Wire, notes: Notes, when: When) -> None:
    """A sweep whose commit was lost counts each timer once, and fires each once."""
    clock = ManualClock()
    async with runtime_over(driver, wire, notes, clock=clock) as runtime:
        made = await runtime.create_many([NewInstance("reminder")] * 10)
        clock.advance(2 * DAY)
        wire.cut("COMMIT", when)
        assert (await runtime.fire_due_timers()).fired == 10
        assert (await runtime.fire_due_timers()).total == 0
        assert {(await runtime.get(one)).version for one in made} == {2}


@in_both_worlds
async def test_a_transaction_that_was_committed_is_no_error(driver: Driver, wire: Wire, notes: Notes) -> None:
    """The answer to the COMMIT of `transaction()` is lost: it is looked up, and the block ends as after any commit."""
    told: list[Any] = []
    async with runtime_over(driver, wire, notes, observers=[told.append]) as runtime:
        one = await runtime.create("order")
        told.clear()
        wire.cut("COMMIT", "after")
        async with runtime.transaction() as tx:
            await tx.fire(one, "pay")
            await tx.fire(one, "ship")
            await notes.write(tx.connection, "mine")
        assert (await runtime.get(one)).version == 3
        assert [notice.entry.event for notice in told] == ["ship"]
    assert notes.read() == ["mine", "paid"]


@in_both_worlds
async def test_a_transaction_that_was_not_committed_raises(driver: Driver, wire: Wire, notes: Notes) -> None:
    """The COMMIT of `transaction()` never arrives: nothing is there, nobody is told, and a retry is safe."""
    told: list[Any] = []
    async with runtime_over(driver, wire, notes, observers=[told.append]) as runtime:
        one = await runtime.create("order")
        told.clear()
        wire.cut("COMMIT", "before")
        with pytest.raises(StoreUnavailable) as caught:
            async with runtime.transaction() as tx:
                await tx.fire(one, "ship")
                await notes.write(tx.connection, "mine")
        assert (caught.value.outcome, caught.value.retryable) == ("not_written", True)
        assert (await runtime.get(one)).version == 1
        assert told == []
    assert notes.read() == []


@BOTH_SIDES
@in_both_worlds
async def test_without_a_move_the_outcome_stays_unknown(
    driver: Driver, wire: Wire, notes: Notes, when: When
) -> None:
    """A transaction with application rows alone leaves no entry to look up: the error says so."""
    async with runtime_over(driver, wire, notes) as runtime:
        wire.cut("COMMIT", when)
        with pytest.raises(StoreUnavailable, match="whether it took effect is unknown") as caught:
            async with runtime.transaction() as tx:
                await notes.write(tx.connection, "mine")
        assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
    assert notes.read() == ([] if when == "before" else ["mine"])


@in_both_worlds
async def test_an_outcome_that_cannot_be_looked_up_is_unknown(
    driver: Driver, wire: Wire, notes: Notes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stays away after the lost answer: the error says that the outcome is unknown, and is not retried."""
    async with runtime_over(driver, wire, notes) as runtime:
        one = await runtime.create("order")
        engine_of(runtime).persistence.database.connections.pool.timeout = 0.1
        monkeypatch.setattr("duraflow_pg.database._LOOK_UP_ATTEMPTS", 2)
        wire.cut("COMMIT", "after")
        wire.refuse_new()
        with pytest.raises(StoreUnavailable) as caught:
            await runtime.fire(one, "pay")
        assert (caught.value.outcome, caught.value.retryable) == ("unknown", False)
        wire.heal()
        engine_of(runtime).persistence.database.connections.pool.timeout = 10
        assert (await runtime.get(one)).version == 2
    assert notes.read() == ["paid"]


@pytest.mark.parametrize("text", ["BEGIN", "FOR NO KEY UPDATE", "INSERT INTO app_notes"])
@in_both_worlds
async def test_what_broke_before_the_commit_is_done_again(
    driver: Driver, wire: Wire, notes: Notes, text: str
) -> None:
    """A connection lost earlier in a transaction of ours costs another attempt, also in the middle of a command."""
    async with runtime_over(driver, wire, notes) as runtime:
        one = await runtime.create("order")
        wire.cut(text, "after")
        assert (await runtime.fire(one, "pay")).ok
        assert (await runtime.get(one)).version == 2
    assert notes.read() == ["paid"]


@in_both_worlds
async def test_a_read_is_done_again(driver: Driver, wire: Wire, notes: Notes) -> None:
    """A read whose answer is lost is asked again."""
    async with runtime_over(driver, wire, notes) as runtime:
        one = await runtime.create("order")
        wire.cut("SELECT i.id", "before")
        assert await runtime.get(one) == one
