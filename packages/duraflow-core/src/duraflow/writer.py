"""How is a move written on the base ports alone?"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from duraflow.errors import DuraflowError, NotSupported
from duraflow.instance import Instance
from duraflow.ports import (
    DueStore,
    HistoryStore,
    InstanceStore,
    Outbox,
    Persistence,
    ReceiptStore,
    TransactionRunner,
    UnitOfWork,
)
from duraflow.writes import APPLIED, LOST, Answer, Failed, Writes


@attrs.frozen
class DefaultWriter:
    """The `Writer` for a persistence that has none of its own: one store call after the other.

    What is not in these ports cannot be written by it; a store that can write a move in one statement is faster
    with a writer of its own.
    """

    _instances: InstanceStore
    _history: HistoryStore
    _transactions: TransactionRunner
    _due: DueStore | None = None
    _receipts: ReceiptStore | None = None
    _outbox: Outbox | None = None

    @classmethod
    def of(cls, persistence: Persistence) -> DefaultWriter:
        """The one for these ports."""
        return cls(
            persistence.instances,
            persistence.history,
            persistence.transactions,
            persistence.due,
            persistence.receipts,
            persistence.outbox,
        )

    async def apply(
        self,
        unit: UnitOfWork | None,
        writes: Sequence[Writes],
        /,
        *,
        last: bool = False,  # noqa: ARG002  # a hint, of use only to who can send the commit along
    ) -> Sequence[Answer]:
        """Write each, in order.

        Raises:
            NotSupported: some of it needs a port that is not there, such as due work; nothing at all was written.
        """
        if self._due is None and any(write.due is not None for write in writes):
            raise NotSupported("a timer", "a persistence with the port `due: DueStore`")
        if self._receipts is None and any(write.receipt is not None for write in writes):
            raise NotSupported("a key", "a persistence with the port `receipts: ReceiptStore`")
        if self._outbox is None and any(write.messages for write in writes):
            raise NotSupported("a message", "a persistence with the port `outbox: Outbox`")
        if unit is not None:
            return [await self._write(unit, write) for write in writes]
        return [await self._write_alone(write) for write in writes]

    async def _write_alone(self, write: Writes) -> Answer:
        try:
            async with self._transactions.begin() as unit:
                answer = await self._write(unit, write)
        except DuraflowError as error:
            return Failed(error)
        return answer

    async def _write(self, unit: UnitOfWork, write: Writes) -> Answer:
        # Whether the row is still current is asked first, so that there is nothing to undo when it is not.
        if write.before is None:
            await self._instances.create(unit, write.after)
        elif not write.entries:
            if not await self._is_current(unit, write.before):
                return LOST
        elif not await self._instances.save(unit, write.after, expected=write.before):
            return LOST
        if write.entries:
            await self._history.append(unit, write.entries)
        if write.due is not None and self._due is not None:
            await self._due.write(unit, write.after, write.due)
        if write.receipt is not None and self._receipts is not None:
            await self._receipts.add(unit, write.receipt)
        if write.messages and self._outbox is not None:
            await self._outbox.add(unit, write.messages)
        return APPLIED

    async def _is_current(self, unit: UnitOfWork, before: Instance) -> bool:
        loaded = await self._instances.lock(unit, before.id, clock=None)
        return loaded is not None and (
            (loaded.instance.version, loaded.instance.lease_token) == (before.version, before.lease_token)
        )
