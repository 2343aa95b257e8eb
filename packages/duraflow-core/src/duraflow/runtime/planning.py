"""What would an upgrade of living instances do? Counted by state, and tried on a sample. Nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from duraflow.errors import InvalidArgument
from duraflow.instance import Instance
from duraflow.queries import InstanceQuery
from duraflow.runtime.asking import MAX_PAGE
from duraflow.runtime.creating import store_now
from duraflow.runtime.crossing import Crossing, asks_for_commands, cross, crossing_of, named
from duraflow.runtime.definitions import workflow_name
from duraflow.runtime.engine import Engine
from duraflow.texts import clean
from duraflow.upgrades import NotUpgraded, TimerPolicy, Transform, UpgradePlan, UpgradeRow


async def plan_upgrade(
    engine: Engine,
    workflow: object,
    from_version: int,
    to_version: int,
    states: object,
    transform: Transform | None,
    timers: TimerPolicy,
    sample: int,
) -> UpgradePlan:
    """See `Runtime.plan_upgrade`."""
    engine.check_usable(None)
    if type(sample) is not int or not 0 <= sample <= MAX_PAGE:
        raise InvalidArgument("sample", f"{sample!r} is not a whole number from 0 to {MAX_PAGE}")
    name = workflow_name(workflow)
    engine.definitions.latest(name)
    rules = UpgradePlan(name, from_version, to_version, named(states), transform, timers)
    crossing = await crossing_of(engine, rules)
    plan = await counted(engine, rules, crossing)
    return await _sampled(engine, plan, crossing, sample) if sample and plan.count else plan


def living(plan: UpgradePlan, **more: Any) -> InstanceQuery:
    """The open instances that the old version governs, oldest first."""
    return InstanceQuery(
        workflow=plan.workflow,
        definition_version=plan.from_version,
        open=True,
        oldest_first=True,
        **more,
    )


async def counted(engine: Engine, plan: UpgradePlan, crossing: Crossing) -> UpgradePlan:
    """The plan with what its rules mean for the instances that there are now."""
    instances = engine.persistence.instances

    async def count(**more: Any) -> dict[str, int]:
        found = await engine.retrying(lambda: instances.count(None, living(plan, **more)))
        return {row.state: row.count for row in found}

    states = await count()
    rows = []
    for state, number in sorted(states.items()):
        target = crossing.target_of(state)
        if target is None:
            rows.append(UpgradeRow(state, number, None))
        else:
            final, automatic = target.outcome is not None, bool(target.automatic)
            rows.append(
                UpgradeRow(state, number, target.name, crossing.effects(state), final, automatic)
            )  # fmt: skip
    return attrs.evolve(
        plan,
        rows=tuple(rows),
        leased=sum((await count(leased=True)).values()),
        continuing=sum((await count(continuing=True)).values()),
        waiting=sum((await count(waiting=True)).values()),
    )


async def _sampled(engine: Engine, plan: UpgradePlan, crossing: Crossing, sample: int) -> UpgradePlan:
    """The plan with what a sample of the instances, spread over the states, would run into."""
    covered = [row.state for row in plan.rows if row.covered]
    failures: list[NotUpgraded] = []
    tried = 0
    now = await store_now(engine, None)
    for number, state in enumerate(covered):
        size = -(-(sample - tried) // (len(covered) - number))
        if size < 1:
            break
        for instance in await _some(engine, plan, state, size):
            tried += 1
            try:
                _, machine = cross(engine, crossing, instance, now, {})
                asks_for_commands(machine)
            except Exception as error:  # noqa: BLE001  # transforms, delays and guards raise anything; it is told
                failures.append(held(instance, error))
    return attrs.evolve(plan, sampled=tried, failures=tuple(failures))


async def _some(engine: Engine, plan: UpgradePlan, state: str, size: int) -> Sequence[Instance]:
    query = living(plan, states=(state,))
    return await engine.retrying(
        lambda: engine.persistence.instances.list(None, query, limit=size, after=None)
    )


def held(instance: Instance, reason: BaseException | str) -> NotUpgraded:
    """An instance that is left as it was, with the reason."""
    text = reason if isinstance(reason, str) else reason_of(reason)
    return NotUpgraded(instance.id, instance.ref, instance.state, text)


def reason_of(error: BaseException) -> str:
    """An error as a text that every store and terminal can take."""
    return clean(f"{type(error).__name__}: {error}")
