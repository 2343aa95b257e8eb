"""Where does memory keep messages until every handler has taken them?"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from duraflow.errors import InstanceNotFound
from duraflow.memory.access import Access
from duraflow.ports import UnitOfWork
from duraflow.records import message_to_record
from duraflow.writes import Emitted


@attrs.frozen(eq=False)
class InMemoryOutbox:
    """`Outbox` in memory."""

    _access: Access

    async def add(self, unit: UnitOfWork, messages: Sequence[Emitted], /) -> None:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        for instance_id in dict.fromkeys(message.instance_id for message in messages):
            await self._access.lock(transaction, instance_id)
        with self._access.view(unit) as view:
            for message in messages:
                if view.find(namespace, message.instance_id) is None:
                    raise InstanceNotFound(message.instance_id, namespace)
                row = message_to_record(message, self._access.codec)
                transaction.changes.add_message(message.instance_id, row)
