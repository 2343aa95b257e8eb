"""How does an asyncio application look into the past of instances, and ask why one does not move?"""

from __future__ import annotations

from datetime import datetime

from duraflow.differences import InstanceDiff
from duraflow.instance import Instance
from duraflow.reasons import Why
from duraflow.runtime import reasoning, seeing
from duraflow.runtime.aio.base import AsyncBase
from duraflow.runtime.engine import Target


class AsyncSeeing(AsyncBase):
    """Earlier states, differences, reasons."""

    async def state_at(
        self, target: Target, *, seq: int | None = None, time: datetime | None = None
    ) -> Instance:
        """An instance as it was, worked out from its history: what `get` gave at that moment.

        Of all but the last entry, `lease_token`, `waiting_events` and `continuation` are not recorded, and empty.

        Args:
            seq: right after the entry with this number. In the middle of a chain of automatic moves, too, where no
                reader ever saw it.
            time: at this time (aware): after the last entry that is not later.

        Raises:
            InvalidArgument: it has no such entry, or was not yet created.
        """
        return await seeing.state_at(self._engine, self._work, target, seq, time)

    async def diff(self, target: Target, a: int | datetime, b: int | datetime | None = None) -> InstanceDiff:
        """What has changed in an instance between two moments; `print` it for a report.

        Args:
            a: the earlier moment: the `seq` of an entry (right after it), or a time (aware).
            b: the later one, likewise; None is now.

        Raises:
            InvalidArgument: it has no such entry, was not yet created, or `a` is later than `b`.
        """
        return await seeing.diff(self._engine, self._work, target, a, b)

    async def why(self, target: Target) -> Why:
        """Why an instance does not move: what it waits for, since when and until when, and what stands in its way.

        `print` it for an answer in words; its fields are for programs. Reads the row, its last history entry and its
        due work, and changes nothing. Guards are asked as by `explain` without payloads.
        """
        return await reasoning.why(self._engine, self._work, target)
