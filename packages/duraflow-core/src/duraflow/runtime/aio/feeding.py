"""How does an asyncio application follow what happens, and deliver messages?"""

from __future__ import annotations

from collections import deque
from datetime import timedelta
from types import TracebackType
from typing import Self
from uuid import UUID

from duraflow.definition.workflow import Workflow
from duraflow.messages import DispatchResult, ParkedMessage
from duraflow.ports import FeedEntry
from duraflow.runtime import dispatching, feeding
from duraflow.runtime.aio.base import AsyncBase


class AsyncChanges:
    """An iterator over history entries, from `AsyncRuntime.changes`.

    It holds nothing while it waits or while you work on an entry, so that leaving it leaves nothing behind. After an
    exception, such as `StoreUnavailable`, ask for the next entry again: it goes on where it was.
    """

    def __init__(self, reader: feeding.FeedReader) -> None:
        self._reader = reader
        self._read: deque[FeedEntry] = deque()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedEntry:
        if not self._read and not self._reader.closed:
            self._read.extend(await self._reader.next_entries())
        if not self._read or self._reader.closed:
            self._reader.closed = True
            raise StopAsyncIteration
        return self._read.popleft()

    async def aclose(self) -> None:
        """End it; from elsewhere, too. One that waits for entries ends within `poll`."""
        self._reader.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class AsyncFeeding(AsyncBase):
    """The change feed and the outbox."""

    def changes(
        self,
        *,
        after: str | None = None,
        workflow: str | Workflow | None = None,
        follow: bool = False,
        poll: timedelta = timedelta(seconds=1),
    ) -> AsyncChanges:
        """All history entries of the namespace, in one order in which none is ever passed over.

        The entries of an instance come in the order of their `seq`. What a transaction has written is shown when no
        older one is open any more, so any long write transaction of the database server delays the feed.

        Args:
            after: the `cursor` of the entry to go on after, from whichever process; None begins with the oldest, `now`
                with what is still to come.
            workflow: only entries of instances of this workflow.
            follow: wait for more instead of ending with what is there.
            poll: how long to wait before looking again; hints from the store make it shorter. 1 ms to a day.

        Raises:
            InvalidArgument: an argument cannot be used; with the first entry: the cursor lies ahead of the store's
                counter, as after a restore into a new server.
            NotSupported: the persistence has no feed.
        """
        return AsyncChanges(feeding.reader(self._engine, after, workflow, follow, poll))

    async def dispatch(self, *, limit: int = 100) -> DispatchResult:
        """Give messages that wait in the outbox to the runtime's `message_handlers`. Run it often, like a sweep.

        Each message is delivered at least once, and those of one instance in order. What a handler does not take is
        given to it again later, and holds back what follows it of the same instance for this handler, but nothing
        else. Dispatchers in other processes may run at the same time: each handler is served by one of them.

        Args:
            limit: of each handler, so many new messages, and so many that it has not taken before.

        Raises:
            Misuse: the runtime has no message handlers, or one has come further than the store's counter, as after a
                restore into a new server.
            NotSupported: the persistence has no outbox.
        """
        return await dispatching.dispatch(self._engine, limit)

    async def parked_messages(self, *, limit: int = 50) -> tuple[ParkedMessage, ...]:
        """Messages that a handler failed to take too often, longest parked first; of all handlers ever used.

        Args:
            limit: 1 to 1000.
        """
        return await dispatching.parked_messages(self._engine, limit)

    async def retry_message(self, handler: str, message_id: UUID | str) -> None:
        """Let a message be given to the handler that has not taken it again, with the next `dispatch`.

        Raises:
            InvalidArgument: the handler has not got stuck at this message.
        """
        await dispatching.retry_message(self._engine, handler, message_id)

    async def skip_message(self, handler: str, message_id: UUID | str) -> None:
        """Never give this message to the handler that has not taken it; what waits behind it goes on.

        Raises:
            InvalidArgument: the handler has not got stuck at this message.
        """
        await dispatching.skip_message(self._engine, handler, message_id)

    async def forget_handler(self, handler: str) -> None:
        """Forget a handler that is gone for good: how far it has come, and what is held back for it.

        Until then `prune` keeps what it has not had. Under the same name it would begin anew.

        Raises:
            InvalidArgument: it is registered with this runtime, somebody delivers to it now, or nothing is known of it.
        """
        await dispatching.forget_handler(self._engine, handler)
