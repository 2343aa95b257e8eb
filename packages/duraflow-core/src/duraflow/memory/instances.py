"""Where does memory keep the current snapshot of each instance?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import islice
from uuid import UUID

import attrs

from duraflow.errors import AlreadyExists
from duraflow.instance import Instance
from duraflow.matching import matcher
from duraflow.memory.access import Access
from duraflow.memory.tables import ref_of
from duraflow.ports import Key, Loaded, UnitOfWork
from duraflow.queries import InstanceQuery
from duraflow.records import instance_from_record, instance_to_record
from duraflow.results import StateCount

_FIXED = ("id", "namespace", "workflow", "ref", "metadata", "created_at", "parent_id", "root_id")
"""What a row keeps for life."""


@attrs.frozen(eq=False)
class InMemoryInstanceStore:
    """`InstanceStore` in memory."""

    _access: Access

    async def get(self, unit: UnitOfWork | None, key: Key, /, *, clock: datetime | None) -> Loaded | None:
        now = self._access.now(clock)
        with self._access.view(unit) as view:
            row = view.find(self._access.namespace, key)
        return None if row is None else self._access.loaded(row, now)

    async def get_many(
        self, unit: UnitOfWork | None, keys: Sequence[Key], /, *, clock: datetime | None
    ) -> Mapping[Key, Loaded]:
        now = self._access.now(clock)
        with self._access.view(unit) as view:
            rows = {key: view.find(self._access.namespace, key) for key in keys}
        return {key: self._access.loaded(row, now) for key, row in rows.items() if row is not None}

    async def lock(
        self, unit: UnitOfWork, key: Key, /, *, clock: datetime | None, skip_locked: bool = False
    ) -> Loaded | None:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        with self._access.view(unit) as view:
            found = view.find(namespace, key)
            if found is None:
                return None
            taken = self._access.database.locks.take(transaction, found["id"])
        if not taken:
            if skip_locked:
                return None
            await self._access.lock(transaction, found["id"])
        # After waiting all may be different, and the time is that of now.
        now = self._access.now(clock)
        with self._access.view(unit) as view:
            row = view.find(namespace, found["id"])
        return None if row is None else self._access.loaded(row, now)

    async def create(self, unit: UnitOfWork, instance: Instance, /) -> None:
        transaction = self._access.transaction(unit)
        self._access.check_namespace(instance.namespace)
        row = instance_to_record(instance, self._access.codec)
        ref = ref_of(row)
        # Who is refused keeps no lock on what it did not get.
        async with unit.savepoint():
            await self._access.lock(transaction, instance.id)
            if ref is not None:
                await self._access.lock(transaction, ref)
            with self._access.view(unit) as view:
                if ref is not None and (holder := view.holder_of(ref)) is not None:
                    raise AlreadyExists(instance.workflow, instance.ref, holder)
                if view.instance(instance.id) is not None:
                    raise AlreadyExists(instance.workflow, None, instance.id)
                if ref is not None:
                    transaction.changes.claim_ref(ref, instance.id)
                transaction.changes.set_instance(row)

    async def save(self, unit: UnitOfWork, instance: Instance, /, *, expected: Instance) -> bool:
        transaction = self._access.transaction(unit)
        row = instance_to_record(instance, self._access.codec)
        await self._access.lock(transaction, instance.id)
        with self._access.view(unit) as view:
            current = view.find(self._access.namespace, instance.id)
            if current is None or (current["version"], current["lease_token"]) != (
                expected.version,
                expected.lease_token,
            ):
                return False
            row.update((column, current[column]) for column in _FIXED)
            transaction.changes.set_instance(row)
        return True

    async def now(self, unit: UnitOfWork | None = None, /) -> datetime:  # noqa: ARG002  # time needs no transaction
        self._access.check_started()
        return self._access.now(None)

    async def delete(self, unit: UnitOfWork, instance_id: UUID, /) -> bool:
        transaction = self._access.transaction(unit)
        await self._access.lock(transaction, instance_id)
        with self._access.view(unit) as view:
            row = view.find(self._access.namespace, instance_id)
        if row is None:
            return False
        # Nobody may take the ref before this deletion is committed.
        if (ref := ref_of(row)) is not None:
            await self._access.lock(transaction, ref)
        # Children forget their parent. More of them may come while waiting for the lock of one.
        while True:
            with self._access.view(unit) as view:
                children = view.children(instance_id)
                missing = [child["id"] for child in children if child["id"] not in transaction.held]
                if not missing:
                    for child in children:
                        transaction.changes.set_instance({**child, "parent_id": None})
                    transaction.changes.delete_instance(row, view.creation_keys(row))
                    return True
            for child_id in missing:
                await self._access.lock(transaction, child_id)

    async def list(
        self,
        unit: UnitOfWork | None,
        query: InstanceQuery,
        /,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> Sequence[Instance]:
        codec = self._access.codec
        matches = matcher(query, codec)
        with self._access.view(unit) as view:
            rows = view.created(self._access.namespace, after=after, newest_first=not query.oldest_first)
            found = [*islice((row for row in rows if matches(row)), limit)]
        return [instance_from_record(row, codec) for row in found]

    async def count(self, unit: UnitOfWork | None, query: InstanceQuery, /) -> Sequence[StateCount]:
        matches = matcher(query, self._access.codec)
        with self._access.view(unit) as view:
            counted = Counter(
                (row["workflow"], row["state"], row["outcome"] is None)
                for row in view.created(self._access.namespace, after=None, newest_first=False)
                if matches(row)
            )
        return [StateCount(*where, count) for where, count in sorted(counted.items())]
