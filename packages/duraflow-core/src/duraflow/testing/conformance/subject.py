"""What is under test, and what does each check get? `Subject`, `Check` and `World`."""

from __future__ import annotations

import importlib
import unittest
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs

from duraflow.codec import Codec
from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import NotSupported
from duraflow.messages import DispatchResult
from duraflow.ports import DueStore, Environment, Persistence, ReceiptStore, Writer
from duraflow.runtime.aio import AsyncRuntime
from duraflow.testing.clocks import ManualClock
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver
from duraflow.testing.invariants import acheck_invariants
from duraflow.testing.ledger import EffectLedger, TransactionalLedger
from duraflow.writer import DefaultWriter

ABILITIES = (
    "due",
    "definitions",
    "receipts",
    "feed",
    "outbox",
    "retention",
    "inspector",
    "lifecycle",
    "concurrency",
)
"""What a check may need: a port of that name; `concurrency` is several open transactions at a time."""

SECOND, MINUTE, HOUR, DAY = (
    timedelta(seconds=1),
    timedelta(minutes=1),
    timedelta(hours=1),
    timedelta(days=1),
)


@attrs.frozen(kw_only=True)
class Subject:
    """A store under test.

    Attributes:
        persistence: gives a persistence over the store, for a namespace. It is called several times in one check, and
            each time must reach the same store. One that has no namespaces may take it as a name of a file.
        asyncio: whether it serves `AsyncRuntime`; else it serves `Runtime`.
        concurrency: whether several transactions can be open at a time.
    """

    persistence: Callable[[str], Persistence]
    asyncio: bool = False
    concurrency: bool = True

    def driver(self) -> Driver:
        """What runs the checks."""
        return AsyncioDriver() if self.asyncio else BlockingDriver()


@attrs.frozen
class Check:
    """One promise: its name, what it needs, and how to look."""

    part: str
    name: str
    needs: frozenset[str]
    body: Callable[[World], Coroutine[Any, Any, None]]

    def __str__(self) -> str:
        return f"{self.part}.{self.name}"

    def __call__(self, subject: Subject) -> None:
        """Look whether the promise is kept. Raises `unittest.SkipTest` where the store does not have what it needs."""
        world = World(subject, subject.driver())
        missing = sorted(self.needs - world.abilities())
        if missing:
            raise unittest.SkipTest(f"this store has no {', '.join(missing)}")
        world.driver.run(self.body(world))


_found: dict[str, list[Check]] = {}


def check(*needs: str) -> Callable[[Callable[[World], Coroutine[Any, Any, None]]], Check]:
    """Make a check of a function, which is named by what it promises."""
    unknown = set(needs) - set(ABILITIES)
    if unknown:
        raise ValueError(f"unknown abilities: {unknown}")

    def make(body: Callable[[World], Coroutine[Any, Any, None]]) -> Check:
        part = body.__module__.rpartition(".")[2]
        made = Check(part, body.__name__, frozenset(needs), body)
        _found.setdefault(part, []).append(made)
        return made

    return make


def all_checks(package: str, parts: Iterable[str]) -> Iterable[Check]:
    """The checks of these modules, in order."""
    for part in parts:
        importlib.import_module(f"{package}.{part}")
        yield from _found[part]


WORKFLOW = Workflow(
    name="port",
    initial="one",
    states=[
        State("one", [Transition("go", target="two")]),
        State("two", [Transition("go", target="three")]),
        State("three", final=True),
    ],
)
"""What the made-up instances of the port checks are of."""

OTHER_WORKFLOW = attrs.evolve(WORKFLOW, name="other port")


class World:
    """What a check has at hand: the store, a driver, a clock that stands still, and a ledger.

    Every check has a namespace of its own, so that all can share one database.
    """

    def __init__(self, subject: Subject, driver: Driver) -> None:
        self.subject = subject
        self.driver = driver
        self.clock = ManualClock()
        self.ledger = EffectLedger()
        self.namespace = f"t_{uuid4().hex[:16]}"

    def persistence(self, namespace: str | None = None) -> Persistence:
        """A persistence over the store, not started."""
        return self.subject.persistence(namespace or self.namespace)

    def abilities(self) -> frozenset[str]:
        """What the store has."""
        persistence = self.persistence()
        ports = {name for name in ABILITIES if getattr(persistence, name, None) is not None}
        return frozenset(ports | ({"concurrency"} if self.subject.concurrency else set()))

    @asynccontextmanager
    async def opened(self, namespace: str | None = None) -> AsyncIterator[Ports]:
        """A persistence that serves, and knows the workflows `port` and `other port`."""
        persistence = self.persistence(namespace)
        if persistence.lifecycle is not None:
            await persistence.lifecycle.start(Environment(self.driver.waits, Codec()))
        try:
            if persistence.definitions is not None:
                await persistence.definitions.register([WORKFLOW, OTHER_WORKFLOW])
            yield Ports(persistence)
        finally:
            if persistence.lifecycle is not None:
                await persistence.lifecycle.close()

    @asynccontextmanager
    async def runtime(
        self, *workflows: Workflow, namespace: str | None = None, invariants: bool = True, **options: Any
    ) -> AsyncIterator[AsyncRuntime]:
        """A started runtime by this world's clock, with the ledger as a resource.

        On the way out the invariants are checked, with the effects that commands left in the ledger by `note`.
        """
        options.setdefault("clock", self.clock)
        persistence = self.persistence(namespace)
        runtime = self.driver.runtime(
            workflows=workflows,
            persistence=persistence,
            resources={TransactionalLedger: self.ledger.in_transaction},
            **options,
        )
        async with runtime as started:
            yield started
            if invariants:
                noted = [key for key in self.ledger.keys if isinstance(key, tuple) and len(key) == 2]
                await acheck_invariants(
                    persistence,
                    workflows=workflows,
                    effects=noted,
                    effect_commands={name for _, name in noted},
                )

    def signal(self) -> Any:
        """Something to wait for."""
        return self.driver.signal()


def note(ctx: Any) -> None:
    """For commands: leave an effect that belongs to this move, and is rolled back with it."""
    ctx.resource(TransactionalLedger).record((ctx.transition_id, ctx.command.name))


async def dispatched(world: World, runtime: AsyncRuntime, calls: int, **options: Any) -> DispatchResult:
    """Dispatch until handlers were called so often: other transactions of a shared server may delay messages."""
    result = DispatchResult()
    for _ in range(1_000):
        result += await runtime.dispatch(**options)
        if result.total >= calls:
            break
        await world.driver.waits.sleep(0.01)
    assert result.total == calls
    return result


@attrs.frozen
class Ports:
    """The ports of a started persistence, with those that a check has asked for."""

    persistence: Persistence

    @property
    def instances(self) -> Any:
        return self.persistence.instances

    @property
    def history(self) -> Any:
        return self.persistence.history

    def begin(self) -> Any:
        """An open transaction."""
        return self.persistence.transactions.begin()

    @property
    def writer(self) -> Writer:
        """The store's own writer, or the one that the runtime builds on the base ports."""
        found = self.persistence
        return found.writer or DefaultWriter.of(found)

    @property
    def due(self) -> DueStore:
        if self.persistence.due is None:
            raise NotSupported("due work", "a persistence with the port `due: DueStore`")
        return self.persistence.due

    @property
    def receipts(self) -> ReceiptStore:
        if self.persistence.receipts is None:
            raise NotSupported("`key=`", "a persistence with the port `receipts: ReceiptStore`")
        return self.persistence.receipts

    async def read(self, key: UUID | tuple[str, str], unit: Any = None) -> Any:
        """The instance, or None."""
        loaded = await self.instances.get(unit, key, clock=None)
        return None if loaded is None else loaded.instance

    async def entries(self, instance_id: UUID, unit: Any = None) -> list[Any]:
        """Its whole history."""
        return [
            *await self.history.read(unit, instance_id, after=0, limit=1_000, newest_first=False),
        ]
