"""What do several in-memory persistences share?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs

from duraflow.memory.locks import Holder, LockTable
from duraflow.memory.tables import Changes, Tables, View

_NO_CHANGES = Changes()


@attrs.define(eq=False)
class Transaction(Holder):
    """One open transaction: the locks it holds, and what it has written so far."""

    changes: Changes = attrs.field(factory=Changes, init=False)


@attrs.frozen(eq=False)
class InMemoryDatabase:
    """The rows, locks and transactions of one or more `InMemoryPersistence`.

    Give the same one to several, each with its own namespace, as they would share a database server. All of them must
    live in the same world: any number of threads, or the tasks of one event loop.
    """

    _locks: LockTable = attrs.field(factory=LockTable, init=False)
    _tables: Tables = attrs.field(factory=Tables, init=False)

    @property
    def locks(self) -> LockTable:
        """Who holds what."""
        return self._locks

    @property
    def mutex(self) -> AbstractContextManager[Any]:
        """Held for the length of one statement, never while waiting."""
        return self._locks.mutex

    @contextmanager
    def view(self, transaction: Transaction | None) -> Iterator[View]:
        """What a transaction sees, or None for what everyone sees; nothing changes while one looks."""
        with self.mutex:
            yield View(self._tables, _NO_CHANGES if transaction is None else transaction.changes)

    def commit(self, transaction: Transaction) -> None:
        """Make what it wrote visible to all, at once, and give up its locks."""
        with self.mutex:
            self._tables.publish(transaction.changes)
            self._end(transaction)

    def rollback(self, transaction: Transaction) -> None:
        """Forget what it wrote, and give up its locks."""
        with self.mutex:
            self._end(transaction)

    def rollback_to(self, transaction: Transaction, mark: tuple[int, int]) -> None:
        """Forget what it wrote after the mark, and give up the locks that it took since."""
        written, held = mark
        with self.mutex:
            transaction.changes.rewind(written)
            self._locks.release(transaction, list(transaction.held)[held:])

    def _end(self, transaction: Transaction) -> None:
        transaction.open = False
        self._locks.release(transaction, list(transaction.held))
