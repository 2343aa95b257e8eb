"""`changes`: is everything that happens told in one order, and nothing of it passed over, or twice?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs
import pytest

from duraflow.errors import InvalidArgument, Misuse
from duraflow.instance import HistoryEntry
from duraflow.ports import ChangeFeed, FeedEntry, FeedPosition
from duraflow.results import NewInstance
from duraflow.runtime.aio import AsyncRuntime
from duraflow.testing.conformance.subject import OTHER_WORKFLOW, WORKFLOW, World, check

_SOON = timedelta(milliseconds=20)


async def _all(runtime: AsyncRuntime, **options: Any) -> list[FeedEntry]:
    """All that is there to be read."""
    return [change async for change in runtime.changes(**options)]


async def _settled(world: World, runtime: AsyncRuntime, count: int, **options: Any) -> list[FeedEntry]:
    """The same when so many can be read: other transactions of a shared server may delay the feed."""
    found: list[FeedEntry] = []
    for _ in range(1_000):
        found = await _all(runtime, **options)
        if len(found) >= count:
            break
        await world.driver.waits.sleep(0.01)
    assert len(found) == count
    return found


def _keys(changes: list[FeedEntry]) -> list[tuple[UUID, int]]:
    return [(change.entry.instance_id, change.entry.seq) for change in changes]


def _feed_of(runtime: AsyncRuntime) -> ChangeFeed:
    """The port of this very runtime."""
    feed: ChangeFeed | None = runtime._engine.persistence.feed  # noqa: SLF001
    assert feed is not None
    return feed


@check("feed")
async def every_entry_comes_once_in_order(world: World) -> None:
    """With its workflow and ref, exactly as in the history; those of one instance by `seq`."""
    async with world.runtime(WORKFLOW, OTHER_WORKFLOW) as runtime:
        one = await runtime.create("port", {"n": 1}, ref="R1", metadata={"town": "Bari"})
        two = await runtime.create("other port")
        await runtime.fire(one.id, "go", trigger={"by": "anna"})
        await runtime.fire(two.id, "go")
        await runtime.fire(one.id, "go")
        found = await _settled(world, runtime, 5)
        assert _keys(found) == [(one.id, 1), (two.id, 1), (one.id, 2), (two.id, 2), (one.id, 3)]
        assert [(c.workflow, c.ref) for c in found[:2]] == [("port", "R1"), ("other port", None)]
        entries: dict[UUID, list[HistoryEntry]] = {}
        for change in found:
            entries.setdefault(change.entry.instance_id, []).append(change.entry)
        for instance_id, mine in entries.items():
            assert mine == [*await runtime.history(instance_id)]
        assert [change.position for change in found] == sorted(change.position for change in found)


@check("feed")
async def nothing_is_to_be_read_at_first(world: World) -> None:
    """An empty namespace is an empty feed, and another namespace's entries are not in it."""
    async with (
        world.runtime(WORKFLOW) as runtime,
        world.runtime(WORKFLOW, namespace=f"{world.namespace}_2") as other,
    ):
        assert await _all(runtime) == []
        await other.create("port")
        await _settled(world, other, 1)
        assert await _all(runtime) == []


@check("feed")
async def a_cursor_goes_on_after_its_entry(world: World) -> None:
    """In another runtime, too, wherever it was taken; at the end there is nothing."""
    async with world.runtime(WORKFLOW) as runtime:
        made = await runtime.create_many([NewInstance("port")] * 3)
        for instance in made:
            await runtime.fire(instance.id, "go")
        found = await _settled(world, runtime, 6)
    async with world.runtime(WORKFLOW) as later:
        for number, change in enumerate(found, 1):
            assert isinstance(change.cursor, str)
            assert await _all(later, after=change.cursor) == found[number:]


@check("feed")
async def what_is_written_together_is_read_together(world: World) -> None:
    """The entries of one transaction follow each other, by instance and `seq`."""
    async with world.runtime(WORKFLOW) as runtime:
        async with runtime.transaction() as tx:
            made = [await tx.create("port") for _ in range(3)]
            for instance in reversed(made):
                await tx.fire(instance.id, "go")
        found = await _settled(world, runtime, 6)
        assert _keys(found) == [(one, seq) for one in sorted(i.id for i in made) for seq in (1, 2)]
        assert len({change.position.position for change in found}) == 1


@check("feed")
async def only_one_workflow(world: World) -> None:
    """`workflow=` leaves out the others, by name or definition, however many lie between, also page after page."""
    async with world.runtime(WORKFLOW, OTHER_WORKFLOW) as runtime:
        await runtime.create_many([NewInstance("other port")] * 7)
        mine = await runtime.create("port")
        await runtime.create_many([NewInstance("other port")] * 7)
        found = await _settled(world, runtime, 1, workflow="port")
        assert _keys(found) == [(mine.id, 1)]
        await _settled(world, runtime, 15)
        assert await _all(runtime, workflow=WORKFLOW) == found
        assert await _all(runtime, workflow="port", after=found[0].cursor) == []
        assert len(await _all(runtime, workflow="other port", after=found[0].cursor)) == 7
        assert await _all(runtime, workflow="nobody's") == []


@check("feed")
async def pages_of_any_size_give_the_same(world: World) -> None:
    """The port's pages, put together, are the feed; the last one says that there is no more."""
    async with world.runtime(WORKFLOW, OTHER_WORKFLOW) as runtime:
        for _ in range(3):
            await runtime.create_many([NewInstance("port"), NewInstance("other port")])
        whole = await _settled(world, runtime, 6)
        feed = _feed_of(runtime)
        for workflow in (None, "port"):
            for limit in (1, 2, 5, 6, 7):
                after, found, more = None, list[FeedEntry](), True
                while more:
                    page = await feed.read(after, limit=limit, workflow=workflow)
                    assert len(page.entries) <= limit
                    after, more = page.reached or after, page.more
                    found += page.entries
                assert found == [c for c in whole if workflow in (None, c.workflow)]


@check("feed")
async def a_rolled_back_move_is_not_told(world: World) -> None:
    """Nor what a savepoint has undone."""
    async with world.runtime(WORKFLOW) as runtime:
        one = await runtime.create("port")
        with pytest.raises(ZeroDivisionError):
            async with runtime.transaction() as tx:
                await tx.fire(one.id, "go")
                raise ZeroDivisionError
        async with runtime.transaction() as tx:
            two = await tx.create("port")
            with pytest.raises(ZeroDivisionError):
                async with tx.transaction() as inner:
                    await inner.fire(one.id, "go")
                    raise ZeroDivisionError
        assert _keys(await _settled(world, runtime, 2)) == [(one.id, 1), (two.id, 1)]


@check("feed")
async def a_deleted_instance_is_gone_from_it(world: World) -> None:
    """And one that takes its id anew is told from its own beginning."""
    async with world.runtime(WORKFLOW) as runtime:
        one, two = await runtime.create_many([NewInstance("port")] * 2)
        cursor = (await _settled(world, runtime, 2))[-1].cursor
        await runtime.delete(one.id, force=True)
        assert _keys(await _settled(world, runtime, 1)) == [(two.id, 1)]
        await runtime.create("port", id=one.id)
        await runtime.fire(one.id, "go")
        assert _keys(await _settled(world, runtime, 2, after=cursor)) == [(one.id, 1), (one.id, 2)]


@check("feed", "concurrency")
async def an_open_transaction_is_not_passed_over(world: World) -> None:
    """What commits late comes after the cursor of whoever read before, together with all that it held back."""
    async with world.runtime(WORKFLOW) as runtime:
        early, late, third = await runtime.create_many([NewInstance("port")] * 3)
        before = await _settled(world, runtime, 3)
        async with runtime.transaction() as tx:
            await tx.fire(late.id, "go")
            await runtime.fire(early.id, "go")
            seen = await _all(runtime, after=before[-1].cursor)
            await runtime.fire(third.id, "go")
        cursor = (seen or before)[-1].cursor
        rest = await _settled(world, runtime, 3 - len(seen), after=cursor)
        assert {(late.id, 2), (early.id, 2), (third.id, 2)} == {*_keys(seen), *_keys(rest)}


@check("feed", "concurrency")
async def a_follower_gets_what_happens(world: World) -> None:
    """Waiting between, each entry once; it ends when it is left, and the runtime goes on."""
    async with world.runtime(WORKFLOW) as runtime:
        first = await runtime.create("port")
        reading, got = world.signal(), list[FeedEntry]()

        async def follow() -> None:
            async with runtime.changes(follow=True, poll=_SOON) as changes:
                async for change in changes:
                    got.append(change)
                    reading.set()
                    if len(got) == 5:
                        break

        async def move() -> None:
            await reading.wait()
            for _ in range(2):
                await runtime.fire(first.id, "go")
                await world.driver.waits.sleep(0.05)
            await runtime.create_many([NewInstance("port")] * 2)

        await world.driver.together(follow, move)
        assert _keys(got) == _keys(await _settled(world, runtime, 5))


@check("feed", "concurrency")
async def a_follower_is_closed_from_elsewhere(world: World) -> None:
    """It ends within `poll`, without an error, and stays closed."""
    async with world.runtime(WORKFLOW) as runtime:
        changes = runtime.changes(follow=True, poll=_SOON)

        async def follow() -> int:
            return len([change async for change in changes])

        async def close() -> int:
            await world.driver.waits.sleep(0.1)
            await changes.aclose()
            return 0

        assert await world.driver.together(follow, close) == [0, 0]
        await runtime.create("port")
        await _settled(world, runtime, 1)
        assert [change async for change in changes] == []


@check("feed")
async def left_in_the_middle_it_can_be_gone_on_with(world: World) -> None:
    """The same iterator after a `break`; closed, it is at its end, with entries read ahead or not."""
    async with world.runtime(WORKFLOW) as runtime:
        await runtime.create_many([NewInstance("port")] * 4)
        whole = await _settled(world, runtime, 4)
        async with runtime.changes() as changes:
            found = []
            async for change in changes:
                found.append(change)
                break
            found.append(await anext(changes))
            assert found == whole[:2]
        with pytest.raises(StopAsyncIteration):
            await anext(changes)
        await changes.aclose()


@check("feed")
async def from_now_on(world: World) -> None:
    """`after="now"` leaves out what is there; the end is a place like any other, after which what follows comes."""
    async with world.runtime(WORKFLOW) as runtime:
        one = await runtime.create("port")
        await _settled(world, runtime, 1)
        assert await _all(runtime, after="now") == []
        end = await _feed_of(runtime).end()
        await runtime.fire(one.id, "go")
        assert _keys(await _settled(world, runtime, 1, after=end.text)) == [(one.id, 2)]


@check("feed")
async def what_cannot_be_used_is_refused_at_once(world: World) -> None:
    """Before any I/O: no cursor of a feed, no waiting time, no name."""
    async with world.runtime(WORKFLOW) as runtime:
        cursor = FeedPosition(7, UUID(int=1), 3).text
        for after in ("", "x", cursor[:-2], cursor + "A", f" {cursor}", "MS8yLzM=", 7, "ä"):
            with pytest.raises(InvalidArgument, match="no cursor of a feed"):
                runtime.changes(after=after)  # type: ignore[arg-type]
        for poll in (timedelta(0), timedelta(days=2), 1):
            with pytest.raises(InvalidArgument, match="poll"):
                runtime.changes(poll=poll)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="workflow"):
            runtime.changes(workflow=7)  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="follow"):
            runtime.changes(follow="yes")  # type: ignore[arg-type]
        assert attrs.astuple(FeedPosition.from_text(cursor)) == (7, UUID(int=1), 3)
    with pytest.raises(Misuse, match="not started"):
        runtime.changes()


@check("feed")
async def a_cursor_from_another_world_is_found_out(world: World) -> None:
    """One that lies ahead of all that was ever counted would wait for ever: it is an error that says why."""
    async with world.runtime(WORKFLOW) as runtime:
        await runtime.create("port")
        ahead = FeedPosition(2**62, UUID(int=1), 1).text
        for follow in (False, True):
            with pytest.raises(InvalidArgument, match="ahead"):
                await anext(runtime.changes(after=ahead, follow=follow, poll=_SOON))
