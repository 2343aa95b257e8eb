"""How does memory take out what is old, and read whole instances?"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.values import Outcome
from duraflow.memory.access import Access
from duraflow.memory.database import Transaction
from duraflow.memory.tables import View, feed_place, ref_of
from duraflow.ports import UnitOfWork
from duraflow.ports.retention import PrunedBatch, Whole
from duraflow.records import Record


@attrs.frozen(eq=False)
class InMemoryRetention:
    """`Retention` in memory."""

    _access: Access

    async def prune_instances(
        self,
        unit: UnitOfWork,
        /,
        *,
        before: datetime,
        outcomes: Sequence[Outcome] | None,
        workflow: str | None,
        after: str | None,
        limit: int,
        dry_run: bool,
    ) -> PrunedBatch:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        taken, waiting, entries = 0, 0, 0
        with self._access.view(unit) as view:
            found = (
                row
                for row in view.created(namespace, after=None, newest_first=False)
                if row["finished_at"] is not None
                and row["finished_at"] < before
                and (outcomes is None or row["outcome"] in outcomes)
                and (workflow is None or row["workflow"] == workflow)
            )
            rows, reached = _next(found, _finished, after, limit)
            for row in rows:
                if any(_pending(view, namespace, message) for message in view.messages(row["id"])):
                    waiting += 1
                elif dry_run or self._take(transaction, view, row):
                    taken += 1
                    entries += row["version"]
                    if not dry_run:
                        _delete(transaction, view, row)
        return PrunedBatch(taken, entries, waiting, reached)

    def _take(self, transaction: Transaction, view: View, row: Record) -> bool:
        """Lock all that goes, or changes, with an instance, without waiting. Half of it is given back at the end."""
        ref = ref_of(row)
        wanted: list[Any] = [row["id"], *(child["id"] for child in view.children(row["id"]))]
        if ref is not None:
            wanted.append(ref)
        return all(self._access.database.locks.take(transaction, key) for key in wanted)

    async def prune_receipts(
        self,
        unit: UnitOfWork,
        /,
        *,
        expired: datetime,
        before: datetime | None,
        after: str | None,
        limit: int,
        dry_run: bool,
    ) -> PrunedBatch:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        taken = 0
        with self._access.view(unit) as view:
            found = (
                receipt
                for row in view.created(namespace, after=None, newest_first=False)
                for receipt in view.receipts(row["id"])
                if (receipt["expires_at"] is not None and receipt["expires_at"] <= expired)
                or (before is not None and receipt["created_at"] < before)
            )
            rows, reached = _next(found, _receipt, after, limit)
            for receipt in rows:
                instance_id = receipt["instance_id"]
                if not dry_run:
                    if not self._access.database.locks.take(transaction, instance_id):
                        continue
                    kept = tuple(other for other in view.receipts(instance_id) if other is not receipt)
                    transaction.changes.drop_receipts(instance_id, namespace, kept, (receipt,))
                taken += 1
        return PrunedBatch(taken, reached=reached)

    async def prune_messages(
        self, unit: UnitOfWork, /, *, before: datetime, after: str | None, limit: int, dry_run: bool
    ) -> PrunedBatch:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        taken = 0
        with self._access.view(unit) as view:
            found = (
                message
                for row in view.created(namespace, after=None, newest_first=False)
                for message in view.messages(row["id"])
                if not _pending(view, namespace, message) and _moved_at(view, message) < before
            )
            rows, reached = _next(found, _message, after, limit)
            for message in rows:
                instance_id = message["instance_id"]
                if not dry_run:
                    if not self._access.database.locks.take(transaction, instance_id):
                        continue
                    kept = tuple(other for other in view.messages(instance_id) if other is not message)
                    transaction.changes.drop_messages(instance_id, kept)
                taken += 1
        return PrunedBatch(taken, reached=reached)

    async def read(self, unit: UnitOfWork, ids: Sequence[UUID], /) -> Sequence[Whole]:
        namespace = self._access.namespace
        with self._access.view(unit) as view:
            return [
                _whole(view, namespace, row)
                for instance_id in ids
                if (row := view.find(namespace, instance_id)) is not None
            ]


def _delete(transaction: Transaction, view: View, row: Record) -> None:
    for child in view.children(row["id"]):
        transaction.changes.set_instance({**child, "parent_id": None})
    transaction.changes.delete_instance(row, view.creation_keys(row))


def _whole(view: View, namespace: str, row: Record) -> Whole:
    due = view.due(namespace, row["id"])
    receipts = sorted(view.receipts(row["id"]), key=lambda receipt: (receipt["first_seq"], receipt["key"]))
    messages = sorted(view.messages(row["id"]), key=lambda message: (message["seq"], message["ordinal"]))
    return Whole(
        row,
        tuple(view.entries(row["id"], after=0, newest_first=False)),
        None if due is None else due.retries,
        tuple(receipts),
        tuple({**message, "delivered": _delivered(view, namespace, message)} for message in messages),
    )


def _pending(view: View, namespace: str, message: Record) -> bool:
    """Whether some handler has not had a message yet, or holds it back."""
    place = feed_place(message)
    for key, handler in view.tables.handlers.items():
        if key[0] != namespace:
            continue
        held = view.tables.held.get(key, {}).get(message["instance_id"])
        if handler.reached < place or (held is not None and (held.seq, held.ordinal) <= place[2:]):
            return True
    return False


def _delivered(view: View, namespace: str, message: Record) -> bool:
    """Whether there are handlers, and each of them has had it."""
    known = any(key[0] == namespace for key in view.tables.handlers)
    return known and not _pending(view, namespace, message)


def _moved_at(view: View, message: Record) -> datetime:
    """When the move was that left a message."""
    entry = next(view.entries(message["instance_id"], after=message["seq"] - 1, newest_first=False))
    found: datetime = entry["at"]
    return found


# --- orders -----------------------------------------------------------------------------------------------------


def _finished(row: Record) -> tuple[str, ...]:
    return row["finished_at"].isoformat(timespec="microseconds"), str(row["id"])


def _receipt(row: Record) -> tuple[str, ...]:
    return str(row["instance_id"]), row["workflow"] or "", row["key"]


def _message(row: Record) -> tuple[str, ...]:
    position, instance_id, seq, ordinal = feed_place(row)
    return f"{position:020}", str(instance_id), f"{seq:020}", f"{ordinal:020}"


def _next(
    found: Iterable[Record], place: Any, after: str | None, limit: int
) -> tuple[list[Record], str | None]:
    """The first rows beyond a place, in the order of their places, and the place of the last one if there are more."""
    begin = () if after is None else tuple(json.loads(after))
    rows: list[Record] = heapq.nsmallest(limit + 1, _beyond(found, place, begin), key=place)
    more = len(rows) > limit
    return rows[:limit], json.dumps(place(rows[limit - 1])) if more else None


def _beyond(found: Iterable[Record], place: Any, begin: tuple[str, ...]) -> Iterator[Record]:
    return (row for row in found if place(row) > begin)
