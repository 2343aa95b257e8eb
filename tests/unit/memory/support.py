"""What do the tests of the in-memory stores share? Made-up instances, and transactions driven step by step."""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.instance import ArmedTimer, HistoryEntry, Instance
from duraflow.memory import InMemoryPersistence
from duraflow.ports import DueStore, Environment, Lifecycle, Lock, UnitOfWork, Waits
from duraflow.runtime.drive import drive

T = TypeVar("T")

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@types.coroutine
def _suspend() -> Generator[None, None, None]:
    yield


@attrs.define
class _SteppedLock:
    _locked: bool = False

    async def acquire(self) -> None:
        while self._locked:
            await _suspend()
        self._locked = True

    def release(self) -> None:
        self._locked = False


class SteppedWaits:
    """Waiting that gives control back to the test, so that one thread can interleave transactions at will."""

    suspends = True

    async def sleep(self, seconds: float, /) -> None:
        raise AssertionError("nothing here sleeps")

    def lock(self) -> Lock:
        return _SteppedLock()

    def elapsed(self) -> float:
        raise AssertionError("nothing here looks at the time")


@attrs.define
class Call(Generic[T]):
    """A store call under way, which goes on only when told to."""

    _coroutine: Coroutine[Any, Any, T]
    _result: list[T] = attrs.field(factory=list, init=False)
    waiting: bool = attrs.field(default=True, init=False)

    def __attrs_post_init__(self) -> None:
        self.resume()

    def resume(self) -> None:
        """Go on to where it waits or ends."""
        try:
            self._coroutine.send(None)
        except StopIteration as finished:
            self.waiting = False
            self._result.append(finished.value)
        except BaseException:
            self.waiting = False
            raise

    def result(self) -> T:
        """Go on, and give its value; it must not wait any more."""
        if self.waiting:
            self.resume()
        assert not self.waiting
        return self._result[0]

    def cancel(self) -> None:
        """End it where it waits, as a cancelled task would."""
        self._coroutine.close()


@attrs.define
class Open:
    """A transaction that the test ends when it likes."""

    _begun: AbstractAsyncContextManager[UnitOfWork]
    unit: UnitOfWork = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.unit = drive(self._begun.__aenter__())

    def commit(self) -> None:
        drive(self._begun.__aexit__(None, None, None))

    def roll_back(self) -> None:
        drive(self._begun.__aexit__(KeyError, KeyError(), None))


@attrs.define
class Part:
    """A savepoint that the test ends when it likes."""

    _savepoint: AbstractAsyncContextManager[None]

    def __attrs_post_init__(self) -> None:
        drive(self._savepoint.__aenter__())

    def keep(self) -> None:
        drive(self._savepoint.__aexit__(None, None, None))

    def undo(self) -> None:
        drive(self._savepoint.__aexit__(KeyError, KeyError(), None))


def lifecycle(persistence: InMemoryPersistence) -> Lifecycle:
    """The port, which is always there."""
    assert persistence.lifecycle is not None
    return persistence.lifecycle


def due_store(persistence: InMemoryPersistence) -> DueStore:
    """The port, which is always there."""
    assert persistence.due is not None
    return persistence.due


def start(persistence: InMemoryPersistence, waits: Waits | None = None, codec: Codec | None = None) -> None:
    """Make it serve."""
    drive(lifecycle(persistence).start(Environment(waits or SteppedWaits(), codec or Codec())))


def started(waits: Waits | None = None, **options: Any) -> InMemoryPersistence:
    """A persistence that serves."""
    persistence = InMemoryPersistence(**options)
    start(persistence, waits)
    return persistence


def begin(persistence: InMemoryPersistence) -> Open:
    """An open transaction."""
    return Open(persistence.transactions.begin())


def new(number: int = 1, **changes: Any) -> Instance:
    """A new instance whose id is this number."""
    values: dict[str, Any] = {
        "id": UUID(int=number),
        "namespace": "default",
        "workflow": "fine",
        "definition_version": 1,
        "state": "created",
        "version": 1,
        "created_at": START,
        "updated_at": START,
        "entered_at": START,
    }
    return Instance(**{**values, **changes})


def moved(instance: Instance, **changes: Any) -> Instance:
    """The instance one version later."""
    return attrs.evolve(instance, version=instance.version + 1, **changes)


def with_timer(instance: Instance, event: str, due_at: datetime) -> Instance:
    """The instance with one more armed timer."""
    return attrs.evolve(instance, timers=(*instance.timers, ArmedTimer(event, due_at)))


def entry(instance: Instance, **changes: Any) -> HistoryEntry:
    """The history entry that made this version."""
    first = instance.version == 1
    values: dict[str, Any] = {
        "instance_id": instance.id,
        "seq": instance.version,
        "kind": "created" if first else "moved",
        "event": "$created" if first else "pay",
        "from_state": None if first else "created",
        "to_state": instance.state,
        "at": instance.updated_at,
        "definition_version": 1,
        "attempt_id": UUID(int=1_000 + instance.version),
    }
    return HistoryEntry(**{**values, **changes})


def stored(persistence: InMemoryPersistence, *instances: Instance) -> None:
    """Commit these, each with its first history entry."""

    async def store() -> None:
        async with persistence.transactions.begin() as unit:
            for instance in instances:
                await persistence.instances.create(unit, instance)
                await persistence.history.append(unit, [entry(instance)])

    drive(store())


def read(
    persistence: InMemoryPersistence, number: int = 1, unit: UnitOfWork | None = None
) -> Instance | None:
    """What is seen of an instance, committed or in a unit."""
    loaded = drive(persistence.instances.get(unit, UUID(int=number), clock=None))
    return None if loaded is None else loaded.instance


def seqs(persistence: InMemoryPersistence, number: int = 1, unit: UnitOfWork | None = None) -> list[int]:
    """Which history entries are seen of an instance."""
    entries = drive(persistence.history.read(unit, UUID(int=number), after=0, limit=100, newest_first=False))
    return [found.seq for found in entries]
