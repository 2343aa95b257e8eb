"""How do the migrations talk to a connection, blocking or asyncio, written once?

The code over a `Session` is `async`; `BlockingSession` never suspends, so `duraflow.runtime.drive` runs it straight.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, LiteralString, Protocol, TypeAlias

import attrs

from duraflow.errors import InvalidArgument, Misuse, StoreUnavailable
from duraflow_pg._dsn import read_dsn
from duraflow_pg._psycopg import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    Query: TypeAlias = LiteralString | psycopg.sql.SQL | psycopg.sql.Composed
    Parameters: TypeAlias = Sequence[Any] | Mapping[str, Any]
    Row: TypeAlias = tuple[Any, ...]


class Session(Protocol):
    """One connection with no transaction open, or inside `transaction()`."""

    @property
    def autocommit(self) -> bool:
        """Whether a statement outside `transaction()` stands alone."""
        ...

    async def rows(self, query: Query, parameters: Parameters | None = None, /) -> list[Row]:
        """Run one statement that gives rows."""
        ...

    async def run(self, script: str, /) -> None:
        """Run a text of several statements in one trip."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Commit at the end, roll back on an exception."""
        ...

    async def wait(self, seconds: float, /) -> None:
        """Let others go on."""
        ...


# Both have cursors of their own class and row factory, whatever the borrowed connection's default is.


@attrs.frozen
class BlockingSession:
    """`Session` on a blocking connection."""

    _connection: psycopg.Connection[Any]

    @property
    def autocommit(self) -> bool:
        return self._connection.autocommit

    async def rows(self, query: Query, parameters: Parameters | None = None, /) -> list[Row]:
        with psycopg.Cursor(self._connection, row_factory=psycopg.rows.tuple_row) as cursor:
            return cursor.execute(query, parameters, prepare=False).fetchall()

    async def run(self, script: str, /) -> None:
        with psycopg.Cursor(self._connection) as cursor:
            # without parameters: the simple protocol, which takes several statements, and no placeholders
            cursor.execute(_as_sql(script))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        with self._connection.transaction():
            yield

    async def wait(self, seconds: float, /) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - the blocking twin: there is no event loop


@attrs.frozen
class AsyncSession:
    """`Session` on an asyncio connection."""

    _connection: psycopg.AsyncConnection[Any]

    @property
    def autocommit(self) -> bool:
        return self._connection.autocommit

    async def rows(self, query: Query, parameters: Parameters | None = None, /) -> list[Row]:
        async with psycopg.AsyncCursor(self._connection, row_factory=psycopg.rows.tuple_row) as cursor:
            await cursor.execute(query, parameters, prepare=False)
            return await cursor.fetchall()

    async def run(self, script: str, /) -> None:
        async with psycopg.AsyncCursor(self._connection) as cursor:
            await cursor.execute(_as_sql(script))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._connection.transaction():
            yield

    async def wait(self, seconds: float, /) -> None:
        await asyncio.sleep(seconds)


@contextmanager
def blocking_session(target: str | psycopg.Connection[Any]) -> Iterator[Session]:
    """A session on the given connection, which stays open, or on one of its own made from a DSN.

    Raises:
        InvalidArgument: the DSN cannot be parsed, or the connection is closed.
        Misuse: the connection is in the middle of something.
        StoreUnavailable: no connection could be made.
    """
    if not isinstance(target, str):
        _check_idle(target)
        yield BlockingSession(target)
        return
    conninfo = read_dsn(target).conninfo
    try:
        connection = psycopg.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip()) from error
    with connection:
        yield BlockingSession(connection)


@asynccontextmanager
async def async_session(target: str | psycopg.AsyncConnection[Any]) -> AsyncIterator[Session]:
    """As `blocking_session`, on asyncio."""
    if not isinstance(target, str):
        _check_idle(target)
        yield AsyncSession(target)
        return
    conninfo = read_dsn(target).conninfo
    try:
        connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
    except psycopg.OperationalError as error:
        raise StoreUnavailable(str(error).strip()) from error
    async with connection:
        yield AsyncSession(connection)


def _check_idle(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    if connection.closed:
        raise InvalidArgument("connection", "is closed; open another one, or give a DSN")
    if connection.pgconn.pipeline_status != psycopg.pq.PipelineStatus.OFF:
        raise Misuse("the connection is in pipeline mode", "leave it first, or give a DSN")
    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
        # a version row must become visible to others when the lock is given back, not later
        raise Misuse("the connection is inside a transaction", "commit or roll back first, or give a DSN")


def _as_sql(script: str) -> psycopg.sql.SQL:
    # not bytes: psycopg encodes it as the connection wants it
    return psycopg.sql.SQL(script)
