"""Which pieces does an SQL text have, as PostgreSQL's lexer sees them?

Just enough of it to tell names from strings, comments and dollar quotes. See the PostgreSQL manual, 4.1 "Lexical
Structure". What is lost on it: a string continued on the next line after an `E'…'`, which the migrations do not use.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, cast

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["space", "comment", "string", "dollar", "quoted", "word", "number", "other"]

_TOKEN = re.compile(
    r"""
      (?P<space>   [ \t\n\r\f\v]+ )
    | (?P<comment> --[^\n]* )
    | (?P<block>   /\* )
    | (?P<string>  [eE]'(?:[^'\\]|\\.|'')*' | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*' )
    | (?P<dollar>  \$(?P<tag>(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?)\$.*?\$(?P=tag)\$ )
    | (?P<quoted>  (?:[uU]&)?"(?:[^"]|"")+" )
    | (?P<word>    (?![eEbBxXnN]'|[uU]&['"]) [A-Za-z_\x80-\U0010ffff][A-Za-z0-9_$\x80-\U0010ffff]* )
    | (?P<number>  [0-9][0-9A-Za-z_.]* )
    | (?P<other>   (?! [eEbBxXnN]' | [uU]&['"] | \$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z0-9_\x80-\U0010ffff]*)?\$ )
                   [^'"] )
    """,
    re.DOTALL | re.VERBOSE,
)
_BLOCK_EDGE = re.compile(r"/\*|\*/")


@attrs.frozen
class Token:
    """One piece of an SQL text; the pieces put together are the text."""

    kind: Kind
    text: str

    @property
    def name(self) -> str | None:
        """The name this stands for, folded as the server does; None if it is not a name."""
        match self.kind:
            case "word":
                return self.text.lower()
            case "quoted" if self.text.startswith('"'):
                return self.text[1:-1].replace('""', '"')
            case _:
                return None

    @property
    def keyword(self) -> str:
        """The word in capitals, or the text of anything that is no bare word."""
        return self.text.upper() if self.kind == "word" else self.text


def tokens(sql: str) -> Iterator[Token]:
    """The pieces of an SQL text, in order.

    Raises:
        ValueError: a string, quoted name or comment has no end.
    """
    at = 0
    while at < len(sql):
        found = _TOKEN.match(sql, at)
        if found is None:
            raise ValueError(f"line {_line(sql, at)}: the quote is never closed")
        if found["block"]:
            end = _block_end(sql, at)
            yield Token("comment", sql[at:end])
        else:
            # `tag` closes inside `dollar`, so the last group to close is always the kind
            end = found.end()
            yield Token(cast("Kind", found.lastgroup), found[0])
        at = end


def _block_end(sql: str, start: int) -> int:
    depth = 0
    for edge in _BLOCK_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    raise ValueError(f"line {_line(sql, start)}: the comment is never closed")


def _line(sql: str, at: int) -> int:
    return sql.count("\n", 0, at) + 1
