"""Versions: does each instance stay on its own, in code or not, and does a runtime say what it cannot move?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionConflict, DefinitionNotFound, InvalidArgument, LiveCheckFailed
from duraflow.instance import ArmedTimer
from duraflow.ports.base import StoredVersion
from duraflow.results import Firing, LiveProblem, SweepResult, Unfired
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, WORKFLOW, World, check, note


@attrs.frozen
class Sum:
    """What is paid."""

    amount: int


def pay(ctx: Any) -> None:
    """Notes what it saw."""
    note(ctx)
    ctx.context["paid"] = ctx.payload.amount


def willing(context: Mapping[str, Any]) -> bool:
    """Unless the context says otherwise."""
    return not context.get("unwilling")


BILL = Workflow(
    name="bill",
    initial="open",
    events={"pay": Sum},
    states=[
        State(
            "open",
            [
                Transition("pay", target="paid", commands=["pay"]),
                Transition("drop", target="dropped", guard="willing"),
                Transition("expire", target="dropped", after=DAY),
            ],
        ),
        State("paid"),
        State("dropped"),
    ],
)
SECOND = attrs.evolve(
    BILL,
    version=2,
    states=(State("open", [Transition("pay", target="paid", commands=["pay"])]), State("paid")),
)
THIRD = attrs.evolve(SECOND, version=3, description="the same again")
OTHER = Workflow(name="other", initial="a", states=[State("a", [Transition("go", target="b")]), State("b")])

HANDLERS: dict[str, Any] = {"commands": [pay], "guards": [willing]}


@check("definitions")
async def a_store_gives_back_what_was_registered(world: World) -> None:
    """The snapshot and the hash of each version, for its own namespace, inside a transaction too."""
    async with world.opened() as ports, world.opened(f"{world.namespace}_b") as others:
        store = ports.persistence.definitions
        assert store is not None
        before = await ports.instances.now()
        assert await store.register([BILL, SECOND]) == {}
        assert await store.load(None, "bill", 2) == SECOND.to_json()
        async with ports.begin() as unit:
            assert await store.load(unit, "bill", 1) == BILL.to_json()
        assert await store.load(None, "bill", 3) is None
        assert await others.persistence.definitions.load(None, "bill", 1) is None  # type: ignore[union-attr]
        known = await store.known(None)
        assert [(v.workflow, v.version) for v in known] == [
            ("bill", 1),
            ("bill", 2),
            ("other port", 1),
            ("port", 1),
        ]
        assert all(isinstance(version, StoredVersion) for version in known)
        assert [version.hash for version in known[:2]] == [BILL.hash, SECOND.hash]
        assert all(abs(version.registered_at - before) < DAY for version in known)
        assert known[0].registered_at.utcoffset() is not None


@check("definitions")
async def a_store_counts_instances_by_version(world: World) -> None:
    """Open and final ones, of the workflows asked for, in its own namespace."""
    async with world.opened() as ports:
        store = ports.persistence.definitions
        assert store is not None
        assert await store.counts(None, ["port", "other port"]) == {}
        await store.register([attrs.evolve(WORKFLOW, version=2)])
    async with world.runtime(WORKFLOW, attrs.evolve(WORKFLOW, version=2), live_check="off") as runtime:
        one, two = await runtime.create("port"), await runtime.create("port")
        for _ in range(2):
            await runtime.fire(one.id, "go")
        await runtime.fire(two.id, "go")
    async with world.runtime(attrs.evolve(WORKFLOW, version=3), OTHER) as runtime:
        await runtime.create("port")
        await runtime.create("other")
    async with world.runtime(WORKFLOW, namespace=f"{world.namespace}_b") as runtime:
        await runtime.create("port")
    async with world.opened() as ports:
        store = ports.persistence.definitions
        assert store is not None
        assert await store.counts(None, ["port"]) == {("port", 2): (1, 1), ("port", 3): (1, 0)}
        assert await store.counts(None, ["port", "other"]) == {
            ("port", 2): (1, 1),
            ("port", 3): (1, 0),
            ("other", 1): (1, 0),
        }
        assert await store.counts(None, []) == {}


@check("definitions", "due")
async def an_instance_stays_on_its_version_though_that_is_no_longer_in_code(world: World) -> None:
    """By the snapshot in the store: guards, commands and payload classes are found by what they are called."""
    async with world.runtime(BILL, **HANDLERS) as runtime:
        first, second, third = [await runtime.create("bill") for _ in range(3)]
    async with world.runtime(SECOND, **HANDLERS) as runtime:
        result = await runtime.fire(first.id, "pay", Sum(7))
        assert (result.to_state, result.instance.context) == ("paid", {"paid": 7})
        assert [entry.definition_version for entry in result.entries] == [1]
        assert (await runtime.fire(second.id, "drop")).to_state == "dropped"
        assert [e.event for e in await runtime.explain(third.id, {"pay": {"amount": 1}})] == [
            "pay",
            "drop",
            "expire",
        ]
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
        assert (await runtime.get(third.id)).definition_version == 1
        # What is new gets the newest version in code.
        assert (await runtime.create("bill")).definition_version == 2


@check("definitions", "due")
async def whoever_touches_it_first_meets_its_version(world: World) -> None:
    """One event alone, in a batch, in a transaction, forced or cancelled: without the check at start as well."""
    async with world.runtime(BILL, **HANDLERS) as runtime:
        ids = [(await runtime.create("bill")).id for _ in range(7)]
    options = {**HANDLERS, "live_check": "off"}
    async with world.runtime(SECOND, **options) as runtime:
        assert (await runtime.fire(ids[0], "drop")).to_state == "dropped"
    async with world.runtime(SECOND, **options) as runtime:
        (result,) = await runtime.fire_many([Firing(ids[1], "drop")])
        assert result.or_raise().to_state == "dropped"
    async with world.runtime(SECOND, **options) as runtime, runtime.transaction() as tx:
        assert (await tx.fire(ids[2], "drop")).to_state == "dropped"
    async with world.runtime(SECOND, **options) as runtime:
        assert (await runtime.force(ids[3], state="dropped", reason="x")).to_state == "dropped"
    async with world.runtime(SECOND, **options) as runtime:
        assert (await runtime.cancel(ids[4])).instance.outcome == "cancelled"
    async with world.runtime(SECOND, **options) as runtime:
        assert len(await runtime.explain(ids[5])) == 3
    async with world.runtime(SECOND, **options) as runtime:
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=2)


@check("definitions")
async def a_version_met_in_a_transaction_may_run_commands(world: World) -> None:
    """An event that ran none in the versions known so far is still undone as a whole when its command raises."""
    loud = attrs.evolve(
        OTHER,
        states=(State("a", [Transition("go", target="b", commands=["burst"])]), State("b")),
    )

    def burst(ctx: Any) -> None:
        note(ctx)
        raise LookupError("burst")

    async with world.runtime(loud, commands=[burst]) as runtime:
        created = await runtime.create("other")
    quiet = attrs.evolve(OTHER, version=2)
    async with world.runtime(quiet, commands=[burst], live_check="off") as runtime:
        async with runtime.transaction() as tx:
            kept = await tx.create("other")
            with pytest.raises(LookupError):
                await tx.fire(created.id, "go")
        assert await runtime.get(created.id) == created
        assert await runtime.get(kept.id) == kept


@check("definitions", "due")
async def what_cannot_be_used_says_why_and_stops_nobody_else(world: World) -> None:
    """A version whose command is not registered: its instances wait, everything else goes on."""
    async with world.runtime(BILL, **HANDLERS) as runtime:
        broken = await runtime.create("bill")
    second = attrs.evolve(
        BILL, version=2, states=(State("open", [Transition("pay", target="paid")]), State("paid"))
    )
    async with world.runtime(second, OTHER, guards=[willing]) as runtime:
        for call in (
            runtime.fire(broken.id, "pay", Sum(1)),
            runtime.cancel(broken.id),
            runtime.explain(broken.id),
        ):
            with pytest.raises(
                DefinitionNotFound, match=r"'bill' version 1 .*no command 'pay' is registered"
            ):
                await call
        fine = await runtime.create("other")
        missed, moved = await runtime.fire_many([Firing(broken.id, "drop"), Firing(fine.id, "go")])
        assert isinstance(missed, Unfired)
        assert isinstance(missed.error, DefinitionNotFound)
        assert moved.or_raise().to_state == "b"
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(skipped=1)
        assert await runtime.parked() == ()
        assert await runtime.get(broken.id) == broken


# --- what there is, and what cannot move --------------------------------------------------------------------


@check("definitions", "due")
async def versions_are_listed_with_what_they_govern(world: World) -> None:
    """Hash, time, counts, and where the definition comes from."""
    async with world.runtime(BILL, OTHER, **HANDLERS) as runtime:
        one, _ = await runtime.create("bill"), await runtime.create("bill")
        await runtime.fire(one.id, "drop")
    async with world.runtime(SECOND, THIRD, OTHER, **HANDLERS) as runtime:
        await runtime.create("bill")
        found = await runtime.versions("bill")
        assert [(v.version, v.open, v.final, v.source, v.problem) for v in found] == [
            (1, 1, 1, "store", ""),
            (2, 0, 0, "code", ""),
            (3, 1, 0, "code", ""),
        ]
        assert [v.hash for v in found] == [BILL.hash, SECOND.hash, THIRD.hash]
        assert await runtime.versions(SECOND) == found
        assert [(v.workflow, v.version) for v in await runtime.versions()] == [
            ("bill", 1),
            ("bill", 2),
            ("bill", 3),
            ("other", 1),
        ]
        with pytest.raises(DefinitionNotFound, match="known: bill, other"):
            await runtime.versions("nothing")
        with pytest.raises(InvalidArgument, match="workflow"):
            await runtime.versions(5)  # type: ignore[arg-type]  # is what is tested
    async with world.runtime(THIRD, commands=[pay]) as runtime:
        problems = {(v.workflow, v.version): v.problem for v in await runtime.versions()}
        assert problems["bill", 2] == problems["bill", 3] == ""
        assert "no guard 'willing' is registered" in problems["bill", 1]
        assert "given no version of 'other'" in problems["other", 1]


@check("definitions", "due")
async def check_live_names_every_version_that_cannot_move(world: World) -> None:
    """Only those with open instances, with their number and the reason."""
    async with world.runtime(BILL, OTHER, **HANDLERS) as runtime:
        assert await runtime.check_live() == ()
        one, two = await runtime.create("bill"), await runtime.create("bill")
        other = await runtime.create("other")
    async with world.runtime(SECOND, OTHER, commands=[pay]) as runtime:
        (problem,) = await runtime.check_live()
        assert problem == LiveProblem("bill", 1, 2, problem.problem)
        assert "no guard 'willing' is registered" in problem.problem
    async with world.runtime(SECOND, commands=[pay]) as runtime:
        assert [(p.workflow, p.version, p.open) for p in await runtime.check_live()] == [
            ("bill", 1, 2),
            ("other", 1, 1),
        ]
    async with world.runtime(SECOND, OTHER, **HANDLERS) as runtime:
        assert await runtime.check_live() == ()
        for target, event in ((one.id, "drop"), (two.id, "drop"), (other.id, "go")):
            await runtime.fire(target, event)
    async with world.runtime(SECOND, OTHER, commands=[pay]) as runtime:
        assert await runtime.check_live() == ()


@check("definitions", "due")
async def a_start_warns_fails_or_does_not_look(world: World) -> None:
    """As told, by workflow; a workflow that a runtime has no version of is fatal only by name."""
    async with world.runtime(BILL, OTHER, **HANDLERS) as runtime:
        await runtime.create("bill")
        await runtime.create("other")
    given: dict[str, Any] = {"commands": [pay], "invariants": False}
    for mode in ("warning", "off", {"bill": "off"}, {"other": "fatal", "bill": "warning"}):
        if mode == {"other": "fatal", "bill": "warning"}:
            with pytest.raises(LiveCheckFailed, match=r"'other'.*version 1"):
                async with world.runtime(SECOND, live_check=mode, **given):
                    raise AssertionError("it must not start")
            continue
        async with world.runtime(SECOND, live_check=mode, **given) as runtime:
            await runtime.create("bill")
    for fatal in ("fatal", {"bill": "fatal"}):
        with pytest.raises(LiveCheckFailed) as caught:
            async with world.runtime(SECOND, live_check=fatal, **given):
                raise AssertionError("it must not start")
        assert [(p.workflow, p.version, p.open) for p in caught.value.problems] == [("bill", 1, 1)]
        assert "no guard 'willing'" in str(caught.value)
    # Whoever corrects the cause can start.
    async with world.runtime(SECOND, OTHER, live_check="fatal", **HANDLERS) as runtime:
        assert await runtime.check_live() == ()


@check("definitions")
async def a_known_version_with_other_content_is_refused_at_start(world: World) -> None:
    """With the difference; under a new number it passes."""
    async with world.runtime(OTHER):
        pass
    changed = attrs.evolve(OTHER, states=(*OTHER.states, State("c")))
    with pytest.raises(DefinitionConflict, match=r"states\[c\]"):
        async with world.runtime(changed):
            raise AssertionError("it must not start")
    async with world.runtime(attrs.evolve(changed, version=2)) as runtime:
        assert [v.version for v in await runtime.versions("other")] == [1, 2]


# --- following the latest -----------------------------------------------------------------------------------


def mark(ctx: Any) -> None:
    """Notes that it ran."""
    note(ctx)


FOLLOWER = Workflow(
    name="follower",
    initial="open",
    follows="latest",
    states=[
        State(
            "open",
            [
                Transition("close", target="closed"),
                Transition("expire", target="closed", after=DAY),
                Transition("remind", commands=["mark"], after=HOUR),
            ],
        ),
        State("waiting", [Transition("close", target="closed")]),
        State("closed"),
    ],
)
NEWER = attrs.evolve(
    FOLLOWER,
    version=2,
    states=(
        State(
            "open",
            [
                Transition("close", target="archived"),
                Transition("touch", commands=["mark"]),
                Transition("remind", commands=["mark"], after=HOUR),
            ],
        ),
        State("archived"),
    ),
)


@check("definitions", "due")
async def a_follower_is_governed_by_the_newest_version_given(world: World) -> None:
    """Rows and entries are stamped with what governed; never with a version older than the row's."""
    async with world.runtime(FOLLOWER, commands=[mark]) as runtime:
        one, two = await runtime.create("follower"), await runtime.create("follower")
    async with world.runtime(FOLLOWER, NEWER, commands=[mark]) as runtime:
        assert [e.event for e in await runtime.explain(one.id)] == ["close", "touch", "remind"]
        result = await runtime.fire(one.id, "close")
        assert (result.to_state, result.instance.definition_version) == ("archived", 2)
        assert [entry.definition_version for entry in result.entries] == [2]
        touched = (await runtime.fire(two.id, "touch")).instance
        assert (touched.definition_version, touched.state) == (2, "open")
        # What the newer version has no timer for will never fire.
        assert touched.timers == (ArmedTimer("remind", START + HOUR),)
    async with world.runtime(FOLLOWER, commands=[mark]) as runtime:
        # A process that has only the older version does not turn it back.
        assert (await runtime.fire(two.id, "close")).to_state == "archived"
        assert (await runtime.create("follower")).definition_version == 1


@check("definitions", "due")
async def a_follower_whose_state_is_gone_says_so_when_touched(world: World) -> None:
    """It is not lost: upgrade it with a mapping, or force it."""
    async with world.runtime(FOLLOWER, commands=[mark]) as runtime:
        created = await runtime.create("follower")
        await runtime.force(created.id, state="waiting", reason="x")
    async with world.runtime(NEWER, commands=[mark]) as runtime:
        with pytest.raises(InvalidArgument, match=r"'waiting' of version 1.*version 2.*plan_upgrade.*force"):
            await runtime.fire(created.id, "close")
        forced = await runtime.force(created.id, state="open", reason="gone")
        assert (forced.to_state, forced.instance.definition_version) == ("open", 2)


@check("definitions", "due")
async def a_due_timer_that_the_newer_version_lacks_is_cleared(world: World) -> None:
    """Counted as skipped, recorded, and never seen again; the others stay."""
    async with world.runtime(FOLLOWER, commands=[mark]) as runtime:
        created = await runtime.create("follower")
    bare = attrs.evolve(
        NEWER,
        states=(
            State("open", [Transition("close", target="archived"), Transition("expire", target="archived", after=DAY)]),
            State("archived"),
        ),
    )  # fmt: skip
    async with world.runtime(bare, commands=[mark]) as runtime:
        world.clock.advance(HOUR)
        assert await runtime.fire_due_timers() == SweepResult(skipped=1)
        after = await runtime.get(created.id)
        assert (after.timers, after.definition_version) == ((ArmedTimer("expire", START + DAY),), 2)
        (entry,) = await runtime.history(created.id, after=1)
        assert (entry.kind, entry.event, entry.entered) == ("upgraded", "$upgraded", False)
        assert "no timer 'remind'" in entry.trigger["reason"]
        assert await runtime.fire_due_timers() == SweepResult()
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)
