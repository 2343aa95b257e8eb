"""How does SQL that is written without schema names get its objects into one given schema?

The files are written unqualified, so that dbmate applies them as they are. For a given schema every name of ours is
qualified in the text; `search_path` is never relied upon. Which names are ours is read from the files themselves.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from duraflow_pg.schema.names import dollar_quote, quote_identifier, quote_literal
from duraflow_pg.schema.tokens import Token, tokens

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_MAKES = frozenset(
    {
        "TABLE",
        "INDEX",
        "SEQUENCE",
        "VIEW",
        "TYPE",
        "DOMAIN",
        "FUNCTION",
        "PROCEDURE",
        "AGGREGATE",
        "STATISTICS",
    }
)
_BETWEEN = frozenset({"OR", "REPLACE", "UNIQUE", "UNLOGGED", "MATERIALIZED", "RECURSIVE"})
# Words after which a name of ours stands for something that has no schema of its own: a constraint, an alias, a new
# name, the index in `ADD CONSTRAINT … USING INDEX …` (see `_is_reference`).
_UNPLACED = frozenset({".", "CONSTRAINT", "AS", "TO"})


def objects_made(sql: str) -> frozenset[str]:
    """The names of the tables, indexes and so on that a text creates or renames something to.

    >>> sorted(objects_made("CREATE TABLE a (b int); CREATE UNIQUE INDEX IF NOT EXISTS c ON a (b);"))
    ['a', 'c']
    """
    names = set()
    words = _significant(sql)
    for at, word in enumerate(words):
        name = None
        if word.keyword == "CREATE":
            name = _created(words, at + 1)
        elif word.keyword == "RENAME" and _keyword(words, at + 1) == "TO":
            name = words[at + 2].name if at + 2 < len(words) else None
        if name is not None:
            names.add(name)
    return frozenset(names)


def qualify(sql: str, schema: str, objects: Collection[str]) -> str:
    """The text with the schema before each name in `objects` that refers to an object.

    >>> print(qualify("CREATE INDEX i ON t (a); DROP INDEX i; -- t", "my schema", ["t", "i"]))
    CREATE INDEX i ON "my schema".t (a); DROP INDEX "my schema".i; -- t

    Raises:
        ValueError: a name of ours stands inside a string, where it cannot be told what it means.
    """
    prefix = quote_identifier(schema) + "."
    mention = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in sorted(objects)) or r"(?!)")
    written: list[str] = []
    before: list[Token] = []
    for token in tokens(sql):
        if token.kind in {"string", "dollar"} and mention.search(token.text):
            raise ValueError(
                f"a name of Duraflow's inside a string cannot be placed in a schema: {token.text}"
            )
        if token.name in objects and _is_reference(before):
            written.append(prefix)
        written.append(token.text)
        if token.kind not in {"space", "comment"}:
            before.append(token)
    return "".join(written)


def create_schema(schema: str) -> str:
    """A statement that makes the schema if it is missing.

    Not `CREATE SCHEMA IF NOT EXISTS` alone: that asks for the right to create schemas also when it has nothing to
    do, which a role that was given its schema by an administrator does not have.
    """
    name = quote_identifier(schema)
    body = (
        "\nBEGIN\n"
        f"    IF NOT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {quote_literal(schema)}) THEN\n"
        f"        CREATE SCHEMA IF NOT EXISTS {name};\n"
        "    END IF;\n"
        "END "
    )
    return f"DO {dollar_quote(body)};\n"


def _is_reference(before: Sequence[Token]) -> bool:
    last = _keyword(before, -1)
    if last in _UNPLACED:
        return False
    at = len(before) - 1
    if [_keyword(before, at - 2), _keyword(before, at - 1), last] == ["IF", "NOT", "EXISTS"]:
        at -= 3
    if _keyword(before, at) == "CONCURRENTLY":
        at -= 1
    # the index made by CREATE INDEX lives in its table's schema, and none may be written
    makes_index = _keyword(before, at) == "INDEX" and _keyword(before, at - 1) in {"CREATE", "UNIQUE"}
    return not makes_index and [_keyword(before, -2), last] != ["USING", "INDEX"]


def _created(words: Sequence[Token], at: int) -> str | None:
    while _keyword(words, at) in _BETWEEN:
        at += 1
    if _keyword(words, at) not in _MAKES:
        return None
    at += 1
    if _keyword(words, at) == "CONCURRENTLY":
        at += 1
    if [_keyword(words, at + step) for step in range(3)] == ["IF", "NOT", "EXISTS"]:
        at += 3
    return words[at].name if at < len(words) else None


def _significant(sql: str) -> list[Token]:
    return [token for token in tokens(sql) if token.kind not in {"space", "comment"}]


def _keyword(words: Sequence[Token], at: int) -> str:
    return words[at].keyword if -len(words) <= at < len(words) else ""
