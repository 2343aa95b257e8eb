"""Will every timer be found when it is due, and is what is due being done?"""

from __future__ import annotations

from typing import Final

from duraflow_pg.doctor.running import Looked, Ward, total_of
from duraflow_pg.statements import compiled

_COUNT: Final = "SELECT count(*) FROM {due} d WHERE d.namespace = %(namespace)s"

_WITHOUT: Final = """
SELECT i.id, i.state, count(*) OVER ()
FROM {instances} i LEFT JOIN {due} d ON d.instance_id = i.id
WHERE i.namespace = %(namespace)s AND (i.timers IS NOT NULL OR i.continuation IS NOT NULL) AND d.instance_id IS NULL
ORDER BY i.created_at, i.id LIMIT %(shown)s
"""

_IDLE: Final = """
SELECT d.instance_id, i.state, count(*) OVER ()
FROM {due} d JOIN {instances} i ON i.id = d.instance_id
WHERE d.namespace = %(namespace)s AND d.lease_token IS NULL AND (i.namespace <> d.namespace OR (
    i.timers IS NULL AND i.continuation IS NULL AND NOT i.waiting_events))
ORDER BY d.instance_id LIMIT %(shown)s
"""

# A row with tries goes by their times, which are later than the timer's.
_LATE: Final = """
WITH d AS MATERIALIZED (
    SELECT d.instance_id, d.due_at FROM {due} d {sample}
    WHERE d.namespace = %(namespace)s AND d.due_at IS NOT NULL AND d.retries IS NULL AND d.lease_token IS NULL
), late AS (
    SELECT d.instance_id, d.due_at, t.due_at AS timer, count(*) OVER () AS total
    FROM d JOIN {instances} i ON i.id = d.instance_id
    CROSS JOIN LATERAL (
        SELECT min((t.value ->> 'due_at')::timestamptz) AS due_at FROM jsonb_array_elements(i.timers) AS t
    ) AS t
    WHERE i.continuation IS NULL AND d.due_at > t.due_at
    ORDER BY t.due_at, d.instance_id LIMIT %(shown)s
)
SELECT (SELECT count(*) FROM d), l.* FROM (SELECT 1) AS always LEFT JOIN late l ON true
"""

_OVERDUE: Final = """
SELECT d.instance_id, d.due_at, count(*) OVER ()
FROM {due} d
WHERE d.namespace = %(namespace)s AND d.lease_token IS NULL
  AND d.due_at < coalesce(%(clock)s::timestamptz, now()) - %(late)s::interval
ORDER BY d.due_at, d.instance_id LIMIT %(shown)s
"""

_PARKED: Final = """
SELECT d.instance_id, d.parked_at, left(d.error, 200), count(*) OVER ()
FROM {due} d WHERE d.namespace = %(namespace)s AND d.parked_at IS NOT NULL
ORDER BY d.parked_at, d.instance_id LIMIT %(shown)s
"""

_EXPIRED: Final = """
SELECT d.instance_id, d.lease_until, count(*) OVER ()
FROM {due} d WHERE d.namespace = %(namespace)s AND d.lease_until < clock_timestamp() - %(late)s::interval
ORDER BY d.lease_until, d.instance_id LIMIT %(shown)s
"""


async def check_due(ward: Ward, looked: Looked) -> None:
    """Timers and due rows, one for one; and what is late, parked or abandoned."""
    ((count,),) = await ward.ask(_COUNT)
    rows = await ward.ask(_WITHOUT)
    looked.found(
        "timer_without_due", [f"{one}: state {state!r}" for one, state, _ in rows], total=total_of(rows)
    )
    rows = await ward.ask(_IDLE)
    looked.found(
        "due_without_work", [f"{one}: state {state!r}" for one, state, _ in rows], total=total_of(rows)
    )
    late = ward.limits.overdue.total_seconds()
    rows = await ward.ask(_OVERDUE, late=f"{late} seconds")
    looked.found("overdue", [f"{one}: due {at}" for one, at, _ in rows], total=total_of(rows))
    rows = await ward.ask(_PARKED)
    looked.found(
        "timer_parked",
        [f"{one}: since {at}: {error or ''}" for one, at, error, _ in rows],
        total=total_of(rows),
    )
    rows = await ward.ask(_EXPIRED, late=f"{late} seconds")
    looked.found("lease_expired", [f"{one}: until {at}" for one, at, _ in rows], total=total_of(rows))
    looked.scanned = f"every instance with a timer, and {count:,} due rows"
    ward.census.due = count


async def check_due_times(ward: Ward, looked: Looked) -> None:
    """The due row's time against the timers of the instance."""
    sample = ward.sample(ward.census.due)
    statement = compiled(_LATE, ward.database.schema, sample=sample.clause)
    rows = await ward.ask_compiled(statement, percentage=sample.percentage)
    looked.sampled(sample, rows[0][0], ward.census.due, "due rows without earlier tries")
    bad = [row[1:] for row in rows if row[1] is not None]
    looked.found(
        "due_too_late", [f"{one}: due {at}, timer {timer}" for one, at, timer, _ in bad], total=total_of(bad)
    )
