"""Where does memory keep what became of requests that carried a key?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import attrs

from duraflow.errors import InstanceNotFound, KeyTaken, Misuse
from duraflow.memory.access import Access
from duraflow.memory.instances import InMemoryInstanceStore
from duraflow.memory.tables import View
from duraflow.ports import Key, Loaded, UnitOfWork
from duraflow.records import Record, receipt_from_record, receipt_to_record
from duraflow.writes import Receipt


@attrs.frozen(eq=False)
class InMemoryReceiptStore:
    """`ReceiptStore` in memory."""

    _access: Access

    async def find(
        self, unit: UnitOfWork | None, keys: Sequence[tuple[UUID, str]], /
    ) -> Mapping[tuple[UUID, str], Receipt]:
        codec = self._access.codec
        with self._access.view(unit) as view:
            rows = {key: self._of_event(view, *key) for key in keys}
        return {key: receipt_from_record(row, codec) for key, row in rows.items() if row is not None}

    async def lock(
        self, unit: UnitOfWork, target: Key, key: str, /, *, clock: datetime | None
    ) -> tuple[Loaded | None, Receipt | None]:
        loaded = await InMemoryInstanceStore(self._access).lock(unit, target, clock=clock)
        if loaded is None:
            return None, None
        pair = loaded.instance.id, key
        return loaded, (await self.find(unit, [pair])).get(pair)

    async def find_creations(
        self, unit: UnitOfWork | None, keys: Sequence[tuple[str, str]], /, *, hold: bool = False
    ) -> Mapping[tuple[str, str], Receipt]:
        codec, namespace = self._access.codec, self._access.namespace
        if hold:
            if unit is None:
                raise Misuse("keys were to be held without a transaction", "pass the unit of work")
            transaction = self._access.transaction(unit)
            for workflow, key in sorted(set(keys)):
                await self._access.lock(transaction, ("key", namespace, workflow, key))
        with self._access.view(unit) as view:
            rows = {key: self._of_creation(view, *key) for key in keys}
        return {key: receipt_from_record(row, codec) for key, row in rows.items() if row is not None}

    async def add(self, unit: UnitOfWork, receipt: Receipt, /) -> None:
        """Keep one.

        Raises:
            KeyTaken: there is one for this key already.
            InstanceNotFound: there is no such instance in this namespace.
        """
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        await self._access.lock(transaction, receipt.instance_id)
        if receipt.workflow is not None:
            await self._access.lock(transaction, ("key", namespace, receipt.workflow, receipt.key))
        row = receipt_to_record(receipt, self._access.codec)
        with self._access.view(unit) as view:
            if view.find(namespace, receipt.instance_id) is None:
                raise InstanceNotFound(receipt.instance_id, namespace)
            if receipt.workflow is None:
                taken = self._of_event(view, receipt.instance_id, receipt.key) is not None
            else:
                taken = view.created_under((namespace, receipt.workflow, receipt.key)) is not None
            if taken:
                raise KeyTaken(f"{receipt.key!r} at {receipt.workflow or receipt.instance_id}")
            transaction.changes.add_receipt(receipt.instance_id, namespace, row)

    async def of(self, unit: UnitOfWork | None, instance_id: UUID, /) -> Sequence[Receipt]:
        codec, namespace = self._access.codec, self._access.namespace
        with self._access.view(unit) as view:
            found = view.find(namespace, instance_id) is not None
            rows = list(view.receipts(instance_id)) if found else []
        rows.sort(key=lambda row: (row["first_seq"], row["key"].encode(), row["workflow"] is not None))
        return [receipt_from_record(row, codec) for row in rows]

    def _of_event(self, view: View, instance_id: UUID, key: str) -> Record | None:
        if view.find(self._access.namespace, instance_id) is None:
            return None
        return next(
            (row for row in view.receipts(instance_id) if row["workflow"] is None and row["key"] == key), None
        )

    def _of_creation(self, view: View, workflow: str, key: str) -> Record | None:
        instance_id = view.created_under((self._access.namespace, workflow, key))
        if instance_id is None:
            return None
        return next(
            row for row in view.receipts(instance_id) if row["workflow"] == workflow and row["key"] == key
        )
