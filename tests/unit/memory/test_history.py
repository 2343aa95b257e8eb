"""Does the in-memory history keep entries in order, and only add to them?"""

from __future__ import annotations

from uuid import UUID

import pytest

from duraflow.errors import ConcurrencyConflict, InstanceNotFound
from duraflow.instance import ArmedTimer, Blocker, Change, CommandResult
from duraflow.memory import InMemoryPersistence
from duraflow.ports import UnitOfWork
from duraflow.runtime.drive import drive
from tests.unit.memory.support import DAY, START, begin, entry, new, seqs, started, stored


@pytest.fixture
def persistence() -> InMemoryPersistence:
    """One that serves, with the instance 1 and five entries."""
    made = started()
    stored(made, new(1))
    tx = begin(made)
    drive(made.history.append(tx.unit, [entry(new(1, version=seq)) for seq in (2, 3)]))
    drive(made.history.append(tx.unit, [entry(new(1, version=4))]))
    tx.commit()
    return made


def _read(
    persistence: InMemoryPersistence,
    after: int,
    limit: int = 10,
    *,
    newest_first: bool = False,
    unit: UnitOfWork | None = None,
) -> list[int]:
    found = drive(
        persistence.history.read(unit, UUID(int=1), after=after, limit=limit, newest_first=newest_first)
    )
    return [one.seq for one in found]


def test_everything_comes_back(persistence: InMemoryPersistence) -> None:
    """Every field of an entry survives."""
    full = entry(
        new(1, version=5),
        status="failure",
        entered=False,
        transition_id=UUID(int=5),
        commands=(CommandResult("file", "failure", {"n": 1}, "late", "too late"), CommandResult("post")),
        blockers=(Blocker("early", "too early", {"days": 3}, "old_enough", "created.send"),),
        payload={"on": START},
        trigger={"by": "anna"},
        change=Change({"paid": 5}, ("owed",)),
        timers=(ArmedTimer("remind", START + DAY),),
        outcome="done",
        metadata={"tenant": "acme"},
    )
    tx = begin(persistence)
    drive(persistence.history.append(tx.unit, [full]))
    tx.commit()
    [found] = drive(persistence.history.read(None, UUID(int=1), after=4, limit=10, newest_first=False))
    assert found == full


@pytest.mark.parametrize("fresh", [0, 2])
def test_pages_go_forwards_and_backwards(persistence: InMemoryPersistence, fresh: int) -> None:
    """After a `seq` or, newest first, before it; 0 stands for the beginning or the end. Own entries join in."""
    tx = begin(persistence)
    last = 4 + fresh
    drive(persistence.history.append(tx.unit, [entry(new(1, version=seq)) for seq in range(5, last + 1)]))
    everything = list(range(1, last + 1))
    for after in range(1, last + 2):
        assert _read(persistence, after, unit=tx.unit) == everything[after:]
        expected = everything[: after - 1][::-1]
        assert _read(persistence, after, newest_first=True, unit=tx.unit) == expected
    assert _read(persistence, 0, unit=tx.unit) == everything
    assert _read(persistence, 0, newest_first=True, unit=tx.unit) == everything[::-1]
    assert _read(persistence, 1, 2, unit=tx.unit) == [2, 3]
    assert _read(persistence, 4, 2, newest_first=True, unit=tx.unit) == [3, 2]
    assert _read(persistence, 0, 0, unit=tx.unit) == []


@pytest.mark.parametrize("taken", [4, 5])
def test_an_entry_must_come_after_the_last_one(persistence: InMemoryPersistence, taken: int) -> None:
    """The second guard against lost updates: a taken `seq` is a conflict, and nothing of the call is written."""
    tx = begin(persistence)
    with pytest.raises(ConcurrencyConflict) as caught:
        drive(persistence.history.append(tx.unit, [entry(new(1, version=5)), entry(new(1, version=taken))]))
    assert (caught.value.instance_id, caught.value.expected_version) == (UUID(int=1), taken - 1)
    assert _read(persistence, 0, unit=tx.unit) == [1, 2, 3, 4]
    tx.commit()
    assert seqs(persistence) == [1, 2, 3, 4]


def test_there_is_no_history_without_an_instance(persistence: InMemoryPersistence) -> None:
    """Neither written nor read, in this namespace or another."""
    other = started(namespace="b", database=persistence.database)
    tx = begin(persistence)
    with pytest.raises(InstanceNotFound):
        drive(persistence.history.append(tx.unit, [entry(new(2))]))
    with pytest.raises(InstanceNotFound):
        drive(other.history.append(tx.unit, [entry(new(1, version=5))]))
    assert seqs(persistence, 2) == []
    assert seqs(other, 1) == []
