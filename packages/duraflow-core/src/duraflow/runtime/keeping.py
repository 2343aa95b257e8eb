"""How is what is old taken out, batch after batch?

Each batch is a transaction of its own, passes over what others hold, and goes on where the one before it ended: so a
pruning keeps nobody waiting, not even another pruning, and can be broken off at any moment.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import attrs

from duraflow.definition.values import OUTCOMES, Outcome, to_name
from duraflow.errors import InvalidArgument, NotSupported
from duraflow.ports import UnitOfWork
from duraflow.ports.retention import PrunedBatch, Retention
from duraflow.retention import PruneResult
from duraflow.runtime.creating import store_now
from duraflow.runtime.definitions import workflow_name
from duraflow.runtime.drive import resolved
from duraflow.runtime.engine import Engine

MAX_BATCH = 10_000
Age = timedelta | datetime
Progress = Callable[[PruneResult], Any]

Prune = Callable[[UnitOfWork, str | None, int], Awaitable[PrunedBatch]]
"""One batch: (unit, where the last one ended, at most so many)."""


@attrs.frozen
class Pruning:
    """What a call of `prune` asked for, checked."""

    older_than: Age
    outcomes: tuple[Outcome, ...] | None
    workflow: str | None
    batch: int
    limit: int | None
    dry_run: bool
    receipts_older_than: Age | None
    messages_older_than: Age | None
    on_progress: Progress | None


def pruning(
    *,
    older_than: object,
    outcomes: object,
    workflow: object,
    batch: object,
    limit: object,
    dry_run: object,
    receipts_older_than: object,
    messages_older_than: object,
    on_progress: Progress | None,
) -> Pruning:
    """Check the arguments of `prune`.

    Raises:
        InvalidArgument: one of them cannot be used.
    """
    if type(batch) is not int or not 1 <= batch <= MAX_BATCH:
        raise InvalidArgument("batch", f"{batch!r} is not a whole number from 1 to {MAX_BATCH}")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidArgument("limit", f"{limit!r} is not a positive whole number; None sets no limit")
    if type(dry_run) is not bool:
        raise InvalidArgument("dry_run", f"{dry_run!r} is neither True nor False")
    if on_progress is not None and not callable(on_progress):
        raise InvalidArgument("on_progress", f"{on_progress!r} cannot be called")
    return Pruning(
        _age("older_than", older_than),
        _outcomes(outcomes),
        None if workflow is None else workflow_name(workflow),
        batch,
        limit,
        dry_run,
        None if receipts_older_than is None else _age("receipts_older_than", receipts_older_than),
        None if messages_older_than is None else _age("messages_older_than", messages_older_than),
        on_progress,
    )


def _age(argument: str, value: object) -> Age:
    match value:
        case timedelta():
            if value > timedelta():
                return value
            raise InvalidArgument(
                argument, f"{value} is not positive; to take out all that is finished, give a time"
            )
        case datetime():
            if value.tzinfo is not None:
                return value
            raise InvalidArgument(argument, f"{value!r} has no time zone")
    raise InvalidArgument(argument, f"{value!r} is neither a timedelta nor an aware datetime")


def _outcomes(value: object) -> tuple[Outcome, ...] | None:
    if value is None:
        return None
    items = (value,) if isinstance(value, (str, Enum)) else value
    if not isinstance(items, Iterable):
        raise InvalidArgument("outcomes", f"{value!r} is neither an outcome nor several")
    names = tuple(dict.fromkeys(to_name(item) for item in items))
    for name in names:
        if name not in OUTCOMES:
            raise InvalidArgument("outcomes", f"{name!r} is not one of {', '.join(OUTCOMES)}")
    if not names:
        raise InvalidArgument("outcomes", "none is given; None takes all")
    return names


def retention_of(engine: Engine, operation: str) -> Retention:
    """The port.

    Raises:
        NotSupported: the persistence has none.
    """
    if engine.persistence.retention is None:
        raise NotSupported(operation, "a persistence with the port `retention: Retention`")
    return engine.persistence.retention


async def prune(engine: Engine, asked: Pruning) -> PruneResult:
    """See `Runtime.prune`."""
    engine.check_usable(None)
    store = retention_of(engine, "`prune`")
    now = await store_now(engine, None)

    def time(argument: str, age: Age) -> datetime:
        try:
            return age if isinstance(age, datetime) else now - age
        except OverflowError:
            raise InvalidArgument(argument, f"{age} ago is before the beginning of time") from None

    before = time("older_than", asked.older_than)
    told = asked.receipts_older_than
    receipts_before = None if told is None else time("receipts_older_than", told)
    told = asked.messages_older_than
    messages_before = None if told is None else time("messages_older_than", told)

    async def instances(unit: UnitOfWork, after: str | None, limit: int) -> PrunedBatch:
        return await store.prune_instances(
            unit, before=before, outcomes=asked.outcomes, workflow=asked.workflow, after=after, limit=limit,
            dry_run=asked.dry_run,
        )  # fmt: skip

    async def receipts(unit: UnitOfWork, after: str | None, limit: int) -> PrunedBatch:
        return await store.prune_receipts(
            unit, expired=now, before=receipts_before, after=after, limit=limit, dry_run=asked.dry_run
        )

    async def messages(unit: UnitOfWork, after: str | None, limit: int) -> PrunedBatch:
        assert messages_before is not None
        return await store.prune_messages(
            unit, before=messages_before, after=after, limit=limit, dry_run=asked.dry_run
        )

    result = PruneResult(dry_run=asked.dry_run)
    result = await _batches(engine, asked, result, "instances", instances)
    result = await _batches(engine, asked, result, "receipts", receipts)
    if messages_before is not None:
        result = await _batches(engine, asked, result, "messages", messages)
    return result


async def _batches(
    engine: Engine, asked: Pruning, result: PruneResult, kind: str, prune_batch: Prune
) -> PruneResult:
    """All batches of one kind, after what was done before."""
    after: str | None = None
    left = asked.limit
    while True:
        size = asked.batch if left is None else min(asked.batch, left)

        async def attempt(after: str | None = after, size: int = size) -> PrunedBatch:
            async with engine.opened(owned=True) as work:
                return await prune_batch(work.unit, after, size)

        done = await engine.retrying(attempt)
        after = done.reached
        left = None if left is None else left - done.taken
        ended = after is None or left == 0
        result = attrs.evolve(
            result,
            entries=result.entries + done.entries,
            waiting=result.waiting + done.waiting,
            complete=result.complete and (not ended or after is None),
            **{kind: getattr(result, kind) + done.taken},
        )
        if asked.on_progress is not None:
            await resolved(asked.on_progress(result), "on_progress", suspends=engine.waits.suspends)
        if ended:
            return result
