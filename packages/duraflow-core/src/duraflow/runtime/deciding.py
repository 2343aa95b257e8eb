"""What does an event do to an instance as it was read? Checked and decided, before anything is run or written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import attrs

from duraflow.definition.resolve import Candidate
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    Busy,
    EventRefused,
    InvalidArgument,
)
from duraflow.instance import Blocker, Instance
from duraflow.machine.chain import advance
from duraflow.machine.guards import choose
from duraflow.machine.step import Step
from duraflow.ports import Key, Loaded
from duraflow.results import FireResult, Firing
from duraflow.runtime.commands import drive_free
from duraflow.runtime.engine import Engine
from duraflow.runtime.keys import Keyed, keyed, receipt_of
from duraflow.writes import Writes


@attrs.frozen
class Request:
    """One event as asked for, checked as far as is possible before anything is read."""

    key: Key
    event: str
    given: Any
    trigger: Mapping[str, Any]
    subject: Any = None
    keyed: Keyed | None = None


def request_of(engine: Engine, firing: Firing) -> Request:
    """Check what can be checked before any I/O.

    Raises:
        InvalidArgument: the target, event, payload, trigger or key cannot be used.
        NotSupported: it has a key, and the persistence keeps no receipts.
    """
    payload = firing.payload
    name = engine.event_name(firing.event)
    declared = engine.definitions.payload_types.get(name, ())
    refused: InvalidArgument | None = None
    for payload_type in declared:
        try:
            _ = payload if payload_type is None else payload_type.load(payload)
            refused = None
            break
        except InvalidArgument as error:
            refused = refused or error
    if refused is not None:
        raise refused
    if payload is not None and (not declared or None in declared):
        # What is stored is what guards and commands see: a tuple is a list here too.
        payload = engine.codec.copy(payload, path="payload")
    return Request(
        engine.key(firing.target),
        name,
        payload,
        engine.trigger(firing.trigger),
        firing.subject,
        keyed(engine, firing.key, firing.fingerprint, firing.keep_for),
    )


def governing(engine: Engine, instance: Instance) -> Workflow:
    """The definition of an instance.

    Raises:
        DefinitionNotFound: the runtime does not have it.
        InvalidArgument: it lacks the instance's state: a newer version did away with it, or someone edited the row.
    """
    workflow = engine.definitions.governing(instance.workflow, instance.definition_version)
    if instance.state not in workflow.resolved:
        if workflow.version != instance.definition_version:
            raise InvalidArgument(
                "instance",
                f"{instance.id} is in state {instance.state!r} of version {instance.definition_version}, which the "
                f"latest version {workflow.version} of {workflow.name!r} does not have; give that state a target with "
                "`plan_upgrade`, or move the instance with `force`",
            )
        raise InvalidArgument(
            "instance",
            f"{instance.id} is in state {instance.state!r}, which version {workflow.version} of "
            f"{workflow.name!r} does not have; was the row edited by hand? move it with `force`",
        )
    return workflow


def refuse_busy(instance: Instance) -> None:
    """Refuse to move what durable work holds."""
    if instance.continuation is not None:
        raise Busy(instance.id, f"its automatic chain waits at {instance.continuation.path} for a worker")
    if instance.lease_token is not None:
        raise Busy(instance.id, f"a worker holds it under lease {instance.lease_token}")


def candidates_for(workflow: Workflow, instance: Instance, event: str) -> tuple[Candidate, ...]:
    """The transitions that answer an event in the instance's state.

    Raises:
        EventRefused: there is none, or it is a worker's job.
        Busy: durable work holds the instance.
    """
    state = workflow.resolved[instance.state]
    accepted = state.accepted if instance.open else ()

    def refused(reason: str) -> EventRefused:
        return EventRefused(instance.id, instance.workflow, instance.state, event, reason, accepted)

    if not instance.open:
        raise refused("finished")
    if event not in state.events:
        raise refused("not_accepted" if event in workflow.event_names else "unknown_event")
    refuse_busy(instance)
    return state.events[event]


@attrs.frozen
class Decided:
    """A step that has been worked out up to where commands must run."""

    step: Step
    candidate: Candidate | None
    stored_payload: Any
    blockers: tuple[Blocker, ...]


def decide(engine: Engine, request: Request, loaded: Loaded) -> Decided:
    """Which transition the event takes, or that guards say no. Nothing is run or written.

    Raises:
        EventRefused, Busy, InvalidArgument, DefinitionNotFound: see each.
    """
    workflow = governing(engine, loaded.instance)
    candidates = candidates_for(workflow, loaded.instance, request.event)
    payload_type = workflow.events.get(request.event)
    if payload_type is None:
        payload = stored = request.given
        if stored is not None and request.event not in workflow.resolved[loaded.instance.state].free:
            # What a command does to its payload is its own affair: history keeps what was given.
            payload = engine.codec.copy(stored, path="payload")
    else:
        payload = payload_type.load(request.given)
        stored = engine.codec.copy(payload_type.dump(payload), path="payload")
    step = begin(engine, workflow, loaded.instance, loaded.now, payload, request.trigger)
    choice = choose(candidates, step.asked(), engine.rules.handlers.guards)
    if choice.candidate is not None and choice.candidate.external:
        state = workflow.resolved[loaded.instance.state]
        raise EventRefused(
            loaded.instance.id, workflow.name, state.name, request.event, "external", state.accepted
        )
    return Decided(step, choice.candidate, stored, choice.blockers)


def begin(
    engine: Engine,
    workflow: Workflow,
    instance: Instance,
    now: datetime,
    payload: Any = None,
    trigger: Mapping[str, Any] | None = None,
) -> Step:
    """A step on an existing instance."""
    return Step(
        engine.rules,
        workflow,
        instance,
        now=now,
        payload=payload,
        trigger=trigger or {},
        snapshots=bool(engine.observers),
    )


def result_of(step: Step, writes: Writes, event: str, blockers: tuple[Blocker, ...] = ()) -> FireResult:
    """What the caller is told of a finished step."""
    before = step.instance.state
    if blockers:
        recorded = writes.entries[-1].blockers
        return FireResult("rejected", event, before, before, writes.after, writes.entries, recorded)
    status = "continuing" if step.continuing else "failure" if step.failed else "success"
    return FireResult(status, event, before, writes.after.state, writes.after, writes.entries)  # type: ignore[arg-type]


def is_free(engine: Engine, instance: Instance, event: str) -> bool:
    """Whether the governing definition can run no command for this event in this state."""
    workflow = engine.definitions.find(instance.workflow, instance.definition_version)
    state = workflow.resolved.get(instance.state) if workflow is not None else None
    return state is None or event in state.free or event not in state.events


def finish_free(engine: Engine, decided: Decided, request: Request) -> tuple[Step, Writes, FireResult]:
    """Work a command-free step out to its writes, and what is told once they are written."""
    step, event = decided.step, request.event
    if decided.candidate is None:
        step.reject(event, decided.stored_payload, decided.blockers)
    else:
        drive_free(advance(step, decided.candidate, event, decided.stored_payload, engine.rules))
    return step, *finish(decided, request)


def finish(decided: Decided, request: Request) -> tuple[Writes, FireResult]:
    """What a step that was worked out writes, the receipt included, and what is told once it is written."""
    step = decided.step
    writes = step.finish()
    result = result_of(step, writes, request.event, decided.blockers)
    if request.keyed is not None:
        receipt = receipt_of(request.keyed, writes, step.now, status=result.status)
        writes = attrs.evolve(writes, receipt=receipt)
    return writes, result
