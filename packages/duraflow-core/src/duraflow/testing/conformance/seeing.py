"""`state_at`, `diff`, `why`, `replay`: does the past come back exactly, and is the reason told that is so?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.definition.values import CommandRef, State, Transition, Wildcard, all_of, not_
from duraflow.definition.workflow import Workflow
from duraflow.errors import InstanceNotFound, InvalidArgument
from duraflow.instance import ArmedTimer, Blocker, Instance
from duraflow.reasons import WaitingTimer
from duraflow.results import Failure, NewInstance
from duraflow.runtime.options import TimerRetryPolicy
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import entry, moved
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
        bad: Any
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


# --- why ------------------------------------------------------------------------------------------------------------


def burst() -> None:
    """Cannot do it."""
    raise RuntimeError("the printer burns")


def heavy(payload: Any, context: Mapping[str, Any]) -> bool | Blocker:
    """Raises without a payload."""
    return payload["kg"] > context.get("limit", 5) or Blocker("light", "too light")


def fail(ctx: Any) -> None:
    """A command that raises."""
    burst()


SLOW = Workflow(
    name="slow",
    initial="new",
    states=[
        State(
            "new",
            [
                Transition("pay", target="end", guard=enough),
                Transition("weigh", target="end", guard=heavy),
                Transition("call", commands=[CommandRef("fail", external=True)]),
                Transition("print", target="end", commands=[fail], after=HOUR),
                Transition("remind", target="new", guard=never, after=2 * HOUR),
                Transition(target="end", guard=enough),
                Transition(target="chain", guard="rich"),
            ],
            context={"owed": 5},
        ),
        State("chain", [Transition(target="end", commands=[CommandRef("fail", external=True)])]),
        State("lonely", [Transition(target="end", guard=never)], allow=["unreachable_state"]),
        State("end", final=True),
    ],
    from_any=[Wildcard([Transition("drop", target="end")], exclude=["lonely"])],
)
RICH = {"rich": lambda context: context.get("rich", False)}
RETRY = TimerRetryPolicy(first=MINUTE, factor=2.0, cap=HOUR, park_after=2)


@check("due")
async def why_tells_what_it_waits_for(world: World) -> None:
    """Each event with its answer, who says no with which values, automatic ones, timers, since and until when."""
    async with world.runtime(SLOW, commands=[fail], guards=RICH) as runtime:
        created = await runtime.create("slow", ref="S1")
        world.clock.advance(MINUTE)
        found = await runtime.why(("slow", "S1"))
        little = Blocker(
            "too_little", "it is too little", {"owed": 5}, "enough", "states[new].transitions[0]"
        )
        assert (found.reason, found.instance, found.now, found.since, found.until) == (
            "waiting", created, START + MINUTE, START, START + HOUR,
        )  # fmt: skip
        assert found.events == await runtime.explain(created.id)
        assert [(one.event, one.verdict) for one in found.events] == [
            ("pay", "rejected"), ("weigh", "unknown"), ("call", "external"), ("print", "fires"),
            ("remind", "rejected"), ("drop", "fires"),
        ]  # fmt: skip
        assert found.events[0].blockers == (little,)
        assert [one.event for one in found.blocked] == ["pay", "remind"]
        assert [(one.verdict, one.blockers[0].guard) for one in found.automatic] == [
            ("rejected", "enough"), ("rejected", "rich"),
        ]  # fmt: skip
        assert found.timers == (
            WaitingTimer("print", START + HOUR, START + HOUR),
            WaitingTimer("remind", START + 2 * HOUR, START + 2 * HOUR),
        )
        assert (found.last, found.problem) == ((await runtime.history(created.id))[0], "")
        text = str(found)
        for part in (
            f"instance {created.id} of 'slow' (ref 'S1') has been in 'new' for 1 min",
            "it waits for an event (pay, weigh, call, drop) or a timer, next at 2024-01-01 01:00:00+00:00, in 59 min",
            "pay: rejected: it is too little (guard 'enough') [owed=5]",
            "cannot be told without its payload", "would be a worker's job", "would be accepted, and lead to 'end'",
            "print: due 2024-01-01 01:00:00+00:00", "last: 1  2024-01-01 00:00:00+00:00  $created: new",
        ):  # fmt: skip
            assert part in text, text
        assert await runtime.handle(created.id).why() == found
        assert await runtime.get(created.id) == created
        with pytest.raises(InstanceNotFound):
            await runtime.why(uuid4())


@check("due")
async def why_tells_what_came_of_timers(world: World) -> None:
    """Due and not fired, tried again when, given up with its error."""
    async with world.runtime(SLOW, commands=[fail], guards=RICH, timer_retry=RETRY) as runtime:
        created = await runtime.create("slow")
        world.clock.advance(HOUR)
        found = await runtime.why(created.id)
        assert (found.reason, found.until) == ("due", START + HOUR)
        assert "is a sweep running?" in str(found)
        assert (await runtime.fire_due_timers()).failed == 1
        found = await runtime.why(created.id)
        assert (found.reason, found.until) == ("waiting", START + HOUR + MINUTE)
        error = "RuntimeError: the printer burns"
        assert found.timers[0] == WaitingTimer("print", START + HOUR, START + HOUR + MINUTE, 0, 1, error)
        assert f"failed 1 times ({error}), tried again at 2024-01-01 01:01:00+00:00" in str(found)
        world.clock.advance(MINUTE)
        assert (await runtime.fire_due_timers()).parked == 1
        found = await runtime.why(created.id)
        now = START + HOUR + MINUTE
        assert (found.reason, found.until) == ("parked", START + 2 * HOUR)
        assert found.timers[0] == WaitingTimer("print", START + HOUR, None, 0, 2, error, now)
        assert f"parked since 2024-01-01 01:01:00+00:00 after 2 failures: {error}" in str(found)
        world.clock.advance(2 * HOUR)
        assert (await runtime.fire_due_timers()).rejected == 1
        found = await runtime.why(created.id)
        at = world.clock.now() + MINUTE
        assert found.timers[1] == WaitingTimer("remind", START + 2 * HOUR, at, 1)
        assert found.until == at
        assert "refused by its guards 1 times" in str(found)
        assert found.last.event == "remind"


@check("due")
async def why_tells_what_else_stands_in_its_way(world: World) -> None:
    """Finished; left to a worker; held by one; in a state, or of a version, that is not there; nothing to wake it."""
    async with world.runtime(SLOW, commands=[fail], guards=RICH, invariants=False) as runtime:

        async def edited(**changes: Any) -> Instance:
            created = await runtime.create("slow")
            after = moved(created, **changes)
            async with world.opened() as ports, ports.begin() as unit:
                assert await ports.instances.save(unit, after, expected=created)
                await ports.history.append(unit, [entry(after)])
            return after

        finished = await runtime.create("slow")
        await runtime.fire(finished.id, "drop")
        found = await runtime.why(finished.id)
        assert (found.reason, found.events, found.automatic, found.timers) == ("finished", (), (), ())
        assert "it is finished (done) since 2024-01-01 00:00:00+00:00" in str(found)

        continuing = await runtime.create("slow", {"rich": True})
        found = await runtime.why(continuing.id)
        assert (found.reason, found.instance) == ("continuing", continuing)
        assert "its automatic chain waits at states[chain].transitions[0] for a worker" in str(found)

        leased = await edited(lease_token=UUID(int=7))
        found = await runtime.why(leased.id)
        assert (found.reason, found.instance.lease_token) == ("leased", UUID(int=7))
        assert f"a worker holds it under lease {UUID(int=7)}" in str(found)

        gone = await edited(state="nowhere", waiting_events=True)
        found = await runtime.why(gone.id)
        assert (found.reason, found.events) == ("no_state", ())
        assert "nowhere" in found.problem
        assert "move it with `force`" in str(found)
        assert "queued events wait" in str(found)

        lonely = await edited(state="lonely", timers=())
        found = await runtime.why(lonely.id)
        assert (found.reason, found.until, found.events) == ("stuck", None, ())
        assert found.automatic[0].verdict == "rejected"
        assert "`force` or `cancel` it" in str(found)

    other = attrs.evolve(SLOW, version=2)
    async with world.runtime(other, commands=[fail], guards=RICH, invariants=False) as runtime:
        created = await runtime.create("slow")
    stranger = attrs.evolve(SLOW, name="stranger")
    async with world.runtime(stranger, commands=[fail], guards=RICH, invariants=False) as runtime:
        found = await runtime.why(created.id)
        assert (found.reason, found.events) == ("no_definition", ())
        assert "no definition of workflow 'slow' version 2" in str(found)


# --- replay ---------------------------------------------------------------------------------------------------------


@check("due")
async def a_history_goes_the_same_way_again(world: World) -> None:
    """Against the same definition nothing differs and nothing is unknown, and nothing is touched."""
    async with world.runtime(FINE) as runtime:
        seen, last = await live(world, runtime)
        await runtime.create("fine", {"owed": 1})
        history = await runtime.history(last.id)
        report = await runtime.replay(FINE)
        assert (report.total, report.same, report.groups, report.cursor) == (2, 2, (), None)
        assert report.ok
        assert await runtime.replay(Workflow.from_json(FINE.to_json())) == report
        assert await runtime.history(last.id) == history
        assert await runtime.get(last.id) == last == seen[-1]


@check("due")
async def a_history_that_would_have_gone_otherwise_is_told(world: World) -> None:
    """The first entry that differs, with what was and what would have been; what the record lacks is unknown."""

    def strict(payload: Any) -> bool | Blocker:
        return (payload or {}).get("amount", 0) >= 20 or Blocker("tiny", "it is tiny", {"least": 20})

    async with world.runtime(FINE) as runtime:
        _, last = await live(world, runtime)
        history = await runtime.history(last.id)
        tiny = next(entry for entry in history if (entry.payload or {}).get("amount") == 5)
        changed = attrs.evolve(
            FINE,
            version=2,
            states=[
                attrs.evolve(
                    state,
                    transitions=[
                        attrs.evolve(transition, guard=all_of(strict, not_(enough)))
                        if transition.commands
                        else transition
                        for transition in state.transitions
                    ],
                )
                for state in FINE.states
            ],
        )
        report = await runtime.replay(changed, instances=[("fine", "F1")])
        (found,) = report.differences
        assert (found.instance_id, found.seq, found.event, found.at) == (last.id, tiny.seq, "pay", tiny.at)
        assert (found.expected.status, found.found.status, found.found.state) == (
            "success",
            "rejected",
            "sent",
        )
        assert [blocker.code for blocker in found.found.blockers] == ["too_little", "tiny"]
        assert (report.same, report.different, report.unknown) == (0, 1, 0)
        later = attrs.evolve(
            FINE,
            version=2,
            states=[
                attrs.evolve(
                    state,
                    transitions=[
                        attrs.evolve(transition, after=2 * DAY) if transition.after == DAY else transition
                        for transition in state.transitions
                    ],
                )
                for state in FINE.states
            ],
        )
        report = await runtime.replay(later)
        assert [(found.code, found.about) for found in report.unknowns] == [("timer", "remind")]


@check("due")
async def many_histories_are_run_page_by_page(world: World) -> None:
    """As many as asked for, of those that a filter finds; the cursor goes on, and progress is told."""
    async with world.runtime(FINE) as runtime:
        await runtime.create_many(
            [NewInstance("fine", {"owed": n}, {"even": n % 2 == 0}) for n in range(205)]
        )
        done: list[int] = []
        first = await runtime.replay(FINE, limit=150, oldest_first=True, on_progress=done.append)
        assert (first.total, first.same, done) == (150, 150, [100, 150])
        rest = await runtime.replay(FINE, limit=None, oldest_first=True, cursor=first.cursor)
        assert (rest.total, rest.cursor) == (55, None)
        assert (await runtime.replay(FINE, metadata={"even": True})).total == 103
        assert (await runtime.replay(FINE, state="paid")).total == 0


@check("due", "definitions")
async def what_a_version_declared_is_known_from_the_store(world: World) -> None:
    """Its code may be gone: the snapshot says what a state declared, and so what a creator gave."""

    def door(version: int, limit: int) -> Workflow:
        return Workflow(
            name="door",
            version=version,
            initial="shut",
            states=[
                State("shut", [Transition("open", target="open", guard="light")], context={"limit": limit}),
                State("open", final=True),
            ],
        )

    guards = {"light": lambda context: context["limit"] > 1}
    async with world.runtime(door(1, 2), guards=guards) as runtime:
        plain = await runtime.create("door")
        own = await runtime.create("door", {"limit": 5})
        await runtime.fire(own.id, "open")
    async with world.runtime(door(2, 3), guards=guards, invariants=False) as runtime:
        report = await runtime.replay(door(2, 3))
        assert (report.total, report.same, report.different, report.unknown) == (2, 1, 0, 1)
        (found,) = report.unknowns
        assert (found.instance_id, found.seq, found.code, found.about) == (plain.id, 1, "context", "limit")
