"""What was an instance like earlier, and what has changed since?"""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from duraflow.errors import InvalidArgument
from duraflow.fold import snapshot_after, unborn
from duraflow.instance import HistoryEntry, Instance
from duraflow.ports import UnitOfWork
from duraflow.runtime.engine import Engine

PAGE = 500
"""How many history entries are read at a time."""


async def read_entries(
    engine: Engine, unit: UnitOfWork | None, instance_id: UUID, after: int, limit: int
) -> Sequence[HistoryEntry]:
    """Entries with `seq` after the given one, oldest first; outside a transaction tried again when the store asks."""

    async def read() -> Sequence[HistoryEntry]:
        return await engine.persistence.history.read(
            unit, instance_id, after=after, limit=limit, newest_first=False
        )

    return await (engine.retrying(read) if unit is None else read())


async def instance_as_of(engine: Engine, unit: UnitOfWork | None, current: Instance, seq: int) -> Instance:
    """The instance as it was right after its entry `seq`; `current` itself if that is its last one.

    Raises:
        InvalidArgument: it has no such entry.
    """
    if current.version == seq:
        return current
    if not 1 <= seq < current.version:
        raise InvalidArgument(
            "seq", f"instance {current.id} has entries 1 to {current.version}, and {seq} is none of them"
        )
    found = unborn(current)
    while found.version < seq:
        entries = await read_entries(engine, unit, current.id, found.version, min(PAGE, seq - found.version))
        if not entries:
            raise InvalidArgument(
                "history", f"instance {current.id} has no entry {found.version + 1}: history has a gap"
            )
        found = snapshot_after(found, entries)
    return found
