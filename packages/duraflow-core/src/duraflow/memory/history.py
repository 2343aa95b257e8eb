"""Where does memory keep everything that happened?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from uuid import UUID

import attrs

from duraflow.errors import ConcurrencyConflict, InstanceNotFound
from duraflow.instance import HistoryEntry
from duraflow.memory.access import Access
from duraflow.ports import UnitOfWork
from duraflow.records import entry_from_record, entry_to_record


@attrs.frozen(eq=False)
class InMemoryHistoryStore:
    """`HistoryStore` in memory."""

    _access: Access

    async def append(self, unit: UnitOfWork, entries: Sequence[HistoryEntry], /) -> None:
        """Add entries.

        Raises:
            InstanceNotFound: there is no such instance in this namespace.
            ConcurrencyConflict: an entry does not come after the last one, the second guard against lost updates.
        """
        transaction = self._access.transaction(unit)
        rows = [entry_to_record(entry, self._access.codec) for entry in entries]
        for instance_id in dict.fromkeys(entry.instance_id for entry in entries):
            await self._access.lock(transaction, instance_id)
        async with unit.savepoint():
            with self._access.view(unit) as view:
                for row in rows:
                    instance_id = row["instance_id"]
                    if view.find(self._access.namespace, instance_id) is None:
                        raise InstanceNotFound(instance_id, self._access.namespace)
                    if row["seq"] <= view.last_seq(instance_id):
                        raise ConcurrencyConflict(instance_id, row["seq"] - 1)
                    transaction.changes.add_entry(instance_id, row)

    async def read(
        self, unit: UnitOfWork | None, instance_id: UUID, /, *, after: int, limit: int, newest_first: bool
    ) -> Sequence[HistoryEntry]:
        codec = self._access.codec
        with self._access.view(unit) as view:
            if view.find(self._access.namespace, instance_id) is None:
                return []
            rows = [*islice(view.entries(instance_id, after=after, newest_first=newest_first), limit)]
        return [entry_from_record(row, codec) for row in rows]
