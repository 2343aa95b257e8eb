"""How does a program without an event loop call an asyncio runtime?"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import asyncio

    from duraflow import AsyncRuntime


class Bridged:
    """An `AsyncRuntime` that is called as a `Runtime` is: each call runs on the runner's loop, to its end.

    The two runtimes have the same names and parameters, so one proxy serves all of them.
    """

    def __init__(self, runtime: AsyncRuntime, runner: asyncio.Runner) -> None:
        self._runtime = runtime
        self._runner = runner

    def __enter__(self) -> Self:
        self._runner.run(self._runtime.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.run(self._runtime.close())

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._runtime, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            given = found(*arguments, **options)
            if inspect.isawaitable(given):
                return self._runner.run(_awaited(given))
            return self._each(given) if isinstance(given, AsyncIterator) else given

        return call

    def _each(self, found: AsyncIterator[Any]) -> Iterator[Any]:
        try:
            while True:
                try:
                    item = self._runner.run(_awaited(anext(found)))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            close = getattr(found, "aclose", None)
            if close is not None:
                self._runner.run(_awaited(close()))


async def _awaited(given: Awaitable[Any]) -> Any:
    return await given
