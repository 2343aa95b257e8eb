"""`create` and `create_many`: does an instance begin as it should, or not at all?"""

from __future__ import annotations

from enum import StrEnum
from typing import Any
from uuid import uuid4

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import AlreadyExists, CommandFailed, InvalidArgument
from duraflow.instance import ArmedTimer, Change, HistoryEntry, Instance
from duraflow.results import Failure, NewInstance
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, World, check, note

PLAIN = Workflow(
    name="plain",
    initial="open",
    states=[
        State("open", [Transition("shut", target="shut")], context={"stage": "new", "kept": {"a": 1}}),
        State("shut"),
    ],
)


class Name(StrEnum):
    """Names as enum members."""

    PLAIN = "plain"


def _chain() -> Workflow:
    def begin(ctx: Any) -> Failure | None:
        note(ctx)
        ctx.context["by"] = ctx.subject
        return Failure("no", "not today") if ctx.context.get("fail") else None

    return Workflow(
        name="chain",
        initial="start",
        states=[
            State("start", [Transition(target="ready", commands=[begin])]),
            State("ready", [Transition("stop", target="end"), Transition("late", target="end", after=DAY)]),
            State("end"),
        ],
    )


@check()
async def a_new_instance_says_how_it_began(world: World) -> None:
    """Row and history, every field: the caller's context over the state's, by top-level key."""
    async with world.runtime(PLAIN) as runtime:
        created = await runtime.create(
            "plain", {"kept": {"b": 2}, "n": 1}, metadata={"team": "a"}, ref="A1", trigger={"by": "anna"}
        )
        expected = Instance(
            id=created.id,
            namespace=world.namespace,
            workflow="plain",
            definition_version=1,
            state="open",
            version=1,
            created_at=START,
            updated_at=START,
            entered_at=START,
            context={"stage": "new", "kept": {"b": 2}, "n": 1},
            metadata={"team": "a"},
            ref="A1",
            root_id=created.id,
        )
        assert created == expected
        assert await runtime.get(created.id) == expected
        (entry,) = await runtime.history(created.id)
        assert entry == HistoryEntry(
            instance_id=created.id,
            seq=1,
            kind="created",
            event="$created",
            from_state=None,
            to_state="open",
            at=START,
            definition_version=1,
            attempt_id=entry.attempt_id,
            trigger={"by": "anna"},
            change=Change({"stage": "new", "kept": {"b": 2}, "n": 1}),
            metadata={"team": "a"},
        )


@check()
async def an_instance_is_named_in_many_ways(world: World) -> None:
    """By id, its text, the instance, or workflow and ref; a workflow by name, enum member or value."""
    async with world.runtime(PLAIN) as runtime:
        given = uuid4()
        created = await runtime.create(Name.PLAIN, ref="A1", id=given)
        assert created.id == given
        await runtime.create(PLAIN, ref="A2")
        for target in (given, str(given), created, ("plain", "A1"), (Name.PLAIN, "A1")):
            assert await runtime.get(target) == created
            assert len(await runtime.history(target)) == 1


@check()
async def nothing_given_is_nothing_kept(world: World) -> None:
    """No context, no metadata, no ref: two such instances live side by side."""
    bare = attrs.evolve(
        PLAIN, name="bare", states=(State("open", [Transition("shut", target="shut")]), State("shut"))
    )
    async with world.runtime(bare) as runtime:
        one, two = await runtime.create("bare"), await runtime.create("bare")
        assert one.id != two.id
        assert (one.context, dict(one.metadata), one.ref) == ({}, {}, None)
        (entry,) = await runtime.history(one.id)
        assert not entry.change


@check()
async def what_is_given_is_copied(world: World) -> None:
    """Changing it afterwards changes nothing, and neither does changing what was returned."""
    async with world.runtime(PLAIN) as runtime:
        context: dict[str, Any] = {"list": [1]}
        created = await runtime.create("plain", context, metadata={"tags": (1, 2)})
        context["list"].append(2)
        created.context["list"].append(3)
        assert (await runtime.get(created.id)).context["list"] == [1]
        assert created.metadata == {"tags": [1, 2]}
        again = await runtime.create("plain")
        again.context["kept"]["a"] = 2
        assert (await runtime.create("plain")).context["kept"] == {"a": 1}


@check()
async def a_ref_or_id_is_used_once(world: World) -> None:
    """The error has the id of the instance that has it; nothing was written."""
    async with world.runtime(PLAIN) as runtime:
        first = await runtime.create("plain", ref="A1")
        with pytest.raises(AlreadyExists) as caught:
            await runtime.create("plain", ref="A1")
        assert (caught.value.instance_id, caught.value.ref) == (first.id, "A1")
        with pytest.raises(AlreadyExists) as caught:
            await runtime.create("plain", id=first.id)
        assert (caught.value.instance_id, caught.value.ref) == (first.id, None)
        assert (await runtime.list()).instances == (first,)


@check()
async def new_instances_get_the_newest_version(world: World) -> None:
    """Older ones stay on theirs, and move by it."""
    second = attrs.evolve(
        PLAIN,
        version=10,
        states=(State("open", [Transition("seal", target="sealed")]), State("sealed")),
    )
    async with world.runtime(PLAIN) as runtime:
        old = await runtime.create("plain")
    async with world.runtime(second, PLAIN) as runtime:
        new = await runtime.create("plain")
        assert (old.definition_version, new.definition_version) == (1, 10)
        assert (await runtime.fire(old.id, "shut")).to_state == "shut"
        result = await runtime.fire(new.id, "seal")
        assert (result.to_state, result.entries[0].definition_version) == ("sealed", 10)


@check("due")
async def a_creation_follows_its_automatic_transitions(world: World) -> None:
    """In the same write: commands run, with the subject, and the state of rest arms its timers."""
    async with world.runtime(_chain()) as runtime:
        created = await runtime.create("chain", {"n": 1}, subject="the subject")
        assert (created.state, created.version, created.context) == (
            "ready",
            2,
            {"n": 1, "by": "the subject"},
        )
        assert created.timers == (ArmedTimer("late", START + DAY),)
        first, second = await runtime.history(created.id)
        assert (first.timers, second.event, second.timers) == (None, "$auto", created.timers)
        assert first.change.set == {"n": 1}
        assert await runtime.get(created.id) == created
        assert len(world.ledger) == 1


@check("due")
async def a_creation_that_fails_leaves_nothing(world: World) -> None:
    """A failure without an error target: no row, no history, no effect, the ref is free."""
    async with world.runtime(_chain()) as runtime:
        with pytest.raises(CommandFailed) as caught:
            await runtime.create("chain", {"fail": True}, ref="A1")
        assert (caught.value.command, caught.value.code, caught.value.event) == (
            "begin",
            "no",
            "$auto",
        )
        assert (await runtime.list()).instances == ()
        assert len(world.ledger) == 0
        await runtime.create("chain", ref="A1")


@check()
async def an_instance_may_be_born_finished(world: World) -> None:
    """The initial state may be final."""
    done = Workflow(name="stillborn", initial="over", states=[State("over", outcome="failed")])
    async with world.runtime(done) as runtime:
        created = await runtime.create("stillborn")
        assert (created.outcome, created.finished_at) == ("failed", START)
        assert await runtime.get(created.id) == created


@check("due")
async def many_are_created_in_order_or_not_at_all(world: World) -> None:
    """One refused or failing one undoes all; the same ref or id twice is refused before anything is written."""
    async with world.runtime(_chain(), PLAIN) as runtime:
        given = uuid4()
        created = await runtime.create_many(
            [
                NewInstance("plain", {"n": 1}, {"a": 1}, "A1"),
                NewInstance("chain", {"n": 2}, ref="A1"),
                NewInstance(PLAIN, id=given),
            ]
        )
        assert [one.workflow for one in created] == ["plain", "chain", "plain"]
        assert created[0].context == {"stage": "new", "kept": {"a": 1}, "n": 1}
        assert created[1].state == "ready"
        for one in created:
            assert await runtime.get(one.id) == one
        assert await runtime.create_many([]) == ()
        effects = len(world.ledger)
        twin = uuid4()
        bad: list[tuple[Any, list[NewInstance]]] = [
            (AlreadyExists, [NewInstance("plain"), NewInstance("plain", ref="A1")]),
            (AlreadyExists, [NewInstance("chain"), NewInstance("plain", id=created[1].id)]),
            (CommandFailed, [NewInstance("chain"), NewInstance("chain", {"fail": True})]),
            (InvalidArgument, [NewInstance("plain", ref="B"), NewInstance("plain", ref="B")]),
            (InvalidArgument, [NewInstance("plain", id=twin), NewInstance("chain", id=twin)]),
            (InvalidArgument, [NewInstance("plain"), NewInstance("plain", {"x": {1}})]),
        ]
        for error, instances in bad:
            with pytest.raises(error):
                await runtime.create_many(instances)
            assert len((await runtime.list()).instances) == 3
        assert len(world.ledger) == effects
