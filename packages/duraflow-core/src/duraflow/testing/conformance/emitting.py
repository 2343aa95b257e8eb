"""`ctx.emit` and `emits=`: is a message written with its move, and only with it?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.definition.values import CommandRef, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import CommandFailed, EventRefused, InvalidArgument, NotSupported
from duraflow.messages import Message
from duraflow.ports import Persistence
from duraflow.results import Failure, Firing, NewInstance
from duraflow.runtime.aio import AsyncRuntime
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, SECOND, World, check


class Topic(StrEnum):
    """Topics may be members of an enum."""

    SAID = "said"


class OldTopic(str, Enum):  # noqa: UP042  # how it was written before StrEnum
    """Its members print as `OldTopic.SAID`."""

    SAID = "said"


@attrs.frozen
class Order:
    """A typed payload with a default."""

    total: Decimal
    on: datetime
    note: str = ""


def say(ctx: Any) -> None:
    """Emit what the payload lists as [topic, payload], counting how often it spoke."""
    ctx.context["spoke"] = ctx.context.get("spoke", 0) + 1
    for topic, payload in (ctx.payload or {}).get("say", []):
        ctx.emit(topic, payload)


def sign(ctx: Any) -> None:
    """Emit who it is."""
    ctx.emit("signed", {"by": ctx.command.name, "event": ctx.event, "n": len(ctx.context)})


def decline(ctx: Any) -> Failure:
    """The business says no, and tells so."""
    ctx.emit("declining")
    return Failure("declined")


def burst(ctx: Any) -> None:
    """Tells, and raises."""
    ctx.emit("bursting")
    raise ZeroDivisionError("by nothing")


def spoil(ctx: Any) -> None:
    """Tells, and leaves what cannot be stored."""
    ctx.emit("spoiling")
    ctx.context["x"] = {1, 2}


def never() -> bool:
    """Always no."""
    return False


TELLER = Workflow(
    name="teller",
    initial="open",
    events={"order": Order},
    states=[
        State(
            "open",
            [
                Transition("say", commands=[say]),
                Transition("move", target="open", commands=[say, sign], emits=["moved", "moved again"]),
                Transition("free", target="open", emits=["freed", "freed again"]),
                Transition("nod", emits=[Topic.SAID]),
                Transition("order", target="open", emits=["ordered"]),
                Transition("ask", target="open", guard=never, emits=["asked"]),
                Transition("route", target="open", commands=[sign, decline], error_target="declined", emits=["routed"]),
                Transition("fail", target="open", commands=[sign, decline], emits=["failed"]),
                Transition("crash", target="open", commands=[sign, burst], emits=["crashed"]),
                Transition("spoil", target="open", commands=[sign, spoil], emits=["spoilt"]),
                Transition(
                    "try",
                    commands=[
                        sign,
                        CommandRef("burst", best_effort=True),
                        CommandRef("decline", best_effort=True),
                        sign,
                    ],
                    emits=["tried"],
                ),
                Transition("start", target="chain", commands=[sign], emits=["started"]),
                Transition("late", target="open", after=HOUR, emits=["was late"]),
                Transition("later", target="open", after=DAY, commands=[sign], emits=["was later"]),
            ],
        ),
        State("declined"),
        State("chain", [Transition(commands=[sign]), Transition(target="second", emits=["hopped"])]),
        State("second", [Transition(target="over", commands=[sign], emits=["ended"])]),
        State("over"),
    ],
)  # fmt: skip
BORN = Workflow(
    name="born",
    initial="begin",
    states=[
        State("begin", [Transition(target="ready", commands=[sign], emits=["born"])]),
        State("ready", [Transition(target="over", emits=["ready"])]),
        State("over"),
    ],
)
BELL = Workflow(name="bell", initial="still", states=[State("still", [Transition("ring", emits=["rung"])])])
WORKFLOWS = (TELLER, BORN, BELL)
HANDLERS: dict[str, Any] = {"commands": [burst, decline]}


async def messages(world: World, runtime: AsyncRuntime) -> list[Message]:
    """All messages so far, in the order of the outbox.

    Other transactions of a shared server may delay what can be read; once a bell that is rung last is heard, nothing
    is missing before it.
    """
    bell = await runtime.create("bell")
    await runtime.fire(bell.id, "ring")
    async with world.opened() as ports:
        outbox = ports.persistence.outbox
        assert outbox is not None
        lease = await outbox.claim(f"reader {uuid4()}", lease=100 * SECOND, start="first")
        assert lease is not None
        for _ in range(1_000):
            found, after, more = list[Message](), lease.reached, True
            while more:
                page = await outbox.read(lease, after, topics=(), limit=7)
                found += [posted.message for posted in page.messages]
                after, more = page.reached or after, page.more
            if found and found[-1].instance_id == bell.id:
                return [message for message in found if message.workflow != "bell"]
            await world.driver.waits.sleep(0.01)
    raise AssertionError("the bell was never heard")


def _short(found: list[Message]) -> list[tuple[int, int, str]]:
    return [(message.seq, message.ordinal, message.topic) for message in found]


@check("outbox", "due")
async def what_a_command_emits_is_written_with_the_move(world: World) -> None:
    """In the order in which it was emitted, over all commands of the hop, with the move that it belongs to."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        one = await runtime.create("teller", ref="A1")
        said: list[list[Any]] = [
            ["first", {"a": [1]}],
            ["second", None],
            ["first", "again"],
            ["third", 0],
            ["third", []],
        ]
        world.clock.advance(HOUR / 2)
        await runtime.fire(one.id, "say", {"say": said})
        await runtime.fire(one.id, "say")
        await runtime.fire(one.id, "say", {"say": said[:1]})
        found = await messages(world, runtime)
        first = Message(
            id=found[0].id,
            topic="first",
            payload={"a": [1]},
            instance_id=one.id,
            workflow="teller",
            ref="A1",
            seq=2,
            ordinal=0,
            event="say",
            from_state="open",
            to_state="open",
            at=START + HOUR / 2,
        )
        assert found == [
            *(
                attrs.evolve(first, id=found[n].id, topic=topic, payload=payload, ordinal=n)
                for n, (topic, payload) in enumerate(said)
            ),
            attrs.evolve(first, id=found[5].id, seq=4),
        ]
        assert len({message.id for message in found}) == 6


DECLARED = [
    (3, 0, "freed"),
    (3, 1, "freed again"),
    (4, 0, "said"),
    (5, 0, "said by hand"),
    (5, 1, "signed"),
    (5, 2, "moved"),
    (5, 3, "moved again"),
    (6, 0, "ordered"),
]


@check("outbox", "due")
async def what_is_declared_carries_the_payload(world: World) -> None:
    """After what commands emit, with the event's payload as it is stored; alike on every way to write a move."""
    when = datetime(2024, 1, 1, tzinfo=UTC)
    order = {"total": Decimal("1.50"), "on": when}
    said = {"say": [["said by hand", 1]]}
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        made = await runtime.create_many([NewInstance("teller") for _ in range(4)])
        for one in made:
            await runtime.fire(one.id, "say")
        events: list[tuple[str, Any]] = [
            ("free", (1, {"b": 2})),
            ("nod", None),
            ("move", said),
            ("order", order),
        ]
        for event, payload in events:
            await runtime.fire(made[0].id, event, payload)
            async with runtime.transaction() as tx:
                await tx.fire(made[1].id, event, payload)
            results = await runtime.fire_many([Firing(one.id, event, payload) for one in made[2:]])
            assert all(result.ok for result in results)
        found = await messages(world, runtime)
        for one in made:
            own = [message for message in found if message.instance_id == one.id]
            assert _short(own) == DECLARED
            assert [message.payload for message in own if message.topic != "signed"] == [
                [1, {"b": 2}], [1, {"b": 2}], None, 1, said, said, {**order, "note": ""}
            ]  # fmt: skip
            assert [message.event for message in own] == ["free", "free", "nod", *["move"] * 4, "order"]
    async with world.runtime(*WORKFLOWS, **HANDLERS, locking="always") as runtime:
        one = await runtime.create("teller")
        await runtime.fire(one.id, "say")
        for event, payload in events:
            await runtime.fire(one.id, event, payload)
        assert _short((await messages(world, runtime))[-8:]) == DECLARED


@check("outbox", "due")
async def each_hop_has_its_own_messages(world: World) -> None:
    """With its own seq; declared ones carry the payload of the event that began the chain, of a creation none."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        one = await runtime.create("teller")
        result = await runtime.fire(one.id, "start", {"n": 1})
        assert [entry.seq for entry in result.entries] == [2, 3, 4, 5]
        born = await runtime.create("born")
        many = await runtime.create_many([NewInstance("born"), NewInstance("born")])
        found = await messages(world, runtime)
        assert _short(found[:7]) == [
            (2, 0, "signed"),
            (2, 1, "started"),
            (3, 0, "signed"),
            (4, 0, "hopped"),
            (5, 0, "signed"),
            (5, 1, "ended"),
            (2, 0, "signed"),
        ]
        assert [message.payload for message in found if message.topic in ("started", "hopped", "ended")] == [
            {"n": 1}
        ] * 3
        assert [(m.event, m.from_state, m.to_state) for m in found[1:5]] == [
            ("start", "open", "chain"),
            ("$auto", "chain", "chain"),
            ("$auto", "chain", "second"),
            ("$auto", "second", "over"),
        ]
        for one in (born, *many):
            own = [message for message in found if message.instance_id == one.id]
            assert _short(own) == [(2, 0, "signed"), (2, 1, "born"), (3, 0, "ready")]
            assert [message.payload for message in own] == [
                {"by": "sign", "event": "$auto", "n": 0}, None, None
            ]  # fmt: skip


@check("outbox", "due")
async def timers_emit_too(world: World) -> None:
    """By themselves, without a payload, one or many in a sweep; fired by name, with the one given."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        made = await runtime.create_many([NewInstance("teller") for _ in range(3)])
        await runtime.fire(made[0].id, "late", {"by": "hand"})
        world.clock.advance(HOUR)
        assert (await runtime.fire_due_timers()).fired == 3
        for one in made[:2]:
            await runtime.cancel(one.id)
        await runtime.fire(made[2].id, "later", {"by": "hand"})
        found = await messages(world, runtime)
        assert [(m.instance_id, m.topic, m.payload) for m in found[:1]] == [
            (made[0].id, "was late", {"by": "hand"})
        ]
        assert sorted((m.instance_id, m.seq, m.topic, m.payload) for m in found[1:4]) == sorted(
            (one.id, 3 if one is made[0] else 2, "was late", None) for one in made
        )
        assert _short(found)[4:] == [(3, 0, "signed"), (3, 1, "was later")]
        assert found[5].payload == {"by": "hand"}


@check("outbox", "due")
async def what_did_not_happen_tells_nobody(world: World) -> None:
    """Rejected, refused, failed without a route, raised, not to be stored, rolled back as a whole or in part."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        one = await runtime.create("teller")
        assert (await runtime.fire(one.id, "ask")).status == "rejected"
        for error, event in (
            (EventRefused, "sing"),
            (CommandFailed, "fail"),
            (ZeroDivisionError, "crash"),
            (InvalidArgument, "spoil"),
        ):
            with pytest.raises(error):
                await runtime.fire(one.id, event)
            assert not (await runtime.fire_many([Firing(one.id, event)]))[0].ok
        with pytest.raises(ArithmeticError):
            async with runtime.transaction() as tx:
                await tx.fire(one.id, "move")
                await tx.fire(one.id, "free")
                await tx.create("born")
                raise ArithmeticError
        async with runtime.transaction() as tx:
            with pytest.raises(ArithmeticError):
                async with tx.transaction() as inner:
                    await inner.fire(one.id, "move")
                    raise ArithmeticError
            with pytest.raises(ZeroDivisionError):
                await tx.fire(one.id, "crash")
            await tx.fire(one.id, "say", {"say": [["said", None]]})
        assert _short(await messages(world, runtime)) == [(3, 0, "said")]
        # What operators do is no transition.
        await runtime.force(one.id, state="open", reason="x")
        await runtime.cancel(one.id)
        assert len(await messages(world, runtime)) == 1


@check("outbox", "due")
async def a_routed_failure_keeps_what_commands_told(world: World) -> None:
    """As it keeps what they wrote; what the transition declares is told of its success only."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        one = await runtime.create("teller")
        assert (await runtime.fire(one.id, "route")).to_state == "declined"
        found = await messages(world, runtime)
        assert _short(found) == [(2, 0, "signed"), (2, 1, "declining")]
        assert {message.to_state for message in found} == {"declined"}


@check("outbox", "due")
async def a_best_effort_command_takes_its_messages_along(world: World) -> None:
    """When it raises, its own are gone and the others' stay; when it fails, it told what it told."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        one = await runtime.create("teller")
        result = await runtime.fire(one.id, "try")
        assert [command.status for command in result.commands] == ["success", "error", "failure", "success"]
        assert [message.topic for message in await messages(world, runtime)] == [
            "signed", "declining", "signed", "tried"
        ]  # fmt: skip


@check("outbox", "due")
async def commands_tell_of_their_own_instance(world: World) -> None:
    """What they do to others through `ctx.runtime` is told of those; what is caught and undone is told of nobody."""

    async def lead(ctx: Any, runtime: Any) -> None:
        ctx.emit("before")
        other = UUID(ctx.payload)
        await runtime.fire(other, "move")
        ctx.emit("between")
        with pytest.raises(ZeroDivisionError):
            await runtime.fire(other, "crash")
        await runtime.fire(other, "free")
        ctx.emit("after")

    leader = Workflow(
        name="leader", initial="a", states=[State("a", [Transition("lead", commands=["lead"])])]
    )
    commands = {"lead": world.driver.command(lead), "burst": burst, "decline": decline}
    async with world.runtime(*WORKFLOWS, leader, commands=commands) as runtime:
        one, other = await runtime.create("leader"), await runtime.create("teller")
        await runtime.fire(one.id, "lead", str(other.id))
        found = await messages(world, runtime)
        assert _short([m for m in found if m.instance_id == one.id]) == [
            (2, 0, "before"),
            (2, 1, "between"),
            (2, 2, "after"),
        ]
        assert [(m.seq, m.topic) for m in found if m.instance_id == other.id] == [
            (2, "signed"), (2, "moved"), (2, "moved again"), (3, "freed"), (3, "freed again")
        ]  # fmt: skip


BAD_TOPICS: list[Any] = [
    "",
    " ",
    "$own",
    "a\x00b",
    "\ud800",
    5,
    None,
    b"topic",
    ["topic"],
    "t" * 201,
    " padded",
]
BAD_PAYLOADS: list[Any] = [{1}, object(), float("nan"), "\x00", "\ud800", {1: 2}, datetime(2024, 1, 1)]  # noqa: DTZ001


@check("outbox", "due")
async def what_cannot_be_told_is_refused(world: World) -> None:
    """A topic that is no name, a payload that is no JSON: named, inside the command, and all is rolled back."""
    plan: list[tuple[Any, Any]] = []

    def tell(ctx: Any) -> None:
        ctx.emit("earlier")
        ctx.emit(*plan[0])

    lax = Workflow(name="lax", initial="a", states=[State("a", [Transition("tell", commands=[tell])])])
    async with world.runtime(*WORKFLOWS, lax, **HANDLERS) as runtime:
        one = await runtime.create("lax")
        bad = [("topic", (topic, None)) for topic in BAD_TOPICS]
        bad += [("payload", ("topic", payload)) for payload in BAD_PAYLOADS]
        for argument, call in bad:
            plan[:] = [call]
            with pytest.raises(InvalidArgument) as caught:
                await runtime.fire(one.id, "tell")
            assert caught.value.argument.startswith(argument), call
            assert any("tell" in text for text in caught.value.__notes__)
        assert await runtime.get(one.id) == one
        plan[:] = [("t" * 200, "é" * 1_000)]
        await runtime.fire(one.id, "tell")
        for topic in (Topic.SAID, OldTopic.SAID):
            plan[:] = [(topic, None)]
            await runtime.fire(one.id, "tell")
        found = await messages(world, runtime)
        assert [m.topic for m in found] == ["earlier", "t" * 200, *["earlier", "said"] * 2]
        assert found[1].payload == "é" * 1_000


@check("outbox", "due")
async def a_message_is_a_copy(world: World) -> None:
    """What is changed after `emit` is not in it; values come back as a codec brings them."""

    def tell(ctx: Any) -> None:
        payload = ctx.context.setdefault("list", [(1, 2)])
        ctx.emit("one", payload)
        payload.append("later")
        ctx.emit(
            "two", {"context": ctx.context, "given": ctx.payload, "now": ctx.now, "sum": Decimal("1.50")}
        )
        ctx.payload["p"].append("later")
        ctx.context["more"] = 1

    box = Workflow(
        name="box", initial="a", states=[State("a", [Transition("tell", commands=[tell], emits=["three"])])]
    )
    async with world.runtime(*WORKFLOWS, box, **HANDLERS) as runtime:
        one = await runtime.create("box")
        given = {"p": [1]}
        result = await runtime.fire(one.id, "tell", given)
        result.entries[0].payload["p"].append("even later")
        first, second, third = await messages(world, runtime)
        assert first.payload == [[1, 2]]
        assert second.payload == {
            "context": {"list": [[1, 2], "later"]},
            "given": {"p": [1]},
            "now": START,
            "sum": Decimal("1.50"),
        }
        assert third.payload == {"p": [1]}


@check("outbox", "receipts", "due")
async def a_request_that_is_sent_again_tells_nobody_again(world: World) -> None:
    """One key, one effect, and that goes for messages, too."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        one = await runtime.create("teller")
        for _ in range(2):
            await runtime.create("born", key="k")
            await runtime.fire(one.id, "free", key="k1")
            await runtime.fire_many([Firing(one.id, "move", key="k2"), Firing(one.id, "free", key="k3")])
        found = await messages(world, runtime)
        once = ["signed", "born", "ready", "freed", "freed again"]
        assert sorted(m.topic for m in found) == sorted([*once, "signed", "moved", "moved again", *once[3:]])


@check()
async def a_store_without_an_outbox_says_so(world: World) -> None:
    """When something is to be told; the move is not written, and what tells nothing works as ever."""
    full = world.persistence()
    less = Persistence(
        instances=full.instances,
        history=full.history,
        transactions=full.transactions,
        lifecycle=full.lifecycle,
        definitions=full.definitions,
        namespace=full.namespace,
        kind=full.kind,
    )
    quiet = Workflow(
        name="quiet",
        initial="a",
        states=[
            State("a", [Transition("tell", commands=[sign]), Transition("go", target="a", emits=["gone"]),
                        Transition("rest", target="a")])
        ],
    )  # fmt: skip
    async with world.driver.runtime(workflows=[quiet], persistence=less) as runtime:
        one = await runtime.create("quiet")
        for event in ("tell", "go"):
            with pytest.raises(NotSupported, match="outbox"):
                await runtime.fire(one.id, event)
        assert await runtime.get(one.id) == one
        assert (await runtime.fire(one.id, "rest")).ok
