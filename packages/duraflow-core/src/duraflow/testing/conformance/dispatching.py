"""`dispatch`: does every handler get every message, in order, until it has taken it or a person has decided?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument, Misuse
from duraflow.instance import Instance
from duraflow.messages import DispatchResult, Message, MessageHandler, MessageRetryPolicy, ParkedMessage
from duraflow.ports import Free, HandlerLease, Hold, Outbox
from duraflow.results import NewInstance
from duraflow.runtime.aio import AsyncRuntime
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import HOUR, MINUTE, SECOND, World, check


def tell(ctx: Any) -> None:
    """Leave a message for each topic of the payload, numbered over the instance's life."""
    for topic in ctx.payload or ["told"]:
        ctx.context["told"] = ctx.context.get("told", 0) + 1
        ctx.emit(topic, {"n": ctx.context["told"], "at": ctx.now})


TALE = Workflow(
    name="tale",
    initial="open",
    states=[
        State(
            "open", [Transition("tell", commands=[tell]), Transition("end", target="over", emits=["ended"])]
        ),
        State("over"),
    ],
)


class Reader:
    """A handler that keeps what it was given, and raises what it is told to."""

    def __init__(self, refuses: Callable[[Message], object] = lambda message: None) -> None:
        self.given: list[Message] = []
        self.taken: list[Message] = []
        self.refuses = refuses

    def __call__(self, message: Message) -> None:
        """Take a message."""
        self.given.append(message)
        reason = self.refuses(message)
        if isinstance(reason, BaseException):
            raise reason
        if reason:
            raise ValueError(str(reason))
        self.taken.append(message)

    @property
    def numbers(self) -> list[tuple[UUID, int]]:
        """What it has taken, by instance and number."""
        return [(message.instance_id, message.payload["n"]) for message in self.taken]


def _is(instance: Instance, *numbers: int) -> Callable[[Message], bool]:
    return lambda message: message.instance_id == instance.id and message.payload["n"] in numbers


def _handler(reader: Reader, name: str = "reader", **options: Any) -> MessageHandler:
    options.setdefault("retry", MessageRetryPolicy(first=MINUTE, jitter=0, park_after=3))
    return MessageHandler(name, reader, **options)


async def _dispatch(world: World, runtime: AsyncRuntime, calls: int, **options: Any) -> DispatchResult:
    """Dispatch until handlers were called so often: other transactions of a shared server may delay messages."""
    result = DispatchResult()
    for _ in range(1_000):
        result += await runtime.dispatch(**options)
        if result.total >= calls:
            break
        await world.driver.waits.sleep(0.01)
    assert result.total == calls
    return result


async def _tell(runtime: AsyncRuntime, instance: Instance, *topics: str) -> None:
    await runtime.fire(instance.id, "tell", list(topics) or None)


def _outbox_of(runtime: AsyncRuntime) -> Outbox:
    """The port of this very runtime."""
    outbox: Outbox | None = runtime._engine.persistence.outbox  # noqa: SLF001
    assert outbox is not None
    return outbox


async def _visible(world: World, runtime: AsyncRuntime, count: int) -> None:
    """Wait until so many messages can be delivered, where other transactions of a shared server delay them."""
    outbox = _outbox_of(runtime)
    probe = await outbox.claim("probe", lease=HOUR, start="first")
    assert probe is not None
    found = 0
    for _ in range(1_000):
        found = len((await outbox.read(probe, probe.reached, topics=(), limit=1_000)).messages)
        if found >= count:
            break
        await world.driver.waits.sleep(0.01)
    assert found == count
    assert await outbox.save(probe, reached=probe.reached, change=None, delivered=0, clock=START, keep=None)


@check("outbox")
async def a_message_says_what_it_is_of(world: World) -> None:
    """Everything about the move that it was written with; given once, and then no more."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one = await runtime.create("tale", ref="R1")
        await _tell(runtime, one, "first", "second")
        await runtime.fire(one.id, "end")
        assert await _dispatch(world, runtime, 3) == DispatchResult(delivered=3)
        first, second, ended = reader.taken
        assert first == Message(
            id=first.id,
            topic="first",
            payload={"n": 1, "at": START},
            instance_id=one.id,
            workflow="tale",
            ref="R1",
            seq=2,
            ordinal=0,
            event="tell",
            from_state="open",
            to_state="open",
            at=START,
        )
        assert second == attrs.evolve(
            first, id=second.id, topic="second", payload={"n": 2, "at": START}, ordinal=1
        )
        assert (ended.topic, ended.seq, ended.ordinal, ended.event) == ("ended", 3, 0, "end")
        assert (ended.from_state, ended.to_state) == ("open", "over")
        assert len({first.id, second.id, ended.id}) == 3
        assert await runtime.dispatch() == DispatchResult()
        assert len(reader.given) == 3


@check("outbox")
async def messages_come_in_order(world: World) -> None:
    """Those of one instance as they were emitted, over pages of any size, and nothing is given twice."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        made = await runtime.create_many([NewInstance("tale")] * 3)
        for _ in range(25):
            for instance in made:
                await _tell(runtime, instance, "a", "b", "c")
        await _visible(world, runtime, 225)
        assert await runtime.dispatch(limit=7) == DispatchResult(delivered=7)
        assert await runtime.dispatch(limit=1_000) == DispatchResult(delivered=218)
        assert await runtime.dispatch() == DispatchResult()
        assert len(set(reader.numbers)) == len(reader.numbers) == 225
        for instance in made:
            mine = [number for instance_id, number in reader.numbers if instance_id == instance.id]
            assert mine == [*range(1, 76)]


@check("outbox")
async def a_limit_is_kept(world: World) -> None:
    """So many messages for each handler, and the next pass goes on after them."""
    readers = [Reader(), Reader()]
    handlers = [_handler(reader, f"reader {n}") for n, reader in enumerate(readers)]
    async with world.runtime(TALE, message_handlers=handlers) as runtime:
        one = await runtime.create("tale")
        for _ in range(5):
            await _tell(runtime, one)
        await _visible(world, runtime, 5)
        assert await runtime.dispatch(limit=2) == DispatchResult(delivered=4)
        for reader in readers:
            assert reader.numbers == [(one.id, 1), (one.id, 2)]
        for limit in (0, -1, 1.5, True):
            with pytest.raises(InvalidArgument, match="limit"):
                await runtime.dispatch(limit=limit)  # type: ignore[arg-type]
        await _dispatch(world, runtime, 6)
        for reader in readers:
            assert reader.numbers == [(one.id, n) for n in range(1, 6)]


@check("outbox")
async def what_is_rolled_back_is_not_told(world: World) -> None:
    """Neither by an exception in the transaction, nor by a savepoint."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one = await runtime.create("tale")
        with pytest.raises(ZeroDivisionError):
            async with runtime.transaction() as tx:
                await tx.fire(one.id, "tell", ["lost"])
                raise ZeroDivisionError
        async with runtime.transaction() as tx:
            with pytest.raises(ZeroDivisionError):
                async with tx.transaction() as inner:
                    await inner.fire(one.id, "tell", ["lost"])
                    raise ZeroDivisionError
            await tx.fire(one.id, "tell", ["kept"])
        await _dispatch(world, runtime, 1)
        assert [message.topic for message in reader.taken] == ["kept"]


@check("outbox")
async def each_handler_has_its_topics_and_its_progress(world: World) -> None:
    """One that takes nothing stands in nobody's way, and what a handler does not want it never sees."""
    all_, some, none = Reader(), Reader(), Reader(lambda message: "no")
    handlers = [
        _handler(none, "none"),
        _handler(all_, "all"),
        _handler(some, "some", topics=["a", "c"]),
    ]
    async with world.runtime(TALE, message_handlers=handlers) as runtime:
        one, two = await runtime.create_many([NewInstance("tale")] * 2)
        await _tell(runtime, one, "a", "b", "c")
        await _tell(runtime, two, "b")
        result = await _dispatch(world, runtime, 8)
        assert result == DispatchResult(delivered=6, failed=2, held=2)
        assert [message.topic for message in all_.taken] == ["a", "b", "c", "b"]
        assert [message.topic for message in some.given] == ["a", "c"]
        assert [(message.instance_id, message.topic) for message in none.given] == [
            (one.id, "a"),
            (two.id, "b"),
        ]


@check("outbox")
async def what_nobody_wants_is_passed_over_once(world: World) -> None:
    """A handler whose topics do not occur has nothing waiting after one pass."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader, topics=["a"])]) as runtime:
        one = await runtime.create("tale")
        for topic in ("a", "b"):
            await _tell(runtime, one, topic)
        await _visible(world, runtime, 2)
        outbox = _outbox_of(runtime)
        assert [*await outbox.waiting(["other", "reader"], clock=None)] == ["other", "reader"]
        assert (await runtime.dispatch()).delivered == 1
        assert [*await outbox.waiting(["reader"], clock=None)] == []
        await _tell(runtime, one, "b")
        await _visible(world, runtime, 3)
        assert [*await outbox.waiting(["reader"], clock=None)] == ["reader"]
        assert await runtime.dispatch() == DispatchResult()
        assert [*await outbox.waiting(["reader"], clock=None)] == []


@check("outbox")
async def a_handler_may_begin_now(world: World) -> None:
    """`start="now"` leaves out what was told before its first dispatch; a name that was used before goes on."""
    async with world.runtime(TALE, message_handlers=[_handler(Reader(), "early")]) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
    late, early = Reader(), Reader()
    handlers = [_handler(late, "late", start="now"), _handler(early, "early", start="now")]
    async with world.runtime(TALE, message_handlers=handlers) as runtime:
        assert (await runtime.dispatch()).total == 0
        await _tell(runtime, one)
        await _dispatch(world, runtime, 2)
        assert late.numbers == early.numbers == [(one.id, 2)]


@check("outbox")
async def back_off_grows_up_to_its_cap(world: World) -> None:
    """Tried again exactly when its time has come, with the same id, until it is parked with its error."""
    reader = Reader(lambda message: f"bad \x00 {'x' * 3_000}")
    retry = MessageRetryPolicy(first=MINUTE, factor=2, cap=5 * MINUTE, jitter=0, park_after=6)
    async with world.runtime(TALE, message_handlers=[_handler(reader, retry=retry)]) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one)
        assert (await _dispatch(world, runtime, 1)).failed == 1
        for minutes in (1, 2, 4, 5):
            world.clock.advance(minutes * MINUTE - SECOND / 1_000)
            assert await runtime.dispatch() == DispatchResult()
            world.clock.advance(SECOND / 1_000)
            assert await runtime.dispatch() == DispatchResult(failed=1)
        assert await runtime.parked_messages() == ()
        world.clock.advance(5 * MINUTE)
        assert await runtime.dispatch() == DispatchResult(parked=1)
        world.clock.advance(365 * 24 * HOUR)
        assert await runtime.dispatch() == DispatchResult()
        (parked,) = await runtime.parked_messages()
        assert len({message.id for message in reader.given}) == 1
        assert parked == ParkedMessage(
            "reader", reader.given[0], parked.parked_at, attempts=6, error=parked.error
        )
        assert parked.parked_at == START + 17 * MINUTE
        assert parked.error.startswith("ValueError: bad ")
        assert "\x00" not in parked.error
        assert len(parked.error) <= 2_000


@check("outbox")
async def only_its_own_instance_waits_behind_it(world: World) -> None:
    """In order, also what is told meanwhile, and nothing is passed over when it goes on."""
    refusing = [True]
    async with world.runtime(TALE, message_handlers=[]) as runtime:
        one, two = await runtime.create_many([NewInstance("tale")] * 2)
    reader = Reader(lambda message: refusing[0] and _is(one, 2)(message))
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        for instance in (one, two):
            for _ in range(3):
                await _tell(runtime, instance)
        result = await _dispatch(world, runtime, 5)
        assert (result.delivered, result.failed) == (4, 1)
        await _tell(runtime, one)
        await _tell(runtime, two)
        assert (await _dispatch(world, runtime, 1)).delivered == 1
        assert reader.numbers == [(one.id, 1), *((two.id, n) for n in (1, 2, 3, 4))]
        # Both what was held back and what is new since the last pass, in one pass or the next.
        await _tell(runtime, one)
        refusing.clear()
        refusing.append(False)
        world.clock.advance(MINUTE)
        assert await _dispatch(world, runtime, 4) == DispatchResult(delivered=4)
        assert reader.numbers[5:] == [(one.id, n) for n in (2, 3, 4, 5)]
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        assert reader.numbers[9:] == [(one.id, 6)]


@check("outbox")
async def after_a_success_attempts_are_counted_anew(world: World) -> None:
    """The next message of the instance has its own tries, and holds back what follows in its turn."""
    async with world.runtime(TALE) as runtime:
        one = await runtime.create("tale")
    failures = {1: 2, 2: 2}

    def refuses(message: Message) -> bool:
        left = failures.get(message.payload["n"], 0)
        failures[message.payload["n"]] = left - 1
        return left > 0

    reader = Reader(refuses)
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        for _ in range(3):
            await _tell(runtime, one)
        assert (await _dispatch(world, runtime, 1)).failed == 1
        world.clock.advance(MINUTE)
        assert await runtime.dispatch() == DispatchResult(failed=1)
        world.clock.advance(2 * MINUTE)
        assert (await _dispatch(world, runtime, 2)) == DispatchResult(delivered=1, failed=1)
        world.clock.advance(MINUTE)
        assert await runtime.dispatch() == DispatchResult(failed=1)
        world.clock.advance(2 * MINUTE)
        assert await _dispatch(world, runtime, 2) == DispatchResult(delivered=2)
        assert [n for _, n in reader.numbers] == [1, 2, 3]
        assert [message.payload["n"] for message in reader.given] == [1, 1, 1, 2, 2, 2, 3]
        assert await runtime.parked_messages() == ()


@check("outbox")
async def many_that_wait_go_on_in_parts(world: World) -> None:
    """What was held back longer than one pass can take is taken by the next ones, in order, with what is new."""
    refusing = [True]
    reader = Reader(lambda message: refusing[0])
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        for _ in range(6):
            await _tell(runtime, one)
        while not (await runtime.dispatch()).held:
            await world.driver.waits.sleep(0.01)
        refusing[0] = False
        world.clock.advance(MINUTE)
        await _tell(runtime, one)
        done = 0
        while done < 8:
            done += (await runtime.dispatch(limit=3)).delivered
            await world.driver.waits.sleep(0.01)
        assert [n for _, n in reader.numbers] == [*range(1, 9)]


async def _parked(world: World, runtime: AsyncRuntime, reader: Reader) -> tuple[Instance, Instance, Message]:
    """Two instances with three messages each; the second of the first is parked."""
    one, two = await runtime.create_many([NewInstance("tale")] * 2)
    reader.refuses = _is(one, 2)
    for instance in (one, two):
        for _ in range(3):
            await _tell(runtime, instance)
    await _dispatch(world, runtime, 5)
    for minutes in (1, 2):
        world.clock.advance(minutes * MINUTE)
        await _dispatch(world, runtime, 1)
    (parked,) = await runtime.parked_messages()
    assert (parked.message.instance_id, parked.message.payload["n"], parked.attempts) == (one.id, 2, 3)
    assert await runtime.dispatch() == DispatchResult()
    return one, two, parked.message


@check("outbox")
async def a_parked_message_is_retried(world: World) -> None:
    """At once, from its first attempt on; when it is taken, those behind it follow."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one, _, message = await _parked(world, runtime, reader)
        await runtime.retry_message("reader", message.id)
        assert await runtime.parked_messages() == ()
        assert await runtime.dispatch() == DispatchResult(failed=1)
        world.clock.advance(MINUTE)
        reader.refuses = lambda message: False
        assert await runtime.dispatch() == DispatchResult(delivered=2)
        assert [n for instance_id, n in reader.numbers if instance_id == one.id] == [1, 2, 3]


@check("outbox")
async def a_parked_message_is_skipped(world: World) -> None:
    """It is never given again, and those behind it follow; for another handler nothing changes."""
    reader, other = Reader(), Reader()
    handlers = [_handler(reader), _handler(other, "other", start="now")]
    async with world.runtime(TALE, message_handlers=handlers[:1]) as runtime:
        one, _, message = await _parked(world, runtime, reader)
    async with world.runtime(TALE, message_handlers=handlers) as runtime:
        assert (
            await runtime.dispatch() == DispatchResult()
        )  # now the other one begins, after what was told so far
        for wrong in (("other", message.id), ("reader", uuid4()), ("reader", other_of(reader, message).id)):
            for call in (runtime.retry_message, runtime.skip_message):
                with pytest.raises(InvalidArgument, match="has not got stuck"):
                    await call(*wrong)
        with pytest.raises(InvalidArgument, match="not the id of a message"):
            await runtime.skip_message("reader", "x")
        await runtime.skip_message("reader", str(message.id))
        assert await runtime.parked_messages() == ()
        result = await runtime.dispatch()
        assert (result.delivered, result.failed) == (1, 0)
        assert [n for instance_id, n in reader.numbers if instance_id == one.id] == [1, 3]
        with pytest.raises(InvalidArgument, match="has not got stuck"):
            await runtime.skip_message("reader", message.id)
        await _tell(runtime, one)
        await _dispatch(world, runtime, 2)
        assert [n for instance_id, n in reader.numbers if instance_id == one.id] == [1, 3, 4]


def other_of(reader: Reader, message: Message) -> Message:
    """A message that was delivered."""
    return next(one for one in reader.taken if one.id != message.id)


@check("outbox")
async def one_that_is_tried_again_can_be_skipped(world: World) -> None:
    """Without waiting until it is parked."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one = await runtime.create("tale")
        reader.refuses = _is(one, 1)
        await _tell(runtime, one)
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        await runtime.skip_message("reader", reader.given[0].id)
        assert await runtime.dispatch() == DispatchResult(delivered=1)
        assert reader.numbers == [(one.id, 2)]


@check("outbox")
async def one_is_skipped_while_it_is_delivered(world: World) -> None:
    """What a person decides meanwhile stands, whatever becomes of the delivery."""
    calls: list[int] = []

    async def refuse(message: Message) -> None:
        calls.append(message.payload["n"])
        if len(calls) == 2:
            await runtime.skip_message("reader", message.id)
        if message.payload["n"] == 1:
            raise ValueError("no")

    retry = MessageRetryPolicy(first=MINUTE, jitter=0, park_after=3)
    handler = MessageHandler("reader", _as_handler(world, refuse), retry=retry)
    async with world.runtime(TALE, message_handlers=[handler]) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one)
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        world.clock.advance(MINUTE)
        await _dispatch(world, runtime, 2)
        world.clock.advance(HOUR)
        assert await runtime.dispatch() == DispatchResult()
        assert calls == [1, 1, 2]


@check("outbox")
async def one_pass_tries_each_once(world: World) -> None:
    """However short the wait until the next try, a pass comes to its end."""
    reader = Reader(lambda message: "no")
    retry = MessageRetryPolicy(
        first=timedelta(microseconds=1), cap=timedelta(microseconds=1), park_after=1_000
    )
    async with world.runtime(TALE, message_handlers=[_handler(reader, retry=retry)], clock=None) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        for _ in range(3):
            await world.driver.waits.sleep(0.002)
            assert await runtime.dispatch() == DispatchResult(failed=1)


@check("outbox")
async def topics_hold_for_what_was_held_back(world: World) -> None:
    """Also when it goes on, a handler sees only what it wants."""
    refusing = [True]
    reader = Reader(lambda message: refusing[0])
    async with world.runtime(TALE, message_handlers=[_handler(reader, topics=["a"])]) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one, "b", "a", "b", "a", "b")
        await _dispatch(world, runtime, 1)
        refusing[0] = False
        world.clock.advance(MINUTE)
        assert await _dispatch(world, runtime, 2) == DispatchResult(delivered=2)
        assert [n for _, n in reader.numbers] == [2, 4]
        assert await runtime.dispatch() == DispatchResult()


@check("outbox")
async def deleted_instances_stand_in_nobodys_way(world: World) -> None:
    """Their messages are gone, held back or not."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one, two, three = await runtime.create_many([NewInstance("tale")] * 3)
        reader.refuses = _is(one, 1)
        for instance in (one, two):
            await _tell(runtime, instance)
        await _dispatch(world, runtime, 2)
        await _tell(runtime, one)
        await _tell(runtime, two)
        await _tell(runtime, three)
        await runtime.delete(one.id, force=True)
        await runtime.delete(two.id, force=True)
        world.clock.advance(MINUTE)
        await _dispatch(world, runtime, 1)
        assert reader.numbers == [(two.id, 1), (three.id, 1)]
        assert await runtime.dispatch() == DispatchResult()


@check("outbox")
async def who_is_interrupted_has_not_taken_it(world: World) -> None:
    """What no handler can catch leaves `dispatch`: what was delivered before is recorded, and nothing is lost."""

    class Interrupt(BaseException):
        pass

    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        one = await runtime.create("tale")
        for _ in range(3):
            await _tell(runtime, one)
        reader.refuses = lambda message: Interrupt() if message.payload["n"] == 2 else None
        with pytest.raises(Interrupt):
            while True:
                await runtime.dispatch()
                await world.driver.waits.sleep(0.01)
        reader.refuses = lambda message: None
        await _dispatch(world, runtime, 2)
        assert [n for _, n in reader.numbers] == [1, 2, 3]


@check("outbox")
async def a_handler_can_be_forgotten(world: World) -> None:
    """With what is held back for it; then it begins anew. Not while it is registered here, or is being delivered to."""
    reader = Reader()
    reader.refuses = lambda message: ValueError("never") if message.payload["n"] == 1 else None
    handler = _handler(reader, retry=MessageRetryPolicy(first=MINUTE, jitter=0, park_after=1))
    async with world.runtime(TALE, message_handlers=[handler]) as runtime:
        one = await runtime.create("tale")
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        assert len(await runtime.parked_messages()) == 1
        with pytest.raises(InvalidArgument, match="registered"):
            await runtime.forget_handler("reader")
    async with world.runtime(TALE) as runtime:
        outbox = _outbox_of(runtime)
        lease = await outbox.claim("reader", lease=HOUR, start="first")
        assert lease is not None
        for name in ("reader", "nobody"):
            with pytest.raises(InvalidArgument, match=name):
                await runtime.forget_handler(name)
        assert await _save(outbox, lease, lease.reached, keep=None)
        await runtime.forget_handler("reader")
        assert not await outbox.forget("reader")
        assert await runtime.parked_messages() == ()
    reader.refuses = lambda message: None
    async with world.runtime(TALE, message_handlers=[handler]) as runtime:
        await _dispatch(world, runtime, 1)
        assert [n for _, n in reader.numbers] == [1]


@check("outbox")
async def a_lease_keeps_others_out(world: World) -> None:
    """Until it is given back or has run out; then it has another token, and the old one writes nothing."""
    reader = Reader()
    handler = _handler(reader)
    async with world.runtime(TALE, message_handlers=[handler]) as runtime:
        outbox = _outbox_of(runtime)
        one = await runtime.create("tale")
        await _tell(runtime, one)
        await _tell(runtime, one)
        while True:  # until no other transaction of the server delays them
            lease = await outbox.claim("reader", lease=HOUR, start="first")
            assert lease is not None
            page = await outbox.read(lease, lease.reached, topics=(), limit=10)
            if len(page.messages) == 2:
                break
            assert await _save(outbox, lease, lease.reached, keep=None)
            await world.driver.waits.sleep(0.01)
        assert not lease.interrupted
        assert await outbox.claim("reader", lease=HOUR, start="first") is None
        assert await runtime.dispatch() == DispatchResult(busy=1)
        first, second = page.messages
        assert await _save(outbox, lease, first.place, keep=SECOND / 20)
        await world.driver.waits.sleep(0.06)
        later = await outbox.claim("reader", lease=HOUR, start="first")
        assert later is not None
        assert (later.reached, later.interrupted) == (first.place, True)
        assert later.token != lease.token
        hold = Hold(one.id, second.message.seq, 0, 1, MINUTE, "stale", None)
        assert not await _save(outbox, lease, second.place, change=hold, keep=HOUR)
        assert await _due(outbox, later, second.place, world) is None
        assert await _save(outbox, later, second.place, change=hold, keep=HOUR)
        assert not await _save(outbox, lease, first.place, change=Free(one.id, (second.message.seq, 0)))
        world.clock.advance(MINUTE)
        back = await _due(outbox, later, second.place, world)
        assert back is not None
        assert (back.instance_id, back.seq, back.ordinal, back.attempts) == (one.id, second.message.seq, 0, 1)
        assert back.messages == (second.message,)
        assert await _save(outbox, later, second.place, keep=None)
        assert not await _save(outbox, later, second.place, keep=None)
        again = await outbox.claim("reader", lease=SECOND, start="first")
        assert again is not None
        assert (again.reached, again.interrupted) == (second.place, False)


async def _save(
    outbox: Outbox, lease: HandlerLease, reached: Any, *, change: Any = None, keep: Any = HOUR
) -> bool:
    return await outbox.save(lease, reached=reached, change=change, delivered=0, clock=START, keep=keep)


async def _due(outbox: Outbox, lease: HandlerLease, reached: Any, world: World) -> Any:
    return await outbox.due(lease, reached=reached, topics=(), clock=world.clock.now(), limit=10, exclude=())


@check("outbox")
async def after_an_interruption_attempts_are_written_first(world: World) -> None:
    """In the pass after one that died: while a handler runs, its message is on record as held back."""
    async with world.runtime(TALE) as runtime:
        one, two = await runtime.create_many([NewInstance("tale")] * 2)
        for instance in (one, one, two):
            await _tell(runtime, instance)
    taken: list[tuple[UUID, int]] = []

    async def look(message: Message) -> None:
        taken.append((message.instance_id, message.payload["n"]))
        held = [parked.message for parked in await outbox.parked(limit=10)]
        assert message in held

    # Its first attempt is its last, so that what is on record before the call is shown as parked.
    retry = MessageRetryPolicy(park_after=1)
    handler = MessageHandler("reader", _as_handler(world, look), retry=retry)
    async with world.runtime(TALE, message_handlers=[handler]) as runtime:
        outbox = _outbox_of(runtime)
        lease = await outbox.claim("reader", lease=HOUR, start="first")
        assert lease is not None
        while len((await outbox.read(lease, lease.reached, topics=(), limit=10)).messages) < 3:
            await world.driver.waits.sleep(0.01)
        assert await _save(outbox, lease, lease.reached, keep=SECOND / 100)
        await world.driver.waits.sleep(0.02)
        assert await runtime.dispatch() == DispatchResult(delivered=3)
        assert sorted(taken) == sorted([(one.id, 1), (one.id, 2), (two.id, 1)])
        assert await runtime.parked_messages() == ()
        world.clock.advance(HOUR)
        assert await runtime.dispatch() == DispatchResult()


@check("outbox", "concurrency")
async def two_dispatchers_take_turns(world: World) -> None:
    """However they meet, each message is taken once, and in order."""
    reader = Reader()
    async with (
        world.runtime(TALE, message_handlers=[_handler(reader)]) as first,
        world.runtime(TALE, message_handlers=[_handler(reader)]) as second,
    ):
        made = await first.create_many([NewInstance("tale")] * 3)
        told = world.signal()

        async def write() -> int:
            for _ in range(10):
                for instance in made:
                    await _tell(first, instance)
            told.set()
            return 0

        async def deliver(runtime: AsyncRuntime) -> int:
            delivered = 0
            for _ in range(3_000):
                result = await runtime.dispatch(limit=4)
                assert not result.lost
                delivered += result.delivered
                if len(reader.taken) >= 30:
                    break
                await world.driver.waits.sleep(0.002)
            return delivered

        counts = await world.driver.together(write, lambda: deliver(first), lambda: deliver(second))
        assert sum(counts) == len(reader.taken) == 30
        for instance in made:
            assert [n for who, n in reader.numbers if who == instance.id] == [*range(1, 11)]


@check("outbox", "concurrency")
async def an_open_transactions_messages_are_not_passed_over(world: World) -> None:
    """What commits late is delivered late, and not never."""
    reader = Reader()
    async with world.runtime(TALE, message_handlers=[_handler(reader)]) as runtime:
        early, late = await runtime.create_many([NewInstance("tale")] * 2)
        async with runtime.transaction() as tx:
            await tx.fire(late.id, "tell")
            await _tell(runtime, early)
            await runtime.dispatch()
        for _ in range(1_000):
            await runtime.dispatch()
            if len(reader.taken) == 2:
                break
            await world.driver.waits.sleep(0.01)
        assert sorted(reader.numbers) == sorted([(early.id, 1), (late.id, 1)])


@check("outbox")
async def handlers_may_use_the_runtime(world: World) -> None:
    """They are called outside any transaction, so that what they do commits by itself."""
    async with world.runtime(TALE) as other:
        one = await other.create("tale")
        two = await other.create("tale")
        await _tell(other, one)
        ended: list[str] = []

        async def ends(message: Message) -> None:
            ended.append((await other.fire(two.id, "end")).to_state)

        handler = MessageHandler("ends", _as_handler(world, ends), topics=["told"])
        async with world.runtime(TALE, message_handlers=[handler]) as runtime:
            await _dispatch(world, runtime, 1)
        assert ended == ["over"]
        assert (await other.get(two.id)).state == "over"


def _as_handler(world: World, body: Callable[[Message], Any]) -> Callable[[Message], Any]:
    """A plain handler for the blocking runtime, an async one for asyncio."""
    if world.driver.waits.suspends:
        return body
    return lambda message: world.driver.run(body(message))


@check("outbox")
async def what_cannot_be_used_is_refused(world: World) -> None:
    """Names, handlers, options; and an async handler in the blocking runtime."""

    async def waits(message: Message) -> None:
        raise AssertionError("never called")

    wrong: list[Any] = [
        lambda: MessageHandler("", print),
        lambda: MessageHandler("x\x00", print),
        lambda: MessageHandler("x", "print"),  # type: ignore[arg-type]
        lambda: MessageHandler("x", print, topics=[""]),
        lambda: MessageHandler("x", print, start="later"),  # type: ignore[arg-type]
        lambda: MessageHandler("x", print, lease=SECOND / 2),
        lambda: MessageHandler("x", print, lease=timedelta(days=2)),
        lambda: MessageHandler("x", print, retry=5),  # type: ignore[arg-type]
        lambda: MessageRetryPolicy(first=timedelta(0)),
        lambda: MessageRetryPolicy(cap=SECOND / 2),
        lambda: MessageRetryPolicy(factor=0.5),
        lambda: MessageRetryPolicy(jitter=1.5),
        lambda: MessageRetryPolicy(park_after=0),
    ]
    for make in wrong:
        with pytest.raises(InvalidArgument):
            make()
    for handlers in ([print], [MessageHandler("x", print), MessageHandler("x", print)]):
        with pytest.raises(InvalidArgument, match="message_handlers"):
            world.driver.runtime(workflows=[TALE], persistence=world.persistence(), message_handlers=handlers)
    if not world.driver.waits.suspends:
        with pytest.raises(InvalidArgument, match="is async"):
            world.driver.runtime(
                workflows=[TALE],
                persistence=world.persistence(),
                message_handlers=[MessageHandler("x", waits)],
            )
    async with world.runtime(TALE) as runtime:
        with pytest.raises(Misuse, match="no message handlers"):
            await runtime.dispatch()


@check("outbox")
async def waits_have_jitter(world: World) -> None:
    """The default draws half of each wait by lot; with 1 it is all of it, with 0 nothing."""
    policy = MessageRetryPolicy(first=SECOND, cap=8 * SECOND)
    for failures, whole in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (5_000, 8)):
        drawn = {policy.delay(failures) for _ in range(50)}
        assert len(drawn) > 10
        assert all(whole * SECOND / 2 <= wait <= whole * SECOND for wait in drawn)
    assert {MessageRetryPolicy(jitter=0).delay(3) for _ in range(5)} == {4 * SECOND}
    assert min(MessageRetryPolicy(jitter=1).delay(1) for _ in range(300)) < SECOND / 10


@check("outbox")
async def namespaces_are_apart(world: World) -> None:
    """A handler of the same name elsewhere has its own messages and its own progress."""
    here, there = Reader(), Reader()
    async with (
        world.runtime(TALE, message_handlers=[_handler(here)]) as runtime,
        world.runtime(TALE, message_handlers=[_handler(there)], namespace=f"{world.namespace}_2") as other,
    ):
        one = await runtime.create("tale")
        here.refuses = _is(one, 1)
        await _tell(runtime, one)
        await _dispatch(world, runtime, 1)
        assert await other.dispatch() == DispatchResult()
        for minutes in (1, 2):
            world.clock.advance(minutes * MINUTE)
            await runtime.dispatch()
        (parked,) = await runtime.parked_messages()
        assert await other.parked_messages() == ()
        with pytest.raises(InvalidArgument, match="has not got stuck"):
            await other.retry_message("reader", parked.message.id)
        assert there.given == []
