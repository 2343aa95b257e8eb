"""Are the quirks of the closest state-machine runtime (LESSONS 4) kept out? One test for each that can be shown here.

Elsewhere: 6 in `test_guards` (missing names are told when the runtime is made), 17 and 18 in the tests of
definitions, 19 in those of diagrams, 23 in the contract (`races.two_sweeps_fire_each_timer_once`), 27 in
`timers.rearm_needs_a_timer`.
8, 10, 21, 22 and 24 are about parts that come later (queued work, upgrades, the web).
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from duraflow import (
    AlreadyExists,
    Blocker,
    Busy,
    CommandFailed,
    CommandRef,
    CommandResult,
    ConcurrencyConflict,
    DefinitionNotFound,
    DuraflowError,
    EventRefused,
    Firing,
    InstanceNotFound,
    InvalidArgument,
    State,
    SweepResult,
    TimerRetryPolicy,
    Transition,
    Workflow,
)
from duraflow.testing.conformance import World
from duraflow.testing.conformance.made_up import entry, moved
from duraflow.writes import SetDue

DAY = timedelta(days=1)


def _ready(context: Mapping[str, Any]) -> bool | Blocker:
    return bool(context.get("ready")) or Blocker("not_ready")


def _jot(ctx: Any) -> None:
    ctx.context["notes"] = ctx.context.get("notes", 0) + 1


def _burst(ctx: Any) -> None:
    raise KeyError("burst")


FLOW = Workflow(
    name="flow",
    initial="a",
    states=[
        State(
            "a",
            [
                Transition("note", commands=[_jot]),
                Transition("late", target="b", after=DAY, guard=_ready),
                Transition("go", target="b"),
                Transition(target="b", guard="impatient"),
            ],
            context={"stage": "a"},
        ),
        State(
            "b",
            [
                Transition("back", target="a"),
                Transition("careful", commands=[CommandRef(_burst.__name__, best_effort=True)]),
                Transition("careless", commands=["_burst"]),
            ],
        ),
    ],
)
HANDLERS: dict[str, Any] = {
    "guards": {"impatient": lambda context: bool(context.get("impatient"))},
    "commands": {"_burst": _burst},
}


async def test_quirk_1_a_note_resets_nothing(world: World) -> None:
    """No timer, declared context, automatic transition or observer is touched by an internal move."""
    seen: list[Any] = []
    async with world.runtime(FLOW, **HANDLERS, observers=[seen.append]) as runtime:
        created = await runtime.create("flow")
        await runtime.force(created.id, state="a", reason="x", context={"stage": "own"})
        seen.clear()
        world.clock.advance(timedelta(hours=1))
        before = await runtime.get(created.id)
        after = (await runtime.fire(created.id, "note")).instance
        assert (after.timers, after.entered_at, after.context["stage"], after.state) == (
            before.timers,
            before.entered_at,
            "own",
            "a",
        )
        assert seen == []


async def test_quirk_2_creation_is_history(world: World) -> None:
    """The audit trail begins with the beginning."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        created = await runtime.create("flow")
        assert [e.kind for e in await runtime.history(created.id)] == ["created"]


async def test_quirk_3_a_rejected_timer_has_more_than_one_chance(world: World) -> None:
    """It is tried again, and the entry time stays: nothing has moved."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        created = await runtime.create("flow")
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(rejected=1)
        after = await runtime.get(created.id)
        assert (after.entered_at, after.timers) == (created.entered_at, created.timers)
        await runtime.force(created.id, state="a", reason="x", context={"ready": True})
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)


async def test_quirk_4_a_rejection_is_a_rejection(world: World) -> None:
    """By hand or by a sweep: the same effect on row and history."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        one, two = await runtime.create("flow"), await runtime.create("flow")
        world.clock.advance(DAY)
        await runtime.fire(one.id, "late")
        await runtime.cancel(one.id)
        await runtime.fire_due_timers()
        rejected = [(await runtime.history(each.id))[1] for each in (one, two)]
        for field in (
            "kind",
            "event",
            "seq",
            "from_state",
            "to_state",
            "at",
            "status",
            "entered",
            "blockers",
            "timers",
            "change",
        ):
            assert getattr(rejected[0], field) == getattr(rejected[1], field), field


async def test_quirk_5_an_instance_edited_by_hand_is_counted_parked_and_movable(world: World) -> None:
    """In a state that its definition lacks: the sweep counts and parks it, firing says why, `force` leads out."""
    policy = TimerRetryPolicy(park_after=2)
    async with world.runtime(FLOW, **HANDLERS, timer_retry=policy, invariants=False) as runtime:
        created = await runtime.create("flow")
        edited = moved(created, state="nowhere")
        async with world.opened() as ports, ports.begin() as unit:
            assert await ports.instances.save(unit, edited, expected=created)
            await ports.history.append(unit, [entry(edited, kind="forced", event="$forced", from_state="a")])
        for call in (runtime.fire(created.id, "go"), runtime.explain(created.id), runtime.cancel(created.id)):
            with pytest.raises(InvalidArgument, match="edited by hand"):
                await call
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(failed=1)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(parked=1)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult()
        assert ["edited by hand" in one.error for one in await runtime.parked()] == [True]
        assert (await runtime.force(created.id, state="b", reason="repair")).to_state == "b"
        assert await runtime.parked() == ()


async def test_quirk_7_best_effort_is_of_the_use(world: World) -> None:
    """The same handler is optional here and mandatory there."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        created = await runtime.create("flow")
        await runtime.fire(created.id, "go")
        assert (await runtime.fire(created.id, "careful")).ok
        with pytest.raises(KeyError):
            await runtime.fire(created.id, "careless")


def test_quirks_9_and_11_each_reaction_has_its_class() -> None:
    """Whoever maps errors to answers needs no text: not found, exists, refused, failed, conflict, busy, invalid."""
    reactions = {
        AlreadyExists,
        Busy,
        CommandFailed,
        ConcurrencyConflict,
        DefinitionNotFound,
        EventRefused,
        InstanceNotFound,
        InvalidArgument,
    }
    for one in reactions:
        assert issubclass(one, DuraflowError)
        assert not any(issubclass(one, other) for other in reactions - {one})


async def test_quirk_12_one_rule_for_all_values(world: World) -> None:
    """What a single firing refuses a batch refuses, and both give back what will be read."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        one, two = await runtime.create("flow"), await runtime.create("flow")
        for call in (runtime.fire(one.id, "note", {1}), runtime.fire_many([Firing(two.id, "note", {1})])):
            with pytest.raises(InvalidArgument):
                await call
        alone = await runtime.fire(one.id, "note", (1, 2))
        (batched,) = await runtime.fire_many([Firing(two.id, "note", (1, 2))])
        assert alone.entries[0].payload == batched.or_raise().entries[0].payload == [1, 2]


async def test_quirk_13_a_best_effort_error_has_one_shape(world: World) -> None:
    """In the result and in history."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        created = await runtime.create("flow")
        await runtime.fire(created.id, "go")
        result = await runtime.fire(created.id, "careful")
        expected = (CommandResult("_burst", "error", code="KeyError", message="'burst'"),)
        assert result.commands == expected
        assert (await runtime.history(created.id))[-1].commands == expected


async def test_quirk_14_entries_of_one_instant_are_in_order(world: World) -> None:
    """By their own number, though their times are equal."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        created = await runtime.create("flow")
        for _ in range(5):
            await runtime.fire(created.id, "note")
        entries = await runtime.history(created.id)
        assert [e.seq for e in entries] == [1, 2, 3, 4, 5, 6]
        assert len({e.at for e in entries}) == 1
        assert len({e.attempt_id for e in entries}) == 6


async def test_quirk_20_no_due_time_overflows(world: World) -> None:
    """Delays have an upper bound, in definitions and in what functions compute."""
    with pytest.raises(DuraflowError, match="limit"):
        Workflow(
            name="w",
            initial="a",
            states=[State("a", [Transition("x", target="a", after=timedelta(days=40_000))])],
        )
    far = Workflow(name="far", initial="a", states=[State("a", [Transition("x", target="a", after="delay")])])
    async with world.runtime(far, delays={"delay": lambda: timedelta.max}) as runtime:
        with pytest.raises(InvalidArgument, match="limit"):
            await runtime.create("far")


def test_quirk_25_warnings_go_to_the_logger(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never to the console."""
    with caplog.at_level(logging.WARNING, "duraflow.definition"):
        Workflow(name="w", initial="a", states=[State("a", [Transition("x", target="a")]), State("b")])
    assert [record.name for record in caplog.records] == ["duraflow.definition"] * len(caplog.records)
    assert caplog.records
    assert capsys.readouterr() == ("", "")


async def test_quirk_28_what_is_skipped_is_counted(world: World) -> None:
    """A due row whose instance has nothing due any more is put right, and shows as skipped."""
    async with world.runtime(FLOW, **HANDLERS) as runtime:
        created = await runtime.create("flow")
        async with world.opened() as ports, ports.begin() as unit:
            await ports.due.write(unit, created, SetDue(world.clock.now()))
        assert await runtime.fire_due_timers() == SweepResult(skipped=1)
        assert await runtime.fire_due_timers() == SweepResult()


def test_results_add_up() -> None:
    """The numbers of a sweep can be summed, and none is forgotten."""
    one, two = SweepResult(1, 2, 3, 4, 5, 6), SweepResult(skipped=1)
    assert (one + two, (one + two).total) == (SweepResult(1, 2, 3, 4, 5, 7), 22)
    assert len(inspect.signature(SweepResult).parameters) == 6
