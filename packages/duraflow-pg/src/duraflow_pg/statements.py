"""How does a statement get the schema's name, once, and rows become values?"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, LiteralString, TypeVar
from uuid import UUID

from psycopg import sql

from duraflow_pg.schema.names import quote_in_query

T = TypeVar("T")

Row = tuple[Any, ...]
Parameters = Mapping[str, Any]

TABLES = (
    "instances",
    "history",
    "definitions",
    "due",
    "receipts",
    "outbox",
    "outbox_handlers",
    "outbox_held",
)
"""Our tables, without the `workflow_` before each."""


def compiled(template: LiteralString, schema: str, **parts: LiteralString) -> bytes:
    """A statement with qualified table names in place of `{instances}`, `{history}` and the others of `TABLES`.

    Names are quoted identifiers in the text itself, never left to `search_path`. `parts` are pieces of SQL.
    """
    return _compiled(template, schema, tuple(parts.items()))


@functools.lru_cache(maxsize=2048)  # of every persistence over the same schema
def _compiled(template: LiteralString, schema: str, parts: tuple[tuple[str, LiteralString], ...]) -> bytes:
    # Not `sql.Identifier`, which leaves a percent sign in a name to be taken for a placeholder.
    names: dict[str, sql.Composable] = {
        short: sql.SQL(f"{quote_in_query(schema)}.workflow_{short}") for short in TABLES
    }
    pieces = {name: sql.SQL(piece).format(**names) for name, piece in parts}
    return sql.SQL(template).format(**names, **pieces).as_bytes(None)


def text_array(values: Iterable[str | None]) -> str:
    """A PostgreSQL array literal of texts; much cheaper than binding a list, element by element."""
    return _array(values, _quoted)


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def uuid_array(values: Iterable[UUID | None]) -> str:
    """A PostgreSQL array literal of UUIDs."""
    return _array(values, _plain_hex)


def _plain_hex(value: UUID) -> str:
    return (
        f"{value.int:032x}"  # PostgreSQL needs no hyphens, and putting them in costs more than all the rest
    )


def time_array(values: Iterable[datetime | None]) -> str:
    """A PostgreSQL array literal of times."""
    return _array(values, _quoted_time)


def _quoted_time(value: datetime) -> str:
    return f'"{value.isoformat()}"'


def _array(values: Iterable[T | None], write: Callable[[T], str]) -> str:
    every = values if isinstance(values, list) else list(values)
    # Most columns hold one value, or nothing, throughout a batch: it is written once.
    if every and every.count(every[0]) == len(every):
        only = every[0]
        return "{" + ",".join(["NULL" if only is None else write(only)] * len(every)) + "}"
    return "{" + ",".join(["NULL" if value is None else write(value) for value in every]) + "}"


def int_array(values: Iterable[int]) -> str:
    """A PostgreSQL array literal of whole numbers."""
    return "{" + ",".join(map(str, values)) + "}"


def bool_array(values: Iterable[bool]) -> str:
    """A PostgreSQL array literal of truth values."""
    return "{" + ",".join(["t" if value else "f" for value in values]) + "}"
