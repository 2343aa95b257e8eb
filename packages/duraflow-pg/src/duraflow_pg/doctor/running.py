"""How is one check run: in a transaction that only reads, with a time limit, and its failure no one else's?"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final, LiteralString

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.diagnosis import AILMENTS, Checkup, Diagnosis, How
from duraflow.errors import DuraflowError, LockTimeout, SchemaMismatch, StoreUnavailable
from duraflow.ports import Examination, UnitOfWork
from duraflow_pg._psycopg import psycopg
from duraflow_pg.database import PgDatabase
from duraflow_pg.doctor.ailments import PG_AILMENTS
from duraflow_pg.doctor.limits import DoctorLimits
from duraflow_pg.statements import Row, compiled
from duraflow_pg.units import PgTransactionRunner

_SETTINGS = b"""
SELECT set_config('statement_timeout', %(timeout)s, true), set_config('transaction_read_only', 'on', true)
"""


@attrs.frozen
class Sample:
    """How to look at a part of a table.

    Attributes:
        clause: what stands behind the table's alias.
        percentage: of its pages.
        whole: it is all of them.
    """

    clause: LiteralString
    percentage: float
    whole: bool


@attrs.define
class Looked:
    """What a check has seen so far.

    Attributes:
        scanned: what was looked at, and how much of it.
        problem: what could not be seen.
    """

    shown: int
    how: How = "exact"
    scanned: str = ""
    problem: str = ""
    findings: list[Diagnosis] = attrs.field(factory=list)

    def found(self, code: str, rows: Iterable[object], *, total: int | None = None, what: str = "") -> None:
        """Note a finding, if there are any rows."""
        texts = [*rows]
        if texts:
            ailment = AILMENTS.get(code) or PG_AILMENTS[code]
            self.findings.append(ailment.found(texts, total=total, shown=self.shown, what=what))

    def sampled(self, sample: Sample, seen: int, of: int | None, what: str) -> None:
        """Note how much was looked at."""
        self.how = "exact" if sample.whole else "sample"
        self.scanned = f"{seen:,} {what}" if sample.whole else f"{seen:,} of {_about(of)} {what}"

    def blind(self, problem: str) -> None:
        """Note that a part could not be seen."""
        self.how = "partly"
        self.problem = problem


@attrs.define
class Census:
    """What one pass over the instances has counted, for the checks after it.

    Attributes:
        instances: how many the namespace has; None when they could not be counted.
        ahead: how many of them have a position ahead of the server.
        due: how many due rows there are; None when they could not be counted.
        versions: every definition that could be had, from code or from its snapshot.
    """

    instances: int | None = None
    ahead: int = 0
    due: int | None = None
    versions: Mapping[tuple[str, int], Workflow] = attrs.field(factory=dict)


@attrs.define(eq=False)
class Ward:
    """One examination of one database: what all checks share."""

    database: PgDatabase
    examination: Examination
    limits: DoctorLimits
    wall: Callable[[], datetime]
    census: Census = attrs.field(factory=Census)
    _unit: UnitOfWork | None = None

    async def ask(self, template: LiteralString, /, **parameters: Any) -> list[Row]:
        """The rows of a query, with our tables' names put in; `namespace`, `shown` and `clock` are always bound."""
        return await self.ask_compiled(compiled(template, self.database.schema), **parameters)

    async def ask_compiled(self, statement: bytes, /, **parameters: Any) -> list[Row]:
        """The rows of a query whose names are in it already."""
        known = {
            "namespace": self.database.namespace,
            "shown": max(1, self.examination.shown),  # the first row also says how many there are
            "clock": self.examination.clock,
        }
        return await self.database.fetch(self._unit, statement, {**known, **parameters})

    def sample(self, count: int | None, wanted: int | None = None) -> Sample:
        """How to take a sample of a table of which the namespace has `count` rows."""
        wanted = wanted or self.examination.sample
        if self.examination.exact or (count is not None and count <= wanted):
            return Sample("", 100.0, whole=True)
        # Whole pages are taken, so that a sample reads no more than its part of the table.
        return Sample(
            "TABLESAMPLE SYSTEM (%(percentage)s)",
            min(100.0, 100.0 * wanted / count if count else 1.0),
            whole=False,
        )

    async def run(self, name: str, check: Callable[[Ward, Looked], Awaitable[None]]) -> Checkup:
        """Make one check, in a transaction of its own."""
        began = time.monotonic()
        looked = Looked(self.examination.shown)
        try:
            async with self._reading():
                await check(self, looked)
        except (StoreUnavailable, LockTimeout, SchemaMismatch) as error:
            looked.how, looked.problem = "not run", self._reason(error)
        return Checkup(
            name,
            looked.how,
            looked.scanned,
            timedelta(seconds=time.monotonic() - began),
            tuple(looked.findings),
            looked.problem,
        )

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[None]:
        """A transaction that only reads and has the examination's time limit."""
        timeout = str(max(1, int(self.examination.timeout.total_seconds() * 1000)))
        async with PgTransactionRunner(self.database).begin() as unit:
            self._unit = unit
            try:
                await self.ask_compiled(_SETTINGS, timeout=timeout)
                yield
            finally:
                self._unit = None

    def _reason(self, error: DuraflowError) -> str:
        """Why a check could not run.

        Raises:
            StoreUnavailable: the server cannot be reached, so that no other check could run either.
        """
        cause = error.__cause__
        state = cause.sqlstate if isinstance(cause, psycopg.Error) else None
        if state == "57014":
            return f"it took longer than {self.examination.timeout.total_seconds():g} s; give `timeout=` more"
        if state == "42501":
            return f"{_words(cause)}; GRANT it to the role, or run the doctor as another one"
        if state in _OWN_PROBLEMS or (state or "").startswith("22"):
            return _words(cause)
        raise error


_OWN_PROBLEMS: Final = frozenset(
    {
        "3F000",  # the schema, a table or a column is not there
        "42P01",
        "42703",
        "55000",  # the server is not in the state for it, as a standby
        "55P03",  # a lock was not to be had
    }
)
"""What stops one check and no other; so does a value that was edited by hand into something unreadable (22…)."""


def _words(error: BaseException | None) -> str:
    return " ".join(str(error).split())


def _about(count: int | None) -> str:
    return "an unknown number of" if count is None else f"{count:,}"


def total_of(rows: Sequence[Row]) -> int:
    """How many there are in all, which is the last column of each row of a limited query."""
    return int(rows[0][-1]) if rows else 0
