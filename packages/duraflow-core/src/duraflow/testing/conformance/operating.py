"""`cancel`, `force`, `delete`: does the operator's hand leave its mark?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import EventRefused, InstanceNotFound, InvalidArgument
from duraflow.instance import ArmedTimer, Change, HistoryEntry
from duraflow.results import FireResult, SweepResult
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, World, check

ORDER = Workflow(
    name="order",
    initial="open",
    states=[
        State("open", [Transition("pack", target="packed"), Transition("expire", target="done", after=DAY)]),
        State(
            "packed",
            [Transition(target="done", guard="shipped"), Transition("expire", target="done", after=HOUR)],
            context={"packed": True},
        ),
        State("done"),
        State("stopped", outcome="cancelled", context={"why": "stopped"}),
    ],
)
PLAIN = Workflow(
    name="plain",
    initial="open",
    states=[State("open", [Transition("end", target="done", after=DAY)]), State("done")],
)


def shipped(context: Mapping[str, Any]) -> bool:
    """If the context says so."""
    return bool(context.get("shipped"))


@check("due")
async def cancel_leads_to_the_cancelled_state(world: World) -> None:
    """Where the workflow has one: entered as by any move, recorded with reason and by whom."""
    async with world.runtime(ORDER, guards=[shipped]) as runtime:
        created = await runtime.create("order")
        world.clock.advance(HOUR)
        result = await runtime.cancel(created.id, reason="changed their mind", by="anna")
        after = attrs.evolve(
            created,
            state="stopped",
            outcome="cancelled",
            version=2,
            context={"why": "stopped"},
            timers=(),
            updated_at=START + HOUR,
            entered_at=START + HOUR,
            finished_at=START + HOUR,
        )
        (entry,) = result.entries
        assert entry == HistoryEntry(
            instance_id=created.id,
            seq=2,
            kind="cancelled",
            event="$cancelled",
            from_state="open",
            to_state="stopped",
            at=START + HOUR,
            definition_version=1,
            attempt_id=entry.attempt_id,
            trigger={"reason": "changed their mind", "by": "anna"},
            change=Change({"why": "stopped"}),
            timers=(),
            outcome="cancelled",
        )
        assert result == FireResult("success", "$cancelled", "open", "stopped", after, (entry,))
        assert await runtime.get(created.id) == after
        world.clock.advance(9 * DAY)
        assert await runtime.fire_due_timers() == SweepResult()


@check("due")
async def cancel_ends_where_it_is_without_such_a_state(world: World) -> None:
    """The state stays, the outcome is set, timers go; that is final."""
    async with world.runtime(PLAIN) as runtime:
        created = await runtime.create("plain")
        world.clock.advance(HOUR)
        result = await runtime.cancel(created.id)
        after = result.instance
        assert (after.state, after.outcome, after.timers, after.entered_at, after.finished_at) == (
            "open",
            "cancelled",
            (),
            START,
            START + HOUR,
        )
        assert (result.entries[0].entered, result.entries[0].trigger) == (False, {})
        with pytest.raises(EventRefused) as caught:
            await runtime.fire(created.id, "end")
        assert caught.value.reason == "finished"
        with pytest.raises(EventRefused) as caught:
            await runtime.cancel(created.id)
        assert (caught.value.reason, caught.value.event) == ("finished", "$cancelled")
        assert await runtime.get(created.id) == after


@check()
async def cancel_does_not_choose_between_states(world: World) -> None:
    """With two states of that outcome it ends where it is."""
    states = [
        State("open", [Transition("stop", target="stopped"), Transition("drop", target="dropped")]),
        State("stopped", outcome="cancelled"),
        State("dropped", outcome="cancelled"),
    ]
    async with world.runtime(Workflow(name="two", initial="open", states=states)) as runtime:
        created = await runtime.create("two")
        after = (await runtime.cancel(created.id)).instance
        assert (after.state, after.outcome) == ("open", "cancelled")
        assert await runtime.get(created.id) == after


@check("due")
async def force_moves_anywhere(world: World) -> None:
    """The state is entered as by any move; the given context comes last; it is recorded as forced."""
    async with world.runtime(ORDER, guards=[shipped]) as runtime:
        created = await runtime.create("order", {"n": 1})
        result = await runtime.force(
            created.id, state="packed", context={"packed": "by hand", "extra": [1]}, reason="lost", by="anna"
        )
        after = result.instance
        assert (result.status, after.state, after.version) == ("success", "packed", 2)
        assert after.context == {"n": 1, "packed": "by hand", "extra": [1]}
        assert after.timers == (ArmedTimer("expire", START + HOUR),)
        (entry,) = result.entries
        assert (entry.kind, entry.event, entry.entered) == ("forced", "$forced", True)
        assert entry.trigger == {"reason": "lost", "by": "anna"}
        assert entry.change == Change({"packed": "by hand", "extra": [1]})
        assert await runtime.get(created.id) == after


@check("due")
async def force_follows_automatic_transitions(world: World) -> None:
    """As on any entry."""
    async with world.runtime(ORDER, guards=[shipped]) as runtime:
        created = await runtime.create("order", {"shipped": True})
        result = await runtime.force(created.id, state="packed", reason="x")
        assert [(e.event, e.to_state) for e in result.entries] == [("$forced", "packed"), ("$auto", "done")]
        assert (result.to_state, result.instance.outcome) == ("done", "done")


@check("due")
async def force_leads_out_of_a_final_state(world: World) -> None:
    """Invariant 7: by explicit operator action only, which is recorded; it lives again."""
    async with world.runtime(ORDER, guards=[shipped]) as runtime:
        created = await runtime.create("order")
        await runtime.cancel(created.id)
        world.clock.advance(HOUR)
        revived = (await runtime.force(created.id, state="open", reason="mistake")).instance
        assert (revived.state, revived.outcome, revived.finished_at) == ("open", None, None)
        assert revived.timers == (ArmedTimer("expire", START + HOUR + DAY),)
        world.clock.advance(DAY)
        assert await runtime.fire_due_timers() == SweepResult(fired=1)


@check("due")
async def it_finished_when_it_last_finished(world: World) -> None:
    """Revived and led to its end again in one step, or moved from one final state to another."""
    async with world.runtime(ORDER, guards=[shipped]) as runtime:
        created = await runtime.create("order", {"shipped": True})
        await runtime.cancel(created.id)
        for state in ("packed", "stopped", "done"):
            now = world.clock.advance(HOUR)
            after = (await runtime.force(created.id, state=state, reason="again")).instance
            assert after.outcome == ("cancelled" if state == "stopped" else "done")
            assert (after.finished_at, after.entered_at) == (now, now)
            assert await runtime.get(created.id) == after


@check("due")
async def an_operator_says_why_and_where(world: World) -> None:
    """A forced move needs a reason, a known state and context that can be stored."""
    async with world.runtime(ORDER, guards=[shipped]) as runtime:
        created = await runtime.create("order")
        bad: list[tuple[dict[str, object], str]] = [
            ({"state": "open", "reason": ""}, "reason"),
            ({"state": "nowhere", "reason": "x"}, "nowhere"),
            ({"state": "open", "reason": "x", "context": {"a": {1}}}, "context"),
            ({"state": "open", "reason": "x", "context": [1]}, "context"),
            ({"state": "open", "reason": 5}, "reason"),
            ({"state": "open", "reason": "x", "by": 5}, "by"),
        ]
        for arguments, match in bad:
            with pytest.raises(InvalidArgument, match=match):
                await runtime.force(created.id, **arguments)  # type: ignore[arg-type]
        assert await runtime.get(created.id) == created
        for call in (
            runtime.cancel(uuid4()),
            runtime.force(uuid4(), state="open", reason="x"),
            runtime.rearm(uuid4()),
            runtime.delete(uuid4()),
        ):
            with pytest.raises(InstanceNotFound):
                await call


@check("due")
async def only_finished_ones_are_deleted(world: World) -> None:
    """Or by force; its history goes with it, its ref is free, its timers never fire."""
    async with world.runtime(PLAIN) as runtime:
        created = await runtime.create("plain", ref="A1")
        with pytest.raises(InvalidArgument, match="still open"):
            await runtime.delete(created.id)
        assert await runtime.get(created.id) == created
        assert await runtime.delete(created.id, force=True) == created
        for call in (runtime.get(created.id), runtime.history(created.id), runtime.fire(created.id, "end")):
            with pytest.raises(InstanceNotFound):
                await call
        again = await runtime.create("plain", ref="A1")
        ended = (await runtime.fire(again.id, "end")).instance
        assert await runtime.delete(("plain", "A1")) == ended
        world.clock.advance(9 * DAY)
        assert await runtime.fire_due_timers() == SweepResult()
        assert (await runtime.list()).instances == ()
