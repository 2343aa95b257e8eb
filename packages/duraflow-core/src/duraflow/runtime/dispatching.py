"""How are messages given to their handlers: at least once, in order per instance, and those not taken again later?

One pass: a lease for each handler that has something waiting; first the messages that were held back and whose time has
come, then the new ones. Handlers are called outside any transaction. How far it has come is kept after each page, after
each failure, and often enough for the lease; without the lease nothing is kept, and what was delivered is delivered
again.

A message that is given again is counted as an attempt *before* the call, and so is every message in a pass that follows
an interrupted one: else one that kills its process would kill the next one too, for ever.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
from uuid import UUID

import attrs

from duraflow.errors import DuraflowError, InvalidArgument, Misuse, StoreUnavailable
from duraflow.messages import DispatchResult, Message, MessageHandler, ParkedMessage
from duraflow.ports import (
    Free,
    HandlerLease,
    HeldBack,
    HeldChange,
    Hold,
    Outbox,
    OutboxPage,
    OutboxPosition,
    Posted,
)
from duraflow.runtime.asking import check_limit
from duraflow.runtime.drive import resolved
from duraflow.runtime.engine import Engine
from duraflow.texts import clean

BATCH = 100
INTERRUPTED = "its dispatcher ended, or lost its lease, before the handler did"


async def dispatch(engine: Engine, limit: int) -> DispatchResult:
    """See `Runtime.dispatch`."""
    engine.check_usable(None)
    if type(limit) is not int or limit < 1:
        raise InvalidArgument("limit", f"{limit!r} is not a positive whole number")
    outbox, handlers = engine.outbox, engine.message_handlers
    if not handlers:
        raise Misuse("this runtime has no message handlers", "give it some: `Runtime(message_handlers=[…])`")
    waiting = await engine.retrying(lambda: outbox.waiting(tuple(handlers), clock=engine.now()))
    result = DispatchResult()
    for name in waiting:
        result += await _deliver(engine, outbox, handlers[name], limit)
    return result


async def _deliver(engine: Engine, outbox: Outbox, handler: MessageHandler, limit: int) -> DispatchResult:
    """One pass for one handler."""
    lease = await engine.retrying(
        lambda: outbox.claim(handler.name, lease=handler.lease, start=handler.start)
    )
    if lease is None:
        return DispatchResult(busy=1)
    running = _Pass(engine, outbox, handler, lease, lease.reached, engine.waits.elapsed())
    try:
        await running.again(limit)
        await running.new(limit)
        await running.save(done=True)
    except _LeaseLost:
        running.tally["lost"] += 1
    except (GeneratorExit, StoreUnavailable):
        raise
    except BaseException:
        # Interrupted or cancelled: what was delivered is recorded, as far as that is possible; else whoever has the
        # lease next delivers it again.
        with suppress(DuraflowError, _LeaseLost):
            await running.save(done=True)
        raise
    return DispatchResult(**running.tally)


class _LeaseLost(Exception):
    """Another dispatcher has taken over."""


@attrs.define(eq=False)
class _Pass:
    """What a pass for one handler has done so far.

    Attributes:
        reached: all up to there is dealt with, though not yet recorded.
        held: instances that were held back in this pass.
        tried: instances whose turn to be tried again it has been.
    """

    engine: Engine
    outbox: Outbox
    handler: MessageHandler
    lease: HandlerLease
    reached: OutboxPosition
    saved_at: float
    tally: Counter[str] = attrs.field(factory=Counter)
    held: set[UUID] = attrs.field(factory=set)
    tried: dict[UUID, None] = attrs.field(factory=dict)
    _unsaved: int = 0

    # --- what was held back -------------------------------------------------------------------------------------

    async def again(self, limit: int) -> None:
        """Try messages that were held back and are due, up to `limit`, each instance once."""
        while (left := limit - DispatchResult(**self.tally).total) > 0:
            back = await self.engine.retrying(partial(self._due, left))
            if back is None:
                break
            self.tried[back.instance_id] = None
            await self._redeliver(back)

    async def _due(self, left: int) -> HeldBack | None:
        return await self.outbox.due(
            self.lease,
            reached=self.reached,
            topics=self.handler.topics,
            clock=self.engine.now(),
            limit=min(left, BATCH),
            exclude=tuple(self.tried),
        )

    async def _redeliver(self, back: HeldBack) -> None:
        was, attempts = (back.seq, back.ordinal), back.attempts
        for message in back.messages:
            attempts += 1
            await self.save(self._hold(message, attempts, INTERRUPTED, was))
            was = (message.seq, message.ordinal)
            if not await self._settle(message, attempts, was):
                return
            attempts = 0
        if back.more:
            seq, ordinal = was
            await self.save(
                Hold(back.instance_id, seq, ordinal + 1, 0, self.handler.retry.first * 0, "", was)
            )
        else:
            await self.save(Free(back.instance_id, was))

    # --- what is new --------------------------------------------------------------------------------------------

    async def new(self, limit: int) -> None:
        """Deliver what comes next, up to `limit`."""
        begun = DispatchResult(**self.tally).total
        while (left := limit + begun - DispatchResult(**self.tally).total) > 0:
            page = await self.engine.retrying(partial(self._read, left))
            for posted in page.messages:
                await self._next(posted)
            self.reached = page.reached or self.reached
            if not page.more:
                break
            await self._keep_lease()

    async def _read(self, left: int) -> OutboxPage:
        return await self.outbox.read(
            self.lease, self.reached, topics=self.handler.topics, limit=min(left, BATCH)
        )

    async def _next(self, posted: Posted) -> None:
        message = posted.message
        if posted.held or message.instance_id in self.held:
            self.tally["held"] += 1
            self.reached = posted.place
        elif self.lease.interrupted:
            await self.save(self._hold(message, 1, INTERRUPTED, None), reached=posted.place)
            was = (message.seq, message.ordinal)
            if await self._settle(message, 1, was):
                await self.save(Free(message.instance_id, was))
        else:
            await self._keep_lease()
            await self._settle(message, 1, None, posted.place)

    # --- one message --------------------------------------------------------------------------------------------

    async def _settle(
        self,
        message: Message,
        attempts: int,
        was: tuple[int, int] | None,
        place: OutboxPosition | None = None,
    ) -> bool:
        """Give a message to the handler; what it does not take is held back, and that is recorded at once.

        Args:
            place: of a new one, which is reached when the handler has taken it, or it is recorded as held back, and not
                before: who is cancelled in between must not record it as delivered.
        """
        error = await self._call(message)
        if error is None:
            self.reached = place or self.reached
            self.tally["delivered"] += 1
            self._unsaved += 1
            return True
        self.held.add(message.instance_id)
        hold = self._hold(message, attempts, error, was)
        self.tally["parked" if hold.wait is None else "failed"] += 1
        await self.save(hold, reached=place)
        return False

    async def _call(self, message: Message) -> str | None:
        """Why the handler did not take it; None when it did."""
        try:
            what = f"message handler {self.handler.name!r}"
            await resolved(self.handler.call(message), what, suspends=self.engine.waits.suspends)
        except Exception as error:  # noqa: BLE001  # a handler raises anything; it is kept and shown, not hidden
            return clean(f"{type(error).__name__}: {error}")
        return None

    def _hold(self, message: Message, attempts: int, error: str, was: tuple[int, int] | None) -> Hold:
        retry = self.handler.retry
        wait = None if attempts >= retry.park_after else retry.delay(attempts)
        return Hold(message.instance_id, message.seq, message.ordinal, attempts, wait, error, was)

    # --- progress -----------------------------------------------------------------------------------------------

    async def _keep_lease(self) -> None:
        """Record progress if a third of the lease has gone by since it was last recorded."""
        if self.engine.waits.elapsed() - self.saved_at > self.handler.lease.total_seconds() / 3:
            await self.save()

    async def save(
        self,
        change: HeldChange | None = None,
        *,
        reached: OutboxPosition | None = None,
        done: bool = False,
    ) -> None:
        """Record how far this has come, which also renews the lease, or gives it back.

        Args:
            reached: a new message that counts as dealt with because of the change, so not before both are recorded.
        """
        delivered, upto = self._unsaved, reached or self.reached

        async def attempt() -> bool:
            return await self.outbox.save(
                self.lease,
                reached=upto,
                change=change,
                delivered=delivered,
                clock=self.engine.now(),
                keep=None if done else self.handler.lease,
            )

        if not await self.engine.retrying(attempt):
            raise _LeaseLost
        self.reached = upto
        self._unsaved -= delivered
        self.saved_at = self.engine.waits.elapsed()


# --- operators --------------------------------------------------------------------------------------------------


async def parked_messages(engine: Engine, limit: int) -> tuple[ParkedMessage, ...]:
    """See `Runtime.parked_messages`."""
    engine.check_usable(None)
    check_limit(limit)
    return tuple(await engine.retrying(lambda: engine.outbox.parked(limit=limit)))


async def retry_message(engine: Engine, handler: str, message_id: UUID | str) -> None:
    """See `Runtime.retry_message`."""
    found = _message_id(engine, message_id)
    if not await engine.retrying(lambda: engine.outbox.retry(handler, found, clock=engine.now())):
        raise _not_held(handler, found)


async def skip_message(engine: Engine, handler: str, message_id: UUID | str) -> None:
    """See `Runtime.skip_message`."""
    found = _message_id(engine, message_id)
    if not await engine.retrying(lambda: engine.outbox.skip(handler, found, clock=engine.now())):
        raise _not_held(handler, found)


async def forget_handler(engine: Engine, handler: str) -> None:
    """See `Runtime.forget_handler`."""
    engine.check_usable(None)
    if handler in engine.message_handlers:
        raise InvalidArgument(
            "handler", f"{handler!r} is registered with this runtime, which would begin anew with it"
        )
    if not await engine.outbox.forget(handler):
        raise InvalidArgument(
            "handler",
            f"nothing is known of a handler {handler!r}, or a dispatcher serves it just now; "
            "stop that one, and wait until its lease has run out",
        )


def _message_id(engine: Engine, message_id: UUID | str) -> UUID:
    engine.check_usable(None)
    if isinstance(message_id, UUID):
        return message_id
    try:
        return UUID(message_id)
    except (ValueError, AttributeError, TypeError):
        raise InvalidArgument("message_id", f"{message_id!r} is not the id of a message") from None


def _not_held(handler: str, message_id: UUID) -> InvalidArgument:
    return InvalidArgument(
        "message_id",
        f"the handler {handler!r} has not got stuck at message {message_id}: it is delivered, has not been reached, "
        "or waits behind another one; `parked_messages()` has those that were given up",
    )
