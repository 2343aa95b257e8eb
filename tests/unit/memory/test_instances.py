"""Does the in-memory instance store keep, find, list and count as its port says?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import attrs
import pytest

from duraflow.errors import InvalidArgument
from duraflow.instance import Continuation, HistoryEntry, Instance
from duraflow.memory import InMemoryPersistence
from duraflow.memory.tables import View
from duraflow.ports import UnitOfWork
from duraflow.queries import InstanceQuery
from duraflow.results import StateCount
from duraflow.runtime.drive import drive
from tests.unit.memory.support import (
    DAY,
    START,
    begin,
    entry,
    moved,
    new,
    read,
    seqs,
    started,
    stored,
    with_timer,
)


@pytest.fixture
def persistence() -> InMemoryPersistence:
    """One that serves, without rows."""
    return started()


def _listed(
    persistence: InMemoryPersistence, limit: int = 100, after: Instance | None = None, **query: Any
) -> list[int]:
    place = None if after is None else (after.created_at, after.id)
    found = drive(persistence.instances.list(None, InstanceQuery(**query), limit=limit, after=place))
    return [instance.id.int for instance in found]


def _at(number: int, days: float, **changes: Any) -> Instance:
    time = START + days * DAY
    return new(number, **{"created_at": time, "updated_at": time, "entered_at": time, **changes})


def test_everything_comes_back(persistence: InMemoryPersistence) -> None:
    """Every field of an instance survives, with values that JSON does not have."""
    instance = with_timer(
        new(
            ref="A1",
            outcome=None,
            context={"due": datetime(2024, 2, 29, tzinfo=UTC), "lines": [1, 2.5, {"id": UUID(int=7)}]},
            metadata={"tenant": "acme", "since": datetime(2024, 2, 29, tzinfo=UTC)},
            parent_id=UUID(int=8),
            root_id=UUID(int=9),
            lease_token=UUID(int=10),
            waiting_events=True,
            continuation=Continuation("pay", {"amount": 3}, UUID(int=11), "sent.pay"),
        ),
        "remind",
        START + DAY,
    )
    stored(persistence, instance)
    assert read(persistence) == instance


def test_copies_are_independent(persistence: InMemoryPersistence) -> None:
    """What goes in and what comes out can be changed by the caller without touching what is stored."""
    context: dict[str, list[Any]] = {"lines": [1, 2]}
    metadata: dict[str, list[Any]] = {"tags": ["a"]}
    payload: dict[str, list[Any]] = {"amounts": [5]}
    instance = new(context=context, metadata=metadata)
    tx = begin(persistence)
    drive(persistence.instances.create(tx.unit, instance))
    drive(persistence.history.append(tx.unit, [entry(instance, payload=payload)]))
    for own in (context["lines"], metadata["tags"], payload["amounts"]):
        own.append(99)
    inside = read(persistence, 1, tx.unit)
    assert inside is not None
    inside.context["lines"].append(98)
    tx.commit()
    found = read(persistence)
    assert found is not None
    assert (found.context, found.metadata) == ({"lines": [1, 2]}, {"tags": ["a"]})
    found.context["lines"].append(97)
    assert read(persistence) == new(context={"lines": [1, 2]}, metadata={"tags": ["a"]})
    for _ in range(2):
        [stored_entry] = drive(
            persistence.history.read(None, instance.id, after=0, limit=1, newest_first=False)
        )
        assert stored_entry.payload == {"amounts": [5]}
        stored_entry.payload["amounts"].append(96)


def test_times_are_utc(persistence: InMemoryPersistence) -> None:
    """Whatever zone they were given in."""
    there = START.astimezone(timezone(timedelta(hours=5, minutes=45)))
    stored(persistence, new(created_at=there, updated_at=there, entered_at=there))
    loaded = drive(persistence.instances.get(None, UUID(int=1), clock=there + DAY))
    assert loaded is not None
    times = [loaded.instance.created_at, loaded.instance.updated_at, loaded.instance.entered_at, loaded.now]
    assert [time.tzinfo for time in times] == [UTC] * 4
    assert times == [START, START, START, START + DAY]


@attrs.define
class _Clock:
    time: datetime

    def now(self) -> datetime:
        return self.time


def test_now_is_the_clock_but_never_before_the_last_update() -> None:
    """`greatest(clock, updated_at)`: the given clock, else the store's own."""
    clock = _Clock(START + 2 * DAY)
    persistence = started(clock=clock)
    stored(persistence, _at(1, 1))

    def now(given: datetime | None) -> datetime:
        loaded = drive(persistence.instances.get(None, UUID(int=1), clock=given))
        assert loaded is not None
        return loaded.now

    assert now(None) == START + 2 * DAY
    assert now(START + 3 * DAY) == START + 3 * DAY
    assert now(START) == START + DAY
    clock.time = START
    assert now(None) == START + DAY
    assert drive(persistence.instances.now()) == START


def test_without_a_clock_it_is_the_time_of_the_machine(persistence: InMemoryPersistence) -> None:
    """The default clock tells the real time in UTC."""
    before = datetime.now(UTC)
    now = drive(persistence.instances.now())
    assert before <= now <= datetime.now(UTC)
    assert now.tzinfo is UTC


def test_many_are_read_in_one_go(persistence: InMemoryPersistence) -> None:
    """By id and by ref, under the key that was asked for; what is not there is left out."""
    stored(persistence, new(1, ref="A1"), new(2))
    keys: list[UUID | tuple[str, str]] = [
        UUID(int=1),
        ("fine", "A1"),
        UUID(int=2),
        UUID(int=3),
        ("fine", "A2"),
    ]
    found = drive(persistence.instances.get_many(None, keys, clock=None))
    assert {key: loaded.instance for key, loaded in found.items()} == {
        UUID(int=1): new(1, ref="A1"),
        ("fine", "A1"): new(1, ref="A1"),
        UUID(int=2): new(2),
    }


def test_a_save_needs_the_version_and_the_lease(persistence: InMemoryPersistence) -> None:
    """Another version, another lease token or no row: False, and nothing is written."""
    held = new(1, lease_token=UUID(int=7))
    stored(persistence, held)
    tx = begin(persistence)

    def save(expected: Instance) -> bool:
        return drive(persistence.instances.save(tx.unit, moved(held, state="sent"), expected=expected))

    assert not save(attrs.evolve(held, version=2))
    assert not save(attrs.evolve(held, lease_token=None))
    assert not save(attrs.evolve(held, lease_token=UUID(int=8)))
    assert not drive(persistence.instances.save(tx.unit, moved(new(2)), expected=new(2)))
    assert read(persistence, 1, tx.unit) == held
    assert save(held)
    assert read(persistence, 1, tx.unit) == moved(held, state="sent")


def test_what_is_fixed_at_creation_stays(persistence: InMemoryPersistence) -> None:
    """A save changes neither ref, workflow, metadata, parents nor the time of creation."""
    first = new(1, ref="A1", metadata={"tenant": "acme"}, parent_id=UUID(int=8), root_id=UUID(int=9))
    stored(persistence, first)
    changed = attrs.evolve(
        moved(first, state="sent"),
        ref="A2",
        workflow="letter",
        metadata={},
        created_at=START + DAY,
        parent_id=None,
        root_id=None,
    )
    tx = begin(persistence)
    assert drive(persistence.instances.save(tx.unit, changed, expected=first))
    tx.commit()
    assert read(persistence) == moved(first, state="sent")


def test_a_deletion_takes_everything_along(persistence: InMemoryPersistence) -> None:
    """Row, ref and history; children forget their parent; a second deletion says that there is nothing."""
    stored(persistence, new(1, ref="A1"), new(2, parent_id=UUID(int=1), root_id=UUID(int=1)))
    tx = begin(persistence)
    drive(persistence.instances.create(tx.unit, new(3, parent_id=UUID(int=1))))
    drive(persistence.instances.create(tx.unit, new(4, parent_id=UUID(int=2))))
    assert drive(persistence.instances.delete(tx.unit, UUID(int=1)))
    assert not drive(persistence.instances.delete(tx.unit, UUID(int=1)))
    tx.commit()
    assert read(persistence, 1) is None
    assert seqs(persistence, 1) == []
    assert drive(persistence.instances.get(None, ("fine", "A1"), clock=None)) is None
    assert read(persistence, 2) == new(2, root_id=UUID(int=1))
    assert (read(persistence, 3), read(persistence, 4)) == (new(3), new(4, parent_id=UUID(int=2)))
    stored(persistence, new(1, ref="A1"))
    assert seqs(persistence, 1) == [1]


def test_namespaces_do_not_see_each_other(persistence: InMemoryPersistence) -> None:
    """Over one database each finds, lists, counts and changes its own only."""
    other = started(namespace="b", database=persistence.database)
    stored(persistence, new(1, ref="A1"))
    stored(other, new(2, namespace="b", ref="A1"))
    assert (read(other, 1), read(persistence, 2)) == (None, None)
    assert (_listed(persistence), _listed(other)) == ([1], [2])
    assert drive(other.instances.count(None, InstanceQuery())) == [StateCount("fine", "created", True, 1)]
    assert (seqs(other, 1), seqs(other, 2)) == ([], [1])
    found = drive(other.instances.get_many(None, [("fine", "A1")], clock=None))
    assert [loaded.instance.id.int for loaded in found.values()] == [2]
    tx = begin(other)
    assert drive(other.instances.lock(tx.unit, UUID(int=1), clock=None)) is None
    assert not drive(other.instances.delete(tx.unit, UUID(int=1)))
    assert not drive(other.instances.save(tx.unit, moved(new(1)), expected=new(1)))


def test_an_instance_of_another_namespace_is_refused(persistence: InMemoryPersistence) -> None:
    """It would be created where this store never finds it."""
    tx = begin(persistence)
    with pytest.raises(InvalidArgument, match="'b', and this store keeps 'default'"):
        drive(persistence.instances.create(tx.unit, new(1, namespace="b")))


def test_a_port_can_be_replaced(persistence: InMemoryPersistence) -> None:
    """With `attrs.evolve`; the other ports go on working together."""

    class Silent:
        async def append(self, unit: UnitOfWork, entries: Sequence[HistoryEntry], /) -> None:
            pass

        async def read(
            self, unit: UnitOfWork | None, instance_id: UUID, /, *, after: int, limit: int, newest_first: bool
        ) -> Sequence[HistoryEntry]:
            return []

    evolved = attrs.evolve(persistence, history=Silent())
    stored(evolved, new(1))
    assert read(evolved) == new(1)
    assert (seqs(evolved), seqs(persistence)) == ([], [])
    assert evolved.instances is persistence.instances


# --- list and count ----------------------------------------------------------------------------------------------


@pytest.fixture
def fines(persistence: InMemoryPersistence) -> InMemoryPersistence:
    """Five instances, one a day, in several states and workflows."""
    stored(
        persistence,
        _at(1, 0, metadata={"tenant": "acme", "tags": ["a", "b"], "address": {"city": "Rome", "zip": 1}}),
        _at(2, 1, state="sent", metadata={"tenant": "acme"}),
        _at(3, 2, state="paid", outcome="done", finished_at=START + 2 * DAY),
        _at(4, 3, state="paid", outcome="failed", finished_at=START + 3 * DAY),
        _at(5, 4, workflow="letter", updated_at=START + 6 * DAY, entered_at=START + 5 * DAY),
    )
    return persistence


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, [5, 4, 3, 2, 1]),
        ({"oldest_first": True}, [1, 2, 3, 4, 5]),
        ({"workflow": "letter"}, [5]),
        ({"workflow": "none"}, []),
        ({"states": ("sent", "paid")}, [4, 3, 2]),
        ({"states": ()}, []),
        ({"open": True}, [5, 2, 1]),
        ({"open": False}, [4, 3]),
        ({"outcomes": ("done", "cancelled")}, [3]),
        ({"outcomes": ()}, []),
        ({"metadata": {"tenant": "acme"}}, [2, 1]),
        ({"metadata": {"tags": ["b"]}}, [1]),
        ({"metadata": {"tags": "b"}}, []),
        ({"metadata": {"address": {"city": "Rome"}}}, [1]),
        ({"metadata": {"address": {"zip": True}}}, []),
        ({"metadata": {}}, [5, 4, 3, 2, 1]),
        ({"created": (START + DAY, START + 3 * DAY)}, [3, 2]),
        ({"created": (None, START)}, []),
        ({"updated": (START + 6 * DAY, None)}, [5]),
        ({"updated": (None, START + 6 * DAY)}, [4, 3, 2, 1]),
        ({"entered": (START + 5 * DAY, START + 6 * DAY)}, [5]),
        ({"workflow": "fine", "open": True, "states": ("sent",), "metadata": {"tenant": "acme"}}, [2]),
    ],
)
def test_filters(fines: InMemoryPersistence, query: dict[str, Any], expected: list[int]) -> None:
    """Every part that is given must hold; ranges begin with their start and end before their end."""
    assert _listed(fines, **query) == expected
    counted = drive(fines.instances.count(None, InstanceQuery(**query)))
    assert sum(row.count for row in counted) == len(expected)


def test_metadata_that_json_does_not_have_is_found_too(persistence: InMemoryPersistence) -> None:
    """Dates and tuples are compared as they are stored."""
    stored(
        persistence, new(1, metadata={"on": START, "tags": ("a", "b")}), new(2, metadata={"on": START + DAY})
    )
    assert _listed(persistence, metadata={"on": START}) == [1]
    assert _listed(persistence, metadata={"tags": ("b",)}) == [1]


def test_counts_are_per_workflow_state_and_openness(fines: InMemoryPersistence) -> None:
    """Finished and living ones of one state are counted apart."""
    stored(fines, _at(6, 0, state="paid"), _at(7, 0, state="sent"))
    assert drive(fines.instances.count(None, InstanceQuery())) == [
        StateCount("fine", "created", True, 1),
        StateCount("fine", "paid", False, 2),
        StateCount("fine", "paid", True, 1),
        StateCount("fine", "sent", True, 2),
        StateCount("letter", "created", True, 1),
    ]


_ODD_IDS = [
    UUID("00000000-0000-0000-0000-0000000000ff"),
    UUID("7fffffff-ffff-ffff-ffff-ffffffffffff"),
    UUID("80000000-0000-0000-0000-000000000000"),
    UUID("ff000000-0000-0000-0000-000000000000"),
]


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_are_stable_on_ties(persistence: InMemoryPersistence, oldest_first: bool) -> None:
    """Instances of one moment are ordered by the bytes of their ids, and pages neither repeat nor leave out."""
    stored(
        persistence,
        *(new(1, id=instance_id) for instance_id in _ODD_IDS[::2] + _ODD_IDS[1::2]),
        _at(1, 1),
        _at(2, -1),
    )
    query = InstanceQuery(oldest_first=oldest_first)
    seen: list[UUID] = []
    after = None
    while page := drive(persistence.instances.list(None, query, limit=2, after=after)):
        seen += [instance.id for instance in page]
        after = (page[-1].created_at, page[-1].id)
    expected = [UUID(int=2), *_ODD_IDS, UUID(int=1)]
    assert seen == (expected if oldest_first else expected[::-1])


@pytest.mark.parametrize("oldest_first", [False, True])
def test_a_page_may_begin_after_something_that_is_gone(
    fines: InMemoryPersistence, oldest_first: bool
) -> None:
    """The place counts, not whether an instance is still there."""
    tx = begin(fines)
    drive(fines.instances.delete(tx.unit, UUID(int=3)))
    tx.commit()
    expected = [4, 5] if oldest_first else [2, 1]
    assert _listed(fines, after=_at(3, 2), oldest_first=oldest_first) == expected


@pytest.mark.parametrize("oldest_first", [False, True])
def test_pages_inside_a_transaction_merge_its_own_changes(
    fines: InMemoryPersistence, oldest_first: bool
) -> None:
    """What it created, moved and deleted stands at its place, also beyond a cursor."""
    tx = begin(fines)
    drive(fines.instances.create(tx.unit, _at(6, 1.5)))
    drive(fines.instances.create(tx.unit, _at(7, 2.5)))
    drive(fines.instances.create(tx.unit, _at(8, 1.5, namespace="default")))
    drive(fines.instances.delete(tx.unit, UUID(int=4)))
    assert drive(fines.instances.save(tx.unit, moved(_at(2, 1, state="sent"), state="x"), expected=_at(2, 1)))

    def listed(after: Instance | None) -> list[int]:
        place = None if after is None else (after.created_at, after.id)
        query = InstanceQuery(oldest_first=oldest_first)
        return [found.id.int for found in drive(fines.instances.list(tx.unit, query, limit=10, after=place))]

    everything = [1, 2, 6, 8, 3, 7, 5]
    if not oldest_first:
        everything.reverse()
    assert listed(None) == everything
    for number, instance in {6: _at(6, 1.5), 2: _at(2, 1), 3: _at(3, 2)}.items():
        assert listed(instance) == everything[everything.index(number) + 1 :]


def test_a_limit_of_nothing_gives_nothing(fines: InMemoryPersistence) -> None:
    """Zero is a limit too."""
    assert _listed(fines, limit=0) == []


def test_a_page_looks_at_no_more_than_it_gives(
    persistence: InMemoryPersistence, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paging through many is linear: a page in the middle of thousands reads its own rows only."""
    tx = begin(persistence)
    for number in range(1, 3_001):
        drive(persistence.instances.create(tx.unit, _at(number, number)))
    tx.commit()
    looked_at: list[UUID] = []
    look = View.instance

    def counted(self: View, instance_id: UUID) -> Any:
        looked_at.append(instance_id)
        return look(self, instance_id)

    monkeypatch.setattr(View, "instance", counted)
    assert _listed(persistence, limit=50, after=_at(1_500, 1_500)) == [*range(1_499, 1_449, -1)]
    assert len(looked_at) == 50
