"""What do all stores of one persistence share: connections, names, and what is done about a lost connection?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
from psycopg_pool import PoolTimeout

from duraflow.codec import Codec
from duraflow.errors import InvalidArgument, Misuse, StoreUnavailable
from duraflow.ports import Environment, UnitOfWork, Waits
from duraflow_pg._psycopg import psycopg
from duraflow_pg.connections import Connections, Statement
from duraflow_pg.errors import is_broken, is_retryable, translated
from duraflow_pg.hints import Hints
from duraflow_pg.statements import Parameters, Row, compiled

_LOOK_UP_ATTEMPTS = 8
_CLOCK_TRUSTED_S = 5.0


@attrs.frozen
class Witness:
    """A history entry by which a commit of unknown outcome can be looked up."""

    instance_id: UUID
    seq: int
    attempt_id: UUID


@attrs.frozen(kw_only=True)
class Timeouts:
    """Limits that the server keeps for transactions of ours; None leaves the server's own.

    Attributes:
        lock: longest wait for one row lock.
        statement: longest run of one statement.
        idle_in_transaction: longest pause between statements of an open transaction, commands included.
    """

    lock: timedelta | None = timedelta(seconds=10)
    statement: timedelta | None = timedelta(seconds=30)
    idle_in_transaction: timedelta | None = timedelta(seconds=60)

    def __attrs_post_init__(self) -> None:
        for name, value in attrs.asdict(self).items():
            # Below that it would be 0, which means no limit at all.
            if value is not None and value < timedelta(milliseconds=1):
                raise InvalidArgument(f"timeouts.{name}", f"{value} is not at least 1 ms; None sets no limit")


def _opening(timeouts: Timeouts) -> tuple[Statement, ...]:
    """`SET LOCAL` for all of them in one statement; nothing stays on the session, so any pooler will do."""
    wanted = {
        "lock_timeout": timeouts.lock,
        "statement_timeout": timeouts.statement,
        "idle_in_transaction_session_timeout": timeouts.idle_in_transaction,
    }
    calls = [
        f"set_config('{name}', '{int(value.total_seconds() * 1000)}', true)"
        for name, value in wanted.items()
        if value is not None
    ]
    return ((f"SELECT {', '.join(calls)}".encode(), None),) if calls else ()


@attrs.define(eq=False)
class PgDatabase:
    """One schema and namespace of one database, as seen through one pool."""

    connections: Connections
    schema: str
    namespace: str
    timeouts: Timeouts
    environment: Environment | None = None
    hints: Hints | None = None
    opening: tuple[Statement, ...] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _opening(self.timeouts), takes_self=True)
    )
    _look_up: bytes = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda self: compiled(
                "WITH held AS MATERIALIZED (SELECT id FROM {instances} WHERE id = %(id)s FOR NO KEY UPDATE) "
                "SELECT 1 FROM held JOIN {history} h ON h.instance_id = held.id "
                "WHERE h.seq = %(seq)s AND h.attempt_id = %(attempt)s",
                self.schema,
            ),
            takes_self=True,
        ),
    )
    _clock: tuple[datetime, float] | None = None

    # --- what the runtime gave ----------------------------------------------------------------------------------

    def _given(self) -> Environment:
        if self.environment is None:
            raise Misuse("the persistence is not started", "start the runtime that uses it")
        return self.environment

    @property
    def codec(self) -> Codec:
        """How values become JSON."""
        return self._given().codec

    @property
    def waits(self) -> Waits:
        """How to wait."""
        return self._given().waits

    # --- running statements -------------------------------------------------------------------------------------

    async def acquire(self) -> Any:
        """A connection from the pool, to be released.

        Raises:
            StoreUnavailable: there is none to be had, with the reason.
        """
        self._given()
        try:
            return await self.connections.acquire()
        except PoolTimeout as error:
            # The pool only says that it waited. If the server cannot be reached, that is the reason.
            reason = await self.connections.unreachable()
            if reason is not None:
                raise StoreUnavailable(f"cannot connect to the server: {reason}") from error
            raise translated(error, schema=self.schema) from error
        except psycopg.Error as error:
            raise translated(error, schema=self.schema) from error

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[Any]:
        """A connection from the pool. Errors of the pool itself are translated; others are the borrower's."""
        raw = await self.acquire()
        try:
            yield raw
        finally:
            await self.connections.release(raw)

    async def run_alone(self, statement: bytes, parameters: Parameters) -> list[Row]:
        """One statement on a connection from the pool: `lent` without the cost of a context manager."""
        raw = await self.acquire()
        try:
            return await self.connections.run(raw, statement, parameters)
        finally:
            await self.connections.release(raw)

    async def fetch(
        self,
        unit: UnitOfWork | None,
        statement: bytes,
        parameters: Parameters,
        *,
        after: Statement | None = None,
    ) -> list[Row]:
        """Run a statement in the unit, or by itself; in a unit, `after` another one.

        Raises:
            StoreUnavailable, LockTimeout, SchemaMismatch: what the server said, translated.
        """
        try:
            if unit is not None:
                return await unit.fetch(statement, parameters, after=after)  # type: ignore[attr-defined, no-any-return]  # a PgUnit
            return await self.run_alone(statement, parameters)
        except psycopg.Error as error:
            if is_broken(error):
                await self.connections.check()
            raise translated(error, schema=self.schema) from error

    def told(self) -> None:
        """History was committed: readers of the feed are given a hint, if that is wanted."""
        if self.hints is not None:
            self.hints.committed()

    async def discard(self, raw: Any) -> None:
        """Close a connection that cannot be trusted any more."""
        closing = raw.close()
        if closing is not None:
            await closing

    # --- unknown outcomes ---------------------------------------------------------------------------------------

    async def committed(self, witness: Witness) -> bool:
        """Whether the history entry is there, waiting out a commit that is still in flight.

        Raises:
            StoreUnavailable: the server cannot be asked either; the outcome stays unknown.
        """
        parameters = {"id": witness.instance_id, "seq": witness.seq, "attempt": witness.attempt_id}
        last: Exception | None = None
        for attempt in range(_LOOK_UP_ATTEMPTS):
            try:
                await self.connections.check()
                async with self.lent() as raw:
                    return bool(await self.connections.run(raw, self._look_up, parameters))
            except (psycopg.Error, StoreUnavailable) as error:
                if isinstance(error, psycopg.Error) and not is_retryable(error):
                    raise translated(error, schema=self.schema, outcome="unknown") from error
                last = error
            await self.waits.sleep(min(2.0, 0.05 * 2**attempt))
        raise StoreUnavailable(" ".join(str(last).split()), "unknown") from last

    async def settle(self, error: psycopg.Error, witness: Witness | None) -> None:
        """Find out whether a failed COMMIT took effect: return if it did, raise what callers should see if not."""
        if not is_broken(error):
            raise translated(error, schema=self.schema) from error
        if witness is None:
            await self.connections.check()
            raise translated(error, schema=self.schema, outcome="unknown") from error
        if not await self.committed(witness):
            raise translated(error, schema=self.schema) from error

    # --- time ---------------------------------------------------------------------------------------------------

    async def now(self, unit: UnitOfWork | None) -> datetime:
        """The server's time, asked for at most once in a few seconds and carried on by the local monotonic clock.

        Who has a transaction open asks on its connection: to wait for a second one while holding one is how a pool
        comes to a standstill.
        """
        known = self._clock
        if known is not None and (passed := time.monotonic() - known[1]) < _CLOCK_TRUSTED_S:
            return known[0] + timedelta(seconds=passed)
        before = time.monotonic()
        ((moment,),) = await self.fetch(unit, b"SELECT clock_timestamp()", {})
        # The answer is as old as half the trip; taking the start keeps the estimate from running ahead.
        self._clock = (moment.astimezone(UTC), (before + time.monotonic()) / 2)
        return self._clock[0]
