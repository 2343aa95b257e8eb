"""What a process was doing when it died: a workflow with chains, commands and timers, and things done to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import attrs

from duraflow import (
    AsyncRuntime,
    CommandRef,
    Failure,
    FireResult,
    Firing,
    HistoryEntry,
    Instance,
    NewInstance,
    Notice,
    State,
    Transition,
    Workflow,
)
from duraflow.testing import ManualClock
from duraflow.testing.driver import Driver
from tests.crash.letters import Letters

DAY = timedelta(days=1)


def willing(context: Mapping[str, Any]) -> bool:
    """Unless the context says otherwise."""
    return not context.get("unwilling")


CLAIM = Workflow(
    name="claim",
    initial="draft",
    states=[
        State("draft", [Transition(target="open", commands=["letter"])]),
        State(
            "open",
            [
                Transition("note", commands=["letter"]),
                Transition("ask", target="asked", guard=willing),
                Transition(
                    "decide",
                    target="checked",
                    commands=["letter", CommandRef("burst", best_effort=True), "letter"],
                ),
                Transition("remind", target="open", commands=["letter"], after=DAY),
                Transition("end", target="ended"),
            ],
        ),
        State(
            "asked",
            [
                Transition("give_up", target="ended", after=DAY, guard=willing),
                Transition("end", target="ended"),
            ],
        ),
        State(
            "checked",
            [
                Transition(commands=["letter"]),
                Transition(target="settled", commands=["letter", "decline"], error_target="refused"),
            ],
            context={"checked": True},
        ),
        State(
            "settled",
            [
                Transition("crack", target="ended", commands=["crash"], after=DAY),
                Transition("end", target="ended"),
            ],
        ),
        State("refused", [Transition("end", target="ended")]),
        State("ended"),
    ],
)


@attrs.define
class Told:
    """What callers and observers were told before the process died."""

    entries: list[HistoryEntry] = attrs.field(factory=list)
    created: list[UUID] = attrs.field(factory=list)
    deleted: list[UUID] = attrs.field(factory=list)
    answers: list[Any] = attrs.field(factory=list)

    def result(self, result: Any) -> Any:
        """Remember what a call returned."""
        if isinstance(result, FireResult):
            self.entries += result.entries
        elif isinstance(result, Instance):
            self.created.append(result.id)
        elif isinstance(result, tuple):
            for one in result:
                self.result(one)
        return result

    def notice(self, notice: Notice) -> None:
        """Remember what an observer was told."""
        self.created.append(notice.instance.id)


def commands(driver: Driver) -> dict[str, Any]:
    """The commands, for the runtime that the driver runs."""

    async def letter(ctx: Any, _runtime: Any) -> None:
        ctx.context["letters"] = ctx.context.get("letters", 0) + 1
        await ctx.resource(Letters).write((ctx.transition_id, ctx.command.name))

    async def burst(ctx: Any, _runtime: Any) -> None:
        await ctx.resource(Letters).write((ctx.transition_id, ctx.command.name))
        raise ValueError("best effort")

    async def decline(ctx: Any, _runtime: Any) -> Failure | None:
        await ctx.resource(Letters).write((ctx.transition_id, ctx.command.name))
        return Failure("declined") if ctx.context.get("declined") else None

    async def crash(ctx: Any, _runtime: Any) -> None:
        raise RuntimeError("this timer always fails")

    return {
        "letter": driver.command(letter),
        "burst": driver.command(burst),
        "decline": driver.command(decline),
        "crash": driver.command(crash),
    }


async def chains(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Creations and firings with commands, automatic hops, savepoints and an error target."""
    for context in ({}, {"declined": True}):
        created = told.result(await runtime.create("claim", context))
        told.result(await runtime.fire(created.id, "note"))
        told.result(await runtime.fire(created.id, "decide"))
        told.result(await runtime.fire(created.id, "end"))


async def free_moves(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Command-free moves and rejections, one by one and in groups."""
    one, two = told.result(
        await runtime.create_many([NewInstance("claim"), NewInstance("claim", {"unwilling": True})])
    )
    for each in (one, two):
        told.result(await runtime.fire(each.id, "ask"))
    told.result(
        await runtime.fire_many([Firing(one.id, "end"), Firing(two.id, "ask"), Firing(two.id, "note")])
    )


async def sweeps(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Due timers: with a command, without, refused, and always failing."""
    made = told.result(
        await runtime.create_many(
            [NewInstance("claim"), NewInstance("claim"), NewInstance("claim"), NewInstance("claim")]
        )
    )
    told.result(await runtime.fire(made[1].id, "ask"))
    told.result(await runtime.fire(made[2].id, "ask"))
    told.result(await runtime.force(made[2].id, state="asked", reason="x", context={"unwilling": True}))
    told.result(await runtime.fire(made[3].id, "decide"))
    for _ in range(2):
        clock.advance(DAY)
        await runtime.fire_due_timers()
    await runtime.rearm(made[3].id)


async def many(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """All or none of a batch, with commands in their creation."""
    told.result(await runtime.create_many([NewInstance("claim", ref=f"R{n}") for n in range(5)]))


async def one_transaction(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Several instances in one transaction, with parts that are undone."""
    first = told.result(await runtime.create("claim"))
    async with runtime.transaction() as tx:
        results = [await tx.create("claim", ref="A1"), await tx.fire(first.id, "note")]
        try:
            async with tx.transaction() as inner:
                await inner.fire(first.id, "decide")
                raise LookupError
        except LookupError:
            pass
        results.append(await tx.fire(("claim", "A1"), "decide"))
    for result in results:
        told.result(result)


async def operators(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Cancelled, forced, revived, deleted."""
    one, two = told.result(await runtime.create_many([NewInstance("claim"), NewInstance("claim")]))
    told.result(await runtime.cancel(one.id, reason="x"))
    told.result(await runtime.force(one.id, state="draft", reason="again"))
    told.result(await runtime.force(two.id, state="checked", reason="x", context={"declined": True}))
    told.entries += await runtime.history(two.id)
    told.deleted.append(two.id)
    await runtime.delete(two.id, force=True)


async def keyed(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Every request under a key, so that it can be sent again, whatever became of it the first time."""

    def answered(*answers: Any) -> Any:
        told.answers += [told.result(answer) for answer in answers]
        return answers[0]

    first = answered(await runtime.create("claim", key="c1", ref="R1"))
    second, third = answered(
        await runtime.create_many(
            [NewInstance("claim", key="c2"), NewInstance("claim", {"unwilling": True}, key="c3")]
        )
    )
    answered(await runtime.fire(first.id, "note", {"n": 1}, key="k"))
    answered(await runtime.fire(second.id, "ask", key="k"))
    answered(
        await runtime.fire_many(
            [
                Firing(third.id, "ask", key="k"),
                Firing(second.id, "end", key="k2"),
                Firing(third.id, "note", key="k2"),
            ]
        )
    )
    async with runtime.transaction() as tx:
        decided = await tx.fire(first.id, "decide", key="k2", keep_for=DAY)
        created = await tx.create("claim", {"declined": True}, key="c4")
        settled = await tx.fire(created.id, "decide", key="k")
    answered(decided, created, settled)


KEYED_HISTORIES = {
    "c1": ["$created", "$auto", "note", "decide", "$auto", "$auto"],
    "c2": ["$created", "$auto", "ask", "end"],
    "c3": ["$created", "$auto", "ask", "note"],
    "c4": ["$created", "$auto", "decide", "$auto", "$auto"],
}
"""What `keyed` does, by the key of the creation, however often it is done."""


async def keyed_again(runtime: AsyncRuntime, told: Told, clock: ManualClock) -> None:
    """Send all of `keyed` again: what was told is told again, and everything is there once (invariant 6)."""
    second = Told()
    await keyed(runtime, second, clock)
    assert second.answers[: len(told.answers)] == told.answers
    assert sum(row.count for row in await runtime.count()) == len(KEYED_HISTORIES)
    for key, events in KEYED_HISTORIES.items():
        context = {"c3": {"unwilling": True}, "c4": {"declined": True}}.get(key, {})
        instance = await runtime.create("claim", context, key=key, ref="R1" if key == "c1" else None)
        assert [entry.event for entry in await runtime.history(instance.id)] == events


AGAIN = {keyed: keyed_again}
"""What the recovery after some scenarios does first."""

SCENARIOS = [chains, free_moves, sweeps, many, one_transaction, operators, keyed]
