"""What was an instance like earlier, and what has changed since? `state_at` and `diff`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from duraflow.errors import InvalidArgument
from duraflow.fold import snapshot_after, unborn
from duraflow.instance import HistoryEntry, Instance
from duraflow.ports import UnitOfWork
from duraflow.runtime.asking import load
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.work import Work

if TYPE_CHECKING:
    from duraflow.differences import InstanceDiff

PAGE = 500
"""How many history entries are read at a time."""

Moment = int | datetime
"""A moment in the life of an instance: right after the entry with this `seq`, or at this time (aware)."""


async def read_entries(
    engine: Engine, unit: UnitOfWork | None, instance_id: UUID, after: int, limit: int
) -> Sequence[HistoryEntry]:
    """Entries with `seq` after the given one, oldest first; outside a transaction tried again when the store asks."""

    async def read() -> Sequence[HistoryEntry]:
        return await engine.persistence.history.read(
            unit, instance_id, after=after, limit=limit, newest_first=False
        )

    return await (engine.retrying(read) if unit is None else read())


async def entries_until(
    engine: Engine, unit: UnitOfWork | None, current: Instance, after: int, moment: Moment
) -> AsyncGenerator[Sequence[HistoryEntry], None]:
    """The entries after `after` up to a moment, page by page, as far as is needed.

    Args:
        current: the row; what was recorded since it was read is left out.

    Raises:
        InvalidArgument: the history has a gap, or the instance was deleted meanwhile.
    """
    last = min(moment, current.version) if isinstance(moment, int) else current.version
    while after < last:
        page = await read_entries(engine, unit, current.id, after, min(PAGE, last - after))
        if not page:
            raise InvalidArgument(
                "history", f"instance {current.id} has no entry {after + 1}: it was deleted, or has a gap"
            )
        wanted = page
        if isinstance(moment, datetime) and page[-1].at > moment:
            wanted = [entry for entry in page if entry.at <= moment]
        yield wanted
        if len(wanted) < len(page):
            return
        after = page[-1].seq


async def instance_as_of(
    engine: Engine, unit: UnitOfWork | None, current: Instance, moment: Moment
) -> Instance:
    """The instance as it was at a moment; `current` itself if nothing has been recorded since.

    Raises:
        InvalidArgument: that was before its creation, or is an entry that it does not have.
    """
    _check_within(current, moment)
    if current.version == moment or (isinstance(moment, datetime) and current.updated_at <= moment):
        return current
    found = unborn(current)
    async for page in entries_until(engine, unit, current, 0, moment):
        found = snapshot_after(found, page)
    return found


async def state_at(
    engine: Engine, work: Work | None, target: Target, seq: int | None, time: datetime | None
) -> Instance:
    """See `Runtime.state_at`."""
    engine.check_usable(work)
    if (seq is None) is (time is None):
        raise InvalidArgument("seq", "give either `seq` or `time`, and not both")
    moment = check_moment("time", time) if seq is None else check_moment("seq", seq)
    if seq is not None and isinstance(moment, datetime):
        raise InvalidArgument("seq", f"{seq!r} is a time; pass it as `time`")
    if time is not None and isinstance(moment, int):
        raise InvalidArgument("time", f"{time!r} is no time; the number of an entry is passed as `seq`")
    current = (await load(engine, work, target)).instance
    return await instance_as_of(engine, work.unit if work is not None else None, current, moment)


async def diff(
    engine: Engine, work: Work | None, target: Target, a: Moment, b: Moment | None
) -> InstanceDiff:
    """See `Runtime.diff`."""
    from duraflow.differences import diff_of

    engine.check_usable(work)
    earlier = check_moment("a", a)
    given = None if b is None else check_moment("b", b)
    if type(earlier) is type(given) and earlier > given:  # type: ignore[operator]  # both are of one type
        raise InvalidArgument("a", "it is later than `b`; give the earlier moment first")
    current = (await load(engine, work, target)).instance
    unit = work.unit if work is not None else None
    later = current.version if given is None else given
    _check_within(current, later)
    before = await instance_as_of(engine, unit, current, earlier)
    if later < (before.version if isinstance(later, int) else before.updated_at):  # type: ignore[operator]  # likewise
        raise InvalidArgument("a", "it is later than `b`; give the earlier moment first")
    entries: list[HistoryEntry] = []
    async for page in entries_until(engine, unit, current, before.version, later):
        entries += page
    after = snapshot_after(before, entries)
    return diff_of(
        before, current if after.version == current.version else after, tuple(entries), engine.codec
    )


def check_moment(argument: str, moment: object) -> Moment:
    """A moment, if it can be one.

    Raises:
        InvalidArgument: it is neither the seq of an entry nor an aware time.
    """
    if isinstance(moment, datetime):
        if moment.tzinfo is None:
            raise InvalidArgument(argument, f"{moment!r} has no time zone; give an aware datetime")
        return moment
    if type(moment) is not int or moment < 1:
        raise InvalidArgument(
            argument, f"{moment!r} is neither the seq of an entry (1, 2, 3 …) nor an aware datetime"
        )
    return moment


def _check_within(current: Instance, moment: Moment) -> None:
    if isinstance(moment, datetime):
        if moment < current.created_at:
            from duraflow.telling import told_time

            raise InvalidArgument(
                "time", f"instance {current.id} was only created at {told_time(current.created_at)}"
            )
    elif not 1 <= moment <= current.version:
        raise InvalidArgument(
            "seq", f"instance {current.id} has entries 1 to {current.version}, and {moment} is none of them"
        )
