"""Are schema names that PostgreSQL could not keep refused before anything is done?"""

from __future__ import annotations

import pytest

from duraflow.errors import InvalidArgument
from duraflow_pg.schema.names import (
    check_schema_name,
    dollar_quote,
    quote_identifier,
    quote_in_query,
    quote_literal,
)


@pytest.mark.parametrize(
    "name", ["public", 'My "weird" schéma', "a.b", "$$", "select", "x" * 63, "é" * 31, "it's", "p%sq", "a\\b"]
)
def test_odd_names_are_names(name: str) -> None:
    """Whatever fits between double quotes."""
    assert check_schema_name(name) == name


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "is empty"),
        ("x" * 64, "has 64 bytes"),
        ("é" * 32, "has 64 bytes"),
        ("a\0b", "control character"),
        ("a\n-- migrate:down", "control character"),
        ("pg_temp", "is reserved"),
        ("pg_", "is reserved"),
        ("information_schema", "is reserved"),
        ("\ud800", "lone surrogate"),
    ],
)
def test_names_that_the_server_would_not_keep_are_refused(name: str, reason: str) -> None:
    """It would cut long ones silently, and end at a NUL."""
    with pytest.raises(InvalidArgument, match=f"^schema: .*{reason}"):
        check_schema_name(name)


def test_an_error_names_where_the_name_came_from() -> None:
    """An environment variable, say."""
    with pytest.raises(InvalidArgument, match=r"^DURAFLOW_SCHEMA: is empty"):
        check_schema_name("", argument="DURAFLOW_SCHEMA")


def test_quoting() -> None:
    """Quotes are doubled, a backslash is safe under any setting, a dollar tag never occurs in what it quotes."""
    assert quote_identifier('a"b') == '"a""b"'
    assert quote_in_query('a"%s') == '"a""%%s"'
    assert quote_literal("a'b") == "'a''b'"
    assert quote_literal("a\\'b") == "E'a\\\\''b'"
    assert dollar_quote("x") == "$duraflow$x$duraflow$"
    assert dollar_quote("$duraflow$ $duraflow1$") == "$duraflow2$$duraflow$ $duraflow1$$duraflow2$"
