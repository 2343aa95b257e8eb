"""What can PostgreSQL suffer from, beside what every store can?"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from duraflow.diagnosis import Ailment

_ALL = (
    # --- the schema
    Ailment(
        "schema_older",
        "error",
        "tables or columns that this library needs and the database does not have",
        "statements that use them fail",
        "apply the migrations: `duraflow db migrate`, `python -m duraflow_pg migrate`, or dbmate",
    ),
    Ailment(
        "migration_missing",
        "warning",
        "migrations that are not recorded in schema_migrations",
        "the tables may lack something, or the next migration may try to make what is there",
        "apply them: `duraflow db migrate`, `python -m duraflow_pg migrate`, or dbmate",
    ),
    Ailment(
        "index_missing",
        "warning",
        "indexes of the migrations that are not there",
        "claims, lists and feeds walk over whole tables without them",
        "make them again as the migration does, with CREATE INDEX CONCURRENTLY",
    ),
    Ailment(
        "index_invalid",
        "error",
        "indexes that are not valid",
        "no query uses them, though every write pays for them; a unique one does not keep anything unique",
        "REINDEX INDEX CONCURRENTLY, or drop and make it again",
    ),
    Ailment(
        "index_leftover",
        "warning",
        "indexes left over from a REINDEX CONCURRENTLY that failed",
        "every write pays for them, and no query uses them",
        "DROP INDEX CONCURRENTLY for _ccnew; for _ccold too, where the new one is valid",
    ),
    # --- storage
    Ailment(
        "table_bloated",
        "warning",
        "tables of which more than the half is waste (an estimate)",
        "reads and vacuum walk over empty pages, and the cache holds them",
        "find out what kept vacuum from it (long_transaction, autovacuum_off); then VACUUM FULL in a quiet hour, "
        "or pg_repack",
    ),
    Ailment(
        "index_bloated",
        "warning",
        "indexes of which more than the half is waste (an estimate)",
        "claims walk over dead entries, and the cache holds them",
        "REINDEX INDEX CONCURRENTLY",
    ),
    Ailment(
        "vacuum_overdue",
        "warning",
        "tables with far more dead rows than autovacuum should leave",
        "claim scans walk over dead rows, and updates find no room on their page",
        "look for what holds vacuum back (long_transaction, prepared_transaction, replication_slot); else VACUUM, and "
        "give autovacuum more to spend",
    ),
    Ailment(
        "never_analyzed",
        "warning",
        "tables that have no statistics",
        "the planner guesses, and may walk over a whole table to find one row",
        "ANALYZE them (after a restore: `vacuumdb --analyze-in-stages`)",
    ),
    Ailment(
        "autovacuum_off",
        "error",
        "autovacuum is off",
        "dead rows are never taken out: tables grow, claims get slower, and in the end the server stops writing",
        "switch it on: ALTER SYSTEM SET autovacuum = on (and track_counts = on); ALTER TABLE … RESET "
        "(autovacuum_enabled)",
    ),
    Ailment(
        "wraparound",
        "error",
        "tables whose oldest transaction id is far behind",
        "the server stops all writes before ids wrap around",
        "look for what holds vacuum back; then VACUUM (FREEZE) these tables",
    ),
    # --- the server
    Ailment(
        "long_transaction",
        "warning",
        "transactions that have been open for too long",
        "while one is open, vacuum cannot take out what died since, and, if it has written anything in whichever "
        "database of the server, the change feed and the outbox wait behind it",
        "find out what they do; end one with SELECT pg_terminate_backend(pid)",
    ),
    Ailment(
        "idle_in_transaction",
        "warning",
        "sessions that sit idle in an open transaction",
        "nobody works in them, and they hold locks; vacuum, the change feed and the outbox wait behind them",
        "mend the program that forgets to commit; set idle_in_transaction_session_timeout; end one with SELECT "
        "pg_terminate_backend(pid)",
    ),
    Ailment(
        "prepared_transaction",
        "warning",
        "prepared transactions that nobody has ended",
        "they outlive restarts; they hold locks, and vacuum, the change feed and the outbox wait behind them",
        "COMMIT PREPARED or ROLLBACK PREPARED in their database",
    ),
    Ailment(
        "replication_slot",
        "warning",
        "replication slots or standbys that hold the server back",
        "what they have not read is kept: WAL until the disk is full, or dead rows that vacuum cannot take out",
        "bring their reader back, or drop the slot: SELECT pg_drop_replication_slot(name)",
    ),
    Ailment(
        "clocks_apart",
        "warning",
        "the application's clock and the database's are apart",
        "due times come from the database, logs and your own deadlines from the application: they will not agree",
        "let both machines keep their time by NTP",
    ),
    Ailment(
        "position_ahead",
        "error",
        "positions of the change feed ahead of the server's transaction ids",
        "the database was restored into a new cluster, which counts from the start: feed and outbox wait until it "
        "gets there, for years",
        "`duraflow db check --reset-positions`, while nothing else writes",
    ),
    Ailment(
        "setting_unsafe",
        "info",
        "settings that trade safety for speed",
        "after a crash of the server, what callers were told may not have happened, or, without fsync, nothing may be "
        "readable",
        "leave it so in tests; in production set it on",
    ),
)

PG_AILMENTS: Final[Mapping[str, Ailment]] = MappingProxyType({ailment.code: ailment for ailment in _ALL})
"""By code."""
