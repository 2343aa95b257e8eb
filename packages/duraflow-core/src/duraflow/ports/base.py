"""What must every store do: keep instances and their history, in transactions; and what do timers need?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.definition.workflow import Workflow
from duraflow.instance import HistoryEntry, Instance
from duraflow.queries import InstanceQuery
from duraflow.results import Health, Parked, StateCount
from duraflow.writes import Answer, DueChange, TimerRetry, Writes

Key = UUID | tuple[str, str]
"""How a store is asked for an instance: by id, or by (workflow, ref)."""


class Clock(Protocol):
    """What time it is."""

    def now(self) -> datetime:
        """The current time, aware."""
        ...


class Ids(Protocol):
    """Where new ids come from."""

    def __call__(self) -> UUID: ...


class Lock(Protocol):
    """A mutual exclusion lock that waits as the runtime does.

    It is not reentrant, and another thread (or task) than the one that acquired it may release it.
    """

    async def acquire(self) -> None: ...
    def release(self) -> None: ...


class Waits(Protocol):
    """How to wait: the blocking and the asyncio runtime each supply their own."""

    suspends: bool
    """Whether waiting hands control to an event loop; False in the blocking runtime."""

    async def sleep(self, seconds: float, /) -> None:
        """Wait this long."""
        ...

    def lock(self) -> Lock:
        """A new lock."""
        ...

    def elapsed(self) -> float:
        """Seconds on a clock that only goes forward, from some moment on: to see how long something takes."""
        ...


@attrs.frozen
class Environment:
    """What a runtime gives to its persistence when it starts."""

    waits: Waits
    codec: Codec


@attrs.frozen
class Loaded:
    """An instance as read, with the one time that serves the whole step: `greatest(clock, updated_at)`."""

    instance: Instance
    now: datetime


class UnitOfWork(Protocol):
    """One open transaction."""

    @property
    def connection(self) -> Any:
        """The open connection, for the application's own tables.

        Raises:
            NotSupported: the store has none; use a resource instead.
        """
        ...

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        """A part that is undone by itself when an exception leaves it; the exception goes on."""
        ...


class TransactionRunner(Protocol):
    """Opens transactions."""

    def begin(self, *, eager: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:
        """A transaction that commits on the way out and rolls back when an exception leaves it.

        Args:
            eager: open it at once, because the caller gets the connection; else it may open with the first statement.
        """
        ...

    def join(self, connection: Any, /) -> AbstractAsyncContextManager[UnitOfWork]:
        """A unit of work inside the caller's open transaction, which it neither commits nor rolls back.

        Raises:
            InvalidArgument: no transaction is open on it, or it is not a connection this store can use.
        """
        ...


class InstanceStore(Protocol):
    """Where the current snapshot of each instance lives."""

    async def get(self, unit: UnitOfWork | None, key: Key, /, *, clock: datetime | None) -> Loaded | None:
        """Read one instance without a lock; None when there is none. `clock` stands in for the store's own clock."""
        ...

    async def get_many(
        self, unit: UnitOfWork | None, keys: Sequence[Key], /, *, clock: datetime | None
    ) -> Mapping[Key, Loaded]:
        """Read several; what does not exist is left out."""
        ...

    async def lock(
        self, unit: UnitOfWork, key: Key, /, *, clock: datetime | None, skip_locked: bool = False
    ) -> Loaded | None:
        """Read one and hold it against other writers until the transaction ends; None when there is none.

        Args:
            skip_locked: give None also when someone else holds it, instead of waiting.
        """
        ...

    async def create(self, unit: UnitOfWork, instance: Instance, /) -> None:
        """Add a new one.

        Raises:
            AlreadyExists: its id, or its ref, is taken.
        """
        ...

    async def save(self, unit: UnitOfWork, instance: Instance, /, *, expected: Instance) -> bool:
        """Replace the row if it still has the version and lease token of `expected`; False when it does not.

        What is fixed for life stays as it is: id, namespace, workflow, ref, metadata, created_at, parent and root.
        """
        ...

    async def now(self, unit: UnitOfWork | None = None, /) -> datetime:
        """The store's own time (aware, UTC), for creations; it may be worked out from an answer a few seconds old.

        Inside a transaction it is asked for there: a second connection may not be had while this one is held.
        """
        ...

    async def delete(self, unit: UnitOfWork, instance_id: UUID, /) -> bool:
        """Take it out, with its history and all that belongs to it; False when there is none."""
        ...

    async def list(
        self,
        unit: UnitOfWork | None,
        query: InstanceQuery,
        /,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> Sequence[Instance]:
        """Matching instances by (created_at, id), newest first unless the query says otherwise, after the given one."""
        ...

    async def count(self, unit: UnitOfWork | None, query: InstanceQuery, /) -> Sequence[StateCount]:
        """How many match, per workflow, state and openness."""
        ...


class HistoryStore(Protocol):
    """Where everything that happened is kept."""

    async def append(self, unit: UnitOfWork, entries: Sequence[HistoryEntry], /) -> None:
        """Add entries. They are never changed afterwards.

        Raises:
            InstanceNotFound: there is no such instance.
            ConcurrencyConflict: the place is taken (in some stores the transaction is then beyond use).
        """
        ...

    async def read(
        self, unit: UnitOfWork | None, instance_id: UUID, /, *, after: int, limit: int, newest_first: bool
    ) -> Sequence[HistoryEntry]:
        """Entries with `seq` after (newest first: before) the given one; `after=0` begins at the start (the end)."""
        ...


@runtime_checkable
class Writer(Protocol):
    """The only way in which the runtime writes moves."""

    async def apply(
        self, unit: UnitOfWork | None, writes: Sequence[Writes], /, *, last: bool = False
    ) -> Sequence[Answer]:
        """Write each, giving one answer for each, in order.

        With a unit, all of it belongs to that transaction, and any failure raises. Without one, each is committed by
        itself or together with others, and a failure of one is that one's answer, never another's.

        Args:
            last: nothing else follows in this unit, so that the commit may go with it.
        """
        ...


@attrs.frozen
class DueInstance:
    """An instance with due work, locked by whoever asked, with what is known of earlier tries of its timers."""

    loaded: Loaded
    retries: Mapping[str, TimerRetry]


class DueStore(Protocol):
    """Which instances have something due. One row per instance at most."""

    async def claim(
        self, unit: UnitOfWork, /, *, clock: datetime | None, limit: int, exclude: Sequence[UUID]
    ) -> Sequence[DueInstance]:
        """Lock instances whose time has come, earliest first, passing over what others hold."""
        ...

    async def lock(
        self, unit: UnitOfWork, instance_id: UUID, /, *, clock: datetime | None
    ) -> DueInstance | None:
        """Lock one due instance again; None when it is gone, no longer due, or held by someone else."""
        ...

    async def write(self, unit: UnitOfWork, instance: Instance, change: DueChange, /) -> None:
        """Set, clear or nudge the due row of an instance that this unit holds.

        Raises:
            InstanceNotFound: there is no such instance.
            InvalidArgument: a `SetDue` with nothing due and nothing parked; that is `ClearDue`.
        """
        ...

    async def retries(self, unit: UnitOfWork | None, instance_id: UUID, /) -> Mapping[str, TimerRetry] | None:
        """What is known of earlier tries, by event; None when the instance has no due row."""
        ...

    async def parked(self, unit: UnitOfWork | None, /, *, limit: int) -> Sequence[Parked]:
        """What failed too often, longest parked first."""
        ...


@attrs.frozen
class StoredVersion:
    """One version of a workflow that a store has seen."""

    workflow: str
    version: int
    hash: str
    registered_at: datetime


class DefinitionStore(Protocol):
    """Which versions of which workflows this database has seen."""

    async def register(self, workflows: Sequence[Workflow], /) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        """Keep each (name, version) that is new; give back the stored snapshot of those known with another hash."""
        ...

    async def load(self, unit: UnitOfWork | None, workflow: str, version: int, /) -> Mapping[str, Any] | None:
        """The stored snapshot, as `Workflow.to_json` wrote it; None when this version was never registered."""
        ...

    async def known(self, unit: UnitOfWork | None, /) -> Sequence[StoredVersion]:
        """Every version registered, by workflow and version."""
        ...

    async def counts(
        self, unit: UnitOfWork | None, /, workflows: Sequence[str]
    ) -> Mapping[tuple[str, int], tuple[int, int]]:
        """How many instances, open and final, these workflows have in each version; versions without any are left out.

        It looks at every instance of these workflows, in one pass.
        """
        ...


class Lifecycle(Protocol):
    """Opening, closing and asking how things are."""

    async def start(self, environment: Environment, /) -> None:
        """Open what is owned and check that the schema fits.

        Raises:
            SchemaMismatch: the tables are missing or too old.
            StoreUnavailable: the store cannot be reached.
        """
        ...

    async def close(self) -> None:
        """Close what is owned; never what was given by the caller."""
        ...

    async def health(self) -> Health:
        """How things are; problems are told, not raised."""
        ...
