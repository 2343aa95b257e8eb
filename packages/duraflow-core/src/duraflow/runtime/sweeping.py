"""How do due timers fire? One sweep: claim, decide again under the lock, write, and keep what failed for later.

A guard's no, and a failure, put the timer on a back-off curve that lives in the due row, not in the instance: nothing
has happened to the instance. A rejection is recorded in history only when its reasons are other than last time.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Literal
from uuid import UUID

import attrs

from duraflow.codec import canonical_json
from duraflow.definition.resolve import Candidate, Timer
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionNotFound, DuraflowError, InvalidArgument, StoreUnavailable
from duraflow.instance import ArmedTimer, Blocker, Instance
from duraflow.machine.chain import advance
from duraflow.machine.guards import choose
from duraflow.machine.step import Step
from duraflow.ports import DueInstance
from duraflow.results import SweepResult
from duraflow.runtime.commands import drive_free, drive_machine
from duraflow.runtime.deciding import begin, governing
from duraflow.runtime.engine import Engine
from duraflow.runtime.notices import notices_of
from duraflow.runtime.work import Work
from duraflow.texts import clean
from duraflow.writes import Applied, ClearDue, DueChange, SetDue, TimerRetry, Writes

BATCH = 100

Fate = Literal["fired", "rejected", "failures", "failed", "parked", "skipped"]


@attrs.frozen
class Swept:
    """What became of one due timer, and what is to be written for it."""

    fate: Fate
    writes: Writes | None
    step: Step | None = None


async def fire_due_timers(engine: Engine, limit: int) -> SweepResult:
    """Fire what is due, up to `limit` timers."""
    engine.check_usable(None)
    if type(limit) is not int or limit < 1:
        raise InvalidArgument("limit", f"{limit!r} is not a positive whole number")
    tally: Counter[str] = Counter()
    done: set[UUID] = set()
    # What is skipped does not count: else work that others have to do would stand in the way of ours for ever.
    while (left := limit - tally.total() + tally["skipped"]) > 0:
        size = min(left, BATCH)
        batch = await engine.retrying(partial(_sweep_batch, engine, size, frozenset(done)))
        done.update(instance_id for instance_id in batch.claimed if instance_id not in batch.settled)
        tally.update(batch.fates)
        for instance_id in batch.alone:
            tally[await _sweep_alone(engine, instance_id)] += 1
        if len(batch.claimed) < size:
            break
    return SweepResult(**tally)


@attrs.frozen
class Batch:
    """What one claim led to.

    Attributes:
        fates: of those written together.
        alone: those that must be done in transactions of their own; they are no longer locked.
        settled: those that have nothing due any more, so that the next claim need not be told to pass them over.
    """

    claimed: tuple[UUID, ...]
    fates: tuple[Fate, ...]
    alone: tuple[UUID, ...]
    settled: frozenset[UUID] = frozenset()


async def _sweep_batch(engine: Engine, limit: int, done: frozenset[UUID]) -> Batch:
    """Claim a batch and write those that run no command together."""
    alone: list[UUID] = []
    swept: list[Swept] = []
    claimed: tuple[UUID, ...] = ()
    try:
        async with engine.opened(owned=True) as work:
            due = await engine.due.claim(work.unit, clock=engine.now(), limit=limit, exclude=tuple(done))
            claimed = tuple(one.loaded.instance.id for one in due)
            await _meet(engine, work, due)
            for one in due:
                found = _decide_together(engine, one)
                if found is None:
                    alone.append(one.loaded.instance.id)
                else:
                    swept.append(found)
            fates = await _write_together(engine, work, swept)
            settled = frozenset(
                one.writes.after.id
                for one, fate in zip(swept, fates, strict=True)
                if fate != "skipped" and one.writes is not None and isinstance(one.writes.due, ClearDue)
            )
            return Batch(claimed, fates, tuple(alone), settled)
    except DuraflowError as error:
        if not swept or (isinstance(error, StoreUnavailable) and error.retryable):
            raise
        # One of them cannot be written: each is tried alone, so that it stands in nobody else's way.
        return Batch(claimed, (), claimed)


def _decide_together(engine: Engine, due: DueInstance) -> Swept | None:
    try:
        return _decide_free(engine, due)
    except Exception:  # noqa: BLE001  # whatever a guard or delay raises is kept when it is tried alone
        return None


async def _write_together(engine: Engine, work: Work, swept: list[Swept]) -> tuple[Fate, ...]:
    writes = [one.writes for one in swept if one.writes is not None]
    answers = iter(await engine.writer.apply(work.unit, writes, last=True) if writes else ())
    fates: list[Fate] = []
    for one in swept:
        if one.writes is not None and not isinstance(next(answers), Applied):
            fates.append("skipped")
            continue
        fates.append(one.fate)
        if one.step is not None and one.writes is not None:
            work.notices += notices_of(one.step, one.writes)
    return tuple(fates)


def _pick(instance: Instance, retries: Mapping[str, TimerRetry], now: datetime) -> ArmedTimer | None:
    """The timer whose turn it is: the one whose (next try or) due time is earliest, if that has come."""
    waiting = []
    for place, timer in enumerate(instance.timers):
        retry = retries.get(timer.event)
        at = timer.due_at if retry is None else retry.next_at
        if at is not None and at <= now:
            waiting.append((at, place, timer))
    return min(waiting)[2] if waiting else None


def _next_due(timers: tuple[ArmedTimer, ...], retries: Mapping[str, TimerRetry]) -> DueChange:
    """The due row of these timers with these earlier tries."""
    kept = {timer.event: retries[timer.event] for timer in timers if timer.event in retries}
    times = [retries[t.event].next_at if t.event in retries else t.due_at for t in timers]
    upcoming = [at for at in times if at is not None]
    if not timers:
        return ClearDue()
    return SetDue(min(upcoming, default=None), kept)


def _decide_free(engine: Engine, due: DueInstance) -> Swept | None:
    """What a due timer does if it runs no command; None if it might, and must be done alone."""
    instance, now = due.loaded.instance, due.loaded.now
    if instance.continuation is not None or instance.lease_token is not None:
        return Swept("skipped", None)
    armed = _pick(instance, due.retries, now)
    if armed is None:
        return Swept("skipped", Writes(instance, instance, (), _next_due(instance.timers, due.retries)))
    if not _is_known(engine, instance):
        return Swept("skipped", None)
    workflow = governing(engine, instance)
    if armed.event not in workflow.resolved[instance.state].timers:
        return _cleared(engine, workflow, due, armed)
    if armed.event not in workflow.resolved[instance.state].free:
        return None
    step, candidate, blockers, timer = _choose(engine, workflow, due, armed)
    if candidate is None:
        return _rejected(engine, due, armed, step, blockers, timer)
    drive_free(advance(step, candidate, armed.event, None, engine.rules))
    return _fired(step, due, armed)


async def _meet(engine: Engine, work: Work, due: Sequence[DueInstance]) -> None:
    """Load the stored versions among them that were not met before, each once; those that cannot be used stay unknown.

    Whoever touches one of these is told why; a sweep passes them over.
    """
    for workflow, version in {
        (d.loaded.instance.workflow, d.loaded.instance.definition_version) for d in due
    }:
        if engine.definitions.find(workflow, version) is None:
            with contextlib.suppress(DefinitionNotFound):
                await engine.know_version(work, workflow, version)


def _is_known(engine: Engine, instance: Instance) -> bool:
    """Whether this runtime has its definition; else it is another application's, or cannot be used here."""
    return engine.definitions.find(instance.workflow, instance.definition_version) is not None


def _choose(
    engine: Engine, workflow: Workflow, due: DueInstance, armed: ArmedTimer
) -> tuple[Step, Candidate | None, tuple[Blocker, ...], Timer]:
    """Ask the guards of a due timer."""
    instance, now = due.loaded.instance, due.loaded.now
    timer = workflow.resolved[instance.state].timers[armed.event]
    step = begin(engine, workflow, instance, now, trigger={"by": "timer", "due_at": armed.due_at.isoformat()})
    step.spent_timer = armed.event
    choice = choose(timer.candidates, step.asked(), engine.rules.handlers.guards)
    return step, choice.candidate, choice.blockers, timer


def _cleared(engine: Engine, workflow: Workflow, due: DueInstance, armed: ArmedTimer) -> Swept:
    """The governing version has no such timer any more: it is taken out, and that is recorded."""
    instance, now = due.loaded.instance, due.loaded.now
    reason = f"version {workflow.version} has no timer {armed.event!r} in {instance.state!r}"
    step = begin(engine, workflow, instance, now, trigger={"by": "timer", "reason": reason})
    known = workflow.resolved[instance.state].timers
    step.upgrade(step.state, tuple(timer for timer in instance.timers if timer.event in known))
    writes = step.finish()
    return Swept("skipped", attrs.evolve(writes, due=_next_due(writes.after.timers, due.retries)), step)


def _fired(step: Step, due: DueInstance, armed: ArmedTimer) -> Swept:
    writes = step.finish()
    if not step.entered:
        # An internal move spends its own timer and keeps the tries of the others, but for those that guards refused:
        # they are tried at once, as after any internal move, unless something is parked.
        retries = due.retries
        if all(retry.parked_at is None for retry in retries.values()):
            now = due.loaded.now
            retries = {
                event: attrs.evolve(retry, next_at=now) if retry.rejected else retry
                for event, retry in retries.items()
            }
        writes = attrs.evolve(writes, due=_next_due(writes.after.timers, retries))
    return Swept("failures" if step.failed else "fired", writes, step)


def _rejected(
    engine: Engine,
    due: DueInstance,
    armed: ArmedTimer,
    step: Step,
    blockers: tuple[Blocker, ...],
    timer: Timer,
) -> Swept:
    """A guard's no: disarm, or try again later, recorded if the reasons are new."""
    instance, now = due.loaded.instance, due.loaded.now
    if timer.disarms:
        step.reject(armed.event, None, blockers, disarm=True)
        writes = step.finish()
        return Swept("rejected", attrs.evolve(writes, due=_next_due(writes.after.timers, due.retries)), step)
    text = canonical_json(
        [
            [b.code, b.guard, b.candidate, engine.codec.to_plain(b.parameters, path="blocker")]
            for b in blockers
        ]
    )
    earlier = due.retries.get(armed.event, TimerRetry(None))
    again = attrs.evolve(
        earlier,
        next_at=now + engine.timer_retry.delay(earlier.rejected + 1),
        rejected=earlier.rejected + 1,
        failed=0,
        blockers=text,
    )
    retries = {**due.retries, armed.event: again}
    if text == earlier.blockers:
        return Swept("rejected", Writes(instance, instance, (), _next_due(instance.timers, retries)))
    step.reject(armed.event, None, blockers)
    writes = step.finish()
    return Swept("rejected", attrs.evolve(writes, due=_next_due(writes.after.timers, retries)), step)


async def _sweep_alone(engine: Engine, instance_id: UUID) -> Fate:
    """One due instance in a transaction of its own; what fails is kept for later with its reason."""
    try:
        return await engine.retrying(lambda: _fire_alone(engine, instance_id))
    except Exception as error:  # commands and guards raise anything; it is kept and shown, not hidden
        if isinstance(error, StoreUnavailable) and (error.retryable or error.outcome != "not_written"):
            raise
        # What the store refuses for this instance alone (a trigger, a statement timeout) is that one's failure; a
        # store that is really away refuses to keep it too, and that is raised.
        reason = clean(f"{type(error).__name__}: {error}")
        return await engine.retrying(lambda: _keep_failure(engine, instance_id, reason))


async def _fire_alone(engine: Engine, instance_id: UUID) -> Fate:
    async with engine.opened(owned=True) as work:
        due = await engine.due.lock(work.unit, instance_id, clock=engine.now())
        if due is None:
            return "skipped"
        swept = await _decide_alone(engine, work, due)
        if swept.writes is not None:
            (answer,) = await engine.writer.apply(work.unit, (swept.writes,), last=True)
            if not isinstance(answer, Applied):
                return "skipped"
            if swept.step is not None:
                work.notices += notices_of(swept.step, swept.writes)
        return swept.fate


async def _decide_alone(engine: Engine, work: Work, due: DueInstance) -> Swept:
    instance = due.loaded.instance
    armed = _pick(instance, due.retries, due.loaded.now)
    await _meet(engine, work, (due,))
    if armed is None or instance.lease_token is not None or not _is_known(engine, instance):
        return Swept("skipped", None)
    workflow = governing(engine, instance)
    if armed.event not in workflow.resolved[instance.state].timers:
        return _cleared(engine, workflow, due, armed)
    step, candidate, blockers, timer = _choose(engine, workflow, due, armed)
    if candidate is None:
        return _rejected(engine, due, armed, step, blockers, timer)
    if candidate.external:
        raise InvalidArgument("timer", f"{armed.event!r} has external commands, which only a worker runs")
    await drive_machine(engine, work, step, advance(step, candidate, armed.event, None, engine.rules), None)
    return _fired(step, due, armed)


async def _keep_failure(engine: Engine, instance_id: UUID, reason: str) -> Fate:
    """Note a failed try in the due row: back off, and park after too many."""
    async with engine.opened(owned=True) as work:
        due = await engine.due.lock(work.unit, instance_id, clock=engine.now())
        if due is None:
            return "skipped"
        instance, now = due.loaded.instance, due.loaded.now
        armed = _pick(instance, due.retries, now)
        if armed is None:
            return "skipped"
        earlier = due.retries.get(armed.event, TimerRetry(None))
        failed = earlier.failed + 1
        parked = failed >= engine.timer_retry.park_after
        again = attrs.evolve(
            earlier,
            next_at=None if parked else now + engine.timer_retry.delay(failed),
            rejected=0,
            failed=failed,
            error=reason,
            parked_at=now if parked else None,
        )
        change = _next_due(instance.timers, {**due.retries, armed.event: again})
        (answer,) = await engine.writer.apply(work.unit, (Writes(instance, instance, (), change),), last=True)
        if not isinstance(answer, Applied):
            return "skipped"
        return "parked" if parked else "failed"
