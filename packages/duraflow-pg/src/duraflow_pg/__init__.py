"""Duraflow on PostgreSQL: the ports of `duraflow`, on tables that dbmate (or this package) makes."""

import duraflow_pg._psycopg  # noqa: F401  # first of all, so that a missing libpq is explained  # isort: split
from duraflow_pg.database import Timeouts
from duraflow_pg.due import PgDueStore
from duraflow_pg.history import PgHistoryStore
from duraflow_pg.instances import PgInstanceStore
from duraflow_pg.persistence import AsyncPgPersistence, PgPersistence
from duraflow_pg.positions import (
    positions_problem,
    positions_problem_async,
    reset_positions,
    reset_positions_async,
)
from duraflow_pg.schema import (
    CopyReport,
    FilesDiffer,
    MigrationSql,
    check_schema,
    check_schema_async,
    copy_migrations,
    generate_migration_sql,
    migrate,
    migrate_async,
    migrations_path,
)
from duraflow_pg.units import PgTransactionRunner
from duraflow_pg.writer import PgWriter

__version__ = "0.1.0"

__all__ = [
    "AsyncPgPersistence",
    "CopyReport",
    "FilesDiffer",
    "MigrationSql",
    "PgDueStore",
    "PgHistoryStore",
    "PgInstanceStore",
    "PgPersistence",
    "PgTransactionRunner",
    "PgWriter",
    "Timeouts",
    "check_schema",
    "check_schema_async",
    "copy_migrations",
    "generate_migration_sql",
    "migrate",
    "migrate_async",
    "migrations_path",
    "positions_problem",
    "positions_problem_async",
    "reset_positions",
    "reset_positions_async",
]
