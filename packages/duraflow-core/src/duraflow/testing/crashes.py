"""What is left when the process dies at the n-th call of a port, for every n?

`crash_at` wraps every port of a persistence. Its n-th call raises `InjectedCrash`, before or after it took effect, and
whatever the same process calls later raises it too: the dead write nothing. Open transactions are rolled back, as a
server does when a connection breaks. `InjectedCrash` is no `Exception`, so that no handler keeps a dead process alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Literal, Self

import attrs

from duraflow.ports import Persistence, UnitOfWork

Side = Literal["before", "after"]
PORTS = ("instances", "history", "writer", "due", "definitions", "receipts", "outbox", "feed", "retention")
"""The ports that are wrapped as they are; `transactions` is wrapped with its units. Opening and closing never crash."""


@attrs.frozen
class Crash:
    """Where a crash was injected.

    Attributes:
        number: which call of all, from 1.
        side: whether the call had taken effect.
        call: the port and method, such as `instances.save` or `transactions.commit`.
    """

    number: int
    side: Side
    call: str

    @property
    def committed(self) -> bool:
        """Whether it came right after a commit that took effect."""
        return self.side == "after" and self.call == "transactions.commit"

    def __str__(self) -> str:
        return f"{self.side} call {self.number}, {self.call}"


class InjectedCrash(BaseException):
    """The process died here. Not an `Exception`: nothing may handle it but the test."""

    def __init__(self, crash: Crash) -> None:
        super().__init__(f"injected {crash}")
        self.crash = crash


@attrs.define(eq=False)
class PortCalls:
    """Counts calls of ports, and says which one is to crash.

    Attributes:
        at: the number of the call that crashes; 0 for none.
        calls: the calls so far, in order.
        crash: the crash, once it has happened.
    """

    at: int = 0
    side: Side = "before"
    calls: list[str] = attrs.field(factory=list)
    crash: Crash | None = None

    @property
    def count(self) -> int:
        """How many calls there were."""
        return len(self.calls)

    def arrive(self, call: str) -> None:
        """Note a call, and crash if it is its turn and the side is `before`."""
        self._refuse_dead()
        self.calls.append(call)
        if self.side == "before":
            self._die(call)

    def leave(self, call: str) -> None:
        """The call has taken effect: crash if it is its turn and the side is `after`."""
        if self.side == "after":
            self._die(call)

    def _die(self, call: str) -> None:
        if self.count == self.at:
            self.crash = Crash(self.at, self.side, call)
            raise InjectedCrash(self.crash)

    def _refuse_dead(self) -> None:
        if self.crash is not None:
            raise InjectedCrash(self.crash)


class _Port:
    """A port whose calls are counted; its units are unwrapped on the way in."""

    def __init__(self, inner: Any, name: str, calls: PortCalls) -> None:
        self._inner = inner
        self._name = name
        self._calls = calls

    def __getattr__(self, method: str) -> Any:
        inner = getattr(self._inner, method)
        if not callable(inner):
            return inner
        call = f"{self._name}.{method}"

        async def counted(*arguments: Any, **options: Any) -> Any:
            self._calls.arrive(call)
            plain = [argument.inner if isinstance(argument, _Unit) else argument for argument in arguments]
            answer = await inner(*plain, **options)
            self._calls.leave(call)
            return answer

        return counted


@attrs.frozen(eq=False)
class _Unit:
    inner: UnitOfWork
    calls: PortCalls

    @property
    def connection(self) -> Any:
        return self.inner.connection

    def savepoint(self) -> AbstractAsyncContextManager[None]:
        return _Scope(
            self.inner.savepoint(), "transactions.savepoint", "transactions.release", self.calls, _same
        )


def _same(value: Any) -> Any:
    return value


@attrs.define(eq=False)
class _Scope:
    """A transaction or savepoint whose way in and way out are counted; rolling back is not, and never crashes."""

    _inner: AbstractAsyncContextManager[Any]
    _enter: str
    _leave: str
    _calls: PortCalls
    _wrap: Callable[[Any], Any]

    async def __aenter__(self) -> Any:
        self._calls.arrive(self._enter)
        entered = await self._inner.__aenter__()
        try:
            self._calls.leave(self._enter)
        except InjectedCrash as crash:
            await self._inner.__aexit__(type(crash), crash, crash.__traceback__)
            raise
        return self._wrap(entered)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is not None:
            return await self._inner.__aexit__(kind, error, trace)
        try:
            self._calls.arrive(self._leave)
        except InjectedCrash as crash:
            await self._inner.__aexit__(type(crash), crash, crash.__traceback__)
            raise
        await self._inner.__aexit__(None, None, None)
        self._calls.leave(self._leave)
        return None


@attrs.frozen(eq=False)
class _Transactions:
    _inner: Any
    _calls: PortCalls

    def begin(self, *, eager: bool = False) -> AbstractAsyncContextManager[UnitOfWork]:
        return self._scope(self._inner.begin(eager=eager), "transactions.begin")

    def join(self, connection: Any, /) -> AbstractAsyncContextManager[UnitOfWork]:
        return self._scope(self._inner.join(connection), "transactions.join")

    def _scope(self, inner: Any, enter: str) -> AbstractAsyncContextManager[UnitOfWork]:
        leave = "transactions.commit" if enter == "transactions.begin" else "transactions.leave"
        return _Scope(inner, enter, leave, self._calls, lambda unit: _Unit(unit, self._calls))


def _wrapped(persistence: Persistence, calls: PortCalls) -> Persistence:
    ports: dict[str, Any] = {
        name: _Port(getattr(persistence, name), name, calls)
        for name in PORTS
        if getattr(persistence, name) is not None
    }
    return attrs.evolve(persistence, transactions=_Transactions(persistence.transactions, calls), **ports)


def count_calls(persistence: Persistence) -> tuple[Persistence, PortCalls]:
    """The persistence with every port call counted, and the count."""
    calls = PortCalls()
    return _wrapped(persistence, calls), calls


def crash_at(persistence: Persistence, n: int, side: Side = "before") -> tuple[Persistence, PortCalls]:
    """The persistence with a crash at its n-th port call (from 1), before or after that call takes effect."""
    if n < 1 or side not in ("before", "after"):
        raise ValueError(f"n={n!r}, side={side!r}: n counts from 1, and the side is 'before' or 'after'")
    calls = PortCalls(n, side)
    return _wrapped(persistence, calls), calls


@attrs.define(eq=False)
class CrashAttempt:
    """One run of a scenario that dies somewhere. Use it as a context manager around the scenario.

    Attributes:
        store: the persistence as it is, to look at afterwards and to recover with.
        persistence: the same, dying at the chosen call: for the scenario.
        calls: what the scenario called.
    """

    store: Persistence
    persistence: Persistence
    calls: PortCalls

    @property
    def crash(self) -> Crash | None:
        """Where it died; None when the scenario came to its end."""
        return self.calls.crash

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        return isinstance(error, InjectedCrash)

    def __str__(self) -> str:
        return f"crash {self.crash}" if self.crash else "no crash"


def crash_attempts(make: Callable[[], Persistence], *, max_calls: int = 10_000) -> Iterator[CrashAttempt]:
    """Attempts that die before and after the first, second, third … call, until one comes to its end.

        for attempt in crash_attempts(InMemoryPersistence):
            with attempt:
                scenario(attempt.persistence)
            look_at(attempt.store, attempt.crash)

    It serves the blocking and the asyncio runtime: with the latter, the scenario is awaited inside the `with`.

    Args:
        make: gives a fresh, empty store each time.
        max_calls: a scenario that makes more calls fails.
    """
    for number in range(1, max_calls + 1):
        sides: tuple[Side, ...] = ("before", "after")
        for side in sides:
            store = make()
            persistence, calls = crash_at(store, number, side)
            attempt = CrashAttempt(store, persistence, calls)
            yield attempt
            if attempt.crash is None:
                return
    raise AssertionError(f"the scenario made more than {max_calls} port calls")


def every_crash_point(
    scenario: Callable[[Persistence], object],
    make_persistence: Callable[[], Persistence],
    check: Callable[[Persistence, Crash | None], object],
) -> int:
    """Run a blocking scenario dying at each port call, on either side of it; how many crashes there were.

    After each run `check` gets the same store, alive again, and the crash: None for the run that came to its end.
    It recovers with a fresh runtime and says what must hold, beginning with `check_invariants`.
    """
    crashes = 0
    for attempt in crash_attempts(make_persistence):
        with attempt:
            scenario(attempt.persistence)
        try:
            check(attempt.store, attempt.crash)
        except Exception as error:
            error.add_note(f"after a run with {attempt}")
            raise
        crashes += attempt.crash is not None
    return crashes
