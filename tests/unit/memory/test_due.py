"""Does the in-memory due store give out what is due, once, and keep what was tried?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import attrs
import pytest

from duraflow.errors import InstanceNotFound, InvalidArgument
from duraflow.memory import InMemoryPersistence
from duraflow.ports import DueInstance
from duraflow.results import Parked
from duraflow.runtime.drive import drive
from duraflow.writes import ClearDue, DueChange, NudgeDue, SetDue, TimerRetry
from tests.unit.memory.support import (
    DAY,
    START,
    Call,
    Open,
    begin,
    due_store,
    moved,
    new,
    read,
    started,
    stored,
    with_timer,
)

SECOND = DAY / 86_400


@pytest.fixture
def persistence() -> InMemoryPersistence:
    """One that serves, with the instances 1 to 4: due on days 3, 1, 1 and never."""
    made = started()
    stored(made, *(new(number) for number in range(1, 5)))
    for number, days in ((1, 3), (3, 1), (2, 1)):
        _write(made, number, SetDue(START + days * DAY))
    return made


def _write(
    persistence: InMemoryPersistence, number: int, change: DueChange, *timers: tuple[str, datetime]
) -> None:
    instance = new(number)
    for event, due_at in timers:
        instance = with_timer(instance, event, due_at)
    tx = begin(persistence)
    drive(due_store(persistence).write(tx.unit, instance, change))
    tx.commit()


def _claim(
    persistence: InMemoryPersistence, tx: Open, clock: datetime, limit: int = 10, exclude: Sequence[int] = ()
) -> list[int]:
    excluded = [UUID(int=number) for number in exclude]
    found = drive(due_store(persistence).claim(tx.unit, clock=clock, limit=limit, exclude=excluded))
    return [due.loaded.instance.id.int for due in found]


def _lock(persistence: InMemoryPersistence, tx: Open, number: int, clock: datetime) -> DueInstance | None:
    return drive(due_store(persistence).lock(tx.unit, UUID(int=number), clock=clock))


def _due_at(persistence: InMemoryPersistence, number: int) -> datetime:
    """The first second at which it is claimed."""
    row = persistence.database._tables.due[UUID(int=number)]
    assert row.due_at is not None
    return row.due_at


def test_what_is_due_is_claimed_earliest_first(persistence: InMemoryPersistence) -> None:
    """At or before now, by (due_at, id)."""
    tx = begin(persistence)
    assert _claim(persistence, tx, START + DAY - SECOND) == []
    assert _claim(persistence, tx, START + DAY) == [2, 3]
    assert _claim(persistence, tx, START + 3 * DAY) == [2, 3, 1]
    assert _claim(persistence, tx, START + 3 * DAY, limit=1) == [2]
    assert _claim(persistence, tx, START + 3 * DAY, limit=0) == []
    assert _claim(persistence, tx, START + 3 * DAY, exclude=[2]) == [3, 1]


def test_a_claim_is_the_whole_instance() -> None:
    """With its time, and with what is known of earlier tries."""
    persistence = started()
    instance = new(1, updated_at=START + 2 * DAY)
    stored(persistence, instance)
    retries = {"remind": TimerRetry(START + DAY, 2, 1, '["x"]', "oops")}
    _write(persistence, 1, SetDue(START + DAY, retries))
    tx = begin(persistence)
    [due] = drive(due_store(persistence).claim(tx.unit, clock=START + DAY, limit=1, exclude=[]))
    assert (due.loaded.instance, due.loaded.now, due.retries) == (instance, START + 2 * DAY, retries)
    assert _lock(persistence, tx, 1, START + DAY) == due


def test_two_sweeps_never_wait_and_never_share(persistence: InMemoryPersistence) -> None:
    """What another transaction holds is passed over, whether claimed or locked."""
    first, second, third = (begin(persistence) for _ in range(3))
    assert _claim(persistence, first, START + 3 * DAY, limit=1) == [2]
    drive(persistence.instances.lock(third.unit, UUID(int=1), clock=None))
    assert _claim(persistence, second, START + 3 * DAY) == [3]
    first.commit()
    third.roll_back()
    assert _claim(persistence, second, START + 3 * DAY) == [2, 3, 1]


def test_a_claim_holds_the_instance(persistence: InMemoryPersistence) -> None:
    """Others that want it wait, until the sweep's transaction ends."""
    tx, other = begin(persistence), begin(persistence)
    assert _claim(persistence, tx, START + DAY) == [2, 3]
    call = Call(persistence.instances.lock(other.unit, UUID(int=2), clock=None))
    assert call.waiting
    tx.commit()
    assert call.result() is not None


def test_what_is_passed_over_is_not_locked(persistence: InMemoryPersistence) -> None:
    """Neither what was excluded, nor what is beyond the limit, nor what is not due yet."""
    tx, other = begin(persistence), begin(persistence)
    assert _claim(persistence, tx, START + DAY, limit=1, exclude=[2]) == [3]
    assert _lock(persistence, tx, 1, START + DAY) is None
    for number in (1, 2, 4):
        lock = persistence.instances.lock(other.unit, UUID(int=number), clock=None, skip_locked=True)
        assert drive(lock) is not None


def test_locking_again_checks_again(persistence: InMemoryPersistence) -> None:
    """None when nothing is due (any more), when it is gone, and when someone else holds it."""
    tx, other = begin(persistence), begin(persistence)
    found = _lock(persistence, tx, 2, START + DAY)
    assert found is not None
    assert found.loaded.instance == new(2)
    assert _lock(persistence, other, 2, START + DAY) is None
    assert _lock(persistence, tx, 1, START + 3 * DAY - SECOND) is None
    assert _lock(persistence, tx, 1, START + 3 * DAY) is not None
    assert _lock(persistence, tx, 4, START + 9 * DAY) is None
    assert _lock(persistence, tx, 9, START + 9 * DAY) is None
    drive(due_store(persistence).write(tx.unit, new(2), ClearDue()))
    assert _lock(persistence, tx, 2, START + DAY) is None
    tx.commit()
    assert _lock(persistence, other, 2, START + DAY) is None


def test_a_transaction_claims_what_it_set_itself(persistence: InMemoryPersistence) -> None:
    """Its own due rows count, those it cleared or moved do not; others see none of it."""
    tx, other = begin(persistence), begin(persistence)
    due = due_store(persistence)
    drive(due.write(tx.unit, new(4), SetDue(START)))
    drive(due.write(tx.unit, new(2), ClearDue()))
    drive(due.write(tx.unit, new(3), SetDue(START + 2 * DAY)))
    assert _claim(persistence, tx, START + DAY) == [4]
    assert _claim(persistence, tx, START + 3 * DAY) == [4, 3, 1]
    tx.roll_back()
    assert _claim(persistence, other, START + 3 * DAY) == [2, 3, 1]


def test_the_store_has_a_clock_of_its_own() -> None:
    """Used when none is given."""

    @attrs.define
    class Clock:
        time: datetime

        def now(self) -> datetime:
            return self.time

    clock = Clock(START)
    persistence = started(clock=clock)
    stored(persistence, new(1))
    _write(persistence, 1, SetDue(START + DAY))
    tx = begin(persistence)
    due = due_store(persistence)
    assert list(drive(due.claim(tx.unit, clock=None, limit=1, exclude=[]))) == []
    clock.time = START + DAY
    assert drive(due.lock(tx.unit, UUID(int=1), clock=None)) is not None
    assert len(drive(due.claim(tx.unit, clock=None, limit=1, exclude=[]))) == 1


def test_namespaces_have_their_own_due_work(persistence: InMemoryPersistence) -> None:
    """Neither claimed, locked nor read from another namespace."""
    other = started(namespace="b", database=persistence.database)
    tx = begin(other)
    assert _claim(other, tx, START + 9 * DAY) == []
    assert _lock(other, tx, 1, START + 9 * DAY) is None
    assert drive(due_store(other).retries(None, UUID(int=1))) is None
    assert list(drive(due_store(other).parked(None, limit=9))) == []


def test_a_deletion_takes_due_work_along(persistence: InMemoryPersistence) -> None:
    """There is nothing left to claim."""
    tx = begin(persistence)
    drive(persistence.instances.delete(tx.unit, UUID(int=2)))
    assert _claim(persistence, tx, START + DAY) == [3]
    tx.commit()
    assert drive(due_store(persistence).retries(None, UUID(int=2))) is None
    assert _claim(persistence, begin(persistence), START + DAY) == [3]


def test_there_is_no_due_work_without_an_instance(persistence: InMemoryPersistence) -> None:
    """It could never be done."""
    tx = begin(persistence)
    with pytest.raises(InstanceNotFound):
        drive(due_store(persistence).write(tx.unit, new(9), SetDue(START)))
    drive(due_store(persistence).write(tx.unit, new(9), ClearDue()))
    drive(due_store(persistence).write(tx.unit, new(9), NudgeDue(START)))


def test_due_work_is_due_or_parked(persistence: InMemoryPersistence) -> None:
    """A row that says neither would never be seen again."""
    tx = begin(persistence)
    with pytest.raises(InvalidArgument, match="use ClearDue"):
        drive(due_store(persistence).write(tx.unit, new(1), SetDue(None)))


def test_retries_are_known_by_event(persistence: InMemoryPersistence) -> None:
    """Empty without earlier tries; None without a due row."""
    retries = {
        "remind": TimerRetry(START + DAY, 2, 0, '["x"]'),
        "close": TimerRetry(None, 0, 10, "", "oops", START),
    }
    _write(persistence, 4, SetDue(START + DAY, retries))
    due = due_store(persistence)
    assert drive(due.retries(None, UUID(int=4))) == retries
    assert drive(due.retries(None, UUID(int=1))) == {}
    assert drive(due.retries(None, UUID(int=9))) is None


# --- parked -----------------------------------------------------------------------------------------------------


def _given_up(at: datetime, failed: int = 10) -> TimerRetry:
    return TimerRetry(None, 0, failed, "", "oops", at)


def test_what_is_parked_is_listed_and_not_claimed(persistence: InMemoryPersistence) -> None:
    """Longest parked first, with what a person needs to know; of several timers the one parked first."""
    tx = begin(persistence)
    assert drive(persistence.instances.save(tx.unit, moved(new(1), state="sent"), expected=new(1)))
    tx.commit()
    _write(persistence, 1, SetDue(None, {"remind": _given_up(START + DAY, 7)}))
    _write(persistence, 2, SetDue(None, {"close": _given_up(START + DAY), "remind": _given_up(START)}))
    _write(persistence, 3, SetDue(START + DAY, {"close": _given_up(START + DAY)}))
    other = started(namespace="b", database=persistence.database)
    stored(other, new(9, namespace="b"))
    elsewhere = begin(other)
    earlier = SetDue(None, {"remind": _given_up(START - DAY)})
    drive(due_store(other).write(elsewhere.unit, new(9, namespace="b"), earlier))
    elsewhere.commit()
    due = due_store(persistence)
    everything = [
        Parked(UUID(int=2), "fine", "created", "remind", START, 10, "oops"),
        Parked(UUID(int=1), "fine", "sent", "remind", START + DAY, 7, "oops"),
        Parked(UUID(int=3), "fine", "created", "close", START + DAY, 10, "oops"),
    ]
    assert list(drive(due.parked(None, limit=10))) == everything
    assert list(drive(due.parked(None, limit=1))) == everything[:1]
    assert _claim(persistence, begin(persistence), START + 9 * DAY) == [3]


def test_parked_work_can_be_armed_again(persistence: InMemoryPersistence) -> None:
    """Setting it anew takes it off the list."""
    due = due_store(persistence)
    _write(persistence, 1, SetDue(None, {"remind": _given_up(START)}))
    tx = begin(persistence)
    drive(due.write(tx.unit, new(1), SetDue(START + DAY)))
    assert list(drive(due.parked(tx.unit, limit=10))) == []
    assert len(drive(due.parked(None, limit=10))) == 1
    tx.commit()
    assert list(drive(due.parked(None, limit=10))) == []
    assert _claim(persistence, begin(persistence), START + DAY) == [1, 2, 3]


# --- nudging ----------------------------------------------------------------------------------------------------


def test_rejected_timers_are_tried_again_at_once(persistence: InMemoryPersistence) -> None:
    """Their next try is now; failed ones keep their time."""
    rejected, failed = (
        TimerRetry(START + 9 * DAY, 3, 0, '["x"]'),
        TimerRetry(START + 8 * DAY, 0, 2, "", "oops"),
    )
    _write(persistence, 1, SetDue(START + 8 * DAY, {"remind": rejected, "close": failed}))
    _write(persistence, 1, NudgeDue(START + 2 * DAY), ("remind", START), ("close", START))
    assert drive(due_store(persistence).retries(None, UUID(int=1))) == {
        "remind": attrs.evolve(rejected, next_at=START + 2 * DAY),
        "close": failed,
    }
    assert _due_at(persistence, 1) == START + 2 * DAY


@pytest.mark.parametrize(("armed", "expected"), [(1, 1), (2, 2), (3, 2)])
def test_a_nudge_counts_armed_timers_that_were_not_tried(
    persistence: InMemoryPersistence, armed: int, expected: int
) -> None:
    """The row is due with the earliest of all next tries."""
    rejected = TimerRetry(START + 9 * DAY, 1)
    _write(persistence, 1, SetDue(START + armed * DAY, {"remind": rejected}))
    _write(persistence, 1, NudgeDue(START + 2 * DAY), ("remind", START), ("close", START + armed * DAY))
    assert _due_at(persistence, 1) == START + expected * DAY


@pytest.mark.parametrize(
    "before",
    [
        SetDue(START + DAY),
        SetDue(START + DAY, {"remind": TimerRetry(START + DAY, 0, 2, "", "oops")}),
        SetDue(None, {"remind": _given_up(START)}),
        SetDue(START + DAY, {"remind": TimerRetry(START + DAY, 2), "close": _given_up(START)}),
    ],
    ids=["no retries", "failed only", "parked", "another one parked"],
)
def test_a_nudge_leaves_the_rest_alone(persistence: InMemoryPersistence, before: SetDue) -> None:
    """What was not rejected, and rows with something parked, stay as they are."""
    _write(persistence, 1, before)
    row = persistence.database._tables.due[UUID(int=1)]
    _write(persistence, 1, NudgeDue(START), ("remind", START))
    assert persistence.database._tables.due[UUID(int=1)] == row


def test_a_nudge_without_a_row_makes_none(persistence: InMemoryPersistence) -> None:
    """Nothing was due before it."""
    _write(persistence, 4, NudgeDue(START), ("remind", START))
    assert drive(due_store(persistence).retries(None, UUID(int=4))) is None
    assert read(persistence, 4) == new(4)
