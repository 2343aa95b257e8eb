"""Automatic transitions: does one step follow them to where they rest, and no further?"""

from __future__ import annotations

from typing import Any

import pytest

from duraflow.definition.values import CommandRef, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import Busy, ChainTooDeep, CommandFailed, EventRefused
from duraflow.instance import Change, Continuation
from duraflow.results import Failure, Success
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, World, check, note


def step(ctx: Any) -> Success:
    """Leave a trace of what it saw."""
    note(ctx)
    seen = [ctx.event, ctx.from_state, ctx.to_state, ctx.payload, ctx.subject]
    ctx.context["trace"] = [*ctx.context.get("trace", []), seen]
    return Success(len(ctx.context["trace"]))


def refuse(ctx: Any) -> Failure | None:
    """Fail if the context says so, after having written."""
    note(ctx)
    ctx.context["refused"] = True
    return Failure("no", "said so") if ctx.context.get("fail") else None


def has(key: str) -> Any:
    """A guard that looks for a key in the context."""

    def guard(context: Any) -> bool:
        return bool(context.get(key))

    guard.__name__ = f"has_{key}"
    return guard


LINE = Workflow(
    name="line",
    initial="start",
    states=[
        State("start", [Transition("go", target="one", commands=[step]), Transition("hop", target="one")]),
        State(
            "one",
            [
                Transition(commands=[step], guard=has("also")),
                Transition(target="dead_end", guard=has("dead")),
                Transition(target="two", commands=[step, refuse], error_target="trouble"),
                Transition("late", target="start", after=HOUR),
            ],
            context={"at": "one"},
        ),
        State("two", [Transition(target="rest", guard=has("trace"))], context={"at": "two"}),
        State("rest", [Transition("back", target="start"), Transition("late", target="start", after=DAY)]),
        State("trouble", [Transition("back", target="start")], context={"at": "trouble"}),
        State("dead_end", [Transition(target="rest", guard=has("key")), Transition("back", target="start")]),
    ],
)


@check("due")
async def a_step_follows_the_chain_to_its_rest(world: World) -> None:
    """Every hop is an entry of its own, in one write; only the state of rest arms its timers."""
    async with world.runtime(LINE) as runtime:
        created = await runtime.create("line")
        result = await runtime.fire(created.id, "go", {"p": 1}, subject="s", trigger={"by": "x"})
        assert (result.status, result.from_state, result.to_state) == ("success", "start", "rest")
        hops = [
            (e.seq, e.event, e.from_state, e.to_state, e.entered, [c.name for c in e.commands])
            for e in result.entries
        ]
        assert hops == [
            (2, "go", "start", "one", True, ["step"]),
            (3, "$auto", "one", "two", True, ["step", "refuse"]),
            (4, "$auto", "two", "rest", True, []),
        ]
        assert [entry.payload for entry in result.entries] == [{"p": 1}, None, None]
        assert {entry.attempt_id for entry in result.entries} == {result.entries[0].attempt_id}
        assert len({entry.transition_id for entry in result.entries}) == 3
        assert [entry.trigger for entry in result.entries] == [{"by": "x"}] * 3
        assert [entry.timers for entry in result.entries] == [None, None, result.instance.timers]
        assert [timer.due_at for timer in result.instance.timers] == [START + DAY]
        assert [r.name for r in result.commands] == ["step", "step", "refuse"]
        # Payload and subject of the event are passed on through all hops.
        assert result.instance.context["trace"] == [
            ["go", "start", "one", {"p": 1}, "s"],
            ["$auto", "one", "two", {"p": 1}, "s"],
        ]
        assert await runtime.history(created.id, after=1) == result.entries
        assert await runtime.get(created.id) == result.instance


@check("due")
async def commands_write_first_then_the_entered_state(world: World) -> None:
    """The declared context is laid over what commands wrote, hop by hop; each entry has its own changes."""

    def scribble(ctx: Any) -> None:
        ctx.context.update(at="command", n=ctx.context["n"] + 1)
        ctx.context.pop("old", None)

    states = [
        State("a", [Transition("go", target="b", commands=[scribble])], context={"n": 0, "old": 1}),
        State("b", [Transition(target="c", commands=[scribble])], context={"at": "b", "old": 2}),
        State("c", [Transition("go", target="a")]),
    ]
    async with world.runtime(Workflow(name="ink", initial="a", states=states)) as runtime:
        created = await runtime.create("ink")
        result = await runtime.fire(created.id, "go")
        assert [entry.change for entry in result.entries] == [
            Change({"at": "b", "n": 1, "old": 2}),
            Change({"at": "command", "n": 2}, ("old",)),
        ]
        assert result.instance.context == {"at": "command", "n": 2}


@check("due")
async def a_targetless_one_runs_and_the_search_goes_on(world: World) -> None:
    """It is recorded as an internal hop; later guards see what it wrote."""
    async with world.runtime(LINE) as runtime:
        created = await runtime.create("line", {"also": True})
        result = await runtime.fire(created.id, "hop")
        hops = [(e.event, e.from_state, e.to_state, e.entered) for e in result.entries]
        assert hops == [
            ("hop", "start", "one", True),
            ("$auto", "one", "one", False),
            ("$auto", "one", "two", True),
            ("$auto", "two", "rest", True),
        ]


@check("due")
async def a_chain_rests_where_no_guard_holds(world: World) -> None:
    """That is no rejection: nothing is recorded of the guards that said no."""
    async with world.runtime(LINE) as runtime:
        created = await runtime.create("line", {"dead": True})
        result = await runtime.fire(created.id, "hop")
        assert (result.status, result.to_state, len(result.entries)) == ("success", "dead_end", 2)
        assert result.blockers == ()


@check("due")
async def a_failure_takes_the_error_target_with_what_was_written(world: World) -> None:
    """DESIGN 3: rows and context, the failing command's included, commit with that move; later commands do not run."""
    async with world.runtime(LINE) as runtime:
        created = await runtime.create("line", {"fail": True})
        result = await runtime.fire(created.id, "go")
        assert (result.status, result.to_state, result.ok) == ("failure", "trouble", False)
        first, second = result.entries
        assert (first.status, second.status, second.to_state) == ("success", "failure", "trouble")
        assert [(c.name, c.status, c.code, c.message) for c in second.commands] == [
            ("step", "success", None, None),
            ("refuse", "failure", "no", "said so"),
        ]
        assert result.instance.context["refused"] is True
        assert result.instance.context["at"] == "trouble"
        assert len(world.ledger) == 3
        assert result.or_raise() is result


@check("due")
async def a_failure_without_error_target_undoes_all_hops(world: World) -> None:
    """`CommandFailed`: no entry, no context, no effect of the whole step."""
    states = [
        State("a", [Transition("go", target="b", commands=[step])]),
        State("b", [Transition(target="c", commands=[step, refuse])]),
        State("c"),
    ]
    async with world.runtime(Workflow(name="line", initial="a", states=states)) as runtime:
        created = await runtime.create("line", {"fail": True})
        with pytest.raises(CommandFailed) as caught:
            await runtime.fire(created.id, "go")
        error = caught.value
        assert (error.instance_id, error.command, error.code, error.message) == (
            created.id,
            "refuse",
            "no",
            "said so",
        )
        assert await runtime.get(created.id) == created
        assert len(await runtime.history(created.id)) == 1
        assert len(world.ledger) == 0


def _loop(length: int) -> Workflow:
    states = [State("s0", [Transition("go", target="s1")])]
    states += [
        State(f"s{n}", [Transition(target=f"s{n + 1}"), Transition("out", target="s0")])
        for n in range(1, length + 1)
    ]
    return Workflow(name="loop", initial="s0", states=[*states, State(f"s{length + 1}")])


@check()
async def a_chain_has_a_bound(world: World) -> None:
    """Ten hops by default: as many are taken, one more undoes all."""
    async with world.runtime(_loop(10)) as runtime:
        created = await runtime.create("loop")
        assert (await runtime.fire(created.id, "go")).instance.version == 12
    async with world.runtime(_loop(10), max_automatic_moves=9, namespace=f"{world.namespace}_b") as runtime:
        created = await runtime.create("loop")
        with pytest.raises(ChainTooDeep) as caught:
            await runtime.fire(created.id, "go")
        assert (caught.value.limit, caught.value.states) == (9, tuple(f"s{n}" for n in range(1, 11)))
        assert await runtime.get(created.id) == created


@check()
async def a_loop_that_never_rests_is_stopped(world: World) -> None:
    """With guards that stay true, also one that stays in place with commands."""

    def always() -> bool:
        return True

    states = [
        State("a", [Transition("go", target="b")]),
        State("b", [Transition(target="b", guard=always, commands=[step]), Transition("out", target="a")]),
    ]
    async with world.runtime(Workflow(name="mill", initial="a", states=states)) as runtime:
        created = await runtime.create("mill")
        with pytest.raises(ChainTooDeep):
            await runtime.fire(created.id, "go")
        assert await runtime.get(created.id) == created
        assert len(world.ledger) == 0


POST = Workflow(
    name="post",
    initial="draft",
    states=[
        State(
            "draft", [Transition("send", target="ready", commands=[step]), Transition("idle", target="draft")]
        ),
        State(
            "ready",
            [
                Transition(target="stuck", guard=has("stuck")),
                Transition(target="sent", commands=[CommandRef("mail", external=True)]),
                Transition("late", target="draft", after=HOUR),
                Transition("drop", target="draft"),
            ],
            context={"ready": True},
        ),
        State(
            "sent", [Transition("mail_again", target="sent", commands=[CommandRef("mail", external=True)])]
        ),
        State("stuck", [Transition("drop", target="draft")]),
    ],
)


def mail(ctx: Any) -> None:
    """Never run by a runtime: it is a worker's job."""
    raise AssertionError("an external command ran inside a step")


@check("due")
async def a_chain_stops_before_what_is_external(world: World) -> None:
    """It commits in the state before, with no timers, says `continuing`, and leaves due work for a worker."""
    async with world.runtime(POST, commands=[mail]) as runtime:
        created = await runtime.create("post")
        result = await runtime.fire(created.id, "send", {"to": ["anna"]})
        after = result.instance
        assert (result.status, result.to_state, result.ok, len(result.entries)) == (
            "continuing",
            "ready",
            True,
            1,
        )
        assert (after.timers, after.context["ready"], after.due_at) == ((), True, None)
        left = after.continuation
        assert left is not None
        assert left == Continuation(
            "send", {"to": ["anna"]}, left.transition_id, "states[ready].transitions[1]"
        )
        assert await runtime.get(created.id) == after
        assert len(world.ledger) == 1
        # Until that is done the instance is busy, for commands and for plain moves alike.
        for event in ("drop", "late"):
            with pytest.raises(Busy, match=r"states\[ready\]\.transitions\[1\]"):
                await runtime.fire(created.id, event)
        with pytest.raises(EventRefused):
            await runtime.fire(created.id, "idle")
        assert await runtime.get(created.id) == after
        # A sweep does not touch it.
        world.clock.advance(DAY)
        assert (await runtime.fire_due_timers()).fired == 0
        assert await runtime.get(created.id) == after
        # An operator still may.
        await runtime.cancel(created.id)
        ended = await runtime.get(created.id)
        assert (ended.outcome, ended.continuation) == ("cancelled", None)


@check("due")
async def an_earlier_candidate_avoids_the_external_one(world: World) -> None:
    """The chain stops only for what it would really take."""
    async with world.runtime(POST, commands=[mail]) as runtime:
        created = await runtime.create("post", {"stuck": True})
        result = await runtime.fire(created.id, "send")
        assert (result.status, result.to_state) == ("success", "stuck")


@check("due")
async def fire_refuses_external_commands(world: World) -> None:
    """The error names `send`; nothing is recorded."""
    async with world.runtime(POST, commands=[mail]) as runtime:
        created = await runtime.create("post")
        forced = (await runtime.force(created.id, state="sent", reason="test")).instance
        with pytest.raises(EventRefused, match="`send`") as caught:
            await runtime.fire(created.id, "mail_again")
        assert (caught.value.reason, caught.value.accepted) == ("external", ("mail_again",))
        assert await runtime.get(created.id) == forced


@check("due")
async def a_creation_may_continue_too(world: World) -> None:
    """Its first state may lead straight to an external hop."""
    states = [
        State("begin", [Transition(target="sent", commands=[CommandRef("mail", external=True)])]),
        State("sent"),
    ]
    async with world.runtime(
        Workflow(name="direct", initial="begin", states=states), commands=[mail]
    ) as runtime:
        created = await runtime.create("direct")
        assert created.continuation is not None
        assert (created.continuation.event, created.continuation.payload) == ("$created", None)
        assert await runtime.get(created.id) == created
