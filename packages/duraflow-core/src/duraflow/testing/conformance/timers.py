"""Timers: armed where a chain rests, fired when due, tried again when refused, parked when they keep failing?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import EventRefused, InvalidArgument
from duraflow.instance import ArmedTimer, Blocker, HistoryEntry
from duraflow.results import Failure, NewInstance, Parked, SweepResult
from duraflow.runtime.options import TimerRetryPolicy
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import entry, moved
from duraflow.testing.conformance.subject import DAY, HOUR, MINUTE, SECOND, World, check, note
from duraflow.writes import Writes

_INSTANT = timedelta(microseconds=1)


def ready(context: Mapping[str, Any]) -> bool | Blocker:
    """Says no with a reason that depends on the context."""
    return bool(context.get("ready")) or Blocker("not_ready", "wait", {"why": context.get("why", "unknown")})


def say(ctx: Any) -> None:
    """Set context from the payload."""
    ctx.context.update(ctx.payload or {})


def remind(ctx: Any) -> Failure | None:
    """Do what the context says."""
    note(ctx)
    ctx.context["reminded"] = ctx.context.get("reminded", 0) + 1
    match ctx.context.get("mood"):
        case "burst":
            raise RuntimeError(f"bad \x00 mood \ud800 {'x' * 3_000}")
        case "fail":
            return Failure("no_paper", "none left")
    return None


def at_nine(context: Mapping[str, Any], now: datetime) -> datetime:
    """The next nine o'clock."""
    today = now.replace(hour=9, minute=0, second=0, microsecond=0)
    return today if today > now else today + DAY


BILL = Workflow(
    name="bill",
    initial="sent",
    states=[
        State(
            "sent",
            [
                Transition("overdue", target="late", after=10 * DAY, guard=ready),
                Transition("nag", commands=[remind], after=3 * DAY),
                Transition("pay", target="paid"),
                Transition("say", commands=[say]),
                Transition("resend", target="sent"),
            ],
        ),
        State(
            "late",
            [
                Transition("escalate", target="court", after=DAY, commands=[remind], error_target="lost"),
                Transition("pay", target="paid"),
                Transition("say", commands=[say]),
            ],
        ),
        State("court", [Transition("hearing", target="paid", after=at_nine)]),
        State("lost", [Transition("pay", target="paid")]),
        State("paid"),
    ],
)

SLEEPY = Workflow(
    name="sleepy",
    initial="asleep",
    states=[
        State(
            "asleep",
            [
                Transition("wake", target="awake", after=DAY, guard=ready),
                Transition("say", commands=[say]),
                Transition("hush", target="asleep"),
            ],
        ),
        State("awake"),
    ],
)

FRAGILE = Workflow(
    name="fragile",
    initial="whole",
    states=[
        State(
            "whole",
            [
                Transition("crack", target="broken", commands=[remind], after=DAY),
                Transition("say", commands=[say]),
            ],
        ),
        State("broken"),
    ],
)


@check("due")
async def timers_are_armed_where_a_chain_rests(world: World) -> None:
    """All of the state's, from the moment it is entered; leaving it disarms them."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill")
        assert created.timers == (ArmedTimer("overdue", START + 10 * DAY), ArmedTimer("nag", START + 3 * DAY))
        assert created.due_at == START + 3 * DAY
        assert (await runtime.history(created.id))[0].timers == created.timers
        result = await runtime.fire(created.id, "pay")
        assert (result.instance.timers, result.instance.due_at, result.entries[0].timers) == ((), None, ())


@check("due")
async def a_timer_fires_at_its_instant_and_not_before(world: World) -> None:
    """LESSONS 4.16: at or before now, one rule in scan and re-check."""
    async with world.runtime(SLEEPY) as runtime:
        created = await runtime.create("sleepy", {"ready": True})
        world.clock.advance(DAY - _INSTANT)
        assert await runtime.fire_due_timers() == SweepResult()
        world.clock.advance(_INSTANT)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert await runtime.fire_due_timers() == SweepResult()
        after = await runtime.get(created.id)
        assert (after.state, after.outcome, after.timers) == ("awake", "done", ())
        (last,) = await runtime.history(created.id, after=1)
        assert last == HistoryEntry(
            instance_id=created.id,
            seq=2,
            kind="moved",
            event="wake",
            from_state="asleep",
            to_state="awake",
            at=START + DAY,
            definition_version=1,
            attempt_id=last.attempt_id,
            transition_id=last.transition_id,
            trigger={"by": "timer", "due_at": (START + DAY).isoformat()},
            timers=(),
            outcome="done",
        )


@check("due")
async def a_timer_can_be_fired_by_name(world: World) -> None:
    """Before it is due, like any event; then it is done with."""
    async with world.runtime(SLEEPY) as runtime:
        created = await runtime.create("sleepy", {"ready": True})
        result = await runtime.fire(created.id, "wake", trigger={"by": "anna"})
        assert (result.to_state, result.entries[0].trigger) == ("awake", {"by": "anna"})
        world.clock.advance(9 * DAY)
        assert await runtime.fire_due_timers() == SweepResult()


@check("due")
async def entering_again_arms_anew_and_an_internal_move_does_not(world: World) -> None:
    """LESSONS 4.1: a harmless event postpones no timeout."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill")
        world.clock.advance(DAY)
        assert (await runtime.fire(created.id, "say", {"x": 1})).instance.timers == created.timers
        again = (await runtime.fire(created.id, "resend")).instance
        assert again.timers == (ArmedTimer("overdue", START + 11 * DAY), ArmedTimer("nag", START + 4 * DAY))
        assert (await runtime.history(created.id, after=2))[0].timers == again.timers
        world.clock.set(START + 3 * DAY)
        assert (await runtime.fire_due_timers()).total == 0


@check("due")
async def several_timers_of_one_state_fire_in_turn(world: World) -> None:
    """The earliest first; an internal one is spent, the others keep their time."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill", {"ready": True})
        world.clock.advance(3 * DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        after = await runtime.get(created.id)
        assert (after.state, after.context["reminded"]) == ("sent", 1)
        assert after.timers == (ArmedTimer("overdue", START + 10 * DAY),)
        (spent,) = await runtime.history(created.id, after=1)
        assert (spent.event, spent.entered, spent.timers) == ("nag", False, after.timers)
        world.clock.advance(7 * DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(created.id)).state == "late"
        # Both due at once: two sweeps, the one that came due first before the other.
        both = await runtime.create("bill", {"ready": True})
        world.clock.advance(99 * DAY)
        await runtime.fire_due_timers()
        await runtime.fire_due_timers()
        events = [one.event for one in await runtime.history(both.id)]
        assert events[:3] == ["$created", "nag", "overdue"]


@check("due")
async def a_delay_may_be_computed(world: World) -> None:
    """As a time or a duration, once on entry; what lies in the past is due at once; None arms nothing."""
    plan: list[Any] = [START + DAY]

    def planned(context: Mapping[str, Any], metadata: Mapping[str, Any], payload: Any) -> Any:
        return plan[0]

    flow = Workflow(
        name="planned",
        initial="a",
        states=[
            State("a", [Transition("tick", target="b", after=planned), Transition("again", target="a")]),
            State("b"),
        ],
    )
    cases: list[tuple[Any, Any]] = [
        (START + DAY, START + DAY),
        (HOUR, START + HOUR),
        (timedelta(0), START),
        (-HOUR, START),
        ((START + DAY).astimezone(tz=None), START + DAY),
        (timedelta(days=36_525), START + timedelta(days=36_525)),
    ]
    async with world.runtime(flow) as runtime:
        for given, expected in cases:
            plan[:] = [given]
            created = await runtime.create("planned")
            assert created.timers == (ArmedTimer("tick", expected),)
            assert await runtime.get(created.id) == created
        assert (await runtime.fire_due_timers()).fired == 2
        plan[:] = [None]
        created = await runtime.create("planned")
        assert (created.timers, (await runtime.history(created.id))[0].timers) == ((), ())
        bad = [5, "1d", START.replace(tzinfo=None), timedelta(days=36_526), START + timedelta(days=36_526)]
        for given in bad:
            plan[:] = [given]
            with pytest.raises(InvalidArgument, match="planned"):
                await runtime.create("planned")
            with pytest.raises(InvalidArgument, match="planned"):
                await runtime.fire(created.id, "again")
        assert await runtime.get(created.id) == created


@check("due")
async def a_timer_may_lie_in_the_past(world: World) -> None:
    """It is due at once."""

    def long_ago() -> datetime:
        return START - 365 * DAY

    flow = Workflow(
        name="past",
        initial="a",
        states=[State("a", [Transition("tick", target="b", after=long_ago)]), State("b")],
    )
    async with world.runtime(flow) as runtime:
        created = await runtime.create("past")
        assert (created.timers[0].due_at <= START, await runtime.fire_due_timers()) == (
            True,
            SweepResult(fired=1),
        )


@check("due")
async def a_rejected_timer_backs_off(world: World) -> None:
    """DESIGN 8, LESSONS 4.3: exact times over many tries up to the cap; it never parks, and is recorded once."""
    policy = TimerRetryPolicy(first=MINUTE, factor=2.0, cap=5 * MINUTE, park_after=2)
    async with world.runtime(SLEEPY, timer_retry=policy) as runtime:
        created = await runtime.create("sleepy")
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        recorded = await runtime.get(created.id)
        assert recorded == attrs.evolve(created, version=2, updated_at=START + DAY)
        (rejected,) = await runtime.history(created.id, after=1)
        assert (rejected.kind, rejected.event, rejected.timers) == ("rejected", "wake", None)
        assert [blocker.parameters for blocker in rejected.blockers] == [{"why": "unknown"}]
        at = START + DAY
        for minutes in (1, 2, 4, 5, 5, 5):
            at += minutes * MINUTE
            world.clock.set(at - _INSTANT)
            assert await runtime.fire_due_timers() == SweepResult()
            world.clock.set(at)
            assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        # The same answer is not recorded again, and nothing of the instance has changed.
        assert await runtime.get(created.id) == recorded
        assert await runtime.parked() == ()


@check("due")
async def a_rejection_is_recorded_when_its_reasons_change(world: World) -> None:
    """Other blockers, another entry; the same ones again, none."""
    async with world.runtime(SLEEPY) as runtime:
        created = await runtime.create("sleepy")
        told = []
        world.clock.advance(DAY)
        for why in ("unknown", "unknown", "rain", "rain", "snow"):
            if why != "unknown":
                await runtime.fire(created.id, "say", {"why": why})
            assert (await runtime.fire_due_timers()).rejected == 1
            entries = await runtime.history(created.id, limit=100)
            told.append([e.blockers[0].parameters["why"] for e in entries if e.kind == "rejected"])
            world.clock.advance(HOUR)
        assert told == [
            ["unknown"],
            ["unknown"],
            ["unknown", "rain"],
            ["unknown", "rain"],
            ["unknown", "rain", "snow"],
        ]


@check("due")
async def an_internal_move_has_rejected_timers_tried_at_once(world: World) -> None:
    """It may have changed the answer; a timer that is not yet due stays where it is."""
    async with world.runtime(SLEEPY) as runtime:
        waiting = await runtime.create("sleepy")
        created = await runtime.create("sleepy")
        await runtime.fire(waiting.id, "say", {"ready": True})
        assert (await runtime.fire_due_timers()).total == 0
        await runtime.cancel(waiting.id)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        world.clock.advance(SECOND)
        assert await runtime.fire_due_timers() == SweepResult()
        await runtime.fire(created.id, "say", {"ready": True})
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(created.id)).state == "awake"


@check("due")
async def an_internal_move_by_a_timer_does_so_too(world: World) -> None:
    """Whatever makes the move, refused timers of the state are asked again."""
    flow = Workflow(
        name="pair",
        initial="a",
        states=[
            State(
                "a",
                [
                    Transition("wake", target="b", after=DAY, guard=ready),
                    Transition("prepare", commands=["prepare"], after=DAY + SECOND),
                ],
            ),
            State("b"),
        ],
    )

    def prepare(ctx: Any) -> None:
        ctx.context["ready"] = True

    async with world.runtime(flow, commands=[prepare]) as runtime:
        created = await runtime.create("pair")
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        world.clock.advance(SECOND)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(created.id)).state == "b"


@check("due")
async def an_internal_move_does_not_hurry_a_failing_timer(world: World) -> None:
    """Not even one that was refused before it failed."""
    flow = Workflow(
        name="hurry",
        initial="a",
        states=[
            State(
                "a",
                [
                    Transition("tick", target="b", after=DAY, guard=ready, commands=[remind]),
                    Transition("say", commands=[say]),
                ],
            ),
            State("b"),
        ],
    )
    async with world.runtime(flow) as runtime:
        created = await runtime.create("hurry", {"mood": "burst"})
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        await runtime.fire(created.id, "say", {"ready": True})
        assert await runtime.fire_due_timers() == SweepResult(failed=1)
        await runtime.fire(created.id, "say", {"x": 1})
        assert await runtime.fire_due_timers() == SweepResult()
        world.clock.advance(MINUTE)
        assert await runtime.fire_due_timers() == SweepResult(failed=1)


@check("due")
async def entering_again_forgets_earlier_tries(world: World) -> None:
    """The back-off begins anew with the timer."""
    async with world.runtime(SLEEPY) as runtime:
        created = await runtime.create("sleepy")
        world.clock.advance(DAY)
        for _ in range(4):
            await runtime.fire_due_timers()
            world.clock.advance(HOUR)
        await runtime.fire(created.id, "hush")
        start = world.clock.advance(DAY)
        assert (await runtime.fire_due_timers()).rejected == 1
        world.clock.set(start + MINUTE)
        assert (await runtime.fire_due_timers()).rejected == 1


@check("due")
async def a_timer_may_be_disarmed_by_a_no(world: World) -> None:
    """`on_rejected="disarm"`: recorded with the timers that are left, and not tried again."""
    flow = Workflow(
        name="once",
        initial="a",
        states=[
            State(
                "a",
                [
                    Transition("try_once", target="b", after=DAY, guard=ready, on_rejected="disarm"),
                    Transition("keep", target="b", after=9 * DAY),
                    Transition("again", target="a"),
                ],
            ),
            State("b"),
        ],
    )
    async with world.runtime(flow) as runtime:
        created = await runtime.create("once")
        # Fired by hand it is only rejected.
        by_hand = await runtime.fire(created.id, "try_once")
        assert (by_hand.status, by_hand.instance.timers) == ("rejected", created.timers)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        after = await runtime.get(created.id)
        assert after.timers == (ArmedTimer("keep", START + 9 * DAY),)
        (rejected,) = await runtime.history(created.id, after=2)
        assert (rejected.kind, rejected.timers) == ("rejected", after.timers)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult()
        world.clock.advance(7 * DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)


@check("due")
async def a_rejection_by_hand_leaves_timers_and_their_tries(world: World) -> None:
    """LESSONS 4.4: the same entry as any rejection; the timer neither moves nor is tried sooner."""
    async with world.runtime(SLEEPY) as runtime:
        created = await runtime.create("sleepy")
        world.clock.advance(DAY)
        await runtime.fire_due_timers()
        world.clock.advance(SECOND)
        result = await runtime.fire(created.id, "wake")
        assert (result.status, result.instance.timers) == ("rejected", created.timers)
        assert await runtime.fire_due_timers() == SweepResult()
        world.clock.set(START + DAY + MINUTE)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)


@check("due")
async def a_failing_timer_backs_off_and_is_parked(world: World) -> None:
    """Exact times, then parked with its error: cleaned, bounded; nothing of its tries is left; `rearm` begins anew."""
    policy = TimerRetryPolicy(first=MINUTE, factor=3.0, cap=10 * MINUTE, park_after=5)
    async with world.runtime(FRAGILE, timer_retry=policy) as runtime:
        created = await runtime.create("fragile", {"mood": "burst"})
        at = world.clock.advance(DAY)
        for minutes in (1, 3, 9, 10):
            assert await runtime.fire_due_timers() == SweepResult(failed=1)
            at += minutes * MINUTE
            world.clock.set(at - _INSTANT)
            assert await runtime.fire_due_timers() == SweepResult()
            world.clock.set(at)
        assert await runtime.parked() == ()
        assert await runtime.fire_due_timers() == SweepResult(parked=1)
        (parked,) = await runtime.parked()
        assert parked == Parked(created.id, "fragile", "whole", "crack", at, 5, parked.error)
        assert parked.error.startswith("RuntimeError: bad \ufffd mood \ufffd xxx")
        assert len(parked.error) <= 2_000
        assert await runtime.get(created.id) == created
        assert len(world.ledger) == 0
        world.clock.advance(99 * DAY)
        assert await runtime.fire_due_timers() == SweepResult()
        assert (await runtime.rearm(created.id)) == created
        assert await runtime.parked() == ()
        assert await runtime.fire_due_timers() == SweepResult(failed=1)
        await runtime.fire(created.id, "say", {"mood": "good"})
        await runtime.rearm(created.id)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(created.id)).state == "broken"


@check("due")
async def only_failures_in_a_row_park(world: World) -> None:
    """A refusal in between ends the row, and a failure ends a row of refusals: each back-off begins anew."""
    flow = Workflow(
        name="moody",
        initial="a",
        states=[
            State(
                "a",
                [
                    Transition("tick", target="b", after=DAY, guard=ready, commands=[remind]),
                    Transition("say", commands=[say]),
                ],
            ),
            State("b"),
        ],
    )
    policy = TimerRetryPolicy(first=MINUTE, factor=2.0, cap=HOUR, park_after=2)
    async with world.runtime(flow, timer_retry=policy) as runtime:
        created = await runtime.create("moody", {"mood": "burst", "ready": True})
        at = world.clock.advance(DAY)
        # What happens, and how many minutes later it is tried again.
        for ready_now, expected, minutes in (
            (True, SweepResult(failed=1), 1),
            (False, SweepResult(rejected=1), 1),
            (False, SweepResult(rejected=1), 2),
            (True, SweepResult(failed=1), 1),
            (False, SweepResult(rejected=1), 1),
            (True, SweepResult(failed=1), 1),
            (True, SweepResult(parked=1), 0),
        ):
            if (await runtime.get(created.id)).context["ready"] is not ready_now:
                await runtime.fire(created.id, "say", {"ready": ready_now})
            assert await runtime.fire_due_timers() == expected
            world.clock.set(at + minutes * MINUTE - _INSTANT)
            assert await runtime.fire_due_timers() == SweepResult()
            at = world.clock.set(at + minutes * MINUTE)
        assert [one.attempts for one in await runtime.parked()] == [2]


@check("due")
async def a_failure_of_the_business_takes_its_route(world: World) -> None:
    """With an error target it is a move; without one it fails, and is kept as such."""
    async with world.runtime(BILL, FRAGILE) as runtime:
        routed = await runtime.create("bill", {"mood": "fail"})
        await runtime.force(routed.id, state="late", reason="test")
        unrouted = await runtime.create("fragile", {"mood": "fail"})
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(failures=1, failed=1)
        after = await runtime.get(routed.id)
        assert (after.state, after.context["reminded"]) == ("lost", 1)
        assert await runtime.get(unrouted.id) == unrouted


@check("due")
async def one_that_fails_stops_no_other(world: World) -> None:
    """Whatever raises, in a guard, a command or a delay, the rest of the batch fires."""

    def explode(context: Mapping[str, Any]) -> bool:
        if context.get("bad"):
            raise LookupError("guard")
        return True

    def confused(context: Mapping[str, Any]) -> timedelta:
        if context.get("lost"):
            raise LookupError("delay")
        return DAY

    flow = Workflow(
        name="mixed",
        initial="a",
        states=[
            State("a", [Transition("tick", target="b", after=DAY, guard=explode)]),
            State("b", [Transition("tock", target="c", after=confused)]),
            State("c"),
        ],
    )
    async with world.runtime(flow, FRAGILE) as runtime:
        created = await runtime.create_many(
            [
                NewInstance("mixed"),
                NewInstance("mixed", {"bad": True}),
                NewInstance("fragile", {"mood": "burst"}),
                NewInstance("mixed", {"lost": True}),
                NewInstance("fragile"),
                NewInstance("mixed"),
            ]
        )
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=3, failed=3)
        states = [(await runtime.get(one.id)).state for one in created]
        assert states == ["b", "a", "whole", "a", "broken", "b"]


@check("due")
async def a_sweep_is_bounded(world: World) -> None:
    """At most as many as asked for, the earliest first."""
    async with world.runtime(SLEEPY) as runtime:
        created = []
        for _ in range(5):
            created.append(await runtime.create("sleepy", {"ready": True}))
            world.clock.advance(SECOND)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers(limit=2) == SweepResult(fired=2)
        states = [(await runtime.get(one.id)).state for one in created]
        assert states == ["awake", "awake", "asleep", "asleep", "asleep"]
        assert await runtime.fire_due_timers(limit=3) == SweepResult(fired=3)
        for limit in (0, -1, 1.5, True, None):
            with pytest.raises(InvalidArgument, match="limit"):
                await runtime.fire_due_timers(limit=limit)  # type: ignore[arg-type]


@check("due")
async def a_large_sweep_goes_on_batch_by_batch(world: World) -> None:
    """More than one batch, each instance once, also with failures among them."""
    async with world.runtime(SLEEPY, FRAGILE) as runtime:
        new = [
            NewInstance("fragile", {"mood": "burst"})
            if n % 50 == 0
            else NewInstance("sleepy", {"ready": True})
            for n in range(230)
        ]
        await runtime.create_many(new)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers(limit=1_000) == SweepResult(fired=225, failed=5)


@check("due")
async def a_timer_chain_is_followed(world: World) -> None:
    """Automatic transitions after a timer run in the same step, with commands."""
    flow = Workflow(
        name="relay",
        initial="a",
        states=[
            State("a", [Transition("tick", target="b", after=DAY)]),
            State("b", [Transition(target="c", commands=[remind])]),
            State("c", [Transition("tock", target="a", after=HOUR)]),
        ],
    )
    async with world.runtime(flow) as runtime:
        created = await runtime.create("relay")
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        after = await runtime.get(created.id)
        assert (after.state, after.version) == ("c", 3)
        assert after.timers == (ArmedTimer("tock", START + DAY + HOUR),)


@check("due")
async def rearm_needs_a_timer(world: World) -> None:
    """LESSONS 4.27: existence first; an instance without timers is a wrong argument."""
    async with world.runtime(SLEEPY) as runtime:
        created = await runtime.create("sleepy", {"ready": True})
        await runtime.fire(created.id, "wake")
        with pytest.raises(InvalidArgument, match="no armed timer"):
            await runtime.rearm(created.id)
        with pytest.raises(EventRefused):
            await runtime.cancel(created.id)


@check("due")
async def a_sweep_leaves_alone_what_a_worker_holds(world: World) -> None:
    """A lease makes it busy for everyone else, due or not."""
    async with world.runtime(SLEEPY, FRAGILE, invariants=False) as runtime:
        for workflow in ("sleepy", "fragile"):
            created = await runtime.create(workflow, {"ready": True})
            leased = moved(created, lease_token=created.id)
            async with world.opened() as ports:
                writes = Writes(
                    created,
                    leased,
                    (
                        entry(
                            leased,
                            kind="forced",
                            event="$forced",
                            to_state=created.state,
                            from_state=created.state,
                        ),
                    ),
                )
                async with ports.begin() as unit:
                    assert await ports.instances.save(unit, leased, expected=created)
                    await ports.history.append(unit, writes.entries)
            world.clock.advance(DAY)
            assert (await runtime.fire_due_timers()).fired == 0
            assert await runtime.get(created.id) == leased
