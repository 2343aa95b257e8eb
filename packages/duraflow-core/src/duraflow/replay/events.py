"""What is an event of a log, and what do the texts stand for that a file has for it?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any

import attrs

from duraflow.definition.values import EMPTY
from duraflow.errors import DuraflowError

CASE = "case:concept:name"
ACTIVITY = "concept:name"
TIMESTAMP = "time:timestamp"

# A number has no leading zero (an article `007` is a name), no exponent (`1e5` may be a key), and fits 64 bits.
_WHOLE = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})")
_POINT = re.compile(r"[+-]?(?:0|[1-9][0-9]{0,17})\.[0-9]{1,18}")


@attrs.frozen
class LogError(DuraflowError):
    """An event log, or one event of it, cannot be used. Nothing was written; correct the file, or the call.

    Attributes:
        source: the file.
        line: where in it, counted from 1; None if it is about the file as a whole.
    """

    source: str
    line: int | None
    problem: str

    def __str__(self) -> str:
        where = self.source if self.line is None else f"{self.source}:{self.line}"
        return f"{where}: {self.problem}"


@attrs.frozen
class LogEvent:
    """One thing that happened, as a log has it.

    Attributes:
        case: what it happened to.
        activity: what happened.
        at: when, with the offset that the log gives: calendar days are counted in it.
        attributes: everything else; what is empty in the log is not there.
        source: the file it was read from.
        line: where it stands in the file.
    """

    case: str
    activity: str
    at: datetime
    attributes: Mapping[str, Any] = attrs.field(default=EMPTY, hash=False)
    source: str = attrs.field(default="log", eq=False)
    line: int | None = attrs.field(default=None, eq=False)

    def __getitem__(self, name: str) -> Any:
        try:
            return self.attributes[name]
        except KeyError:
            raise self.error(f"this event ({self.activity!r}) has no attribute {name!r}") from None

    def number(self, name: str, default: Decimal | int | None = None) -> Decimal:
        """A number, whether or not the log writes it with a point.

        Raises:
            LogError: it is missing and there is no default, or it is no number.
        """
        if default is not None and name not in self.attributes:
            return Decimal(default)
        value = self[name]
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
            raise self.error(f"the attribute {name!r} of {self.activity!r} is no number: {value!r}")
        return Decimal(value)

    def error(self, problem: str) -> LogError:
        """The error that says where this event stands."""
        return LogError(self.source, self.line, problem)


def in_order(events: Iterable[LogEvent]) -> tuple[LogEvent, ...]:
    """By time; what happened at one time keeps its order."""
    return tuple(sorted(events, key=lambda event: event.at))


def make_event(
    case: str | None,
    activity: str | None,
    timestamp: str | None,
    attributes: Mapping[str, Any],
    *,
    source: str,
    line: int,
    zone: tzinfo | None,
) -> LogEvent:
    """An event of the texts that a file has for it.

    Raises:
        LogError: one of them is missing, or the timestamp is none.
    """
    for name, value in ((CASE, case), (ACTIVITY, activity), (TIMESTAMP, timestamp)):
        if value is None:
            raise LogError(source, line, f"this event has no {name!r}")
    try:
        at = to_time(str(timestamp), zone)
    except ValueError as error:
        raise LogError(source, line, str(error)) from None
    return LogEvent(str(case), str(activity), at, attributes, source, line)


def to_time(text: str, zone: tzinfo | None) -> datetime:
    """A timestamp, ISO 8601 with `T` or a space.

    Raises:
        ValueError: it is none, or it has no offset and no zone is given; the text says so.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no timestamp such as 2024-02-29 13:30:00+01:00") from None
    if at.tzinfo is not None:
        return at
    if zone is None:
        raise ValueError(f"the timestamp {text!r} has no offset; say what it means with `zone=`")
    return at.replace(tzinfo=zone)


def to_value(text: str) -> Any:
    """What a text of a log stands for: an int, a Decimal (so that money stays exact), a bool, else itself."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if _POINT.fullmatch(text):
        return Decimal(text)
    return {"true": True, "false": False}.get(text.lower(), text)
