"""Do interleaved transactions do what a simple model of READ COMMITTED with row locks says?

Up to three transactions run in one thread; hypothesis decides what each does next, when one that was handed a lock
goes on, and which are cancelled while they wait. The model keeps whole copies of dicts where the store has journals,
orders and indexes.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator, Iterable
from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from duraflow.errors import AlreadyExists, StoreUnavailable
from duraflow.instance import Instance
from duraflow.ports import UnitOfWork
from duraflow.queries import InstanceQuery
from duraflow.runtime.drive import drive
from duraflow.writes import SetDue
from tests.unit.memory.support import START, Call, Open, Part, begin, due_store, entry, moved, new, started

Lock = int | str
"""What the model locks: the number of an instance, or a ref."""

_WAITING = "waiting"
_DAY = timedelta(days=1)


class _Deadlock(Exception):
    pass


class _Cancelled(Exception):
    pass


@attrs.frozen
class Row:
    """An instance with all that belongs to it."""

    version: int
    ref: str | None
    due: int | None = None
    seqs: tuple[int, ...] = (1,)


Rows = dict[int, Row | None]
Plan = Generator[Lock, None, Any]
"""A model of a call: yields the locks that it wants, returns what the call returns."""


@attrs.define(eq=False)
class Tx:
    """A transaction, in the store and in the model."""

    open: Open
    changed: Rows = attrs.field(factory=dict)
    locks: list[Lock] = attrs.field(factory=list)
    parts: list[tuple[Part, Rows, int]] = attrs.field(factory=list)
    call: Call[Any] | None = None
    plan: Plan | None = None
    wants: Lock | None = None


_slots = st.integers(0, 2)
_numbers = st.integers(1, 3)


class Transactions(RuleBasedStateMachine):
    """The store beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.persistence = started()
        self.committed: dict[int, Row] = {}
        self.slots: list[Tx | None] = [None, None, None]
        self.owners: dict[Lock, Tx] = {}
        self.queue: list[tuple[Tx, Lock]] = []

    # --- the model ------------------------------------------------------------------------------------------------

    def seen(self, tx: Tx | None) -> dict[int, Row]:
        """What a transaction sees, or everyone."""
        rows: Rows = {**self.committed, **(tx.changed if tx else {})}
        return {number: row for number, row in rows.items() if row is not None}

    def advance(self, tx: Tx, error: Exception | None = None) -> Any:
        """Run the model of the call until it waits or ends."""
        assert tx.plan is not None
        try:
            wanted = next(tx.plan) if error is None else tx.plan.throw(error)
            while True:
                owner = self.owners.setdefault(wanted, tx)
                if owner is tx:
                    if wanted not in tx.locks:
                        tx.locks.append(wanted)
                    wanted = next(tx.plan)
                elif self.waits_for(owner, tx):
                    wanted = tx.plan.throw(_Deadlock())
                else:
                    self.queue.append((tx, wanted))
                    tx.wants = wanted
                    return _WAITING
        except StopIteration as finished:
            tx.plan = None
            return finished.value
        except _Deadlock:
            tx.plan = None
            return "deadlock"

    def waits_for(self, one: Tx, other: Tx) -> bool:
        return one is other or (one.wants is not None and self.waits_for(self.owners[one.wants], other))

    def release(self, tx: Tx, locks: Iterable[Lock]) -> None:
        """Hand each lock to whoever waits first."""
        for lock in list(locks):
            tx.locks.remove(lock)
            del self.owners[lock]
            for waiting in self.queue:
                if waiting[1] == lock:
                    heir = waiting[0]
                    self.queue.remove(waiting)
                    self.owners[lock] = heir
                    heir.locks.append(lock)
                    heir.wants = None
                    break

    def create_plan(self, tx: Tx, number: int, ref: str | None) -> Plan:
        held = len(tx.locks)
        try:
            yield number
            if ref is not None:
                yield ref
        except (_Deadlock, _Cancelled):
            self.release(tx, tx.locks[held:])
            raise
        rows = self.seen(tx)
        taken = [other for other, row in rows.items() if ref is not None and row.ref == ref]
        taken += [number] * (number in rows)
        if taken:
            self.release(tx, tx.locks[held:])
            return ("exists", taken[0])
        tx.changed[number] = Row(1, ref)
        return None

    def move_plan(self, tx: Tx, number: int) -> Plan:
        if number not in self.seen(tx):
            return "gone"
        yield number
        row = self.seen(tx).get(number)
        if row is None:
            return "gone"
        version = row.version + 1
        tx.changed[number] = attrs.evolve(row, version=version, seqs=(*row.seqs, version))
        return None

    def save_plan(self, tx: Tx, number: int, version: int) -> Plan:
        yield number
        row = self.seen(tx).get(number)
        if row is None or row.version != version:
            return False
        tx.changed[number] = attrs.evolve(row, version=version + 1)
        return True

    def delete_plan(self, tx: Tx, number: int) -> Plan:
        yield number
        row = self.seen(tx).get(number)
        if row is None:
            return False
        if row.ref is not None:
            yield row.ref
        tx.changed[number] = None
        return True

    def due_plan(self, tx: Tx, number: int, day: int) -> Plan:
        if number not in self.seen(tx):
            return "gone"
        yield number
        row = self.seen(tx).get(number)
        if row is None:
            return "gone"
        tx.changed[number] = attrs.evolve(row, due=day)
        return None

    # --- the store ------------------------------------------------------------------------------------------------

    async def create_call(self, unit: UnitOfWork, number: int, ref: str | None) -> Any:
        instance = new(number, ref=ref)
        try:
            await self.persistence.instances.create(unit, instance)
        except AlreadyExists as error:
            return ("exists", error.instance_id.int)
        await self.persistence.history.append(unit, [entry(instance)])
        return None

    async def move_call(self, unit: UnitOfWork, number: int) -> Any:
        loaded = await self.persistence.instances.lock(unit, UUID(int=number), clock=None)
        if loaded is None:
            return "gone"
        after = moved(loaded.instance)
        assert await self.persistence.instances.save(unit, after, expected=loaded.instance)
        await self.persistence.history.append(unit, [entry(after)])
        return None

    async def save_call(self, unit: UnitOfWork, number: int, version: int) -> bool:
        before = new(number, version=version)
        return await self.persistence.instances.save(unit, moved(before), expected=before)

    async def due_call(self, unit: UnitOfWork, number: int, day: int) -> Any:
        loaded = await self.persistence.instances.lock(unit, UUID(int=number), clock=None)
        if loaded is None:
            return "gone"
        await due_store(self.persistence).write(unit, loaded.instance, SetDue(START + day * _DAY))
        return None

    # --- both -----------------------------------------------------------------------------------------------------

    def idle(self, slot: int) -> Tx | None:
        """The transaction of this slot, unless a call of it is under way; opened when there is none."""
        tx = self.slots[slot]
        if tx is None:
            tx = self.slots[slot] = Tx(begin(self.persistence))
        return tx if tx.call is None else None

    def run(self, tx: Tx, coroutine: Coroutine[Any, Any, Any], plan: Plan) -> None:
        tx.plan = plan
        expected = self.advance(tx)
        try:
            call = Call(coroutine)
        except StoreUnavailable:
            assert expected == "deadlock"
            return
        self.compare(tx, call, expected)

    def compare(self, tx: Tx, call: Call[Any], expected: Any) -> None:
        tx.call = call if call.waiting else None
        assert (_WAITING if call.waiting else call.result()) == expected

    @rule(slot=_slots, number=_numbers, ref=st.sampled_from([None, "A", "B"]))
    def create(self, slot: int, number: int, ref: str | None) -> None:
        if tx := self.idle(slot):
            self.run(tx, self.create_call(tx.open.unit, number, ref), self.create_plan(tx, number, ref))

    @rule(slot=_slots, number=_numbers)
    def move(self, slot: int, number: int) -> None:
        if tx := self.idle(slot):
            self.run(tx, self.move_call(tx.open.unit, number), self.move_plan(tx, number))

    @rule(slot=_slots, number=_numbers, version=st.integers(1, 3))
    def save(self, slot: int, number: int, version: int) -> None:
        if tx := self.idle(slot):
            self.run(tx, self.save_call(tx.open.unit, number, version), self.save_plan(tx, number, version))

    @rule(slot=_slots, number=_numbers)
    def delete(self, slot: int, number: int) -> None:
        if tx := self.idle(slot):
            call = self.persistence.instances.delete(tx.open.unit, UUID(int=number))
            self.run(tx, call, self.delete_plan(tx, number))

    @rule(slot=_slots, number=_numbers, day=st.integers(0, 2))
    def set_due(self, slot: int, number: int, day: int) -> None:
        if tx := self.idle(slot):
            self.run(tx, self.due_call(tx.open.unit, number, day), self.due_plan(tx, number, day))

    @rule(slot=_slots, day=st.integers(0, 2), limit=st.integers(1, 3))
    def claim(self, slot: int, day: int, limit: int) -> None:
        if tx := self.idle(slot):
            due = sorted(
                (row.due, number)
                for number, row in self.seen(tx).items()
                if row.due is not None and row.due <= day and self.owners.get(number, tx) is tx
            )[:limit]
            for _, number in due:
                if number not in tx.locks:
                    tx.locks.append(number)
                    self.owners[number] = tx
            claimed = drive(
                due_store(self.persistence).claim(
                    tx.open.unit, clock=START + day * _DAY, limit=limit, exclude=[]
                )
            )
            assert [found.loaded.instance.id.int for found in claimed] == [number for _, number in due]

    @rule(slot=_slots)
    def savepoint(self, slot: int) -> None:
        if tx := self.idle(slot):
            tx.parts.append((Part(tx.open.unit.savepoint()), dict(tx.changed), len(tx.locks)))

    @rule(slot=_slots, keep=st.booleans())
    def end_savepoint(self, slot: int, keep: bool) -> None:
        tx = self.idle(slot)
        if tx and tx.parts:
            part, changed, held = tx.parts.pop()
            if keep:
                part.keep()
            else:
                part.undo()
                tx.changed = changed
                self.release(tx, tx.locks[held:])

    @rule(slot=_slots, commit=st.booleans())
    def end(self, slot: int, commit: bool) -> None:
        tx = self.slots[slot]
        if tx is None or tx.call is not None:
            return
        if commit:
            tx.open.commit()
            self.committed = self.seen(tx)
        else:
            tx.open.roll_back()
        self.release(tx, tx.locks)
        self.slots[slot] = None

    @precondition(lambda self: any(tx and tx.call for tx in self.slots))
    @rule(slot=_slots)
    def resume(self, slot: int) -> None:
        tx = self.slots[slot]
        if tx is None or tx.call is None:
            return
        expected = _WAITING if tx.wants is not None else self.advance(tx)
        try:
            tx.call.resume()
        except StoreUnavailable:
            assert expected == "deadlock"
            tx.call = None
        else:
            self.compare(tx, tx.call, expected)

    @precondition(lambda self: any(tx and tx.call for tx in self.slots))
    @rule(slot=_slots)
    def cancel(self, slot: int) -> None:
        tx = self.slots[slot]
        if tx is None or tx.call is None:
            return
        if tx.wants is None:
            self.release(tx, tx.locks[-1:])
        else:
            self.queue.remove((tx, tx.wants))
            tx.wants = None
        try:
            self.advance(tx, _Cancelled())
        except _Cancelled:
            tx.plan = None
        tx.call.cancel()
        tx.call = None

    # --- what must hold after every step --------------------------------------------------------------------------

    @invariant()
    def everyone_sees_what_the_model_sees(self) -> None:
        for tx in (None, *self.slots):
            self.check_view(tx)

    def check_view(self, tx: Tx | None) -> None:
        rows, unit, stores = self.seen(tx), tx.open.unit if tx else None, self.persistence
        listed = drive(stores.instances.list(unit, InstanceQuery(), limit=9, after=None))
        assert [found.id.int for found in listed] == sorted(rows, reverse=True)
        for found in listed:
            assert self.row_of(found, unit) == rows[found.id.int]
        refs = {row.ref: number for number, row in rows.items() if row.ref is not None}
        by_ref = drive(stores.instances.get_many(unit, [("fine", "A"), ("fine", "B")], clock=None))
        assert {
            key[1]: loaded.instance.id.int for key, loaded in by_ref.items() if isinstance(key, tuple)
        } == refs
        gone = [number for number in (1, 2, 3) if number not in rows]
        assert not drive(stores.instances.get_many(unit, [UUID(int=number) for number in gone], clock=None))

    def row_of(self, found: Instance, unit: UnitOfWork | None) -> Row:
        entries = drive(self.persistence.history.read(unit, found.id, after=0, limit=99, newest_first=False))
        return Row(found.version, found.ref, self.due_of(found, unit), tuple(one.seq for one in entries))

    def due_of(self, found: Instance, unit: UnitOfWork | None) -> int | None:
        with self.persistence.database.view(None if unit is None else unit.transaction) as view:  # type: ignore[attr-defined]  # an in-memory one
            row = view.due("default", found.id)
        return None if row is None or row.due_at is None else (row.due_at - START) // _DAY

    @invariant()
    def the_same_ones_hold_and_wait(self) -> None:
        locks = self.persistence.database.locks
        assert len(locks._held) == len(self.owners)
        assert len(locks._waiting) == len(self.queue)

    def teardown(self) -> None:
        for slot, tx in enumerate(self.slots):
            if tx is not None:
                self.cancel(slot)
        for slot in range(3):
            self.end(slot, commit=False)
        self.everyone_sees_what_the_model_sees()
        self.the_same_ones_hold_and_wait()
        assert not self.owners


TestTransactions = Transactions.TestCase
