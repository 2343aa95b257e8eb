"""How does the text of an argument become an instance's name, JSON data, or a time?"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import click

Target = UUID | tuple[str, str]

_UNITS = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[wdhms])+")


if TYPE_CHECKING:
    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # older ones take no parameter


class Real(float):
    """A number as it was typed: a float for JSON, exact for who wants a decimal."""

    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made


class TargetText(_Type):
    """An instance: its id, or WORKFLOW:REF."""

    name = "target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Target:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click converts twice
        workflow, colon, ref = value.partition(":")
        if colon and workflow and ref:
            return (workflow, ref)
        try:
            return UUID(value)
        except ValueError:
            self.fail(f"{value!r} is neither an id nor WORKFLOW:REF", param, ctx)


class JsonText(_Type):
    """JSON as text, `@file` for what a file holds, `@-` for what stdin gives."""

    name = "json"

    def __init__(self, *, an_object: bool = False) -> None:
        self._an_object = an_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        text = self._text(value, param, ctx)
        try:
            tree = json.loads(text, parse_float=Real, parse_constant=_refuse)
        except ValueError as error:
            self.fail(f"is not JSON: {error}", param, ctx)
        except RecursionError:
            self.fail("is nested too deeply", param, ctx)
        if self._an_object and not isinstance(tree, dict):
            self.fail('is not a JSON object, such as {"total": 100}', param, ctx)
        return tree

    def _text(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.startswith("@"):
            return value
        try:
            data = sys.stdin.buffer.read() if value == "@-" else Path(value[1:]).read_bytes()
            return data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.fail(f"cannot read {value[1:]!r}: {error}", param, ctx)


class PairText(_Type):
    """Two names with = between them."""

    def __init__(self, shape: str) -> None:
        self.name = shape.lower()

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click converts twice
        left, equals, right = value.partition("=")
        if not left or not equals or not right:
            self.fail(f"{value!r} is not {self.name.upper()}", param, ctx)
        return left, right


class EventJson(_Type):
    """EVENT=JSON: the payload of one event."""

    name = "event=json"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, Any]:
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]  # click converts twice
        event, equals, text = value.partition("=")
        if not event or not equals:
            self.fail(f'{value!r} is not EVENT=JSON, such as pay={{"amount": 40}}', param, ctx)
        return event, JsonText().convert(text, param, ctx)


class DurationText(_Type):
    """A length of time: 90d, 12h, 30m, 1d12h."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        found = duration(value)
        if found is None:
            self.fail(f"{value!r} is not a length of time such as 90d, 12h or 1h30m", param, ctx)
        return found


class MomentText(_Type):
    """A time: ISO 8601 with a time zone, or how long ago: 7d."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        ago = duration(value)
        if ago is not None:
            try:
                return datetime.now(UTC) - ago
            except OverflowError:
                self.fail(f"{value!r} ago is before all time", param, ctx)
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            self.fail(
                f"{value!r} is not a time such as 2026-11-21T09:00Z, nor how long ago, such as 7d", param, ctx
            )
        if found.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write 2026-11-21T09:00Z, or +01:00", param, ctx)
        return found


class SeqOrMoment(MomentText):
    """The number of a history entry, or a time."""

    name = "seq or time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and value.isdecimal():
            return int(value)
        return value if isinstance(value, int) else super().convert(value, param, ctx)


class AgeText(MomentText):
    """How long ago, told by the clock of the store, or a time."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        found = duration(value) if isinstance(value, str) else value
        return found if isinstance(found, timedelta) else super().convert(value, param, ctx)


def duration(text: str) -> timedelta | None:
    """A length of time from text; None if it is none.

    >>> duration("1d12h")
    datetime.timedelta(days=1, seconds=43200)
    >>> duration("2026-11-21") is None
    True
    """
    if not _DURATION.fullmatch(text):
        return None
    parts: dict[str, float] = {}
    for amount, unit in re.findall(r"(\d+(?:\.\d+)?)([wdhms])", text):
        parts[_UNITS[unit]] = parts.get(_UNITS[unit], 0) + float(amount)
    try:
        return timedelta(**parts)
    except OverflowError:
        return None


def trigger(by: str | None) -> Mapping[str, Any] | None:
    """The note of who did it, for the history."""
    return {"by": by} if by else None


def _refuse(name: str) -> Any:
    raise ValueError(f"JSON has no {name}")
