"""Does a name mean something by itself anywhere? States, events, commands and keys called like built-ins."""

from __future__ import annotations

from typing import Any

import pytest

from duraflow import State, Transition, Workflow
from duraflow.testing.conformance import World
from duraflow.testing.strategies import HOSTILE_NAMES

NAMES = [
    *HOSTILE_NAMES,
    "default",
    "created",
    "auto",
    "self",
    "cls",
    "True",
    "None",
    "lambda",
    "__dict__",
    "get",
    "version",
]


@pytest.mark.parametrize("name", sorted(set(NAMES)), ids=ascii)
async def test_a_name_is_only_a_name(world: World, name: str) -> None:
    """As workflow, state, event, command, guard, key and ref, all the way through store and history."""

    def act(ctx: Any) -> None:
        ctx.context[name] = ctx.event

    flow = Workflow(
        name=name,
        initial=name,
        events=[name],
        groups={f"{name} group"[-200:]: [name]},
        states=[
            State(name, [Transition(name, target="other", guard=name, commands=[name])], context={name: 1}),
            State("other"),
        ],
    )
    async with world.runtime(flow, commands={name: act}, guards={name: lambda: True}) as runtime:
        created = await runtime.create(name, {"extra": 1}, metadata={name: {name: name}}, ref=name[:60])
        assert created.context == {name: 1, "extra": 1}
        assert [answer.event for answer in await runtime.explain((name, name[:60]))] == [name]
        result = await runtime.fire((name, name[:60]), name, {name: [name]}, trigger={name: name})
        assert (result.to_state, result.instance.context[name]) == ("other", name)
        assert (await runtime.list(name, metadata={name: {name: name}})).instances == (result.instance,)
        assert (await runtime.list(name, state=name)).instances == ()
        entry = (await runtime.history(created.id))[1]
        assert (entry.event, entry.payload, entry.trigger) == (name, {name: [name]}, {name: name})
