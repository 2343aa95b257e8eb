"""How does an event move an instance? `fire` and `try_fire`.

Two paths lead to the same writes. An event that can run no command is decided on a plain read and written by one
compare-and-set; everything else, and whoever lost that race, locks the row first.
"""

from __future__ import annotations

from duraflow.errors import (
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionNotFound,
    EventRefused,
    IdempotencyConflict,
    InstanceNotFound,
    KeyTaken,
    LockTimeout,
    Misuse,
)
from duraflow.machine.chain import advance
from duraflow.machine.step import Step
from duraflow.ports import Loaded
from duraflow.results import FireResult, Firing, Unfired
from duraflow.runtime.commands import drive_machine
from duraflow.runtime.deciding import Request, decide, finish, finish_free, is_free, request_of
from duraflow.runtime.engine import Engine
from duraflow.runtime.notices import notices_of
from duraflow.runtime.receipts import answer_to_event
from duraflow.runtime.work import Work
from duraflow.writes import Applied, Failed, Lost, Receipt, Writes

FIRE_ERRORS = (
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionNotFound,
    EventRefused,
    IdempotencyConflict,
    InstanceNotFound,
    LockTimeout,
)
"""What one event can run into by itself: `try_fire` and `fire_many` give these as values. Anything else is raised."""


async def fire(engine: Engine, work: Work | None, firing: Firing) -> FireResult:
    """See `Runtime.fire`."""
    engine.check_usable(work)
    request = request_of(engine, firing)
    if work is None and engine.locking == "auto" and request.event in engine.definitions.lock_free:
        found = await _fire_free(engine, request)
        if found is not None:
            return found
    return await fire_locked_in(engine, work, request)


async def _fire_free(engine: Engine, request: Request) -> FireResult | None:
    """Read, decide, one compare-and-set; None when the race was lost or a command turned out to be possible.

    Whether a request with a key was done before is not asked: then either its event is not accepted any more, or what
    it would write now meets the receipt and is not written. The locked path has the answer to both.
    """
    stores = engine.persistence
    loaded = await engine.retrying(lambda: stores.instances.get(None, request.key, clock=engine.now()))
    if loaded is None:
        raise engine.not_found(request.key)
    try:
        await engine.know(None, loaded.instance)
        if not is_free(engine, loaded.instance, request.event):
            return None
        decided = decide(engine, request, loaded)
        step, writes, result = finish_free(engine, decided, request)
    except Exception:
        if request.keyed is not None:
            return None
        raise
    (answer,) = await engine.writer.apply(None, (writes,))
    match answer:
        case Applied():
            if step.snapshots:
                await engine.observers.tell(notices_of(step, writes))
            return result
        case Lost() | Failed(KeyTaken()):
            return None
        case Failed(error):
            if getattr(error, "retryable", False):
                return None
            raise error


async def fire_locked_in(engine: Engine, work: Work | None, request: Request) -> FireResult:
    """Fire with the row locked, in the given transaction or one of its own."""
    if work is not None and request.event in engine.definitions.lock_free:
        # It runs no command, so nothing can be half done when it raises: no savepoint is needed.
        return await fire_locked(engine, work, request, bare=True)
    return await engine.in_work(work, lambda own: fire_locked(engine, own, request))


async def fire_locked(engine: Engine, work: Work, request: Request, *, bare: bool = False) -> FireResult:
    """Lock the row, look for the receipt, decide, run commands, write: all in the given transaction.

    Args:
        bare: it is in nobody's savepoint, because no command is expected to run.
    """
    loaded, receipt = await _lock(engine, work, request)
    if loaded is None:
        raise engine.not_found(request.key)
    if loaded.instance.id in work.stepping:
        raise Misuse(
            f"a command fired {request.event!r} at its own instance",
            "return from the command, and let an automatic transition follow",
        )
    if receipt is not None and request.keyed is not None:
        return await answer_to_event(
            engine, work, request.keyed, request.event, request.given, loaded.instance, receipt
        )
    await engine.know(work, loaded.instance)
    if bare and not is_free(engine, loaded.instance, request.event):
        # A stored version, met just now, runs one after all.
        return await engine.in_work(work, lambda own: fire_locked(engine, own, request))
    decided = decide(engine, request, loaded)
    step = decided.step
    if decided.candidate is None:
        step.reject(request.event, decided.stored_payload, decided.blockers)
    else:
        machine = advance(step, decided.candidate, request.event, decided.stored_payload, engine.rules)
        await drive_machine(engine, work, step, machine, request.subject)
    writes, result = finish(decided, request)
    await write(engine, work, step, writes)
    return result


async def _lock(engine: Engine, work: Work, request: Request) -> tuple[Loaded | None, Receipt | None]:
    """The row, held, and what came of this request if it was done before."""
    if request.keyed is None:
        return await engine.persistence.instances.lock(work.unit, request.key, clock=engine.now()), None
    return await engine.receipts.lock(work.unit, request.key, request.keyed.key, clock=engine.now())


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


async def try_fire(engine: Engine, work: Work | None, firing: Firing) -> FireResult | Unfired:
    """A refusal or a failed command is a value; a wrong argument or a store that is down is still raised."""
    try:
        return await fire(engine, work, firing)
    except FIRE_ERRORS as error:
        return Unfired(error)
