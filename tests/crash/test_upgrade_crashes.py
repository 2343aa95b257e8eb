"""What is left when the process that upgrades instances dies at the n-th port call, for every n, and is run again?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from duraflow import AsyncRuntime, Persistence, State, Transition, UpgradePlan, UpgradeReport, Workflow
from duraflow.testing import ManualClock, acheck_invariants, crash_attempts
from tests.crash.letters import Letters
from tests.crash.scenarios import DAY
from tests.crash.test_crash_points import KINDS, Kind, Store

OLD = Workflow(
    name="parcel",
    initial="open",
    states=[
        State("open", [Transition("pack", target="packed"), Transition("expire", target="lost", after=DAY)]),
        State("packed", [Transition("ship", target="shipped")]),
        State("shipped"),
        State("lost", outcome="failed"),
    ],
)
NEW = Workflow(
    name="parcel",
    version=2,
    initial="open",
    states=[
        State("open", [Transition("wrap", target="wrapped"), Transition("expire", target="lost", after=2 * DAY)]),
        State("wrapped", [Transition(target="stamped", commands=["letter"])]),
        State("stamped", [Transition("ship", target="shipped")]),
        State("shipped"),
        State("lost", outcome="failed"),
    ],
)  # fmt: skip


COUNT = 4


def counted(context: dict[str, Any], metadata: Any) -> dict[str, Any]:
    """A transform that would show if it took effect twice."""
    return {**context, "upgrades": context.get("upgrades", 0) + 1}


def _runtime(kind: Kind, persistence: Persistence, store: Store, clock: ManualClock) -> AsyncRuntime:
    async def letter(ctx: Any, _runtime: Any) -> None:
        await ctx.resource(Letters).write((ctx.transition_id, ctx.command.name))

    return kind.driver.runtime(
        workflows=[OLD, NEW],
        commands={"letter": kind.driver.command(letter)},
        persistence=persistence,
        resources={Letters: store.mailbox.resource},
        clock=clock,
    )


async def _prepare(kind: Kind, store: Store, clock: ManualClock) -> None:
    """Instances of the old version, every other one packed."""
    async with kind.driver.runtime(workflows=[OLD], persistence=store.persistence(), clock=clock) as runtime:
        for number in range(COUNT):
            created = await runtime.create("parcel", ref=f"P{number}")
            if number % 2:
                await runtime.fire(created.id, "pack")


async def _plan(runtime: AsyncRuntime) -> UpgradePlan:
    return await runtime.plan_upgrade("parcel", 1, 2, states={"packed": "wrapped"}, transform=counted)


async def _upgrade(kind: Kind, persistence: Persistence, store: Store, clock: ManualClock) -> UpgradeReport:
    async with _runtime(kind, persistence, store, clock) as runtime:
        return await runtime.apply_upgrade(await _plan(runtime), batch=2)


async def _look(kind: Kind, store: Store, clock: ManualClock) -> None:
    """A fresh process on what is left, which runs the upgrade again: all are over, each of them once."""

    async def check() -> None:
        await acheck_invariants(
            persistence, workflows=[OLD, NEW], effects=store.mailbox.found(), effect_commands={"letter"}
        )

    persistence = store.persistence()
    async with _runtime(kind, persistence, store, clock) as runtime:
        await check()
        report = await runtime.apply_upgrade(await _plan(runtime))
        assert report.complete
        await check()
        for number in range(COUNT):
            after = await runtime.get(("parcel", f"P{number}"))
            assert (after.definition_version, after.context["upgrades"]) == (2, 1)
            assert after.state == ("stamped" if number % 2 else "open")
            kinds = [entry.kind for entry in await runtime.history(after.id)]
            assert kinds.count("upgraded") == 1
        assert len(store.mailbox.found()) == COUNT // 2


@pytest.mark.parametrize("make", KINDS)
def test_every_crash_point_of_an_upgrade(
    make: Callable[[pytest.FixtureRequest], Kind], request: pytest.FixtureRequest
) -> None:
    """Wherever it dies: some are over and the others are not, and running it again ends in the same."""
    kind = make(request)
    stores: list[Store] = []

    def fresh() -> Persistence:
        stores.append(kind.fresh())
        kind.driver.run(_prepare(kind, stores[-1], ManualClock()))
        return stores[-1].persistence()

    crashes = 0
    for attempt in crash_attempts(fresh):
        clock = ManualClock()
        with attempt:
            kind.driver.run(_upgrade(kind, attempt.persistence, stores[-1], clock))
        try:
            kind.driver.run(_look(kind, stores[-1], clock))
        except BaseException as error:
            error.add_note(str(attempt))
            raise
        crashes += attempt.crash is not None
    assert crashes >= 20
