"""Does anything in the server hold everyone back, and does it agree with us on the time?"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

from duraflow_pg.doctor.running import Looked, Ward

# Whoever has neither a transaction id nor a snapshot delays nobody. What this role may not see is NULL, the type of the
# session too.
_SESSIONS: Final = """
SELECT a.pid, format('%%s@%%s', a.usename, a.datname), coalesce(a.application_name, ''),
       coalesce(a.state, '') LIKE 'idle in transaction%%',
       extract(epoch FROM clock_timestamp() - a.xact_start)::float8,
       extract(epoch FROM clock_timestamp() - a.state_change)::float8,
       a.backend_xid IS NOT NULL, a.backend_xid IS NOT NULL OR a.backend_xmin IS NOT NULL,
       a.backend_type IS NULL
FROM pg_stat_activity a
WHERE a.pid <> pg_backend_pid() AND (
    (a.backend_type = 'client backend' AND a.xact_start IS NOT NULL)
    OR (a.backend_type IS NULL AND a.usename IS NOT NULL AND a.datname IS NOT NULL))
ORDER BY a.xact_start, a.pid
"""

_PREPARED: Final = """
SELECT p.gid, p.database::text, p.prepared::text, age(p.transaction)::bigint
FROM pg_prepared_xacts p
WHERE p.prepared < clock_timestamp() - %(open)s::interval OR age(p.transaction) > %(held)s
ORDER BY p.prepared
"""

_SLOTS: Final = """
SELECT s.slot_name::text, s.active, greatest(age(s.xmin), age(s.catalog_xmin))::bigint AS held,
       CASE WHEN NOT s.active AND NOT pg_is_in_recovery()
            THEN pg_wal_lsn_diff(pg_current_wal_lsn(), s.restart_lsn)::bigint END AS kept
FROM pg_replication_slots s
UNION ALL
SELECT format('standby %%s (pid %%s)', r.application_name, r.pid), true, age(r.backend_xmin)::bigint, NULL
FROM pg_stat_replication r WHERE r.backend_xmin IS NOT NULL
ORDER BY 1
"""

# A handler that begins with what comes next stands at the server's own position.
_AHEAD: Final = """
WITH server AS (SELECT pg_snapshot_xmax(pg_current_snapshot()) AS next), last AS (
    SELECT 'workflow_history' AS name, 0 AS may, (
        SELECT h.position FROM {history} h WHERE h.namespace = %(namespace)s ORDER BY h.position DESC LIMIT 1
    ) AS position
    UNION ALL
    SELECT 'workflow_outbox', 0, (
        SELECT o.position FROM {outbox} o WHERE o.namespace = %(namespace)s ORDER BY o.position DESC LIMIT 1
    )
    UNION ALL
    SELECT 'workflow_outbox_handlers', 1, (
        SELECT a.position FROM {outbox_handlers} a WHERE a.namespace = %(namespace)s ORDER BY a.position DESC LIMIT 1
    )
)
SELECT l.name, l.position::text, s.next::text FROM last l, server s
WHERE l.position > s.next OR (l.position = s.next AND l.may = 0) ORDER BY 1
"""

_SETTINGS: Final = """
SELECT s.name, s.setting FROM pg_settings s
WHERE s.name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND s.setting = 'off' ORDER BY 1
"""

_TRIPS: Final = 3


async def check_sessions(ward: Ward, looked: Looked) -> None:
    """Transactions open in any database of the server."""
    long, idle, unseen = [], [], 0
    rows = await ward.ask(_SESSIONS)
    for pid, who, application, sits, opened, since, wrote, holds, hidden in rows:
        if hidden:
            unseen += 1
        elif sits and since > ward.limits.idle.total_seconds():
            told = f"pid {pid}: {who} {application!r}, idle for {since:.0f} s, open for {opened:.0f} s"
            idle.append(f"{told}, has written" if wrote else told)
        elif holds and opened > ward.limits.transaction.total_seconds():
            told = f"pid {pid}: {who} {application!r}, open for {opened:.0f} s"
            long.append(f"{told}, has written" if wrote else told)
    looked.found("idle_in_transaction", idle)
    looked.found("long_transaction", long)
    looked.scanned = "all sessions with a transaction"
    if unseen:
        looked.blind(f"{unseen} sessions belong to other roles; GRANT pg_monitor to see them")


async def check_held(ward: Ward, looked: Looked) -> None:
    """What holds back vacuum and WAL without being a session."""
    limits = ward.limits
    prepared = await ward.ask(
        _PREPARED, open=f"{limits.transaction.total_seconds()} seconds", held=limits.held
    )
    looked.found(
        "prepared_transaction",
        [
            f"{gid!r} in {database}, since {at}, {age:,} transactions ago"
            for gid, database, at, age in prepared
        ],
    )
    slots = []
    for name, active, held, kept in await ward.ask(_SLOTS):
        reasons = []
        if held is not None and held > limits.held:
            reasons.append(f"holds back {held:,} transactions")
        if kept is not None and kept > limits.kept:
            reasons.append(f"keeps {kept / 1_048_576:,.0f} MiB of WAL")
        if reasons:
            slots.append(f"{name} ({'active' if active else 'inactive'}): {', '.join(reasons)}")
    looked.found("replication_slot", slots)
    looked.scanned = "prepared transactions, replication slots and standbys"


async def check_positions(ward: Ward, looked: Looked) -> None:
    """The last position of the feed, by its index; those of the instances were counted in the pass over them."""
    ahead = [
        f"{table}: {position}, the server is at {server}"
        for table, position, server in await ward.ask(_AHEAD)
    ]
    if ward.census.ahead:
        ahead.append(f"workflow_instances: {ward.census.ahead:,} rows")
    looked.found("position_ahead", ahead)
    looked.scanned = "the last positions of history, messages and handlers, and those of all instances"


async def check_clocks(ward: Ward, looked: Looked) -> None:
    """The best of a few trips: half of it is all that the answer can be off."""
    best, offset = timedelta.max, timedelta()
    for _ in range(_TRIPS):
        wall, began = ward.wall(), time.monotonic()
        ((moment,),) = await ward.ask("SELECT clock_timestamp()")
        trip = timedelta(seconds=time.monotonic() - began)
        if trip < best:
            best, offset = trip, moment.astimezone(UTC) - (wall + trip / 2)
    if abs(offset) - best / 2 > ward.limits.clocks:
        way = "ahead of" if offset > timedelta() else "behind"
        looked.found(
            "clocks_apart", [f"the database is {abs(offset).total_seconds():.3f} s {way} the application"]
        )
    looked.scanned = f"{_TRIPS} trips, the shortest of {best.total_seconds() * 1000:.1f} ms"


async def check_settings(ward: Ward, looked: Looked) -> None:
    """Those that decide what a crash may take."""
    looked.found("setting_unsafe", [f"{name} = {value}" for name, value in await ward.ask(_SETTINGS)])
    looked.scanned = "fsync, full_page_writes, synchronous_commit"


def wall_clock() -> datetime:
    """The clock of this machine."""
    return datetime.now(UTC)
