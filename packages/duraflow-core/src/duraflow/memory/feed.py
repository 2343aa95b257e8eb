"""How is everything that happened read from memory in the order of the commits?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from operator import itemgetter
from uuid import UUID

import attrs

from duraflow.errors import InvalidArgument
from duraflow.memory.access import Access
from duraflow.memory.tables import FeedPlace, Tables
from duraflow.ports import FeedEntry, FeedPage, FeedPosition
from duraflow.records import Record, entry_from_record

_STEP_S = 0.01


@attrs.frozen(eq=False)
class InMemoryChangeFeed:
    """`ChangeFeed` in memory: the position is the number of the commit, so nothing ever commits late."""

    _access: Access

    async def read(self, after: FeedPosition | None, /, *, limit: int, workflow: str | None) -> FeedPage:
        namespace, codec = self._access.namespace, self._access.codec
        with self._access.view(None) as view:
            tables = view.tables
            if after is not None and after.position > tables.commits + 1:
                raise InvalidArgument(
                    "after", "this cursor lies ahead of all that was committed: it is of another database"
                )
            order = tables.fed.get(namespace, [])
            begin = 0 if after is None else bisect_right(order, (*attrs.astuple(after), 0))
            places = order[begin : begin + limit]
            rows = [(place, tables.instances[place[1]], _entry(tables, place)) for place in places]
        entries = tuple(
            FeedEntry(
                _position(place), instance["workflow"], instance["ref"], entry_from_record(entry, codec)
            )
            for place, instance, entry in rows
            if workflow is None or instance["workflow"] == workflow
        )
        return FeedPage(entries, _position(places[-1]) if places else None, more=len(places) == limit)

    async def end(self) -> FeedPosition:
        with self._access.view(None) as view:
            return FeedPosition(view.tables.commits + 1, UUID(int=0), 0)

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        waits = self._access.environment.waits
        while (commits := self._commits()) == seen and seconds > 0:
            await waits.sleep(min(_STEP_S, seconds))
            seconds -= _STEP_S
        return commits

    def _commits(self) -> int:
        with self._access.view(None) as view:
            return view.tables.commits


def _position(place: FeedPlace) -> FeedPosition:
    return FeedPosition(*place[:3])


def _entry(tables: Tables, place: FeedPlace) -> Record:
    _, instance_id, seq, _ = place
    rows = tables.history[instance_id]
    return rows[bisect_left(rows, seq, key=itemgetter("seq"))]
