"""How does a transaction over in-memory stores begin, nest and end?"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import attrs

from duraflow.errors import InvalidArgument, Misuse, NotSupported
from duraflow.memory.database import InMemoryDatabase, Transaction
from duraflow.ports import UnitOfWork

if TYPE_CHECKING:
    from duraflow.memory.access import Access


@attrs.frozen(eq=False)
class InMemoryUnit:
    """`UnitOfWork` of the in-memory stores."""

    database: InMemoryDatabase
    _transaction: Transaction = attrs.field(factory=Transaction, init=False)

    @property
    def transaction(self) -> Transaction:
        """What it has written and locked.

        Raises:
            Misuse: it has ended.
        """
        if not self._transaction.open:
            raise Misuse("this transaction has ended", "open a new one")
        return self._transaction

    @property
    def connection(self) -> Any:
        raise NotSupported(
            "`connection`",
            "a store with connections, and memory has none; what is to run on every store can use a resource in its "
            "place: `Runtime(resources={Ledger: factory})`, then `ctx.resource(Ledger)`",
        )

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        return _Savepoint(self)


@attrs.define(eq=False)
class _Savepoint:
    _unit: InMemoryUnit
    _mark: tuple[int, int] = (0, 0)

    async def __aenter__(self) -> None:
        transaction = self._unit.transaction
        self._mark = (transaction.changes.mark(), len(transaction.held))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transaction = self._unit.transaction
        if kind is not None:
            self._unit.database.rollback_to(transaction, self._mark)


@attrs.define(eq=False)
class _Begun:
    _database: InMemoryDatabase
    _unit: InMemoryUnit | None = None

    async def __aenter__(self) -> InMemoryUnit:
        self._unit = InMemoryUnit(self._database)
        return self._unit

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._unit is not None
        transaction = self._unit.transaction
        if kind is None:
            self._database.commit(transaction)
        else:
            self._database.rollback(transaction)


@attrs.frozen(eq=False)
class InMemoryTransactionRunner:
    """`TransactionRunner` over an `InMemoryDatabase`: READ COMMITTED, one lock per instance."""

    _access: Access

    def begin(self, *, eager: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:  # noqa: ARG002  # costs nothing
        self._access.check_started()
        return _Begun(self._access.database)

    def join(self, connection: Any, /) -> AbstractAsyncContextManager[UnitOfWork]:  # noqa: ARG002
        raise InvalidArgument(
            "connection",
            "in-memory stores have no connection to join; use `runtime.transaction()`",
        )
