"""`get`, `list`, `count`, `history`, `explain`, `health`: is the answer true, and the same everywhere?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest

from duraflow.definition.values import CommandRef, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionConflict, InstanceNotFound, InvalidArgument
from duraflow.instance import Blocker
from duraflow.results import Explanation, NewInstance, StateCount
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, SECOND, World, check


def big(payload: Any, context: Mapping[str, Any]) -> bool | Blocker:
    """Raises without a payload."""
    return payload["n"] > context["limit"] or Blocker("small", "too small", {"limit": context["limit"]})


def mail(ctx: Any) -> None:
    """Never run here."""


CASE = Workflow(
    name="case",
    initial="new",
    groups={"active": ["new", "held"]},
    states=[
        State(
            "new",
            [
                Transition("grow", target="held", guard=big),
                Transition("close", target="closed"),
                Transition("call", commands=[CommandRef("mail", external=True)]),
                Transition("expire", target="lost", after=DAY),
                Transition("touch", commands=["mail"]),
            ],
        ),
        State("held", [Transition("close", target="closed")]),
        State("closed"),
        State("lost", outcome="failed"),
    ],
)
OTHER = Workflow(
    name="other", initial="new", states=[State("new", [Transition("end", target="end")]), State("end")]
)


@check("due")
async def a_list_is_walked_page_by_page(world: World) -> None:
    """Newest first, stable though all were created at one instant; each once, whoever comes meanwhile."""
    async with world.runtime(CASE, commands=[mail]) as runtime:
        created = list(await runtime.create_many([NewInstance("case")] * 7))
        world.clock.advance(SECOND)
        created += [await runtime.create("case")]
        for oldest_first in (False, True):
            expected = sorted(created, key=lambda one: (one.created_at, one.id), reverse=not oldest_first)
            page = await runtime.list(limit=3, oldest_first=oldest_first)
            walked = [*page.instances]
            while page.cursor is not None:
                page = await runtime.list(limit=3, oldest_first=oldest_first, cursor=page.cursor)
                walked += page.instances
            assert walked == expected
        assert (await runtime.list(limit=8)).cursor is None
        assert (await runtime.list(limit=7)).cursor is not None
        first = await runtime.list(limit=3)
        world.clock.advance(SECOND)
        await runtime.create("case")
        rest = await runtime.list(limit=10, cursor=first.cursor)
        assert {one.id for one in (*first.instances, *rest.instances)} == {one.id for one in created}


@check("due")
async def lists_and_counts_agree(world: World) -> None:
    """Every filter: names or several, groups, enum members, outcome, open, metadata, ranges."""
    async with world.runtime(CASE, OTHER, commands=[mail]) as runtime:
        new = await runtime.create("case", {"limit": 1}, metadata={"team": "a", "tags": ["x", "y"]})
        held = await runtime.create("case", {"limit": 1}, metadata={"team": "b"})
        world.clock.advance(HOUR)
        await runtime.fire(held.id, "grow", {"n": 2})
        closed = await runtime.create("case", metadata={"team": "a"})
        await runtime.fire(closed.id, "close")
        other = await runtime.create("other")
        cancelled = await runtime.create("other")
        await runtime.cancel(cancelled.id)
        cases: list[tuple[dict[str, Any], list[Any]]] = [
            ({}, [new, held, closed, other, cancelled]),
            ({"workflow": CASE}, [new, held, closed]),
            ({"workflow": "case", "state": "active"}, [new, held]),
            ({"workflow": "case", "state": ["active", "closed"]}, [new, held, closed]),
            ({"state": "new"}, [new, other, cancelled]),
            ({"workflow": "other", "state": ("new", "end")}, [other, cancelled]),
            ({"open": True}, [new, held, other]),
            ({"open": False}, [closed, cancelled]),
            ({"outcome": "cancelled"}, [cancelled]),
            ({"outcome": ["cancelled", "done"]}, [closed, cancelled]),
            ({"metadata": {"team": "a"}}, [new, closed]),
            ({"metadata": {"tags": ["y"]}}, [new]),
            ({"created": (START + HOUR, None)}, [closed, other, cancelled]),
            ({"created": (None, START + HOUR)}, [new, held]),
            ({"updated": (START, START + HOUR)}, [new]),
            ({"entered": (START + HOUR, START + DAY), "workflow": "case"}, [held, closed]),
            ({"workflow": "nothing"}, []),
        ]
        for filters, instances in cases:
            expected = {one.id for one in instances}
            assert {one.id for one in (await runtime.list(**filters)).instances} == expected, filters
            assert sum(row.count for row in await runtime.count(**filters)) == len(expected), filters
        assert await runtime.count() == (
            StateCount("case", "closed", False, 1),
            StateCount("case", "held", True, 1),
            StateCount("case", "new", True, 1),
            StateCount("other", "new", False, 1),
            StateCount("other", "new", True, 1),
        )


@check("due")
async def a_filter_that_makes_no_sense_is_refused(world: World) -> None:
    """By name of the argument, before anything is read."""
    async with world.runtime(CASE, commands=[mail]) as runtime:
        bad: list[tuple[dict[str, Any], str]] = [
            ({"workflow": 5}, "workflow"),
            ({"workflow": "case", "state": "nowhere"}, "nowhere"),
            ({"state": 5}, "state"),
            ({"outcome": "happy"}, "outcome"),
            ({"metadata": ["a"]}, "metadata"),
            ({"metadata": {"a": {1}}}, "metadata"),
            ({"created": START}, "created"),
            ({"created": (START.replace(tzinfo=None), None)}, "created"),
            ({"updated": ("yesterday", None)}, "updated"),
            ({"entered": (None, None, None)}, "entered"),
        ]
        for filters, match in bad:
            for call in (runtime.list, runtime.count):
                with pytest.raises(InvalidArgument, match=match):
                    await call(**filters)
        for arguments in (
            {"limit": 0},
            {"limit": 1_001},
            {"limit": True},
            {"cursor": "x"},
            {"cursor": "eA=="},
        ):
            with pytest.raises(InvalidArgument):
                await runtime.list(**arguments)


@check("due")
async def history_is_read_from_either_end(world: World) -> None:
    """By page, by any name of the instance; of nobody it is not found."""
    async with world.runtime(CASE, OTHER, commands=[mail]) as runtime:
        created = await runtime.create("case", ref="A1")
        for _ in range(4):
            await runtime.fire(created.id, "touch")

        async def seqs(target: Any = created.id, **options: Any) -> list[int]:
            return [entry.seq for entry in await runtime.history(target, **options)]

        assert await seqs() == [1, 2, 3, 4, 5]
        assert await seqs(("case", "A1"), limit=2) == [1, 2]
        assert await seqs(after=2, limit=2) == [3, 4]
        assert await seqs(newest_first=True, limit=2) == [5, 4]
        assert await seqs(newest_first=True, after=4) == [3, 2, 1]
        assert await seqs(after=5) == []
        for target in (uuid4(), ("case", "A2")):
            with pytest.raises(InstanceNotFound):
                await runtime.history(target)
        for options in ({"limit": 0}, {"limit": 1_001}, {"after": -1}, {"after": True}, {"after": "1"}):
            with pytest.raises(InvalidArgument):
                await runtime.history(created.id, **options)


@check("due")
async def explain_tells_what_each_event_would_do(world: World) -> None:
    """In declared order, with blockers and due times; nothing is recorded; a finished one answers nothing."""
    async with world.runtime(CASE, commands=[mail]) as runtime:
        created = await runtime.create("case", {"limit": 5})
        due = START + DAY
        found = await runtime.explain(created.id)
        assert found == (
            Explanation("grow", "unknown", message="TypeError: 'NoneType' object is not subscriptable"),
            Explanation("close", "fires", "closed"),
            Explanation("call", "external", "new"),
            Explanation("expire", "fires", "lost", due_at=due),
            Explanation("touch", "fires", "new"),
        )
        found = await runtime.explain(created.id, {"grow": {"n": 1}})
        blocker = Blocker("small", "too small", {"limit": 5}, "big", "states[new].transitions[0]")
        assert found[0] == Explanation("grow", "rejected", blockers=(blocker,))
        assert (await runtime.explain(created.id, {"grow": {"n": 9}}))[0] == Explanation(
            "grow", "fires", "held"
        )
        assert await runtime.get(created.id) == created
        await runtime.fire(created.id, "close")
        assert await runtime.explain(created.id) == ()
        with pytest.raises(InstanceNotFound):
            await runtime.explain(uuid4())


@check("due")
async def a_handle_is_one_instance(world: World) -> None:
    """Every call of the runtime without the target; making one reads nothing."""
    async with world.runtime(CASE, commands=[mail]) as runtime:
        nobody = runtime.handle(uuid4())
        with pytest.raises(InstanceNotFound):
            await nobody.get()
        created = await runtime.create("case", {"limit": 1}, ref="A1")
        handle = runtime.handle(("case", "A1"))
        assert await handle.get() == created
        assert (await handle.fire("grow", {"n": 0}, trigger={"by": "x"})).status == "rejected"
        assert not (await handle.try_fire("sing")).ok
        assert await handle.history(after=1) == await runtime.history(created.id, after=1)
        assert await handle.explain({"grow": {"n": 9}}) == await runtime.explain(
            created.id, {"grow": {"n": 9}}
        )
        assert (await handle.rearm()).id == created.id
        assert (await handle.force(state="held", reason="x")).to_state == "held"
        assert (await handle.cancel(reason="x")).instance.outcome == "cancelled"
        assert (await handle.delete()).id == created.id
        with pytest.raises(InstanceNotFound):
            await handle.get()


@check("lifecycle")
async def health_is_told(world: World) -> None:
    """Of a started one: it serves, and can write."""
    async with world.runtime(OTHER) as runtime:
        health = await runtime.health()
        assert (health.ok, health.schema_fits, health.writable, health.problem) == (True, True, True, "")
        assert health.server


@check("definitions")
async def one_version_is_one_content(world: World) -> None:
    """A runtime with another content for a version that the store knows does not start; its error names the change."""
    async with world.runtime(OTHER):
        pass
    changed = Workflow(
        name="other", initial="new", states=[State("new", [Transition("stop", target="end")]), State("end")]
    )
    with pytest.raises(DefinitionConflict) as caught:
        async with world.runtime(changed):
            raise AssertionError("it started")
    assert (caught.value.workflow, caught.value.version) == ("other", 1)
    assert "transitions[0]" in caught.value.difference or "event" in caught.value.difference
    async with world.runtime(OTHER) as runtime:
        await runtime.create("other")
