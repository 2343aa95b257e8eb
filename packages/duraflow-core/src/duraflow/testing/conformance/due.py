"""`DueStore`: is what is due found at its time, by one at a time, and what failed kept with its reason?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from duraflow.instance import Instance
from duraflow.results import Parked
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import ago, armed, create, entry, moved, new, write
from duraflow.testing.conformance.subject import DAY, HOUR, MINUTE, SECOND, Ports, World, check
from duraflow.writes import ClearDue, DueChange, NudgeDue, SetDue, TimerRetry

_TICK = timedelta(microseconds=1)


async def _due(ports: Ports, world: World, at: datetime | None, **retries: TimerRetry) -> Instance:
    """An instance with timers `tick` and `tock`, and this due row."""
    instance = armed(new(world), ("tick", at or START), ("tock", START + 365 * DAY))
    await ports.writer.apply(None, [write(None, instance, SetDue(at, retries))])
    return instance


async def _claim(ports: Ports, clock: datetime, limit: int = 10, exclude: Any = ()) -> list[Any]:
    async with ports.begin() as unit:
        return [*await ports.due.claim(unit, clock=clock, limit=limit, exclude=exclude)]


async def _change(ports: Ports, instance: Instance, change: DueChange) -> None:
    async with ports.begin() as unit:
        await ports.due.write(unit, instance, change)


async def _ids(ports: Ports, clock: datetime, **options: Any) -> list[Any]:
    return [one.loaded.instance.id for one in await _claim(ports, clock, **options)]


@check("due")
async def the_instant_itself_is_due(world: World) -> None:
    """One rule in claim and in lock: at or before now."""
    async with world.opened() as ports:
        one = await _due(ports, world, START + DAY)
        for clock, expected in (
            (START + DAY - _TICK, []),
            (START + DAY, [one.id]),
            (START + 9 * DAY, [one.id]),
        ):
            assert await _ids(ports, clock) == expected
            async with ports.begin() as unit:
                found = await ports.due.lock(unit, one.id, clock=clock)
                assert (found is not None) is bool(expected)


@check("due")
async def a_claim_gives_the_row_and_its_tries(world: World) -> None:
    """The instance as it is, the time of the step, and what is known of earlier tries."""
    async with world.opened() as ports:
        retries = {
            "tick": TimerRetry(START + HOUR, 2, 1, '[["late"]]', "KeyError: 'x'"),
            "tock": TimerRetry(None, 0, 10, "", "gone \ufffd", START + MINUTE),
        }
        one = await _due(ports, world, START + HOUR, **retries)
        (found,) = await _claim(ports, START + DAY)
        assert (found.loaded.instance, found.loaded.now, found.retries) == (one, START + DAY, retries)
        async with ports.begin() as unit:
            again = await ports.due.lock(unit, one.id, clock=START + DAY)
            assert again == found
        assert await ports.due.retries(None, one.id) == retries
        # A clock behind the row's last change: the time of the step does not go back.
        late = armed(new(world, updated_at=START + 9 * DAY), ("tick", START))
        await ports.writer.apply(None, [write(None, late, SetDue(START))])
        found = next(f for f in await _claim(ports, START + DAY) if f.loaded.instance.id == late.id)
        assert found.loaded.now == START + 9 * DAY


@check("due")
async def the_earliest_come_first(world: World) -> None:
    """Up to the limit, without those that are excluded."""
    async with world.opened() as ports:
        three, one, two = [await _due(ports, world, START + n * HOUR) for n in (3, 1, 2)]
        later = await _due(ports, world, START + 2 * DAY)
        assert await _ids(ports, START + DAY) == [one.id, two.id, three.id]
        assert await _ids(ports, START + DAY, limit=2) == [one.id, two.id]
        assert await _ids(ports, START + DAY, limit=2, exclude=[one.id]) == [two.id, three.id]
        assert await _ids(ports, START + DAY, exclude=[]) == [one.id, two.id, three.id]
        assert await _ids(ports, START + DAY, exclude=[one.id, two.id, three.id, later.id, uuid4()]) == []


@check("due")
async def what_is_not_due_is_not_locked(world: World) -> None:
    """No due row, a later one, a parked one, a deleted instance: None."""
    async with world.opened() as ports:
        plain = new(world)
        await create(ports, plain)
        later = await _due(ports, world, START + 2 * DAY)
        parked = await _due(ports, world, None, tick=TimerRetry(None, 0, 10, "", "x", START))
        gone = await _due(ports, world, START)
        async with ports.begin() as unit:
            await ports.instances.delete(unit, gone.id)
        for one in (plain, later, parked, gone):
            async with ports.begin() as unit:
                assert await ports.due.lock(unit, one.id, clock=START + DAY) is None
        assert await _ids(ports, START + DAY) == []
        assert await ports.due.retries(None, plain.id) is None
        assert await ports.due.retries(None, gone.id) is None
        assert list(await ports.due.retries(None, parked.id) or ()) == ["tick"]


@check("due")
async def there_is_one_due_row_at_most(world: World) -> None:
    """Setting replaces, clearing takes out, also what is not there."""
    async with world.opened() as ports:
        one = await _due(ports, world, START, tick=TimerRetry(START, 1))
        await _change(ports, one, SetDue(START + DAY))
        assert await _ids(ports, START) == []
        assert await ports.due.retries(None, one.id) == {}
        await _change(ports, one, ClearDue())
        await _change(ports, one, ClearDue())
        assert await _ids(ports, START + 9 * DAY) == []
        assert await ports.due.retries(None, one.id) is None
        await _change(ports, one, SetDue(START))
        assert await _ids(ports, START) == [one.id]


@check("due")
async def a_nudge_is_for_rejected_timers(world: World) -> None:
    """They are tried at the given time; others, and instances without tries or without due work, stay as they are."""
    async with world.opened() as ports:
        rejected = await _due(ports, world, START + DAY, tick=TimerRetry(START + DAY, 4, 0, "[]"))
        failing = await _due(ports, world, START + DAY, tick=TimerRetry(START + DAY, 0, 2, "", "x"))
        waiting = await _due(ports, world, START + DAY)
        parked = await _due(ports, world, None, tick=TimerRetry(None, 3, 10, "", "x", START))
        plain = new(world)
        await create(ports, plain)
        for one in (rejected, failing, waiting, parked, plain):
            await _change(ports, one, NudgeDue(START + MINUTE))
        assert await _ids(ports, START + MINUTE - _TICK) == []
        assert await _ids(ports, START + MINUTE) == [rejected.id]
        assert await ports.due.retries(None, rejected.id) == {"tick": TimerRetry(START + MINUTE, 4, 0, "[]")}
        assert await ports.due.retries(None, failing.id) == {"tick": TimerRetry(START + DAY, 0, 2, "", "x")}
        assert await ports.due.retries(None, parked.id) == {"tick": TimerRetry(None, 3, 10, "", "x", START)}
        assert await ports.due.retries(None, plain.id) is None


@check("due")
async def a_nudge_travels_with_a_move(world: World) -> None:
    """As part of the writes of an internal move."""
    async with world.opened() as ports:
        one = await _due(ports, world, START + DAY, tick=TimerRetry(START + DAY, 1, 0, "[]"))
        after = moved(one)
        await ports.writer.apply(None, [write(one, after, NudgeDue(START))])
        assert await _ids(ports, START) == [one.id]
        assert await ports.entries(one.id) == [entry(one), entry(after)]


@check("due")
async def what_is_parked_is_shown(world: World) -> None:
    """Longest parked first, up to the limit, with its reason; it is no longer claimed, what else is due still is."""
    async with world.opened() as ports:

        def failure(at: datetime, attempts: int) -> TimerRetry:
            return TimerRetry(None, 1, attempts, "", f"oh {attempts}", at)

        late = await _due(ports, world, None, tick=failure(START, 3))
        early = await _due(ports, world, None, tick=failure(ago(1), 10))
        half = await _due(ports, world, START + DAY, tick=failure(START + SECOND, 7))
        await _due(ports, world, START)
        shown = [
            Parked(early.id, "port", "one", "tick", ago(1), 10, "oh 10"),
            Parked(late.id, "port", "one", "tick", START, 3, "oh 3"),
            Parked(half.id, "port", "one", "tick", START + SECOND, 7, "oh 7"),
        ]
        assert [*await ports.due.parked(None, limit=10)] == shown
        assert [*await ports.due.parked(None, limit=2)] == shown[:2]
        assert half.id in await _ids(ports, START + DAY)
        assert await _ids(ports, START + DAY, limit=1, exclude=[half.id]) != [late.id]
        async with world.opened(f"{world.namespace}_b") as others:
            assert [*await others.due.parked(None, limit=10)] == []
            assert await _ids(others, START + DAY) == []


@check("due")
async def a_rollback_restores_due_work(world: World) -> None:
    """Also in a savepoint."""
    async with world.opened() as ports:
        one = await _due(ports, world, START, tick=TimerRetry(START, 1))
        with pytest.raises(ZeroDivisionError):
            async with ports.begin() as unit:
                await ports.due.write(unit, one, ClearDue())
                raise ZeroDivisionError
        async with ports.begin() as unit:
            with pytest.raises(ZeroDivisionError):
                async with unit.savepoint():
                    await ports.due.write(unit, one, SetDue(START + DAY))
                    raise ZeroDivisionError
        assert await ports.due.retries(None, one.id) == {"tick": TimerRetry(START, 1)}
        assert await _ids(ports, START) == [one.id]


@check("due", "concurrency")
async def a_claim_passes_over_what_others_hold(world: World) -> None:
    """It waits for nobody: neither for another sweep nor for who moves an instance."""
    async with world.opened() as ports:
        one, two, three = [await _due(ports, world, START + n * SECOND) for n in (1, 2, 3)]
        async with ports.begin() as mover:
            await ports.instances.lock(mover, two.id, clock=None)
            async with ports.begin() as sweep:
                first = await ports.due.claim(sweep, clock=START + DAY, limit=1, exclude=())
                assert [found.loaded.instance.id for found in first] == [one.id]
                async with ports.begin() as other:
                    second = await ports.due.claim(other, clock=START + DAY, limit=9, exclude=())
                    assert [found.loaded.instance.id for found in second] == [three.id]
                    for held in (one, two):
                        assert await ports.due.lock(other, held.id, clock=START + DAY) is None
                    assert await ports.due.lock(other, three.id, clock=START + DAY) is not None
        assert await _ids(ports, START + DAY) == [one.id, two.id, three.id]
