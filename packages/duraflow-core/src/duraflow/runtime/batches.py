"""How do many events move many instances? `fire_many`: read together, decided one by one, written together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import attrs

from duraflow.errors import KeyTaken, StoreUnavailable
from duraflow.machine.step import Step
from duraflow.ports import Key, Loaded
from duraflow.results import FireResult, Firing, Unfired
from duraflow.runtime.deciding import Request, decide, finish_free, is_free, request_of
from duraflow.runtime.engine import Engine
from duraflow.runtime.firing import FIRE_ERRORS, fire_locked_in
from duraflow.runtime.notices import notices_of
from duraflow.runtime.receipts import answer_to_event
from duraflow.runtime.work import Work
from duraflow.writes import Applied, Failed, Receipt, Writes


async def fire_many(
    engine: Engine, work: Work | None, firings: Sequence[Firing]
) -> tuple[FireResult | Unfired, ...]:
    """Each for itself, in order for one instance; command-free ones are read and written in groups."""
    engine.check_usable(work)
    requests = [request_of(engine, firing) for firing in firings]
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
    # Others of the batch are committed already when one raises, so each has its own answer; in a transaction of the
    # caller's nothing is yet, and what a guard or command raises ends it as a whole.
    caught = (Exception,) if work is None else FIRE_ERRORS
    if together:
        try:
            alone += await _fire_together(engine, together, results)
        except StoreUnavailable as error:
            results.update((index, Unfired(error)) for index, _ in together if index not in results)
    away: StoreUnavailable | None = None
    for index, request in sorted(alone, key=lambda item: item[0]):
        if away is not None:
            results[index] = Unfired(away)
            continue
        try:
            results[index] = await fire_locked_in(engine, work, request)
        except caught as error:
            results[index] = Unfired(error)
            if isinstance(error, StoreUnavailable) and error.retryable:
                away = error  # it was tried for a while; the rest would only wait as long each


async def _fire_together(
    engine: Engine, together: list[tuple[int, Request]], results: dict[int, FireResult | Unfired]
) -> list[tuple[int, Request]]:
    """Decide on one read, write in one call; gives back those that must go the locked way."""
    keys = [request.key for _, request in together]
    loaded = await engine.retrying(
        lambda: engine.persistence.instances.get_many(None, keys, clock=engine.now())
    )
    receipts = await _receipts(engine, together, loaded)
    alone: list[tuple[int, Request]] = []
    ready: list[tuple[int, Request, Step, Writes, FireResult]] = []
    seen = set()
    for index, request in together:
        found = loaded.get(request.key)
        try:
            if found is None:
                raise engine.not_found(request.key)
            if request.keyed is not None and (done := receipts.get((found.instance.id, request.keyed.key))):
                if done.last_seq > found.instance.version:
                    alone.append((index, request))  # it was done after the instances were read
                    continue
                results[index] = await answer_to_event(
                    engine, None, request.keyed, request.event, request.given, found.instance, done
                )
                continue
            await engine.know(None, found.instance)
            if found.instance.id in seen or not is_free(engine, found.instance, request.event):
                alone.append((index, request))
                continue
            seen.add(found.instance.id)
            decided = decide(engine, request, found)
            ready.append((index, request, *finish_free(engine, decided, request)))
        except Exception as error:  # noqa: BLE001  # a guard raises anything; it is this one's answer
            results[index] = Unfired(error)
    if not ready:
        return alone
    answers = await engine.writer.apply(None, [writes for _, _, _, writes, _ in ready])
    for (index, request, step, writes, result), answer in zip(ready, answers, strict=True):
        match answer:
            case Applied():
                results[index] = result
                await engine.observers.tell(notices_of(step, writes))
            case Failed(error=reason) if not (
                getattr(reason, "retryable", False) or isinstance(reason, KeyTaken)
            ):
                results[index] = Unfired(reason)
            case _:
                alone.append((index, request))
    return alone


async def _receipts(
    engine: Engine, together: list[tuple[int, Request]], loaded: Mapping[Key, Loaded]
) -> Mapping[tuple[UUID, str], Receipt]:
    """What was done before, read after the instances: what is done later than that makes their versions old."""
    pairs = [
        (found.instance.id, request.keyed.key)
        for _, request in together
        if request.keyed is not None and (found := loaded.get(request.key)) is not None
    ]
    return await engine.retrying(lambda: engine.receipts.find(None, pairs)) if pairs else {}
