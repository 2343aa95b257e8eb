"""What does an upgrade do to one instance? Decided as values, by rules that were checked before."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import attrs

from duraflow.definition.resolve import ResolvedState
from duraflow.definition.values import to_name
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionError, DefinitionNotFound, InvalidArgument
from duraflow.handlers import Asked
from duraflow.instance import ArmedTimer, Instance
from duraflow.machine.chain import Machine, advance
from duraflow.machine.step import Step
from duraflow.machine.timers import arm
from duraflow.runtime.deciding import begin
from duraflow.runtime.engine import Engine
from duraflow.upgrades import TIMER_POLICIES, TimerEffect, TimerPolicy, Transform, UpgradePlan


@attrs.frozen
class Crossing:
    """The rules of one upgrade, checked against both versions.

    Attributes:
        source: the old version as far as it can be read; None if its snapshot does not load. Its handlers may be gone.
    """

    source: Workflow | None
    target: Workflow
    states: Mapping[str, str]
    transform: Transform | None
    timers: TimerPolicy
    from_version: int

    def target_of(self, state: str) -> ResolvedState | None:
        """Where instances in a state go; None when nothing says so."""
        return self.target.resolved.get(self.states.get(state, state))

    def effects(self, state: str) -> Mapping[str, TimerEffect]:
        """What happens to the timers of instances in a state."""
        target = self.target_of(state)
        if target is None:
            return {}
        before = self._old_timers(state)
        found: dict[str, TimerEffect] = {}
        for event in target.timers:
            if self.timers == "restart":
                found[event] = "restarted"
            elif self.source is not None and event not in before:
                found[event] = "new"
            else:
                found[event] = "due" if self.timers == "keep_due" else "elapsed"
        return {**found, **{event: "dropped" for event in before if event not in target.timers}}

    def _old_timers(self, state: str) -> Mapping[str, Any]:
        old = self.source.resolved.get(state) if self.source is not None else None
        return old.timers if old is not None else {}

    def armed(
        self,
        engine: Engine,
        instance: Instance,
        target: ResolvedState,
        context: Mapping[str, Any],
        now: datetime,
    ) -> tuple[ArmedTimer, ...]:
        """The timers of an instance in its new state.

        Raises:
            Exception: whatever a delay function raises.
        """
        if target.outcome is not None:
            return ()
        armed = {timer.event: timer for timer in instance.timers}
        # A timer that the old version had here, and that is armed no more, has done its work.
        spent = self._old_timers(instance.state).keys() - armed.keys()
        since = now if self.timers == "restart" else instance.entered_at
        asked = Asked(None, MappingProxyType(dict(context)), instance.metadata, since)
        found: list[ArmedTimer | None] = []
        for timer in target.timers.values():
            if self.timers == "keep_due" and timer.event in armed:
                found.append(armed[timer.event])
            elif self.timers == "restart" or timer.event not in spent:
                found.append(arm(timer, asked, engine.rules.handlers.delays))
        return tuple(timer for timer in found if timer is not None)


async def crossing_of(engine: Engine, plan: UpgradePlan) -> Crossing:
    """Check the rules of a plan.

    Raises:
        DefinitionNotFound: this runtime cannot use the new version.
        InvalidArgument: the rules make no sense for these two versions.
    """
    for name, version in (("from_version", plan.from_version), ("to_version", plan.to_version)):
        if type(version) is not int or version < 1:
            raise InvalidArgument(name, f"{version!r} is not a whole number from 1")
    if plan.from_version == plan.to_version:
        raise InvalidArgument("to_version", f"it is {plan.to_version}, as is from_version; name two versions")
    if plan.timers not in TIMER_POLICIES:
        raise InvalidArgument("timers", f"{plan.timers!r} is not one of {', '.join(TIMER_POLICIES)}")
    given: Any = plan.transform
    if given is not None and (not callable(given) or inspect.iscoroutinefunction(given)):
        raise InvalidArgument("transform", "it is not a plain function of (context, metadata)")
    target = await engine.know_version(None, plan.workflow, plan.to_version)
    source = await _source(engine, plan.workflow, plan.from_version)
    for before, after in plan.states.items():
        if source is not None and before not in source.resolved:
            raise InvalidArgument(
                "states", f"version {plan.from_version} of {plan.workflow!r} has no state {before!r}"
            )
        if after not in target.resolved:
            raise InvalidArgument(
                "states", f"version {plan.to_version} of {plan.workflow!r} has no state {after!r}"
            )
    return Crossing(source, target, plan.states, plan.transform, plan.timers, plan.from_version)


async def _source(engine: Engine, workflow: str, version: int) -> Workflow | None:
    """The old version, with or without its handlers; None if there is only a snapshot that does not load."""
    known = engine.definitions.by_version.get((workflow, version))
    store = engine.persistence.definitions
    if known is not None or store is None:
        return known
    snapshot = await engine.retrying(lambda: store.load(None, workflow, version))
    if snapshot is None:
        raise DefinitionNotFound(
            workflow,
            version,
            tuple(
                f"{stored.workflow} version {stored.version}"
                for stored in await engine.retrying(lambda: store.known(None))
                if stored.workflow == workflow
            ),
        )
    try:
        return Workflow.from_json(snapshot)
    except (InvalidArgument, DefinitionError):
        return None  # getting away from it is what upgrades are for


def cross(
    engine: Engine, crossing: Crossing, instance: Instance, now: datetime, trigger: Mapping[str, Any]
) -> tuple[Step, Machine]:
    """The step that brings an instance over, and what its new state then does by itself, not yet driven.

    Raises:
        InvalidArgument: its state is not covered, or what it would become cannot be stored.
        Exception: whatever the transform or a delay function raises.
    """
    target = crossing.target_of(instance.state)
    if target is None:
        raise InvalidArgument("states", f"nothing says where instances in {instance.state!r} go")
    step = begin(engine, crossing.target, instance, max(now, instance.updated_at), trigger=trigger)
    context: Mapping[str, Any] | None = None
    if crossing.transform is not None:
        own: Any = engine.codec.copy(instance.context, path="context")
        context = crossing.transform(own, instance.metadata)
        if not isinstance(context, Mapping):
            raise InvalidArgument("transform", f"it returned {context!r}; return the new context, a mapping")
        context = dict(engine.codec.copy(dict(context), path="context"))  # type: ignore[call-overload]  # an object
    timers = crossing.armed(
        engine, instance, target, instance.context if context is None else context, step.now
    )
    step.upgrade(target, timers, context)
    return step, advance(step, None, "$upgraded", None, engine.rules)


def asks_for_commands(machine: Machine) -> bool:
    """Drive a machine as far as it goes without running a command; whether it asks for one."""
    for _ in machine:
        machine.close()
        return True
    return False


def named(states: object) -> Mapping[str, str]:
    """The explicit mapping of states, by plain names."""
    if not isinstance(states, Mapping):
        raise InvalidArgument("states", f"{states!r} is not a mapping from old to new states")
    return MappingProxyType({str(to_name(old)): str(to_name(new)) for old, new in states.items()})
