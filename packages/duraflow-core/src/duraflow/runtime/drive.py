"""How does the blocking runtime run code that is written `async`? Straight to its value, without an event loop."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Coroutine
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any, TypeVar

from duraflow.errors import Misuse

T = TypeVar("T")
R = TypeVar("R")


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, in this thread, with ordinary tracebacks.

    Raises:
        Misuse: it did suspend: something in it waits for an event loop.
    """
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value  # type: ignore[no-any-return]
    name = _innermost(coroutine)
    coroutine.close()
    raise Misuse(
        f"{name} waits for an event loop inside the blocking runtime", "use AsyncRuntime for async code"
    )


def _innermost(coroutine: Coroutine[Any, Any, Any]) -> str:
    found: Any = coroutine
    name = getattr(found, "__qualname__", repr(found))
    while (inner := getattr(found, "cr_await", None)) is not None:
        found = inner
        name = getattr(found, "__qualname__", name)
    return str(name)


async def resolved(answer: Awaitable[R] | R, what: str, *, suspends: bool) -> R:
    """What a function of the application's gave, awaited where it is to be.

    Raises:
        Misuse: it is to be awaited, and the runtime is the blocking one.
    """
    if not inspect.isawaitable(answer):
        return answer
    if suspends:
        return await answer
    if inspect.iscoroutine(answer):
        answer.close()
    raise Misuse(
        f"{what} is async, but the runtime is the blocking one", "use AsyncRuntime, or a plain function"
    )


class Driven(AbstractContextManager[T]):
    """An async context manager that never suspends, used with a plain `with`."""

    def __init__(self, inner: AbstractAsyncContextManager[T]) -> None:
        self._inner = inner

    def __enter__(self) -> T:
        return drive(_awaited(self._inner.__aenter__()))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return drive(_awaited(self._inner.__aexit__(kind, error, traceback)))


async def _awaited(awaitable: Awaitable[R]) -> R:
    return await awaitable
