"""How does an event move an instance? `fire` and `try_fire`.

Two paths lead to the same writes. An event that can run no command is decided on a plain read and written by one
compare-and-set; everything else, and whoever lost that race, locks the row first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duraflow.errors import (
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionNotFound,
    EventRefused,
    InstanceNotFound,
    LockTimeout,
    Misuse,
)
from duraflow.machine.chain import advance
from duraflow.machine.step import Step
from duraflow.ports import Loaded
from duraflow.results import FireResult, Unfired
from duraflow.runtime.commands import drive_machine
from duraflow.runtime.deciding import Request, decide, finish_free, is_free, request_of, result_of
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
    return await fire_locked_in(engine, work, request)


async def _fire_free(engine: Engine, request: Request) -> FireResult | None:
    """Read, decide, one compare-and-set; None when the race was lost or a command turned out to be possible."""
    stores = engine.persistence
    loaded = await engine.retrying(lambda: stores.instances.get(None, request.key, clock=engine.now()))
    if loaded is None:
        raise engine.not_found(request.key)
    await engine.know(None, loaded.instance)
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


async def fire_locked_in(engine: Engine, work: Work | None, request: Request) -> FireResult:
    """Fire with the row locked, in the given transaction or one of its own."""
    if work is not None and request.event in engine.definitions.lock_free:
        loaded = await _lock(engine, work, request)
        if request.event in engine.definitions.lock_free:  # asked again: a stored version may have been met
            # It runs no command, so nothing can be half done when it raises: no savepoint is needed.
            return await _fire_loaded(engine, work, request, loaded)
    return await engine.in_work(work, lambda own: fire_locked(engine, own, request))


async def fire_locked(engine: Engine, work: Work, request: Request) -> FireResult:
    """Lock the row, decide, run commands, write: all in the given transaction."""
    return await _fire_loaded(engine, work, request, await _lock(engine, work, request))


async def _lock(engine: Engine, work: Work, request: Request) -> Loaded:
    loaded = await engine.persistence.instances.lock(work.unit, request.key, clock=engine.now())
    if loaded is None:
        raise engine.not_found(request.key)
    if loaded.instance.id in work.stepping:
        raise Misuse(
            f"a command fired {request.event!r} at its own instance",
            "return from the command, and let an automatic transition follow",
        )
    await engine.know(work, loaded.instance)
    return loaded


async def _fire_loaded(engine: Engine, work: Work, request: Request, loaded: Loaded) -> FireResult:
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
