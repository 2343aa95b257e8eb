"""How do tests run without a database? The ports in memory, with real transactions and locks.

>>> persistence = InMemoryPersistence()
>>> persistence.namespace
'default'
"""

from duraflow.memory.database import InMemoryDatabase
from duraflow.memory.definitions import InMemoryDefinitionStore
from duraflow.memory.due import InMemoryDueStore
from duraflow.memory.history import InMemoryHistoryStore
from duraflow.memory.instances import InMemoryInstanceStore
from duraflow.memory.lifecycle import InMemoryLifecycle
from duraflow.memory.persistence import InMemoryPersistence
from duraflow.memory.transactions import InMemoryTransactionRunner, InMemoryUnit

__all__ = [
    "InMemoryPersistence",
    "InMemoryDatabase",
    "InMemoryInstanceStore",
    "InMemoryHistoryStore",
    "InMemoryTransactionRunner",
    "InMemoryDueStore",
    "InMemoryDefinitionStore",
    "InMemoryLifecycle",
    "InMemoryUnit",
]
