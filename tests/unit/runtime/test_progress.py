"""Is whoever asked for it told of progress, also when told by a coroutine, and of a store that goes away?"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import attrs
import pytest

from duraflow import AsyncRuntime, Misuse, Runtime, State, StoreUnavailable, Transition, Workflow
from duraflow.memory import InMemoryPersistence
from duraflow.ports import UnitOfWork
from duraflow.writer import DefaultWriter
from duraflow.writes import Answer, Failed, Writes

STATES = [State("open", [Transition("end", target="ended")]), State("ended")]
OLD = Workflow(name="job", version=1, initial="open", states=STATES)
NEW = Workflow(name="job", version=2, initial="open", states=STATES)


def test_coroutines_are_told_of_progress() -> None:
    """By upgrades, prunings and replays alike."""

    async def run() -> None:
        told: list[str] = []

        async def tell(progress: object) -> None:
            await asyncio.sleep(0)
            told.append(type(progress).__name__)

        async with AsyncRuntime(workflows=[OLD, NEW], persistence=InMemoryPersistence()) as runtime:
            await runtime.create("job")
            plan = await runtime.plan_upgrade("job", 2, 1)
            assert (await runtime.apply_upgrade(plan, on_progress=tell)).moved == 1
            assert (await runtime.replay(OLD, on_progress=tell)).total == 1
            await runtime.prune(older_than=timedelta(days=1), on_progress=tell)
        assert set(told) == {"UpgradeReport", "int", "PruneResult"}

    asyncio.run(run())


def test_a_coroutine_is_refused_where_nothing_can_await_it() -> None:
    """By the blocking runtime: it is not dropped in silence."""

    async def tell(progress: object) -> None:
        raise AssertionError(progress)

    with Runtime(workflows=[OLD, NEW], persistence=InMemoryPersistence()) as runtime:
        runtime.create("job")
        plan = runtime.plan_upgrade("job", 2, 1)
        for call in (
            lambda: runtime.apply_upgrade(plan, on_progress=tell),
            lambda: runtime.replay(OLD, on_progress=tell),
            lambda: runtime.prune(older_than=timedelta(days=1), on_progress=tell),
        ):
            with pytest.raises(Misuse, match="on_progress"):
                call()


@attrs.frozen
class AnswerLost:
    """Writes, and does not know whether it did."""

    inner: DefaultWriter

    async def apply(
        self, unit: UnitOfWork | None, writes: Sequence[Writes], /, *, last: bool = False
    ) -> Sequence[Answer]:
        """All of them, in silence."""
        await self.inner.apply(unit, writes, last=last)
        return [Failed(StoreUnavailable("the server is gone", "unknown")) for _ in writes]


def test_an_upgrade_whose_outcome_nobody_knows_is_no_instances_failure() -> None:
    """The run ends with the error: an instance that has moved is not listed as one that could not."""
    persistence: Any = InMemoryPersistence()
    with Runtime(workflows=[OLD, NEW], persistence=persistence) as runtime:
        one = runtime.create("job")
        plan = runtime.plan_upgrade("job", 2, 1)
    lossy = attrs.evolve(persistence, writer=AnswerLost(DefaultWriter.of(persistence)))
    with Runtime(workflows=[OLD, NEW], persistence=lossy) as runtime:
        with pytest.raises(StoreUnavailable):
            runtime.apply_upgrade(plan)
        assert runtime.get(one.id).definition_version == 1
