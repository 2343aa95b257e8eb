"""Which names may a schema have, and how are they written in SQL?"""

from __future__ import annotations

import unicodedata

from duraflow.errors import InvalidArgument

# NAMEDATALEN - 1: the server cuts longer names silently, and two schemas would become one.
_MAX_BYTES = 63


def check_schema_name(schema: str, *, argument: str = "schema") -> str:
    """The same name, if PostgreSQL has room for it.

    Args:
        schema: the name, without quotes.
        argument: what to call it in an error.

    Raises:
        InvalidArgument: it is empty, longer than 63 bytes, reserved (`pg_…`, `information_schema`), or has
            control characters or lone surrogates.
    """
    if not schema:
        raise InvalidArgument(argument, "is empty; leave it out for `public`")
    try:
        size = len(schema.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(argument, f"{schema!r} has a lone surrogate, which is no character") from None
    # Cc: NUL ends a string for libpq; a line break could end a comment, or pass for one of dbmate's markers.
    if any(unicodedata.category(character) == "Cc" for character in schema):
        raise InvalidArgument(argument, f"{schema!r} has a control character")
    if size > _MAX_BYTES:
        raise InvalidArgument(argument, f"{schema!r} has {size} bytes; PostgreSQL keeps {_MAX_BYTES}")
    if schema.startswith("pg_") or schema == "information_schema":
        raise InvalidArgument(argument, f"{schema!r} is reserved for the server; choose another name")
    return schema


def quote_identifier(name: str) -> str:
    """The name as SQL takes it, always in quotes: `"my schema"`."""
    return '"' + name.replace('"', '""') + '"'


def quote_in_query(name: str) -> str:
    """The same for a statement that psycopg is given parameters for, where `%` must be doubled.

    `psycopg.sql.Identifier` does not do that: a schema named `a%s` would be taken for a placeholder.
    """
    return quote_identifier(name).replace("%", "%%")


def quote_literal(text: str) -> str:
    """The text as a string constant that means the same under any `standard_conforming_strings`."""
    quoted = "'" + text.replace("'", "''").replace("\\", "\\\\") + "'"
    return f"E{quoted}" if "\\" in text else quoted


def dollar_quote(body: str) -> str:
    """The text between dollar quotes whose tag does not occur in it."""
    tag = "$duraflow$"
    number = 0
    while tag in body:
        number += 1
        tag = f"$duraflow{number}$"
    return f"{tag}{body}{tag}"
