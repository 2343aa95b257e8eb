"""Does every history tell how its row came to be, without a gap, and by moves that exist?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.integrity import (
    UNREADABLE,
    Breach,
    Versions,
    first_of_each,
    history_breaches,
    row_breaches,
    unreadable,
)
from duraflow.records import ENTRY_COLUMNS, INSTANCE_COLUMNS, entry_from_record, instance_from_record
from duraflow_pg.doctor.running import Looked, Ward
from duraflow_pg.history import COLUMNS as ENTRIES
from duraflow_pg.instances import COLUMNS as INSTANCES
from duraflow_pg.statements import Row, compiled, int_array, uuid_array

_PAGE: Final = 500
_LONGEST: Final = 5_000
"""Entries from which on a history is not folded: it would fill the memory of whoever asked."""

# One walk over the entries of each instance, by the primary key: a join for the last one would be planned as a join
# with the whole table.
_COUNTED: Final = """
WITH i AS MATERIALIZED (
    SELECT i.id, i.version, i.state, i.outcome, i.definition_version, i.updated_at
    FROM {instances} i {sample} WHERE i.namespace = %(namespace)s
), bad AS (
    SELECT i.id, CASE
        WHEN h.entries <> i.version OR h.last IS DISTINCT FROM i.version THEN 'history_gap'
        WHEN h.changed THEN 'changed_after_end'
        WHEN (h.state, h.outcome, h.definition_version, h.at)
            IS DISTINCT FROM (i.state, i.outcome, i.definition_version, i.updated_at) THEN 'row_unlike_history'
        END AS code,
        format('version %%s, %%s, %%s, definition %%s, %%s; '
            'history: %%s entries, the last is %%s, %%s, %%s, definition %%s, %%s',
            i.version, i.state, coalesce(i.outcome, 'open'), i.definition_version, i.updated_at,
            h.entries, h.last, h.state, coalesce(h.outcome, 'open'), h.definition_version, h.at) AS told
    FROM i CROSS JOIN LATERAL (
        SELECT count(*) AS entries, max(h.seq) AS last, bool_or(h.ended AND h.kind <> 'forced') AS changed,
               max(h.to_state) FILTER (WHERE h.seq = i.version) AS state,
               max(h.outcome) FILTER (WHERE h.seq = i.version) AS outcome,
               max(h.definition_version) FILTER (WHERE h.seq = i.version) AS definition_version,
               max(h.at) FILTER (WHERE h.seq = i.version) AS at
        FROM (
            SELECT h.*, lag(h.outcome) OVER (ORDER BY h.seq) IS NOT NULL AS ended
            FROM {history} h WHERE h.instance_id = i.id
        ) AS h
    ) AS h
), ranked AS (
    SELECT code, id, told, count(*) OVER (PARTITION BY code) AS total,
           row_number() OVER (PARTITION BY code ORDER BY id) AS rank
    FROM bad WHERE code IS NOT NULL
)
SELECT (SELECT count(*) FROM i), r.code, r.id, r.told, r.total
FROM (SELECT 1) AS always LEFT JOIN ranked r ON r.rank <= %(shown)s ORDER BY r.code, r.rank
"""

_SOME: Final = """
SELECT {columns} FROM {instances} i {sample}
WHERE i.namespace = %(namespace)s AND i.version <= %(longest)s LIMIT %(limit)s
"""

_PAGE_OF_ALL: Final = """
SELECT {columns} FROM {instances} i
WHERE i.namespace = %(namespace)s AND i.version <= %(longest)s AND i.id > %(after)s ORDER BY i.id LIMIT %(limit)s
"""

# No snapshot is shared with the page of instances: entries up to a version that was seen never change.
_ENTRIES: Final = """
SELECT {columns} FROM unnest(%(ids)s::uuid[], %(versions)s::bigint[]) AS k (id, version)
JOIN {history} h ON h.instance_id = k.id AND h.seq <= k.version ORDER BY h.instance_id, h.seq
"""

_STILL_THERE: Final = "SELECT i.id FROM {instances} i WHERE i.id = ANY (%(ids)s::uuid[])"


async def check_histories(ward: Ward, looked: Looked) -> None:
    """`seq` is 1 to version, and the last entry is what the row says: in SQL."""
    sample = ward.sample(ward.census.instances)
    statement = compiled(_COUNTED, ward.database.schema, sample=sample.clause)
    rows = await ward.ask_compiled(statement, percentage=sample.percentage)
    looked.sampled(sample, rows[0][0], ward.census.instances, "instances with all their entries")
    for code, group in groupby((row for row in rows if row[1] is not None), key=lambda row: row[1]):
        found = list(group)
        looked.found(code, [f"{one}: {told}" for _, _, one, told, _ in found], total=found[0][4])


async def check_folding(ward: Ward, looked: Looked) -> None:
    """Folding the whole history gives the row, context included, and each move is in its version: in Python."""
    count = ward.census.instances
    wanted = max(1, ward.examination.sample // 10)
    sample = ward.sample(count, wanted)
    found = _Breaches(ward.examination.shown)
    seen = 0
    if sample.whole:
        after = UUID(int=0)
        page = compiled(_PAGE_OF_ALL, ward.database.schema, columns=INSTANCES)
        while rows := await ward.ask_compiled(page, after=after, limit=_PAGE, longest=_LONGEST):
            await _fold(ward, rows, found)
            seen += len(rows)
            after = rows[-1][0]
    else:
        some = compiled(_SOME, ward.database.schema, columns=INSTANCES, sample=sample.clause)
        rows = await ward.ask_compiled(some, percentage=sample.percentage, limit=wanted, longest=_LONGEST)
        for first in range(0, len(rows), _PAGE):
            await _fold(ward, rows[first : first + _PAGE], found)
        seen = len(rows)
    looked.sampled(sample, seen, count, "instances with all their entries")
    for code, total in found.totals.items():
        looked.found(code, found.texts[code], total=total)


@attrs.define
class _Breaches:
    """How many there are of each kind, and the first few of them: all may be very many."""

    shown: int
    totals: Counter[str] = attrs.field(factory=Counter)
    texts: dict[str, list[str]] = attrs.field(factory=dict)

    def add(self, instance_id: UUID, breach: Breach) -> None:
        self.totals[breach.code] += 1
        texts = self.texts.setdefault(breach.code, [])
        if len(texts) < max(1, self.shown):
            texts.append(f"{instance_id}: {breach.what}")


async def _fold(ward: Ward, rows: Sequence[Row], found: _Breaches) -> None:
    """Judge a page of instances by their histories."""
    codec, version = ward.database.codec, INSTANCE_COLUMNS.index("version")
    entries = await ward.ask_compiled(
        compiled(_ENTRIES, ward.database.schema, columns=ENTRIES),
        ids=uuid_array(row[0] for row in rows),
        versions=int_array(row[version] for row in rows),
    )
    histories = {one: list(group) for one, group in groupby(entries, key=lambda row: row[0])}
    without = [row[0] for row in rows if row[0] not in histories]
    deleted = await _deleted(ward, without) if without else frozenset()
    for row in rows:
        if row[0] in deleted:
            continue
        for breach in _judge(row, histories.get(row[0], []), ward.census.versions, codec):
            found.add(row[0], breach)


async def _deleted(ward: Ward, ids: Sequence[UUID]) -> frozenset[UUID]:
    """Those that are not there any more: they were deleted, with their histories, since they were read."""
    there = {one for (one,) in await ward.ask(_STILL_THERE, ids=uuid_array(ids))}
    return frozenset(ids) - there


_ELSEWHERE: Final = frozenset({"nothing_wakes_it", "unknown_state"})
"""What the check of the instances finds, for all of them."""


def _judge(row: Row, history: Sequence[Row], versions: Versions, codec: Codec) -> list[Breach]:
    try:
        instance = instance_from_record(dict(zip(INSTANCE_COLUMNS, row, strict=True)), codec)
        entries = [entry_from_record(dict(zip(ENTRY_COLUMNS, one, strict=True)), codec) for one in history]
    except UNREADABLE as error:
        return [unreadable(error)]
    breaches = [one for one in row_breaches(instance, versions) if one.code not in _ELSEWHERE]
    return first_of_each([*breaches, *history_breaches(instance, entries, versions)])
