"""What does a caller get back?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import attrs

from duraflow.definition.values import EMPTY
from duraflow.definition.workflow import Workflow
from duraflow.errors import Rejected
from duraflow.instance import Blocker, CommandResult, HistoryEntry, Instance

FireStatus = Literal["success", "failure", "rejected", "continuing"]


@attrs.frozen
class FireResult:
    """What firing an event did. It has happened: the entries are committed (or will be with the caller's transaction).

    Attributes:
        status: `failure` when the event or any hop after it took an error target; `rejected` when guards said no;
            `continuing` when the automatic chain stopped before external commands, which a worker goes on with.
        to_state: where the chain came to rest.
        entries: what was recorded, in order.
        blockers: of a rejection, from all candidates.
        replayed: whether a request with the same key did this earlier, and nothing was done now; not compared.
    """

    status: FireStatus
    event: str
    from_state: str
    to_state: str
    instance: Instance
    entries: tuple[HistoryEntry, ...]
    blockers: tuple[Blocker, ...] = ()
    replayed: bool = attrs.field(default=False, eq=False)

    @property
    def commands(self) -> tuple[CommandResult, ...]:
        """The results of all commands, in the order in which they ran."""
        return tuple(result for entry in self.entries for result in entry.commands)

    @property
    def ok(self) -> bool:
        """Whether the event did what it was meant to, not a rejection or a routed failure."""
        return self.status in ("success", "continuing")

    def or_raise(self) -> FireResult:
        """Itself, unless guards said no.

        Raises:
            Rejected: the rejection is recorded; the error carries this result.
        """
        if self.status == "rejected":
            raise Rejected(self)
        return self


@attrs.frozen
class Unfired:
    """An event that did nothing, as a value: what `try_fire` and `fire_many` give in place of raising.

    Attributes:
        error: a `DuraflowError`; from `fire_many` also what a guard or command raised.
    """

    error: Exception

    @property
    def ok(self) -> bool:
        """False: it did nothing."""
        return False

    def or_raise(self) -> FireResult:
        """Raises the error."""
        raise self.error


@attrs.frozen
class Success:
    """What a command returns to record data with its result; returning None is the same without data."""

    data: Any = None


@attrs.frozen
class Failure:
    """What a command returns when the business said no: leads to the transition's `error_target`.

    Attributes:
        code: a stable name for programs.
        message: text for people.
    """

    code: str
    message: str = ""


@attrs.frozen
class Explanation:
    """What would happen if an event were fired now.

    Attributes:
        verdict: `fires`, `rejected`, `external` (a worker's job), or `unknown` (a guard raised; see `message`).
        target: where it leads, before automatic moves; the state itself for an internal one.
        due_at: when it fires by itself, if it is a timer.
    """

    event: str
    verdict: Literal["fires", "rejected", "external", "unknown"]
    target: str | None = None
    blockers: tuple[Blocker, ...] = ()
    due_at: datetime | None = None
    message: str = ""


@attrs.frozen
class Page:
    """Some of the instances that match a query; `cursor` gives the next ones, None when there are none."""

    instances: tuple[Instance, ...]
    cursor: str | None


@attrs.frozen
class StateCount:
    """How many instances of a workflow are in a state."""

    workflow: str
    state: str
    open: bool
    count: int


@attrs.frozen
class NewInstance:
    """One instance for `create_many`: the arguments of `create`, with the same meaning."""

    workflow: str | Workflow
    context: Mapping[str, Any] = EMPTY
    metadata: Mapping[str, Any] = EMPTY
    ref: str | None = None
    id: UUID | None = None
    subject: Any = None
    trigger: Mapping[str, Any] | None = None
    key: str | None = None
    fingerprint: str | bool = True
    keep_for: timedelta | None = None


@attrs.frozen
class Firing:
    """One event for `fire_many`: the arguments of `fire`, with the same meaning."""

    target: Any
    event: str
    payload: Any = None
    trigger: Mapping[str, Any] | None = None
    subject: Any = None
    key: str | None = None
    fingerprint: str | bool = True
    keep_for: timedelta | None = None


@attrs.frozen
class SweepResult:
    """What one sweep over due timers did; the numbers add up to the timers it looked at.

    Attributes:
        fired: moved their instance.
        rejected: a guard said no; tried again later, or disarmed.
        failures: moved their instance to an error target.
        failed: a command or guard raised, or a command failed without an error target; tried again later.
        parked: failed too often; waits for `rearm`.
        skipped: gone, moved, no longer due, or locked by someone else meanwhile; waiting for a worker; of a workflow
            that this runtime does not have; or a timer that the governing version no longer has, which is cleared.
    """

    fired: int = 0
    rejected: int = 0
    failures: int = 0
    failed: int = 0
    parked: int = 0
    skipped: int = 0

    @property
    def total(self) -> int:
        return self.fired + self.rejected + self.failures + self.failed + self.parked + self.skipped

    def __add__(self, other: SweepResult) -> SweepResult:
        return SweepResult(
            *(mine + theirs for mine, theirs in zip(attrs.astuple(self), attrs.astuple(other), strict=True))
        )


@attrs.frozen
class Parked:
    """Work that failed too often and waits for a person: `rearm` tries it again."""

    instance_id: UUID
    workflow: str
    state: str
    event: str
    parked_at: datetime
    attempts: int
    error: str


@attrs.frozen
class VersionInfo:
    """One version of a workflow that the store has seen.

    Attributes:
        hash: of its content, whatever the version number.
        open: instances that it governs and that can still move.
        final: finished instances that it governed last.
        source: `code` if it was given to this runtime, else `store`: then its snapshot serves what it governs.
        problem: why this runtime cannot use it; empty if it can.
    """

    workflow: str
    version: int
    hash: str
    registered_at: datetime
    open: int
    final: int
    source: Literal["code", "store"]
    problem: str = ""


@attrs.frozen
class LiveProblem:
    """A version that governs open instances and that this runtime cannot use; they stay as they are until it can."""

    workflow: str
    version: int
    open: int
    problem: str

    def __str__(self) -> str:
        return (
            f"{self.open} open instances of {self.workflow!r} are governed by version {self.version}, which this "
            f"runtime cannot use: {self.problem}"
        )


@attrs.frozen
class Health:
    """Whether the persistence can serve.

    Attributes:
        round_trip: of one trivial query, timed by the caller's clock.
        schema_fits: whether the tables are those this library needs; `problem` says what is wrong.
        writable: False on a standby or a read-only server.
        pool: connections by kind (`size`, `available`, `waiting`); empty without a pool.
    """

    ok: bool
    server: str
    round_trip: timedelta
    schema_fits: bool
    writable: bool
    pool: Mapping[str, int] = EMPTY
    problem: str = ""


@attrs.frozen
class Notice:
    """What observers are told after the commit: a state was entered. Everything inside is read-only.

    Attributes:
        instance: as it was right after this hop, also when the chain went on.
        entry: the history entry of the hop.
    """

    instance: Instance
    entry: HistoryEntry
