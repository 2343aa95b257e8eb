"""Two at the same time: do they take turns, with one winner for each version?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from typing import Any

import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import AlreadyExists, EventRefused
from duraflow.instance import Change, Instance
from duraflow.results import Firing, NewInstance, Unfired
from duraflow.testing.conformance.made_up import entry, made, moved, new
from duraflow.testing.conformance.subject import DAY, World, check, note
from duraflow.writes import Applied, Lost, Writes


@check("concurrency")
async def a_lock_is_waited_for(world: World) -> None:
    """Who comes second waits for the commit, and then sees what was committed."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        held, order = world.signal(), list[str]()

        async def first() -> Instance:
            async with ports.begin() as unit:
                loaded = await ports.instances.lock(unit, one.id, clock=None)
                held.set()
                await world.driver.waits.sleep(0.05)
                after = moved(loaded.instance, state="two")
                assert await ports.instances.save(unit, after, expected=loaded.instance)
                await ports.history.append(unit, [entry(after)])
                order.append("first")
            return after

        async def second() -> Instance:
            await held.wait()
            async with ports.begin() as unit:
                loaded = await ports.instances.lock(unit, one.id, clock=None)
                order.append("second")
                found: Instance = loaded.instance
                return found

        after, seen = await world.driver.together(first, second)
        assert order == ["first", "second"]
        assert seen == after


@check("concurrency")
async def who_may_skip_does_not_wait(world: World) -> None:
    """`skip_locked` gives None while another holds it, and the row when it is free, or one's own."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        async with ports.begin() as holder:
            await ports.instances.lock(holder, one.id, clock=None)
            async with ports.begin() as other:
                assert await ports.instances.lock(other, one.id, clock=None, skip_locked=True) is None
            own = await ports.instances.lock(holder, one.id, clock=None, skip_locked=True)
            assert own.instance == one
        async with ports.begin() as other:
            free = await ports.instances.lock(other, one.id, clock=None, skip_locked=True)
            assert free.instance == one


@check("concurrency")
async def a_lock_ends_with_its_transaction(world: World) -> None:
    """Also with a rollback, and a lock taken in a savepoint ends with that being undone."""
    async with world.opened() as ports:
        one, two = await made(ports, world, 2)
        with pytest.raises(ZeroDivisionError):
            async with ports.begin() as unit:
                await ports.instances.lock(unit, one.id, clock=None)
                raise ZeroDivisionError
        async with ports.begin() as unit:
            with pytest.raises(ZeroDivisionError):
                async with unit.savepoint():
                    await ports.instances.lock(unit, two.id, clock=None)
                    raise ZeroDivisionError
            async with ports.begin() as other:
                for free in (one, two):
                    found = await ports.instances.lock(other, free.id, clock=None, skip_locked=True)
                    assert found is not None


@check("concurrency")
async def one_version_has_one_winner(world: World) -> None:
    """Of several writers of one version, without a transaction, exactly one is applied."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)

        async def attempt(number: int) -> Any:
            after = moved(one, context={"by": number})
            entries = (entry(after, change=Change({"by": number})),)
            (answer,) = await ports.writer.apply(None, [Writes(one, after, entries)])
            return answer

        answers = await world.driver.together(*(lambda n=n: attempt(n) for n in range(4)))
        assert sorted(map(str, answers)) == sorted([str(Applied()), *[str(Lost())] * 3])
        winner = answers.index(Applied())
        assert await ports.read(one.id) == moved(one, context={"by": winner})
        assert await ports.entries(one.id) == [entry(one), entry(moved(one), change=Change({"by": winner}))]


@check("concurrency")
async def one_ref_has_one_winner(world: World) -> None:
    """Of several creations with one ref, one succeeds; the others learn who has it."""
    async with world.opened() as ports:
        instances = [new(world, ref="A1") for _ in range(3)]

        async def attempt(instance: Instance) -> Any:
            try:
                async with ports.begin() as unit:
                    await ports.instances.create(unit, instance)
                    await ports.history.append(unit, [entry(instance)])
            except AlreadyExists as error:
                return error.instance_id
            return None

        answers = await world.driver.together(*(lambda i=i: attempt(i) for i in instances))
        winner = instances[answers.index(None)]
        assert sorted(map(str, answers)) == sorted(["None", str(winner.id), str(winner.id)])
        assert await ports.read(("port", "A1")) == winner


def _counted(name: str = "race") -> Workflow:
    def count(ctx: Any) -> None:
        ctx.context["n"] = ctx.context.get("n", 0) + 1
        note(ctx)

    return Workflow(
        name=name,
        initial="open",
        states=[
            State(
                "open",
                [
                    Transition("count", commands=[count]),
                    Transition("touch", target="open"),
                    Transition("shut", target="shut"),
                    Transition("remind", target="open", after=DAY),
                ],
            ),
            State("shut", final=True),
        ],
    )


@check("concurrency", "due")
async def firings_at_one_instance_take_turns(world: World) -> None:
    """No update is lost, with commands or without, and each has its own entry."""
    async with world.runtime(_counted()) as runtime:
        created = await runtime.create("race")

        async def fire(event: str) -> None:
            for _ in range(3):
                (await runtime.fire(created.id, event)).or_raise()

        await world.driver.together(*(lambda e=e: fire(e) for e in ("count", "touch", "count", "touch")))
        after = await runtime.get(created.id)
        assert (after.context, after.version) == ({"n": 6}, 13)


@check("concurrency", "due")
async def the_last_event_has_one_winner(world: World) -> None:
    """Of several that would finish it one does; the others are refused as finished."""
    async with world.runtime(_counted()) as runtime:
        created = await runtime.create("race")

        async def shut() -> str:
            result = await runtime.try_fire(created.id, "shut")
            return result.error.reason if isinstance(result, Unfired) else result.status  # type: ignore[attr-defined]

        answers = await world.driver.together(*[shut] * 4)
        assert sorted(answers) == ["finished"] * 3 + ["success"]


@check("concurrency", "due")
async def cancel_and_fire_tell_the_truth(world: World) -> None:
    """Whichever comes second is refused; what each was told is what history says."""
    async with world.runtime(_counted()) as runtime:
        for _ in range(3):
            created = await runtime.create("race")

            async def shut(target: Any = created.id) -> str:
                result = await runtime.try_fire(target, "shut")
                return "refused" if isinstance(result, Unfired) else result.status

            async def cancel(target: Any = created.id) -> str:
                try:
                    return (await runtime.cancel(target)).status
                except EventRefused:
                    return "refused"

            shut_said, cancel_said = await world.driver.together(shut, cancel)
            after = await runtime.get(created.id)
            assert {shut_said, cancel_said} == {"success", "refused"}
            assert after.outcome == ("done" if shut_said == "success" else "cancelled")


@check("concurrency", "due")
async def two_sweeps_fire_each_timer_once(world: World) -> None:
    """However they share the work."""
    async with world.runtime(_counted()) as runtime:
        created = await runtime.create_many(_new(5))
        world.clock.advance(DAY)
        sweeps = await world.driver.together(*[runtime.fire_due_timers] * 3)
        assert sum(one.fired for one in sweeps) == 5
        for one in created:
            assert [entry.event for entry in await runtime.history(one.id)] == ["$created", "remind"]


@check("concurrency", "due")
async def batches_and_singles_lose_nothing(world: World) -> None:
    """`fire_many` beside `fire` at the same instances: every event is there once, none deadlocks."""
    async with world.runtime(_counted()) as runtime:
        created = await runtime.create_many(_new(4))

        async def batch(order: int) -> int:
            firings = [Firing(one.id, "touch") for one in created[::order]]
            return sum(result.ok for result in await runtime.fire_many(firings))

        async def singles() -> int:
            return sum([(await runtime.fire(one.id, "count")).ok for one in created])

        answers = await world.driver.together(lambda: batch(1), lambda: batch(-1), singles)
        assert answers == [4, 4, 4]
        assert [(await runtime.get(one.id)).version for one in created] == [4] * 4


@check("concurrency", "due")
async def two_runtimes_share_one_store(world: World) -> None:
    """They take turns as two threads of one would."""
    async with world.runtime(_counted(), invariants=False) as one, world.runtime(_counted()) as two:
        created = await one.create("race")

        async def fire(runtime: Any) -> None:
            for _ in range(3):
                await runtime.fire(created.id, "count")

        await world.driver.together(lambda: fire(one), lambda: fire(two))
        assert (await one.get(created.id)).context == {"n": 6}


def _new(count: int) -> list[Any]:
    return [NewInstance("race") for _ in range(count)]
