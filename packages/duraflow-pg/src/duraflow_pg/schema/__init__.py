"""How do Duraflow's tables get into a database, with dbmate or without, and are they there?"""

from duraflow_pg.schema.applying import migrate, migrate_async
from duraflow_pg.schema.check import EXPECTED_COLUMNS, SCHEMA_PARAMETERS, SCHEMA_QUERY, schema_problem
from duraflow_pg.schema.checking import check_schema, check_schema_async
from duraflow_pg.schema.copying import CopyReport, FilesDiffer, copy_migrations
from duraflow_pg.schema.files import migrations_path
from duraflow_pg.schema.generate import MigrationSql, generate_migration_sql
from duraflow_pg.schema.names import check_schema_name, quote_identifier, quote_in_query

__all__ = [
    # for users
    "migrations_path", "copy_migrations", "CopyReport", "FilesDiffer", "generate_migration_sql", "MigrationSql",
    "migrate", "migrate_async", "check_schema", "check_schema_async",
    # for the stores
    "EXPECTED_COLUMNS", "SCHEMA_QUERY", "SCHEMA_PARAMETERS", "schema_problem", "check_schema_name", "quote_identifier",
    "quote_in_query",
]  # fmt: skip
