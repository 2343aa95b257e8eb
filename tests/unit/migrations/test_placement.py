"""Does every name of ours get its schema, and nothing else?"""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duraflow_pg.schema.files import migration_files
from duraflow_pg.schema.generate import objects_of
from duraflow_pg.schema.placement import objects_made, qualify
from duraflow_pg.schema.tokens import tokens

_OURS = ["things", "things_by_name", "things_seq"]


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE @things (id int)",
        "create table if not exists @Things (id int)",
        "CREATE UNLOGGED TABLE @things ()",
        'CREATE TABLE @"things" ()',
        "CREATE INDEX things_by_name ON @things (name)",
        "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS things_by_name ON ONLY @things (name)",
        "DROP INDEX IF EXISTS @things_by_name, @things",
        "DROP INDEX CONCURRENTLY @things_by_name",
        "ALTER INDEX @things_by_name RENAME TO things_by_name",
        "REINDEX INDEX CONCURRENTLY @things_by_name",
        "ALTER TABLE @things ADD CONSTRAINT things UNIQUE (a), RENAME CONSTRAINT things TO things",
        "ALTER TABLE @things ADD CONSTRAINT things UNIQUE USING INDEX things_by_name",
        "CREATE TABLE x (a int REFERENCES @things (id) ON DELETE CASCADE, CONSTRAINT things CHECK (a > 0))",
        "COMMENT ON COLUMN @things.name IS 'whose'",
        "ALTER SEQUENCE @things_seq OWNED BY @things.id",
        "INSERT INTO @things SELECT things.* FROM other AS things",
        "UPDATE @things SET a = 1 WHERE @things.b",
        "SELECT other.things, things_x, x_things, things$ FROM @things",
        "SELECT 1 -- it's about things\n FROM @things /* not 'things' /* nor things */ */",
        "SELECT 'it''s', E'\\'', $$ ' $$, $a$ $$ ' $a$, U&'x', \"a\"\"things\" FROM @things",
        "SELECT a$things$ FROM @things",
        "SELECT $1, 1.5e3, 'x'::text FROM @things",
    ],
)
def test_references_are_qualified_and_nothing_else(sql: str) -> None:
    """`@` marks where the schema belongs: not before new names, constraints, aliases, comments, parts of names."""
    written = sql.replace("@things.*", "things.*").replace("SELECT things.*", "SELECT @things.*")
    assert qualify(sql.replace("@", ""), 'my "s"', _OURS) == written.replace("@", '"my ""s""".')


def test_what_is_qualified_already_is_left() -> None:
    """A second time changes nothing."""
    once = qualify("DROP TABLE things; CREATE INDEX things_by_name ON things (a);", "s", _OURS)
    assert qualify(once, "t", _OURS) == once


@pytest.mark.parametrize("sql", ["SELECT 'things'::regclass", "DO $$ BEGIN DROP TABLE things; END $$"])
def test_a_name_inside_a_string_is_refused(sql: str) -> None:
    """It could be an object or any text: the author of a migration has to write it another way."""
    with pytest.raises(ValueError, match="inside a string"):
        qualify(sql, "s", _OURS)


def test_objects_made_are_found() -> None:
    """Whatever kind, whatever options, also what something is renamed to."""
    sql = """
        CREATE TABLE a (); create unlogged table If Not Exists B (); CREATE UNIQUE INDEX CONCURRENTLY c ON a (x);
        CREATE SEQUENCE d; CREATE OR REPLACE VIEW e AS SELECT 1; CREATE MATERIALIZED VIEW f AS SELECT 1;
        CREATE TYPE "G h" AS ENUM (); CREATE OR REPLACE FUNCTION i() RETURNS int LANGUAGE sql RETURN 1;
        ALTER TABLE a RENAME TO j; ALTER TABLE a RENAME COLUMN x TO y; CREATE TEMP TABLE k ();
        -- CREATE TABLE l ();
        SELECT 'CREATE TABLE m ()';
    """
    assert objects_made(sql) == {"a", "b", "c", "d", "e", "f", "G h", "i", "j"}


def test_every_name_in_the_shipped_files_is_known() -> None:
    """All words that begin as ours do are names that a migration makes (or the column `workflow`)."""
    objects = objects_of(migration_files())
    for file in migration_files():
        words = {token.name for token in tokens(file.text) if token.kind == "word"}
        assert {word for word in words if word and word.startswith("workflow_")} <= objects


def test_every_reference_in_the_shipped_files_gets_its_schema() -> None:
    """Counted by another rule: a bare name of ours is left only where CREATE INDEX makes it."""
    objects = objects_of(migration_files())
    for file in migration_files():
        placed = re.sub(r"--[^\n]*", "", qualify(file.text, "s", objects))
        bare = set(re.findall(r'(?<!"s"\.)\b(workflow_\w+)', placed))
        assert bare == set(re.findall(r"INDEX (workflow_\w+)\s+ON", placed))


_PIECES = [
    "'",
    '"',
    "$$",
    "$a$",
    "/*",
    "*/",
    "--",
    "\n",
    "E'",
    "\\",
    "things",
    "a",
    ".",
    " ",
    "é",
    "1",
    "U&",
    "\x00",
]


@given(st.lists(st.sampled_from(_PIECES)).map("".join))
def test_the_pieces_put_together_are_the_text(sql: str) -> None:
    """Whatever is fed in: either it has an open quote, or nothing is lost or changed."""
    pieces = []
    with contextlib.suppress(ValueError):
        for token in tokens(sql):
            pieces.append(token.text)  # noqa: PERF401 - those before the error count
        assert "".join(pieces) == sql
    assert sql.startswith("".join(pieces))
    assert all(pieces)


@pytest.mark.parametrize("sql", ["\n'open", '"open', "E'open\\'", "/* a /* b */", '""', "$a$ x $b$", "u&'"])
def test_what_is_never_closed_is_refused(sql: str) -> None:
    """With the line it begins on."""
    with pytest.raises(ValueError, match=r"line \d: the (quote|comment) is never closed"):
        list(tokens(sql))
