"""Does what is stored hold together? The invariants of DESIGN section 10, as far as one store can show them.

1. History is gap-free, and folding it gives exactly the stored row.
2. Every recorded move exists in the definition version recorded with it (operator entries excepted).
3. A transactional command's effect is there if and only if the history entry of its move is there.
5. No open instance without something that will wake it.
7. A final instance never changes, and history is only added to (operator entries excepted).

Run it when nothing else is at work on the store: what others hold locked looks as if nothing would wake it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.instance import HistoryEntry, Instance
from duraflow.integrity import Breach, Versions, history_breaches, row_breaches
from duraflow.ports import Persistence
from duraflow.queries import InstanceQuery
from duraflow.runtime.aio import AsyncRuntime
from duraflow.runtime.blocking import Runtime
from duraflow.runtime.drive import drive

_PAGE = 500
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


class InvariantBroken(AssertionError):
    """What must always hold does not.

    Attributes:
        invariant: its number in DESIGN section 10.
    """

    def __init__(self, invariant: int, what: str) -> None:
        super().__init__(f"invariant {invariant} is broken: {what}")
        self.invariant = invariant


@attrs.frozen(eq=False)
class Inventory:
    """All that a store had when it was checked, to compare with later."""

    instances: Mapping[UUID, Instance]
    histories: Mapping[UUID, tuple[HistoryEntry, ...]]


def check_invariants(
    subject: Runtime | Persistence,
    *,
    workflows: Iterable[Workflow] = (),
    effects: Iterable[tuple[UUID | None, str]] | None = None,
    effect_commands: Collection[str] | None = None,
    before: Inventory | None = None,
) -> Inventory:
    """Check everything in the namespace of a started runtime or persistence.

    Args:
        subject: a runtime brings its workflows along; with a persistence they are given, or 2 and 5 are left out.
        effects: what commands did, as (transition_id, name of the command); None leaves 3 out.
        effect_commands: the commands that leave an effect; None stands for all.
        before: what an earlier check gave; None leaves 7 out, but for what history itself shows.

    Raises:
        InvariantBroken: something does not hold.
    """
    return drive(
        _check(subject, workflows, effects, effect_commands, before),
    )


async def acheck_invariants(
    subject: AsyncRuntime | Persistence,
    *,
    workflows: Iterable[Workflow] = (),
    effects: Iterable[tuple[UUID | None, str]] | None = None,
    effect_commands: Collection[str] | None = None,
    before: Inventory | None = None,
) -> Inventory:
    """`check_invariants`, for asyncio."""
    return await _check(subject, workflows, effects, effect_commands, before)


async def _check(
    subject: AsyncRuntime | Runtime | Persistence,
    workflows: Iterable[Workflow],
    effects: Iterable[tuple[UUID | None, str]] | None,
    effect_commands: Collection[str] | None,
    before: Inventory | None,
) -> Inventory:
    versions = {(workflow.name, workflow.version): workflow for workflow in workflows}
    if isinstance(subject, (Runtime, AsyncRuntime)):
        engine = subject._engine  # noqa: SLF001  # one distribution; the engine is no part of the public API
        persistence = engine.persistence
        versions = {**engine.definitions.by_version, **versions}
    else:
        persistence = subject
    inventory = await _take_inventory(persistence)
    for instance in inventory.instances.values():
        entries = inventory.histories[instance.id]
        check_entries(instance, entries, versions)
        _check_awake(instance, versions)
    await _check_due(persistence, inventory)
    if effects is not None:
        _check_effects(inventory, Counter(effects), effect_commands)
    if before is not None:
        _check_unchanged(before, inventory)
    return inventory


async def _take_inventory(persistence: Persistence) -> Inventory:
    instances: dict[UUID, Instance] = {}
    histories: dict[UUID, tuple[HistoryEntry, ...]] = {}
    after = None
    while True:
        page = await persistence.instances.list(
            None, InstanceQuery(oldest_first=True), limit=_PAGE, after=after
        )
        for instance in page:
            instances[instance.id] = instance
            histories[instance.id] = await _history(persistence, instance.id)
        if len(page) < _PAGE:
            return Inventory(instances, histories)
        after = (page[-1].created_at, page[-1].id)


async def _history(persistence: Persistence, instance_id: UUID) -> tuple[HistoryEntry, ...]:
    found: list[HistoryEntry] = []
    while True:
        page = await persistence.history.read(
            None, instance_id, after=found[-1].seq if found else 0, limit=_PAGE, newest_first=False
        )
        found += page
        if len(page) < _PAGE:
            return tuple(found)


# --- one instance -------------------------------------------------------------------------------------------


def check_entries(
    instance: Instance, entries: Sequence[HistoryEntry], versions: Versions | None = None
) -> None:
    """Check one instance against its whole history (invariants 1, 2 and 7), without any store.

    Raises:
        InvariantBroken: they do not belong together.
    """
    _refuse(instance, history_breaches(instance, entries, versions))


def _check_awake(instance: Instance, versions: Versions) -> None:
    """Invariant 5, as far as the row shows it; what is in a state that its definition lacks is an operator's."""
    _refuse(instance, (one for one in row_breaches(instance, versions) if one.code != "unknown_state"))


def _refuse(instance: Instance, breaches: Iterable[Breach]) -> None:
    for breach in breaches:
        raise InvariantBroken(breach.invariant, f"instance {instance.id}: {breach.what}")


async def _check_due(persistence: Persistence, inventory: Inventory) -> None:
    """Invariant 5 in the due store: whoever has a timer or a continuation is claimable some day, or parked."""
    waiting = {
        instance.id
        for instance in inventory.instances.values()
        if instance.timers or instance.continuation is not None
    }
    due = persistence.due
    if due is None:
        if waiting:
            raise InvariantBroken(5, f"{_some(waiting)} wait for something, and there is no due store")
        return
    for instance in inventory.instances.values():
        retries = await due.retries(None, instance.id)
        if (retries is not None) is not (instance.id in waiting):
            has = "has a due row" if retries is not None else "has no due row"
            raise InvariantBroken(5, f"instance {instance.id} with timers {instance.timers} {has}")
        strange = set(retries or ()) - {timer.event for timer in instance.timers}
        if strange:
            raise InvariantBroken(
                5, f"instance {instance.id} has tries of timers it does not have: {strange}"
            )
    claimed: set[UUID] = set()
    try:
        async with persistence.transactions.begin() as unit:
            found = await due.claim(unit, clock=_END_OF_TIME, limit=len(inventory.instances) + 1, exclude=())
            claimed = {one.loaded.instance.id for one in found}
            raise _LookedEnough
    except _LookedEnough:
        pass
    parked = {one.instance_id for one in await due.parked(None, limit=len(inventory.instances) + 1)}
    # A continuation is a worker's: a claim for timers may pass it over.
    ticking = {one.id for one in inventory.instances.values() if one.timers and one.lease_token is None}
    if ticking - claimed - parked:
        raise InvariantBroken(5, f"{_some(ticking - claimed - parked)} will never come due")
    if (claimed | parked) - waiting:
        raise InvariantBroken(5, f"{_some((claimed | parked) - waiting)} have due work, but nothing to do")


class _LookedEnough(Exception):
    """Rolls the looking transaction back."""


def _some(ids: Collection[UUID]) -> str:
    return f"instances {', '.join(sorted(map(str, ids))[:5])}"


# --- effects and earlier looks ------------------------------------------------------------------------------


def _check_effects(
    inventory: Inventory, effects: Counter[tuple[UUID | None, str]], names: Collection[str] | None
) -> None:
    recorded: Counter[Any] = Counter(
        (entry.transition_id, result.name)
        for entries in inventory.histories.values()
        for entry in entries
        for result in entry.commands
        if result.status != "error" and (names is None or result.name in names)
    )
    if recorded != effects:
        raise InvariantBroken(
            3,
            f"in history without an effect: {dict(recorded - effects)}; "
            f"effects without history: {dict(effects - recorded)}",
        )


def _check_unchanged(before: Inventory, now: Inventory) -> None:
    for instance_id, earlier in before.histories.items():
        later = now.histories.get(instance_id)
        if later is None:
            continue  # deleted: an operator's action
        if later[: len(earlier)] != earlier:
            raise InvariantBroken(7, f"instance {instance_id}: recorded history was changed")
        added = later[len(earlier) :]
        was = before.instances[instance_id]
        if not was.open and not added and now.instances[instance_id] != was:
            raise InvariantBroken(7, f"instance {instance_id} was finished, and has changed")
