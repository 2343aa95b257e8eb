"""Which transactions does a runtime offer to its caller? Its own, the caller's, and one that holds an instance."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from duraflow.errors import Misuse
from duraflow.instance import Instance
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.work import Work


@asynccontextmanager
async def transaction(engine: Engine, work: Work | None) -> AsyncIterator[Work]:
    """A transaction of its own, or a savepoint in the given one."""
    engine.check_usable(work)
    if work is not None:
        async with work.savepoint():
            yield work
        return
    async with engine.opened(owned=False) as own:
        yield own


@asynccontextmanager
async def using(engine: Engine, connection: Any) -> AsyncIterator[Work]:
    """A part of the caller's open transaction."""
    engine.check_usable(None)
    async with engine.persistence.transactions.join(connection) as unit:
        work = Work(unit, engine.resources, owned=False)
        try:
            yield work
        except BaseException:
            work.undo()
            raise
        finally:
            work.closed = True


@asynccontextmanager
async def locked(engine: Engine, work: Work | None, target: Target) -> AsyncIterator[tuple[Work, Instance]]:
    """A transaction (or the given one) that holds the instance against everyone else."""
    engine.check_usable(work)
    key = engine.key(target)
    async with transaction(engine, work) as own:
        loaded = await engine.persistence.instances.lock(own.unit, key, clock=engine.now())
        if loaded is None:
            raise engine.not_found(key)
        if loaded.instance.id in own.stepping:
            raise Misuse("a command locked its own instance", "its row is locked already")
        yield own, loaded.instance


async def committed(engine: Engine, work: Work) -> None:
    """Tell observers what a joined transaction did; once, after the caller has committed."""
    notices, work.notices = work.notices, []
    await engine.observers.tell(notices)
