"""What is one transaction on PostgreSQL, and how does it open, end, and recover a lost answer to its COMMIT?"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
from psycopg.pq import TransactionStatus

from duraflow.errors import InvalidArgument, Misuse
from duraflow.ports import UnitOfWork
from duraflow_pg._psycopg import psycopg
from duraflow_pg.connections import Statement
from duraflow_pg.database import PgDatabase, Witness
from duraflow_pg.errors import is_broken, is_retryable, translated
from duraflow_pg.statements import Parameters, Row

_ENDED = Misuse(
    "the transaction was ended from inside, by a COMMIT or ROLLBACK on its connection",
    "leave the end of the transaction to whoever opened it, and use savepoints inside",
)
_FAILED = Misuse(
    "a statement of this transaction failed and its error went no further, so that PostgreSQL has undone all of it",
    "let the error pass, or run what may fail in a savepoint (`transaction()` inside the transaction)",
)


@attrs.define(eq=False)
class PgUnit:
    """One transaction. It opens with its first statement, in the same trip, and may commit with its last one.

    Attributes:
        joined: the transaction is the caller's, who ends it.
        witness: the last history entry written in it, by which an unknown commit is looked up.
    """

    database: PgDatabase
    raw: Any
    joined: bool
    witness: Witness | None = None
    _transaction: Any = None
    _open: bool = False
    done: bool = False
    _committing: bool = False
    _given_back: bool = False

    @property
    def connection(self) -> Any:
        """The psycopg connection that the transaction is open on."""
        if not self._open:
            raise Misuse(
                "the transaction is not open yet", "ask for the connection inside a command or a transaction"
            )
        return self.raw

    async def open(self) -> None:
        """Open it now, because others get the connection."""
        if not self._open:
            self._transaction, _ = await self.database.connections.begin(self.raw, self.database.opening)
            self._open = True

    async def fetch(
        self, statement: bytes, parameters: Parameters, *, after: Statement | None = None
    ) -> list[Row]:
        """One statement and its rows, in one trip, which also opens the transaction if need be.

        Args:
            after: run this one first; the statement then sees what has been committed until that was done.
        """
        self._check()
        first = () if after is None else (after,)
        if not self._open:
            self._transaction, rows = await self.database.connections.begin(
                self.raw, [*self.database.opening, *first, (statement, parameters)]
            )
            self._open = True
            return rows
        for earlier, given in first:
            await self.database.connections.run(self.raw, earlier, given)
        return await self.database.connections.run(self.raw, statement, parameters)

    async def fetch_last(self, statement: bytes, parameters: Parameters) -> list[Row]:
        """The last statement: its rows, committed in the same trip.

        Raises:
            StoreUnavailable, LockTimeout, SchemaMismatch: nothing was written. When the answer is lost, the outcome is
                looked up by the witness first; it gives one row if the transaction had been committed.
        """
        await self.open()
        self._check()
        self._committing = True
        try:
            rows = await self.database.connections.finish(self.raw, self._transaction, statement, parameters)
        except psycopg.Error as error:
            await self.settle(error)
            rows = [()]
        self.done = True
        self.database.told()
        return rows

    def _problem(self) -> Misuse | None:
        """What someone who had the connection did to the transaction that it cannot go on from."""
        if not self._open:
            return None
        match self.raw.info.transaction_status:
            case TransactionStatus.IDLE:
                return _ENDED
            case TransactionStatus.INERROR:
                return _FAILED
        return None

    def _check(self) -> None:
        if self.done:
            raise Misuse("this transaction has ended", "open a new one")
        problem = self._problem()
        if problem is not None:
            raise problem

    async def end(self, error: BaseException | None) -> None:
        """Commit, or roll back because of the error.

        Raises:
            Misuse: there is nothing left to commit. PostgreSQL answers a COMMIT of a failed transaction with a
                silent ROLLBACK; callers would be told of moves that were undone.
        """
        if self.done or not self._open:
            return
        self.done = True
        if self._committing:
            return
        problem = self._problem() if error is None else None
        await self.database.connections.end(self._transaction, error or problem)
        if problem is not None:
            raise problem
        if error is None and self.witness is not None:
            self.database.told()

    async def settle(self, error: psycopg.Error) -> None:
        """Find out whether a failed COMMIT took effect, on another connection: this one goes back first.

        A pool of one would else wait for itself.
        """
        if is_broken(error):
            await self.give_back()
        await self.database.settle(error, self.witness)

    async def give_back(self) -> None:
        """Give the connection back to its pool, once."""
        if not self._given_back:
            self._given_back = True
            await self.database.connections.release(self.raw)

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        await self.open()
        self._check()
        inner, _ = await self.database.connections.begin(self.raw, ())
        witness = self.witness
        try:
            yield
            match self._problem():
                case None:
                    pass
                case problem if problem is _FAILED:
                    # As the RELEASE would answer; the savepoint is undone, and the transaction can go on.
                    raise psycopg.errors.InFailedSqlTransaction(
                        "a statement in this savepoint failed and its error went no further; the savepoint is undone"
                    )
                case problem:
                    raise problem
        except BaseException as error:
            self.witness = witness
            await self.database.connections.end(inner, error)
            raise
        await self.database.connections.end(inner, None)


@attrs.frozen
class PgTransactionRunner:
    """`TransactionRunner` on a pool of connections."""

    _database: PgDatabase

    @asynccontextmanager
    async def begin(self, *, eager: bool = False) -> AsyncIterator[UnitOfWork]:
        database = self._database
        unit = await self._opened() if eager else PgUnit(database, await database.acquire(), joined=False)
        try:
            try:
                yield unit
            except BaseException as error:
                await self._roll_back(unit, error)
                if isinstance(error, psycopg.Error) and is_retryable(error):
                    # Also what an application's own statement ran into: the transaction is ours to try again.
                    if is_broken(error):
                        await database.connections.check()
                    raise translated(error, schema=database.schema) from error
                raise
            try:
                await unit.end(None)
            except psycopg.Error as error:
                await unit.settle(error)
        finally:
            await unit.give_back()

    async def _opened(self) -> PgUnit:
        """A transaction open at once. One dead connection of the pool, as after a restart, is no reason to give up."""
        database = self._database
        for last in (False, True):
            unit = PgUnit(database, await database.acquire(), joined=False)
            try:
                await unit.open()
            except BaseException as error:
                await self._roll_back(unit, error)
                await unit.give_back()
                if not isinstance(error, psycopg.Error):
                    raise
                if is_broken(error):
                    await database.connections.check()
                if last or not is_broken(error):
                    raise translated(error, schema=database.schema) from error
            else:
                return unit
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _roll_back(self, unit: PgUnit, error: BaseException) -> None:
        if unit.raw.closed or unit.raw.broken:
            return
        try:
            await unit.end(error)
            if not unit.raw.closed and unit.raw.info.transaction_status != TransactionStatus.IDLE:
                await self._database.connections.roll_back(unit.raw)
        except psycopg.Error:
            # The connection is beyond use: closing it rolls back as well, and the pool makes a new one.
            await self._database.discard(unit.raw)

    @asynccontextmanager
    async def join(self, connection: Any, /) -> AsyncIterator[UnitOfWork]:
        database = self._database
        raw = unwrapped(connection)
        if not database.connections.usable(raw):
            kind = "psycopg.AsyncConnection" if database.connections.suspends else "psycopg.Connection"
            raise InvalidArgument("connection", f"{connection!r} is not, and does not hold, a {kind}")
        if raw.closed:
            raise InvalidArgument("connection", "it is closed")
        status = raw.info.transaction_status
        if status == TransactionStatus.INERROR:
            raise InvalidArgument("connection", "its transaction has failed; roll it back first")
        if status == TransactionStatus.IDLE and not raw.autocommit:
            # SQLAlchemy, Django and psycopg itself begin with the first statement: this is it. It must come before any
            # savepoint of ours, which would else be taken for the transaction, and be committed.
            await database.connections.run(raw, b"SELECT 1")
        elif status != TransactionStatus.INTRANS:
            raise InvalidArgument(
                "connection", "no transaction is open on it; begin one first (or use `runtime.transaction()`)"
            )
        unit = PgUnit(database, raw, joined=True, open=True)
        try:
            yield unit
        except psycopg.Error as error:
            if is_retryable(error):
                raise translated(error, schema=database.schema) from error
            raise
        finally:
            unit.done = True


def unwrapped(connection: Any) -> Any:
    """Psycopg's own connection inside what SQLAlchemy or Django hand out; anything else as it is.

    Raises:
        InvalidArgument: it has one only after I/O that the caller must do.
    """
    if isinstance(connection, (psycopg.Connection, psycopg.AsyncConnection)):
        return connection
    # SQLAlchemy's AsyncConnection, whose `connection` raises.
    synchronous = getattr(connection, "sync_connection", None)
    if synchronous is not None:
        return unwrapped(synchronous)
    if hasattr(connection, "sync_session"):
        raise InvalidArgument(
            "connection", "an AsyncSession has none by itself; pass `await session.connection()`"
        )
    inner = getattr(connection, "connection", None)
    if callable(inner) and hasattr(connection, "get_bind"):
        # SQLAlchemy's Session: the connection of its transaction, which it begins if need be.
        return unwrapped(inner())
    # SQLAlchemy's Connection has a pool's proxy as `connection`; Django's wrapper has psycopg's own.
    driver = getattr(inner, "driver_connection", None)
    if driver is not None:
        return driver
    return connection if inner is None else unwrapped(inner)
