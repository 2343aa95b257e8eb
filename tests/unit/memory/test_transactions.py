"""Do in-memory transactions commit, roll back, nest and isolate?"""

from __future__ import annotations

from enum import Enum
from typing import Any
from uuid import UUID

import pytest

from duraflow.codec import Codec, Limits
from duraflow.errors import InvalidArgument, Misuse, NotSupported
from duraflow.memory import InMemoryPersistence
from duraflow.ports import UnitOfWork
from duraflow.queries import InstanceQuery
from duraflow.runtime.drive import drive
from duraflow.runtime.waits import BlockingWaits
from duraflow.writes import ClearDue, SetDue
from tests.unit.memory.support import (
    DAY,
    START,
    Call,
    Part,
    begin,
    due_store,
    entry,
    lifecycle,
    moved,
    new,
    read,
    seqs,
    start,
    started,
    stored,
)


@pytest.fixture
def persistence() -> InMemoryPersistence:
    """One that serves, without rows."""
    return started()


def _save(persistence: InMemoryPersistence, unit: UnitOfWork, state: str, number: int = 1) -> None:
    before = read(persistence, number, unit)
    assert before is not None
    after = moved(before, state=state)
    assert drive(persistence.instances.save(unit, after, expected=before))
    drive(persistence.history.append(unit, [entry(after)]))


def test_a_commit_shows_everything_at_once(persistence: InMemoryPersistence) -> None:
    """Rows, refs, history and due work are seen by others after the commit, and not before."""
    due = due_store(persistence)
    instance = new(ref="A1")
    tx = begin(persistence)
    drive(persistence.instances.create(tx.unit, instance))
    drive(persistence.history.append(tx.unit, [entry(instance)]))
    drive(due.write(tx.unit, instance, SetDue(START)))
    assert read(persistence) is None
    assert drive(persistence.instances.get(None, ("fine", "A1"), clock=None)) is None
    assert seqs(persistence) == []
    assert drive(due.retries(None, instance.id)) is None
    tx.commit()
    assert read(persistence) == instance
    loaded = drive(persistence.instances.get(None, ("fine", "A1"), clock=None))
    assert loaded is not None
    assert loaded.instance == instance
    assert seqs(persistence) == [1]
    assert drive(due.retries(None, instance.id)) == {}


def test_a_rollback_restores_everything(persistence: InMemoryPersistence) -> None:
    """Creations, moves, deletions and due work of a transaction that rolls back have never been."""
    due = due_store(persistence)
    stored(persistence, new(1, ref="A1"), new(2, ref="A2"))
    first = begin(persistence)
    drive(due.write(first.unit, new(1), SetDue(START)))
    first.commit()
    tx = begin(persistence)
    _save(persistence, tx.unit, "sent", 1)
    drive(due.write(tx.unit, new(1), ClearDue()))
    assert drive(persistence.instances.delete(tx.unit, UUID(int=2)))
    drive(persistence.instances.create(tx.unit, new(3, ref="A2")))
    tx.roll_back()
    assert read(persistence, 1) == new(1, ref="A1")
    assert read(persistence, 2) == new(2, ref="A2")
    assert read(persistence, 3) is None
    assert (seqs(persistence, 1), seqs(persistence, 2)) == ([1], [1])
    assert drive(due.retries(None, UUID(int=1))) == {}
    assert drive(persistence.instances.get(None, ("fine", "A2"), clock=None)) is not None


def test_a_unit_sees_its_own_writes(persistence: InMemoryPersistence) -> None:
    """Inside a transaction all of its own changes show: in reads, by ref, in lists, counts and history."""
    stored(
        persistence, new(1), new(2, created_at=START + DAY, updated_at=START + DAY, entered_at=START + DAY)
    )
    tx = begin(persistence)
    _save(persistence, tx.unit, "sent")
    drive(persistence.instances.create(tx.unit, new(3, ref="A3", created_at=START + DAY / 2)))
    drive(persistence.instances.delete(tx.unit, UUID(int=2)))
    own = drive(persistence.instances.list(tx.unit, InstanceQuery(), limit=10, after=None))
    others = drive(persistence.instances.list(None, InstanceQuery(), limit=10, after=None))
    assert [(found.id.int, found.state) for found in own] == [(3, "created"), (1, "sent")]
    assert [(found.id.int, found.state) for found in others] == [(2, "created"), (1, "created")]
    assert drive(persistence.instances.get(tx.unit, ("fine", "A3"), clock=None)) is not None
    assert {
        (row.state, row.count) for row in drive(persistence.instances.count(tx.unit, InstanceQuery()))
    } == {
        ("created", 1),
        ("sent", 1),
    }
    assert (seqs(persistence, 1, tx.unit), seqs(persistence, 1)) == ([1, 2], [1])
    assert (seqs(persistence, 2, tx.unit), seqs(persistence, 2)) == ([], [1])


def test_a_unit_sees_what_others_commit_meanwhile(persistence: InMemoryPersistence) -> None:
    """READ COMMITTED: every statement sees the latest committed rows."""
    stored(persistence, new(1))
    reader, writer = begin(persistence), begin(persistence)
    assert read(persistence, 1, reader.unit) == new(1)
    _save(persistence, writer.unit, "sent")
    seen = read(persistence, 1, reader.unit)
    assert seen is not None
    assert seen.state == "created"
    writer.commit()
    seen = read(persistence, 1, reader.unit)
    assert seen is not None
    assert seen.state == "sent"


def test_a_savepoint_undoes_its_part_only(persistence: InMemoryPersistence) -> None:
    """What was written inside a part that fails is gone, what was written before it stays."""
    stored(persistence, new(1))
    due = due_store(persistence)
    tx = begin(persistence)
    _save(persistence, tx.unit, "sent")
    drive(due.write(tx.unit, new(1), SetDue(START)))
    part = Part(tx.unit.savepoint())
    _save(persistence, tx.unit, "paid")
    drive(due.write(tx.unit, new(1), ClearDue()))
    drive(persistence.instances.create(tx.unit, new(2, ref="A2")))
    drive(persistence.instances.delete(tx.unit, UUID(int=1)))
    part.undo()
    tx.commit()
    seen = read(persistence)
    assert seen is not None
    assert (seen.state, seen.version, seqs(persistence)) == ("sent", 2, [1, 2])
    assert read(persistence, 2) is None
    assert drive(persistence.instances.get(None, ("fine", "A2"), clock=None)) is None
    assert drive(due.retries(None, UUID(int=1))) == {}


def test_savepoints_nest(persistence: InMemoryPersistence) -> None:
    """An outer savepoint undoes also what an inner one had kept."""
    stored(persistence, new(1))
    tx = begin(persistence)
    outer = Part(tx.unit.savepoint())
    kept = Part(tx.unit.savepoint())
    _save(persistence, tx.unit, "sent")
    kept.keep()
    undone = Part(tx.unit.savepoint())
    _save(persistence, tx.unit, "paid")
    undone.undo()
    seen = read(persistence, 1, tx.unit)
    assert seen is not None
    assert seen.state == "sent"
    outer.undo()
    tx.commit()
    assert read(persistence) == new(1)
    assert seqs(persistence) == [1]


def test_exceptions_go_on(persistence: InMemoryPersistence) -> None:
    """Neither a savepoint nor a transaction swallows what leaves it."""

    async def work() -> None:
        async with persistence.transactions.begin() as unit, unit.savepoint():
            await persistence.instances.create(unit, new(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        drive(work())
    assert read(persistence) is None


def test_a_savepoint_that_fails_gives_up_its_locks(persistence: InMemoryPersistence) -> None:
    """As in PostgreSQL: locks taken inside are released, those taken before are kept."""
    stored(persistence, new(1), new(2))
    tx, other = begin(persistence), begin(persistence)
    drive(persistence.instances.lock(tx.unit, UUID(int=1), clock=None))
    part = Part(tx.unit.savepoint())
    drive(persistence.instances.lock(tx.unit, UUID(int=1), clock=None))
    drive(persistence.instances.lock(tx.unit, UUID(int=2), clock=None))
    part.undo()
    taken = [
        drive(persistence.instances.lock(other.unit, UUID(int=number), clock=None, skip_locked=True))
        is not None
        for number in (1, 2)
    ]
    assert taken == [False, True]


def test_a_savepoint_that_succeeds_keeps_its_locks(persistence: InMemoryPersistence) -> None:
    """They are held until the transaction ends."""
    stored(persistence, new(1))
    tx, other = begin(persistence), begin(persistence)
    part = Part(tx.unit.savepoint())
    drive(persistence.instances.lock(tx.unit, UUID(int=1), clock=None))
    part.keep()
    assert drive(persistence.instances.lock(other.unit, UUID(int=1), clock=None, skip_locked=True)) is None


def test_deleted_and_created_again_in_one_transaction_starts_afresh(persistence: InMemoryPersistence) -> None:
    """The new one has only its own history, and stands where it was created."""
    stored(persistence, new(1, ref="A1"), new(2, created_at=START + DAY))
    later = START + 2 * DAY
    again = new(1, ref="A1", created_at=later, updated_at=later, entered_at=later)
    tx = begin(persistence)
    drive(persistence.instances.delete(tx.unit, UUID(int=1)))
    drive(persistence.instances.create(tx.unit, again))
    drive(persistence.history.append(tx.unit, [entry(again, event="again")]))
    tx.commit()
    entries = drive(persistence.history.read(None, again.id, after=0, limit=10, newest_first=False))
    assert entries == [entry(again, event="again")]
    listed = drive(persistence.instances.list(None, InstanceQuery(), limit=10, after=None))
    assert [found.id.int for found in listed] == [1, 2]


@pytest.mark.parametrize("end", ["commit", "roll_back"])
def test_a_unit_is_of_no_use_after_its_end(persistence: InMemoryPersistence, end: str) -> None:
    """Reads, writes and savepoints with an ended unit are refused."""
    stored(persistence, new(1))
    tx = begin(persistence)
    getattr(tx, end)()
    with pytest.raises(Misuse, match="has ended"):
        read(persistence, 1, tx.unit)
    with pytest.raises(Misuse, match="has ended"):
        drive(persistence.instances.save(tx.unit, moved(new(1)), expected=new(1)))
    with pytest.raises(Misuse, match="has ended"):
        drive(tx.unit.savepoint().__aenter__())


def test_a_unit_of_another_database_is_refused(persistence: InMemoryPersistence) -> None:
    """It would write where nobody looks."""
    elsewhere = begin(started())
    with pytest.raises(Misuse, match="another in-memory database"):
        drive(persistence.instances.create(elsewhere.unit, new(1)))


def test_a_unit_of_another_store_is_refused(persistence: InMemoryPersistence) -> None:
    """Only the units of the in-memory stores hold what is needed."""
    unit: Any = object()
    with pytest.raises(InvalidArgument, match="no unit of work of an in-memory persistence"):
        read(persistence, 1, unit)


def test_a_unit_spans_the_namespaces_of_its_database(persistence: InMemoryPersistence) -> None:
    """One transaction may write to several, all or nothing."""
    other = started(namespace="b", database=persistence.database)
    tx = begin(persistence)
    drive(persistence.instances.create(tx.unit, new(1)))
    drive(other.instances.create(tx.unit, new(2, namespace="b")))
    assert (read(persistence, 1), read(other, 2)) == (None, None)
    tx.commit()
    assert (read(persistence, 1), read(other, 2)) == (new(1), new(2, namespace="b"))


def test_there_is_no_connection(persistence: InMemoryPersistence) -> None:
    """The error names resources as the remedy."""
    tx = begin(persistence)
    with pytest.raises(NotSupported, match=r"use a resource in its place: `Runtime\(resources="):
        _ = tx.unit.connection


def test_there_is_nothing_to_join(persistence: InMemoryPersistence) -> None:
    """Neither a connection nor an open unit can be joined."""
    for connection in (object(), begin(persistence).unit):
        with pytest.raises(InvalidArgument, match="no connection to join"):
            persistence.transactions.join(connection)


def test_nothing_works_before_start_or_after_close() -> None:
    """Every store says so, also when there would be nothing to find."""
    persistence = InMemoryPersistence()
    due = due_store(persistence)
    assert persistence.definitions is not None

    def refused() -> None:
        assert persistence.definitions is not None
        with pytest.raises(Misuse, match="not started"):
            persistence.transactions.begin()
        for call in (
            persistence.instances.get(None, UUID(int=1), clock=None),
            persistence.instances.get_many(None, [], clock=None),
            persistence.instances.list(None, InstanceQuery(), limit=1, after=None),
            persistence.instances.count(None, InstanceQuery()),
            persistence.instances.now(),
            persistence.history.read(None, UUID(int=1), after=0, limit=1, newest_first=False),
            due.retries(None, UUID(int=1)),
            due.parked(None, limit=1),
            persistence.definitions.register([]),
        ):
            with pytest.raises(Misuse, match="not started"):
                drive(call)

    refused()
    start(persistence)
    stored(persistence, new(1))
    drive(lifecycle(persistence).close())
    refused()
    start(persistence)
    assert read(persistence) == new(1)


def test_health_tells_whether_it_serves() -> None:
    """Problems are told, not raised."""
    persistence = InMemoryPersistence()
    before = drive(lifecycle(persistence).health())
    assert (before.ok, before.problem) == (False, "it is not started")
    start(persistence)
    after = drive(lifecycle(persistence).health())
    assert (after.ok, after.schema_fits, after.writable, after.problem) == (True, True, True, "")


def test_it_serves_several_runtimes_that_agree() -> None:
    """It closes with the last of them."""
    persistence = InMemoryPersistence()
    start(persistence)
    start(persistence)
    drive(lifecycle(persistence).close())
    assert read(persistence) is None
    drive(lifecycle(persistence).close())
    with pytest.raises(Misuse):
        read(persistence)


def test_it_refuses_a_runtime_that_reads_in_another_way() -> None:
    """With other types it could not read what the first one writes; of other threads or loops it must not wait."""
    colour = Enum("colour", ["RED"])
    persistence = started()
    for waits, codec in (
        (None, Codec(types=[colour])),
        (None, Codec(limits=Limits(max_depth=3))),
        (BlockingWaits(), Codec()),
    ):
        with pytest.raises(Misuse, match="already serves a runtime"):
            start(persistence, waits, codec)
    drive(lifecycle(persistence).close())
    start(persistence, BlockingWaits(), Codec(types=[colour]))


@pytest.mark.parametrize("first_ended", ["waiter", "holder"])
def test_a_call_that_waits_is_not_lost_with_its_transaction(
    persistence: InMemoryPersistence, first_ended: str
) -> None:
    """A transaction ended by someone else while it waits is told so, and keeps no lock."""
    stored(persistence, new(1))
    holder, waiter, third = begin(persistence), begin(persistence), begin(persistence)
    drive(persistence.instances.lock(holder.unit, UUID(int=1), clock=None))
    call = Call(persistence.instances.lock(waiter.unit, UUID(int=1), clock=None))
    for tx in (waiter, holder) if first_ended == "waiter" else (holder, waiter):
        tx.commit()
    with pytest.raises(Misuse, match="ended while it was still waiting"):
        call.result()
    assert (
        drive(persistence.instances.lock(third.unit, UUID(int=1), clock=None, skip_locked=True)) is not None
    )
