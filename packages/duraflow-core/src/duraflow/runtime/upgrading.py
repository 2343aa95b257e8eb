"""How are living instances moved from one version to another? In batches, one compare-and-set for each instance.

Pages of instances are read without locks and decided one by one; those that run no command are written together.
Whoever lost that race, or runs commands, is looked at again under its lock, alone. Whatever stands in the way of one
instance is kept beside the others. An interrupted run has moved some and not the others; the next one finds these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import attrs

from duraflow.errors import Busy, InvalidArgument, LockTimeout, StoreUnavailable
from duraflow.instance import Instance
from duraflow.machine.step import Step
from duraflow.queries import cursor_after, read_cursor
from duraflow.runtime.asking import MAX_PAGE
from duraflow.runtime.commands import drive_machine
from duraflow.runtime.creating import store_now
from duraflow.runtime.crossing import Crossing, asks_for_commands, cross, crossing_of
from duraflow.runtime.deciding import refuse_busy
from duraflow.runtime.drive import resolved
from duraflow.runtime.engine import Engine
from duraflow.runtime.firing import write
from duraflow.runtime.notices import notices_of
from duraflow.runtime.operating import signed
from duraflow.runtime.planning import counted, held, living, reason_of
from duraflow.runtime.work import Work
from duraflow.upgrades import NotUpgraded, UpgradePlan, UpgradeReport
from duraflow.writes import Applied, Failed, Writes

_LISTED = 100

Progress = Callable[[UpgradeReport], object]
Fate = Literal["gone", "skipped"]


@attrs.define(eq=False)
class _Run:
    """One run of an upgrade: its rules, its report so far, and what was busy when it was met."""

    engine: Engine
    plan: UpgradePlan
    crossing: Crossing
    trigger: Mapping[str, Any]
    skip_uncovered: bool
    report: UpgradeReport
    busy: list[NotUpgraded] = attrs.field(factory=list)

    def count(self, **more: int) -> None:
        """Add to the numbers of the report."""
        changed = {name: getattr(self.report, name) + number for name, number in more.items()}
        self.report = attrs.evolve(self.report, **changed)

    def moved(self, step: Step) -> None:
        """One is over."""
        self.count(moved=1, continuing=int(step.continuing))

    def failed(self, one: NotUpgraded) -> None:
        """One cannot be moved."""
        listed = (*self.report.failures, one)[:_LISTED]
        self.report = attrs.evolve(self.report, failures=listed)
        self.count(failed=1)

    def still_busy(self, one: NotUpgraded) -> None:
        """One cannot be had."""
        self.report = attrs.evolve(self.report, held=(*self.report.held, one)[:_LISTED])
        self.count(busy=1)


async def apply_upgrade(
    engine: Engine,
    plan: UpgradePlan,
    skip_uncovered: bool,
    dry_run: bool,
    limit: int | None,
    batch: int,
    cursor: str | None,
    on_progress: Progress | None,
    reason: str,
    by: str,
) -> UpgradeReport:
    """See `Runtime.apply_upgrade`."""
    engine.check_usable(None)
    if not isinstance(plan, UpgradePlan):
        raise InvalidArgument("plan", f"{plan!r} is no plan; make one with `plan_upgrade`")
    if type(batch) is not int or not 1 <= batch <= MAX_PAGE:
        raise InvalidArgument("batch", f"{batch!r} is not a whole number from 1 to {MAX_PAGE}")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidArgument("limit", f"{limit!r} is neither a positive whole number nor None")
    trigger = {**signed(reason, by, engine), "from_version": plan.from_version}
    after = None if cursor is None else read_cursor(cursor)
    crossing = await crossing_of(engine, plan)
    now = await counted(engine, plan, crossing)
    if now.uncovered and not skip_uncovered:
        raise InvalidArgument(
            "plan",
            f"it is not total: nothing says where open instances in {', '.join(map(repr, now.uncovered))} go; name "
            "targets in `states`, or pass skip_uncovered=True to leave these as they are",
        )
    run = _Run(engine, plan, crossing, trigger, skip_uncovered, UpgradeReport(cursor=cursor, dry_run=dry_run))

    async def told() -> None:
        if on_progress is not None:
            await resolved(on_progress(run.report), "on_progress", suspends=engine.waits.suspends)

    while not run.report.done and (limit is None or run.report.moved < limit):
        after = await _page(run, batch if limit is None else min(batch, limit - run.report.moved), after)
        await told()
    if run.busy:
        await _those_that_were_busy(run, limit)
        await told()
    return run.report


async def _page(run: _Run, size: int, after: tuple[datetime, UUID] | None) -> tuple[datetime, UUID] | None:
    """Move the next instances; gives the place after them."""
    engine, query = run.engine, living(run.plan)
    found = await engine.retrying(
        lambda: engine.persistence.instances.list(None, query, limit=size, after=after)
    )
    if not found:
        run.report = attrs.evolve(run.report, done=True, cursor=None)
        return after
    now = await store_now(engine, None)
    alone: list[Instance] = []
    together: list[tuple[Instance, Step, Writes]] = []
    for instance in found:
        decided = _decided(run, instance, now)
        if isinstance(decided, tuple):
            together.append((instance, *decided))
        elif decided:
            alone.append(instance)
    if run.report.dry_run:
        for _, step, _ in together:
            run.moved(step)
        run.count(announced=len(alone))
    else:
        for instance in alone + await _write_together(run, together):
            busy = await _move_alone(run, held(instance, ""))
            if busy is not None:
                run.busy.append(busy)
    done = len(found) < size
    run.report = attrs.evolve(run.report, done=done, cursor=None if done else cursor_after(found[-1]))
    return found[-1].created_at, found[-1].id


def _decided(run: _Run, instance: Instance, now: datetime) -> tuple[Step, Writes] | bool:
    """What an instance that runs no command does; True if it must be moved alone, False if not now."""
    try:
        refuse_busy(instance)
        if run.crossing.target_of(instance.state) is None and run.skip_uncovered:
            run.count(skipped=1)
            return False
        step, machine = cross(run.engine, run.crossing, instance, now, run.trigger)
        return True if asks_for_commands(machine) else (step, step.finish())
    except Busy as error:
        run.busy.append(held(instance, error))
    except Exception as error:  # noqa: BLE001  # transforms, delays and guards raise anything; it is this one's answer
        run.failed(held(instance, error))
    return False


async def _write_together(run: _Run, together: list[tuple[Instance, Step, Writes]]) -> list[Instance]:
    """Write those that run no command in one call; gives back those that must be looked at again."""
    if not together:
        return []
    alone = []
    gone: StoreUnavailable | None = None
    answers = await run.engine.writer.apply(None, [writes for *_, writes in together])
    for (instance, step, writes), answer in zip(together, answers, strict=True):
        match answer:
            case Applied():
                run.moved(step)
                await run.engine.observers.tell(notices_of(step, writes))
            case Failed(error=StoreUnavailable(outcome="unknown") as lost):
                gone = gone or lost  # not this instance's failure: the store is away, and it may have moved
            case Failed(error=reason) if not getattr(reason, "retryable", False):
                run.failed(held(instance, reason))
            case _:
                alone.append(instance)
    if gone is not None:
        raise gone
    return alone


async def _move_alone(run: _Run, one: NotUpgraded) -> NotUpgraded | None:
    """Look at one instance again under its lock, and move it if it is still to be moved; gives back a busy one."""
    try:
        fate = await run.engine.in_work(None, lambda work: _move_locked(run, work, one.instance_id))
    except (Busy, LockTimeout) as error:
        return attrs.evolve(one, reason=str(error))
    except Exception as error:
        if isinstance(error, StoreUnavailable) and (error.retryable or error.outcome != "not_written"):
            raise  # not this instance's failure: the store is away
        run.failed(attrs.evolve(one, reason=reason_of(error)))
        return None
    if isinstance(fate, Step):
        run.moved(fate)
    else:
        run.count(**{fate: 1})
    return None


async def _move_locked(run: _Run, work: Work, instance_id: UUID) -> Step | Fate:
    engine = run.engine
    loaded = await engine.persistence.instances.lock(work.unit, instance_id, clock=engine.now())
    if loaded is None or not loaded.instance.open:
        return "gone"
    instance = loaded.instance
    if instance.definition_version != run.plan.from_version:
        return "gone"
    refuse_busy(instance)
    if run.crossing.target_of(instance.state) is None and run.skip_uncovered:
        return "skipped"
    step, machine = cross(engine, run.crossing, instance, loaded.now, run.trigger)
    await drive_machine(engine, work, step, machine, None)
    await write(engine, work, step, step.finish())
    return step


async def _those_that_were_busy(run: _Run, limit: int | None) -> None:
    """Try once more what someone held: by now it may be free. What is not tried any more is told as busy, too."""
    for one in run.busy:
        if run.report.dry_run or (limit is not None and run.report.moved >= limit):
            run.still_busy(one)
        elif (busy := await _move_alone(run, one)) is not None:
            run.still_busy(busy)
