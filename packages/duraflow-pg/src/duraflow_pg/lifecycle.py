"""How does a PostgreSQL persistence open and close, and how is it?"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import attrs

from duraflow.errors import DuraflowError, Misuse, SchemaMismatch, StoreUnavailable
from duraflow.ports import Environment
from duraflow.results import Health
from duraflow_pg.database import PgDatabase
from duraflow_pg.schema.check import SCHEMA_PARAMETERS, SCHEMA_QUERY, schema_problem

_ABOUT = b"""
SELECT current_setting('server_version'), pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean
"""


@attrs.frozen(eq=False)
class PgLifecycle:
    """`Lifecycle` of a PostgreSQL persistence."""

    _database: PgDatabase
    _migrate: Callable[[], Awaitable[object]] | None = None
    _drain: Callable[[], Awaitable[None]] | None = None

    async def start(self, environment: Environment, /) -> None:
        database = self._database
        if database.environment is not None:
            raise Misuse(
                "this persistence already serves a started runtime",
                "make one persistence for each runtime; they may share a pool",
            )
        if environment.waits.suspends is not database.connections.suspends:
            raise Misuse(
                "the runtime and the persistence wait in different ways",
                "use PgPersistence with Runtime, and AsyncPgPersistence with AsyncRuntime",
            )
        database.environment = environment
        try:
            # Asked directly, because a pool keeps trying: a wrong DSN would show only after its timeout.
            unreachable = await database.connections.unreachable()
            if unreachable is not None:
                raise StoreUnavailable(f"cannot connect to the server: {unreachable}")
            await database.connections.open()
            if self._migrate is not None:
                await self._migrate()
            problem = await self._schema_problem()
            if problem is not None:
                raise problem
            if database.hints is not None:
                await database.hints.start(database)
        except BaseException:
            await self.close()
            raise

    async def _schema_problem(self) -> SchemaMismatch | None:
        rows = await self._database.fetch(None, SCHEMA_QUERY.encode(), SCHEMA_PARAMETERS)
        return schema_problem(rows, self._database.schema)

    async def close(self) -> None:
        if self._drain is not None:
            await self._drain()
        if self._database.hints is not None:
            await self._database.hints.close()
        await self._database.connections.close()
        self._database.environment = None

    async def health(self) -> Health:
        database = self._database
        server, round_trip, fits, writable, problem = "", timedelta(0), False, False, ""
        try:
            before = time.monotonic()
            ((server, read_only),) = await database.fetch(None, _ABOUT, {})
            round_trip = timedelta(seconds=time.monotonic() - before)
            writable = not read_only
            mismatch = await self._schema_problem()
            fits = mismatch is None
            problem = "" if mismatch is None else str(mismatch)
            if read_only:
                problem = problem or "the server is read-only (a standby?)"
        except DuraflowError as error:
            problem = str(error)
        return Health(
            ok=not problem,
            server=f"PostgreSQL {server}" if server else "",
            round_trip=round_trip,
            schema_fits=fits,
            writable=writable,
            pool=database.connections.stats(),
            problem=problem,
        )
