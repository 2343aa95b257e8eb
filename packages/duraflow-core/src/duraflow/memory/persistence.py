"""What does a runtime need to keep everything in memory?"""

from __future__ import annotations

import attrs

from duraflow.clock import SystemClock
from duraflow.memory.access import Access
from duraflow.memory.database import InMemoryDatabase
from duraflow.memory.definitions import InMemoryDefinitionStore
from duraflow.memory.due import InMemoryDueStore
from duraflow.memory.feed import InMemoryChangeFeed
from duraflow.memory.history import InMemoryHistoryStore
from duraflow.memory.inspection import InMemoryInspector
from duraflow.memory.instances import InMemoryInstanceStore
from duraflow.memory.lifecycle import InMemoryLifecycle
from duraflow.memory.outbox import InMemoryOutbox
from duraflow.memory.receipts import InMemoryReceiptStore
from duraflow.memory.retention import InMemoryRetention
from duraflow.memory.transactions import InMemoryTransactionRunner
from duraflow.ports import (
    ChangeFeed,
    Clock,
    DefinitionStore,
    DueStore,
    HistoryStore,
    Inspector,
    InstanceStore,
    Lifecycle,
    Outbox,
    Persistence,
    ReceiptStore,
    Retention,
    TransactionRunner,
)


@attrs.frozen(kw_only=True, eq=False)
class InMemoryPersistence(Persistence):
    """All ports in memory, for tests: real transactions and locks, gone with the process.

    Serves one blocking runtime with all its threads, or one asyncio runtime with all its tasks. A port can be replaced
    with `attrs.evolve(InMemoryPersistence(), history=…)`; for another namespace make another one over the same
    database, because stores are bound to theirs:

    >>> first = InMemoryPersistence(namespace="a")
    >>> second = InMemoryPersistence(namespace="b", database=first.database)

    Attributes:
        database: where the rows are; give the same one to several, as they would share a server.
        clock: the store's own clock, used when the runtime has none.
    """

    namespace: str = "default"
    database: InMemoryDatabase = attrs.field(factory=InMemoryDatabase)
    clock: Clock = attrs.field(factory=SystemClock)
    _access: Access = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(
            lambda self: Access(self.database, self.namespace, self.clock), takes_self=True
        ),
    )
    instances: InstanceStore = attrs.field(
        default=attrs.Factory(lambda self: InMemoryInstanceStore(self._access), takes_self=True)
    )
    history: HistoryStore = attrs.field(
        default=attrs.Factory(lambda self: InMemoryHistoryStore(self._access), takes_self=True)
    )
    transactions: TransactionRunner = attrs.field(
        default=attrs.Factory(lambda self: InMemoryTransactionRunner(self._access), takes_self=True)
    )
    due: DueStore | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryDueStore(self._access), takes_self=True)
    )
    definitions: DefinitionStore | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryDefinitionStore(self._access), takes_self=True)
    )
    receipts: ReceiptStore | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryReceiptStore(self._access), takes_self=True)
    )
    outbox: Outbox | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryOutbox(self._access), takes_self=True)
    )
    feed: ChangeFeed | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryChangeFeed(self._access), takes_self=True)
    )
    inspector: Inspector | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryInspector(self._access), takes_self=True)
    )
    retention: Retention | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryRetention(self._access), takes_self=True)
    )
    lifecycle: Lifecycle | None = attrs.field(
        default=attrs.Factory(lambda self: InMemoryLifecycle(self._access), takes_self=True)
    )
