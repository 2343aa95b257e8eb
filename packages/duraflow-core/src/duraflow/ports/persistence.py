"""Which ports does one store offer?"""

from __future__ import annotations

import attrs

from duraflow.ports.base import (
    DefinitionStore,
    DueStore,
    HistoryStore,
    InstanceStore,
    Lifecycle,
    TransactionRunner,
    Writer,
)
from duraflow.ports.feed import ChangeFeed
from duraflow.ports.inspection import Inspector
from duraflow.ports.outbox import Outbox
from duraflow.ports.receipts import ReceiptStore
from duraflow.ports.retention import Retention


@attrs.frozen(kw_only=True)
class Persistence:
    """The ports of one store, by name. Replace one with `attrs.evolve(persistence, history=…)`.

    Attributes:
        namespace: which part of the store it works in; a label here, the stores are made for it.
        writer: None builds one from the three base ports.
        kind: which runtime it serves: `blocking`, `asyncio`, or `any`.
    """

    instances: InstanceStore
    history: HistoryStore
    transactions: TransactionRunner
    writer: Writer | None = None
    due: DueStore | None = None
    definitions: DefinitionStore | None = None
    receipts: ReceiptStore | None = None
    outbox: Outbox | None = None
    feed: ChangeFeed | None = None
    inspector: Inspector | None = None
    retention: Retention | None = None
    lifecycle: Lifecycle | None = None
    namespace: str = "default"
    kind: str = "any"
