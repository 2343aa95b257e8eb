"""What is a message that a move has left, who is given it, and what came of that?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

import attrs

from duraflow.definition.checks.names import name_problem
from duraflow.definition.values import to_names
from duraflow.errors import InvalidArgument

Start = Literal["first", "now"]


@attrs.frozen
class Message:
    """What a handler is given: what a command emitted, and the move that it was written with.

    Attributes:
        id: the same in every delivery, by whichever process: what a consumer remembers, so as to do nothing twice.
        payload: as stored: plain JSON values.
        ref: of the instance.
        seq: of the history entry of the move.
        ordinal: counts the messages of one entry from 0.
        event: of the move, as are `from_state`, `to_state` and `at`.
    """

    id: UUID
    topic: str
    payload: Any
    instance_id: UUID
    workflow: str
    ref: str | None
    seq: int
    ordinal: int
    event: str
    from_state: str | None
    to_state: str
    at: datetime


@attrs.frozen(kw_only=True)
class MessageRetryPolicy:
    """When a message that a handler did not take is given to it again: `first`, growing by `factor`, up to `cap`.

    With the defaults it is parked after about an hour.

    Attributes:
        jitter: which part of each wait is drawn by lot: 0 for none, 1 for all of it.
        park_after: failures in a row after which it is parked, and waits for a person.
    """

    first: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    cap: timedelta = timedelta(minutes=5)
    jitter: float = 0.5
    park_after: int = 20

    def __attrs_post_init__(self) -> None:
        if self.first <= timedelta(0) or self.cap < self.first:
            raise InvalidArgument("retry", "`first` must be positive and `cap` not below it")
        if not 1.0 <= self.factor <= 100.0:
            raise InvalidArgument("retry", "`factor` must be from 1 to 100")
        if not 0.0 <= self.jitter <= 1.0:
            raise InvalidArgument("retry", "`jitter` must be from 0 to 1")
        if type(self.park_after) is not int or self.park_after < 1:
            raise InvalidArgument("retry", "`park_after` must be a whole number from 1")

    def delay(self, failures: int) -> timedelta:
        """How long to wait after so many failures in a row (from 1); drawn anew each time."""
        import random

        growth = self.factor ** min(failures - 1, 60)
        seconds = min(self.first.total_seconds() * growth, self.cap.total_seconds())
        return timedelta(seconds=seconds * (1 - self.jitter * random.random()))


@attrs.frozen
class MessageHandler:
    """Someone who is given messages, and how far that has come is kept under their name.

    Attributes:
        name: for ever: under another name it begins anew.
        call: called with each `Message`; plain, or async with `AsyncRuntime`. Whatever it raises, it is called again.
        topics: only these; empty stands for all.
        retry: when it is called again, and when it is given up.
        start: where a name that was never used begins: with the `first` message that is kept, or with those from `now`
            on, which is when it is first dispatched to.
        lease: how long one call may take before another dispatcher may take over; 1 second to a day.
    """

    name: str
    call: Callable[[Message], Any]
    topics: tuple[str, ...] = attrs.field(default=(), kw_only=True, converter=to_names)
    retry: MessageRetryPolicy = attrs.field(factory=MessageRetryPolicy, kw_only=True)
    start: Start = attrs.field(default="first", kw_only=True)
    lease: timedelta = attrs.field(default=timedelta(seconds=30), kw_only=True)

    def __attrs_post_init__(self) -> None:
        problem = name_problem(self.name)
        if problem is not None:
            raise InvalidArgument("message_handlers", f"a handler's name: {problem[1]}")
        if not callable(self.call):
            raise InvalidArgument(
                "message_handlers", f"{self.name!r}: {self.call!r} cannot be called with a message"
            )
        for topic in self.topics:
            if (problem := name_problem(topic)) is not None:
                raise InvalidArgument("message_handlers", f"{self.name!r}: a topic: {problem[1]}")
        if not isinstance(self.retry, MessageRetryPolicy):
            raise InvalidArgument(
                "message_handlers", f"{self.name!r}: {self.retry!r} is no MessageRetryPolicy"
            )
        if self.start not in ("first", "now"):
            raise InvalidArgument(
                "message_handlers", f"{self.name!r}: `start` is neither 'first' nor 'now': {self.start!r}"
            )
        if not timedelta(seconds=1) <= self.lease <= timedelta(days=1):
            raise InvalidArgument(
                "message_handlers", f"{self.name!r}: `lease` is not a timedelta from 1 second to a day"
            )


@attrs.frozen
class DispatchResult:
    """What one pass over the outbox did; the first three count calls of handlers.

    Attributes:
        delivered: taken by their handler.
        failed: not taken; given to it again later.
        parked: not taken too often; waits for `retry_message` or `skip_message`.
        held: passed over, because an earlier message of the same instance was not taken by the same handler.
        busy: handlers that another dispatcher serves just now.
        lost: handlers that another dispatcher took over in the middle; what was delivered since progress was kept last
            will be delivered again.
    """

    delivered: int = 0
    failed: int = 0
    parked: int = 0
    held: int = 0
    busy: int = 0
    lost: int = 0

    @property
    def total(self) -> int:
        """How many times handlers were called; 0 when there was nothing for them to do."""
        return self.delivered + self.failed + self.parked

    def __add__(self, other: DispatchResult) -> DispatchResult:
        return DispatchResult(
            *(mine + theirs for mine, theirs in zip(attrs.astuple(self), attrs.astuple(other), strict=True))
        )


@attrs.frozen
class ParkedMessage:
    """A message that a handler has not taken too often, and that holds back the later ones of its instance for it."""

    handler: str
    message: Message
    parked_at: datetime
    attempts: int
    error: str
