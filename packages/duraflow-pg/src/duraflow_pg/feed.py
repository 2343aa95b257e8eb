"""How is everything that happened read from PostgreSQL in one order, without missing what commits late?

An entry's position is the id of the transaction that wrote it (or a later one in which the instance had moved before).
What stands below the oldest transaction id still in progress is complete: whoever could write there has ended. So only
that is shown, as the snapshot of the statement that reads it has it.
"""

from __future__ import annotations

from uuid import UUID

import attrs

from duraflow.errors import InvalidArgument
from duraflow.ports import FeedEntry, FeedPage, FeedPosition
from duraflow.records import ENTRY_COLUMNS, entry_from_record
from duraflow_pg.database import PgDatabase
from duraflow_pg.history import COLUMNS
from duraflow_pg.statements import Row, compiled

_BEGINNING = FeedPosition(0, UUID(int=0), 0)


@attrs.frozen(eq=False)
class PgChangeFeed:
    """`ChangeFeed` on the table `workflow_history`, by its index `workflow_history_position`."""

    _database: PgDatabase
    _read: bytes = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda self: compiled(_PAGE, self._database.schema, columns=COLUMNS), takes_self=True
        ),
    )

    async def read(self, after: FeedPosition | None, /, *, limit: int, workflow: str | None) -> FeedPage:
        begin = after or _BEGINNING
        parameters = {
            "namespace": self._database.namespace,
            "position": str(begin.position),
            "instance_id": begin.instance_id,
            "seq": begin.seq,
            "limit": limit,
            "workflow": workflow,
        }
        rows = await self._database.fetch(None, self._read, parameters)
        ahead, total = rows[0][:2]
        if ahead:
            raise InvalidArgument(
                "after",
                "this cursor lies ahead of the server's transaction counter: it is of another server, or the database "
                "was restored; reset the positions there (duraflow db check --reset-positions) and begin anew: from "
                "the beginning, an earlier cursor, or 'now'",
            )
        if not total:
            return FeedPage((), None, more=False)
        # The last entry that was looked at comes along even if it is of another workflow.
        shown = tuple(self._entry(row) for row in rows if workflow is None or row[5] == workflow)
        return FeedPage(shown, _position(rows[-1]), more=total >= limit)

    def _entry(self, row: Row) -> FeedEntry:
        record = dict(zip(ENTRY_COLUMNS, row[7:], strict=True))
        return FeedEntry(_position(row), row[5], row[6], entry_from_record(record, self._database.codec))

    async def end(self) -> FeedPosition:
        ((position,),) = await self._database.fetch(
            None, b"SELECT pg_snapshot_xmin(pg_current_snapshot())::text", {}
        )
        return FeedPosition(int(position), UUID(int=0), 0)

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        if self._database.hints is not None:
            return await self._database.hints.wait(seconds, seen=seen)
        await self._database.waits.sleep(seconds)
        return seen


def _position(row: Row) -> FeedPosition:
    return FeedPosition(int(row[2]), row[3], row[4])


_PAGE = """
WITH page AS MATERIALIZED (
    SELECT h.*, row_number() OVER (ORDER BY h.position, h.instance_id, h.seq) AS number
    FROM {history} h
    WHERE h.namespace = %(namespace)s
      AND (h.position, h.instance_id, h.seq) > (%(position)s::text::xid8, %(instance_id)s::uuid, %(seq)s::bigint)
      AND h.position < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY h.position, h.instance_id, h.seq
    LIMIT %(limit)s
), looked AS (
    SELECT count(*) AS total, %(position)s::text::xid8 > pg_snapshot_xmax(pg_current_snapshot()) AS ahead FROM page
)
SELECT looked.ahead, looked.total, h.position::text, h.instance_id, h.seq, i.workflow, i.ref, {columns}
FROM looked
LEFT JOIN (page h CROSS JOIN LATERAL (SELECT * FROM {instances} i WHERE i.id = h.instance_id LIMIT 1) i)
    ON %(workflow)s::text IS NULL OR i.workflow = %(workflow)s OR h.number = looked.total
ORDER BY h.number
"""
# LATERAL with LIMIT, so that each row's instance is looked up by its key: a generic plan takes the page for a tenth of
# the table, and would read all instances for it.
