"""Does a database have the tables and columns that this version of the library needs?

Asked of the tables themselves, not of `schema_migrations`: migrations may have been applied under other version
numbers, or by another tool. Pure: the caller runs `SCHEMA_QUERY` however it likes and hands over the rows.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, LiteralString

from duraflow.errors import SchemaMismatch

EXPECTED_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "workflow_definitions": ("namespace", "workflow", "version", "hash", "snapshot", "registered_at"),
        "workflow_instances": (
            "id", "namespace", "workflow", "definition_version", "ref", "state", "outcome", "version", "context",
            "metadata", "timers", "continuation", "created_at", "updated_at", "entered_at", "finished_at", "parent_id",
            "root_id", "lease_token", "waiting_events", "format", "position",
        ),
        "workflow_history": (
            "instance_id", "seq", "namespace", "kind", "event", "from_state", "to_state", "status", "entered", "at",
            "definition_version", "attempt_id", "transition_id", "outcome", "commands", "blockers", "payload",
            "trigger", "change", "timers", "metadata", "format", "position",
        ),
        "workflow_due": (
            "instance_id", "namespace", "queue", "due_at", "rank", "lease_token", "lease_until", "errors", "crashes",
            "wakes", "retries", "parked_at", "error",
        ),
        "workflow_receipts": (
            "instance_id", "namespace", "workflow", "key", "fingerprint", "first_seq", "last_seq", "result",
            "created_at", "expires_at",
        ),
        "workflow_outbox": (
            "id", "namespace", "instance_id", "seq", "ordinal", "topic", "payload", "position",
        ),
        "workflow_outbox_handlers": (
            "namespace", "handler", "position", "instance_id", "seq", "ordinal", "lease_token", "lease_until",
            "delivered", "updated_at",
        ),
        "workflow_outbox_held": (
            "namespace", "handler", "instance_id", "seq", "ordinal", "attempts", "next_at", "parked_at", "error",
        ),
    }
)  # fmt: skip
"""Every table and its columns, in the order of the migrations. A test holds it to them."""

SCHEMA_QUERY: Final[LiteralString] = """\
SELECT n.nspname::text, c.relname::text,
       array(SELECT a.attname::text FROM pg_catalog.pg_attribute AS a
             WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum)
FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname = ANY (%(tables)s::text[]) AND n.nspname !~ '^pg_'
"""
"""One trip, one row for each table of ours in any schema: (schema, table, columns). Takes `SCHEMA_PARAMETERS`."""

SCHEMA_PARAMETERS: Final[Mapping[str, list[str]]] = MappingProxyType({"tables": list(EXPECTED_COLUMNS)})


def schema_problem(rows: Iterable[Sequence[object]], schema: str) -> SchemaMismatch | None:
    """What is wrong with a schema, judged from the rows of `SCHEMA_QUERY`; None if everything needed is there.

    Columns and tables that the library does not know are no problem: a newer migration may be there already.
    """
    there: dict[str, frozenset[str]] = {}
    elsewhere: set[str] = set()
    for found_schema, table, columns in rows:
        if found_schema == schema:
            assert isinstance(columns, list)
            there[str(table)] = frozenset(columns)
        elif table == "workflow_instances":
            elsewhere.add(str(found_schema))
    if not there:
        problem = "Duraflow's tables are missing"
        if elsewhere:
            # maybe applied with a search_path of the role's or the URL's
            problem += f" (there are some in {', '.join(map(repr, sorted(elsewhere)))}: is `schema=` right?)"
        return SchemaMismatch(schema, problem, remedy(schema))
    tables = [table for table in EXPECTED_COLUMNS if table not in there]
    columns_missing = [
        f"{table}.{column}"
        for table, columns in EXPECTED_COLUMNS.items()
        if table in there
        for column in columns
        if column not in there[table]
    ]
    if not tables and not columns_missing:
        return None
    parts = [
        f"{what} {', '.join(names)}"
        for what, names in (("table", tables), ("column", columns_missing))
        if names
    ]
    return SchemaMismatch(
        schema, f"it is older than this library: missing {'; '.join(parts)}", remedy(schema)
    )


def remedy(schema: str) -> str:
    """The command that brings a schema up to date, and its twin for those who use dbmate."""
    option = "" if schema == "public" else f" --schema {shlex.quote(schema)}"
    return (
        f"python -m duraflow_pg migrate{option}"
        f"  (with dbmate: python -m duraflow_pg migrations copy db/migrations{option}, then dbmate up)"
    )
