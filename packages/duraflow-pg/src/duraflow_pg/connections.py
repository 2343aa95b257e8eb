"""How are statements run on psycopg's connections, blocking and asyncio?

Stores are written once against `Connections`. The blocking one never suspends, so that the blocking runtime can drive
it without an event loop. Both use cursors of their own, with their own loaders and binary results: what a borrowed
connection (Django's, SQLAlchemy's) has registered changes nothing here. The cursor is kept on its connection, because
making one costs as much as a tenth of a statement.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Protocol, TypeVar
from uuid import UUID

import attrs
from psycopg.adapt import AdaptersMap, PyFormat
from psycopg.postgres import register_default_adapters
from psycopg.postgres import types as own_types
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from duraflow_pg._psycopg import psycopg
from duraflow_pg.grouping import in_group
from duraflow_pg.statements import Parameters, Row

T = TypeVar("T")

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
Statement = tuple[bytes, Parameters | None]

_CURSOR = "_duraflow_cursor"
_LENT = "_duraflow_made_autocommit"
_LAST_WORDS = "_duraflow_last_words"
"""Attributes kept on a connection: our cursor, that its owner wants autocommit off again, and what it ended with."""

_READ = ("timestamptz", "uuid", "int8", "int4", "int2", "bool", "text", "float8")
_BOUND = (str, int, bool, datetime, UUID)
_OWN = AdaptersMap(types=own_types)
register_default_adapters(_OWN)
"""What psycopg does by itself. `psycopg.adapters` may have been changed by the application, for all of its process."""


def _prepare(cursor: psycopg.Cursor[Row] | psycopg.AsyncCursor[Row]) -> None:
    """Give a cursor psycopg's own loaders and dumpers back, whatever its connection has registered over them."""
    for name in _READ:
        oid = own_types[name].oid
        for format_ in (psycopg.pq.Format.TEXT, psycopg.pq.Format.BINARY):
            loader = _OWN.get_loader(oid, format_)
            if loader is not None:
                cursor.adapters.register_loader(oid, loader)
    for kind in _BOUND:
        # What is registered last is what `%s` takes: psycopg's own choice.
        for wanted in (PyFormat.TEXT, PyFormat.BINARY, PyFormat.AUTO):
            cursor.adapters.register_dumper(kind, _OWN.get_dumper(kind, wanted))


def _without_flush(pipeline: psycopg.Pipeline | psycopg.AsyncPipeline) -> None:
    """Make a pipeline end with its Sync.

    psycopg sends a Flush after it, and a PostgreSQL that has got one is idle in a transaction without its
    idle_in_transaction_session_timeout (seen on 15 to 18): a command that hangs would hold its row for ever.
    """
    if pipeline.level == 1:
        pipeline._exit_gen = partial(_sync_and_fetch, pipeline)  # type: ignore[method-assign]  # noqa: SLF001


def _sync_and_fetch(pipeline: psycopg.Pipeline | psycopg.AsyncPipeline) -> Generator[Any, Any, None]:
    try:
        pipeline._enqueue_sync()  # noqa: SLF001  # as psycopg does, but for `flush`
        yield from pipeline._communicate_gen()  # noqa: SLF001
    finally:
        if pipeline.pgconn.status == psycopg.pq.ConnStatus.OK:
            yield from pipeline._fetch_gen(flush=False)  # noqa: SLF001


@attrs.define(eq=False)
class _LastWords:
    """Why the server ended a session.

    When it does so between two statements, libpq takes the reason for a notice, and the next statement only hears that
    the connection is gone.
    """

    sqlstate: str | None = None
    message: str | None = None

    def hear(self, notice: psycopg.errors.Diagnostic) -> None:
        # Copied: what the notice stands on is freed when this returns.
        if notice.severity_nonlocalized == "FATAL":
            self.sqlstate, self.message = notice.sqlstate, notice.message_primary


def _with_reason(connection: AnyConnection, error: psycopg.OperationalError) -> psycopg.Error:
    """The error that says why the connection is gone, where the server said so."""
    words: _LastWords | None = getattr(connection, _LAST_WORDS, None)
    if words is None or words.sqlstate is None or error.sqlstate is not None:
        return error
    return psycopg.errors.lookup(words.sqlstate)(words.message)  # type: ignore[arg-type]  # psycopg says Sequence


def _idle(connection: AnyConnection) -> bool:
    return not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE


def _pool_stats(stats: Mapping[str, int]) -> dict[str, int]:
    """The pool's figures under the names that `Health` promises."""
    return {
        "size": stats.get("pool_size", 0),
        "available": stats.get("pool_available", 0),
        "waiting": stats.get("requests_waiting", 0),
    }


def _has_rows(cursor: psycopg.Cursor[Row] | psycopg.AsyncCursor[Row]) -> bool:
    return cursor.pgresult is not None and cursor.pgresult.nfields > 0


class Connections(Protocol):
    """A source of connections, and the ways to use one. `connection` is always psycopg's own."""

    pool: Any
    suspends: bool

    @property
    def owned(self) -> bool:
        """Whether the pool is ours, to open and to close."""
        ...

    async def open(self) -> None:
        """Open the pool if it is ours."""
        ...

    async def close(self) -> None:
        """Close the pool if it is ours."""
        ...

    def stats(self) -> dict[str, int]:
        """How the pool is used."""
        ...

    async def unreachable(self) -> str | None:
        """Why no new connection can be made; None if one can, or if only the pool's owner knows how."""
        ...

    async def check(self) -> None:
        """Replace idle connections that no longer work."""
        ...

    async def acquire(self) -> AnyConnection:
        """A connection from the pool, in autocommit mode."""
        ...

    async def release(self, connection: AnyConnection) -> None:
        """Give it back."""
        ...

    async def run(self, connection: Any, statement: bytes, parameters: Parameters | None = None) -> list[Row]:
        """One statement, one trip; its rows."""
        ...

    async def begin(self, connection: Any, statements: Sequence[Statement]) -> tuple[Any, list[Row]]:
        """Open a transaction and run these statements in the same trip; the transaction and the last one's rows."""
        ...

    async def finish(
        self, connection: Any, transaction: Any, statement: bytes, parameters: Parameters
    ) -> list[Row]:
        """Run the last statement of a transaction and commit it, in one trip; the statement's rows."""
        ...

    async def end(self, transaction: Any, error: BaseException | None) -> None:
        """Commit, or roll back because of the error."""
        ...

    async def roll_back(self, connection: Any) -> None:
        """Roll back whatever is open on a connection."""
        ...

    def usable(self, connection: Any) -> bool:
        """Whether this is a connection of the right kind."""
        ...


@attrs.define(eq=False)
class BlockingConnections:
    """Connections of a `psycopg_pool.ConnectionPool`."""

    pool: ConnectionPool[Any]
    make: Callable[[], ConnectionPool[Any]] | None = None
    suspends: bool = False
    _was_closed: bool = False

    @property
    def owned(self) -> bool:
        return self.make is not None

    async def open(self) -> None:
        if self.make is not None:
            if self._was_closed:
                self.pool = self.make()  # psycopg's pools open once
            self.pool.open(wait=False)

    async def close(self) -> None:
        if self.owned:
            self._was_closed = True
            self.pool.close()

    async def unreachable(self) -> str | None:
        if not self.owned:
            return None
        try:
            psycopg.connect(str(self.pool.conninfo), connect_timeout=3).close()
        except psycopg.Error as error:
            return " ".join(str(error).split())
        return None

    def stats(self) -> dict[str, int]:
        return _pool_stats(self.pool.get_stats())

    async def check(self) -> None:
        if not self.pool.closed:
            self.pool.check()

    async def acquire(self) -> AnyConnection:
        connection: psycopg.Connection[Any] = self.pool.getconn()
        if not connection.autocommit:
            try:
                connection.autocommit = True
            except BaseException:
                self.pool.putconn(connection)
                raise
            setattr(connection, _LENT, True)
        return connection

    async def release(self, connection: Any) -> None:
        if getattr(connection, _LENT, False) and _idle(connection):
            connection.autocommit = False
            setattr(connection, _LENT, False)
        self.pool.putconn(connection)

    def _cursor(self, connection: psycopg.Connection[Any]) -> psycopg.Cursor[Row]:
        cursor: psycopg.Cursor[Row] | None = getattr(connection, _CURSOR, None)
        if cursor is None or cursor.closed:
            cursor = psycopg.Cursor(connection, row_factory=tuple_row)
            cursor.format = psycopg.pq.Format.BINARY
            _prepare(cursor)
            setattr(connection, _CURSOR, cursor)
            words = _LastWords()
            connection.add_notice_handler(words.hear)
            setattr(connection, _LAST_WORDS, words)
        return cursor

    async def run(self, connection: Any, statement: bytes, parameters: Parameters | None = None) -> list[Row]:
        cursor = self._cursor(connection)
        cursor.execute(statement, parameters, prepare=True, binary=True)
        return cursor.fetchall() if _has_rows(cursor) else []

    async def begin(self, connection: Any, statements: Sequence[Statement]) -> tuple[Any, list[Row]]:
        # Not `connection.transaction()`: inside a pipeline that one keeps pipeline mode on until the transaction ends.
        transaction = psycopg.Transaction(connection)
        if not statements:
            transaction.__enter__()
            return transaction, []
        cursor = self._cursor(connection)
        try:
            with connection.pipeline() as pipeline:
                _without_flush(pipeline)
                transaction.__enter__()
                for statement, parameters in statements:
                    cursor.execute(statement, parameters, prepare=True, binary=True)
            return transaction, (cursor.fetchall() if _has_rows(cursor) else [])
        except BaseException as error:
            transaction.__exit__(type(error), error, None)
            raise

    async def finish(
        self, connection: Any, transaction: Any, statement: bytes, parameters: Parameters
    ) -> list[Row]:
        cursor = self._cursor(connection)
        try:
            with connection.pipeline() as pipeline:
                _without_flush(pipeline)
                cursor.execute(statement, parameters, prepare=True, binary=True)
                transaction.__exit__(None, None, None)
        except psycopg.OperationalError as error:
            raise _with_reason(connection, error) from error
        return cursor.fetchall() if _has_rows(cursor) else []

    async def end(self, transaction: Any, error: BaseException | None) -> None:
        transaction.__exit__(type(error) if error is not None else None, error, None)

    async def roll_back(self, connection: Any) -> None:
        connection.rollback()

    def usable(self, connection: Any) -> bool:
        return isinstance(connection, psycopg.Connection)


@attrs.define(eq=False)
class AsyncioConnections:
    """Connections of a `psycopg_pool.AsyncConnectionPool`."""

    pool: AsyncConnectionPool[Any]
    make: Callable[[], AsyncConnectionPool[Any]] | None = None
    suspends: bool = True
    _was_closed: bool = False
    _tasks: set[asyncio.Task[Any]] = attrs.field(factory=set)

    @property
    def owned(self) -> bool:
        return self.make is not None

    async def open(self) -> None:
        if self.make is not None:
            if self._was_closed:
                self.pool = self.make()  # psycopg's pools open once
            await self.pool.open(wait=False)

    async def close(self) -> None:
        if self.owned:
            self._was_closed = True
            await self.pool.close()

    async def unreachable(self) -> str | None:
        if not self.owned:
            return None
        try:
            await (await psycopg.AsyncConnection.connect(str(self.pool.conninfo), connect_timeout=3)).close()
        except psycopg.Error as error:
            return " ".join(str(error).split())
        return None

    def stats(self) -> dict[str, int]:
        return _pool_stats(self.pool.get_stats())

    async def check(self) -> None:
        if not self.pool.closed:
            await self.pool.check()

    async def acquire(self) -> AnyConnection:
        if in_group.get():
            return await self._take()
        # psycopg's pool loses a connection that it hands to a task which is cancelled before it wakes up, or which is
        # cancelled while it gives one back: both are done in tasks that nobody cancels.
        taking = self._by_itself(self._take())
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(self._put_back)
            raise

    async def release(self, connection: Any) -> None:
        if in_group.get():
            await self._give(connection)
        else:
            await asyncio.shield(self._by_itself(self._give(connection)))

    def _by_itself(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _put_back(self, taken: asyncio.Task[psycopg.AsyncConnection[Any]]) -> None:
        if not taken.cancelled() and taken.exception() is None:
            _ = self._by_itself(self._give(taken.result()))

    async def _take(self) -> psycopg.AsyncConnection[Any]:
        connection: psycopg.AsyncConnection[Any] = await self.pool.getconn()
        if not connection.autocommit:
            try:
                await connection.set_autocommit(True)
            except BaseException:
                await self.pool.putconn(connection)
                raise
            setattr(connection, _LENT, True)
        return connection

    async def _give(self, connection: psycopg.AsyncConnection[Any]) -> None:
        if getattr(connection, _LENT, False) and _idle(connection):
            await connection.set_autocommit(False)
            setattr(connection, _LENT, False)
        await self.pool.putconn(connection)

    def _cursor(self, connection: psycopg.AsyncConnection[Any]) -> psycopg.AsyncCursor[Row]:
        cursor: psycopg.AsyncCursor[Row] | None = getattr(connection, _CURSOR, None)
        if cursor is None or cursor.closed:
            cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
            cursor.format = psycopg.pq.Format.BINARY
            _prepare(cursor)
            setattr(connection, _CURSOR, cursor)
            words = _LastWords()
            connection.add_notice_handler(words.hear)
            setattr(connection, _LAST_WORDS, words)
        return cursor

    async def run(self, connection: Any, statement: bytes, parameters: Parameters | None = None) -> list[Row]:
        cursor = self._cursor(connection)
        await cursor.execute(statement, parameters, prepare=True, binary=True)
        return await cursor.fetchall() if _has_rows(cursor) else []

    async def begin(self, connection: Any, statements: Sequence[Statement]) -> tuple[Any, list[Row]]:
        # Not `connection.transaction()`: inside a pipeline that one keeps pipeline mode on until the transaction ends.
        transaction = psycopg.AsyncTransaction(connection)
        if not statements:
            await transaction.__aenter__()
            return transaction, []
        cursor = self._cursor(connection)
        try:
            async with connection.pipeline() as pipeline:
                _without_flush(pipeline)
                await transaction.__aenter__()
                for statement, parameters in statements:
                    await cursor.execute(statement, parameters, prepare=True, binary=True)
            return transaction, (await cursor.fetchall() if _has_rows(cursor) else [])
        except BaseException as error:
            await transaction.__aexit__(type(error), error, None)
            raise

    async def finish(
        self, connection: Any, transaction: Any, statement: bytes, parameters: Parameters
    ) -> list[Row]:
        cursor = self._cursor(connection)
        try:
            async with connection.pipeline() as pipeline:
                _without_flush(pipeline)
                await cursor.execute(statement, parameters, prepare=True, binary=True)
                await transaction.__aexit__(None, None, None)
        except psycopg.OperationalError as error:
            raise _with_reason(connection, error) from error
        return await cursor.fetchall() if _has_rows(cursor) else []

    async def end(self, transaction: Any, error: BaseException | None) -> None:
        await transaction.__aexit__(type(error) if error is not None else None, error, None)

    async def roll_back(self, connection: Any) -> None:
        await connection.rollback()

    def usable(self, connection: Any) -> bool:
        return isinstance(connection, psycopg.AsyncConnection)
