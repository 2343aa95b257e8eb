"""Does a dispatcher that is interrupted at the wrong moment lose a message?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from duraflow import Message, MessageHandler, MessageRetryPolicy, Runtime, State, Transition, Workflow
from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.ports import HeldChange, Outbox
from duraflow.runtime.drive import drive
from duraflow.testing import ManualClock

MINUTE = timedelta(minutes=1)
TALE = Workflow(name="tale", initial="open", states=[State("open", [Transition("tell", emits=["told"])])])


class Interrupt(BaseException):
    """Ctrl-C, or what cancels a task."""


@attrs.define
class InterruptedOutbox:
    """An outbox that is interrupted once, before it keeps a change of who is held back; later calls work."""

    inner: Any
    armed: bool = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def save(self, *arguments: Any, change: HeldChange | None, **options: Any) -> bool:
        """Keep progress, or be interrupted."""
        if change is not None and self.armed:
            self.armed = False
            raise Interrupt
        kept: bool = await self.inner.save(*arguments, change=change, **options)
        return kept


def _interrupted(inner: Outbox | None) -> InterruptedOutbox:
    assert inner is not None
    return InterruptedOutbox(inner)


@pytest.mark.parametrize("after_an_interruption", [False, True])
def test_a_message_is_not_passed_over_before_it_is_recorded_as_held_back(after_an_interruption: bool) -> None:
    """Interrupted while that is written, the message is still to come."""
    given: list[int] = []
    refusing = not after_an_interruption

    def take(message: Message) -> None:
        given.append(message.seq)
        if refusing:
            raise ValueError("not now")

    clock = ManualClock()
    persistence = InMemoryPersistence(database=InMemoryDatabase(), clock=clock)
    outbox = _interrupted(persistence.outbox)
    handler = MessageHandler("taker", take, retry=MessageRetryPolicy(first=MINUTE, jitter=0))
    with Runtime(
        workflows=[TALE],
        persistence=attrs.evolve(persistence, outbox=outbox),
        clock=clock,
        message_handlers=[handler],
    ) as runtime:
        one = runtime.create("tale")
        runtime.fire(one.id, "tell")
        runtime.fire(one.id, "tell")
        if after_an_interruption:
            assert drive(outbox.inner.claim("taker", lease=MINUTE, start="first")) is not None
            clock.advance(2 * MINUTE)
        outbox.armed = True
        with pytest.raises(Interrupt):
            runtime.dispatch()
        refusing = False
        given.clear()
        for _ in range(3):
            clock.advance(10 * MINUTE)
            runtime.dispatch()
        assert given == [2, 3]
