"""How is an answer printed: as a table for people, or as JSON for programs?"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import click

from duraflow import Codec
from duraflow_cli.asked import Asked
from duraflow_cli.values import as_json, users

if TYPE_CHECKING:
    from rich.console import Console

# Wide enough for any row: what is read by a program or a pager is never cut or wrapped.
_UNBOUNDED = 100_000
_WORD = 12
# What JSON need not escape, but a terminal may obey: C1 control characters, and those that turn the direction of text.
_ODD = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@attrs.frozen
class Output:
    """Where the answers go."""

    json: bool
    codec: Codec = attrs.field(factory=Codec)

    @classmethod
    def of(cls, asked: Asked, codec: Codec | None = None) -> Output:
        """As the options say."""
        return cls(asked.json, codec or Codec())

    def document(self, value: Any) -> None:
        """One JSON document."""
        write(_escaped(json.dumps(as_json(value, self.codec), ensure_ascii=False, indent=2)))

    def line(self, value: Any) -> None:
        """One line of JSON Lines, written at once."""
        write(_escaped(json.dumps(as_json(value, self.codec), ensure_ascii=False, separators=(",", ":"))))
        sys.stdout.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> None:
        """A table; where there are no rows, a sentence that says so."""
        texts = [[self.text(cell) for cell in row] for row in rows]
        if not texts:
            write(empty)
            return
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for number, column in enumerate(columns):
            cells = [row[number] for row in texts]
            table.add_column(
                Text(column),
                overflow="fold",
                min_width=max(map(_least, (column, *cells))),
                no_wrap=all(map(_ID.fullmatch, cells)),  # to be copied: the others give way
            )
        for row in texts:
            table.add_row(*map(Text, row))
        _print(table)

    def pairs(self, rows: Iterable[tuple[str, object]]) -> None:
        """What is known of one thing: a name and a value a line; what is empty is left out."""
        self._pairs([(name, self.text(value)) for name, value in rows])

    def _pairs(self, rows: list[tuple[str, str]]) -> None:
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in rows:
            if value:
                table.add_row(Text(name), Text(value))
        _print(table)

    def text(self, value: object) -> str:
        """A value in a cell."""
        match value:
            case None:
                return ""
            case str():
                return visible(value)
            case bool():
                return "yes" if value else "no"
            case datetime():
                return time_text(value)
            case _:
                return visible(str(value))

    def data(self, value: object) -> str:
        """Something that a user stored, in a cell: short JSON; empty for nothing."""
        if value is None or value in ({}, [], ()):
            return ""
        return json.dumps(users(value, self.codec), ensure_ascii=False)


def _least(text: str) -> int:
    """How narrow a column may get for this text: words that are not long stay whole."""
    return max((min(len(word), _WORD) for word in text.split()), default=1)


def _escaped(text: str) -> str:
    """JSON in which nothing speaks to the terminal either; for programs it is the same."""
    return _ODD.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def time_text(moment: datetime) -> str:
    """A time in UTC, to the second.

    >>> time_text(datetime(2026, 11, 21, 9, 30, 5, 999, tzinfo=UTC))
    '2026-11-21 09:30:05Z'
    """
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def visible(text: str) -> str:
    r"""Text in which nothing speaks to the terminal: control characters as escapes.

    >>> visible("A-1\x1b[2J")
    'A-1\\x1b[2J'
    """
    return "".join(
        character if character.isprintable() or character == "\n" else repr(character)[1:-1]
        for character in text
    )


def write(text: str) -> None:
    """One line, or several, to stdout."""
    click.echo(text)


def note(text: str) -> None:
    """A word to the person who asked, beside the answer: on stderr."""
    click.echo(text, err=True)


def _print(renderable: Any) -> None:
    console = _console()
    with console.capture() as capture:
        console.print(renderable, crop=False)
    for line in capture.get().splitlines():
        write(line.rstrip())


def _console() -> Console:
    from rich.console import Console

    if sys.stdout.isatty():
        return Console(file=sys.stdout, highlight=False)
    return Console(file=sys.stdout, highlight=False, width=_UNBOUNDED, color_system=None)
