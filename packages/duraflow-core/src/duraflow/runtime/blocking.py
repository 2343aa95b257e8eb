"""What does a blocking application call?

Each method drives the same coroutine that `AsyncRuntime` awaits (see `drive`); a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from duraflow.codec import Codec, Limits
from duraflow.definition.values import EMPTY, to_items
from duraflow.definition.workflow import Workflow
from duraflow.handlers import Handlers
from duraflow.instance import HistoryEntry, Instance
from duraflow.ports import Clock, Ids, Persistence
from duraflow.results import (
    Explanation,
    FireResult,
    Firing,
    Health,
    NewInstance,
    Page,
    Parked,
    StateCount,
    SweepResult,
    Unfired,
)
from duraflow.runtime import asking, batches, creating, firing, operating, scopes, sweeping
from duraflow.runtime.drive import Driven, drive
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.observers import Observer, OnObserverError
from duraflow.runtime.options import Locking, StoreRetryPolicy, TimerRetryPolicy
from duraflow.runtime.waits import BlockingWaits
from duraflow.runtime.work import ResourceFactory, Work

Range = tuple[datetime | None, datetime | None]
_ANY: Range = (None, None)


class Calls:
    """What can be asked of a runtime, whether it opens its own transactions or is bound to one."""

    _engine: Engine
    _work: Work | None

    # --- creating and firing ------------------------------------------------------------------------------------

    def create(
        self,
        workflow: str | Workflow,
        context: Mapping[str, Any] = EMPTY,
        *,
        metadata: Mapping[str, Any] = EMPTY,
        ref: str | None = None,
        id: UUID | None = None,  # noqa: A002  # the plain word
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> Instance:
        """Create an instance of the newest version of a workflow, and follow its automatic transitions.

        Args:
            context: laid over the initial state's declared context.
            metadata: JSON labels, fixed for good; `list` can filter by them.
            ref: your own permanent key for it, at most 256 bytes, unique per namespace and workflow.
            id: its id, if it is made elsewhere.
            subject: any object, passed on to commands.
            trigger: who or what creates it, for the history.

        Raises:
            AlreadyExists: the ref or id is taken; the error has the id of the instance that has it.
            DefinitionNotFound: the runtime does not have the workflow.
            InvalidArgument: something given cannot be stored.
            CommandFailed, ChainTooDeep: as for `fire`.
        """
        new = NewInstance(workflow, context, metadata, ref, id, subject, trigger)
        return drive(creating.create(self._engine, self._work, new))

    def create_many(self, instances: Iterable[NewInstance], /) -> tuple[Instance, ...]:
        """Create several, all or none, in one transaction and (where the store can) one statement.

        Raises:
            AlreadyExists: one of the refs or ids is taken; none was created.
        """
        return drive(creating.create_many(self._engine, self._work, tuple(instances)))

    def fire(
        self,
        target: Target,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> FireResult:
        """Fire an event at an instance. When this returns, what it says is committed (or joins the open transaction).

        Args:
            target: an id (also as text), an `Instance`, or `(workflow, ref)`.
            payload: as the event's payload type says: its class or a mapping of its fields; JSON without one.
            subject: any object, passed on to commands, also through automatic hops; never stored.
            trigger: who or what fired it, as JSON labels such as `{"by": "anna"}`, kept in history.

        Raises:
            InstanceNotFound: there is no such instance.
            EventRefused: the state does not accept the event, or the instance is finished. Nothing was recorded.
            CommandFailed: a command returned a `Failure` and no `error_target` leads on. All was rolled back.
            Busy: durable work holds the instance.
            ChainTooDeep: automatic transitions did not come to rest. All was rolled back.
            InvalidArgument: the event or payload cannot be used; raised before anything is locked.
            StoreUnavailable, LockTimeout: see there. Whatever else a guard or command raises rolls back and passes on.
        """
        return drive(firing.fire(self._engine, self._work, target, event, payload, trigger, subject))

    def try_fire(
        self,
        target: Target,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> FireResult | Unfired:
        """As `fire`, but what the event ran into is a value (`Unfired(error)`) instead of an exception.

        Still raised: arguments that cannot be used, a store that is down, and what guards and commands raise.
        """
        return drive(firing.try_fire(self._engine, self._work, target, event, payload, trigger, subject))

    def fire_many(self, firings: Iterable[Firing], /) -> tuple[FireResult | Unfired, ...]:
        """Fire many events, each for itself: whatever one runs into is its own answer, and stops no other.

        Answers come in the order given; events for one instance are fired in that order.
        Command-free events for different instances are read by one query and written by one statement.
        """
        return drive(batches.fire_many(self._engine, self._work, tuple(firings)))

    # --- asking -------------------------------------------------------------------------------------------------

    def get(self, target: Target) -> Instance:
        """Read an instance. Raises `InstanceNotFound`."""
        return drive(asking.get(self._engine, self._work, target))

    def list(
        self,
        workflow: str | Workflow | None = None,
        *,
        state: str | Iterable[str] | None = None,
        open: bool | None = None,  # noqa: A002  # the plain word
        outcome: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created: Range = _ANY,
        updated: Range = _ANY,
        entered: Range = _ANY,
        oldest_first: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Find instances, newest first; pass `page.cursor` to go on. Stable however many are created at one instant.

        Args:
            state: one or several states or groups.
            metadata: what their metadata must contain.
            created: from (inclusive) and to (exclusive), aware; either may be None. So are `updated` and `entered`.
            limit: 1 to 1000.
        """
        query = asking.query_of(
            self._engine, workflow=workflow, state=state, open=open, outcome=outcome, metadata=metadata,
            created=created, updated=updated, entered=entered, oldest_first=oldest_first,
        )  # fmt: skip
        return drive(asking.list_instances(self._engine, self._work, query, limit, cursor))

    def count(
        self,
        workflow: str | Workflow | None = None,
        *,
        state: str | Iterable[str] | None = None,
        open: bool | None = None,  # noqa: A002  # the plain word
        outcome: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created: Range = _ANY,
        updated: Range = _ANY,
        entered: Range = _ANY,
    ) -> tuple[StateCount, ...]:
        """How many instances match, per workflow and state; the filter is that of `list`."""
        query = asking.query_of(
            self._engine, workflow=workflow, state=state, open=open, outcome=outcome, metadata=metadata,
            created=created, updated=updated, entered=entered, oldest_first=False,
        )  # fmt: skip
        return drive(asking.count(self._engine, self._work, query))

    def history(
        self, target: Target, *, after: int = 0, limit: int = 50, newest_first: bool = False
    ) -> tuple[HistoryEntry, ...]:
        """What happened to an instance, oldest first.

        Args:
            after: go on after the entry with this `seq` (newest first: before it); 0 begins at the start (the end).
            limit: 1 to 1000.
        """
        return drive(asking.history(self._engine, self._work, target, after, limit, newest_first))

    def explain(self, target: Target, payloads: Mapping[str, Any] | None = None) -> tuple[Explanation, ...]:
        """What each event of the current state would do now, and which guards say no; empty when finished.

        Args:
            payloads: payloads by event, for guards that look at them.
        """
        return drive(asking.explain(self._engine, self._work, target, payloads))

    def parked(self, *, limit: int = 50) -> tuple[Parked, ...]:
        """Timers that failed too often and wait for `rearm`, longest parked first."""
        return drive(asking.parked(self._engine, self._work, limit))

    def handle(self, target: Target) -> Handle:
        """The same calls for one instance, without naming it again. Reads nothing."""
        return Handle(self, target)

    # --- operating ----------------------------------------------------------------------------------------------

    def cancel(self, target: Target, *, reason: str = "", by: str = "") -> FireResult:
        """End an instance now: in the workflow's one state with outcome cancelled, else where it is.

        Raises:
            EventRefused: it is finished already.
        """
        return drive(operating.cancel(self._engine, self._work, target, reason, by))

    def force(
        self,
        target: Target,
        *,
        state: str,
        reason: str,
        by: str = "",
        context: Mapping[str, Any] | None = None,
    ) -> FireResult:
        """The operator's move: to any state of its definition, also from a finished one, recorded as forced.

        The state is entered as by any move: its declared context, its timers, its automatic transitions. `context`
        is laid over by top-level key, last.
        """
        return drive(operating.force(self._engine, self._work, target, state, context, reason, by))

    def rearm(self, target: Target) -> Instance:
        """Try the timers of an instance again from the start, parked ones too; those already due, at once."""
        return drive(operating.rearm(self._engine, self._work, target))

    def delete(self, target: Target, *, force: bool = False) -> Instance:
        """Take out a finished instance with its history; an open one only with `force`. Gives what was deleted."""
        return drive(operating.delete(self._engine, self._work, target, force))


class Handle:
    """One instance, by name: every call of the runtime that takes a target, without it."""

    def __init__(self, calls: Calls, target: Target) -> None:
        self._calls = calls
        self.target = target

    def fire(
        self,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> FireResult:
        """See `Runtime.fire`."""
        return self._calls.fire(self.target, event, payload, subject=subject, trigger=trigger)

    def try_fire(
        self,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
    ) -> FireResult | Unfired:
        """See `Runtime.try_fire`."""
        return self._calls.try_fire(self.target, event, payload, subject=subject, trigger=trigger)

    def get(self) -> Instance:
        """See `Runtime.get`."""
        return self._calls.get(self.target)

    def history(
        self, *, after: int = 0, limit: int = 50, newest_first: bool = False
    ) -> tuple[HistoryEntry, ...]:
        """See `Runtime.history`."""
        return self._calls.history(self.target, after=after, limit=limit, newest_first=newest_first)

    def explain(self, payloads: Mapping[str, Any] | None = None) -> tuple[Explanation, ...]:
        """See `Runtime.explain`."""
        return self._calls.explain(self.target, payloads)

    def cancel(self, *, reason: str = "", by: str = "") -> FireResult:
        """See `Runtime.cancel`."""
        return self._calls.cancel(self.target, reason=reason, by=by)

    def force(
        self, *, state: str, reason: str, by: str = "", context: Mapping[str, Any] | None = None
    ) -> FireResult:
        """See `Runtime.force`."""
        return self._calls.force(self.target, state=state, reason=reason, by=by, context=context)

    def rearm(self) -> Instance:
        """See `Runtime.rearm`."""
        return self._calls.rearm(self.target)

    def delete(self, *, force: bool = False) -> Instance:
        """See `Runtime.delete`."""
        return self._calls.delete(self.target, force=force)


class BoundRuntime(Calls):
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
        """The resource of this kind for this transaction; see `Runtime(resources=…)`."""
        self._work.check_open()
        return self._work.resource(kind)

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """A savepoint: undone by itself when an exception leaves it."""
        with Driven(scopes.transaction(self._engine, self._work)):
            yield self

    @contextmanager
    def locked(self, target: Target) -> Iterator[LockedRuntime]:
        """Hold an instance until the transaction ends; see `Runtime.locked`."""
        with Driven(scopes.locked(self._engine, self._work, target)) as (work, instance):
            yield LockedRuntime(self._engine, work, instance)

    def committed(self) -> None:
        """Say that the joined transaction has committed, so that observers are told now."""
        drive(scopes.committed(self._engine, self._work))


class LockedRuntime(BoundRuntime):
    """A bound runtime that holds one instance; `instance` is the row as locked."""

    def __init__(self, engine: Engine, work: Work, instance: Instance) -> None:
        super().__init__(engine, work)
        self.instance = instance


class Runtime(Calls):
    """Runs workflows over a persistence, blocking.

    Making one does no I/O. `start()` (or `with Runtime(…) as runtime`) opens what the persistence owns,
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
    ) -> None:
        self._work = None
        self._engine = Engine.build(
            waits=BlockingWaits(),
            bind=lambda work: BoundRuntime(self._engine, work),
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
        )

    def start(self) -> None:
        """Open the persistence. Starting twice does nothing.

        Raises:
            SchemaMismatch: the tables are missing or too old; the error says what to run.
            DefinitionConflict: the store knows one of the versions with other content.
            StoreUnavailable: the store cannot be reached.
        """
        drive(self._engine.start())

    def close(self) -> None:
        """Close what the persistence owns. A runtime can be started again."""
        drive(self._engine.close())

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self) -> Iterator[BoundRuntime]:
        """A transaction: everything done with what it yields, and on its `connection`, commits together at the end.

        Observers are told after the commit. An exception rolls everything back and goes on.
        """
        with Driven(scopes.transaction(self._engine, None)) as work:
            yield BoundRuntime(self._engine, work)

    @contextmanager
    def using(
        self, connection: Any, *, on_commit: Callable[[Callable[[], Any]], Any] | None = None
    ) -> Iterator[BoundRuntime]:
        """Join a transaction that the caller has open on `connection`, and commits or rolls back itself.

        Args:
            on_commit: called with a function that tells the observers, to be run after the commit, such as Django's
                `transaction.on_commit`. Without it, call `committed()` on what this yields; else nobody is told.

        Raises:
            InvalidArgument: no transaction is open on the connection, or the store cannot use it.
        """
        with Driven(scopes.using(self._engine, connection)) as work:
            bound = BoundRuntime(self._engine, work)
            yield bound
        if on_commit is not None:
            on_commit(bound.committed)

    @contextmanager
    def locked(self, target: Target) -> Iterator[LockedRuntime]:
        """Hold an instance against everyone else around your own code, in one transaction.

        What this yields has the row as `instance`, and fires, reads and writes within the transaction.
        """
        with Driven(scopes.locked(self._engine, None, target)) as (work, instance):
            yield LockedRuntime(self._engine, work, instance)

    def fire_due_timers(self, *, limit: int = 100) -> SweepResult:
        """Fire timers that are due, up to `limit`. Run it often, from as many processes as you like.

        Two sweeps never wait for each other. What fails is tried again later and parked in the end; it never stops
        the rest.
        """
        return drive(sweeping.fire_due_timers(self._engine, limit))

    def health(self) -> Health:
        """Whether the persistence can serve; problems are told, not raised."""
        return drive(asking.health(self._engine))
