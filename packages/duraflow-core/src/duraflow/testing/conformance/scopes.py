"""`transaction`, `locked`, `using`: does everything inside belong together?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from typing import Any

import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    CommandFailed,
    EventRefused,
    InstanceNotFound,
    InvalidArgument,
    Misuse,
    NotSupported,
)
from duraflow.results import Failure, Firing, NewInstance, Unfired
from duraflow.testing.conformance.subject import World, check, note
from duraflow.testing.ledger import TransactionalLedger


def work(ctx: Any) -> Failure | None:
    """An effect, and a failure if the payload says so."""
    note(ctx)
    ctx.context["worked"] = ctx.context.get("worked", 0) + 1
    return Failure("no") if ctx.payload == "fail" else None


FLOW = Workflow(
    name="flow",
    initial="a",
    states=[
        State("a", [Transition("go", target="b"), Transition("work", target="b", commands=[work])]),
        State("b", [Transition("go", target="a"), Transition("work", commands=[work])]),
    ],
)


class _Stop(Exception):
    pass


@check()
async def all_of_a_transaction_or_nothing(world: World) -> None:
    """Creations, moves, effects of commands and of the caller's own resource."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        with pytest.raises(_Stop):
            async with runtime.transaction() as tx:
                two = await tx.create("flow", ref="A1")
                await tx.fire(one.id, "work")
                await tx.fire(two.id, "go")
                tx.resource(TransactionalLedger).record("mine")
                raise _Stop
        assert await runtime.get(one.id) == one
        assert (await runtime.list()).instances == (one,)
        assert len(world.ledger) == 0
        async with runtime.transaction() as tx:
            two = await tx.create("flow", ref="A1")
            await tx.fire(one.id, "work")
            await tx.fire(two.id, "go")
            tx.resource(TransactionalLedger).record("mine")
        assert [(await runtime.get(each.id)).state for each in (one, two)] == ["b", "b"]
        assert (world.ledger.count("mine"), len(world.ledger)) == (1, 2)


@check()
async def a_transaction_reads_what_it_wrote(world: World) -> None:
    """By every call; outside nothing is seen before the end."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        async with runtime.transaction() as tx:
            result = await tx.fire(one.id, "go")
            assert await tx.get(one.id) == result.instance
            assert len(await tx.history(one.id)) == 2
            assert (await tx.list(state="b", workflow="flow")).instances == (result.instance,)
            assert [(row.state, row.count) for row in await tx.count()] == [("b", 1)]
            assert [answer.event for answer in await tx.explain(one.id)] == ["go", "work"]
            if world.subject.concurrency:
                assert await runtime.get(one.id) == one
        assert await runtime.get(one.id) == result.instance


@check()
async def several_steps_of_one_instance_are_in_order(world: World) -> None:
    """Each sees the one before it, with commands and without."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        async with runtime.transaction() as tx:
            for event in ("go", "work", "go", "work", "go"):
                await tx.fire(one.id, event)
        assert [entry.event for entry in await runtime.history(one.id)] == [
            "$created",
            "go",
            "work",
            "go",
            "work",
            "go",
        ]
        assert (await runtime.get(one.id)).context == {"worked": 2}


@check()
async def nested_transactions_are_savepoints(world: World) -> None:
    """An inner one that fails leaves what came before; it may be caught and gone on from."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        async with runtime.transaction() as tx:
            await tx.fire(one.id, "go")
            with pytest.raises(_Stop):
                async with tx.transaction() as inner:
                    await inner.fire(one.id, "work")
                    await inner.create("flow", ref="A1")
                    inner.resource(TransactionalLedger).record("lost")
                    raise _Stop
            async with tx.transaction() as inner:
                await inner.fire(one.id, "work")
                inner.resource(TransactionalLedger).record("kept")
        after = await runtime.get(one.id)
        assert (after.version, after.context) == (3, {"worked": 1})
        assert len((await runtime.list()).instances) == 1
        assert (world.ledger.count("lost"), world.ledger.count("kept"), len(world.ledger)) == (0, 1, 2)


@check()
async def a_failed_call_undoes_only_itself(world: World) -> None:
    """A command that fails or raises inside a transaction, caught: the rest commits."""
    async with world.runtime(FLOW) as runtime:
        one, two = await runtime.create("flow"), await runtime.create("flow")
        async with runtime.transaction() as tx:
            await tx.fire(one.id, "work")
            with pytest.raises(CommandFailed):
                await tx.fire(two.id, "work", "fail")
            with pytest.raises(EventRefused):
                await tx.fire(two.id, "sing")
            with pytest.raises(InstanceNotFound):
                await tx.fire(("flow", "nobody"), "go")
            failed = await tx.try_fire(two.id, "work", "fail")
            assert isinstance(failed, Unfired)
            many = await tx.fire_many([Firing(two.id, "work", "fail"), Firing(two.id, "go")])
            assert [answer.ok for answer in many] == [False, True]
        assert (await runtime.get(one.id)).context == {"worked": 1}
        assert ((await runtime.get(two.id)).state, (await runtime.get(two.id)).version) == ("b", 2)
        assert len(world.ledger) == 1


@check()
async def many_are_created_in_a_transaction(world: World) -> None:
    """And can be fired at, cancelled, forced and deleted there."""
    async with world.runtime(FLOW) as runtime:
        async with runtime.transaction() as tx:
            one, two, three = await tx.create_many([NewInstance("flow")] * 3)
            await tx.cancel(one.id, reason="x")
            await tx.force(two.id, state="b", reason="x")
            await tx.delete(three.id, force=True)
        found = (await runtime.list(oldest_first=True)).instances
        assert {(each.id, each.state, each.outcome) for each in found} == {
            (one.id, "a", "cancelled"),
            (two.id, "b", None),
        }


@check()
async def what_has_ended_cannot_be_used(world: World) -> None:
    """A bound runtime after its transaction: refused, whatever is asked."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        async with runtime.transaction() as tx:
            pass
        with pytest.raises(Misuse, match="has ended"):
            await tx.fire(one.id, "go")
        with pytest.raises(Misuse, match="has ended"):
            await tx.get(one.id)
        with pytest.raises(Misuse, match="has ended"):
            tx.resource(TransactionalLedger)
        with pytest.raises(Misuse, match="has ended"):
            async with tx.transaction():
                pass


@check()
async def an_instance_can_be_held(world: World) -> None:
    """`locked` gives the row as it is, and commits with what is done inside."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow", ref="A1")
        async with runtime.locked(("flow", "A1")) as held:
            assert held.instance == one
            await held.fire(one.id, "work")
        assert (await runtime.get(one.id)).state == "b"
        with pytest.raises(_Stop):
            async with runtime.locked(one.id) as held:
                await held.fire(one.id, "go")
                raise _Stop
        assert (await runtime.get(one.id)).state == "b"
        with pytest.raises(InstanceNotFound):
            async with runtime.locked(("flow", "nobody")):
                raise AssertionError("it was entered")
        async with runtime.transaction() as tx, tx.locked(one.id) as held:
            await held.fire(one.id, "go")
        assert (await runtime.get(one.id)).version == 3


@check("concurrency")
async def who_is_held_waits(world: World) -> None:
    """A plain firing by someone else comes after the holder's commit, on what that left."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        held = world.signal()

        async def hold() -> str:
            async with runtime.locked(one.id) as bound:
                held.set()
                await world.driver.waits.sleep(0.05)
                return (await bound.fire(one.id, "go")).to_state

        async def fire() -> str:
            await held.wait()
            return (await runtime.fire(one.id, "work")).from_state

        assert await world.driver.together(hold, fire) == ["b", "b"]


async def has_connections(world: World) -> bool:
    """Whether an open transaction of this store has a connection."""
    async with world.opened() as ports, ports.persistence.transactions.begin(eager=True) as unit:
        try:
            return unit.connection is not None
        except NotSupported:
            return False


@check()
async def a_callers_transaction_is_joined(world: World) -> None:
    """Where the store has connections: it commits and rolls back with the caller; else it says that it has none."""
    async with world.runtime(FLOW) as runtime:
        one = await runtime.create("flow")
        if not await has_connections(world):
            with pytest.raises((InvalidArgument, NotSupported)):
                async with runtime.using(object()):
                    raise AssertionError("it was entered")
            return
        async with world.opened() as ports:
            with pytest.raises(_Stop):
                async with ports.persistence.transactions.begin(eager=True) as unit:
                    async with runtime.using(unit.connection) as bound:
                        await bound.fire(one.id, "go")
                        assert (await bound.get(one.id)).state == "b"
                    raise _Stop
            assert await runtime.get(one.id) == one
            async with ports.persistence.transactions.begin(eager=True) as unit:
                with pytest.raises(_Stop):
                    async with unit.savepoint(), runtime.using(unit.connection) as bound:
                        await bound.fire(one.id, "work")
                        raise _Stop
                async with runtime.using(unit.connection) as bound:
                    await bound.fire(one.id, "go")
                with pytest.raises(Misuse, match="has ended"):
                    await bound.fire(one.id, "go")
        after = await runtime.get(one.id)
        assert (after.state, after.version, after.context) == ("b", 2, {})
        assert len(world.ledger) == 0
