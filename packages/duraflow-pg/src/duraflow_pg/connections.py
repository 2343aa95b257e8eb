"""How are statements run on psycopg's connections, blocking and asyncio?

Stores are written once against `Connections`. The blocking one never suspends, so that the blocking runtime can drive
it without an event loop. Both use cursors of their own, with their own loaders and binary results: what a borrowed
connection (Django's, SQLAlchemy's) has registered changes nothing here. The cursor is kept on its connection, because
making one costs as much as a tenth of a statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs
from psycopg.pq import TransactionStatus
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from duraflow_pg._psycopg import psycopg
from duraflow_pg.statements import Parameters, Row

AnyConnection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
Statement = tuple[bytes, Parameters | None]

_CURSOR = "_duraflow_cursor"
_LENT = "_duraflow_made_autocommit"
"""Attributes kept on a connection: our cursor, and that its owner wants autocommit off again."""

_TYPES = ("timestamptz", "uuid", "int8", "int4", "int2", "bool", "text", "float8")


def _prepare(cursor: psycopg.Cursor[Row] | psycopg.AsyncCursor[Row]) -> None:
    """Give a cursor psycopg's own loaders and dumpers back, whatever its connection has registered over them."""
    own = psycopg.adapters
    for name in _TYPES:
        info = own.types[name]
        for format_ in (psycopg.pq.Format.TEXT, psycopg.pq.Format.BINARY):
            loader = own.get_loader(info.oid, format_)
            if loader is not None:
                cursor.adapters.register_loader(info.oid, loader)


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

    suspends: bool
    owned: bool

    async def open(self) -> None:
        """Open the pool if it is ours."""
        ...

    async def close(self) -> None:
        """Close the pool if it is ours."""
        ...

    def stats(self) -> dict[str, int]:
        """How the pool is used."""
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
    owned: bool
    suspends: bool = False

    async def open(self) -> None:
        if self.owned:
            self.pool.open(wait=False)

    async def close(self) -> None:
        if self.owned:
            self.pool.close()

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
        self.pool.putconn(connection)

    def _cursor(self, connection: psycopg.Connection[Any]) -> psycopg.Cursor[Row]:
        cursor: psycopg.Cursor[Row] | None = getattr(connection, _CURSOR, None)
        if cursor is None or cursor.closed:
            cursor = psycopg.Cursor(connection, row_factory=tuple_row)
            cursor.format = psycopg.pq.Format.BINARY
            _prepare(cursor)
            setattr(connection, _CURSOR, cursor)
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
            with connection.pipeline():
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
        with connection.pipeline():
            cursor.execute(statement, parameters, prepare=True, binary=True)
            transaction.__exit__(None, None, None)
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
    owned: bool
    suspends: bool = True

    async def open(self) -> None:
        if self.owned:
            await self.pool.open(wait=False)

    async def close(self) -> None:
        if self.owned:
            await self.pool.close()

    def stats(self) -> dict[str, int]:
        return _pool_stats(self.pool.get_stats())

    async def check(self) -> None:
        if not self.pool.closed:
            await self.pool.check()

    async def acquire(self) -> AnyConnection:
        connection: psycopg.AsyncConnection[Any] = await self.pool.getconn()
        if not connection.autocommit:
            try:
                await connection.set_autocommit(True)
            except BaseException:
                await self.pool.putconn(connection)
                raise
            setattr(connection, _LENT, True)
        return connection

    async def release(self, connection: Any) -> None:
        if getattr(connection, _LENT, False) and _idle(connection):
            await connection.set_autocommit(False)
        await self.pool.putconn(connection)

    def _cursor(self, connection: psycopg.AsyncConnection[Any]) -> psycopg.AsyncCursor[Row]:
        cursor: psycopg.AsyncCursor[Row] | None = getattr(connection, _CURSOR, None)
        if cursor is None or cursor.closed:
            cursor = psycopg.AsyncCursor(connection, row_factory=tuple_row)
            cursor.format = psycopg.pq.Format.BINARY
            _prepare(cursor)
            setattr(connection, _CURSOR, cursor)
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
            async with connection.pipeline():
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
        async with connection.pipeline():
            await cursor.execute(statement, parameters, prepare=True, binary=True)
            await transaction.__aexit__(None, None, None)
        return await cursor.fetchall() if _has_rows(cursor) else []

    async def end(self, transaction: Any, error: BaseException | None) -> None:
        await transaction.__aexit__(type(error) if error is not None else None, error, None)

    async def roll_back(self, connection: Any) -> None:
        await connection.rollback()

    def usable(self, connection: Any) -> bool:
        return isinstance(connection, psycopg.AsyncConnection)
