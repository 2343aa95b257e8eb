"""Upgrades: do living instances move to another version, each once, recorded, and nobody in the way of another?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import attrs
import pytest

from duraflow.definition.values import CommandRef, DelayRef, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionNotFound, InvalidArgument
from duraflow.fold import Folded, fold
from duraflow.instance import ArmedTimer, Change, HistoryEntry, Instance
from duraflow.queries import InstanceQuery
from duraflow.results import Failure, SweepResult
from duraflow.runtime.aio import AsyncRuntime
from duraflow.runtime.options import TimerRetryPolicy
from duraflow.testing.clocks import START, ManualClock
from duraflow.testing.conformance.made_up import create, new
from duraflow.testing.conformance.subject import DAY, HOUR, WORKFLOW, World, check, note
from duraflow.upgrades import UpgradePlan, UpgradeReport, UpgradeRow

ORDER = Workflow(
    name="order",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("pack", target="packed"),
                Transition("expire", target="dropped", after=DAY),
                Transition("nag", target="open", after=HOUR),
            ],
            context={"opened": True},
        ),
        State("packed", [Transition("ship", target="shipped")]),
        State("shipped"),
        State("dropped", outcome="failed"),
    ],
)
SECOND = Workflow(
    name="order",
    version=2,
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("wrap", target="wrapped"),
                Transition("expire", target="dropped", after=2 * DAY),
                Transition("praise", target="open", after=3 * DAY),
            ],
            context={"opened": "again"},
        ),
        State("wrapped", [Transition("ship", target="shipped")]),
        State("shipped"),
        State("dropped", outcome="failed"),
    ],
)
TO_WRAPPED = {"packed": "wrapped"}


def tagged(context: dict[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A transform that can be taken back."""
    del context["opened"]
    return {**context, "tag": metadata.get("tag", "none")}


async def _history(runtime: AsyncRuntime, instance_id: UUID) -> list[HistoryEntry]:
    return [*await runtime.history(instance_id, limit=1_000)]


@check()
async def lists_and_counts_by_version_and_by_who_holds_it(world: World) -> None:
    """The filters that a plan and its batches are made of."""
    async with world.opened() as ports:
        if ports.persistence.definitions is not None:
            await ports.persistence.definitions.register([attrs.evolve(WORKFLOW, version=2)])
        plain = new(world)
        second = new(world, definition_version=2)
        leased = new(world, lease_token=UUID(int=5))
        waiting = new(world, waiting_events=True)
        await create(ports, plain, second, leased, waiting)
        cases: list[tuple[dict[str, Any], set[UUID]]] = [
            ({"definition_version": 1}, {plain.id, leased.id, waiting.id}),
            ({"definition_version": 2}, {second.id}),
            ({"definition_version": 3}, set()),
            ({"leased": True}, {leased.id}),
            ({"leased": False, "definition_version": 1}, {plain.id, waiting.id}),
            ({"waiting": True}, {waiting.id}),
            ({"waiting": False, "leased": False}, {plain.id, second.id}),
            ({"continuing": True}, set()),
            ({"continuing": False}, {plain.id, second.id, leased.id, waiting.id}),
        ]
        for more, expected in cases:
            query = InstanceQuery(**more)
            found = await ports.instances.list(None, query, limit=10, after=None)
            assert {instance.id for instance in found} == expected, more
            assert sum(row.count for row in await ports.instances.count(None, query)) == len(expected), more


# --- the plan -----------------------------------------------------------------------------------------------


@check("definitions", "due")
async def a_plan_says_where_everyone_goes(world: World) -> None:
    """Per state: how many, where to, what becomes of the timers; and what is not covered."""
    async with world.runtime(ORDER) as runtime:
        for number in range(4):
            created = await runtime.create("order")
            if number:
                await runtime.fire(created.id, "pack")
        done = await runtime.create("order")
        await runtime.cancel(done.id)
    async with world.runtime(SECOND) as runtime:
        await runtime.create("order")
        plan = await runtime.plan_upgrade("order", 1, 2)
        open_timers = {"expire": "elapsed", "praise": "new", "nag": "dropped"}
        assert plan.rows == (
            UpgradeRow("open", 1, "open", open_timers),  # type: ignore[arg-type]  # words
            UpgradeRow("packed", 3, None),
        )
        assert (plan.total, plan.uncovered, plan.count) == (False, ("packed",), 4)
        assert (plan.leased, plan.continuing, plan.waiting, plan.failures) == (0, 0, 0, ())
        assert plan.sampled == 1
        for timers, expire in (("keep_due", "due"), ("restart", "restarted")):
            other = await runtime.plan_upgrade(SECOND, 1, 2, states=TO_WRAPPED, timers=timers)  # type: ignore[arg-type]
            assert other.total
            assert other.rows[0].timers["expire"] == expire
            assert other.rows[1] == UpgradeRow("packed", 3, "wrapped")
            assert other.sampled == 4
        ended = await runtime.plan_upgrade("order", 1, 2, states={"packed": "shipped", "open": "dropped"})
        assert [(row.target, row.final) for row in ended.rows] == [("dropped", True), ("shipped", True)]
        assert (await runtime.plan_upgrade("order", 1, 2, sample=0)).sampled == 0
        # Nothing was written.
        assert [v.open for v in await runtime.versions("order")] == [4, 1]


@check("definitions", "due")
async def a_sample_tells_which_contexts_would_fail(world: World) -> None:
    """With the instance and the reason, of each state something."""

    def picky(context: dict[str, Any], metadata: Mapping[str, Any]) -> Any:
        if context["n"] == 1:
            raise LookupError("no colour")
        return [context] if context["n"] == 2 else {**context, "bad": {1}} if context["n"] == 3 else context

    async with world.runtime(ORDER) as runtime:
        made = [await runtime.create("order", {"n": n}, ref=f"R{n}") for n in range(5)]
        await runtime.fire(made[1].id, "pack")
    async with world.runtime(SECOND) as runtime:
        plan = await runtime.plan_upgrade("order", 1, 2, states=TO_WRAPPED, transform=picky)
        told = {failure.ref: (failure.state, failure.reason) for failure in plan.failures}
        assert set(told) == {"R1", "R2", "R3"}
        assert told["R1"] == ("packed", "LookupError: no colour")
        assert "InvalidArgument: transform" in told["R2"][1]
        assert "context.bad" in told["R3"][1]
        small = await runtime.plan_upgrade("order", 1, 2, states=TO_WRAPPED, transform=picky, sample=2)
        assert small.sampled == 2
        assert {failure.state for failure in small.failures} >= {"packed"}


@check("definitions", "due")
async def a_plan_that_makes_no_sense_is_refused(world: World) -> None:
    """Before anything is counted."""
    async with world.runtime(ORDER) as runtime:
        await runtime.create("order")

    async def slow(context: dict[str, Any], metadata: Mapping[str, Any]) -> Any:
        return context

    async with world.runtime(SECOND) as runtime:
        bad: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"workflow": "nothing"}, DefinitionNotFound, "nothing"),
            ({"to_version": 3}, DefinitionNotFound, "version 3"),
            ({"from_version": 7}, DefinitionNotFound, "version 7"),
            ({"from_version": 2}, InvalidArgument, "two versions"),
            ({"from_version": "1"}, InvalidArgument, "from_version"),
            ({"to_version": 0}, InvalidArgument, "to_version"),
            ({"to_version": True}, InvalidArgument, "to_version"),
            ({"states": {"packed": "packed"}}, InvalidArgument, "version 2 of 'order' has no state 'packed'"),
            (
                {"states": {"wrapped": "wrapped"}},
                InvalidArgument,
                "version 1 of 'order' has no state 'wrapped'",
            ),
            ({"states": ["packed"]}, InvalidArgument, "states"),
            ({"transform": slow}, InvalidArgument, "transform"),
            ({"transform": 5}, InvalidArgument, "transform"),
            ({"timers": "keep"}, InvalidArgument, "timers"),
            ({"sample": -1}, InvalidArgument, "sample"),
            ({"sample": 1_001}, InvalidArgument, "sample"),
        ]
        for change, error, match in bad:
            arguments: dict[str, Any] = {"workflow": "order", "from_version": 1, "to_version": 2, **change}
            with pytest.raises(error, match=match):
                await runtime.plan_upgrade(**arguments)
        plan = await runtime.plan_upgrade("order", 1, 2)
        for more in ({"limit": 0}, {"limit": True}, {"batch": 0}, {"batch": 1_001}, {"cursor": "x"}):
            with pytest.raises(InvalidArgument, match=next(iter(more))):
                await runtime.apply_upgrade(plan, **more)
        with pytest.raises(InvalidArgument, match="plan_upgrade"):
            await runtime.apply_upgrade("plan")  # type: ignore[arg-type]
        with pytest.raises(InvalidArgument, match="reason"):
            await runtime.apply_upgrade(plan, reason=5)  # type: ignore[arg-type]


# --- moving them --------------------------------------------------------------------------------------------


@check("definitions", "due")
async def an_upgrade_is_one_recorded_move_for_each(world: World) -> None:
    """New version, mapped state, new context; nothing is entered, and nobody is told that anything was."""
    told: list[Any] = []
    async with world.runtime(ORDER) as runtime:
        packed = await runtime.create("order", {"n": 1}, metadata={"tag": "red"})
        await runtime.fire(packed.id, "pack")
        other = await runtime.create("order", {"n": 2})
        done = await runtime.create("order")
        await runtime.cancel(done.id)
        before = [await runtime.get(one.id) for one in (packed, other, done)]
    world.clock.advance(HOUR / 2)
    async with world.runtime(SECOND, observers=[told.append]) as runtime:
        plan = await runtime.plan_upgrade("order", 1, 2, states=TO_WRAPPED, transform=tagged)
        report = await runtime.apply_upgrade(plan, reason="new paper", by="anna")
        assert report == UpgradeReport(moved=2, done=True)
        assert report.complete
        after = [await runtime.get(one.id) for one in (packed, other, done)]
        assert after[2] == before[2]
        assert after[0] == attrs.evolve(
            before[0],
            definition_version=2,
            state="wrapped",
            version=3,
            context={"n": 1, "tag": "red"},
            updated_at=START + HOUR / 2,
        )
        assert after[1].timers == (
            ArmedTimer("expire", START + 2 * DAY),
            ArmedTimer("praise", START + 3 * DAY),
        )
        assert (after[1].entered_at, after[1].context) == (START, {"n": 2, "tag": "none"})
        entry = (await _history(runtime, packed.id))[-1]
        assert attrs.evolve(entry, attempt_id=UUID(int=0)) == HistoryEntry(
            instance_id=packed.id,
            seq=3,
            kind="upgraded",
            event="$upgraded",
            from_state="packed",
            to_state="wrapped",
            at=START + HOUR / 2,
            definition_version=2,
            attempt_id=UUID(int=0),
            entered=False,
            trigger={"reason": "new paper", "by": "anna", "from_version": 1},
            change=Change({"tag": "red"}, ("opened",)),
        )
        # It goes on under the new version, and again there is nothing to do.
        assert (await runtime.fire(packed.id, "ship")).to_state == "shipped"
        assert await runtime.apply_upgrade(plan) == UpgradeReport(done=True)
    assert [notice.entry.event for notice in told] == ["ship"]


@check("definitions", "due")
async def timers_keep_what_was_agreed(world: World) -> None:
    """Elapsed time, due time, or neither; what has done its work stays done, but for a restart."""

    def until(context: Mapping[str, Any], now: Any) -> Any:
        return now + context["wait"] * HOUR if "wait" in context else None

    def flow(version: int, **delays: Any) -> Workflow:
        states = [
            State(
                "a", [Transition(event, commands=["mark"], after=after) for event, after in delays.items()]
            ),
            State("b"),
        ]
        states[0] = attrs.evolve(
            states[0], transitions=(*states[0].transitions, Transition("go", target="b"))
        )
        return Workflow(name="timed", version=version, initial="a", states=states)

    first = flow(1, spent=HOUR, kept=DAY, gone=DAY, computed=DelayRef("until"))
    second = flow(2, spent=2 * HOUR, kept=3 * DAY, new=4 * DAY, computed=DelayRef("until"))
    given: dict[str, Any] = {"commands": {"mark": note}, "delays": {"until": until}}
    expected = {
        "keep_elapsed": {"kept": 3 * DAY, "new": 4 * DAY, "computed": 5 * HOUR},
        "keep_due": {"kept": DAY, "new": 4 * DAY, "computed": 5 * HOUR},
        "restart": {"spent": 4 * HOUR, "kept": 3 * DAY + 2 * HOUR, "new": 4 * DAY + 2 * HOUR, "computed": 7 * HOUR},
    }  # fmt: skip
    for policy, dues in expected.items():
        start = world.clock.now()
        async with world.runtime(first, **given) as runtime:
            created = await runtime.create("timed", {"wait": 5})
            world.clock.advance(2 * HOUR)
            assert (await runtime.fire_due_timers()).fired == 1
        async with world.runtime(second, **given) as runtime:
            plan = await runtime.plan_upgrade("timed", 1, 2, timers=policy)  # type: ignore[arg-type]
            assert (await runtime.apply_upgrade(plan)).moved == 1
            after = await runtime.get(created.id)
            assert {timer.event: timer.due_at - start for timer in after.timers} == dues
            await runtime.cancel(created.id)


@check("definitions", "due")
async def what_was_due_long_ago_is_due_at_once(world: World) -> None:
    """A shorter timer of the new version counts from when the state was entered."""
    short = attrs.evolve(
        SECOND, states=(State("open", [Transition("expire", target="dropped", after=HOUR)]), *SECOND.states[1:])
    )  # fmt: skip
    async with world.runtime(ORDER) as runtime:
        created = await runtime.create("order")
    world.clock.advance(HOUR)
    async with world.runtime(short) as runtime:
        assert (await runtime.apply_upgrade(await runtime.plan_upgrade("order", 1, 2))).moved == 1
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(created.id)).outcome == "failed"


@check("definitions", "due")
async def there_and_back_is_where_it_began(world: World) -> None:
    """With a transform that can be undone, and due times kept: only history is longer."""
    async with world.runtime(ORDER, SECOND) as runtime:
        # `create` takes the newest version, so these are brought to the old one first.
        made = [await runtime.create("order", {"n": n}) for n in range(3)]
        await runtime.fire(made[0].id, "wrap")
        back = await runtime.plan_upgrade("order", 2, 1, states={"wrapped": "packed"})
        assert (await runtime.apply_upgrade(back)).moved == 3
        before = [await runtime.get(one.id) for one in made]
        there = await runtime.plan_upgrade(
            "order", 1, 2, states=TO_WRAPPED, timers="keep_due", transform=lambda c, _: {"was": c}
        )
        assert (await runtime.apply_upgrade(there)).moved == 3
        back = await runtime.plan_upgrade(
            "order", 2, 1, states={"wrapped": "packed"}, timers="keep_due", transform=lambda c, _: c["was"]
        )
        assert (await runtime.apply_upgrade(back)).moved == 3
        after = [await runtime.get(one.id) for one in made]
        assert after == [attrs.evolve(one, version=one.version + 2) for one in before]


@check("definitions", "due")
async def an_upgrade_can_end_an_instance(world: World) -> None:
    """A mapping into a final state sets the outcome, and no timer is left."""
    async with world.runtime(ORDER) as runtime:
        created = await runtime.create("order")
    world.clock.advance(HOUR / 2)
    async with world.runtime(SECOND) as runtime:
        plan = await runtime.plan_upgrade("order", 1, 2, states={"open": "dropped"})
        assert (await runtime.apply_upgrade(plan)).moved == 1
        after = await runtime.get(created.id)
        assert (after.state, after.outcome, after.timers) == ("dropped", "failed", ())
        assert after.finished_at == START + HOUR / 2
        world.clock.advance(9 * DAY)
        assert await runtime.fire_due_timers() == SweepResult()


# --- automatic transitions of the new state -----------------------------------------------------------------


def stamp(ctx: Any) -> Any:
    """Notes that it ran, and what it saw."""
    note(ctx)
    ctx.context["stamped"] = dict(ctx.trigger)
    return Failure("no") if ctx.context.get("broken") else None


AUTOMATIC = Workflow(
    name="order",
    version=2,
    initial="open",
    states=[
        State(
            "open",
            [
                Transition(target="checked", guard="ready"),
                Transition("expire", target="dropped", after=2 * DAY),
            ],
        ),
        State(
            "checked", [Transition("ship", target="shipped"), Transition("expire", target="dropped", after=DAY)]
        ),
        State("packed", [Transition(target="shipped", commands=["stamp"])]),
        State(
            "mailed",
            [
                Transition(target="shipped", commands=[CommandRef("post", external=True)], guard="ready"),
                Transition("expire", target="dropped", after=DAY),
            ],
        ),
        State("shipped"),
        State("dropped", outcome="failed"),
    ],
)  # fmt: skip


def ready(context: Mapping[str, Any]) -> bool:
    """Whether the context says so."""
    return bool(context.get("ready"))


GIVEN: dict[str, Any] = {"commands": {"stamp": stamp, "post": stamp}, "guards": [ready]}


@check("definitions", "due")
async def automatic_transitions_of_the_new_state_follow(world: World) -> None:
    """Guards are asked, commands run in the transaction of the move, all recorded; timers of where it rests."""
    async with world.runtime(ORDER) as runtime:
        resting, going, packed = [await runtime.create("order", {"ready": n > 0}) for n in range(3)]
        await runtime.fire(packed.id, "pack")
    world.clock.advance(HOUR / 2)
    async with world.runtime(AUTOMATIC, **GIVEN) as runtime:
        plan = await runtime.plan_upgrade("order", 1, 2)
        assert [(row.state, row.automatic) for row in plan.rows] == [("open", True), ("packed", True)]
        dry = await runtime.apply_upgrade(plan, dry_run=True)
        assert dry == UpgradeReport(moved=2, announced=1, done=True, dry_run=True)
        assert world.ledger.keys == ()
        assert await runtime.apply_upgrade(plan, reason="x") == UpgradeReport(moved=3, done=True)
        rested = await runtime.get(resting.id)
        assert (rested.state, rested.timers) == ("open", (ArmedTimer("expire", START + 2 * DAY),))
        gone = await runtime.get(going.id)
        now = START + HOUR / 2
        assert (gone.state, gone.entered_at, gone.timers) == (
            "checked",
            now,
            (ArmedTimer("expire", now + DAY),),
        )
        shipped = await runtime.get(packed.id)
        assert (shipped.state, shipped.outcome) == ("shipped", "done")
        assert shipped.context["stamped"] == {"reason": "x", "from_version": 1}
        assert [e.event for e in await _history(runtime, packed.id)][2:] == ["$upgraded", "$auto"]
        assert len(world.ledger.keys) == 1


@check("definitions", "due")
async def an_external_hop_waits_for_a_worker(world: World) -> None:
    """The upgrade stops before it and leaves a continuation; until that is done the instance is busy."""
    async with world.runtime(ORDER) as runtime:
        created = await runtime.create("order", {"ready": True})
        resting = await runtime.create("order")
    async with world.runtime(AUTOMATIC, attrs.evolve(SECOND, version=3), **GIVEN) as runtime:
        plan = await runtime.plan_upgrade("order", 1, 2, states={"open": "mailed"})
        assert await runtime.apply_upgrade(plan) == UpgradeReport(moved=2, continuing=1, done=True)
        assert (await runtime.get(resting.id)).timers == (ArmedTimer("expire", START + DAY),)
        await runtime.cancel(resting.id)
        after = await runtime.get(created.id)
        assert after.continuation is not None
        assert (after.state, after.timers, after.continuation.event) == ("mailed", (), "$upgraded")
        on = await runtime.plan_upgrade("order", 2, 3, states={"mailed": "wrapped"})
        assert (on.continuing, on.count) == (1, 1)
        report = await runtime.apply_upgrade(on)
        assert (report.moved, report.busy, report.done, report.complete) == (0, 1, True, False)
        (held,) = report.held
        assert (held.instance_id, held.state) == (created.id, "mailed")
        assert "waits" in held.reason
        assert await runtime.get(created.id) == after


@check("definitions", "due")
async def a_command_that_fails_stops_nobody_else(world: World) -> None:
    """The one stays as it was, with nothing left of its try; the others move."""
    async with world.runtime(ORDER) as runtime:
        made = [await runtime.create("order", {"broken": n == 1}) for n in range(3)]
        for one in made:
            await runtime.fire(one.id, "pack")
        before = await runtime.get(made[1].id)
    async with world.runtime(AUTOMATIC, **GIVEN) as runtime:
        report = await runtime.apply_upgrade(await runtime.plan_upgrade("order", 1, 2))
        assert (report.moved, report.failed, report.done) == (2, 1, True)
        (failure,) = report.failures
        assert (failure.instance_id, failure.state) == (made[1].id, "packed")
        assert "CommandFailed" in failure.reason
        assert await runtime.get(made[1].id) == before
        assert len(world.ledger.keys) == 2


# --- one by one, in batches, again --------------------------------------------------------------------------


@check("definitions", "due")
async def what_is_not_covered_is_refused_or_skipped(world: World) -> None:
    """A plan is checked against the instances there are when it is applied."""
    async with world.runtime(ORDER, SECOND) as runtime:
        made = [await runtime.create("order") for _ in range(3)]
        await runtime.apply_upgrade(await runtime.plan_upgrade("order", 2, 1))
        plan = await runtime.plan_upgrade("order", 1, 2)
        assert plan.total
        await runtime.fire(made[1].id, "pack")
        with pytest.raises(InvalidArgument, match=r"not total.*'packed'"):
            await runtime.apply_upgrade(plan)
        assert [v.open for v in await runtime.versions("order")] == [3, 0]
        report = await runtime.apply_upgrade(plan, skip_uncovered=True)
        assert report == UpgradeReport(moved=2, skipped=1, done=True)
        assert (await runtime.get(made[1].id)).definition_version == 1


@check("definitions", "due")
async def a_transform_that_fails_stops_nobody_else(world: World) -> None:
    """It is listed, and left as it was; so is one whose context could not be stored."""

    def picky(context: dict[str, Any], metadata: Mapping[str, Any]) -> Any:
        context["half"] = "written"
        if context["n"] == 1:
            raise LookupError("no colour")
        return {**context, "bad": {1}} if context["n"] == 2 else context

    async with world.runtime(ORDER, SECOND) as runtime:
        made = [await runtime.create("order", {"n": n}, ref=f"R{n}") for n in range(4)]
        await runtime.apply_upgrade(await runtime.plan_upgrade("order", 2, 1))
        before = [await runtime.get(one.id) for one in made]
        plan = await runtime.plan_upgrade("order", 1, 2, transform=picky)
        for dry_run in (True, False):
            report = await runtime.apply_upgrade(plan, dry_run=dry_run)
            assert (report.moved, report.failed, report.done) == (2, 2, True)
            reasons = {failure.ref: failure.reason for failure in report.failures}
            assert set(reasons) == {"R1", "R2"}
            assert reasons["R1"] == "LookupError: no colour"
        after = [await runtime.get(one.id) for one in made]
        assert after[1:3] == before[1:3]
        assert [one.definition_version for one in after] == [2, 1, 1, 2]


@check("definitions", "due")
async def a_dry_run_writes_nothing(world: World) -> None:
    """And says of each what the real run then does."""
    async with world.runtime(ORDER, SECOND) as runtime:
        made = [await runtime.create("order") for _ in range(5)]
        back = await runtime.plan_upgrade("order", 2, 1)
        dry = await runtime.apply_upgrade(back, dry_run=True, batch=2)
        assert [await runtime.get(one.id) for one in made] == made
        assert dry == UpgradeReport(moved=5, done=True, dry_run=True)
        assert not dry.complete
        assert await runtime.apply_upgrade(back) == attrs.evolve(dry, dry_run=False)


@check("definitions", "due")
async def an_upgrade_goes_on_where_it_was_left(world: World) -> None:
    """By a limit and a cursor, or simply again; progress is told after each batch."""
    async with world.runtime(ORDER, SECOND) as runtime:
        made: list[Instance] = []
        for _ in range(7):
            made.append(await runtime.create("order"))
            world.clock.advance(HOUR / 60)
        back = await runtime.plan_upgrade("order", 2, 1)
        told: list[UpgradeReport] = []
        first = await runtime.apply_upgrade(back, limit=3, batch=2, on_progress=told.append)
        assert (first.moved, first.done) == (3, False)
        assert [report.moved for report in told] == [2, 3]
        assert told[-1] == first
        # Oldest first.
        versions = [(await runtime.get(one.id)).definition_version for one in made]
        assert versions == [1, 1, 1, 2, 2, 2, 2]
        second = await runtime.apply_upgrade(back, limit=3, cursor=first.cursor)
        assert (second.moved, second.done) == (3, False)
        last = await runtime.apply_upgrade(back, cursor=second.cursor)
        assert last == UpgradeReport(moved=1, done=True)
        there = await runtime.plan_upgrade("order", 1, 2)

        def stop(report: UpgradeReport) -> None:
            if report.moved >= 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            await runtime.apply_upgrade(there, batch=2, on_progress=stop)
        assert await runtime.apply_upgrade(there) == UpgradeReport(moved=3, done=True)
        for one in made:
            entries = await _history(runtime, one.id)
            assert [entry.kind for entry in entries] == ["created", "upgraded", "upgraded"]


@check("definitions", "due")
async def what_a_worker_holds_is_left_to_it(world: World) -> None:
    """It comes last, and is told as busy if it is held to the end; then a later run moves it."""
    async with world.runtime(ORDER, SECOND) as runtime:
        made = [await runtime.create("order") for _ in range(3)]
        back = await runtime.plan_upgrade("order", 2, 1)

        async def lease(token: UUID | None) -> None:
            async with world.opened() as ports, ports.begin() as unit:
                loaded = await ports.instances.lock(unit, made[1].id, clock=world.clock.now())
                changed = attrs.evolve(loaded.instance, lease_token=token)
                assert await ports.instances.save(unit, changed, expected=loaded.instance)

        await lease(UUID(int=5))
        assert (await runtime.plan_upgrade("order", 2, 1)).leased == 1
        assert (await runtime.apply_upgrade(back, dry_run=True)).busy == 1
        report = await runtime.apply_upgrade(back)
        assert (report.moved, report.busy, report.failed, report.done) == (2, 1, 0, True)
        assert report.held[0].instance_id == made[1].id
        await lease(None)
        assert await runtime.apply_upgrade(back) == UpgradeReport(moved=1, done=True)


@attrs.frozen
class Meddling:
    """An instance store where someone moves between the reading of a page and what is made of it."""

    inner: Any
    meddle: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    async def list(self, *arguments: Any, **options: Any) -> Any:
        """The page, and then the move."""
        page = await self.inner.list(*arguments, **options)
        await self.meddle()
        return page


@check("definitions", "due")
async def whoever_moves_meanwhile_is_looked_at_again(world: World) -> None:
    """Read, then moved by someone else before it is written: it is decided anew, as it then is."""
    meddled: list[bool] = []
    async with world.runtime(ORDER, SECOND) as runtime:
        made = [await runtime.create("order", {"n": n}) for n in range(4)]
        await runtime.apply_upgrade(await runtime.plan_upgrade("order", 2, 1))

        async def meddle() -> None:
            if not meddled:
                meddled.append(True)
                await runtime.fire(made[1].id, "pack")
                await runtime.cancel(made[2].id)
                await runtime.delete(made[3].id, force=True)

        persistence = world.persistence()
        slow = attrs.evolve(persistence, instances=Meddling(persistence.instances, meddle))
        async with world.driver.runtime(
            workflows=[ORDER, SECOND], persistence=slow, clock=world.clock
        ) as upgrading:
            plan = await upgrading.plan_upgrade("order", 1, 2, states=TO_WRAPPED, sample=0)
            report = await upgrading.apply_upgrade(plan)
        assert meddled
        assert report == UpgradeReport(moved=2, gone=2, done=True)
        after = [await runtime.get(one.id) for one in made[:3]]
        assert [(one.state, one.definition_version) for one in after] == [
            ("open", 2),
            ("wrapped", 2),
            ("open", 1),
        ]
        for one in after:
            assert fold(await _history(runtime, one.id)) == Folded.of(one)


@check("definitions", "due")
async def two_runs_at_a_time_move_each_once(world: World) -> None:
    """What another run has moved since it was read is gone for this one."""
    meddled: list[UpgradeReport] = []
    async with world.runtime(ORDER, SECOND) as runtime:
        made = [await runtime.create("order") for _ in range(3)]
        await runtime.apply_upgrade(await runtime.plan_upgrade("order", 2, 1))
        plan = await runtime.plan_upgrade("order", 1, 2)

        async def meddle() -> None:
            if not meddled:
                meddled.append(await runtime.apply_upgrade(plan))

        persistence = world.persistence()
        slow = attrs.evolve(persistence, instances=Meddling(persistence.instances, meddle))
        async with world.driver.runtime(
            workflows=[ORDER, SECOND], persistence=slow, clock=world.clock
        ) as upgrading:
            assert await upgrading.apply_upgrade(plan) == UpgradeReport(gone=3, done=True)
        assert meddled == [UpgradeReport(moved=3, done=True)]
        for one in made:
            kinds = [entry.kind for entry in await _history(runtime, one.id)]
            assert kinds == ["created", "upgraded", "upgraded"]


@check("definitions", "due")
async def time_never_goes_back_within_an_instance(world: World) -> None:
    """Not even if the clock of who upgrades is behind."""
    async with world.runtime(ORDER) as runtime:
        world.clock.advance(DAY)
        created = await runtime.create("order")
    async with world.runtime(SECOND, clock=ManualClock()) as runtime:
        assert (await runtime.apply_upgrade(await runtime.plan_upgrade("order", 1, 2))).moved == 1
        after = await runtime.get(created.id)
        assert (after.updated_at, after.definition_version) == (created.updated_at, 2)


@check("definitions", "due")
async def a_version_that_cannot_be_used_can_be_left(world: World) -> None:
    """Its handlers are gone, and need not come back: that is what upgrades are for."""
    old = attrs.evolve(
        ORDER,
        states=(
            State("open", [Transition("pack", target="packed", commands=["gone"], guard="lost")]),
            *ORDER.states[1:],
        ),
    )
    async with world.runtime(old, commands={"gone": note}, guards={"lost": ready}) as runtime:
        created = await runtime.create("order")
    async with world.runtime(SECOND) as runtime:
        assert [problem.version for problem in await runtime.check_live()] == [1]
        with pytest.raises(DefinitionNotFound):
            await runtime.fire(created.id, "pack")
        plan = await runtime.plan_upgrade("order", 1, 2, states=TO_WRAPPED)
        assert (await runtime.apply_upgrade(plan)).complete
        assert await runtime.check_live() == ()
        assert (await runtime.fire(created.id, "wrap")).to_state == "wrapped"


@check("definitions", "due")
async def tries_of_timers_begin_anew(world: World) -> None:
    """What was parked under the old version has another chance under the new one."""

    def burst(ctx: Any) -> None:
        raise LookupError("burst")

    def calm(ctx: Any) -> None:
        note(ctx)

    def flow(version: int) -> Workflow:
        return Workflow(
            name="timed",
            version=version,
            initial="a",
            states=[State("a", [Transition("end", target="b", commands=["work"], after=HOUR)]), State("b")],
        )

    async with world.runtime(
        flow(1), commands={"work": burst}, timer_retry=TimerRetryPolicy(park_after=1)
    ) as runtime:
        created = await runtime.create("timed")
        world.clock.advance(HOUR)
        assert await runtime.fire_due_timers() == SweepResult(parked=1)
    async with world.runtime(flow(2), commands={"work": calm}) as runtime:
        assert (await runtime.apply_upgrade(await runtime.plan_upgrade("timed", 1, 2))).moved == 1
        assert await runtime.parked() == ()
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(created.id)).state == "b"


@check("definitions", "due")
async def a_plan_is_a_value(world: World) -> None:
    """Equal rules on equal data are equal plans."""
    async with world.runtime(ORDER, SECOND) as runtime:
        await runtime.create("order")
        plan = await runtime.plan_upgrade("order", 2, 1)
        assert isinstance(plan, UpgradePlan)
        assert plan == await runtime.plan_upgrade("order", 2, 1)
