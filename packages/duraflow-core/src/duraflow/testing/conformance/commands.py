"""Commands: do their writes commit with the move, or not at all?"""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from duraflow.definition.values import CommandRef, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import EventRefused, InvalidArgument, Misuse
from duraflow.instance import Change, CommandResult
from duraflow.results import Failure, Success
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import HOUR, World, check, note
from duraflow.testing.ledger import TransactionalLedger


def _flow(*commands: Any, name: str = "flow", **more: Any) -> Workflow:
    return Workflow(
        name=name,
        initial="a",
        states=[
            State(
                "a", [Transition("go", target="b", commands=commands, **more), Transition("skip", target="b")]
            ),
            State("b", [Transition("back", target="a"), Transition("late", target="a", after=HOUR)]),
            State("bad", [Transition("back", target="a")]),
        ],
    )


@check("due")
async def a_command_sees_its_whole_world(world: World) -> None:
    """Everything that DESIGN and the docs promise it."""
    seen: list[Any] = []

    def look(ctx: Any) -> None:
        seen.append(ctx)

    flow = _flow(CommandRef("look", metadata={"copies": 2}), CommandRef("look"))
    async with world.runtime(flow, commands=[look]) as runtime:
        created = await runtime.create("flow", {"n": 1}, metadata={"team": "a"})
        subject = object()
        result = await runtime.fire(created.id, "go", {"p": 1}, subject=subject, trigger={"by": "anna"})
        first, second = seen
        assert (first.payload, first.subject, first.metadata) == ({"p": 1}, subject, {"team": "a"})
        assert (first.command.metadata, second.command.metadata) == ({"copies": 2}, {})
        assert (first.trigger, first.now, first.event) == ({"by": "anna"}, START, "go")
        assert (first.from_state, first.to_state) == ("a", "b")
        assert first.instance == created
        assert first.context is second.context
        assert first.transition_id == second.transition_id == result.entries[0].transition_id


@check("due")
async def a_raised_exception_undoes_everything(world: World) -> None:
    """Rows, context and history; the exception itself goes on, with a note about whose it is."""

    def write(ctx: Any) -> None:
        note(ctx)
        ctx.context["n"] = 1

    def burst(ctx: Any) -> None:
        raise ZeroDivisionError("by nothing")

    async with world.runtime(_flow(write, burst, error_target="bad")) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(ZeroDivisionError, match="by nothing") as caught:
            await runtime.fire(created.id, "go")
        assert any("burst" in text for text in caught.value.__notes__)
        assert await runtime.get(created.id) == created
        assert len(await runtime.history(created.id)) == 1
        assert len(world.ledger) == 0
        assert (await runtime.fire(created.id, "skip")).ok


@check("due")
async def a_best_effort_command_undoes_only_itself(world: World) -> None:
    """LESSONS 4.7: best effort is of the use. Its rows and context go, the others' stay; the error is its result."""

    def write(ctx: Any) -> Success:
        note(ctx)
        ctx.context["written"] = ctx.context.get("written", 0) + 1
        ctx.context.setdefault("deep", {}).setdefault("list", []).append(ctx.context["written"])
        return Success("written")

    def burst(ctx: Any) -> None:
        note(ctx)
        ctx.context["written"] = "spoilt"
        ctx.context["deep"]["list"].append("spoilt")
        ctx.context["extra"] = 1
        ctx.context.pop("old")
        raise ValueError("bad \x00 text \ud800")

    flow = _flow(write, CommandRef("burst", best_effort=True), CommandRef("write", best_effort=True))
    async with world.runtime(flow, commands=[write, burst]) as runtime:
        created = await runtime.create("flow", {"old": [1]})
        result = await runtime.fire(created.id, "go")
        assert result.status == "success"
        assert result.commands == (
            CommandResult("write", data="written"),
            CommandResult("burst", "error", code="ValueError", message="bad \ufffd text \ufffd"),
            CommandResult("write", data="written"),
        )
        assert result.instance.context == {"old": [1], "written": 2, "deep": {"list": [1, 2]}}
        assert result.entries[0].change == Change({"written": 2, "deep": {"list": [1, 2]}})
        assert world.ledger.counts == {
            (result.entries[0].transition_id, "write"): 2,
        }
        assert await runtime.get(created.id) == result.instance
    mandatory = _flow("burst", name="mandatory")
    async with world.runtime(
        mandatory, commands=[burst], namespace=f"{world.namespace}_b", invariants=False
    ) as runtime:
        created = await runtime.create("mandatory", {"old": 1, "deep": {"list": []}})
        with pytest.raises(ValueError, match="bad"):
            await runtime.fire(created.id, "go")


@check("due")
async def a_best_effort_failure_is_a_result(world: World) -> None:
    """It ends nothing and takes no error target; what it wrote stays, for it did not raise."""

    def decline(ctx: Any) -> Failure:
        note(ctx)
        ctx.context["asked"] = True
        return Failure("declined", "no \x00")

    flow = _flow(CommandRef("decline", best_effort=True), error_target=None)
    async with world.runtime(flow, commands=[decline]) as runtime:
        created = await runtime.create("flow")
        result = await runtime.fire(created.id, "go")
        assert (result.status, result.to_state) == ("success", "b")
        assert result.commands == (CommandResult("decline", "failure", code="declined", message="no \ufffd"),)
        assert result.instance.context == {"asked": True}


BAD_ANSWERS: list[Any] = [True, "done", 0, {}, Success, Exception("x")]
BAD_CONTEXTS: list[Any] = [{1}, float("inf"), object(), "\x00", "\ud800", {1: 2}]


@check("due")
async def a_command_that_breaks_the_rules_undoes_everything(world: World) -> None:
    """Answers that are none, context and results that cannot be stored: refused by name, nothing is written."""
    plan: list[Any] = []

    def act(ctx: Any) -> Any:
        note(ctx)
        kind, value = plan[0]
        if kind == "answer":
            return value
        if kind == "data":
            return Success(value)
        if kind == "key":
            ctx.context[value] = 1
        else:
            ctx.context["x"] = value
        return None

    async with world.runtime(_flow(act)) as runtime:
        created = await runtime.create("flow")
        plans = [("answer", value) for value in BAD_ANSWERS]
        plans += [("data", value) for value in BAD_CONTEXTS]
        plans += [("context", value) for value in BAD_CONTEXTS]
        plans += [("key", 1), ("key", None), ("key", ("a",))]
        for one in plans:
            plan[:] = [one]
            with pytest.raises(InvalidArgument, match=r"act|context"):
                await runtime.fire(created.id, "go")
            assert await runtime.get(created.id) == created
        assert len(world.ledger) == 0


@check("due")
async def a_command_may_act_on_other_instances(world: World) -> None:
    """Through `ctx.runtime`: create, fire, read; it all commits, or not, with the move."""
    made: list[Any] = []

    async def spawn(ctx: Any, runtime: Any) -> Failure | None:
        child = await runtime.create("other", {"parent": str(ctx.instance.id)}, ref=f"of {ctx.instance.id}")
        await runtime.fire(child.id, "skip")
        made.append(child.id)
        assert (await runtime.get(child.id)).state == "b"
        return Failure("no") if ctx.payload == "fail" else None

    flow, other = _flow("spawn"), _flow(name="other")
    async with world.runtime(flow, other, commands={"spawn": world.driver.command(spawn)}) as runtime:
        created = await runtime.create("flow")
        assert not (await runtime.try_fire(created.id, "go", "fail")).ok
        assert (await runtime.count("other")) == ()
        await runtime.fire(created.id, "go")
        child = await runtime.get(made[-1])
        assert (child.state, child.context, child.ref) == (
            "b",
            {"parent": str(created.id)},
            f"of {created.id}",
        )


@check("due")
async def a_command_cannot_act_on_its_own_instance(world: World) -> None:
    """Firing, cancelling, forcing, deleting, locking: each names the remedy, and all is undone."""
    acts: list[str] = ["fire", "cancel", "force", "rearm", "delete", "locked"]
    plan: list[str] = []

    async def meddle(ctx: Any, runtime: Any) -> None:
        target = ctx.instance.id
        match plan[0]:
            case "fire":
                await runtime.fire(target, "skip")
            case "cancel":
                await runtime.cancel(target)
            case "force":
                await runtime.force(target, state="b", reason="x")
            case "rearm":
                await runtime.rearm(target)
            case "delete":
                await runtime.delete(target, force=True)
            case _:
                async with runtime.locked(target):
                    pass

    async with world.runtime(_flow("meddle"), commands={"meddle": world.driver.command(meddle)}) as runtime:
        created = await runtime.create("flow")
        for act in acts:
            plan[:] = [act]
            with pytest.raises(Misuse, match="own instance"):
                await runtime.fire(created.id, "go")
            assert await runtime.get(created.id) == created


@check("due")
async def two_cannot_fire_at_each_other_in_circles(world: World) -> None:
    """A command that fires at another, whose command fires back: refused, all undone."""
    others: dict[str, UUID] = {}

    async def poke(ctx: Any, runtime: Any) -> None:
        await runtime.fire(others[str(ctx.instance.id)], "go")

    async with world.runtime(_flow("poke"), commands={"poke": world.driver.command(poke)}) as runtime:
        one, two = await runtime.create("flow"), await runtime.create("flow")
        others.update({str(one.id): two.id, str(two.id): one.id})
        with pytest.raises(Misuse, match="own instance"):
            await runtime.fire(one.id, "go")
        assert [await runtime.get(each.id) for each in (one, two)] == [one, two]


@check("due")
async def the_unbound_runtime_is_refused_inside_a_command(world: World) -> None:
    """Its writes would not belong to the transaction; the error names `ctx.runtime`."""
    outside: list[Any] = []

    async def stray(ctx: Any, runtime: Any) -> None:
        await outside[0].create("other")

    flow, other = _flow("stray"), _flow(name="other")
    async with world.runtime(flow, other, commands={"stray": world.driver.command(stray)}) as runtime:
        outside.append(runtime)
        created = await runtime.create("flow")
        with pytest.raises(Misuse, match=r"`ctx\.runtime`"):
            await runtime.fire(created.id, "go")
        assert await runtime.count("other") == ()
        # Afterwards it may be used as before.
        assert (await runtime.fire(created.id, "skip")).ok


@check("due")
async def what_is_caught_inside_a_command_is_undone(world: World) -> None:
    """A firing at another instance that fails is a savepoint: the command may go on without it."""

    def burst(ctx: Any) -> None:
        note(ctx)
        raise KeyError("x")

    async def careful(ctx: Any, runtime: Any) -> None:
        note(ctx)
        for event in ("go", "late"):
            try:
                await runtime.fire(UUID(ctx.payload), event)
            except (KeyError, EventRefused) as error:
                ctx.context[event] = type(error).__name__

    flow, other = _flow("careful"), _flow("burst", name="other")
    commands = {"careful": world.driver.command(careful), "burst": burst}
    async with world.runtime(flow, other, commands=commands) as runtime:
        created, target = await runtime.create("flow"), await runtime.create("other")
        result = await runtime.fire(created.id, "go", str(target.id))
        assert result.instance.context == {"go": "KeyError", "late": "EventRefused"}
        assert await runtime.get(target.id) == target
        assert world.ledger.keys == ((result.entries[0].transition_id, "careful"),)


@check("due")
async def a_resource_is_made_once_for_each_unit_of_work(world: World) -> None:
    """Shared by all commands of a step, never by two steps; one that nobody gave is named."""
    seen: list[Any] = []

    def use(ctx: Any) -> None:
        seen.append(ctx.resource(TransactionalLedger))
        seen.append(ctx.resource(TransactionalLedger))

    async with world.runtime(_flow(use)) as runtime:
        for _ in range(2):
            created = await runtime.create("flow")
            await runtime.fire(created.id, "go")
        assert seen[0] is seen[1]
        assert seen[2] is seen[3]
        assert seen[0] is not seen[2]
        async with runtime.transaction() as tx:
            assert tx.resource(TransactionalLedger) is tx.resource(TransactionalLedger)


@check("due")
async def now_is_one_time(world: World) -> None:
    """LESSONS 4.15: commands, history, timers and rows of one step have the same time, whatever the clock does."""

    def tick(ctx: Any) -> Success:
        world.clock.advance(HOUR)
        return Success(ctx.now)

    async with world.runtime(_flow(tick)) as runtime:
        created = await runtime.create("flow")
        result = await runtime.fire(created.id, "go")
        (entry,) = result.entries
        after = result.instance
        assert entry.commands[0].data == entry.at == after.updated_at == after.entered_at == START
        assert after.timers[0].due_at == START + HOUR


@check()
async def time_never_goes_back_within_an_instance(world: World) -> None:
    """A clock that is set back shows the time of the last change."""
    async with world.runtime(
        Workflow(name="w", initial="a", states=[State("a", [Transition("x", target="a")])])
    ) as runtime:
        created = await runtime.create("w")
        world.clock.advance(-HOUR)
        result = await runtime.fire(created.id, "x")
        assert result.entries[0].at == created.created_at
        assert result.instance.updated_at == created.updated_at
