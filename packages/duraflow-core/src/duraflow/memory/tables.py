"""What is committed, what does an open transaction change about it, and how do both look together?"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from operator import itemgetter
from typing import Any
from uuid import UUID

import attrs

from duraflow.ports import Key
from duraflow.records import Record

RefKey = tuple[str, str, str]
"""(namespace, workflow, ref)."""

Place = tuple[datetime, UUID]
"""Where something stands in an order by time. Python orders UUIDs as PostgreSQL does: by their bytes."""

FeedPlace = tuple[int, UUID, int, int]
"""Where an entry (or message) stands in the order of commits: (position, instance_id, seq, ordinal)."""

_ABSENT = object()
_SEQ = itemgetter("seq")


@attrs.frozen
class DueRow:
    """The due work of one instance, with its retries as text."""

    namespace: str
    due_at: datetime | None
    retries: str | None
    parked_at: datetime | None


@attrs.frozen
class HandlerRow:
    """How far a handler of messages has come, and who may deliver to it."""

    reached: FeedPlace
    token: UUID | None
    until: datetime | None
    delivered: int = 0


@attrs.frozen
class HeldRow:
    """From which message on an instance is held back for a handler."""

    seq: int
    ordinal: int
    attempts: int
    next_at: datetime | None
    parked_at: datetime | None
    error: str


@attrs.frozen
class Added:
    """What a transaction does to the history of one instance.

    Attributes:
        afresh: what is committed is dropped first, for the instance was deleted.
    """

    afresh: bool = False
    entries: tuple[Record, ...] = ()


_NOTHING_ADDED = Added()


@attrs.define(eq=False)
class Changes:
    """What one transaction has written so far. `None` stands for a row that it took out.

    Every write leaves its reverse in a journal, so that a savepoint costs nothing but to remember a place in it.
    """

    instances: dict[UUID, Record | None] = attrs.field(factory=dict)
    refs: dict[RefKey, UUID | None] = attrs.field(factory=dict)
    history: dict[UUID, Added] = attrs.field(factory=dict)
    due: dict[UUID, DueRow | None] = attrs.field(factory=dict)
    receipts: dict[UUID, Added] = attrs.field(factory=dict)
    creation_keys: dict[RefKey, UUID | None] = attrs.field(factory=dict)
    outbox: dict[UUID, Added] = attrs.field(factory=dict)
    _journal: list[tuple[dict[Any, Any], Any, Any]] = attrs.field(factory=list)

    def set_instance(self, row: Record) -> None:
        """Add or replace the row of an instance."""
        self._set(self.instances, row["id"], row)

    def claim_ref(self, ref: RefKey, instance_id: UUID) -> None:
        """Give a ref to an instance."""
        self._set(self.refs, ref, instance_id)

    def add_entry(self, instance_id: UUID, row: Record) -> None:
        """Add the row of a history entry."""
        added = self.history.get(instance_id, _NOTHING_ADDED)
        self._set(self.history, instance_id, Added(added.afresh, (*added.entries, row)))

    def add_receipt(self, instance_id: UUID, namespace: str, row: Record) -> None:
        """Add the row of a receipt."""
        added = self.receipts.get(instance_id, _NOTHING_ADDED)
        self._set(self.receipts, instance_id, Added(added.afresh, (*added.entries, row)))
        if row["workflow"] is not None:
            self._set(self.creation_keys, (namespace, row["workflow"], row["key"]), instance_id)

    def drop_receipts(
        self, instance_id: UUID, namespace: str, kept: tuple[Record, ...], gone: tuple[Record, ...]
    ) -> None:
        """Replace the receipts of an instance by those that are kept."""
        self._set(self.receipts, instance_id, Added(afresh=True, entries=kept))
        for row in gone:
            if row["workflow"] is not None:
                self._set(self.creation_keys, (namespace, row["workflow"], row["key"]), None)

    def add_message(self, instance_id: UUID, row: Record) -> None:
        """Add the row of a message."""
        added = self.outbox.get(instance_id, _NOTHING_ADDED)
        self._set(self.outbox, instance_id, Added(added.afresh, (*added.entries, row)))

    def drop_messages(self, instance_id: UUID, kept: tuple[Record, ...]) -> None:
        """Replace the messages of an instance by those that are kept."""
        self._set(self.outbox, instance_id, Added(afresh=True, entries=kept))

    def set_due(self, instance_id: UUID, row: DueRow | None) -> None:
        """Add, replace or take out the due row of an instance."""
        self._set(self.due, instance_id, row)

    def delete_instance(self, row: Record, creation_keys: Iterable[RefKey] = ()) -> None:
        """Take out an instance with all that belongs to it, and the keys under which it was created."""
        instance_id = row["id"]
        self._set(self.instances, instance_id, None)
        self._set(self.history, instance_id, Added(afresh=True))
        self._set(self.due, instance_id, None)
        self._set(self.receipts, instance_id, Added(afresh=True))
        self._set(self.outbox, instance_id, Added(afresh=True))
        for key in creation_keys:
            self._set(self.creation_keys, key, None)
        if (ref := ref_of(row)) is not None:
            self._set(self.refs, ref, None)

    def mark(self) -> int:
        """This moment, to come back to."""
        return len(self._journal)

    def rewind(self, mark: int) -> None:
        """Undo all that was written after the mark."""
        while len(self._journal) > mark:
            table, key, before = self._journal.pop()
            if before is _ABSENT:
                del table[key]
            else:
                table[key] = before

    def _set(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        self._journal.append((table, key, table.get(key, _ABSENT)))
        table[key] = value


@attrs.define(eq=False)
class Tables:
    """What is committed. Rows are replaced, never changed, so that a row once read stays as it was."""

    instances: dict[UUID, Record] = attrs.field(factory=dict)
    refs: dict[RefKey, UUID] = attrs.field(factory=dict)
    history: dict[UUID, list[Record]] = attrs.field(factory=dict)
    due: dict[UUID, DueRow] = attrs.field(factory=dict)
    receipts: dict[UUID, list[Record]] = attrs.field(factory=dict)
    creation_keys: dict[RefKey, UUID] = attrs.field(factory=dict)
    outbox: dict[UUID, list[Record]] = attrs.field(factory=dict)
    definitions: dict[tuple[str, str, int], tuple[str, str, datetime]] = attrs.field(factory=dict)
    handlers: dict[tuple[str, str], HandlerRow] = attrs.field(factory=dict)
    held: dict[tuple[str, str], dict[UUID, HeldRow]] = attrs.field(factory=lambda: defaultdict(dict))
    # Orders, by namespace, and the children of each parent, so that no question walks over everything.
    by_created: dict[str, list[Place]] = attrs.field(factory=lambda: defaultdict(list))
    by_due: dict[str, list[Place]] = attrs.field(factory=lambda: defaultdict(list))
    children: dict[UUID, set[UUID]] = attrs.field(factory=dict)
    # History and messages in the order of their commits, which are counted: what a feed reads.
    commits: int = 0
    fed: dict[str, list[FeedPlace]] = attrs.field(factory=lambda: defaultdict(list))
    posted: dict[str, list[FeedPlace]] = attrs.field(factory=lambda: defaultdict(list))

    def publish(self, changes: Changes) -> None:
        """Make the changes of a transaction part of what is committed."""
        self.commits += 1
        for instance_id, row in changes.instances.items():
            self._publish_instance(instance_id, row)
        _put_all(self.refs, changes.refs)
        for instance_id, added in changes.receipts.items():
            if added.afresh:
                self.receipts.pop(instance_id, None)
            if added.entries:
                self.receipts.setdefault(instance_id, []).extend(added.entries)
        for instance_id, added in changes.history.items():
            self._publish_in_order(self.history, self.fed, instance_id, added)
        for instance_id, added in changes.outbox.items():
            self._publish_in_order(self.outbox, self.posted, instance_id, added)
        _put_all(self.creation_keys, changes.creation_keys)
        for instance_id, due in changes.due.items():
            before = self.due.get(instance_id)
            _move(self.by_due, _due_place(instance_id, before), _due_place(instance_id, due))
        _put_all(self.due, changes.due)

    def _publish_in_order(
        self,
        table: dict[UUID, list[Record]],
        orders: dict[str, list[FeedPlace]],
        instance_id: UUID,
        added: Added,
    ) -> None:
        """History or messages, with the number of the commit as their position."""
        if added.afresh:
            for row in table.pop(instance_id, ()):
                order = orders[row["namespace"]]
                del order[bisect_left(order, feed_place(row))]
        if added.entries:
            namespace = self.instances[instance_id]["namespace"]
            for row in added.entries:
                # What is kept of what was dropped has its place already.
                placed = {"position": self.commits, **row, "namespace": namespace}
                table.setdefault(instance_id, []).append(placed)
                insort(orders[namespace], feed_place(placed))

    def _publish_instance(self, instance_id: UUID, row: Record | None) -> None:
        before = self.instances.get(instance_id)
        _move(self.by_created, _created_place(before), _created_place(row))
        if before is not None and (siblings := self.children.get(before["parent_id"])) is not None:
            siblings.discard(instance_id)
        if row is None:
            self.instances.pop(instance_id, None)
            self.children.pop(instance_id, None)
            for held in self.held.values():
                held.pop(instance_id, None)
        else:
            self.instances[instance_id] = row
            if row["parent_id"] is not None:
                self.children.setdefault(row["parent_id"], set()).add(instance_id)


@attrs.frozen
class View:
    """What someone sees: what is committed, under their own changes."""

    tables: Tables
    changes: Changes

    def instance(self, instance_id: UUID) -> Record | None:
        """The row of an instance, of whatever namespace."""
        changed = self.changes.instances
        return changed[instance_id] if instance_id in changed else self.tables.instances.get(instance_id)

    def find(self, namespace: str, key: Key) -> Record | None:
        """The row of an instance of this namespace."""
        instance_id = key if isinstance(key, UUID) else self.holder_of((namespace, *key))
        row = None if instance_id is None else self.instance(instance_id)
        return row if row is not None and row["namespace"] == namespace else None

    def holder_of(self, ref: RefKey) -> UUID | None:
        """The instance that has this ref."""
        changed = self.changes.refs
        return changed[ref] if ref in changed else self.tables.refs.get(ref)

    def children(self, instance_id: UUID) -> Sequence[Record]:
        """The rows of the instances whose parent this is, by id."""
        candidates = {*self.tables.children.get(instance_id, ()), *self.changes.instances}
        rows = [self.instance(candidate) for candidate in sorted(candidates)]
        return [row for row in rows if row is not None and row["parent_id"] == instance_id]

    def created(self, namespace: str, *, after: Place | None, newest_first: bool) -> Iterator[Record]:
        """The rows of a namespace in the order in which they were created, beyond a place in that order."""
        changed = self.changes.instances
        mine = [
            place
            for row in changed.values()
            if (place := _created_place(row)) is not None and place[0] == namespace
        ]
        order = self.tables.by_created.get(namespace, [])
        for _, instance_id in _beyond(order, changed, [place[1] for place in mine], after, newest_first):
            row = self.instance(instance_id)
            assert row is not None
            yield row

    def last_seq(self, instance_id: UUID) -> int:
        """The `seq` of the last history entry; 0 when there is none."""
        last = next(self.entries(instance_id, after=0, newest_first=True), None)
        return 0 if last is None else last["seq"]

    def entries(self, instance_id: UUID, *, after: int, newest_first: bool) -> Iterator[Record]:
        """The history of an instance, beyond an entry (0: from its beginning or, newest first, its end)."""
        added = self.changes.history.get(instance_id, _NOTHING_ADDED)
        committed: Sequence[Record] = () if added.afresh else self.tables.history.get(instance_id, ())
        for part in (added.entries, committed) if newest_first else (committed, added.entries):
            if newest_first:
                end = bisect_left(part, after, key=_SEQ) if after else len(part)
                yield from (part[index] for index in range(end - 1, -1, -1))
            else:
                yield from islice(part, bisect_right(part, after, key=_SEQ), None)

    def receipts(self, instance_id: UUID) -> Iterator[Record]:
        """The receipts of an instance, in the order in which they were added."""
        added = self.changes.receipts.get(instance_id, _NOTHING_ADDED)
        yield from () if added.afresh else self.tables.receipts.get(instance_id, ())
        yield from added.entries

    def creation_keys(self, row: Record) -> list[RefKey]:
        """Under which (namespace, workflow, key) an instance was created."""
        return [
            (row["namespace"], receipt["workflow"], receipt["key"])
            for receipt in self.receipts(row["id"])
            if receipt["workflow"] is not None
        ]

    def created_under(self, key: RefKey) -> UUID | None:
        """The instance that was created under (namespace, workflow, key)."""
        changed = self.changes.creation_keys
        return changed[key] if key in changed else self.tables.creation_keys.get(key)

    def messages(self, instance_id: UUID) -> Iterator[Record]:
        """The messages of an instance, in order."""
        added = self.changes.outbox.get(instance_id, _NOTHING_ADDED)
        yield from () if added.afresh else self.tables.outbox.get(instance_id, ())
        yield from added.entries

    def due(self, namespace: str, instance_id: UUID) -> DueRow | None:
        """The due row of an instance of this namespace."""
        changed = self.changes.due
        row = changed[instance_id] if instance_id in changed else self.tables.due.get(instance_id)
        return row if row is not None and row.namespace == namespace else None

    def due_until(self, namespace: str, now: datetime) -> Iterator[tuple[UUID, DueRow]]:
        """What is due now, earliest first."""
        changed = self.changes.due
        mine = [
            place[1]
            for instance_id, row in changed.items()
            if (place := _due_place(instance_id, row)) is not None and place[0] == namespace
        ]
        for due_at, instance_id in _beyond(self.tables.by_due.get(namespace, []), changed, mine, None, False):
            if due_at > now:
                break
            row = self.due(namespace, instance_id)
            assert row is not None
            yield instance_id, row

    def parked(self, namespace: str) -> Sequence[UUID]:
        """The instances with parked work, longest parked first."""
        rows = {**self.tables.due, **self.changes.due}
        return [
            instance_id
            for _, instance_id in sorted(
                (row.parked_at, instance_id)
                for instance_id, row in rows.items()
                if row is not None and row.parked_at is not None and row.namespace == namespace
            )
        ]


def ref_of(row: Record) -> RefKey | None:
    """The ref of an instance as it is unique; None when it has none."""
    return None if row["ref"] is None else (row["namespace"], row["workflow"], row["ref"])


def feed_place(row: Record) -> FeedPlace:
    """Where a committed history entry or message stands."""
    return row["position"], row["instance_id"], row["seq"], row.get("ordinal", 0)


def _created_place(row: Record | None) -> tuple[str, Place] | None:
    return None if row is None else (row["namespace"], (row["created_at"], row["id"]))


def _due_place(instance_id: UUID, row: DueRow | None) -> tuple[str, Place] | None:
    return None if row is None or row.due_at is None else (row.namespace, (row.due_at, instance_id))


def _move(
    orders: dict[str, list[Place]], before: tuple[str, Place] | None, after: tuple[str, Place] | None
) -> None:
    if before == after:
        return
    if before is not None:
        namespace, place = before
        del orders[namespace][bisect_left(orders[namespace], place)]
    if after is not None:
        namespace, place = after
        insort(orders[namespace], place)


def _put_all(table: dict[Any, Any], changed: dict[Any, Any]) -> None:
    for key, value in changed.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def _beyond(
    order: list[Place],
    changed: dict[UUID, Any],
    mine: list[Place],
    after: Place | None,
    backwards: bool,
) -> Iterator[Place]:
    """A committed order without the changed ones, merged with where those stand now, beyond a place."""
    if backwards:
        end = len(order) if after is None else bisect_left(order, after)
        indexes = range(end - 1, -1, -1)
        mine = [place for place in mine if after is None or place < after]
    else:
        indexes = range(0 if after is None else bisect_right(order, after), len(order))
        mine = [place for place in mine if after is None or place > after]
    places = (order[index] for index in indexes)
    if not changed:
        return places
    kept = (place for place in places if place[1] not in changed)
    return heapq.merge(kept, sorted(mine, reverse=backwards), reverse=backwards)
