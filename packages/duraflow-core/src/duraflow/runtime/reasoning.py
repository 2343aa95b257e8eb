"""Why does an instance not move? `why`: everything that is known of it, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from duraflow.errors import DefinitionNotFound, InvalidArgument
from duraflow.instance import HistoryEntry
from duraflow.machine.chain import AUTO
from duraflow.ports import Loaded
from duraflow.reasons import WaitingTimer, Why, WhyReason
from duraflow.results import Explanation
from duraflow.runtime.asking import answer, explanations, load, read
from duraflow.runtime.deciding import begin, governing
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.work import Work
from duraflow.writes import TimerRetry


async def why(engine: Engine, work: Work | None, target: Target) -> Why:
    """See `Runtime.why`."""
    loaded = await load(engine, work, target)
    last = await _last_entry(engine, work, loaded)
    timers = await _timers(engine, work, loaded)
    events: tuple[Explanation, ...] = ()
    automatic: tuple[Explanation, ...] = ()
    reason: WhyReason | None = None
    problem = ""
    if loaded.instance.open:
        try:
            await engine.know(work, loaded.instance)
            workflow = governing(engine, loaded.instance)
        except DefinitionNotFound as error:
            reason, problem = "no_definition", str(error)
        except InvalidArgument as error:
            reason, problem = "no_state", error.reason
        else:
            events = explanations(engine, workflow, loaded, {})
            asked = begin(engine, workflow, loaded.instance, loaded.now).asked()
            automatic = tuple(
                answer(engine, AUTO, (candidate,), asked)
                for candidate in workflow.resolved[loaded.instance.state].automatic
            )
    tries = [timer.next_at for timer in timers if timer.next_at is not None]
    return Why(
        reason=reason or _reason(loaded, timers, events),
        instance=loaded.instance,
        now=loaded.now,
        until=min(tries, default=None),
        events=events,
        automatic=automatic,
        timers=timers,
        last=last,
        problem=problem,
    )


def _reason(loaded: Loaded, timers: Sequence[WaitingTimer], events: Sequence[Explanation]) -> WhyReason:
    instance = loaded.instance
    if not instance.open:
        return "finished"
    if instance.lease_token is not None:
        return "leased"
    if instance.continuation is not None:
        return "continuing"
    if any(timer.parked_at is not None for timer in timers):
        return "parked"
    if any(timer.next_at is not None and timer.next_at <= loaded.now for timer in timers):
        return "due"
    return "waiting" if events or timers else "stuck"


async def _last_entry(engine: Engine, work: Work | None, loaded: Loaded) -> HistoryEntry:
    unit = work.unit if work is not None else None
    found: Sequence[HistoryEntry] = await read(
        engine,
        work,
        lambda: engine.persistence.history.read(
            unit, loaded.instance.id, after=loaded.instance.version + 1, limit=1, newest_first=True
        ),
    )
    if not found:
        raise engine.not_found(loaded.instance.id)  # every instance has entries: it was deleted meanwhile
    return found[0]


async def _timers(engine: Engine, work: Work | None, loaded: Loaded) -> tuple[WaitingTimer, ...]:
    instance = loaded.instance
    if not instance.timers:
        return ()
    unit = work.unit if work is not None else None
    retries: Mapping[str, TimerRetry] = {}
    if engine.persistence.due is not None:
        retries = await read(engine, work, lambda: engine.due.retries(unit, instance.id)) or {}
    found = []
    for timer in instance.timers:
        tried = retries.get(timer.event)
        if tried is None:
            found.append(WaitingTimer(timer.event, timer.due_at, timer.due_at))
        else:
            found.append(
                WaitingTimer(
                    timer.event, timer.due_at, tried.next_at, tried.rejected, tried.failed, tried.error,
                    tried.parked_at,
                )
            )  # fmt: skip
    return tuple(found)
