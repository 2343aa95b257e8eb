"""What is a runtime made of? The one place where definitions, handlers and ports come together.

Use cases are functions over an `Engine`, in the modules beside this one; `Runtime` and `AsyncRuntime` only call them.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import attrs

from duraflow.clock import default_ids
from duraflow.codec import Codec
from duraflow.definition.checks.names import name_problem
from duraflow.definition.findings import Finding
from duraflow.definition.serial import difference, to_json
from duraflow.definition.values import to_items
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    DefinitionConflict,
    DefinitionError,
    InstanceNotFound,
    InvalidArgument,
    Misuse,
    NotSupported,
    StoreUnavailable,
)
from duraflow.handlers import Handlers, handler_table
from duraflow.instance import Instance
from duraflow.machine.step import Rules
from duraflow.messages import MessageHandler
from duraflow.ports import (
    Clock,
    DueStore,
    Environment,
    Key,
    Lock,
    Outbox,
    Persistence,
    ReceiptStore,
    Waits,
    Writer,
)
from duraflow.runtime.ambient import running
from duraflow.runtime.definitions import Definitions, problem_of
from duraflow.runtime.observers import Observer, Observers, OnObserverError
from duraflow.runtime.options import Locking, StoreRetryPolicy, TimerRetryPolicy
from duraflow.runtime.versions import LiveCheck, LiveCheckPolicy, check_at_start
from duraflow.runtime.work import ResourceFactory, Work
from duraflow.writer import DefaultWriter

T = TypeVar("T")

Target = UUID | str | Instance | tuple[str, str]
"""How a caller names an instance: its id (also as text), the instance itself, or (workflow, ref)."""


@attrs.define(eq=False)
class Engine:
    """All that use cases need. Made once by a runtime; later only two of its parts change.

    These are `started`, and `definitions`, to which stored versions are added as they are met.
    """

    definitions: Definitions
    rules: Rules
    persistence: Persistence
    writer: Writer
    waits: Waits
    clock: Clock | None
    resources: Mapping[Any, ResourceFactory]
    observers: Observers
    timer_retry: TimerRetryPolicy
    store_retry: StoreRetryPolicy
    locking: Locking
    live_check: LiveCheckPolicy
    message_handlers: Mapping[str, MessageHandler]
    bind: Callable[[Work], Any]
    started: bool = False
    _lock: Lock = attrs.field(
        init=False, default=attrs.Factory(lambda self: self.waits.lock(), takes_self=True)
    )

    @classmethod
    def build(
        cls,
        *,
        waits: Waits,
        bind: Callable[[Work], Any],
        workflows: Iterable[Workflow],
        commands: Handlers,
        guards: Handlers,
        delays: Handlers,
        resources: Mapping[Any, ResourceFactory],
        persistence: Persistence,
        clock: Clock | None,
        ids: Callable[[], UUID] | None,
        observers: Iterable[Observer],
        on_observer_error: OnObserverError | None,
        codec: Codec | None,
        max_automatic_moves: int,
        timer_retry: TimerRetryPolicy | None,
        store_retry: StoreRetryPolicy | None,
        locking: Locking,
        live_check: LiveCheck | Mapping[str, LiveCheck],
        message_handlers: Iterable[MessageHandler] = (),
    ) -> Engine:
        """Put a runtime together, checking everything that can be checked without I/O.

        Raises:
            DefinitionError: a definition uses handlers that are not registered.
            DefinitionConflict: two contents for one name and version.
            InvalidArgument: an option is out of bounds, or a handler cannot be used.
        """
        if not isinstance(persistence, Persistence):
            raise InvalidArgument(
                "persistence",
                f"{persistence!r} is not a Persistence; make one, such as `InMemoryPersistence()`",
            )
        wanted = "asyncio" if waits.suspends else "blocking"
        if persistence.kind not in ("any", wanted):
            raise InvalidArgument(
                "persistence",
                f"{type(persistence).__name__} serves the {persistence.kind} runtime, and this is the {wanted} one",
            )
        if type(max_automatic_moves) is not int or not 1 <= max_automatic_moves <= 1_000:
            raise InvalidArgument(
                "max_automatic_moves", f"{max_automatic_moves!r} is not a whole number from 1 to 1000"
            )
        if locking not in ("auto", "always"):
            raise InvalidArgument("locking", f"{locking!r} is neither 'auto' nor 'always'")
        definitions = Definitions.of(workflows)
        known = definitions.by_version.values()
        handlers = handler_table(known, commands=commands, guards=guards, delays=delays)
        for workflow in known:
            missing = handlers.missing(workflow)
            if missing:
                raise DefinitionError(workflow.name, missing)
        if not waits.suspends:
            _refuse_async_handlers(known, handlers.commands)
        codec = codec or Codec()
        return cls(
            definitions=definitions,
            rules=Rules(handlers, codec, ids or default_ids(), max_automatic_moves),
            persistence=persistence,
            writer=persistence.writer or DefaultWriter.of(persistence),
            waits=waits,
            clock=clock,
            resources=dict(resources),
            observers=Observers(to_items(observers), on_observer_error, waits.suspends),
            timer_retry=timer_retry or TimerRetryPolicy(),
            store_retry=store_retry or StoreRetryPolicy(),
            locking=locking,
            live_check=LiveCheckPolicy.of(live_check),
            message_handlers=_handlers_by_name(message_handlers, waits.suspends),
            bind=bind,
        )

    # --- lifecycle ----------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open the persistence, check its schema, and make the definitions known to it."""
        if self.started:
            return
        if self.persistence.lifecycle is not None:
            await self.persistence.lifecycle.start(Environment(self.waits, self.codec))
        try:
            if self.persistence.definitions is not None:
                await self._register(self.persistence.definitions.register)
                await check_at_start(self, self.live_check)
        except BaseException:
            # Whoever corrects the cause can start again, and nothing stays open behind who gives up.
            await self.close()
            raise
        self.started = True

    async def _register(
        self, register: Callable[[Sequence[Workflow]], Awaitable[Mapping[tuple[str, int], Mapping[str, Any]]]]
    ) -> None:
        workflows = self.definitions.given
        stored = await self.retrying(lambda: register(workflows))
        for (name, version), snapshot in stored.items():
            mine = to_json(self.definitions.governing(name, version))
            raise DefinitionConflict(name, version, difference(dict(snapshot), mine))

    async def close(self) -> None:
        """Close what the persistence owns."""
        self.started = False
        if self.persistence.lifecycle is not None:
            await self.persistence.lifecycle.close()

    # --- parts --------------------------------------------------------------------------------------------------

    @property
    def codec(self) -> Codec:
        return self.rules.codec

    @property
    def due(self) -> DueStore:
        if self.persistence.due is None:
            raise NotSupported("work with timers", "a persistence with the port `due: DueStore`")
        return self.persistence.due

    async def know(self, work: Work | None, instance: Instance) -> None:
        """Make sure that the definition of an instance is at hand, loading a stored version once, when first met.

        Raises:
            DefinitionNotFound: neither the runtime nor the store has it, or its snapshot cannot be used.
        """
        if self.definitions.find(instance.workflow, instance.definition_version) is None:
            await self.know_version(work, instance.workflow, instance.definition_version)

    async def know_version(self, work: Work | None, workflow: str, version: int) -> Workflow:
        """The definition of this version: as given to the runtime, or else as the store keeps it.

        Raises:
            DefinitionNotFound: neither has it, or the snapshot cannot be used; the error says why.
        """
        known = self.definitions.by_version.get((workflow, version))
        if known is not None:
            return known
        loaded = await self.stored(work, workflow, version)
        # Two that load at a time must not overwrite each other's. Nothing waits inside.
        await self._lock.acquire()
        try:
            self.definitions = self.definitions.adding(loaded)
        finally:
            self._lock.release()
        return loaded

    async def stored(self, work: Work | None, workflow: str, version: int) -> Workflow:
        """The definition of a version as the store keeps it, ready for use; it is not kept at hand.

        Raises:
            DefinitionNotFound: there is none, or the snapshot cannot be used; the error says why.
        """
        store = self.persistence.definitions
        if store is None or workflow not in self.definitions.newest:
            # What the runtime was given no version of is another application's business.
            raise self.definitions.not_found(workflow, version)
        if work is None:
            snapshot = await self.retrying(lambda: store.load(None, workflow, version))
        else:
            snapshot = await store.load(work.unit, workflow, version)
        if snapshot is None:
            raise self.definitions.not_found(workflow, version)
        try:
            return self.definitions.revived(snapshot, self.rules.handlers)
        except (InvalidArgument, DefinitionError) as error:
            raise self.definitions.not_found(workflow, version, problem_of(error)) from error

    @property
    def receipts(self) -> ReceiptStore:
        if self.persistence.receipts is None:
            raise NotSupported("`key=`", "a persistence with the port `receipts: ReceiptStore`")
        return self.persistence.receipts

    @property
    def outbox(self) -> Outbox:
        if self.persistence.outbox is None:
            raise NotSupported("work with messages", "a persistence with the port `outbox: Outbox`")
        return self.persistence.outbox

    def now(self) -> datetime | None:
        """The time to hand to a store; None lets the store use its own clock."""
        if self.clock is None:
            return None
        now = self.clock.now()
        if now.tzinfo is None:
            raise InvalidArgument("clock", f"it gave {now!r}, which has no time zone")
        return now

    def key(self, target: Target) -> Key:
        """The store's key for what a caller named.

        Raises:
            InvalidArgument: it names nothing.
        """
        match target:
            case UUID():
                return target
            case Instance(id=instance_id):
                return instance_id
            case str():
                try:
                    return UUID(target)
                except ValueError:
                    raise InvalidArgument(
                        "target",
                        f"{target!r} is not an id; to name an instance by its ref pass (workflow, ref)",
                    ) from None
            case (str() as workflow, str() as ref):
                if self.definitions.newest:  # a runtime without any only looks, at whatever is there
                    self.definitions.latest(workflow)
                return (str(workflow), str(ref))
        raise InvalidArgument("target", f"{target!r} is neither an id, an Instance nor (workflow, ref)")

    def not_found(self, key: Key) -> InstanceNotFound:
        return InstanceNotFound(key, self.persistence.namespace)

    def event_name(self, event: object) -> str:
        """The plain name of an event given as text or as a StrEnum member."""
        if type(event) is str and event in self.definitions.payload_types:
            return event  # it is an event of some definition, where it was checked
        name = event.value if isinstance(event, Enum) else event
        problem = name_problem(name)
        if problem is not None or not isinstance(name, str):
            raise InvalidArgument("event", problem[1] if problem else f"{event!r} is not a name")
        return str(name)

    def trigger(self, trigger: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The caller's note of who or what fired it, checked."""
        if not trigger:
            return {}
        if not isinstance(trigger, Mapping):
            raise InvalidArgument("trigger", f"{trigger!r} is not a mapping such as {{'by': 'anna'}}")
        return self.codec.copy(trigger, path="trigger")  # type: ignore[return-value]  # an object stays one

    def check_usable(self, work: Work | None) -> None:
        """Refuse a runtime that is not started, a transaction that ended, and an unbound runtime inside a command."""
        if not self.started:
            raise Misuse("the runtime is not started", "call `start()`, or use it as a context manager")
        if work is not None:
            work.check_open()
        elif running.get() is self:
            raise Misuse(
                "a command used the unbound runtime, whose writes would not belong to its transaction",
                "use `ctx.runtime` inside commands",
            )

    # --- transactions -------------------------------------------------------------------------------------------

    async def retrying(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try again, with jitter, while the store asks for it and nothing was written."""
        policy = self.store_retry
        for number in range(policy.attempts):
            try:
                return await attempt()
            except StoreUnavailable as error:
                if not error.retryable or error.outcome != "not_written" or number + 1 == policy.attempts:
                    raise
            import random

            await self.waits.sleep(random.uniform(0, min(policy.cap_s, policy.first_s * 2**number)))
        raise AssertionError("unreachable: the last attempt returns or raises")

    @asynccontextmanager
    async def opened(self, *, owned: bool, eager: bool = False) -> AsyncIterator[Work]:
        """A transaction of the runtime's own; observers are told after it has committed.

        Args:
            eager: someone gets its connection before the first statement of ours.
        """
        work: Work | None = None
        try:
            async with self.persistence.transactions.begin(eager=eager or not owned) as unit:
                work = Work(unit, self.resources, owned)
                try:
                    yield work
                except BaseException:
                    work.undo()  # while the locks are still held
                    raise
        except BaseException:
            if work is not None:
                work.closed = True
                work.undo()
            raise
        work.closed = True
        await self.observers.tell(work.notices)

    async def in_work(
        self, work: Work | None, use_case: Callable[[Work], Coroutine[Any, Any, T]], *, eager: bool = False
    ) -> T:
        """Run a use case in the given transaction, as a savepoint, or in one of its own, tried again when asked to."""
        if work is not None:
            async with work.savepoint():
                return await use_case(work)

        async def attempt() -> T:
            async with self.opened(owned=True, eager=eager) as own:
                return await use_case(own)

        return await self.retrying(attempt)


def _handlers_by_name(handlers: Iterable[MessageHandler], suspends: bool) -> Mapping[str, MessageHandler]:
    found: dict[str, MessageHandler] = {}
    for handler in handlers:
        if not isinstance(handler, MessageHandler):
            raise InvalidArgument(
                "message_handlers",
                f"{handler!r} is no MessageHandler; make one: MessageHandler('name', call)",
            )
        if handler.name in found:
            raise InvalidArgument(
                "message_handlers", f"two are named {handler.name!r}; progress is kept by name"
            )
        if not suspends and is_async(handler.call):
            raise InvalidArgument(
                "message_handlers", f"{handler.name!r} is async; use AsyncRuntime, or make it plain"
            )
        found[handler.name] = handler
    return found


def is_async(call: Any) -> bool:
    """Whether calling it gives a coroutine."""
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)


def _refuse_async_handlers(workflows: Iterable[Workflow], commands: Mapping[str, Any]) -> None:
    for name, call in commands.items():
        if is_async(call):
            finding = Finding(
                f"commands[{name}]",
                "async_command",
                f"the command {name!r} is async; use AsyncRuntime, or make it plain",
            )
            raise DefinitionError(", ".join(sorted({workflow.name for workflow in workflows})), (finding,))
