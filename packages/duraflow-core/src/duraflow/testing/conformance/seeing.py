"""`state_at`, `diff`, `why`, `replay`: does the past come back exactly, and is the reason told that is so?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import uuid4

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import InstanceNotFound, InvalidArgument
from duraflow.instance import ArmedTimer, Blocker, Instance
from duraflow.results import Failure
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, MINUTE, World, check


def enough(payload: Any, context: Mapping[str, Any]) -> bool | Blocker:
    """Whether the payment covers what is owed."""
    paid = (payload or {}).get("amount", 0)
    return paid >= context["owed"] or Blocker("too_little", "it is too little", {"owed": context["owed"]})


def never() -> bool:
    """Says no."""
    return False


def book(ctx: Any) -> Failure | None:
    """Write down a part payment; more than 100 is refused."""
    if ctx.payload["amount"] > 100:
        return Failure("too_much", "more than was asked for")
    ctx.context["owed"] -= ctx.payload["amount"]
    ctx.context["parts"] = [*ctx.context.get("parts", []), ctx.payload["amount"]]
    ctx.context.pop("fresh", None)
    return None


FINE = Workflow(
    name="fine",
    initial="new",
    states=[
        State("new", [Transition("send", target="sent")], context={"fresh": True}),
        State(
            "sent",
            [
                Transition("pay", target="paid", guard=enough),
                Transition("pay", commands=[book], error_target="odd"),
                Transition("remind", target="checking", after=DAY),
                Transition("doubt", target="odd", guard=never),
                Transition("give_up", target="lost", after=30 * DAY),
            ],
            context={"stage": "sent"},
        ),
        State(
            "checking",
            [
                Transition(target="odd", guard=never),
                Transition(target="sent"),
            ],
            context={"stage": "checking"},
        ),
        State("odd", [Transition("pay", target="paid"), Transition("wait", target="odd", after=HOUR)]),
        State("paid"),
        State("lost", outcome="failed"),
    ],
)


async def live(world: World, runtime: Any) -> tuple[list[Instance], Instance]:
    """A fine that all kinds of things happen to: how it was after each of them, and how it is."""
    seen = [await runtime.create("fine", {"owed": 200}, metadata={"team": "a"}, ref="F1")]
    fine = seen[0].id

    async def after(step: timedelta, event: str, payload: Any = None) -> None:
        world.clock.advance(step)
        await runtime.try_fire(fine, event, payload)
        seen.append(await runtime.get(fine))

    await after(HOUR, "send")
    await after(HOUR, "pay", {"amount": 20})
    await after(HOUR, "doubt")
    world.clock.advance(DAY)
    await runtime.fire_due_timers()
    seen.append(await runtime.get(fine))
    await after(MINUTE, "pay", {"amount": 5})
    await after(MINUTE, "pay", {"amount": 101})
    world.clock.advance(HOUR)
    await runtime.force(fine, state="sent", context={"note": {"by": "anna"}}, reason="to try")
    seen.append(await runtime.get(fine))
    world.clock.advance(HOUR)
    await runtime.cancel(fine, reason="to try")
    seen.append(await runtime.get(fine))
    world.clock.advance(HOUR)
    await runtime.force(fine, state="odd", reason="to try")
    seen.append(await runtime.get(fine))
    return seen, seen[-1]


@check("due")
async def the_past_comes_back_exactly(world: World) -> None:
    """After every entry that was the last one for a while, and at every time: the very instance that `get` gave."""
    async with world.runtime(FINE) as runtime:
        seen, last = await live(world, runtime)
        assert len({one.version for one in seen}) == len(seen) == 10
        assert {one.outcome for one in seen} == {None, "cancelled"}
        for one, following in zip(seen, [*seen[1:], None], strict=True):
            assert await runtime.state_at(one.id, seq=one.version) == one
            assert await runtime.state_at(("fine", "F1"), time=one.updated_at) == one
            if following is not None:
                just_before = following.updated_at - timedelta(microseconds=1)
                assert await runtime.state_at(one, time=just_before) == one
        assert await runtime.state_at(last.id, time=last.updated_at + DAY) == last
        assert await runtime.handle(last.id).state_at(seq=1) == seen[0]


@check("due")
async def an_entry_inside_a_chain_has_its_state_too(world: World) -> None:
    """No reader saw it, but history did: without timers, which are armed where the chain rests."""
    async with world.runtime(FINE) as runtime:
        _, last = await live(world, runtime)
        entries = await runtime.history(last.id)
        inside = next(entry for entry in entries if entry.to_state == "checking")
        found = await runtime.state_at(last.id, seq=inside.seq)
        assert (found.state, found.context["stage"], found.timers) == ("checking", "checking", ())
        assert found.version == inside.seq
        assert found.entered_at == inside.at


@check("due")
async def a_moment_that_never_was_is_refused(world: World) -> None:
    """Before the creation, after the last entry, or no moment at all: told by name, and nothing is made up."""
    async with world.runtime(FINE) as runtime:
        created = await runtime.create("fine", {"owed": 50})
        bad: list[tuple[dict[str, Any], str]] = [
            ({}, "either"),
            ({"seq": 1, "time": START}, "either"),
            ({"seq": 0}, "seq"),
            ({"seq": -1}, "seq"),
            ({"seq": True}, "seq"),
            ({"seq": 2}, "entries 1 to 1"),
            ({"seq": START}, "pass it as `time`"),
            ({"time": 1}, "passed as `seq`"),
            ({"time": "yesterday"}, "time"),
            ({"time": START.replace(tzinfo=None)}, "time zone"),
            ({"time": START - timedelta(microseconds=1)}, "only created"),
        ]
        for arguments, match in bad:
            with pytest.raises(InvalidArgument, match=match):
                await runtime.state_at(created.id, **arguments)
        for target in (uuid4(), ("fine", "nobody")):
            with pytest.raises(InstanceNotFound):
                await runtime.state_at(target, seq=1)
            with pytest.raises(InstanceNotFound):
                await runtime.diff(target, 1)


@check("due")
async def a_difference_is_told_in_full(world: World) -> None:
    """State, outcome, every key of the context, timers, and the entries between; by seq or by time."""
    async with world.runtime(FINE) as runtime:
        seen, last = await live(world, runtime)
        created, sent, paid_a_part = seen[:3]
        found = await runtime.diff(last.id, 1, 3)
        assert (found.before, found.after) == (created, paid_a_part)
        assert found.context_set == {"stage": "sent", "parts": [20]}
        assert found.context_changed == {"owed": (200, 180)}
        assert found.context_unset == {"fresh": True}
        remind, give_up = (
            ArmedTimer("remind", START + HOUR + DAY),
            ArmedTimer("give_up", START + HOUR + 30 * DAY),
        )
        assert (found.armed, found.disarmed) == ((remind, give_up), ())
        assert found.entries == (await runtime.history(last.id))[1:3]
        assert found
        by_time = await runtime.diff(last.id, START, START + 2 * HOUR)
        assert by_time == found
        assert await runtime.diff(last.id, START + MINUTE, 3) == found
        assert await runtime.handle(last.id).diff(1, START + 2 * HOUR) == found
        text = str(found)
        for part in (
            "state: new -> sent", "context 'owed': 200 -> 180", "context 'fresh': unset (was True)",
            "timer 'remind': armed for 2024-01-02 01:00:00+00:00", "3  2024-01-01 02:00:00+00:00  pay: in sent",
        ):  # fmt: skip
            assert part in text, text
        finished = await runtime.diff(last.id, seen[-3].version, seen[-2].version)
        assert (finished.before.outcome, finished.after.outcome) == (None, "cancelled")
        assert finished.disarmed == seen[-3].timers
        assert "outcome: open -> cancelled" in str(finished)
        nothing = await runtime.diff(last.id, sent.version, sent.version)
        assert not nothing
        assert (nothing.before, nothing.after, nothing.entries) == (sent, sent, ())
        whole = await runtime.diff(last.id, 1)
        assert whole.after == last
        assert whole.entries == (await runtime.history(last.id))[1:]


@check("due")
async def a_difference_backwards_is_refused(world: World) -> None:
    """The earlier moment comes first, however the two are given."""
    async with world.runtime(FINE) as runtime:
        _, last = await live(world, runtime)
        for a, b in (
            (2, 1),
            (START + HOUR, START),
            (3, START + HOUR),
            (START + 2 * HOUR, 1),
            (last.updated_at + 2 * HOUR, last.updated_at + HOUR),
        ):
            with pytest.raises(InvalidArgument, match="earlier"):
                await runtime.diff(last.id, a, b)
        with pytest.raises(InvalidArgument, match="entries 1 to"):
            await runtime.diff(last.id, 1, last.version + 1)
        for bad in (True, 0, "1", START.replace(tzinfo=None)):
            with pytest.raises(InvalidArgument, match="b"):
                await runtime.diff(last.id, 1, bad)


@check("due")
async def a_change_of_kind_is_a_change(world: World) -> None:
    """1, True and 1.0 are three values, as they are where they are stored."""
    kinds = Workflow(
        name="kinds",
        initial="a",
        states=[
            State("a", [Transition("go", target="b")], context={"x": 1, "y": {"n": 1}, "z": 2}),
            State("b", [Transition("go", target="c")], context={"x": True, "y": {"n": 1.0}, "z": 2}),
            State("c"),
        ],
    )
    async with world.runtime(kinds) as runtime:
        created = await runtime.create("kinds")
        await runtime.fire(created.id, "go")
        found = await runtime.diff(created.id, 1, 2)
        assert set(found.context_changed) == {"x", "y"}


@check("due", "concurrency")
async def a_transaction_sees_its_own_past(world: World) -> None:
    """Inside one, what is not yet committed is there already."""
    async with world.runtime(FINE) as runtime:
        created = await runtime.create("fine", {"owed": 50})
        async with runtime.transaction() as tx:
            await tx.fire(created.id, "send")
            assert (await tx.state_at(created.id, seq=2)).state == "sent"
            assert (await tx.diff(created.id, 1)).after.state == "sent"
            assert (await tx.state_at(created.id, seq=1)) == created
        assert attrs.evolve(await runtime.state_at(created.id, seq=2), version=1).state == "sent"
