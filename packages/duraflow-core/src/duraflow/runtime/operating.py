"""What can an operator do to an instance? `cancel`, `force`, `rearm` and `delete`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duraflow.definition.workflow import Workflow
from duraflow.errors import ConcurrencyConflict, EventRefused, InvalidArgument, Misuse
from duraflow.instance import Instance
from duraflow.machine.chain import advance
from duraflow.ports import Loaded
from duraflow.results import FireResult
from duraflow.runtime.commands import drive_machine
from duraflow.runtime.deciding import begin, governing, result_of
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.firing import write
from duraflow.runtime.work import Work
from duraflow.writes import Applied, SetDue, Writes


def signed(reason: str, by: str, engine: Engine) -> Mapping[str, Any]:
    """What history says of why and by whom; raises `InvalidArgument` if it is not text."""
    for name, value in (("reason", reason), ("by", by)):
        if not isinstance(value, str):
            raise InvalidArgument(name, f"{value!r} is not text")
    return engine.trigger({key: value for key, value in (("reason", reason), ("by", by)) if value})


async def _locked(engine: Engine, work: Work, target: Target) -> Loaded:
    key = engine.key(target)
    loaded = await engine.persistence.instances.lock(work.unit, key, clock=engine.now())
    if loaded is None:
        raise engine.not_found(key)
    if loaded.instance.id in work.stepping:
        raise Misuse("a command acted on its own instance", "act on it after the step, or use a transition")
    return loaded


async def cancel(engine: Engine, work: Work | None, target: Target, reason: str, by: str) -> FireResult:
    """End an instance: in the workflow's one state with outcome cancelled, else where it is."""
    engine.check_usable(work)
    trigger = signed(reason, by, engine)

    async def use_case(own: Work) -> FireResult:
        loaded = await _locked(engine, own, target)
        instance = loaded.instance
        if not instance.open:
            raise EventRefused(instance.id, instance.workflow, instance.state, "$cancelled", "finished", ())
        await engine.know(own, instance)
        workflow = governing(engine, instance)
        step = begin(engine, workflow, instance, loaded.now, trigger=trigger)
        cancelled = [state for state in workflow.resolved.values() if state.outcome == "cancelled"]
        if len(cancelled) == 1:
            step.operate("cancelled", "$cancelled", cancelled[0], entered=True)
        else:
            step.operate("cancelled", "$cancelled", step.state, entered=False, outcome="cancelled")
        writes = step.finish()
        await write(engine, own, step, writes)
        return result_of(step, writes, "$cancelled")

    return await engine.in_work(work, use_case)


async def force(
    engine: Engine,
    work: Work | None,
    target: Target,
    state: object,
    context: Mapping[str, Any] | None,
    reason: str,
    by: str,
) -> FireResult:
    """Move an instance to any state, finished ones included; then automatic transitions follow as on any entry."""
    engine.check_usable(work)
    trigger = signed(reason, by, engine)
    if not reason:
        raise InvalidArgument("reason", "a forced move needs one: history shows it for ever")
    if context is not None:
        if not isinstance(context, Mapping):
            raise InvalidArgument("context", f"{context!r} is not a mapping")
        engine.codec.to_plain(context, path="context")
    name = str(getattr(state, "value", state))

    async def use_case(own: Work) -> FireResult:
        loaded = await _locked(engine, own, target)
        instance = loaded.instance
        if instance.lease_token is not None:
            raise ConcurrencyConflict(instance.id, instance.version)
        await engine.know(own, instance)
        workflow = engine.definitions.governing(instance.workflow, instance.definition_version)
        resolved = _state(workflow, name)
        step = begin(engine, workflow, instance, loaded.now, trigger=trigger)
        step.operate("forced", "$forced", resolved, entered=True, context=context)
        await drive_machine(engine, own, step, advance(step, None, "$forced", None, engine.rules), None)
        writes = step.finish()
        await write(engine, own, step, writes)
        return result_of(step, writes, "$forced")

    return await engine.in_work(work, use_case)


def _state(workflow: Workflow, name: str) -> Any:
    if name not in workflow.resolved:
        raise InvalidArgument(
            "state", f"{workflow.name!r} has no state {name!r}; it has {', '.join(workflow.resolved)}"
        )
    return workflow.resolved[name]


async def rearm(engine: Engine, work: Work | None, target: Target) -> Instance:
    """Try its timers again from the start: parked ones too, those already due at once. Nothing is recorded."""
    engine.check_usable(work)
    _ = engine.due  # raises where the persistence keeps no timers

    async def use_case(own: Work) -> Instance:
        loaded = await _locked(engine, own, target)
        instance = loaded.instance
        if not instance.timers or instance.due_at is None:
            raise InvalidArgument(
                "target", f"instance {instance.id} has no armed timer in state {instance.state!r}"
            )
        writes = Writes(instance, instance, (), SetDue(instance.due_at))
        (answer,) = await engine.writer.apply(own.unit, (writes,), last=own.ending)
        if not isinstance(answer, Applied):
            raise ConcurrencyConflict(instance.id, instance.version)
        return instance

    return await engine.in_work(work, use_case)


async def delete(engine: Engine, work: Work | None, target: Target, force: bool) -> Instance:
    """Take an instance out with its history; an open one only when forced. Gives what was deleted."""
    engine.check_usable(work)

    async def use_case(own: Work) -> Instance:
        loaded = await _locked(engine, own, target)
        instance = loaded.instance
        if instance.open and not force:
            raise InvalidArgument(
                "target", f"instance {instance.id} is still open; cancel it first, or pass force=True"
            )
        await engine.persistence.instances.delete(own.unit, instance.id)
        return instance

    return await engine.in_work(work, use_case)
