"""What does it take to do a request once, however often it is sent?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol
from uuid import UUID

from duraflow.ports.base import Key, Loaded, UnitOfWork
from duraflow.writes import Receipt


class ReceiptStore(Protocol):
    """Where it is kept what became of requests that carried a key.

    Keys are compared exactly. Those of events are unique per instance, those of creations per namespace and workflow.
    Receipts are written by the `Writer`, with the move; `add` is what a writer built on the base ports calls.
    """

    async def find(
        self, unit: UnitOfWork | None, keys: Sequence[tuple[UUID, str]], /
    ) -> Mapping[tuple[UUID, str], Receipt]:
        """The receipts of events, by (instance, key); what there is none of is left out."""
        ...

    async def lock(
        self, unit: UnitOfWork, target: Key, key: str, /, *, clock: datetime | None
    ) -> tuple[Loaded | None, Receipt | None]:
        """Lock an instance, as `InstanceStore.lock` does, and look for the receipt of an event once it is held.

        What whoever held it before has left is seen. (None, None) when there is no such instance.
        """
        ...

    async def find_creations(
        self, unit: UnitOfWork | None, keys: Sequence[tuple[str, str]], /, *, hold: bool = False
    ) -> Mapping[tuple[str, str], Receipt]:
        """The receipts of creations, by (workflow, key); what there is none of is left out.

        Args:
            hold: first wait for whoever is creating under one of these keys, and keep others waiting until the unit
                ends, so that nothing runs twice. Needs a unit.
        """
        ...

    async def add(self, unit: UnitOfWork, receipt: Receipt, /) -> None:
        """Keep one.

        Raises:
            KeyTaken: there is one for this key already (in some stores the transaction is then beyond use).
        """
        ...

    async def of(self, unit: UnitOfWork | None, instance_id: UUID, /) -> Sequence[Receipt]:
        """All of one instance, by `first_seq`, then key; that of an event before that of the creation."""
        ...
