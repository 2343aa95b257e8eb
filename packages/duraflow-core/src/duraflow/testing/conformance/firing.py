"""`fire`, `try_fire`, `fire_many`: is the right transition taken, and is what was told what happened?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.definition.values import State, Transition, Wildcard, all_of, any_of, not_
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    CommandFailed,
    DefinitionNotFound,
    EventRefused,
    InstanceNotFound,
    InvalidArgument,
    Rejected,
)
from duraflow.instance import ArmedTimer, Blocker, Change, CommandResult, HistoryEntry
from duraflow.results import Failure, FireResult, Firing, Success, Unfired
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import HOUR, MINUTE, World, check, note


def rich(context: Mapping[str, Any]) -> bool | Blocker:
    """At least 10 in the pocket."""
    has = context.get("pocket", 0)
    return True if has >= 10 else Blocker("too_poor", f"has {has}", {"has": has, "needs": 10})


def grown_up(context: Mapping[str, Any]) -> bool:
    """A plain no."""
    return bool(context.get("age", 0) >= 18)


def tired(context: Mapping[str, Any]) -> bool:
    """Yes if the context says so."""
    return bool(context.get("tired"))


@attrs.frozen
class Payment:
    """A typed payload."""

    amount: int
    on: date
    note: str = ""


def pays_enough(payload: Payment) -> bool:
    """Looks at the payload as its class."""
    return payload.amount >= 100


def pay_in(ctx: Any) -> Success:
    """Sees the payload as its class."""
    assert isinstance(ctx.payload, Payment)
    ctx.context["paid"] = ctx.context.get("paid", 0) + ctx.payload.amount
    note(ctx)
    return Success({"on": ctx.payload.on})


SHOP = Workflow(
    name="shop",
    initial="outside",
    events={"pay": Payment},
    groups={"inside": ["counter", "shelf"]},
    states=[
        State(
            "outside",
            [
                Transition("enter", target="counter", guard=rich),
                Transition("enter", target="shelf", guard=grown_up),
                Transition("knock", target="outside"),
                Transition("leave", target="gone", guard=tired),
                Transition("wait", target="outside", guard=all_of(rich, any_of(tired, not_(grown_up)))),
            ],
            context={"place": "street"},
        ),
        State(
            "counter",
            [
                Transition("pay", target="gone", guard=pays_enough, commands=[pay_in]),
                Transition("pay", commands=[pay_in]),
                Transition("step_back", target="outside"),
            ],
            context={"place": "shop", "seen": {"counter": True}},
        ),
        State("shelf", [Transition("step_back", target="outside")]),
        State("gone"),
    ],
    from_any=[
        Transition("alarm", target="gone"),
        Wildcard([Transition("leave", target="shelf")], exclude=["inside"]),
    ],
)


@check()
async def a_move_is_what_it_says(world: World) -> None:
    """The result, the row and the entry, every field: declared context laid over by top-level key."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"pocket": 10, "seen": {"street": True}})
        world.clock.advance(MINUTE)
        result = await runtime.fire(created.id, "enter", {"how": ["slowly"]}, trigger={"by": "anna"})
        (entry,) = result.entries
        after = attrs.evolve(
            created,
            state="counter",
            version=2,
            updated_at=START + MINUTE,
            entered_at=START + MINUTE,
            context={"place": "shop", "pocket": 10, "seen": {"counter": True}},
        )
        assert entry == HistoryEntry(
            instance_id=created.id,
            seq=2,
            kind="moved",
            event="enter",
            from_state="outside",
            to_state="counter",
            at=START + MINUTE,
            definition_version=1,
            attempt_id=entry.attempt_id,
            transition_id=entry.transition_id,
            payload={"how": ["slowly"]},
            trigger={"by": "anna"},
            change=Change({"place": "shop", "seen": {"counter": True}}),
        )
        assert entry.transition_id is not None
        assert result == FireResult("success", "enter", "outside", "counter", after, (entry,))
        assert (result.ok, result.or_raise(), result.commands) == (True, result, ())
        assert await runtime.get(created.id) == after
        assert (await runtime.history(created.id))[1:] == (entry,)


@check()
async def candidates_are_tried_in_declared_order(world: World) -> None:
    """The first whose guards hold wins, whatever later ones say."""
    async with world.runtime(SHOP) as runtime:
        cases = [({"pocket": 10, "age": 18}, "counter"), ({"age": 18}, "shelf"), ({"pocket": 10}, "counter")]
        for context, expected in cases:
            created = await runtime.create("shop", context)
            assert (await runtime.fire(created.id, "enter")).to_state == expected


@check()
async def a_rejection_is_recorded_and_changes_nothing_else(world: World) -> None:
    """All blockers of all candidates; version and seq rise, state, context, timers and entry time stay."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"pocket": 3})
        world.clock.advance(MINUTE)
        result = await runtime.fire(created.id, "enter", [1], trigger={"by": "anna"})
        blockers = (
            Blocker("too_poor", "has 3", {"has": 3, "needs": 10}, "rich", "states[outside].transitions[0]"),
            Blocker(
                "grown_up", "guard 'grown_up' does not hold", {}, "grown_up", "states[outside].transitions[1]"
            ),
        )
        after = attrs.evolve(created, version=2, updated_at=START + MINUTE)
        (entry,) = result.entries
        assert entry == HistoryEntry(
            instance_id=created.id,
            seq=2,
            kind="rejected",
            event="enter",
            from_state="outside",
            to_state="outside",
            at=START + MINUTE,
            definition_version=1,
            attempt_id=entry.attempt_id,
            status="rejected",
            entered=False,
            blockers=blockers,
            payload=[1],
            trigger={"by": "anna"},
        )
        assert result == FireResult("rejected", "enter", "outside", "outside", after, (entry,), blockers)
        assert not result.ok
        with pytest.raises(Rejected, match="has 3") as caught:
            result.or_raise()
        assert caught.value.result is result
        assert await runtime.get(created.id) == after
        assert (await runtime.history(created.id))[1:] == (entry,)


@check()
async def combined_guards_tell_what_is_missing(world: World) -> None:
    """`all_of` tells of all parts that say no, `any_of` of all its parts, `not_` of what holds."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"age": 18})
        result = await runtime.fire(created.id, "wait")
        assert [(blocker.guard, blocker.code) for blocker in result.blockers] == [
            ("rich", "too_poor"),
            ("tired", "tired"),
            ("not grown_up", "not"),
        ]
        for context in ({"pocket": 10, "age": 18, "tired": True}, {"pocket": 10}):
            created = await runtime.create("shop", context)
            assert (await runtime.fire(created.id, "wait")).status == "success"


@check()
async def a_refusal_records_nothing(world: World) -> None:
    """Unknown, not accepted here, finished: each with its reason and what is accepted."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"pocket": 10})
        accepted = ("enter", "knock", "leave", "wait", "alarm")
        for event, reason in (("sing", "unknown_event"), ("pay", "not_accepted")):
            payload = Payment(1, date(2024, 1, 1)) if event == "pay" else None
            with pytest.raises(EventRefused) as caught:
                await runtime.fire(created.id, event, payload)
            error = caught.value
            assert (error.instance_id, error.workflow, error.state, error.event, error.reason) == (
                created.id,
                "shop",
                "outside",
                event,
                reason,
            )
            assert error.accepted == accepted
        assert await runtime.get(created.id) == created
        await runtime.fire(created.id, "alarm")
        for event in ("alarm", "enter", "sing"):
            with pytest.raises(EventRefused) as caught:
                await runtime.fire(created.id, event)
            assert (caught.value.reason, caught.value.accepted) == ("finished", ())
        assert len(await runtime.history(created.id)) == 2


@check()
async def who_is_not_there_cannot_be_fired_at(world: World) -> None:
    """By id and by ref; the error has what was asked for."""
    async with world.runtime(SHOP) as runtime:
        for target in (UUID(int=1), ("shop", "A1")):
            with pytest.raises(InstanceNotFound) as caught:
                await runtime.fire(target, "knock")
            assert (caught.value.target, caught.value.namespace) == (target, world.namespace)
        with pytest.raises(DefinitionNotFound):
            await runtime.fire(("nothing", "A1"), "knock")


@check()
async def wildcards_come_after_the_states_own(world: World) -> None:
    """Also when those are blocked; not where they are excluded, never from a final state."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"tired": True})
        assert (await runtime.fire(created.id, "leave")).to_state == "gone"
        created = await runtime.create("shop")
        assert (await runtime.fire(created.id, "leave")).to_state == "shelf"
        with pytest.raises(EventRefused, match="does not accept 'leave'"):
            await runtime.fire(created.id, "leave")
        assert (await runtime.fire(created.id, "alarm")).to_state == "gone"


@check()
async def a_payload_has_the_type_of_its_event(world: World) -> None:
    """Given as its class or as a mapping, guards and commands see the class, history has plain values."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"pocket": 10})
        await runtime.fire(created.id, "enter")
        first = await runtime.fire(created.id, "pay", {"amount": 30, "on": date(2024, 2, 29)})
        assert (first.to_state, first.entries[0].entered) == ("counter", False)
        second = await runtime.fire(created.id, "pay", Payment(100, date(2024, 3, 1), "rest"))
        assert (second.to_state, second.instance.context["paid"]) == ("gone", 130)
        stored = [entry.payload for entry in (await runtime.history(created.id))[2:]]
        assert stored == [entry.payload for entry in (*first.entries, *second.entries)]
        assert [payload["amount"] for payload in stored] == [30, 100]
        assert second.commands == (CommandResult("pay_in", data={"on": date(2024, 3, 1)}),)


BAD_PAYLOADS: list[tuple[str, Any]] = [
    ("pay", {"amount": "many", "on": date(2024, 1, 1)}),
    ("pay", {"amount": 1, "on": "2024-01-01"}),
    ("pay", {"amount": 1}),
    ("pay", {"amount": 1, "on": date(2024, 1, 1), "more": 1}),
    ("pay", None),
    ("pay", 5),
    ("knock", {1, 2}),
    ("knock", {"x": float("nan")}),
    ("knock", object()),
    ("knock", "\x00"),
    ("knock", "\ud800"),
    ("knock", {1: "x"}),
    ("knock", datetime(2024, 1, 1)),  # noqa: DTZ001  # naive on purpose
]


@check()
async def a_bad_payload_is_refused_before_anything_is_read(world: World) -> None:
    """Also for an instance that does not exist; nothing is recorded."""
    async with world.runtime(SHOP) as runtime:
        created = await runtime.create("shop", {"pocket": 10})
        for event, payload in BAD_PAYLOADS:
            for target in (created.id, uuid4()):
                with pytest.raises(InvalidArgument):
                    await runtime.fire(target, event, payload)
        assert await runtime.get(created.id) == created


def _coins(ctx: Any) -> Success:
    ctx.context["coins"] = (1, (2,))
    ctx.context["when"] = datetime(2024, 1, 1, tzinfo=UTC)
    return Success((1, {"a": (2,)}))


def _unsure() -> Blocker:
    return Blocker("unsure", "maybe", {"odds": (1, (2,))})


@check()
async def what_is_returned_is_what_is_stored(world: World) -> None:
    """Everything goes through the codec once: lists for tuples, in results as in what is read later."""
    mint = Workflow(
        name="mint",
        initial="a",
        states=[
            State(
                "a",
                [
                    Transition("strike", commands=[_coins]),
                    Transition("go", target="b"),
                    Transition("doubt", target="b", guard=_unsure),
                ],
            ),
            State("b", [Transition("strike", target="b", commands=[_coins])], context={"declared": [1]}),
        ],
    )
    async with world.runtime(mint) as runtime:
        created = await runtime.create("mint", {"t": (1,)}, metadata={"m": (1,)})
        for event in ("strike", "doubt", "go", "strike"):
            result = await runtime.fire(created.id, event, {"p": (1, 2)}, trigger={"by": ("a", "b")})
            assert await runtime.get(created.id) == result.instance
            assert (await runtime.history(created.id, newest_first=True, limit=1)) == result.entries
            assert result.blockers == result.entries[0].blockers


@check()
async def results_are_the_callers_own(world: World) -> None:
    """Changing what a result holds, or what was given, changes neither store nor later results."""
    kept: dict[str, Any] = {}

    def keep(ctx: Any) -> Success:
        kept["list"] = ctx.context.setdefault("list", [])
        kept["list"].append(len(kept["list"]))
        kept["data"] = [1]
        ctx.payload["p"].append("by the command")
        return Success(kept["data"])

    box = Workflow(name="box", initial="a", states=[State("a", [Transition("put", commands=[keep])])])
    async with world.runtime(box) as runtime:
        created = await runtime.create("box")
        payload = {"p": [1]}
        result = await runtime.fire(created.id, "put", payload)
        kept["list"].append("later")
        kept["data"].append("later")
        payload["p"].append(2)
        stored = (await runtime.history(created.id))[1:]
        assert result.instance.context == {"list": [0]}
        assert result.entries == stored
        assert (stored[0].payload, stored[0].commands[0].data) == ({"p": [1]}, [1])
        result.instance.context["list"].append("mine")
        assert (await runtime.get(created.id)).context == {"list": [0]}


def _note(ctx: Any) -> None:
    ctx.context["notes"] = ctx.context.get("notes", 0) + 1
    note(ctx)


LAMP = Workflow(
    name="lamp",
    initial="on",
    states=[
        State(
            "on",
            [
                Transition("note", commands=[_note]),
                Transition("again", target="on"),
                Transition(target="broken", guard="worn_out"),
                Transition("dim", target="dimmed", after=HOUR),
            ],
            context={"light": "bright"},
        ),
        State("dimmed", [Transition("again", target="on")], context={"light": "low"}),
        State("broken"),
    ],
)


def _worn_out(context: Mapping[str, Any]) -> bool:
    return bool(context.get("notes", 0) >= 3)


@check("due")
async def an_internal_move_stays_put(world: World) -> None:
    """LESSONS 4.1: timers, entry time, declared context and automatic transitions are untouched."""
    async with world.runtime(LAMP, guards={"worn_out": _worn_out}) as runtime:
        created = await runtime.create("lamp")
        await runtime.fire(created.id, "note")
        world.clock.advance(MINUTE)
        await runtime.fire(created.id, "note")
        result = await runtime.fire(created.id, "note")
        after = result.instance
        assert (after.state, after.context) == ("on", {"light": "bright", "notes": 3})
        assert (after.entered_at, after.updated_at) == (START, START + MINUTE)
        assert after.timers == (ArmedTimer("dim", START + HOUR),)
        (entry,) = result.entries
        assert (entry.entered, entry.from_state, entry.to_state, entry.timers) == (False, "on", "on", None)
        assert entry.change == Change({"notes": 3})


@check("due")
async def a_move_to_its_own_state_enters_it_again(world: World) -> None:
    """Timers begin anew, the declared context is laid over, automatic transitions are tried."""
    async with world.runtime(LAMP, guards={"worn_out": _worn_out}) as runtime:
        created = await runtime.create("lamp", {"light": "own"})
        world.clock.advance(MINUTE)
        result = await runtime.fire(created.id, "again")
        after = result.instance
        assert (after.state, after.context, after.entered_at) == ("on", {"light": "bright"}, START + MINUTE)
        assert after.timers == (ArmedTimer("dim", START + MINUTE + HOUR),)
        assert result.entries[0].timers == after.timers
        for _ in range(3):
            await runtime.fire(created.id, "note")
        result = await runtime.fire(created.id, "again")
        assert [(entry.event, entry.to_state) for entry in result.entries] == [
            ("again", "on"),
            ("$auto", "broken"),
        ]
        assert (result.instance.timers, result.instance.outcome) == ((), "done")


@check("due")
async def both_paths_write_the_same(world: World) -> None:
    """What is decided without a lock equals what is decided under one."""
    seen = []
    for locking in ("auto", "always"):
        async with world.runtime(SHOP, LAMP, guards={"worn_out": _worn_out}, locking=locking) as runtime:
            told = []
            shop = await runtime.create("shop", {"pocket": 4})
            for event in ("enter", "knock", "leave", "alarm"):
                result = await runtime.fire(shop.id, event, trigger={"n": 1})
                told.append((result.status, result.blockers, result.instance.context))
            lamp = await runtime.create("lamp")
            for event in ("again", "note", "again"):  # each arms anew, or leaves what is armed
                result = await runtime.fire(lamp.id, event)
                told.append((result.status, (), {"timers": result.instance.timers}))
            entries = [*await runtime.history(shop.id), *await runtime.history(lamp.id)]
            anonymous = [
                attrs.evolve(e, instance_id=UUID(int=0), attempt_id=UUID(int=0), transition_id=None)
                for e in entries
            ]
            seen.append((told, anonymous))
    assert seen[0] == seen[1]


def _maybe(ctx: Any) -> Failure | None:
    note(ctx)
    ctx.context["tries"] = 1
    return Failure("closed", "not today") if ctx.payload == "fail" else None


MANY = Workflow(
    name="many",
    initial="a",
    states=[
        State(
            "a",
            [
                Transition("go", target="b"),
                Transition("work", commands=[_maybe]),
                Transition("maybe", target="b", guard=tired),
            ],
        ),
        State("b", [Transition("back", target="a"), Transition("work", target="a", commands=[_maybe])]),
    ],
)


@check()
async def try_fire_gives_refusals_as_values(world: World) -> None:
    """Also failed commands; wrong arguments, and whatever commands raise, are raised."""
    async with world.runtime(MANY) as runtime:
        created = await runtime.create("many")
        refused = await runtime.try_fire(created.id, "back")
        assert isinstance(refused, Unfired)
        assert isinstance(refused.error, EventRefused)
        assert not refused.ok
        with pytest.raises(EventRefused):
            refused.or_raise()
        failed = await runtime.try_fire(created.id, "work", "fail")
        assert isinstance(failed, Unfired)
        assert isinstance(failed.error, CommandFailed)
        missing = await runtime.try_fire(uuid4(), "go")
        assert isinstance(missing, Unfired)
        rejected = await runtime.try_fire(created.id, "maybe")
        assert isinstance(rejected, FireResult)
        assert rejected.status == "rejected"
        assert (await runtime.try_fire(created.id, "go")).ok
        with pytest.raises(InvalidArgument):
            await runtime.try_fire(created.id, "")
        assert len(await runtime.history(created.id)) == 3
        assert len(world.ledger) == 0


@check()
async def many_events_are_each_for_themselves(world: World) -> None:
    """Answers in the order given, whatever became of each; one that is refused or fails stops no other."""
    async with world.runtime(MANY) as runtime:
        one, two = await runtime.create("many", ref="A1"), await runtime.create("many")
        answers = await runtime.fire_many(
            [
                Firing(one.id, "go", {"n": 1}, {"by": "anna"}),
                Firing(two.id, "back"),
                Firing(two.id, "work", "fail"),
                Firing(uuid4(), "go"),
                Firing(two.id, "maybe"),
                Firing(one.id, "work"),
                Firing(two, "go"),
                Firing(str(one.id), "go"),
                Firing(("many", "A2"), "go"),
            ]
        )
        told = [a.status if isinstance(a, FireResult) else type(a.error).__name__ for a in answers]
        assert told == [
            "success",
            "EventRefused",
            "CommandFailed",
            "InstanceNotFound",
            "rejected",
            "success",
            "success",
            "success",
            "InstanceNotFound",
        ]
        events = [entry.event for entry in await runtime.history(one.id)]
        assert events == ["$created", "go", "work", "go"]
        first = answers[0]
        assert isinstance(first, FireResult)
        assert (await runtime.history(one.id))[1] == first.entries[0]
        assert (first.entries[0].payload, first.entries[0].trigger) == ({"n": 1}, {"by": "anna"})
        assert await runtime.fire_many([]) == ()
        with pytest.raises(InvalidArgument):
            await runtime.fire_many([Firing(one.id, "back"), Firing(one.id, "work", {1})])
        assert (await runtime.get(one.id)).state == "b"


@check()
async def many_events_at_one_instance_keep_their_order(world: World) -> None:
    """However it is named in each, with commands or without."""
    async with world.runtime(MANY) as runtime:
        one = await runtime.create("many", ref="A1")
        names: list[Any] = [one.id, ("many", "A1"), one, str(one.id)]
        events = ["work", "go", "work", "go", "back", "go", "work"]
        for shift in range(len(names)):
            before = len(await runtime.history(one.id, limit=1_000))
            firings = [Firing(names[(i + shift) % 4], event) for i, event in enumerate(events)]
            answers = await runtime.fire_many(firings)
            assert [answer.ok for answer in answers] == [True] * len(events)
            added = (await runtime.history(one.id, limit=1_000))[before:]
            assert [entry.event for entry in added] == events
