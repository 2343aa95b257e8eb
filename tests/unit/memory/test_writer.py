"""Does the default writer write moves whole, and answer for each by itself?"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import attrs
import pytest

from duraflow.errors import AlreadyExists, NotSupported, StoreUnavailable
from duraflow.instance import HistoryEntry, Instance
from duraflow.memory import InMemoryPersistence
from duraflow.ports import UnitOfWork, Writer
from duraflow.runtime.drive import drive
from duraflow.writer import DefaultWriter
from duraflow.writes import APPLIED, LOST, Applied, ClearDue, DueChange, Failed, SetDue, Writes
from tests.unit.memory.support import (
    START,
    Call,
    begin,
    due_store,
    entry,
    moved,
    new,
    read,
    seqs,
    started,
    stored,
)


@pytest.fixture
def persistence() -> InMemoryPersistence:
    """One that serves, with the instances 1 and 2."""
    made = started()
    stored(made, new(1, ref="A1"), new(2))
    return made


def _writer(persistence: InMemoryPersistence) -> DefaultWriter:
    return DefaultWriter(
        persistence.instances, persistence.history, persistence.transactions, persistence.due
    )


def _creation(instance: Instance) -> Writes:
    return Writes(None, instance, (entry(instance),))


def _move(before: Instance, state: str = "sent", due: DueChange | None = None) -> Writes:
    after = moved(before, state=state)
    return Writes(before, after, (entry(after),), due)


FIRST = new(1, ref="A1")


def test_it_is_a_writer(persistence: InMemoryPersistence) -> None:
    """It satisfies the port."""
    writer: Writer = _writer(persistence)
    assert isinstance(writer, Writer)


def test_a_move_is_written_whole(persistence: InMemoryPersistence) -> None:
    """Row, history and due work; each write has its answer, in order."""
    answers = drive(_writer(persistence).apply(None, [_move(FIRST, due=SetDue(START)), _creation(new(3))]))
    assert list(answers) == [APPLIED, APPLIED]
    assert (read(persistence, 1), read(persistence, 3)) == (moved(FIRST, state="sent"), new(3))
    assert (seqs(persistence, 1), seqs(persistence, 3)) == ([1, 2], [1])
    assert drive(due_store(persistence).retries(None, UUID(int=1))) == {}
    entries = drive(persistence.history.read(None, UUID(int=1), after=1, limit=9, newest_first=False))
    assert entries == [entry(moved(FIRST, state="sent"))]


def test_several_hops_are_one_write(persistence: InMemoryPersistence) -> None:
    """All entries of a chain go with the last row."""
    hop, rest = moved(FIRST, state="sent"), moved(moved(FIRST), state="paid")
    answers = drive(_writer(persistence).apply(None, [Writes(FIRST, rest, (entry(hop), entry(rest)))]))
    assert list(answers) == [APPLIED]
    assert (read(persistence), seqs(persistence)) == (rest, [1, 2, 3])


@pytest.mark.parametrize("with_unit", [False, True])
@pytest.mark.parametrize(
    "before",
    [
        attrs.evolve(FIRST, version=2),
        attrs.evolve(FIRST, lease_token=UUID(int=7)),
        new(9),
    ],
    ids=["version", "lease", "gone"],
)
def test_what_is_not_current_any_more_is_lost(
    persistence: InMemoryPersistence, before: Instance, with_unit: bool
) -> None:
    """Nothing of that move is written: no row, no entry, no due work."""
    tx = begin(persistence)
    for entries in ((entry(moved(before)),), ()):
        write = Writes(before, moved(before) if entries else before, entries, SetDue(START))
        answers = drive(_writer(persistence).apply(tx.unit if with_unit else None, [write]))
        assert list(answers) == [LOST]
    tx.commit()
    assert (read(persistence), seqs(persistence)) == (FIRST, [1])
    assert drive(due_store(persistence).retries(None, before.id)) is None


def test_without_entries_only_due_work_changes(persistence: InMemoryPersistence) -> None:
    """The row is not touched, and the version stays."""
    writer, due = _writer(persistence), due_store(persistence)
    assert list(drive(writer.apply(None, [Writes(FIRST, FIRST, (), SetDue(START))]))) == [APPLIED]
    assert drive(due.retries(None, FIRST.id)) == {}
    assert list(drive(writer.apply(None, [Writes(FIRST, FIRST, (), ClearDue())]))) == [APPLIED]
    assert drive(due.retries(None, FIRST.id)) is None
    assert (read(persistence), seqs(persistence)) == (FIRST, [1])


def test_a_refused_write_is_its_own_answer(persistence: InMemoryPersistence) -> None:
    """The others are written, before and after it."""
    writes = [_move(FIRST), _creation(new(3, ref="A1")), _creation(new(2)), _creation(new(4, ref="A4"))]
    answers = drive(_writer(persistence).apply(None, writes))
    assert [type(answer) for answer in answers] == [Applied, Failed, Failed, Applied]
    refused = [answer.error for answer in answers if isinstance(answer, Failed)]
    assert [(type(error), getattr(error, "instance_id", None)) for error in refused] == [
        (AlreadyExists, UUID(int=1)),
        (AlreadyExists, UUID(int=2)),
    ]
    assert (read(persistence, 3), read(persistence, 4)) == (None, new(4, ref="A4"))


def test_duplicates_in_one_call_do_not_interfere(persistence: InMemoryPersistence) -> None:
    """Of two moves from one version the first wins; a move that follows on from another one is written too."""
    sent = moved(FIRST, state="sent")
    writes = [
        _move(FIRST),
        _move(FIRST, "other"),
        _move(sent, "paid"),
        _creation(new(3)),
        _creation(new(3)),
        _move(new(3)),
    ]
    answers = drive(_writer(persistence).apply(None, writes))
    assert [type(answer).__name__ for answer in answers] == [
        "Applied",
        "Lost",
        "Applied",
        "Applied",
        "Failed",
        "Applied",
    ]
    assert (read(persistence, 1), seqs(persistence, 1)) == (moved(sent, state="paid"), [1, 2, 3])
    assert (read(persistence, 3), seqs(persistence, 3)) == (moved(new(3), state="sent"), [1, 2])


def test_with_a_unit_all_belongs_to_it(persistence: InMemoryPersistence) -> None:
    """Nothing is committed by the writer; a lost one does not hinder the others."""
    tx = begin(persistence)
    writes = [_move(FIRST), _move(attrs.evolve(new(2), version=5)), _creation(new(3))]
    answers = drive(_writer(persistence).apply(tx.unit, writes, last=True))
    assert list(answers) == [APPLIED, LOST, APPLIED]
    assert (read(persistence, 1), read(persistence, 3)) == (FIRST, None)
    tx.roll_back()
    assert (read(persistence, 1), read(persistence, 3)) == (FIRST, None)


def test_with_a_unit_errors_are_raised(persistence: InMemoryPersistence) -> None:
    """The transaction is the caller's, and so is the decision."""
    tx = begin(persistence)
    with pytest.raises(AlreadyExists):
        drive(_writer(persistence).apply(tx.unit, [_creation(new(2))]))


def test_no_writes_are_no_answers(persistence: InMemoryPersistence) -> None:
    """Nothing to do is done."""
    assert list(drive(_writer(persistence).apply(None, []))) == []


@pytest.mark.parametrize("with_unit", [False, True])
def test_due_work_needs_its_port(persistence: InMemoryPersistence, with_unit: bool) -> None:
    """Refused before anything is written, also what stands before it."""
    writer = DefaultWriter(persistence.instances, persistence.history, persistence.transactions)
    tx = begin(persistence)
    with pytest.raises(NotSupported, match="due: DueStore"):
        drive(writer.apply(tx.unit if with_unit else None, [_move(new(2)), _move(FIRST, due=SetDue(START))]))
    tx.commit()
    assert (read(persistence, 1), read(persistence, 2)) == (FIRST, new(2))
    assert list(drive(writer.apply(None, [_move(new(2))]))) == [APPLIED]


@attrs.define
class _Breaking:
    """A history that cannot be written."""

    error: Exception

    async def append(self, unit: UnitOfWork, entries: Sequence[HistoryEntry], /) -> None:
        raise self.error

    async def read(
        self, unit: UnitOfWork | None, instance_id: UUID, /, *, after: int, limit: int, newest_first: bool
    ) -> Sequence[HistoryEntry]:
        raise self.error


def test_a_move_whose_history_fails_is_not_written(persistence: InMemoryPersistence) -> None:
    """The row goes back to what it was, and the answer carries the error."""
    error = StoreUnavailable("gone")
    answers = drive(_writer(attrs.evolve(persistence, history=_Breaking(error))).apply(None, [_move(FIRST)]))
    assert list(answers) == [Failed(error)]
    assert (read(persistence), seqs(persistence)) == (FIRST, [1])


def test_an_error_nobody_expected_is_raised(persistence: InMemoryPersistence) -> None:
    """A bug is no answer."""
    with pytest.raises(ZeroDivisionError):
        drive(
            _writer(attrs.evolve(persistence, history=_Breaking(ZeroDivisionError()))).apply(
                None, [_move(FIRST)]
            )
        )
    assert read(persistence) == FIRST


def test_a_move_waits_for_the_lock(persistence: InMemoryPersistence) -> None:
    """And is lost when the holder moved the instance."""
    tx = begin(persistence)
    drive(persistence.instances.lock(tx.unit, FIRST.id, clock=None))
    move = Call(_writer(persistence).apply(None, [_move(FIRST)]))
    due_only = Call(_writer(persistence).apply(None, [Writes(FIRST, FIRST, (), SetDue(START))]))
    assert (move.waiting, due_only.waiting) == (True, True)
    assert drive(persistence.instances.save(tx.unit, moved(FIRST), expected=FIRST))
    tx.commit()
    assert (list(move.result()), list(due_only.result())) == ([LOST], [LOST])
