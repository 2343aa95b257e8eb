"""How does each runtime wait?

asyncio is imported when it is waited with: it takes longer to import than all of this package's own modules, and a
program that uses the blocking runtime has no need of it.
"""

from __future__ import annotations

import threading
import time

from duraflow.ports import Lock


class _ThreadLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def acquire(self) -> None:
        self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


class BlockingWaits:
    """Waiting that holds the thread."""

    suspends = False

    async def sleep(self, seconds: float, /) -> None:
        time.sleep(seconds)  # noqa: ASYNC251  # blocking is what this one is for

    def lock(self) -> Lock:
        return _ThreadLock()

    def elapsed(self) -> float:
        return time.monotonic()


class _TaskLock:
    def __init__(self) -> None:
        import asyncio

        self._lock = asyncio.Lock()

    async def acquire(self) -> None:
        await self._lock.acquire()

    def release(self) -> None:
        self._lock.release()


class AsyncioWaits:
    """Waiting that lets other tasks run."""

    suspends = True

    async def sleep(self, seconds: float, /) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def lock(self) -> Lock:
        return _TaskLock()

    def elapsed(self) -> float:
        return time.monotonic()
