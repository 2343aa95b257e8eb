"""`TransactionRunner`: all or nothing, in parts too?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from duraflow.errors import AlreadyExists
from duraflow.instance import Instance
from duraflow.queries import InstanceQuery
from duraflow.testing.conformance.made_up import create, entry, made, moved, new
from duraflow.testing.conformance.subject import Ports, World, check


class _Stop(Exception):
    pass


class _Killed(BaseException):
    pass


async def _move(ports: Ports, unit: Any, instance: Instance, state: str) -> Instance:
    after = moved(instance, state=state)
    assert await ports.instances.save(unit, after, expected=instance)
    await ports.history.append(unit, [entry(after)])
    return after


async def _look(ports: Ports) -> dict[UUID, tuple[Instance, int]]:
    found = await ports.instances.list(None, InstanceQuery(), limit=100, after=None)
    return {one.id: (one, len(await ports.entries(one.id))) for one in found}


@check()
async def a_rollback_restores_everything(world: World) -> None:
    """Whatever leaves the transaction, an error or the end of the process: nothing of it is there, and it goes on."""
    async with world.opened() as ports:
        one, two = new(world, ref="A1"), new(world, ref="A2")
        await create(ports, one, two)
        before = await _look(ports)
        for error in (_Stop, _Killed):
            with pytest.raises(error):
                async with ports.begin() as unit:
                    await _move(ports, unit, one, "two")
                    await ports.instances.create(unit, new(world, ref="A3"))
                    await ports.instances.delete(unit, two.id)
                    raise error
            assert await _look(ports) == before
            assert await ports.read(("port", "A3")) is None
            assert await ports.read(("port", "A2")) == two


@check()
async def a_commit_keeps_everything(world: World) -> None:
    """All that was written, for everyone."""
    async with world.opened() as ports:
        one, two = await made(ports, world, 2)
        async with ports.begin() as unit:
            after = await _move(ports, unit, one, "two")
            await ports.instances.delete(unit, two.id)
        async with world.opened() as again:
            assert await _look(again) == {one.id: (after, 2)}


@check()
async def a_savepoint_undoes_its_part_only(world: World) -> None:
    """What came before it, and what comes after, is kept; the exception goes on to who wants it."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        kept, lost = new(world), new(world)
        async with ports.begin() as unit:
            after = await _move(ports, unit, one, "two")
            with pytest.raises(_Stop):
                async with unit.savepoint():
                    await _move(ports, unit, after, "three")
                    await ports.instances.create(unit, lost)
                    raise _Stop
            assert await ports.read(one.id, unit) == after
            await ports.instances.create(unit, kept)
            await ports.history.append(unit, [entry(kept)])
        assert await _look(ports) == {one.id: (after, 2), kept.id: (kept, 1)}


@check()
async def savepoints_nest(world: World) -> None:
    """An inner one that was kept goes with the outer one; an inner one that was undone leaves the outer one be."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        async with ports.begin() as unit:
            with pytest.raises(_Stop):
                async with unit.savepoint():
                    async with unit.savepoint():
                        await _move(ports, unit, one, "two")
                    raise _Stop
            async with unit.savepoint():
                after = await _move(ports, unit, one, "two")
                with pytest.raises(_Stop):
                    async with unit.savepoint():
                        await _move(ports, unit, after, "three")
                        raise _Stop
        assert await _look(ports) == {one.id: (after, 2)}


@check()
async def a_refusal_by_the_store_can_be_undone_by_a_savepoint(world: World) -> None:
    """What the store refused inside a savepoint does not spoil the transaction around it."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        async with ports.begin() as unit:
            with pytest.raises(AlreadyExists):
                async with unit.savepoint():
                    await ports.instances.create(unit, one)
            after = await _move(ports, unit, one, "two")
        assert await _look(ports) == {one.id: (after, 2)}


@check("concurrency")
async def only_what_is_committed_is_seen(world: World) -> None:
    """Outside, and in another transaction: no sooner, no later."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        extra = new(world, ref="A1")
        async with ports.begin() as reader:
            assert await ports.read(one.id, reader) == one
            async with ports.begin() as writer:
                after = await _move(ports, writer, one, "two")
                await ports.instances.create(writer, extra)
                await ports.history.append(writer, [entry(extra)])
                for unit in (None, reader):
                    assert await ports.read(one.id, unit) == one
                    assert await ports.read(("port", "A1"), unit) is None
                    assert len(await ports.entries(one.id, unit)) == 1
                    assert await ports.instances.list(unit, InstanceQuery(), limit=9, after=None) == [one]
            # READ COMMITTED: each statement sees what is committed by then.
            assert await ports.read(one.id, reader) == after
            assert await ports.read(("port", "A1"), reader) == extra
