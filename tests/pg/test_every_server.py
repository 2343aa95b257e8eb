"""Does the whole flow work on every server that is promised: 18, 16 and 15?"""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from duraflow import (
    AlreadyExists,
    CommandRef,
    EventRefused,
    Failure,
    Firing,
    LockTimeout,
    NewInstance,
    State,
    TimerRetryPolicy,
    Transition,
    Workflow,
)
from duraflow.testing import ManualClock
from duraflow.testing.driver import Driver
from tests.pg.conftest import Notes
from tests.pg.kit import DAY, check_all, execute, in_both_worlds, look, never, order, runtime_on
from tests.pg.test_contention import SHORT, deadlocks
from tests.pg.wire import Wire


def everything(notes: Notes, driver: Driver) -> Workflow:
    """Every kind of transition: free, guarded, with commands, best effort, failing, automatic, timers of all fates."""

    async def fail(ctx: Any, runtime: Any) -> Any:
        await notes.write(ctx.connection, "failed")
        return Failure("no", "not today")

    async def explode(ctx: Any, runtime: Any) -> None:
        await execute(ctx.connection, "SELECT 1 / 0")

    fails, explodes = driver.command(fail), driver.command(explode)
    pays = notes.command(driver)
    return Workflow(
        name="everything",
        initial="open",
        states=[
            State(
                "open",
                [
                    Transition("touch", target="open"),
                    Transition("ask", target="shut", guard=never),
                    Transition("pay", commands=[pays, CommandRef("explode", best_effort=True)]),
                    Transition("route", target="hop", commands=[pays, fails], error_target="stuck"),
                    Transition("hop", target="hop", commands=[pays]),
                    Transition("remind", target="open", after=DAY),
                ],
            ),
            State("hop", [Transition(target="shut", commands=[pays])]),
            State(
                "stuck",
                [
                    Transition("again", target="open", guard=never, after=DAY),
                    Transition("burst", target="open", commands=[explodes], after=2 * DAY),
                    Transition("leave", target="open"),
                ],
            ),
            State("shut", final=True),
        ],
    )


@in_both_worlds
async def test_the_whole_flow(driver: Driver, every_fresh_pg_dsn: str, namespace: str) -> None:
    """Every operation of a runtime, on every kind of transition, leaves all invariants whole."""
    dsn, clock = every_fresh_pg_dsn, ManualClock()
    look(dsn, "CREATE TABLE app_notes (namespace text NOT NULL, note text NOT NULL)")
    notes = Notes(dsn, namespace)
    retry = TimerRetryPolicy(park_after=1)
    async with runtime_on(
        driver, dsn, everything(notes, driver), clock=clock, timer_retry=retry, pool={"namespace": namespace}
    ) as runtime:
        one = await runtime.create("everything", {"ä": [1.5, None]}, ref="A1", metadata={"town": "Bari"})
        with pytest.raises(AlreadyExists):
            await runtime.create("everything", ref="A1")
        assert (await runtime.fire(("everything", "A1"), "touch")).ok
        assert (await runtime.fire(one, "ask")).status == "rejected"
        assert [row.status for row in (await runtime.fire(one, "pay")).commands] == ["success", "error"]
        assert (await runtime.fire(one, "route")).to_state == "stuck"
        clock.advance(3 * DAY)
        assert ((await runtime.fire_due_timers()).rejected, (await runtime.fire_due_timers()).parked) == (
            1,
            1,
        )
        (parked,) = await runtime.parked()
        assert (parked.event, "DivisionByZero" in parked.error) == ("burst", True)
        assert (await runtime.rearm(one)).id == one.id
        assert (await runtime.fire(one, "leave")).ok
        assert len((await runtime.fire(one, "hop")).entries) == 2
        with pytest.raises(EventRefused):
            await runtime.fire(one, "touch")
        made = await runtime.create_many([NewInstance("everything")] * 120)
        assert all(result.ok for result in await runtime.fire_many([Firing(each, "touch") for each in made]))
        clock.advance(2 * DAY)
        swept = await driver.together(runtime.fire_due_timers, runtime.fire_due_timers)
        assert sum(result.fired for result in swept) + (await runtime.fire_due_timers()).fired == 120
        assert (await runtime.cancel(made[0], reason="test")).ok
        assert (await runtime.force(made[0], state="open", reason="test")).ok
        assert (await runtime.delete(made[1], force=True)).id == made[1].id
        async with runtime.transaction() as tx, tx.locked(made[2]) as held:
            await notes.write(tx.connection, "mine")
            await held.fire(made[2], "hop")
        page = await runtime.list("everything", state="open", limit=100)
        rest = await runtime.list("everything", state="open", cursor=page.cursor)
        assert len({each.id for each in (*page.instances, *rest.instances)}) == 118
        assert len((await runtime.list(metadata={"town": "Bari"})).instances) == 1
        assert sum(row.count for row in await runtime.count(open=True)) == 118
        assert [entry.seq for entry in await runtime.history(one, newest_first=True, limit=2)] == [9, 8]
        assert (await runtime.health()).ok
        await check_all(runtime)
    assert notes.read() == ["failed", "mine", *["paid"] * 6]
    assert deadlocks(dsn) == 0


@in_both_worlds
async def test_trips_locks_and_lost_answers(driver: Driver, every_fresh_pg_dsn: str, namespace: str) -> None:
    """On every server: two trips a move, a held row is waited for with a limit, a lost answer is looked up."""
    dsn = every_fresh_pg_dsn
    pool = {"namespace": namespace, "min_size": 1, "max_size": 1, "timeouts": SHORT}
    with Wire(dsn) as wire:
        async with runtime_on(driver, wire.dsn, order(), pool=pool) as runtime:
            one = await runtime.create("order")
            for event in ("reopen", "pay"):
                for _ in range(2):
                    await runtime.fire(one, event)
                with wire.watched() as seen:
                    await runtime.fire(one, event)
                assert seen.trips == 2
                with psycopg.connect(dsn) as holder:
                    holder.execute("SELECT 1 FROM workflow_instances WHERE id = %s FOR UPDATE", [one.id])
                    with pytest.raises(LockTimeout):
                        await runtime.fire(one, event)
            wire.cut("UPDATE", "after")
            await runtime.fire(one, "reopen")
            wire.cut("COMMIT", "after")
            await runtime.fire(one, "pay")
            wire.cut("COMMIT", "before")
            await runtime.fire(one, "pay")
            assert (wire.cuts_made, (await runtime.get(one)).version) == (3, 10)
            await check_all(runtime)
