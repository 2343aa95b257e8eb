"""What goes over the wire between a pool and its server? A proxy on the loopback that counts, and that cuts.

It reads the frontend's messages, so that a test can say how many trips and which statements one call took, and can
cut the connection before a statement arrives, or after it took effect but before the answer is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Self

import attrs
from psycopg.conninfo import conninfo_to_dict, make_conninfo

When = Literal["before", "after"]


@attrs.define
class Seen:
    """What went over the wire while it was watched.

    Attributes:
        trips: how often the client spoke after the server had ended: how often a distant server would be waited for.
        statements: every statement executed, in order, without white space at the ends.
        connected: how many connections were opened.
    """

    trips: int = 0
    statements: list[str] = attrs.field(factory=list)
    connected: int = 0

    @property
    def words(self) -> list[str]:
        """The first word of each statement."""
        return [statement.split(None, 1)[0] for statement in self.statements]


@attrs.define
class _Cut:
    text: str
    when: When
    times: int


@attrs.define(eq=False)
class _Session:
    """One connection: what was prepared on it, and whose turn it is."""

    prepared: dict[bytes, str] = attrs.field(factory=dict)
    buffer: bytes = b""
    started: bool = False
    server_ended: bool = True
    waiting: int = 0
    doomed: bool = False
    back: bytes = b""


class Wire:
    """A proxy before one server. Use it as a context manager; `dsn` leads through it."""

    def __init__(self, dsn: str) -> None:
        parts = conninfo_to_dict(dsn)
        self._host, self._port = str(parts["host"]), int(str(parts["port"]))
        self._parts = parts
        self._cuts: list[_Cut] = []
        self._seen = Seen()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._writers: set[asyncio.StreamWriter] = set()
        self._refusing = False
        self.dsn = ""
        self.cuts_made = 0

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *failure: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)

    # --- what tests say -----------------------------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[Seen]:
        """Count what happens inside."""
        self._seen = Seen()
        try:
            yield self._seen
        finally:
            self._seen = Seen()

    def cut(self, text: str, when: When, *, times: int = 1) -> None:
        """Cut the connection at the next statement with this text: before it arrives, or before its answer is back."""
        self._cuts.append(_Cut(text, when, times))

    def heal(self) -> None:
        """Cut no more."""
        self._cuts.clear()
        self._refusing = False

    def refuse_new(self) -> None:
        """Let no new connection through until `heal`."""
        self._refusing = True

    def cut_all(self) -> None:
        """Cut every open connection now."""
        self._loop.call_soon_threadsafe(self._abort_all)

    # --- the proxy ----------------------------------------------------------------------------------------------

    def _abort_all(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    async def _main(self) -> None:
        self._stopped = asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            with contextlib.suppress(asyncio.CancelledError):
                await self._session(reader, writer)
            tasks.discard(task)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        self.dsn = make_conninfo(**{**self._parts, "host": "127.0.0.1", "port": port})
        self._ready.set()
        await self._stopped.wait()
        server.close()
        for task in list(tasks):
            task.cancel()
        self._abort_all()
        await asyncio.sleep(0.01)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        if self._refusing:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._seen.connected += 1
        try:
            up_reader, up_writer = await asyncio.open_connection(self._host, self._port)
        except OSError:
            writer.transport.abort()
            self._writers.discard(writer)
            return
        self._writers.add(up_writer)
        session = _Session()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._upwards(session, reader, up_writer))
                group.create_task(self._downwards(session, up_reader, writer))
        except* (_Broken, OSError):
            pass
        finally:
            for one in (writer, up_writer):
                one.transport.abort()
                self._writers.discard(one)

    async def _upwards(
        self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            if session.server_ended:
                session.server_ended = False
                self._seen.trips += session.started
            self._read_messages(session, data)
            writer.write(data)
            await writer.drain()
        raise _Broken

    async def _downwards(
        self, session: _Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(65536):
            readies = _readies(session, data)
            session.waiting -= readies
            if session.doomed:
                # The answer is swallowed; when the server is ready for more, what it did is done.
                if session.waiting <= 0:
                    self.cuts_made += 1
                    raise _Broken
                continue
            # Not at its first word: it may begin to answer while the client is still speaking.
            session.server_ended = session.server_ended or (readies > 0 and session.waiting <= 0)
            writer.write(data)
            await writer.drain()
        raise _Broken

    def _read_messages(self, session: _Session, data: bytes) -> None:
        session.buffer += data
        while True:
            buffer = session.buffer
            head = 0 if not session.started else 1
            if len(buffer) < head + 4:
                return
            length = head + int.from_bytes(buffer[head : head + 4], "big")
            if len(buffer) < length:
                return
            kind, body = buffer[:head], buffer[head + 4 : length]
            session.buffer = buffer[length:]
            if not session.started:
                session.started = True
                session.waiting += 1  # what it says when the session is open
                continue
            self._message(session, kind, body)

    def _message(self, session: _Session, kind: bytes, body: bytes) -> None:
        match kind:
            case b"P":
                name, text, _ = body.split(b"\0", 2)
                session.prepared[name] = text.decode().strip()
            case b"B":
                name = body.split(b"\0", 2)[1]
                self._executes(session, session.prepared.get(name, ""))
            case b"Q":
                session.waiting += 1
                self._executes(session, body.rstrip(b"\0").decode().strip())
            case b"S":
                session.waiting += 1

    def _executes(self, session: _Session, statement: str) -> None:
        self._seen.statements.append(statement)
        for cut in self._cuts:
            if cut.text in statement:
                cut.times -= 1
                if cut.times == 0:
                    self._cuts.remove(cut)
                if cut.when == "before":
                    self.cuts_made += 1
                    raise _Broken
                session.doomed = True
                return


class _Broken(Exception):
    """This session is over."""


def _readies(session: _Session, data: bytes) -> int:
    """How often the server says that it is ready; its messages may be cut anywhere."""
    session.back += data
    count = 0
    while len(session.back) >= 5:
        length = 1 + int.from_bytes(session.back[1:5], "big")
        if len(session.back) < length:
            break
        count += session.back[:1] == b"Z"
        session.back = session.back[length:]
    return count
