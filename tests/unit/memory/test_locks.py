"""Do transactions that want the same instance take turns, whatever they run in?"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from duraflow.errors import AlreadyExists, Misuse, StoreUnavailable
from duraflow.instance import Instance
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Loaded
from duraflow.runtime.drive import drive
from duraflow.runtime.waits import AsyncioWaits, BlockingWaits
from duraflow.writes import SetDue
from tests.unit.memory.support import (
    START,
    Call,
    Open,
    begin,
    due_store,
    entry,
    moved,
    new,
    read,
    started,
    stored,
)

ONE, TWO, THREE = UUID(int=1), UUID(int=2), UUID(int=3)


@pytest.fixture
def persistence() -> InMemoryPersistence:
    """One that serves, with the instances 1, 2 and 3."""
    made = started()
    stored(made, new(1, ref="A1"), new(2), new(3))
    return made


def _lock(persistence: InMemoryPersistence, tx: Open, key: UUID | tuple[str, str]) -> Call[Loaded | None]:
    return Call(persistence.instances.lock(tx.unit, key, clock=None))


def _free(persistence: InMemoryPersistence) -> bool:
    """Whether nobody holds or waits for anything."""
    locks = persistence.database.locks
    return not locks._held and not locks._waiting


@pytest.mark.parametrize("key", [ONE, ("fine", "A1")])
def test_the_second_waits_and_then_reads_afresh(
    persistence: InMemoryPersistence, key: UUID | tuple[str, str]
) -> None:
    """What the first one wrote is what the second one gets, by id and by ref."""
    first, second = begin(persistence), begin(persistence)
    assert not _lock(persistence, first, key).waiting
    call = _lock(persistence, second, key)
    assert call.waiting
    after = moved(new(1, ref="A1"), state="sent")
    assert drive(persistence.instances.save(first.unit, after, expected=new(1, ref="A1")))
    call.resume()
    assert call.waiting
    first.commit()
    loaded = call.result()
    assert loaded is not None
    assert loaded.instance == after


def test_a_lock_is_given_up_by_a_rollback_too(persistence: InMemoryPersistence) -> None:
    """The waiting one then sees the row as it was."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    call = _lock(persistence, second, ONE)
    first.roll_back()
    loaded = call.result()
    assert loaded is not None
    assert loaded.instance == new(1, ref="A1")


def test_readers_do_not_wait(persistence: InMemoryPersistence) -> None:
    """A plain read goes past a lock, alone and inside a transaction."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    assert read(persistence) == new(1, ref="A1")
    assert read(persistence, 1, second.unit) == new(1, ref="A1")


def test_what_is_gone_after_waiting_is_none(persistence: InMemoryPersistence) -> None:
    """The instance was deleted meanwhile."""
    first, second = begin(persistence), begin(persistence)
    assert drive(persistence.instances.delete(first.unit, ONE))
    call = _lock(persistence, second, ONE)
    assert call.waiting
    first.commit()
    assert call.result() is None


def test_what_is_not_there_is_not_waited_for(persistence: InMemoryPersistence) -> None:
    """None at once, also while someone creates it."""
    first, second = begin(persistence), begin(persistence)
    drive(persistence.instances.create(first.unit, new(4, ref="A4")))
    assert _lock(persistence, second, UUID(int=4)).result() is None
    assert _lock(persistence, second, ("fine", "A4")).result() is None


def test_locks_are_reentrant_and_taken_in_turn(persistence: InMemoryPersistence) -> None:
    """First come, first served; who has it already does not wait for itself."""
    first, second, third = (begin(persistence) for _ in range(3))
    _lock(persistence, first, ONE)
    assert not _lock(persistence, first, ONE).waiting
    calls = [_lock(persistence, tx, ONE) for tx in (second, third)]
    first.commit()
    for call in reversed(calls):
        call.resume()
    assert [call.waiting for call in calls] == [False, True]
    second.commit()
    calls[1].result()
    third.commit()
    assert _free(persistence)


def test_skip_locked_does_not_wait(persistence: InMemoryPersistence) -> None:
    """None when someone else has it; one's own is not skipped."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    lock = persistence.instances.lock
    assert drive(lock(second.unit, ONE, clock=None, skip_locked=True)) is None
    assert drive(lock(first.unit, ONE, clock=None, skip_locked=True)) is not None
    assert drive(lock(second.unit, TWO, clock=None, skip_locked=True)) is not None


_WRITES: dict[str, Callable[[InMemoryPersistence, Open], Any]] = {
    "save": lambda own, tx: own.instances.save(tx.unit, moved(new(1)), expected=new(1)),
    "delete": lambda own, tx: own.instances.delete(tx.unit, ONE),
    "append": lambda own, tx: own.history.append(tx.unit, [entry(new(1, version=2))]),
    "due": lambda own, tx: due_store(own).write(tx.unit, new(1), SetDue(START)),
}


@pytest.mark.parametrize("write", list(_WRITES))
def test_writers_wait_for_the_lock(persistence: InMemoryPersistence, write: str) -> None:
    """Nothing is written over a lock, and what is written holds one."""
    first, second, third = (begin(persistence) for _ in range(3))
    _lock(persistence, first, ONE)
    call: Call[Any] = Call(_WRITES[write](persistence, second))
    assert call.waiting
    first.commit()
    call.result()
    assert _lock(persistence, third, ONE).waiting


def test_a_save_that_waited_is_judged_by_what_it_finds(persistence: InMemoryPersistence) -> None:
    """The loser of two saves is told, and writes nothing."""
    before = new(1, ref="A1")
    first, second = begin(persistence), begin(persistence)
    assert drive(persistence.instances.save(first.unit, moved(before, state="mine"), expected=before))
    call = Call(persistence.instances.save(second.unit, moved(before, state="yours"), expected=before))
    first.commit()
    assert call.result() is False
    second.commit()
    assert read(persistence) == moved(before, state="mine")


def test_a_deletion_waits_for_the_children(persistence: InMemoryPersistence) -> None:
    """Their rows change too, so whoever holds one ends first, and its changes are kept."""
    child = new(4, parent_id=ONE)
    stored(persistence, child)
    first, second = begin(persistence), begin(persistence)
    assert drive(persistence.instances.save(first.unit, moved(child, state="sent"), expected=child))
    call = Call(persistence.instances.delete(second.unit, ONE))
    assert call.waiting
    first.commit()
    assert call.result()
    second.commit()
    assert read(persistence, 4) == moved(new(4), state="sent")


# --- creation ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rival", [new(4, ref="B"), new(5, ref="A4")], ids=["same id", "same ref"])
@pytest.mark.parametrize("outcome", ["commit", "roll_back"])
def test_a_second_creation_waits_for_the_first(
    persistence: InMemoryPersistence, rival: Instance, outcome: str
) -> None:
    """It fails when the first one commits, naming the one that is there, and succeeds when it does not."""
    first, second = begin(persistence), begin(persistence)
    drive(persistence.instances.create(first.unit, new(4, ref="A4")))
    call = Call(persistence.instances.create(second.unit, rival))
    assert call.waiting
    getattr(first, outcome)()
    if outcome == "commit":
        with pytest.raises(AlreadyExists) as caught:
            call.result()
        assert caught.value.instance_id == UUID(int=4)
    else:
        call.result()
        second.commit()
        assert read(persistence, rival.id.int) == rival


def test_a_ref_is_free_again_after_a_deletion_commits(persistence: InMemoryPersistence) -> None:
    """Until then a creation with that ref waits."""
    first, second = begin(persistence), begin(persistence)
    assert drive(persistence.instances.delete(first.unit, ONE))
    call = Call(persistence.instances.create(second.unit, new(5, ref="A1")))
    assert call.waiting
    first.commit()
    call.result()


def test_refs_of_other_workflows_and_namespaces_do_not_matter(persistence: InMemoryPersistence) -> None:
    """A ref is unique per namespace and workflow."""
    other = started(namespace="b", database=persistence.database)
    first = begin(persistence)
    drive(persistence.instances.create(first.unit, new(4, ref="X")))
    second = begin(persistence)
    assert not Call(persistence.instances.create(second.unit, new(5, ref="X", workflow="letter"))).waiting
    assert not Call(other.instances.create(second.unit, new(6, ref="X", namespace="b"))).waiting


def test_ids_are_unique_over_all_namespaces(persistence: InMemoryPersistence) -> None:
    """As in the table of PostgreSQL, whose primary key they are."""
    other = started(namespace="b", database=persistence.database)
    tx = begin(other)
    with pytest.raises(AlreadyExists) as caught:
        drive(other.instances.create(tx.unit, new(1, namespace="b", ref="A1")))
    assert (caught.value.ref, caught.value.instance_id) == (None, ONE)


def test_who_is_refused_holds_nothing_afterwards(persistence: InMemoryPersistence) -> None:
    """A creation that fails leaves the id and the ref to others, though its transaction goes on."""
    first, second = begin(persistence), begin(persistence)
    with pytest.raises(AlreadyExists):
        drive(persistence.instances.create(first.unit, new(4, ref="A1")))
    assert not Call(persistence.instances.create(second.unit, new(4, ref="A4"))).waiting
    assert not Call(persistence.instances.delete(second.unit, ONE)).waiting


# --- deadlocks --------------------------------------------------------------------------------------------------


def test_who_would_close_a_circle_is_told(persistence: InMemoryPersistence) -> None:
    """Of two transactions that want each other's instance one is refused, and may try again; the other goes on."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    _lock(persistence, second, TWO)
    call = _lock(persistence, first, TWO)
    with pytest.raises(StoreUnavailable, match="deadlock") as caught:
        _lock(persistence, second, ONE)
    assert (caught.value.outcome, caught.value.retryable) == ("not_written", True)
    second.roll_back()
    assert call.result() is not None
    first.commit()
    assert _free(persistence)


def test_longer_circles_are_found(persistence: InMemoryPersistence) -> None:
    """Also over a third transaction, and in whatever order they came to wait."""
    first, second, third = (begin(persistence) for _ in range(3))
    for tx, key in ((first, ONE), (second, TWO), (third, THREE)):
        _lock(persistence, tx, key)
    calls = [_lock(persistence, second, THREE), _lock(persistence, first, TWO)]
    assert [call.waiting for call in calls] == [True, True]
    with pytest.raises(StoreUnavailable, match="deadlock"):
        _lock(persistence, third, ONE)


def test_a_long_row_is_no_circle(persistence: InMemoryPersistence) -> None:
    """Waiting for someone who waits for someone is fine."""
    first, second, third = (begin(persistence) for _ in range(3))
    _lock(persistence, first, ONE)
    _lock(persistence, second, TWO)
    calls = [_lock(persistence, second, ONE), _lock(persistence, third, TWO)]
    assert [call.waiting for call in calls] == [True, True]
    first.commit()
    calls[0].result()
    second.commit()
    calls[1].result()


def test_a_circle_by_way_of_refs_is_found(persistence: InMemoryPersistence) -> None:
    """Creations wait for each other's refs, so they can lock each other out too."""
    first, second = begin(persistence), begin(persistence)
    drive(persistence.instances.create(first.unit, new(4, ref="X")))
    drive(persistence.instances.create(second.unit, new(5, ref="Y")))
    call = Call(persistence.instances.create(first.unit, new(6, ref="Y")))
    assert call.waiting
    with pytest.raises(StoreUnavailable, match="deadlock"):
        drive(persistence.instances.create(second.unit, new(7, ref="X")))


def test_a_transaction_used_twice_at_once_is_refused(persistence: InMemoryPersistence) -> None:
    """It can wait for one lock only, so the second task that uses it is told."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    _lock(persistence, first, TWO)
    call = _lock(persistence, second, ONE)
    assert call.waiting
    with pytest.raises(Misuse, match="used while it waits"):
        _lock(persistence, second, TWO)


def test_a_thread_that_would_wait_for_itself_is_told() -> None:
    """With the blocking runtime nobody else could ever end the other transaction."""
    persistence = started(BlockingWaits())
    stored(persistence, new(1))
    first, second = begin(persistence), begin(persistence)
    drive(persistence.instances.lock(first.unit, ONE, clock=None))
    with pytest.raises(Misuse, match="another open transaction of this thread"):
        drive(persistence.instances.lock(second.unit, ONE, clock=None))
    second.roll_back()
    first.commit()
    assert _free(persistence)


# --- cancellation -----------------------------------------------------------------------------------------------


def test_who_is_cancelled_while_waiting_leaves_the_queue(persistence: InMemoryPersistence) -> None:
    """The lock goes to the next one, and nothing is left over."""
    first, second, third = (begin(persistence) for _ in range(3))
    _lock(persistence, first, ONE)
    cancelled, waiting = _lock(persistence, second, ONE), _lock(persistence, third, ONE)
    cancelled.cancel()
    second.roll_back()
    first.commit()
    assert waiting.result() is not None
    third.commit()
    assert _free(persistence)


def test_who_is_cancelled_while_being_handed_the_lock_passes_it_on(persistence: InMemoryPersistence) -> None:
    """The lock was already its own when it was cancelled, before it could go on."""
    first, second, third = (begin(persistence) for _ in range(3))
    _lock(persistence, first, ONE)
    cancelled, waiting = _lock(persistence, second, ONE), _lock(persistence, third, ONE)
    first.commit()
    cancelled.cancel()
    assert waiting.result() is not None
    second.roll_back()
    third.commit()
    assert _free(persistence)


def test_a_transaction_may_go_on_after_a_cancelled_wait(persistence: InMemoryPersistence) -> None:
    """A timeout around one lock leaves the transaction usable."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    _lock(persistence, second, ONE).cancel()
    assert not _lock(persistence, second, TWO).waiting
    first.commit()
    assert not _lock(persistence, second, ONE).waiting
    second.commit()
    assert _free(persistence)


def test_a_forgotten_call_may_be_collected_at_any_moment(persistence: InMemoryPersistence) -> None:
    """Also in the middle of a statement of the same thread, which must not wait for itself."""
    first, second = begin(persistence), begin(persistence)
    _lock(persistence, first, ONE)
    forgotten = [_lock(persistence, second, ONE)]

    def forget() -> None:
        with persistence.database.mutex:
            forgotten.clear()

    thread = threading.Thread(target=forget, daemon=True)
    thread.start()
    thread.join(timeout=10)
    assert not thread.is_alive()
    second.roll_back()
    first.commit()
    assert _free(persistence)


# --- real threads, real tasks ------------------------------------------------------------------------------------


async def _add_one(persistence: InMemoryPersistence, key: UUID) -> None:
    async with persistence.transactions.begin() as unit:
        loaded = await persistence.instances.lock(unit, key, clock=None)
        assert loaded is not None
        before = loaded.instance
        after = moved(before, context={"n": before.context.get("n", 0) + 1})
        assert await persistence.instances.save(unit, after, expected=before)


async def _swap(
    persistence: InMemoryPersistence, first: UUID, second: UUID, pause: Callable[[], Any]
) -> None:
    """Move one from one instance to another, locking them in the given order; again after a deadlock."""
    while True:
        try:
            async with persistence.transactions.begin() as unit:
                for key, change in ((first, -1), (second, 1)):
                    loaded = await persistence.instances.lock(unit, key, clock=None)
                    assert loaded is not None
                    before = loaded.instance
                    context = {"n": before.context.get("n", 0) + change}
                    assert await persistence.instances.save(
                        unit, moved(before, context=context), expected=before
                    )
                    await pause()
        except StoreUnavailable as error:
            assert error.retryable  # noqa: PT017
        else:
            return


def _numbers(persistence: InMemoryPersistence) -> list[int]:
    found = [read(persistence, number) for number in (1, 2)]
    return [instance.context.get("n", 0) for instance in found if instance is not None]


def test_threads_take_turns() -> None:
    """No increment of many threads is lost."""
    persistence = started(BlockingWaits())
    stored(persistence, new(1), new(2))
    together = threading.Barrier(8)

    def work() -> None:
        together.wait()
        for _ in range(50):
            drive(_add_one(persistence, ONE))

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work) for _ in range(8)]:
            future.result(timeout=60)
    assert _numbers(persistence) == [400, 0]
    assert _free(persistence)


def test_threads_that_lock_in_opposite_order_all_finish() -> None:
    """Deadlocks are broken, and what was refused is tried again until it is done."""
    persistence = started(BlockingWaits())
    stored(persistence, new(1), new(2))
    together = threading.Barrier(4)

    async def pause() -> None:
        threading.Event().wait(0.0005)

    def work(first: UUID, second: UUID) -> None:
        together.wait()
        for _ in range(25):
            drive(_swap(persistence, first, second, pause))

    with ThreadPoolExecutor(4) as pool:
        orders = [(ONE, TWO), (TWO, ONE)] * 2
        for future in [pool.submit(work, *order) for order in orders]:
            future.result(timeout=60)
    assert _numbers(persistence) == [0, 0]
    found = read(persistence)
    assert found is not None
    assert found.version == 101
    assert _free(persistence)


def test_one_of_many_threads_creates() -> None:
    """The others learn who did."""
    persistence = started(BlockingWaits())
    together = threading.Barrier(8)

    async def create(number: int) -> None:
        async with persistence.transactions.begin() as unit:
            await persistence.instances.create(unit, new(number, ref="A1"))

    def work(number: int) -> UUID | None:
        together.wait()
        try:
            drive(create(number))
        except AlreadyExists as error:
            return error.instance_id
        return None

    with ThreadPoolExecutor(8) as pool:
        answers = [future.result(timeout=60) for future in [pool.submit(work, n) for n in range(1, 9)]]
    loaded = drive(persistence.instances.get(None, ("fine", "A1"), clock=None))
    assert loaded is not None
    assert sorted(answers, key=str) == [*[loaded.instance.id] * 7, None]


def test_tasks_take_turns() -> None:
    """No increment of many tasks is lost, though they pause while they hold the lock."""
    persistence = started(AsyncioWaits())
    stored(persistence, new(1), new(2))

    async def work() -> None:
        async with persistence.transactions.begin() as unit:
            loaded = await persistence.instances.lock(unit, ONE, clock=None)
            assert loaded is not None
            before = loaded.instance
            await asyncio.sleep(0)
            after = moved(before, context={"n": before.context.get("n", 0) + 1})
            assert await persistence.instances.save(unit, after, expected=before)

    async def main() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(*(work() for _ in range(200)))

    asyncio.run(main())
    assert _numbers(persistence) == [200, 0]
    assert _free(persistence)


def test_tasks_that_lock_in_opposite_order_all_finish() -> None:
    """Deadlocks are broken, and what was refused is tried again until it is done."""
    persistence = started(AsyncioWaits())
    stored(persistence, new(1), new(2))

    async def pause() -> None:
        await asyncio.sleep(0)

    async def main() -> None:
        async with asyncio.timeout(60):
            await asyncio.gather(
                *(_swap(persistence, *order, pause) for order in [(ONE, TWO), (TWO, ONE)] * 20)
            )

    asyncio.run(main())
    assert _numbers(persistence) == [0, 0]
    assert _free(persistence)


@pytest.mark.parametrize("turns", range(6))
def test_a_cancelled_task_leaks_nothing(turns: int) -> None:
    """Cancelled at any moment while it waits or is handed the lock, it leaves the lock to the next one."""
    persistence = started(AsyncioWaits())
    stored(persistence, new(1), new(2))

    async def main() -> None:
        release = asyncio.Event()

        async def hold() -> None:
            async with persistence.transactions.begin() as unit:
                await persistence.instances.lock(unit, ONE, clock=None)
                await release.wait()

        holder = asyncio.create_task(hold())
        await asyncio.sleep(0)
        victims = [asyncio.create_task(_add_one(persistence, ONE)) for _ in range(3)]
        survivor = asyncio.create_task(_add_one(persistence, ONE))
        await asyncio.sleep(0)
        release.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        for victim in victims:
            victim.cancel()
        async with asyncio.timeout(60):
            await survivor
            await holder
            results = await asyncio.gather(*victims, return_exceptions=True)
        done = sum(result is None for result in results)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results)
        assert _numbers(persistence) == [done + 1, 0]

    asyncio.run(main())
    assert _free(persistence)
