"""How does an event move an instance? `fire`, `try_fire` and `fire_many`.

Two paths lead to the same writes. An event that can run no command is decided on a plain read and written by one
compare-and-set; everything else, and whoever lost that race, locks the row first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from duraflow.definition.resolve import Candidate
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionNotFound,
    EventRefused,
    InstanceNotFound,
    InvalidArgument,
    LockTimeout,
    Misuse,
)
from duraflow.instance import Blocker, Instance
from duraflow.machine.guards import choose
from duraflow.machine.step import Step, advance
from duraflow.ports import Key, Loaded
from duraflow.results import FireResult, Firing, Unfired
from duraflow.runtime.commands import drive_free, drive_machine
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.notices import notices_of
from duraflow.runtime.work import Work
from duraflow.writes import Applied, Failed, Lost, Writes

FIRE_ERRORS = (
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionNotFound,
    EventRefused,
    InstanceNotFound,
    LockTimeout,
)
"""What one event can run into by itself: `try_fire` and `fire_many` give these as values. Anything else is raised."""


@attrs.frozen
class Request:
    """One event as asked for, checked as far as is possible before anything is read."""

    key: Key
    event: str
    given: Any
    trigger: Mapping[str, Any]
    subject: Any = None


def request_of(
    engine: Engine,
    target: Target,
    event: object,
    payload: Any,
    trigger: Mapping[str, Any] | None,
    subject: Any = None,
) -> Request:
    """Check what can be checked before any I/O.

    Raises:
        InvalidArgument: the target, event, payload or trigger cannot be used.
    """
    name = engine.event_name(event)
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
    return Request(engine.key(target), name, payload, engine.trigger(trigger), subject)


def governing(engine: Engine, instance: Instance) -> Workflow:
    """The definition of an instance; an instance in a state that its definition lacks was edited by hand."""
    workflow = engine.definitions.governing(instance.workflow, instance.definition_version)
    if instance.state not in workflow.resolved:
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
    workflow = engine.definitions.by_version.get((instance.workflow, instance.definition_version))
    state = workflow.resolved.get(instance.state) if workflow is not None else None
    return state is None or event in state.free or event not in state.events


def finish_free(engine: Engine, decided: Decided, event: str) -> tuple[Step, Writes]:
    """Work a command-free step out to its writes."""
    step = decided.step
    if decided.candidate is None:
        step.reject(event, decided.stored_payload, decided.blockers)
    else:
        drive_free(advance(step, decided.candidate, event, decided.stored_payload, engine.rules))
    return step, step.finish()


async def fire(
    engine: Engine,
    work: Work | None,
    target: Target,
    event: object,
    payload: Any,
    trigger: Mapping[str, Any] | None,
    subject: Any,
) -> FireResult:
    """See `Runtime.fire`."""
    engine.check_usable(work)
    request = request_of(engine, target, event, payload, trigger, subject)
    if work is None and engine.locking == "auto" and request.event in engine.definitions.lock_free:
        found = await _fire_free(engine, request)
        if found is not None:
            return found
    return await _fire_locked_in(engine, work, request)


async def _fire_free(engine: Engine, request: Request) -> FireResult | None:
    """Read, decide, one compare-and-set; None when the race was lost or a command turned out to be possible."""
    stores = engine.persistence
    loaded = await engine.retrying(lambda: stores.instances.get(None, request.key, clock=engine.now()))
    if loaded is None:
        raise engine.not_found(request.key)
    if not is_free(engine, loaded.instance, request.event):
        return None
    decided = decide(engine, request, loaded)
    step, writes = finish_free(engine, decided, request.event)
    (answer,) = await engine.writer.apply(None, (writes,))
    match answer:
        case Applied():
            if step.snapshots:
                await engine.observers.tell(notices_of(step, writes))
            return result_of(step, writes, request.event, decided.blockers)
        case Lost():
            return None
        case Failed(error):
            if getattr(error, "retryable", False):
                return None
            raise error


async def _fire_locked_in(engine: Engine, work: Work | None, request: Request) -> FireResult:
    if work is not None and request.event in engine.definitions.lock_free:
        # It runs no command, so nothing can be half done when it raises: no savepoint is needed.
        return await fire_locked(engine, work, request)
    return await engine.in_work(work, lambda own: fire_locked(engine, own, request))


async def fire_locked(engine: Engine, work: Work, request: Request) -> FireResult:
    """Lock the row, decide, run commands, write: all in the given transaction."""
    loaded = await engine.persistence.instances.lock(work.unit, request.key, clock=engine.now())
    if loaded is None:
        raise engine.not_found(request.key)
    if loaded.instance.id in work.stepping:
        raise Misuse(
            f"a command fired {request.event!r} at its own instance",
            "return from the command, and let an automatic transition follow",
        )
    decided = decide(engine, request, loaded)
    step = decided.step
    if decided.candidate is None:
        step.reject(request.event, decided.stored_payload, decided.blockers)
    else:
        machine = advance(step, decided.candidate, request.event, decided.stored_payload, engine.rules)
        await drive_machine(engine, work, step, machine, request.subject)
    writes = step.finish()
    await write(engine, work, step, writes)
    return result_of(step, writes, request.event, decided.blockers)


async def write(engine: Engine, work: Work, step: Step, writes: Writes) -> None:
    """Write a step inside a transaction, and remember its notices for after the commit.

    Raises:
        ConcurrencyConflict: the row changed although it is locked (a store that does not lock, or a lost lease).
    """
    (answer,) = await engine.writer.apply(work.unit, (writes,), last=work.ending)
    match answer:
        case Lost():
            raise ConcurrencyConflict(writes.after.id, writes.before.version if writes.before else 0)
        case Failed(error):
            raise error
    work.notices += notices_of(step, writes)


async def try_fire(
    engine: Engine,
    work: Work | None,
    target: Target,
    event: object,
    payload: Any,
    trigger: Mapping[str, Any] | None,
    subject: Any,
) -> FireResult | Unfired:
    """A refusal or a failed command is a value; a wrong argument or a store that is down is still raised."""
    try:
        return await fire(engine, work, target, event, payload, trigger, subject)
    except FIRE_ERRORS as error:
        return Unfired(error)


async def fire_many(
    engine: Engine, work: Work | None, firings: Sequence[Firing]
) -> tuple[FireResult | Unfired, ...]:
    """Each for itself, in order for one instance; command-free ones are read and written in groups."""
    engine.check_usable(work)
    requests = [request_of(engine, f.target, f.event, f.payload, f.trigger, f.subject) for f in firings]
    results: dict[int, FireResult | Unfired] = {}
    waiting = list(enumerate(await _one_name_each(engine, work, requests)))
    while waiting:
        group: dict[Key, tuple[int, Request]] = {}
        later: list[tuple[int, Request]] = []
        for index, request in waiting:
            if request.key in group:
                later.append((index, request))
            else:
                group[request.key] = (index, request)
        await _fire_group(engine, work, list(group.values()), results)
        waiting = later
    return tuple(results[index] for index in range(len(requests)))


async def _one_name_each(engine: Engine, work: Work | None, requests: list[Request]) -> list[Request]:
    """The same requests, where ids and refs are mixed all by id, so that those of one instance keep their order."""
    refs = {request.key for request in requests if isinstance(request.key, tuple)}
    if not refs or all(isinstance(request.key, tuple) for request in requests):
        return requests
    unit = work.unit if work is not None else None
    found = await engine.persistence.instances.get_many(unit, list(refs), clock=engine.now())
    ids: dict[Key, Key] = {key: one.instance.id for key, one in found.items()}
    return [attrs.evolve(request, key=ids.get(request.key, request.key)) for request in requests]


async def _fire_group(
    engine: Engine,
    work: Work | None,
    group: list[tuple[int, Request]],
    results: dict[int, FireResult | Unfired],
) -> None:
    """Events for different keys: those that can are decided on one read and written by one statement."""
    alone: list[tuple[int, Request]] = []
    together: list[tuple[int, Request]] = []
    for index, request in group:
        free = engine.locking == "auto" and request.event in engine.definitions.lock_free and work is None
        (together if free else alone).append((index, request))
    if together:
        alone += await _fire_together(engine, together, results)
    for index, request in sorted(alone, key=lambda item: item[0]):
        try:
            results[index] = await _fire_locked_in(engine, work, request)
        except FIRE_ERRORS as error:
            results[index] = Unfired(error)


async def _fire_together(
    engine: Engine, together: list[tuple[int, Request]], results: dict[int, FireResult | Unfired]
) -> list[tuple[int, Request]]:
    """Decide on one read, write in one call; gives back those that must go the locked way."""
    keys = [request.key for _, request in together]
    loaded = await engine.retrying(
        lambda: engine.persistence.instances.get_many(None, keys, clock=engine.now())
    )
    alone: list[tuple[int, Request]] = []
    ready: list[tuple[int, Request, Decided, Step, Writes]] = []
    seen = set()
    for index, request in together:
        found = loaded.get(request.key)
        try:
            if found is None:
                raise engine.not_found(request.key)
            if found.instance.id in seen or not is_free(engine, found.instance, request.event):
                alone.append((index, request))
                continue
            seen.add(found.instance.id)
            decided = decide(engine, request, found)
            ready.append((index, request, decided, *finish_free(engine, decided, request.event)))
        except FIRE_ERRORS as error:
            results[index] = Unfired(error)
    if not ready:
        return alone
    answers = await engine.writer.apply(None, [writes for *_, writes in ready])
    for (index, request, decided, step, writes), answer in zip(ready, answers, strict=True):
        match answer:
            case Applied():
                results[index] = result_of(step, writes, request.event, decided.blockers)
                await engine.observers.tell(notices_of(step, writes))
            case Failed(error=reason) if not getattr(reason, "retryable", False):
                results[index] = Unfired(reason)
            case _:
                alone.append((index, request))
    return alone
