"""How does one persistence get at the database: in which namespace, by which clock, with which codec?"""

from __future__ import annotations

from collections.abc import Hashable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import attrs

from duraflow.codec import Codec
from duraflow.errors import InvalidArgument, Misuse
from duraflow.memory.database import InMemoryDatabase, Transaction
from duraflow.memory.tables import View
from duraflow.memory.transactions import InMemoryUnit
from duraflow.ports import Clock, Environment, Loaded, UnitOfWork
from duraflow.records import Record, instance_from_record, utc


@attrs.define(eq=False)
class Access:
    """What the stores of one persistence have in common."""

    database: InMemoryDatabase
    namespace: str
    clock: Clock
    _environment: Environment | None = attrs.field(default=None, init=False)
    _starts: int = attrs.field(default=0, init=False)

    def open(self, environment: Environment) -> None:
        """Begin to serve a runtime; several in a row or at once may share it, if they wait and encode alike.

        Raises:
            Misuse: it serves a runtime that does not.
        """
        serving = self._environment
        if serving is not None and (
            serving.waits.suspends != environment.waits.suspends
            or serving.codec.types != environment.codec.types
            or serving.codec.limits != environment.codec.limits
        ):
            raise Misuse(
                "this in-memory persistence already serves a runtime that waits, or encodes, in another way",
                "close that one first, or use `InMemoryPersistence(database=first.database)` with the same codec",
            )
        self._environment = environment
        self._starts += 1

    def close(self) -> None:
        """The reverse of one `open`; what is stored stays."""
        self._starts = max(0, self._starts - 1)
        if not self._starts:
            self._environment = None

    @property
    def started(self) -> bool:
        return self._environment is not None

    def check_started(self) -> None:
        """Refuse use before start and after close."""
        self.environment  # noqa: B018  # it is what refuses

    @property
    def environment(self) -> Environment:
        """What the runtime gave.

        Raises:
            Misuse: it is not started.
        """
        if self._environment is None:
            raise Misuse(
                "this in-memory persistence is not started",
                "start its runtime, or `await persistence.lifecycle.start(environment)`, before using it",
            )
        return self._environment

    @property
    def codec(self) -> Codec:
        return self.environment.codec

    def transaction(self, unit: UnitOfWork) -> Transaction:
        """The open transaction behind a unit of work.

        Raises:
            Misuse: it has ended, or belongs to another database.
            InvalidArgument: it is no unit of an in-memory store.
        """
        if not isinstance(unit, InMemoryUnit):
            raise InvalidArgument("unit", f"{unit!r} is no unit of work of an in-memory persistence")
        if unit.database is not self.database:
            raise Misuse(
                "this unit of work belongs to another in-memory database",
                "open it with the `transactions` of a persistence over the same database",
            )
        return unit.transaction

    def view(self, unit: UnitOfWork | None) -> AbstractContextManager[View]:
        """What this unit of work sees, or None for what is committed."""
        self.check_started()
        return self.database.view(None if unit is None else self.transaction(unit))

    async def lock(self, transaction: Transaction, key: Hashable) -> None:
        """Take a lock that is held until the transaction ends."""
        await self.database.locks.acquire(transaction, key, self.environment.waits)

    def now(self, clock: datetime | None) -> datetime:
        """The given time, or the store's own, in UTC."""
        return utc(self.clock.now() if clock is None else clock)

    def loaded(self, row: Record, now: datetime) -> Loaded:
        """An instance as read, with the time of its step."""
        instance = instance_from_record(row, self.codec)
        return Loaded(instance, max(now, instance.updated_at))

    def check_namespace(self, namespace: Any) -> None:
        """Refuse what belongs elsewhere.

        Raises:
            InvalidArgument: it is another namespace.
        """
        if namespace != self.namespace:
            raise InvalidArgument(
                "instance.namespace", f"is {namespace!r}, and this store keeps {self.namespace!r}"
            )
