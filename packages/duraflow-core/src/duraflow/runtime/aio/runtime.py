"""What does an asyncio application call?

Each method awaits the same coroutine that `Runtime` drives; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from duraflow.codec import Codec, Limits
from duraflow.definition.values import EMPTY, to_items
from duraflow.definition.workflow import Workflow
from duraflow.handlers import Handlers
from duraflow.instance import Instance
from duraflow.messages import MessageHandler
from duraflow.ports import Clock, Ids, Persistence
from duraflow.results import (
    Health,
    SweepResult,
)
from duraflow.runtime import asking, scopes, sweeping
from duraflow.runtime.aio.calls import AsyncCalls
from duraflow.runtime.aio.doctoring import AsyncDoctoring
from duraflow.runtime.aio.feeding import AsyncFeeding
from duraflow.runtime.aio.keeping import AsyncKeeping
from duraflow.runtime.aio.versioning import AsyncVersioning
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.observers import Observer, OnObserverError
from duraflow.runtime.options import Locking, StoreRetryPolicy, TimerRetryPolicy
from duraflow.runtime.versions import LiveCheck
from duraflow.runtime.waits import AsyncioWaits
from duraflow.runtime.work import ResourceFactory, Work


class AsyncBoundRuntime(AsyncCalls):
    """A runtime bound to one transaction: everything it does commits, or not, with it."""

    def __init__(self, engine: Engine, work: Work) -> None:
        self._engine = engine
        self._work: Work = work

    @property
    def connection(self) -> Any:
        """The open connection, for the application's own tables; raises `NotSupported` where the store has none."""
        self._work.check_open()
        return self._work.unit.connection

    def resource(self, kind: Any) -> Any:
        """The resource of this kind for this transaction; see `AsyncRuntime(resources=…)`."""
        self._work.check_open()
        return self._work.resource(kind)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """A savepoint: undone by itself when an exception leaves it."""
        async with scopes.transaction(self._engine, self._work):
            yield self

    @asynccontextmanager
    async def locked(self, target: Target) -> AsyncIterator[AsyncLockedRuntime]:
        """Hold an instance until the transaction ends; see `AsyncRuntime.locked`."""
        async with scopes.locked(self._engine, self._work, target) as (work, instance):
            yield AsyncLockedRuntime(self._engine, work, instance)

    async def committed(self) -> None:
        """Say that the joined transaction has committed, so that observers are told now."""
        await scopes.committed(self._engine, self._work)


class AsyncLockedRuntime(AsyncBoundRuntime):
    """A bound runtime that holds one instance; `instance` is the row as locked."""

    def __init__(self, engine: Engine, work: Work, instance: Instance) -> None:
        super().__init__(engine, work)
        self.instance = instance


class AsyncRuntime(AsyncCalls, AsyncVersioning, AsyncFeeding, AsyncKeeping, AsyncDoctoring):
    """Runs workflows over a persistence, for asyncio.

    Making one does no I/O. `start()` (or `async with AsyncRuntime(…) as runtime`) opens what the persistence owns,
    checks its schema and makes the definitions known to it. Nothing is global: several runtimes live side by side
    without seeing each other.

    Args:
        workflows: every definition, in all versions that have living instances; new instances get the highest.
        commands: functions (or objects with `execute(ctx)`), by name or as a mapping. Those that definitions carry
            themselves need not be given; the same holds for `guards` and `delays`.
        guards: pure functions of any of (payload, context, metadata, now, params), or objects with `check`.
        delays: pure functions of any of (payload, context, metadata, now) that give a timedelta, a datetime, or None
            for no timer this time.
        resources: factories of what commands get by `ctx.resource(kind)`, called once per unit of work with an object
            that has `connection` and `on_rollback(undo)`.
        persistence: where instances live, such as `InMemoryPersistence()`.
        clock: None takes the store's clock, which is what production wants.
        ids: makes UUIDs; None takes time-ordered ones where Python has them.
        observers: called after the commit with each `Notice`, in order; what they raise is contained.
        on_observer_error: called with (error, notice) when an observer raises; None logs it.
        codec: how values become JSON; give one to register your own types.
        limits: sizes of stored values, if no codec is given.
        max_automatic_moves: how many automatic moves one step may take (1 to 1000).
        timer_retry: back-off of timers whose guards say no, or which fail.
        store_retry: how often the runtime's own transactions are tried again when the store asks for it.
        locking: `always` takes the row lock even where a compare-and-set would do.
        live_check: what to do at start about versions that open instances need and this runtime cannot use: `warning`
            logs each once, `fatal` raises, `off` does not look; for all workflows, or as a mapping from their names.
        message_handlers: who is given the messages that moves leave in the outbox, by `dispatch`.

    Raises:
        DefinitionError: a definition uses handlers that are not given, or (blocking runtime) an async command.
        DefinitionConflict: one workflow name and version is given with two contents.
        InvalidArgument: an option is out of bounds.
    """

    def __init__(
        self,
        *,
        workflows: Iterable[Workflow],
        persistence: Persistence,
        commands: Handlers = (),
        guards: Handlers = (),
        delays: Handlers = (),
        resources: Mapping[Any, ResourceFactory] = EMPTY,
        clock: Clock | None = None,
        ids: Ids | None = None,
        observers: Iterable[Observer] = (),
        on_observer_error: OnObserverError | None = None,
        codec: Codec | None = None,
        limits: Limits | None = None,
        max_automatic_moves: int = 10,
        timer_retry: TimerRetryPolicy | None = None,
        store_retry: StoreRetryPolicy | None = None,
        locking: Locking = "auto",
        live_check: LiveCheck | Mapping[str, LiveCheck] = "warning",
        message_handlers: Iterable[MessageHandler] = (),
    ) -> None:
        self._work = None
        self._engine = Engine.build(
            waits=AsyncioWaits(),
            bind=lambda work: AsyncBoundRuntime(self._engine, work),
            workflows=to_items(workflows),
            commands=commands,
            guards=guards,
            delays=delays,
            resources=resources,
            persistence=persistence,
            clock=clock,
            ids=ids,
            observers=observers,
            on_observer_error=on_observer_error,
            codec=codec or (Codec(limits=limits) if limits is not None else None),
            max_automatic_moves=max_automatic_moves,
            timer_retry=timer_retry,
            store_retry=store_retry,
            locking=locking,
            live_check=live_check,
            message_handlers=to_items(message_handlers),
        )

    @property
    def workflows(self) -> tuple[Workflow, ...]:
        """Every definition that it was given, in all versions."""
        return self._engine.definitions.given

    @property
    def codec(self) -> Codec:
        """How it turns values into JSON, and back."""
        return self._engine.codec

    @property
    def namespace(self) -> str:
        """The part of the store that it sees."""
        return self._engine.persistence.namespace

    async def start(self) -> None:
        """Open the persistence. Starting twice does nothing.

        Raises:
            SchemaMismatch: the tables are missing or too old; the error says what to run.
            DefinitionConflict: the store knows one of the versions with other content.
            LiveCheckFailed: open instances cannot move in this runtime, and `live_check` calls that fatal.
            StoreUnavailable: the store cannot be reached.
        """
        await self._engine.start()

    async def close(self) -> None:
        """Close what the persistence owns. A runtime can be started again."""
        await self._engine.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncBoundRuntime]:
        """A transaction: everything done with what it yields, and on its `connection`, commits together at the end.

        Observers are told after the commit. An exception rolls everything back and goes on.
        """
        async with scopes.transaction(self._engine, None) as work:
            yield AsyncBoundRuntime(self._engine, work)

    @asynccontextmanager
    async def using(
        self, connection: Any, *, on_commit: Callable[[Callable[[], Any]], Any] | None = None
    ) -> AsyncIterator[AsyncBoundRuntime]:
        """Join a transaction that the caller has open on `connection`, and commits or rolls back itself.

        Args:
            on_commit: called with a function that tells the observers, to be run after the commit, such as Django's
                `transaction.on_commit`. Without it, call `committed()` on what this yields; else nobody is told.

        Raises:
            InvalidArgument: no transaction is open on the connection, or the store cannot use it.
        """
        async with scopes.using(self._engine, connection) as work:
            bound = AsyncBoundRuntime(self._engine, work)
            yield bound
        if on_commit is not None:
            on_commit(bound.committed)

    @asynccontextmanager
    async def locked(self, target: Target) -> AsyncIterator[AsyncLockedRuntime]:
        """Hold an instance against everyone else around your own code, in one transaction.

        What this yields has the row as `instance`, and fires, reads and writes within the transaction.
        """
        async with scopes.locked(self._engine, None, target) as (work, instance):
            yield AsyncLockedRuntime(self._engine, work, instance)

    async def fire_due_timers(self, *, limit: int = 100) -> SweepResult:
        """Fire timers that are due, up to `limit`. Run it often, from as many processes as you like.

        Two sweeps never wait for each other. What fails is tried again later and parked in the end; it never stops
        the rest.
        """
        return await sweeping.fire_due_timers(self._engine, limit)

    async def health(self) -> Health:
        """Whether the persistence can serve; problems are told, not raised."""
        return await asking.health(self._engine)
