"""How are readers of the feed woken before their next poll, by NOTIFY, without anybody depending on it?

A hint is only ever that: it may be lost, doubled or late, and reading is the same without it. NOTIFY makes commits
queue up for one lock of the whole server, so it is never sent in a transaction of ours: a thread (or task) sends one
after the commits of the last 20 ms. Who follows listens on a connection of its own, that is tried out first: a pooler
in transaction mode accepts LISTEN and never delivers.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import logging
import threading
import uuid
from contextlib import aclosing, closing
from typing import Any, Protocol

import attrs

from duraflow.errors import DuraflowError
from duraflow_pg._psycopg import psycopg

logger = logging.getLogger("duraflow.hints")

WINDOW_S = 0.02
"""At most one NOTIFY in this time."""

_PROBE_S = 5.0
_RETRY_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_LOOK_S = 0.5
"""How often the listening thread looks whether it is to end."""

_NOTIFY = b"SELECT pg_notify(%(channel)s, %(text)s)"


def channel_of(schema: str, namespace: str) -> str:
    """The channel of one namespace: a name of fixed length, for both may be longer than a channel's name."""
    return "duraflow_" + hashlib.sha256(f"{schema}\0{namespace}".encode()).hexdigest()[:32]


class Hints(Protocol):
    """Hints of one persistence: sent, and waited for."""

    async def start(self, database: Any, /) -> None:
        """Begin to send."""
        ...

    async def close(self) -> None:
        """Stop sending and listening; what was not sent is dropped."""
        ...

    def committed(self) -> None:
        """Something was committed: tell the others soon. Never waits, never fails."""
        ...

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        """Wait for a hint, this long; gives how many there were so far. The first call begins to listen."""
        ...


def _undelivered() -> None:
    logger.warning(
        "LISTEN is accepted and nothing is delivered (is there a pooler in transaction mode?); the feed goes on polling"
    )


@attrs.define(eq=False)
class BlockingHints:
    """In daemon threads, for the blocking runtime."""

    _database: Any = None
    _pending: threading.Event = attrs.field(factory=threading.Event, init=False)
    _stop: threading.Event = attrs.field(factory=threading.Event, init=False)
    _heard: threading.Condition = attrs.field(factory=threading.Condition, init=False)
    _count: int = attrs.field(default=0, init=False)
    _threads: list[threading.Thread] = attrs.field(factory=list, init=False)
    _listening: bool = attrs.field(default=False, init=False)

    async def start(self, database: Any, /) -> None:
        self._database = database
        self._stop.clear()
        self._listening = False
        self._run(self._send)

    async def close(self) -> None:
        self._stop.set()
        self._pending.set()
        with self._heard:
            self._heard.notify_all()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(2.0)
        self._threads.clear()
        self._pending.clear()

    def _run(self, target: Any) -> None:
        thread = threading.Thread(target=target, name=f"duraflow {target.__name__}", daemon=True)
        self._threads.append(thread)
        thread.start()

    # --- sending ------------------------------------------------------------------------------------------------

    def committed(self) -> None:
        if not self._pending.is_set():
            self._pending.set()

    def _send(self) -> None:
        while True:
            self._pending.wait()
            if self._stop.wait(WINDOW_S):
                return
            self._pending.clear()
            try:
                self._notify("")
            except psycopg.Error as error:
                logger.debug("a hint was not sent: %s", error)

    def _notify(self, text: str) -> None:
        database = self._database
        channel = channel_of(database.schema, database.namespace)
        with database.connections.pool.connection(timeout=1.0) as connection:
            connection.execute(_NOTIFY, {"channel": channel, "text": text})

    # --- listening ----------------------------------------------------------------------------------------------

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        with self._heard:
            if not self._listening and self._database is not None:
                self._listening = True
                self._run(self._listen)
            self._heard.wait_for(lambda: self._count != seen or self._stop.is_set(), seconds)
            return self._count

    def _hear(self) -> None:
        with self._heard:
            self._count += 1
            self._heard.notify_all()

    def _listen(self) -> None:
        attempt = 0
        while not self._stop.is_set():
            try:
                with _connect(self._database.connections.pool) as connection:
                    if not self._tried_out(connection):
                        connection.execute(b"UNLISTEN *")  # a pooler would keep the session
                        _undelivered()
                        return
                    attempt = 0
                    # Whatever was missed until now is read at once.
                    self._hear()
                    while not self._stop.is_set():
                        for _ in connection.notifies(timeout=_LOOK_S, stop_after=1):
                            self._hear()
            except psycopg.Error as error:
                logger.debug("listening again, after: %s", error)
            self._stop.wait(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1

    def _tried_out(self, connection: psycopg.Connection[Any]) -> bool:
        channel = channel_of(self._database.schema, self._database.namespace)
        connection.execute(f'LISTEN "{channel}"'.encode())
        # On another connection: behind a pooler this one's own notices come back to whom LISTEN was never meant for.
        probe = uuid.uuid4().hex
        self._notify(probe)
        with closing(connection.notifies(timeout=_PROBE_S)) as notices:
            return any(notice.payload == probe for notice in notices)


def _connect(pool: Any) -> psycopg.Connection[Any]:
    conninfo, options = pool.conninfo, pool.kwargs
    return psycopg.connect(
        conninfo() if callable(conninfo) else conninfo,
        **{**((options() if callable(options) else options) or {}), "autocommit": True},
    )


@attrs.define(eq=False)
class AsyncioHints:
    """In tasks, for the asyncio runtime."""

    _database: Any = None
    _pending: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _heard: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _count: int = attrs.field(default=0, init=False)
    _tasks: list[asyncio.Task[None]] = attrs.field(factory=list, init=False)

    async def start(self, database: Any, /) -> None:
        self._database = database
        self._pending, self._heard = asyncio.Event(), asyncio.Event()
        self._tasks = [asyncio.create_task(self._send(), name="duraflow hints")]

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._database = None
        self._heard.set()

    # --- sending ------------------------------------------------------------------------------------------------

    def committed(self) -> None:
        self._pending.set()

    async def _send(self) -> None:
        while True:
            await self._pending.wait()
            await asyncio.sleep(WINDOW_S)
            self._pending.clear()
            try:
                await self._notify("")
            except (psycopg.Error, DuraflowError) as error:
                logger.debug("a hint was not sent: %s", error)

    async def _notify(self, text: str) -> None:
        database = self._database
        channel = channel_of(database.schema, database.namespace)
        await database.run_alone(_NOTIFY, {"channel": channel, "text": text})

    # --- listening ----------------------------------------------------------------------------------------------

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        if self._database is not None and len(self._tasks) == 1:
            self._tasks.append(asyncio.create_task(self._listen(), name="duraflow listener"))
        heard = self._heard
        if self._count == seen:
            try:
                async with asyncio.timeout(seconds):
                    await heard.wait()
            except TimeoutError:
                pass
        return self._count

    def _hear(self) -> None:
        self._count += 1
        self._heard.set()
        self._heard = asyncio.Event()

    async def _listen(self) -> None:
        attempt = 0
        while True:
            try:
                async with await _connect_async(self._database.connections.pool) as connection:
                    if not await self._tried_out(connection):
                        await connection.execute(b"UNLISTEN *")  # a pooler would keep the session
                        _undelivered()
                        return
                    attempt = 0
                    # Whatever was missed until now is read at once.
                    self._hear()
                    async for _ in connection.notifies():
                        self._hear()
            except (psycopg.Error, DuraflowError) as error:
                logger.debug("listening again, after: %s", error)
            await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
            attempt += 1

    async def _tried_out(self, connection: psycopg.AsyncConnection[Any]) -> bool:
        channel = channel_of(self._database.schema, self._database.namespace)
        await connection.execute(f'LISTEN "{channel}"'.encode())
        # On another connection: behind a pooler this one's own notices come back to whom LISTEN was never meant for.
        probe = uuid.uuid4().hex
        await self._notify(probe)
        async with aclosing(connection.notifies(timeout=_PROBE_S)) as notices:
            async for notice in notices:
                if notice.payload == probe:
                    return True
        return False


async def _connect_async(pool: Any) -> psycopg.AsyncConnection[Any]:
    conninfo, options = pool.conninfo, pool.kwargs
    conninfo = conninfo() if callable(conninfo) else conninfo
    options = options() if callable(options) else options
    conninfo = await conninfo if inspect.isawaitable(conninfo) else conninfo
    options = await options if inspect.isawaitable(options) else options
    return await psycopg.AsyncConnection.connect(conninfo, **{**(options or {}), "autocommit": True})
