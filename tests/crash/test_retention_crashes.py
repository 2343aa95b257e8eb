"""What is left when the process dies at the n-th port call of a pruning or an import, for every n?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from duraflow import AsyncRuntime, PruneResult, State, Transition, Workflow
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Persistence
from duraflow.testing import ManualClock, acheck_invariants, crash_attempts
from duraflow.testing.driver import BlockingDriver
from tests.crash.test_crash_points import KINDS, Kind

HOUR = timedelta(hours=1)
JOB = Workflow(
    name="job",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("end", target="ended", emits=("ended",)),
                Transition("late", target="ended", after=HOUR),
            ],
        ),
        State("ended"),
    ],
)


def _runtime(kind: Kind, persistence: Persistence, clock: ManualClock) -> AsyncRuntime:
    return kind.driver.runtime(workflows=[JOB], persistence=persistence, clock=clock)


async def _fill(runtime: AsyncRuntime, clock: ManualClock) -> None:
    """Five that have ended, with keys and messages, and two that have not."""
    for number in range(7):
        made = await runtime.create("job", key=f"made {number}", keep_for=HOUR)
        if number < 5:
            await runtime.fire(made.id, "end", key="k")
    for number in range(2):
        await runtime.fire((await runtime.create("job")).id, "end", key=f"{number}")
    clock.advance(2 * HOUR)


async def _everything(runtime: AsyncRuntime) -> dict[UUID, str]:
    """Every instance as its line of an export."""
    found = {}
    async for line in runtime.export():
        if '"type":"instance"' in line:
            instance_id = UUID(line.partition('"id":"')[2][:36])
            found[instance_id] = line
    return found


@pytest.mark.parametrize("make", KINDS)
def test_a_pruning_dies(
    make: Callable[[pytest.FixtureRequest], Kind], request: pytest.FixtureRequest
) -> None:
    """Each instance is there as it was, or not at all; the next pruning takes the rest."""
    kind = make(request)
    clock = ManualClock()

    def fresh() -> Persistence:
        nonlocal clock
        store, clock = kind.fresh().persistence, ManualClock()

        async def fill() -> None:
            async with _runtime(kind, store(), clock) as runtime:
                await _fill(runtime, clock)

        kind.driver.run(fill())
        return store()

    async def prune(runtime: AsyncRuntime) -> PruneResult:
        return await runtime.prune(
            older_than=HOUR, batch=2, receipts_older_than=HOUR, messages_older_than=HOUR
        )

    async def scenario(persistence: Persistence) -> None:
        async with _runtime(kind, persistence, clock) as runtime:
            await prune(runtime)

    async def recover(persistence: Persistence) -> None:
        async with _runtime(kind, persistence, clock) as runtime:
            await acheck_invariants(persistence, workflows=[JOB])
            left = await _everything(runtime)
            again = await prune(runtime)
            assert again.instances == len(left) - 2
            assert again.entries == 2 * again.instances
            kept = await _everything(runtime)
            assert len(kept) == 2
            assert all('"receipts":[]' in line for line in kept.values())
            assert await prune(runtime) == PruneResult()

    crashes = 0
    for attempt in crash_attempts(fresh):
        with attempt:
            kind.driver.run(scenario(attempt.persistence))
        kind.driver.run(recover(attempt.store))
        crashes += attempt.crash is not None
    assert crashes >= 20


@pytest.mark.parametrize("make", KINDS)
def test_an_import_dies(
    make: Callable[[pytest.FixtureRequest], Kind], request: pytest.FixtureRequest
) -> None:
    """Each instance is there whole, or not at all; the same import, passing over what is there, brings the rest."""
    clock = ManualClock()
    lines: list[str] = []
    source: dict[UUID, str] = {}

    async def write() -> None:
        kind = Kind(BlockingDriver(), Any)  # type: ignore[arg-type]  # only its driver is of use here
        async with _runtime(kind, InMemoryPersistence(), clock) as runtime:
            await _fill(runtime, clock)
            lines.extend([line async for line in runtime.export()])
            source.update(await _everything(runtime))

    BlockingDriver().run(write())
    kind = make(request)

    async def scenario(persistence: Persistence) -> None:
        async with _runtime(kind, persistence, clock) as runtime:
            await runtime.import_(lines)

    async def recover(persistence: Persistence) -> None:
        async with _runtime(kind, persistence, clock) as runtime:
            await acheck_invariants(persistence, workflows=[JOB])
            there = await _everything(runtime)
            assert all(source[instance_id] == line for instance_id, line in there.items())
            result = await runtime.import_(lines, on_conflict="skip")
            assert (result.instances, result.skipped) == (len(source) - len(there), len(there))
            assert await _everything(runtime) == source
            assert (await runtime.fire_due_timers()).fired == 2
            await acheck_invariants(persistence, workflows=[JOB])
            for instance_id in source:
                # The same ids are imported again, into the next store of the same database.
                await runtime.delete(instance_id, force=True)

    crashes = 0
    for attempt in crash_attempts(lambda: kind.fresh().persistence()):
        with attempt:
            kind.driver.run(scenario(attempt.persistence))
        kind.driver.run(recover(attempt.store))
        crashes += attempt.crash is not None
    assert crashes >= 6
