"""What does a runtime need to keep everything in PostgreSQL?"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

import attrs
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from duraflow.definition.checks.names import name_problem
from duraflow.errors import InvalidArgument
from duraflow.ports import (
    ChangeFeed,
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
    Writer,
)
from duraflow_pg._dsn import read_dsn
from duraflow_pg._psycopg import psycopg
from duraflow_pg.connections import AsyncioConnections, BlockingConnections, Connections
from duraflow_pg.database import PgDatabase, Timeouts
from duraflow_pg.definitions import PgDefinitionStore
from duraflow_pg.doctor.inspector import PgInspector
from duraflow_pg.due import PgDueStore
from duraflow_pg.feed import PgChangeFeed
from duraflow_pg.grouping import Grouping
from duraflow_pg.hints import AsyncioHints, BlockingHints
from duraflow_pg.history import PgHistoryStore
from duraflow_pg.instances import PgInstanceStore
from duraflow_pg.lifecycle import PgLifecycle
from duraflow_pg.outbox import PgOutbox
from duraflow_pg.receipts import PgReceiptStore
from duraflow_pg.retention import PgRetention
from duraflow_pg.schema.applying import migrate as apply_migrations
from duraflow_pg.schema.applying import migrate_async as apply_migrations_async
from duraflow_pg.schema.names import check_schema_name
from duraflow_pg.units import PgTransactionRunner
from duraflow_pg.writer import PgWriter

MIN_SIZE, MAX_SIZE = 1, 10

_KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""Set where the DSN does not: without them a dead network shows after hours."""


def _pool_options(
    dsn: str, keywords: Mapping[str, Any], min_size: int, max_size: int | None, prepared_statements: bool
) -> tuple[str, dict[str, Any]]:
    """The connection string and the options of a pool of our own.

    Raises:
        InvalidArgument: the DSN or a size cannot be used.
    """
    read = read_dsn(dsn)
    try:
        conninfo = psycopg.conninfo.make_conninfo(read.conninfo, **keywords)
    except psycopg.ProgrammingError as error:
        raise InvalidArgument("dsn", f"the keywords given beside it cannot be used: {error}") from None
    known = psycopg.conninfo.conninfo_to_dict(conninfo)
    conninfo = psycopg.conninfo.make_conninfo(
        conninfo, **{name: value for name, value in _KEEPALIVE.items() if name not in known}
    )
    asked = read.pool.get("pool_size")
    if max_size is None:
        if asked is not None and not asked.isdecimal():
            raise InvalidArgument("dsn", f"pool_size is {asked!r}, not a whole number")
        max_size = int(asked) if asked is not None else max(MAX_SIZE, min_size)
    if not 0 <= min_size <= max_size or max_size < 1:
        raise InvalidArgument("max_size", f"a pool of {min_size} to {max_size} connections makes no sense")
    return conninfo, {
        "min_size": min_size,
        "max_size": max_size,
        "kwargs": {"autocommit": True, "prepare_threshold": 5 if prepared_statements else None},
        "open": False,
        "timeout": 10.0,
        "name": "duraflow",
    }


@attrs.frozen
class _Settings:
    """What `from_env` read."""

    dsn: str
    schema: str
    namespace: str


def _environment(environment: Mapping[str, str]) -> _Settings:
    """`DURAFLOW_DSN` (else `DATABASE_URL`), `DURAFLOW_SCHEMA` and `DURAFLOW_NAMESPACE`.

    Raises:
        InvalidArgument: a variable is missing or cannot be used; the error names it.
    """
    kind = environment.get("DURAFLOW_PERSISTENCE", "postgres")
    if kind != "postgres":
        raise InvalidArgument("DURAFLOW_PERSISTENCE", f"it says {kind!r}, which PgPersistence is not")
    name = "DURAFLOW_DSN" if environment.get("DURAFLOW_DSN") else "DATABASE_URL"
    dsn = environment.get(name, "")
    if not dsn:
        raise InvalidArgument("DURAFLOW_DSN", "neither it nor DATABASE_URL is set; give a postgresql:// URL")
    read_dsn(dsn, argument=name)
    schema = environment.get("DURAFLOW_SCHEMA") or "public"
    check_schema_name(schema, argument="DURAFLOW_SCHEMA")
    namespace = environment.get("DURAFLOW_NAMESPACE") or "default"
    _check_namespace(namespace, "DURAFLOW_NAMESPACE")
    return _Settings(dsn, schema, namespace)


def _check_namespace(namespace: str, argument: str = "namespace") -> str:
    problem = name_problem(namespace)
    if problem is not None:
        raise InvalidArgument(argument, problem[1])
    return namespace


def _database(
    connections: Connections, schema: str, namespace: str, timeouts: Timeouts | None, notify: bool
) -> PgDatabase:
    hints = (AsyncioHints() if connections.suspends else BlockingHints()) if notify else None
    return PgDatabase(
        connections,
        check_schema_name(schema),
        _check_namespace(namespace),
        timeouts or Timeouts(),
        hints=hints,
    )


def _port(make: Callable[[Any], Any]) -> Any:
    """A port made from the persistence's database unless another one is given."""
    return attrs.field(default=attrs.Factory(make, takes_self=True), kw_only=True, repr=False)


def _lifecycle(persistence: PgPersistence | AsyncPgPersistence) -> PgLifecycle:
    async def drain() -> None:
        for store in (persistence.instances, persistence.writer):
            if isinstance(store, (PgInstanceStore, PgWriter)):
                await store.drain()

    return PgLifecycle(persistence.database, None, drain)


@attrs.frozen(eq=False)
class PgPersistence(Persistence):
    """All ports on PostgreSQL, for the blocking runtime, over a pool that the caller opens and closes.

    Attributes:
        pool: its connections may have any settings; they are put into autocommit while they are lent, and back.
            When a closed runtime is started again on a pool of our own (`from_dsn`), a new one takes its place, which
            is then `database.connections.pool`.
        schema: where the tables are.
        namespace: which part of them is seen.
        timeouts: limits that the server keeps for transactions of ours.
        notify: send NOTIFY after commits, at most one in 20 ms, and listen for it where the change feed is followed.
    """

    pool: ConnectionPool[Any] = attrs.field(kw_only=False)
    schema: str = attrs.field(default="public", kw_only=True)
    namespace: str = attrs.field(default="default", kw_only=True)
    timeouts: Timeouts = attrs.field(factory=Timeouts, kw_only=True)
    notify: bool = attrs.field(default=False, kw_only=True)
    kind: str = attrs.field(default="blocking", kw_only=True, repr=False)
    database: PgDatabase = _port(
        lambda self: _database(
            BlockingConnections(self.pool), self.schema, self.namespace, self.timeouts, self.notify
        )
    )
    instances: InstanceStore = _port(lambda self: PgInstanceStore(self.database))
    history: HistoryStore = _port(lambda self: PgHistoryStore(self.database))
    transactions: TransactionRunner = _port(lambda self: PgTransactionRunner(self.database))
    writer: Writer | None = _port(lambda self: PgWriter(self.database))
    due: DueStore | None = _port(lambda self: PgDueStore(self.database))
    definitions: DefinitionStore | None = _port(lambda self: PgDefinitionStore(self.database))
    receipts: ReceiptStore | None = _port(lambda self: PgReceiptStore(self.database))
    outbox: Outbox | None = _port(lambda self: PgOutbox(self.database))
    feed: ChangeFeed | None = _port(lambda self: PgChangeFeed(self.database))
    retention: Retention | None = _port(lambda self: PgRetention(self.database))
    inspector: Inspector | None = _port(lambda self: PgInspector(self.database))
    lifecycle: Lifecycle | None = _port(_lifecycle)

    @classmethod
    def from_dsn(
        cls,
        dsn: str = "",
        *,
        schema: str = "public",
        namespace: str = "default",
        timeouts: Timeouts | None = None,
        min_size: int = MIN_SIZE,
        max_size: int | None = None,
        migrate: bool = False,
        prepared_statements: bool = True,
        notify: bool = False,
        **keywords: Any,
    ) -> Self:
        """A persistence with a pool of its own, opened by the runtime's `start()` and closed by its `close()`.

        Args:
            dsn: a postgresql:// URL or keywords; empty means libpq's environment. `pool_size=` in it is `max_size`.
            min_size: connections kept open, at least.
            max_size: connections at most; 10 unless the DSN says otherwise.
            migrate: apply missing migrations at start; the role then needs the rights for it.
            prepared_statements: False for a pooler in transaction mode that does not keep them (PgBouncer below 1.21).
            notify: wake who follows the change feed by NOTIFY, instead of by polling alone.
            keywords: libpq's parameters, over those of the DSN.

        Raises:
            InvalidArgument: the DSN or an option cannot be used.
        """
        conninfo, options = _pool_options(dsn, keywords, min_size, max_size, prepared_statements)

        def make() -> ConnectionPool[Any]:
            return ConnectionPool(conninfo, **options)

        pool = make()
        database = _database(BlockingConnections(pool, make), schema, namespace, timeouts, notify)

        async def migrating() -> object:
            return apply_migrations(conninfo, schema=schema)

        made = cls(
            pool,
            schema=schema,
            namespace=namespace,
            timeouts=database.timeouts,
            notify=notify,
            database=database,
        )
        assert isinstance(made.lifecycle, PgLifecycle)
        return attrs.evolve(
            made, lifecycle=attrs.evolve(made.lifecycle, migrate=migrating if migrate else None)
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **options: Any) -> Self:
        """A persistence as `DURAFLOW_DSN` (else `DATABASE_URL`), `DURAFLOW_SCHEMA` and `DURAFLOW_NAMESPACE` say.

        Args:
            options: as for `from_dsn`; they win over the environment.

        Raises:
            InvalidArgument: a variable is missing or wrong; the error names it.
        """
        found = _environment(os.environ if environment is None else environment)
        return cls.from_dsn(found.dsn, **{"schema": found.schema, "namespace": found.namespace, **options})

    def migrate(self) -> tuple[str, ...]:
        """Apply missing migrations, over a connection of the pool; the versions that were applied."""
        with self._lent() as connection:
            return apply_migrations(connection, schema=self.schema)

    @contextmanager
    def _lent(self) -> Iterator[psycopg.Connection[Any]]:
        pool: ConnectionPool[Any] = self.database.connections.pool
        if self.database.connections.owned and pool.closed:
            with psycopg.connect(str(pool.conninfo), autocommit=True) as connection:
                yield connection
        else:
            with pool.connection() as connection:
                yield connection


@attrs.frozen(eq=False)
class AsyncPgPersistence(Persistence):
    """All ports on PostgreSQL, for the asyncio runtime, over a pool that the caller opens and closes.

    Reads and command-free moves that wait at the same time share their trips. Attributes are those of
    `PgPersistence`.
    """

    pool: AsyncConnectionPool[Any] = attrs.field(kw_only=False)
    schema: str = attrs.field(default="public", kw_only=True)
    namespace: str = attrs.field(default="default", kw_only=True)
    timeouts: Timeouts = attrs.field(factory=Timeouts, kw_only=True)
    notify: bool = attrs.field(default=False, kw_only=True)
    kind: str = attrs.field(default="asyncio", kw_only=True, repr=False)
    database: PgDatabase = _port(
        lambda self: _database(
            AsyncioConnections(self.pool), self.schema, self.namespace, self.timeouts, self.notify
        )
    )
    instances: InstanceStore = _port(lambda self: PgInstanceStore(self.database, Grouping()))
    history: HistoryStore = _port(lambda self: PgHistoryStore(self.database))
    transactions: TransactionRunner = _port(lambda self: PgTransactionRunner(self.database))
    writer: Writer | None = _port(lambda self: PgWriter(self.database, Grouping(), Grouping(eager=True)))
    due: DueStore | None = _port(lambda self: PgDueStore(self.database))
    definitions: DefinitionStore | None = _port(lambda self: PgDefinitionStore(self.database))
    receipts: ReceiptStore | None = _port(lambda self: PgReceiptStore(self.database))
    outbox: Outbox | None = _port(lambda self: PgOutbox(self.database))
    feed: ChangeFeed | None = _port(lambda self: PgChangeFeed(self.database))
    retention: Retention | None = _port(lambda self: PgRetention(self.database))
    inspector: Inspector | None = _port(lambda self: PgInspector(self.database))
    lifecycle: Lifecycle | None = _port(_lifecycle)

    @classmethod
    def from_dsn(
        cls,
        dsn: str = "",
        *,
        schema: str = "public",
        namespace: str = "default",
        timeouts: Timeouts | None = None,
        min_size: int = MIN_SIZE,
        max_size: int | None = None,
        migrate: bool = False,
        prepared_statements: bool = True,
        notify: bool = False,
        **keywords: Any,
    ) -> Self:
        """See `PgPersistence.from_dsn`."""
        conninfo, options = _pool_options(dsn, keywords, min_size, max_size, prepared_statements)

        def make() -> AsyncConnectionPool[Any]:
            return AsyncConnectionPool(conninfo, **options)

        pool = make()
        database = _database(AsyncioConnections(pool, make), schema, namespace, timeouts, notify)

        async def migrating() -> object:
            return await apply_migrations_async(conninfo, schema=schema)

        made = cls(
            pool,
            schema=schema,
            namespace=namespace,
            timeouts=database.timeouts,
            notify=notify,
            database=database,
        )
        assert isinstance(made.lifecycle, PgLifecycle)
        return attrs.evolve(
            made, lifecycle=attrs.evolve(made.lifecycle, migrate=migrating if migrate else None)
        )

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None, **options: Any) -> Self:
        """See `PgPersistence.from_env`."""
        found = _environment(os.environ if environment is None else environment)
        return cls.from_dsn(found.dsn, **{"schema": found.schema, "namespace": found.namespace, **options})

    async def migrate(self) -> tuple[str, ...]:
        """Apply missing migrations, over a connection of the pool; the versions that were applied."""
        async with self._lent() as connection:
            return await apply_migrations_async(connection, schema=self.schema)

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        pool: AsyncConnectionPool[Any] = self.database.connections.pool
        if self.database.connections.owned and pool.closed:
            async with await psycopg.AsyncConnection.connect(
                str(pool.conninfo), autocommit=True
            ) as connection:
                yield connection
        else:
            async with pool.connection() as connection:
                yield connection
