"""Observers: are they told what happened, once, after it has?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import CommandFailed
from duraflow.results import Failure, Firing, NewInstance, Notice, Success
from duraflow.testing.conformance.scopes import has_connections
from duraflow.testing.conformance.subject import DAY, World, check


def work(ctx: Any) -> Success | Failure:
    """Fails if the payload says so."""
    ctx.context["list"] = [1, {"a": [2]}]
    return Failure("no") if ctx.payload == "fail" else Success({"data": [1]})


def never() -> bool:
    """No."""
    return False


FLOW = Workflow(
    name="flow",
    initial="a",
    states=[
        State(
            "a",
            [
                Transition("go", target="b"),
                Transition("work", target="b", commands=[work]),
                Transition("stay", commands=[work]),
                Transition("no", target="b", guard=never),
                Transition("late", target="c", after=DAY),
            ],
        ),
        State("b", [Transition(target="c")]),
        State("c", [Transition("back", target="a"), Transition("end", target="d")]),
        State("d"),
    ],
)


def _told(seen: list[Notice]) -> list[tuple[int, str, str]]:
    found = [(notice.entry.seq, notice.entry.event, notice.instance.state) for notice in seen]
    seen.clear()
    return found


@check("due")
async def there_is_one_notice_for_each_state_entered(world: World) -> None:
    """For the creation and each hop, in order; none for internal moves and rejections."""
    seen: list[Notice] = []
    async with world.runtime(FLOW, observers=[seen.append]) as runtime:
        created = await runtime.create("flow")
        assert _told(seen) == [(1, "$created", "a")]
        await runtime.fire(created.id, "stay")
        await runtime.fire(created.id, "no")
        assert _told(seen) == []
        await runtime.fire(created.id, "go")
        assert _told(seen) == [(4, "go", "b"), (5, "$auto", "c")]
        await runtime.fire(created.id, "back")
        await runtime.fire(created.id, "work")
        assert _told(seen) == [(6, "back", "a"), (7, "work", "b"), (8, "$auto", "c")]
        await runtime.force(created.id, state="a", reason="x")
        assert _told(seen) == [(9, "$forced", "a")]
        world.clock.advance(DAY)
        await runtime.fire_due_timers()
        assert _told(seen) == [(10, "late", "c")]
        await runtime.cancel(created.id)
        assert _told(seen) == [(11, "$cancelled", "c")]


@check("due")
async def a_notice_shows_the_instance_right_after_its_hop(world: World) -> None:
    """Deeply read-only; the last one is the row as stored."""
    seen: list[Notice] = []
    async with world.runtime(FLOW, observers=[seen.append]) as runtime:
        created = await runtime.create("flow", {"n": 0}, metadata={"tags": ["x"]})
        result = await runtime.fire(created.id, "work", {"p": [1]}, trigger={"by": ["x"]})
        _, middle, last = seen
        assert (middle.instance.version, middle.instance.state, last.instance.version) == (2, "b", 3)
        assert (last.instance.timers, last.instance.updated_at) == (
            result.instance.timers,
            result.instance.updated_at,
        )
        assert middle.entry.seq == 2
        assert middle.instance.context == {"n": 0, "list": (1, {"a": (2,)})}
        for mapping in (
            middle.instance.context,
            middle.instance.metadata,
            middle.instance.context["list"][1],
            middle.entry.payload,
            middle.entry.trigger,
            middle.entry.change.set,
            middle.entry.commands[0].data,
        ):
            assert isinstance(mapping, Mapping)
            with pytest.raises(TypeError):
                mapping["x"] = 1  # type: ignore[index]
        assert middle.instance.metadata["tags"] == ("x",)
        assert isinstance(middle.entry.payload["p"], tuple)


@check("due")
async def nobody_is_told_what_did_not_happen(world: World) -> None:
    """Not of what was rolled back, in the whole or in a part; and not before the outermost commit."""
    seen: list[Notice] = []
    async with world.runtime(FLOW, observers=[seen.append]) as runtime:
        created = await runtime.create("flow")
        seen.clear()
        with pytest.raises(CommandFailed):
            await runtime.fire(created.id, "work", "fail")
        with pytest.raises(ZeroDivisionError):
            async with runtime.transaction() as tx:
                await tx.fire(created.id, "go")
                raise ZeroDivisionError
        assert seen == []
        async with runtime.transaction() as tx:
            await tx.create("flow")
            with pytest.raises(ZeroDivisionError):
                async with tx.transaction() as inner:
                    await inner.fire(created.id, "go")
                    raise ZeroDivisionError
            assert not (await tx.try_fire(created.id, "work", "fail")).ok
            await tx.fire(created.id, "work")
            assert seen == []
        assert _told(seen) == [(1, "$created", "a"), (2, "work", "b"), (3, "$auto", "c")]


@check("due")
async def batches_are_told_too(world: World) -> None:
    """`create_many`, `fire_many` and a sweep; each notice once."""
    seen: list[Notice] = []
    async with world.runtime(FLOW, observers=[seen.append]) as runtime:
        one, two = await runtime.create_many([NewInstance("flow"), NewInstance("flow")])
        assert [notice.instance.id for notice in seen] == [one.id, two.id]
        seen.clear()
        await runtime.fire_many([Firing(one.id, "no"), Firing(two.id, "go"), Firing(one.id, "sing")])
        assert [(notice.instance.id, notice.instance.state) for notice in seen] == [
            (two.id, "b"),
            (two.id, "c"),
        ]
        seen.clear()
        world.clock.advance(DAY)
        await runtime.fire_due_timers()
        assert _told(seen) == [(3, "late", "c")]


@check("due")
async def what_observers_see_is_committed(world: World) -> None:
    """An observer that looks finds what it was told; it may use the runtime."""
    found: list[Any] = []
    holder: list[Any] = []

    async def look(notice: Notice) -> None:
        current = await holder[0].get(notice.instance.id)
        found.append(current.version >= notice.instance.version)

    def plain(notice: Notice) -> None:
        world.driver.run(look(notice))

    async with world.runtime(FLOW, observers=[look if world.subject.asyncio else plain]) as runtime:
        holder.append(runtime)
        created = await runtime.create("flow")
        await runtime.fire(created.id, "work")
        async with runtime.transaction() as tx:
            await tx.fire(created.id, "back")
        assert found == [True] * 4


@check("due")
async def whoever_joins_says_when_it_is_committed(world: World) -> None:
    """Through the hook, or by `committed()`, once; else nobody is told."""
    seen: list[Notice] = []
    hooks: list[Any] = []
    if not await has_connections(world):
        return
    async with world.runtime(FLOW, observers=[seen.append]) as runtime, world.opened() as ports:
        created = await runtime.create("flow")
        seen.clear()
        async with ports.persistence.transactions.begin(eager=True) as unit:
            async with runtime.using(unit.connection) as bound:
                await bound.fire(created.id, "go")
            async with runtime.using(unit.connection, on_commit=hooks.append) as hooked:
                await hooked.fire(created.id, "back")
            async with runtime.using(unit.connection) as silent:
                await silent.fire(created.id, "go")
            assert silent is not bound
        assert seen == []
        await bound.committed()
        assert _told(seen) == [(2, "go", "b"), (3, "$auto", "c")]
        await bound.committed()
        assert _told(seen) == []
        (hook,) = hooks
        answer = hook()
        if answer is not None:
            await answer
        assert _told(seen) == [(4, "back", "a")]
