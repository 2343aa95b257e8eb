"""What does the core need from the outside world?

Ports are small Protocols. `InstanceStore`, `HistoryStore` and `TransactionRunner` are all that an adapter author must
write; the others add abilities, and an operation that needs a missing one raises `NotSupported`.

Every store method takes the unit of work it belongs to as its first argument: with `None` it works on its own, seeing
committed data only, and commits by itself. Stores keep no state between calls, so that one store serves all threads
and tasks, and any one port can be replaced with `attrs.evolve`.
"""

from duraflow.ports.base import (
    Clock,
    DefinitionStore,
    DueInstance,
    DueStore,
    Environment,
    HistoryStore,
    Ids,
    InstanceStore,
    Key,
    Lifecycle,
    Loaded,
    Lock,
    StoredVersion,
    TransactionRunner,
    UnitOfWork,
    Waits,
    Writer,
)
from duraflow.ports.feed import ChangeFeed, FeedEntry, FeedPage, FeedPosition
from duraflow.ports.inspection import Examination, Inspector
from duraflow.ports.outbox import (
    Free,
    HandlerLease,
    HeldBack,
    HeldChange,
    Hold,
    Outbox,
    OutboxPage,
    OutboxPosition,
    Posted,
)
from duraflow.ports.persistence import Persistence
from duraflow.ports.receipts import ReceiptStore
from duraflow.ports.retention import PrunedBatch, Retention, Whole

__all__ = [
    "ChangeFeed",
    "Clock",
    "DefinitionStore",
    "DueInstance",
    "DueStore",
    "Environment",
    "Examination",
    "FeedEntry",
    "FeedPage",
    "FeedPosition",
    "Free",
    "HandlerLease",
    "HeldBack",
    "HeldChange",
    "HistoryStore",
    "Hold",
    "Ids",
    "Inspector",
    "InstanceStore",
    "Key",
    "Lifecycle",
    "Loaded",
    "Lock",
    "Outbox",
    "OutboxPage",
    "OutboxPosition",
    "Persistence",
    "Posted",
    "PrunedBatch",
    "ReceiptStore",
    "Retention",
    "StoredVersion",
    "TransactionRunner",
    "UnitOfWork",
    "Waits",
    "Whole",
    "Writer",
]
