"""`InstanceStore`: is a row what was written, and only replaced by who read the one before?"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.errors import AlreadyExists
from duraflow.instance import Continuation
from duraflow.queries import InstanceQuery
from duraflow.results import StateCount
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import armed, create, entry, made, moved, new
from duraflow.testing.conformance.subject import DAY, MINUTE, SECOND, World, check

CONTEXT: dict[str, Any] = {
    "text": "größe 🙂",
    "number": 2**70,
    "fraction": 1.5,
    "small": 1e-7,
    "minus zero": -0.0,
    "nothing": None,
    "yes": True,
    "list": [1, [2, {"three": []}]],
    "day": date(2024, 2, 29),
    "time": datetime(2024, 1, 1, 12, tzinfo=UTC),
    "span": timedelta(days=1, microseconds=1),
    "amount": Decimal("1.50"),
    "id": UUID(int=7),
    "bytes": b"\x00\xff",
    "$": {"$": "user's own"},
    "": {},
}


@check()
async def an_instance_is_read_as_it_was_written(world: World) -> None:
    """Every field comes back, by id and by ref, also the rare ones."""
    async with world.opened() as ports:
        rich = attrs.evolve(
            armed(new(world), ("late", START + DAY), ("early", START + timedelta(microseconds=1))),
            ref="größe/1",
            context=CONTEXT,
            metadata={"team": "a", "tags": ["x", {"y": None}]},
            updated_at=START + MINUTE,
            entered_at=START + SECOND,
            lease_token=UUID(int=9),
            waiting_events=True,
        )
        ended = new(world, outcome="failed", finished_at=START, state="three")
        parted = new(
            world,
            parent_id=rich.id,
            root_id=rich.id,
            continuation=Continuation("go", {"n": [1]}, UUID(int=3), "states[one].transitions[0]"),
        )
        await create(ports, rich, ended, parted)
        for instance in (rich, ended, parted):
            assert await ports.read(instance.id) == instance
        assert await ports.read(("port", "größe/1")) == rich


@check()
async def what_does_not_exist_is_none(world: World) -> None:
    """Neither by id nor by ref, nor with the ref of another workflow."""
    async with world.opened() as ports:
        await create(ports, new(world, ref="A1"))
        assert await ports.read(uuid4()) is None
        assert await ports.read(("port", "A2")) is None
        assert await ports.read(("other port", "A1")) is None
        async with ports.begin() as unit:
            assert await ports.instances.lock(unit, uuid4(), clock=None) is None
            assert await ports.instances.lock(unit, ("port", "A2"), clock=None) is None


@check()
async def several_are_read_at_once(world: World) -> None:
    """By id and by ref; what does not exist is left out; none is none."""
    async with world.opened() as ports:
        one, two = new(world, ref="A1"), new(world)
        await create(ports, one, two)
        keys: list[Any] = [two.id, ("port", "A1"), uuid4(), ("port", "B")]
        found = await ports.instances.get_many(None, keys, clock=None)
        assert {key: loaded.instance for key, loaded in found.items()} == {keys[0]: two, keys[1]: one}
        assert await ports.instances.get_many(None, [], clock=None) == {}


@check()
async def values_are_copies(world: World) -> None:
    """Neither what was written nor what was read can reach the store by being changed."""
    async with world.opened() as ports:
        instance = new(world, context={"list": [1]})
        await create(ports, instance)
        instance.context["list"].append(2)
        first = await ports.read(instance.id)
        assert first.context == {"list": [1]}
        first.context["list"].append(3)
        first.context["new"] = 1
        assert (await ports.read(instance.id)).context == {"list": [1]}


@check()
async def a_namespace_sees_nothing_of_another(world: World) -> None:
    """The same ref can be used in each, and neither lists, counts, reads, saves nor deletes the other's."""
    async with world.opened() as ports, world.opened(f"{world.namespace}_b") as others:
        mine = new(world, ref="A1")
        theirs = attrs.evolve(new(world, ref="A1"), namespace=f"{world.namespace}_b")
        await create(ports, mine)
        await create(others, theirs)
        assert await ports.read(("port", "A1")) == mine
        assert await others.read(("port", "A1")) == theirs
        assert await ports.read(theirs.id) is None
        assert await ports.entries(theirs.id) == []
        assert await ports.instances.list(None, InstanceQuery(), limit=10, after=None) == [mine]
        assert await ports.instances.count(None, InstanceQuery()) == [StateCount("port", "one", True, 1)]
        async with ports.begin() as unit:
            assert await ports.instances.lock(unit, theirs.id, clock=None) is None
            assert not await ports.instances.delete(unit, theirs.id)
        assert await others.read(theirs.id) == theirs


@check()
async def an_id_is_taken_once(world: World) -> None:
    """A second creation is refused, and the first stays."""
    async with world.opened() as ports:
        (instance,) = await made(ports, world, context={"n": 1})
        with pytest.raises(AlreadyExists) as caught:
            await create(ports, attrs.evolve(instance, context={"n": 2}))
        assert (caught.value.workflow, caught.value.ref, caught.value.instance_id) == (
            "port",
            None,
            instance.id,
        )
        assert await ports.read(instance.id) == instance


@check()
async def a_ref_is_taken_once_per_workflow(world: World) -> None:
    """The error names who has it; another workflow may use it, and it is free again after a deletion."""
    async with world.opened() as ports:
        first = new(world, ref="A1")
        await create(ports, first)
        with pytest.raises(AlreadyExists) as caught:
            await create(ports, new(world, ref="A1"))
        assert (caught.value.workflow, caught.value.ref, caught.value.instance_id) == ("port", "A1", first.id)
        await create(ports, new(world, ref="A1", workflow="other port"), new(world), new(world))
        async with ports.begin() as unit:
            assert await ports.instances.delete(unit, first.id)
        again = new(world, ref="A1")
        await create(ports, again)
        assert await ports.read(("port", "A1")) == again


@check()
async def a_save_replaces_the_row(world: World) -> None:
    """All that may change in a life comes back changed, by the same ref."""
    async with world.opened() as ports:
        before = armed(new(world, ref="A1", context={"a": 1}), ("tick", START + DAY))
        await create(ports, before)
        after = moved(
            before,
            state="three",
            context={"b": [2]},
            timers=(),
            outcome="done",
            updated_at=START + MINUTE,
            entered_at=START + MINUTE,
            finished_at=START + MINUTE,
            waiting_events=True,
        )
        async with ports.begin() as unit:
            assert await ports.instances.save(unit, after, expected=before)
        assert await ports.read(("port", "A1")) == after


@check()
async def a_save_needs_the_row_that_was_read(world: World) -> None:
    """Another version, another lease token or no row at all: False, and nothing is written."""
    async with world.opened() as ports:
        (current,) = await made(ports, world)
        leased = new(world, lease_token=UUID(int=5))
        await create(ports, leased)
        stale = [
            (current, attrs.evolve(current, version=2)),
            (current, attrs.evolve(current, lease_token=UUID(int=5))),
            (leased, attrs.evolve(leased, lease_token=None)),
            (leased, attrs.evolve(leased, lease_token=UUID(int=6))),
            (leased, attrs.evolve(leased, version=0)),
            (new(world), new(world)),
        ]
        async with ports.begin() as unit:
            for row, expected in stale:
                assert not await ports.instances.save(unit, moved(row, state="two"), expected=expected)
        assert await ports.read(current.id) == current
        assert await ports.read(leased.id) == leased
        async with ports.begin() as unit:
            after = moved(leased, state="two", lease_token=None)
            assert await ports.instances.save(unit, after, expected=leased)
        assert await ports.read(leased.id) == after


@check()
async def a_step_has_one_time_that_never_goes_back(world: World) -> None:
    """`now` is the given clock, or the row's last change if that is later; by `get`, `get_many` and `lock` alike."""
    async with world.opened() as ports:
        (instance,) = await made(ports, world)
        cases = [(START + DAY, START + DAY), (START, START), (START - DAY, START)]
        for clock, expected in cases:
            loaded = await ports.instances.get(None, instance.id, clock=clock)
            assert (loaded.now, loaded.now.utcoffset()) == (expected, timedelta(0))
            many = await ports.instances.get_many(None, [instance.id], clock=clock)
            assert many[instance.id].now == expected
            async with ports.begin() as unit:
                assert (await ports.instances.lock(unit, instance.id, clock=clock)).now == expected


@check()
async def without_a_clock_it_is_the_stores_own_time(world: World) -> None:
    """Aware, in UTC, not earlier than any row."""
    async with world.opened() as ports:
        future = START + 365 * 400 * DAY
        past, ahead = new(world), new(world, updated_at=future)
        await create(ports, past, ahead)
        own = await ports.instances.now()
        assert own.utcoffset() == timedelta(0)
        now = (await ports.instances.get(None, past.id, clock=None)).now
        assert abs(now - own) < MINUTE
        assert now > START
        assert (await ports.instances.get(None, ahead.id, clock=None)).now == future


@check()
async def a_deleted_instance_takes_its_history_along(world: World) -> None:
    """True once, then False; children stay, and forget their parent."""
    async with world.opened() as ports:
        parent = new(world)
        child = new(world, parent_id=parent.id)
        await create(ports, parent, child)
        async with ports.begin() as unit:
            assert await ports.instances.delete(unit, parent.id)
            assert not await ports.instances.delete(unit, parent.id)
        assert await ports.read(parent.id) is None
        assert await ports.entries(parent.id) == []
        assert await ports.read(child.id) == attrs.evolve(child, parent_id=None)


@check()
async def a_list_is_in_order_and_stable_on_ties(world: World) -> None:
    """By creation, then by id; walking it by cursor gives each once, in either direction."""
    async with world.opened() as ports:
        at = [START, START + SECOND, START + SECOND, START + SECOND, START + DAY]
        every = [new(world, created_at=t, updated_at=START + DAY, entered_at=START + DAY) for t in at]
        await create(ports, *every)
        oldest_first = sorted(every, key=lambda one: (one.created_at, one.id))
        for query, expected in (
            (InstanceQuery(), oldest_first[::-1]),
            (InstanceQuery(oldest_first=True), oldest_first),
        ):
            assert await ports.instances.list(None, query, limit=10, after=None) == expected
            walked: list[Any] = []
            place = None
            while page := await ports.instances.list(None, query, limit=2, after=place):
                assert len(page) <= 2
                walked += page
                place = (page[-1].created_at, page[-1].id)
            assert walked == expected


def _queries() -> list[tuple[dict[str, Any], list[int]]]:
    return [
        ({}, [0, 1, 2, 3]),
        ({"workflow": "port"}, [0, 1, 2]),
        ({"workflow": "none"}, []),
        ({"states": ("two", "three")}, [1, 2]),
        ({"states": ()}, []),
        ({"open": True}, [0, 1, 3]),
        ({"open": False}, [2]),
        ({"outcomes": ("failed",)}, [2]),
        ({"outcomes": ("done", "cancelled")}, []),
        ({"metadata": {"team": "a"}}, [0, 1]),
        ({"metadata": {"team": "a", "n": 1}}, [1]),
        ({"metadata": {"tags": ["y"]}}, [1]),
        ({"metadata": {"deep": {"er": {}}}}, [2]),
        ({"metadata": {"n": True}}, []),
        ({"created": (START + SECOND, None)}, [1, 2, 3]),
        ({"created": (START, START + SECOND)}, [0]),
        ({"created": (None, START + SECOND)}, [0]),
        ({"updated": (START + DAY, None)}, [2, 3]),
        ({"entered": (START + MINUTE, START + DAY)}, [2]),
        ({"workflow": "port", "open": True, "metadata": {"team": "a"}, "states": ("one",)}, [0]),
    ]


@check()
async def a_query_means_the_same_everywhere(world: World) -> None:
    """Every part of a filter, in `list` and in `count`: ranges include their start and not their end."""
    async with world.opened() as ports:
        late = START + DAY
        every = [
            new(world, metadata={"team": "a"}),
            new(world, state="two", metadata={"team": "a", "n": 1, "tags": ["x", "y"]}, created_at=START + SECOND,
                entered_at=START + SECOND, updated_at=START + SECOND),
            new(world, state="three", outcome="failed", finished_at=late, metadata={"deep": {"er": {"x": 1}}},
                created_at=START + SECOND, updated_at=late, entered_at=START + MINUTE),
            new(world, workflow="other port", created_at=START + MINUTE, updated_at=late, entered_at=late),
        ]  # fmt: skip
        await create(ports, *every)
        for parts, expected in _queries():
            query = InstanceQuery(**parts)
            found = await ports.instances.list(None, query, limit=10, after=None)
            assert {one.id for one in found} == {every[index].id for index in expected}, parts
            counted = await ports.instances.count(None, query)
            assert sum(row.count for row in counted) == len(expected), parts
        assert sorted(await ports.instances.count(None, InstanceQuery()), key=str) == sorted(
            [
                StateCount("port", "one", True, 1),
                StateCount("port", "two", True, 1),
                StateCount("port", "three", False, 1),
                StateCount("other port", "one", True, 1),
            ],
            key=str,
        )


@check()
async def a_unit_reads_its_own_writes(world: World) -> None:
    """Rows, refs, lists, counts and history, before anything is committed."""
    async with world.opened() as ports, ports.begin() as unit:
        instance = new(world, ref="A1")
        await ports.instances.create(unit, instance)
        await ports.history.append(unit, [entry(instance)])
        after = moved(instance, state="two")
        assert await ports.instances.save(unit, after, expected=instance)
        await ports.history.append(unit, [entry(after)])
        assert await ports.read(instance.id, unit) == after
        assert await ports.read(("port", "A1"), unit) == after
        assert (await ports.instances.lock(unit, instance.id, clock=None)).instance == after
        assert await ports.instances.list(unit, InstanceQuery(states=("two",)), limit=5, after=None) == [
            after
        ]
        assert await ports.instances.count(unit, InstanceQuery()) == [StateCount("port", "two", True, 1)]
        assert [found.seq for found in await ports.entries(instance.id, unit)] == [1, 2]
        assert await ports.instances.delete(unit, instance.id)
        assert await ports.read(instance.id, unit) is None
