"""Which stores must pass the contract? One parameter each.

To add one: a function from a pytest request to a `Subject`, and a line in `STORES`. What needs a server carries the
mark `pg`, because its fixture is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing.conformance import Subject

Make = Callable[[pytest.FixtureRequest], Subject]


def memory_blocking(request: pytest.FixtureRequest) -> Subject:
    """In memory, for threads."""
    database = InMemoryDatabase()
    return Subject(persistence=lambda namespace: InMemoryPersistence(database=database, namespace=namespace))


def memory_asyncio(request: pytest.FixtureRequest) -> Subject:
    """In memory, for tasks."""
    database = InMemoryDatabase()
    return Subject(
        persistence=lambda namespace: InMemoryPersistence(database=database, namespace=namespace),
        asyncio=True,
    )


STORES = [
    pytest.param(memory_blocking, id="memory-blocking"),
    pytest.param(memory_asyncio, id="memory-asyncio"),
]
