"""`Writer`: is each move written as a whole, with its own answer?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from uuid import UUID

import attrs
import pytest

from duraflow.errors import AlreadyExists
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import armed, create, entry, made, moved, new, write
from duraflow.testing.conformance.subject import DAY, World, check
from duraflow.writes import Applied, ClearDue, Failed, Lost, SetDue, TimerRetry, Writes


@check()
async def a_creation_and_a_move_are_applied(world: World) -> None:
    """Row and entries together, alone and in a transaction."""
    async with world.opened() as ports:
        one = new(world, ref="A1", context={"n": [1]}, metadata={"a": 1})
        assert await ports.writer.apply(None, [write(None, one)]) == [Applied()]
        two = moved(moved(one, state="two"), state="three", outcome="done", finished_at=START)
        writes = Writes(
            one, two, (entry(moved(one, state="two")), entry(two, from_state="two", outcome="done"))
        )
        assert [*await ports.writer.apply(None, [writes])] == [Applied()]
        assert await ports.read(one.id) == two
        assert await ports.entries(one.id) == [entry(one), *writes.entries]
        async with ports.begin() as unit:
            other = new(world)
            assert [*await ports.writer.apply(unit, [write(None, other)])] == [Applied()]
            after = moved(other, state="two")
            assert [*await ports.writer.apply(unit, [write(other, after)], last=True)] == [Applied()]
        assert await ports.read(other.id) == after
        assert len(await ports.entries(other.id)) == 2


@check()
async def nothing_to_write_is_nothing(world: World) -> None:
    """No writes, no answers."""
    async with world.opened() as ports:
        assert [*await ports.writer.apply(None, [])] == []
        async with ports.begin() as unit:
            assert [*await ports.writer.apply(unit, [], last=True)] == []


@check()
async def a_stale_move_is_lost(world: World) -> None:
    """Another version, another lease or no row: nothing is written, alone or in a transaction that goes on."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        leased = new(world, lease_token=UUID(int=5))
        await create(ports, leased)
        gone = new(world)
        stale = [
            write(attrs.evolve(one, version=4), attrs.evolve(one, version=5, state="two")),
            write(attrs.evolve(one, lease_token=UUID(int=1)), moved(one, state="two")),
            write(attrs.evolve(leased, lease_token=None), moved(leased, state="two", lease_token=None)),
            write(attrs.evolve(leased, lease_token=UUID(int=6)), moved(leased, state="two")),
            write(gone, moved(gone)),
        ]
        for lost in stale:
            assert [*await ports.writer.apply(None, [lost])] == [Lost()]
        async with ports.begin() as unit:
            for lost in stale:
                assert [*await ports.writer.apply(unit, [lost])] == [Lost()]
            assert [*await ports.writer.apply(unit, [write(one, moved(one))])] == [Applied()]
        assert await ports.read(one.id) == moved(one)
        assert await ports.entries(one.id) == [entry(one), entry(moved(one))]
        assert await ports.read(leased.id) == leased
        assert await ports.entries(leased.id) == [entry(leased)]
        assert await ports.read(gone.id) is None


@check()
async def each_of_a_batch_has_its_own_answer(world: World) -> None:
    """Without a transaction a lost or refused one stops no other; answers come in the order of the writes."""
    async with world.opened() as ports:
        one, two, three = await made(ports, world, 3)
        taken = new(world, ref="A1")
        await create(ports, taken)
        fresh = new(world, ref="A2")
        writes = [
            write(three, moved(three, state="two")),
            write(attrs.evolve(one, version=9), attrs.evolve(one, version=10, state="two")),
            write(None, new(world, ref="A1")),
            write(None, fresh),
            write(two, moved(two, state="two")),
        ]
        answers = [*await ports.writer.apply(None, writes)]
        assert [type(answer) for answer in answers] == [Applied, Lost, Failed, Applied, Applied]
        refusal = answers[2]
        assert isinstance(refusal, Failed)
        assert isinstance(refusal.error, AlreadyExists)
        assert str(refusal.error) == str(AlreadyExists("port", "A1", taken.id))
        assert await ports.read(one.id) == one
        for before in (two, three):
            assert await ports.read(before.id) == moved(before, state="two")
            assert len(await ports.entries(before.id)) == 2
        assert await ports.read(("port", "A2")) == fresh


@check()
async def in_a_transaction_a_refusal_undoes_all(world: World) -> None:
    """It is raised, or answered and then raised by the caller: in the end nothing of the batch is there."""
    async with world.opened() as ports:
        one, two = await made(ports, world, 2)
        with pytest.raises(AlreadyExists):
            async with ports.begin() as unit:
                answers = await ports.writer.apply(
                    unit, [write(one, moved(one)), write(None, new(world, id=two.id))], last=True
                )
                for answer in answers:
                    if isinstance(answer, Failed):
                        raise answer.error
        assert await ports.read(one.id) == one
        assert len(await ports.entries(one.id)) == 1


@check("due")
async def due_work_is_written_with_the_move(world: World) -> None:
    """Set, changed and cleared in the same write; a lost move leaves it as it was."""
    async with world.opened() as ports:
        one = armed(new(world), ("tick", START + DAY))
        retries = {"tick": TimerRetry(START + 2 * DAY, 3, 1, '["x"]', "oh")}
        assert [*await ports.writer.apply(None, [write(None, one, SetDue(START + DAY))])] == [Applied()]
        assert await ports.due.retries(None, one.id) == {}
        lost = write(attrs.evolve(one, version=7), attrs.evolve(one, version=8, timers=()), ClearDue())
        assert [*await ports.writer.apply(None, [lost])] == [Lost()]
        assert await ports.due.retries(None, one.id) == {}
        # No entries: only the due row changes.
        only_due = Writes(one, one, (), SetDue(START + 2 * DAY, retries))
        assert [*await ports.writer.apply(None, [only_due])] == [Applied()]
        assert await ports.due.retries(None, one.id) == retries
        assert await ports.read(one.id) == one
        assert await ports.entries(one.id) == [entry(one)]
        # A move without due work leaves it.
        two = moved(one)
        assert [*await ports.writer.apply(None, [write(one, two)])] == [Applied()]
        assert await ports.due.retries(None, one.id) == retries
        three = moved(two, timers=())
        assert [*await ports.writer.apply(None, [write(two, three, ClearDue())])] == [Applied()]
        assert await ports.due.retries(None, one.id) is None


@check("due")
async def a_stale_change_of_due_work_is_lost(world: World) -> None:
    """Also one that records nothing needs the row that was read."""
    async with world.opened() as ports:
        one = armed(new(world), ("tick", START + DAY))
        await ports.writer.apply(None, [write(None, one, SetDue(START + DAY))])
        stale = attrs.evolve(one, version=9)
        change = SetDue(START, {"tick": TimerRetry(START, 1)})
        assert [*await ports.writer.apply(None, [Writes(stale, stale, (), change)])] == [Lost()]
        async with ports.begin() as unit:
            assert [*await ports.writer.apply(unit, [Writes(stale, stale, (), change)])] == [Lost()]
        leased = attrs.evolve(one, lease_token=UUID(int=2))
        assert [*await ports.writer.apply(None, [Writes(leased, leased, (), ClearDue())])] == [Lost()]
        assert await ports.due.retries(None, one.id) == {}
