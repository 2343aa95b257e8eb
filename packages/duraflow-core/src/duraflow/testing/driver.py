"""How is one test written for the blocking and the asyncio runtime?

A test is an `async def` that gets a `Driver`. The blocking one runs it straight through, without an event loop, and
shows a blocking `Runtime` with the calls of `AsyncRuntime`; the asyncio one runs it in a loop of its own. What happens
at the same time happens in threads for the one, in tasks for the other.

>>> from duraflow import Runtime, State, Transition, Workflow
>>> from duraflow.memory import InMemoryPersistence
>>> states = [State("open", [Transition("shut", target="shut")]), State("shut")]
>>> door = Workflow(name="door", initial="open", states=states)
>>> async def test(driver):
...     async with driver.runtime(workflows=[door], persistence=InMemoryPersistence()) as runtime:
...         created = await runtime.create("door")
...         return (await runtime.fire(created.id, "shut")).to_state
>>> [driver.run(test(driver)) for driver in (BlockingDriver(), AsyncioDriver())]
['shut', 'shut']
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager
from typing import Any, Protocol, TypeVar, cast

from duraflow.ports import Waits
from duraflow.runtime.aio import AsyncBoundRuntime, AsyncRuntime
from duraflow.runtime.blocking import BoundRuntime, Handle, Runtime
from duraflow.runtime.drive import drive
from duraflow.runtime.waits import AsyncioWaits, BlockingWaits

T = TypeVar("T")

PATIENCE_S = 20.0
"""How long anything may wait for something else in a test: longer is a hang."""


class Signal(Protocol):
    """Something that happens once, and that others wait for."""

    def set(self) -> None:
        """It has happened."""
        ...

    async def wait(self) -> None:
        """Wait until it has; fails after `PATIENCE_S`."""
        ...


class Driver(Protocol):
    """Runs tests in one of the two worlds."""

    name: str
    waits: Waits

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a test to its end."""
        ...

    def runtime(self, **options: Any) -> AsyncRuntime:
        """A runtime of this world with the calls of `AsyncRuntime`; the options are those of `Runtime`."""
        ...

    def signal(self) -> Signal:
        """A new signal."""
        ...

    async def together(self, *calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T]:
        """Run several at the same time; their values in order, or the first error when all have ended."""
        ...

    def command(self, body: Callable[[Any, AsyncBoundRuntime], Coroutine[Any, Any, Any]]) -> Any:
        """A command from an `async def body(ctx, runtime)`, where `runtime` is `ctx.runtime` with awaitable calls."""
        ...


# --- blocking -----------------------------------------------------------------------------------------------


class _ThreadSignal:
    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        if not self._event.wait(PATIENCE_S):
            raise AssertionError(f"waited {PATIENCE_S} s for a signal that never came")


class BlockingDriver:
    """Straight through, in this thread; what is together is in threads."""

    name = "blocking"

    def __init__(self) -> None:
        self.waits: Waits = BlockingWaits()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return drive(coroutine)

    def runtime(self, **options: Any) -> AsyncRuntime:
        return as_async(Runtime(**options))

    def signal(self) -> Signal:
        return _ThreadSignal()

    async def together(self, *calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T]:
        # Waiting holds this thread, which is what blocking means.
        pool = ThreadPoolExecutor(len(calls))
        try:
            futures = [pool.submit(lambda call=call: drive(call())) for call in calls]  # type: ignore[misc]
            errors = [future.exception(PATIENCE_S * 2) for future in futures]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        for error in errors:
            if error is not None:
                raise error
        return [future.result() for future in futures]

    def command(self, body: Callable[[Any, AsyncBoundRuntime], Coroutine[Any, Any, Any]]) -> Any:
        @functools.wraps(body)
        def plain(ctx: Any) -> Any:
            return drive(body(ctx, cast("AsyncBoundRuntime", _Awaitable(ctx.runtime))))

        return plain


def as_async(runtime: Runtime) -> AsyncRuntime:
    """A blocking runtime with the calls of the asyncio one. Nothing becomes asynchronous by it."""
    return cast("AsyncRuntime", _Awaitable(runtime))


class _Awaitable:
    """Every call of the inner object as a coroutine function, every `with` as an `async with`."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not inspect.ismethod(value) or name == "resource":
            return value
        if name in {"transaction", "using", "locked"}:
            return lambda *arguments, **options: _entered(value(*arguments, **options))
        if name in {"changes", "export"}:
            return lambda *arguments, **options: _AwaitableChanges(value(*arguments, **options))
        if name == "handle":
            return lambda *arguments, **options: _Awaitable(value(*arguments, **options))

        async def call(*arguments: Any, **options: Any) -> Any:
            return _wrapped(value(*arguments, **options))

        return call

    async def __aenter__(self) -> Any:
        self._inner.__enter__()
        return self

    async def __aexit__(self, *failure: object) -> Any:
        return self._inner.__exit__(*failure)


class _AwaitableChanges:
    """A blocking iterator with the calls of the asyncio one."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        try:
            return next(self._inner)
        except StopIteration:
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        self._inner.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *failure: object) -> None:
        self._inner.close()


def _wrapped(value: Any) -> Any:
    return _Awaitable(value) if isinstance(value, (Runtime, BoundRuntime, Handle)) else value


@asynccontextmanager
async def _entered(scope: AbstractContextManager[Any]) -> AsyncIterator[Any]:
    with scope as value:
        yield _wrapped(value)


# --- asyncio ------------------------------------------------------------------------------------------------


class _TaskSignal:
    def __init__(self) -> None:
        self._event = asyncio.Event()

    def set(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        await _patiently(self._event.wait())


async def _patiently(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable


class AsyncioDriver:
    """In an event loop; what is together is in tasks."""

    name = "asyncio"

    def __init__(self) -> None:
        self.waits: Waits = AsyncioWaits()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run(coroutine)

    def runtime(self, **options: Any) -> AsyncRuntime:
        return AsyncRuntime(**options)

    def signal(self) -> Signal:
        return _TaskSignal()

    async def together(self, *calls: Callable[[], Coroutine[Any, Any, T]]) -> list[T]:
        tasks = [asyncio.ensure_future(_patiently(call())) for call in calls]
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return cast("list[T]", answers)

    def command(self, body: Callable[[Any, AsyncBoundRuntime], Coroutine[Any, Any, Any]]) -> Any:
        @functools.wraps(body)
        async def awaited(ctx: Any) -> Any:
            return await body(ctx, ctx.runtime)

        return awaited


def driver_for(kind: str) -> Driver:
    """The driver that fits `Persistence.kind`; `any` is driven blocking."""
    return AsyncioDriver() if kind == "asyncio" else BlockingDriver()


__all__ = [
    "AsyncioDriver",
    "BlockingDriver",
    "Driver",
    "Signal",
    "as_async",
    "driver_for",
]
