"""Do receipts and messages belong to history, and does every message find its way?"""

from __future__ import annotations

from typing import Final

from duraflow_pg.doctor.running import Looked, Ward, total_of
from duraflow_pg.statements import compiled

_RECEIPTS_COUNT: Final = "SELECT count(*) FROM {receipts} r WHERE r.namespace = %(namespace)s"
_MESSAGES_COUNT: Final = "SELECT count(*) FROM {outbox} o WHERE o.namespace = %(namespace)s"

_RECEIPTS: Final = """
WITH r AS MATERIALIZED (
    SELECT r.instance_id, r.key, r.first_seq, r.last_seq FROM {receipts} r {sample} WHERE r.namespace = %(namespace)s
), bad AS (
    SELECT r.*, count(*) OVER () AS total FROM r
    WHERE NOT EXISTS (SELECT FROM {history} h WHERE h.instance_id = r.instance_id AND h.seq = r.first_seq)
       OR NOT EXISTS (SELECT FROM {history} h WHERE h.instance_id = r.instance_id AND h.seq = r.last_seq)
    ORDER BY r.instance_id, r.key LIMIT %(shown)s
)
SELECT (SELECT count(*) FROM r), b.* FROM (SELECT 1) AS always LEFT JOIN bad b ON true
"""

_MESSAGES: Final = """
WITH o AS MATERIALIZED (
    SELECT o.instance_id, o.id, o.seq FROM {outbox} o {sample} WHERE o.namespace = %(namespace)s
), bad AS (
    SELECT o.*, count(*) OVER () AS total FROM o
    WHERE NOT EXISTS (SELECT FROM {history} h WHERE h.instance_id = o.instance_id AND h.seq = o.seq)
    ORDER BY o.instance_id, o.id LIMIT %(shown)s
)
SELECT (SELECT count(*) FROM o), b.* FROM (SELECT 1) AS always LEFT JOIN bad b ON true
"""

_PARKED: Final = """
SELECT p.handler, p.instance_id, p.seq, p.ordinal, p.parked_at, left(p.error, 200), count(*) OVER ()
FROM {outbox_held} p WHERE p.namespace = %(namespace)s AND p.parked_at IS NOT NULL
ORDER BY p.parked_at, p.handler, p.instance_id LIMIT %(shown)s
"""

# Its first message that a feed may see and that it has not taken: when that was written, and how many there are.
_LAGGING: Final = """
SELECT a.handler, h.at, w.waiting, a.updated_at
FROM {outbox_handlers} a
CROSS JOIN LATERAL (
    SELECT o.instance_id, o.seq FROM {outbox} o
    WHERE o.namespace = a.namespace AND o.position < (SELECT pg_snapshot_xmin(pg_current_snapshot()))
      AND (o.position, o.instance_id, o.seq, o.ordinal) > (a.position, a.instance_id, a.seq, a.ordinal)
    ORDER BY o.position, o.instance_id, o.seq, o.ordinal LIMIT 1
) AS first
JOIN {history} h ON h.instance_id = first.instance_id AND h.seq = first.seq
CROSS JOIN LATERAL (
    SELECT count(*) AS waiting FROM (
        SELECT FROM {outbox} o
        WHERE o.namespace = a.namespace
          AND (o.position, o.instance_id, o.seq, o.ordinal) > (a.position, a.instance_id, a.seq, a.ordinal)
        LIMIT 10000
    ) AS few
) AS w
WHERE a.namespace = %(namespace)s
  AND h.at < coalesce(%(clock)s::timestamptz, now()) - %(late)s::interval
ORDER BY h.at, a.handler
"""

_NOT_RETRIED: Final = """
SELECT p.handler, min(p.next_at), count(*)
FROM {outbox_held} p
WHERE p.namespace = %(namespace)s AND p.next_at < coalesce(%(clock)s::timestamptz, now()) - %(late)s::interval
GROUP BY p.handler ORDER BY 2, 1
"""


async def check_receipts(ward: Ward, looked: Looked) -> None:
    """The entries that each receipt points at."""
    ((count,),) = await ward.ask(_RECEIPTS_COUNT)
    sample = ward.sample(count)
    statement = compiled(_RECEIPTS, ward.database.schema, sample=sample.clause)
    rows = await ward.ask_compiled(statement, percentage=sample.percentage)
    looked.sampled(sample, rows[0][0], count, "receipts")
    bad = [row[1:] for row in rows if row[1] is not None]
    looked.found(
        "receipt_without_history",
        [f"{one}: key {key!r}, entries {first} to {last}" for one, key, first, last, _ in bad],
        total=total_of(bad),
    )


async def check_messages(ward: Ward, looked: Looked) -> None:
    """The entry that each message tells of."""
    ((count,),) = await ward.ask(_MESSAGES_COUNT)
    sample = ward.sample(count)
    statement = compiled(_MESSAGES, ward.database.schema, sample=sample.clause)
    rows = await ward.ask_compiled(statement, percentage=sample.percentage)
    looked.sampled(sample, rows[0][0], count, "messages")
    bad = [row[1:] for row in rows if row[1] is not None]
    looked.found(
        "message_without_history",
        [f"{one}: message {message} of entry {seq}" for one, message, seq, _ in bad],
        total=total_of(bad),
    )


async def check_handlers(ward: Ward, looked: Looked) -> None:
    """How far each handler of messages has come, and what it could not take."""
    rows = await ward.ask(_PARKED)
    looked.found(
        "message_parked",
        [
            f"{handler}: instance {one}, entry {seq}, message {ordinal}, since {at}: {error}"
            for handler, one, seq, ordinal, at, error, _ in rows
        ],
        total=total_of(rows),
    )
    late = f"{ward.limits.overdue.total_seconds()} seconds"
    lagging = [
        f"{handler}: {'at least ' if waiting >= 10_000 else ''}{waiting:,} waiting, the first of {at}; "
        f"it last moved {updated}"
        for handler, at, waiting, updated in await ward.ask(_LAGGING, late=late)
    ]
    lagging += [
        f"{handler}: {count:,} instances were to be tried again, the first at {at}"
        for handler, at, count in await ward.ask(_NOT_RETRIED, late=late)
    ]
    looked.found("handler_lags", lagging)
    looked.scanned = "every handler and what is held back"
