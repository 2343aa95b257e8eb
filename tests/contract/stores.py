"""Which stores must pass the contract? One parameter each.

To add one: a function from a pytest request to a `Subject`, and a line in `STORES`. What needs a server carries the
mark `pg`, because its fixture is asked for by name.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing.conformance import Subject
from duraflow_pg import AsyncPgPersistence, PgPersistence

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


def pg_blocking(request: pytest.FixtureRequest) -> Subject:
    """PostgreSQL, for threads."""
    dsn: str = request.getfixturevalue("pg_dsn")
    return Subject(persistence=lambda namespace: PgPersistence.from_dsn(dsn, namespace=namespace, max_size=8))


def pg_asyncio(request: pytest.FixtureRequest) -> Subject:
    """PostgreSQL, for tasks."""
    dsn: str = request.getfixturevalue("pg_dsn")
    return Subject(
        persistence=lambda namespace: AsyncPgPersistence.from_dsn(dsn, namespace=namespace, max_size=8),
        asyncio=True,
    )


STORES = [
    pytest.param(memory_blocking, id="memory-blocking"),
    pytest.param(memory_asyncio, id="memory-asyncio"),
    pytest.param(pg_blocking, id="pg-blocking", marks=pytest.mark.pg),
    pytest.param(pg_asyncio, id="pg-asyncio", marks=pytest.mark.pg),
]
