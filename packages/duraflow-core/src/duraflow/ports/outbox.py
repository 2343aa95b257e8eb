"""What does it take to tell others of a move for certain: messages written with it, and delivered afterwards?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

import attrs

from duraflow.messages import Message, ParkedMessage, Start
from duraflow.ports.base import UnitOfWork
from duraflow.writes import Emitted


@attrs.frozen(order=True)
class OutboxPosition:
    """Where a message stands, or how far a handler has come. They are ordered as the outbox is: as the change feed."""

    position: int
    instance_id: UUID
    seq: int
    ordinal: int


@attrs.frozen
class HandlerLease:
    """The right to deliver to one handler, for a time.

    Attributes:
        token: what proves it; another one for every lease.
        reached: how far the handler has come: all up to there is delivered, but for what is held back.
        interrupted: the lease before was never given back: its dispatcher died, or took too long.
    """

    handler: str
    token: UUID
    reached: OutboxPosition
    interrupted: bool


@attrs.frozen
class Posted:
    """A message in its place.

    Attributes:
        held: its instance is held back for the handler.
    """

    place: OutboxPosition
    message: Message
    held: bool


@attrs.frozen
class OutboxPage:
    """Some of the messages after a position.

    Attributes:
        reached: the last position that was looked at, of whatever topic; None when there was none.
        more: whether there may be more to read at once.
    """

    messages: tuple[Posted, ...]
    reached: OutboxPosition | None
    more: bool


@attrs.frozen
class HeldBack:
    """An instance that is held back for a handler, from the message at (seq, ordinal) on, and whose time has come.

    Attributes:
        attempts: how often its first message was given to the handler in vain.
        messages: those that wait, in order; empty when what it was held back for is gone.
        more: whether more wait behind these.
    """

    instance_id: UUID
    seq: int
    ordinal: int
    attempts: int
    messages: tuple[Message, ...]
    more: bool


@attrs.frozen
class Hold:
    """Hold an instance back from the message at (seq, ordinal) on.

    Attributes:
        wait: how long, from now on; None parks it.
        was: (seq, ordinal) from which it is held back already; None when it is not. If that is no longer so, because
            someone has skipped the message, the change is left out.
    """

    instance_id: UUID
    seq: int
    ordinal: int
    attempts: int
    wait: timedelta | None
    error: str
    was: tuple[int, int] | None


@attrs.frozen
class Free:
    """Hold an instance back no longer, if it still is from `was` on."""

    instance_id: UUID
    was: tuple[int, int]


HeldChange = Hold | Free


class Outbox(Protocol):
    """Where messages are kept until every handler has taken them.

    They are written by the `Writer`, with the move; `add` is what a writer built on the base ports calls. All other
    methods work on their own and commit by themselves. Leases are judged by the store's own clock, `clock` stands in
    for it in all else.
    """

    async def add(self, unit: UnitOfWork, messages: Sequence[Emitted], /) -> None:
        """Keep messages of an instance that this unit holds.

        Raises:
            InstanceNotFound: there is no such instance.
        """
        ...

    async def waiting(self, handlers: Sequence[str], /, *, clock: datetime | None) -> Sequence[str]:
        """Which of these handlers have something to be done for them, in the given order; writes nothing.

        Raises:
            Misuse: one has come further than this store has counted, as after a restore: it would wait for ever.
        """
        ...

    async def claim(self, handler: str, /, *, lease: timedelta, start: Start) -> HandlerLease | None:
        """The right to deliver to a handler, for so long; None when someone else has it.

        A handler that was never heard of begins at `start`.
        """
        ...

    async def due(
        self,
        lease: HandlerLease,
        /,
        *,
        reached: OutboxPosition,
        topics: Sequence[str],
        clock: datetime | None,
        limit: int,
        exclude: Sequence[UUID],
    ) -> HeldBack | None:
        """The instance that is held back and whose time came first, but for those to exclude; None when there is none.

        Args:
            reached: messages after it are not given: they are still to be read.
            topics: only these; none stands for all.
            limit: of its messages.
        """
        ...

    async def read(
        self, lease: HandlerLease, after: OutboxPosition, /, *, topics: Sequence[str], limit: int
    ) -> OutboxPage:
        """What comes after a position, at most so many; nothing that an open transaction may still come before."""
        ...

    async def save(
        self,
        lease: HandlerLease,
        /,
        *,
        reached: OutboxPosition,
        change: HeldChange | None,
        delivered: int,
        clock: datetime | None,
        keep: timedelta | None,
    ) -> bool:
        """Keep how far a handler has come, all or nothing; False, and nothing written, when the lease is lost.

        Done again, because the answer was lost, it changes nothing more, but for `delivered`, which only counts; of a
        lease that it has given back it says that it is lost.

        Args:
            change: of who is held back, with it.
            delivered: how many more it has taken.
            keep: how long the lease holds from now on; None gives it back.
        """
        ...

    async def parked(self, /, *, limit: int) -> Sequence[ParkedMessage]:
        """What was given up, of all handlers, longest parked first."""
        ...

    async def retry(self, handler: str, message_id: UUID, /, *, clock: datetime | None) -> bool:
        """Let a message that its instance is held back for be tried again at once, from its first attempt on.

        False when the handler has not got stuck at this message.
        """
        ...

    async def skip(self, handler: str, message_id: UUID, /, *, clock: datetime | None) -> bool:
        """Never deliver it; what was held back behind it is due at once. False as for `retry`."""
        ...

    async def forget(self, handler: str, /) -> bool:
        """Forget how far a handler has come, and what was held back for it.

        False when nothing is known of it, or somebody has the lease.
        """
        ...
