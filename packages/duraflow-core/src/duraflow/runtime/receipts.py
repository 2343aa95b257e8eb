"""Was this request done before, and what came of it?

A receipt says which history entries a request left. The result is rebuilt from them, so that it is the same however
often it is asked for, by whichever process, and whatever has become of the instance since.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from duraflow.codec import canonical_json
from duraflow.definition.payloads import DescribedPayload, PayloadType
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionNotFound, IdempotencyConflict, InvalidArgument
from duraflow.instance import Continuation, HistoryEntry, Instance
from duraflow.ports import UnitOfWork
from duraflow.results import FireResult
from duraflow.runtime.engine import Engine
from duraflow.runtime.keys import GIVEN, Keyed
from duraflow.runtime.seeing import instance_as_of, read_entries
from duraflow.runtime.work import Work
from duraflow.writes import Receipt


async def answer_to_event(
    engine: Engine,
    work: Work | None,
    request: Keyed,
    event: str,
    payload: Any,
    current: Instance,
    receipt: Receipt,
) -> FireResult:
    """The result of an event that was fired before, as it was then.

    Raises:
        IdempotencyConflict: it was another event, or another payload.
    """
    unit = work.unit if work is not None else None
    entries = await _entries(engine, unit, receipt)
    first = entries[0]
    if not _is_own(request, receipt):
        payload_type = await _payload_type_then(engine, work, current.workflow, first)
        differs = tuple(_differences(engine, event, payload, payload_type, first))
    else:
        differs = _own_differs(request, receipt)
    if differs:
        raise IdempotencyConflict(request.key, f"{event!r} at instance {current.id}", differs)
    return FireResult(
        status=receipt.result.get("status", "success"),
        event=first.event,
        from_state=str(first.from_state),
        to_state=entries[-1].to_state,
        instance=await _instance(engine, unit, current, receipt),
        entries=entries,
        blockers=entries[-1].blockers,
        replayed=True,
    )


async def answer_to_creation(
    engine: Engine,
    unit: UnitOfWork | None,
    request: Keyed,
    parts: Mapping[str, str],
    receipt: Receipt,
) -> Instance | None:
    """The instance that was created before, as it was then; None if it was deleted since its receipt was read.

    Raises:
        IdempotencyConflict: it was created from something else.
    """

    async def read() -> Any:
        return await engine.persistence.instances.get(unit, receipt.instance_id, clock=engine.now())

    loaded = await (engine.retrying(read) if unit is None else read())
    if loaded is None:
        return None  # with its receipt, so that the key is free
    if not _is_own(request, receipt):
        stored = receipt.fingerprint or {}
        differs = tuple(sorted(name for name in {**parts, **stored} if stored.get(name) != parts.get(name)))
    else:
        differs = _own_differs(request, receipt)
    if differs:
        raise IdempotencyConflict(request.key, f"a creation of {receipt.workflow!r}", differs)
    return await _instance(engine, unit, loaded.instance, receipt)


async def _entries(engine: Engine, unit: UnitOfWork | None, receipt: Receipt) -> tuple[HistoryEntry, ...]:
    count = receipt.last_seq - receipt.first_seq + 1
    entries = await read_entries(engine, unit, receipt.instance_id, receipt.first_seq - 1, count)
    if len(entries) != count:
        raise InvalidArgument(
            "history",
            f"instance {receipt.instance_id} lacks entries of {receipt.first_seq} to {receipt.last_seq}, which the "
            f"receipt of {receipt.key!r} speaks of; was the history edited by hand?",
        )
    return tuple(entries)


async def _instance(engine: Engine, unit: UnitOfWork | None, current: Instance, receipt: Receipt) -> Instance:
    found = await instance_as_of(engine, unit, current, receipt.last_seq)
    stopped = receipt.result.get("continuation")
    return attrs.evolve(
        found,
        lease_token=None,
        waiting_events=receipt.result.get("waiting_events", False),
        continuation=None if stopped is None else Continuation(**stopped),
    )


# --- is it the same request? ------------------------------------------------------------------------------------------


def _is_own(request: Keyed, receipt: Receipt) -> bool:
    """Whether the callers' own word decides: nothing to compare, or a text of theirs."""
    return request.fingerprint is not True or receipt.fingerprint is None or GIVEN in receipt.fingerprint


def _own_differs(request: Keyed, receipt: Receipt) -> tuple[str, ...]:
    if request.fingerprint is False or receipt.fingerprint is None:
        return ()
    mine = request.fingerprint if isinstance(request.fingerprint, str) else None
    return () if receipt.fingerprint.get(GIVEN) == mine else ("fingerprint",)


async def _payload_type_then(
    engine: Engine, work: Work | None, workflow: str, first: HistoryEntry
) -> PayloadType | None:
    """The type that the payload had when the event was fired first, whatever versions are in code now."""
    try:
        definition: Workflow | None = await engine.know_version(work, workflow, first.definition_version)
    except DefinitionNotFound:
        # Nobody can tell any more; the newest is as near as one gets.
        definition = engine.definitions.newest.get(workflow)
    return None if definition is None else definition.events.get(first.event)


def _differences(
    engine: Engine, event: str, payload: Any, payload_type: PayloadType | None, first: HistoryEntry
) -> Iterator[str]:
    """What of the event is not as it was the first time, read as it was read then."""
    if event != first.event:
        yield f"event (it was {first.event!r})"
        return
    stored = first.payload
    if payload_type is not None:
        if isinstance(payload_type, DescribedPayload) and not isinstance(payload, Mapping):
            payload = _plain(engine, event, payload)
        try:
            payload = payload_type.dump(payload_type.load(payload))
        except InvalidArgument as error:
            yield f"payload ({error.reason})"
            return
        if isinstance(payload_type, DescribedPayload):
            # The class is not in code any more, and the defaults that it once filled in went with it.
            stored = _as_far_as_given(stored, payload)
    if not (isinstance(payload, Mapping) and isinstance(stored, Mapping)):
        if _text_of(engine, payload) != _text_of(engine, stored):
            yield "payload"
        return
    for name in sorted(payload.keys() | stored.keys()):
        both = name in payload and name in stored
        if not both or _text_of(engine, payload[name]) != _text_of(engine, stored[name]):
            yield f"payload.{name}"


def _text_of(engine: Engine, value: Any) -> str:
    """Equal for what is stored alike."""
    return canonical_json(engine.codec.to_plain(value, path="payload"))


def _plain(engine: Engine, event: str, payload: Any) -> Any:
    """An instance of a class as a mapping, by whichever version in code knows the class."""
    for declared in engine.definitions.payload_types.get(event, ()):
        if declared is not None:
            try:
                return declared.dump(declared.load(payload))
            except InvalidArgument:
                continue
    return payload


def _as_far_as_given(stored: Any, given: Any) -> Any:
    """What is stored, without fields of which the caller said nothing."""
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        return {name: _as_far_as_given(part, given[name]) for name, part in stored.items() if name in given}
    if isinstance(stored, list) and isinstance(given, (list, tuple)) and len(stored) == len(given):
        return [_as_far_as_given(*pair) for pair in zip(stored, given, strict=True)]
    return stored
