"""Do our tables and indexes hold waste, and does autovacuum keep up with them?"""

from __future__ import annotations

from typing import Final

from duraflow_pg.doctor.running import Looked, Ward
from duraflow_pg.schema.check import EXPECTED_COLUMNS

# Sizes are those of the last VACUUM or ANALYZE, as is the number of rows; to measure would wait for whoever has a lock.
# A row is 24 bytes of header, 4 of pointer, and its columns as statistics know them (what is toasted counts as 18),
# rounded up to 8. A page has 8168 bytes for rows.
_TABLES: Final = """
SELECT c.relname::text, c.relpages::bigint * 8192, s.known AND c.reltuples >= 0,
    (ceil(c.reltuples / greatest(1, floor(8168 * s.fill / 100 / (28 + ceil(s.width / 8) * 8)))) * 8192)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (
    SELECT coalesce(sum((1 - p.null_frac) * p.avg_width), 0) AS width, count(p.attname) = count(*) AS known,
           coalesce((SELECT o.option_value::int FROM pg_options_to_table(c.reloptions) AS o
                     WHERE o.option_name = 'fillfactor'), 100) AS fill
    FROM pg_attribute a
    LEFT JOIN pg_stats p ON p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
) AS s
WHERE n.nspname = %(schema)s AND c.relname = ANY (%(tables)s::text[]) AND c.relkind = 'r' ORDER BY 1
"""

# An entry of a btree is 8 bytes of header, 4 of pointer, and its columns, rounded up to 8; pages are 90 percent full.
_INDEXES: Final = """
SELECT c.relname::text, c.relpages::bigint * 8192, s.known AND c.reltuples >= 0,
    (ceil(c.reltuples / greatest(1, floor(8152 * 0.9 / (12 + ceil(s.width / 8) * 8)))) * 8192)::bigint
FROM pg_index x
JOIN pg_class c ON c.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace JOIN pg_am m ON m.oid = c.relam AND m.amname = 'btree'
CROSS JOIN LATERAL (
    SELECT coalesce(sum(p.avg_width), 0) AS width, count(p.attname) = count(*) AS known
    FROM unnest(x.indkey::int2[]) AS k (number)
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.number
    LEFT JOIN pg_stats p ON p.schemaname = n.nspname AND p.tablename = t.relname AND p.attname = a.attname
) AS s
WHERE n.nspname = %(schema)s AND t.relname = ANY (%(tables)s::text[]) ORDER BY 1
"""

_VACUUM: Final = """
SELECT c.relname::text, coalesce(s.n_dead_tup, 0), coalesce(s.n_live_tup, 0),
    coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8)
        + coalesce(o.factor, current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0),
    coalesce(o.enabled, true), greatest(s.last_vacuum, s.last_autovacuum)::text,
    coalesce(s.last_analyze, s.last_autoanalyze) IS NOT NULL OR EXISTS (
        SELECT FROM pg_statistic p WHERE p.starelid = c.oid) AS analyzed,
    age(c.relfrozenxid)::bigint, mxid_age(c.relminmxid)::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_user_tables s ON s.relid = c.oid
CROSS JOIN LATERAL (
    SELECT max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_threshold')::float8 AS threshold,
           max(o.option_value) FILTER (WHERE o.option_name = 'autovacuum_vacuum_scale_factor')::float8 AS factor,
           bool_and(o.option_value::bool) FILTER (WHERE o.option_name = 'autovacuum_enabled') AS enabled
    FROM pg_options_to_table(c.reloptions) AS o
) AS o
WHERE n.nspname = %(schema)s AND c.relname = ANY (%(tables)s::text[]) AND c.relkind = 'r' ORDER BY 1
"""

_AUTOVACUUM: Final = "SELECT current_setting('autovacuum'), current_setting('track_counts')"


async def check_bloat(ward: Ward, looked: Looked) -> None:
    """The size of tables and indexes against what their rows need, by the statistics; nothing is read."""
    unknown = []
    for code, statement in (("table_bloated", _TABLES), ("index_bloated", _INDEXES)):
        bloated = []
        for name, size, known, needed in await ward.ask(
            statement, schema=ward.database.schema, tables=list(EXPECTED_COLUMNS)
        ):
            if size < ward.limits.size:
                continue
            if not known:
                unknown.append(name)
            elif needed < size * (1 - ward.limits.bloat):
                bloated.append(f"{name}: {_mib(size)}, of which about {_mib(size - needed)} are waste")
        looked.found(code, bloated)
    looked.scanned = "sizes and statistics of tables and indexes; an estimate"
    if unknown:
        looked.blind(
            f"no statistics for {', '.join(sorted(unknown))}; ANALYZE as their owner, or be given pg_monitor"
        )


async def check_vacuum(ward: Ward, looked: Looked) -> None:
    """What autovacuum has left over, what it may do, and how old the oldest rows are."""
    ((autovacuum, counts),) = await ward.ask(_AUTOVACUUM)
    off = [
        f"{name} = {value}"
        for name, value in (("autovacuum", autovacuum), ("track_counts", counts))
        if value != "on"
    ]
    overdue, unseen, old = [], [], []
    rows = await ward.ask(_VACUUM, schema=ward.database.schema, tables=list(EXPECTED_COLUMNS))
    for name, dead, live, threshold, enabled, last, analyzed, age, multi in rows:
        if not enabled:
            off.append(f"{name}: autovacuum_enabled = off")
        if dead > max(ward.limits.dead, 2 * threshold):
            overdue.append(
                f"{name}: {dead:,} dead rows beside {live:,} living; last vacuum {last or 'never'}"
            )
        if live > ward.limits.unseen and not analyzed:
            unseen.append(f"{name}: {live:,} rows")
        if max(age, multi) > ward.limits.age:
            old.append(f"{name}: {max(age, multi):,} transactions ago")
    looked.found("autovacuum_off", off)
    looked.found("vacuum_overdue", overdue)
    looked.found("never_analyzed", unseen)
    looked.found("wraparound", old)
    looked.scanned = f"counters and settings of {len(rows)} tables"


def _mib(size: int) -> str:
    return f"{size / 1_048_576:,.0f} MiB"
