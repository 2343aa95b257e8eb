"""`HistoryStore`: is what happened kept as it was, in order?"""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest

from duraflow.errors import DuraflowError
from duraflow.instance import ArmedTimer, Blocker, Change, CommandResult
from duraflow.testing.clocks import START
from duraflow.testing.conformance.instances import CONTEXT
from duraflow.testing.conformance.made_up import create, entry, made, moved, new
from duraflow.testing.conformance.subject import DAY, World, check


@check()
async def an_entry_is_read_as_it_was_written(world: World) -> None:
    """Every field, the rare ones too, with every kind of value that the codec knows."""
    async with world.opened() as ports:
        instance = new(world, metadata={"team": ["a"]})
        await create(ports, instance)
        rich = entry(
            moved(instance, state="two"),
            status="failure",
            transition_id=UUID(int=4),
            commands=(
                CommandResult("a", data=CONTEXT),
                CommandResult("b", "error", code="KeyError", message="'x'"),
                CommandResult("c", "failure", code="no", message=""),
            ),
            payload=CONTEXT,
            trigger={"by": "anna", "deep": [1, {"x": None}]},
            change=Change({"a": CONTEXT, "b": None}, ("c", "d")),
            timers=(ArmedTimer("tick", START + DAY),),
            outcome="failed",
        )
        rejected = entry(
            moved(moved(instance)),
            kind="rejected",
            status="rejected",
            entered=False,
            blockers=(Blocker("too_low", "need 5", {"need": 5}, "covers", "x"), Blocker("b")),
            payload=[],
            timers=(),
        )
        plain = entry(moved(moved(moved(instance))), payload=False)
        async with ports.begin() as unit:
            await ports.history.append(unit, [rich, rejected])
            await ports.history.append(unit, [plain])
        assert await ports.entries(instance.id) == [entry(instance), rich, rejected, plain]


@check()
async def a_falsy_payload_is_not_none(world: World) -> None:
    """0, "", [] and {} come back as they are."""
    async with world.opened() as ports:
        (instance,) = await made(ports, world)
        falsy: list[Any] = [0, "", [], {}, False, None, 0.0]
        last = instance
        async with ports.begin() as unit:
            for value in falsy:
                last = moved(last)
                await ports.history.append(
                    unit, [entry(last, payload=value, commands=(CommandResult("c", data=value),))]
                )
        entries = (await ports.entries(instance.id))[1:]
        assert [(e.payload, e.commands[0].data) for e in entries] == [(v, v) for v in falsy]
        assert [type(e.payload) for e in entries] == [type(value) for value in falsy]


@check()
async def history_is_read_page_by_page(world: World) -> None:
    """From either end, beyond an entry, up to the limit."""
    async with world.opened() as ports:
        (instance,) = await made(ports, world)
        last = instance
        async with ports.begin() as unit:
            for _ in range(4):
                last = moved(last)
                await ports.history.append(unit, [entry(last)])

        async def seqs(after: int, limit: int, newest_first: bool) -> list[int]:
            found = await ports.history.read(
                None, instance.id, after=after, limit=limit, newest_first=newest_first
            )
            return [one.seq for one in found]

        assert await seqs(0, 2, False) == [1, 2]
        assert await seqs(2, 2, False) == [3, 4]
        assert await seqs(4, 2, False) == [5]
        assert await seqs(5, 2, False) == []
        assert await seqs(0, 2, True) == [5, 4]
        assert await seqs(4, 9, True) == [3, 2, 1]
        assert await seqs(1, 9, True) == []


@check()
async def who_has_no_history_has_none(world: World) -> None:
    """An unknown instance has no entries."""
    async with world.opened() as ports:
        assert await ports.entries(uuid4()) == []


@check()
async def a_seq_is_taken_once(world: World) -> None:
    """The second guard against lost updates: another entry with the same `seq` is refused."""
    async with world.opened() as ports:
        (instance,) = await made(ports, world)
        with pytest.raises(DuraflowError):
            async with ports.begin() as unit:
                await ports.history.append(unit, [entry(instance, event="$again")])
        assert await ports.entries(instance.id) == [entry(instance)]


@check()
async def entries_of_several_instances_are_kept_apart(world: World) -> None:
    """One call may add entries of many."""
    async with world.opened() as ports:
        one, two = await made(ports, world, 2)
        async with ports.begin() as unit:
            await ports.history.append(unit, [entry(moved(two)), entry(moved(one)), entry(moved(moved(two)))])
        assert [e.seq for e in await ports.entries(one.id)] == [1, 2]
        assert [e.seq for e in await ports.entries(two.id)] == [1, 2, 3]
