"""How is an XES file read? As a stream, without trusting it: a document type, and so every entity, is refused.

>>> import io
>>> xes = b'''<?xml version="1.0"?><log xmlns="http://www.xes-standard.org/">
... <trace><string key="concept:name" value="A1"/><float key="fee" value="2.50"/>
... <event><string key="concept:name" value="Create Fine"/><date key="time:timestamp" value="2024-01-01T00:00:00Z"/>
... <float key="amount" value="35.0"/></event></trace></log>'''
>>> (event,) = read_xes(io.BytesIO(xes))
>>> event.case, event.activity, dict(event.attributes)
('A1', 'Create Fine', {'amount': Decimal('35.0'), 'case:fee': Decimal('2.50')})
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import tzinfo
from decimal import Decimal, InvalidOperation
from typing import IO, Any, NoReturn
from xml.parsers import expat

import attrs

from duraflow.replay.events import (
    ACTIVITY,
    CASE,
    TIMESTAMP,
    LogError,
    LogEvent,
    in_order,
    make_event,
    to_time,
)

_CHUNK = 1 << 16
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_CASE_PREFIX = CASE.removesuffix(ACTIVITY)


def read_xes(stream: IO[bytes], *, source: str = "log", zone: tzinfo | None = None) -> tuple[LogEvent, ...]:
    """The events of an XES document, by time.

    Attributes of the types string, id, int, float (as Decimal), boolean and date are kept; lists, containers and what
    is nested in attributes are left out.

    Args:
        stream: what `open(…, "rb")` gives.
        zone: what a date without an offset means.

    Raises:
        LogError: it is no XML, has a document type, or an event cannot be used; it says where.
    """
    return in_order(_events(stream, source, zone))


def _events(stream: IO[bytes], source: str, zone: tzinfo | None) -> Iterator[LogEvent]:
    parser = expat.ParserCreate(namespace_separator=" ")
    reader = _Reader(parser, source, zone)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = reader.refuse_doctype
    try:
        while chunk := stream.read(_CHUNK):
            parser.Parse(chunk, False)
            yield from reader.take()
        parser.Parse(b"", True)
        yield from reader.take()
    except expat.ExpatError as error:
        raise LogError(source, error.lineno, f"is not XML: {expat.ErrorString(error.code)}") from None


@attrs.define(eq=False)
class _Reader:
    """What the parser calls. Finished traces are taken out after every chunk."""

    parser: Any
    source: str
    zone: tzinfo | None
    _open: list[str] = attrs.field(factory=list)
    _trace: dict[str, Any] = attrs.field(factory=dict)
    _event: dict[str, Any] = attrs.field(factory=dict)
    _event_line: int = 0
    _pending: list[tuple[int, dict[str, Any]]] = attrs.field(factory=list)
    _ready: list[LogEvent] = attrs.field(factory=list)

    def take(self) -> list[LogEvent]:
        """The events that are complete."""
        ready, self._ready = self._ready, []
        return ready

    def start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(" ")[2]
        parent = self._open[-1] if self._open else ""
        self._open.append(tag)
        if tag == "log" and parent:
            self._fail("there is a <log> inside another element")
        elif parent == "" and tag != "log":
            self._fail(f"the document is <{tag}>, not an XES <log>")
        elif tag == "trace":
            self._trace, self._pending = {}, []
        elif tag == "event":
            if parent != "trace":
                self._fail("an event stands outside a trace, so it has no case")
            self._event, self._event_line = {}, self.parser.CurrentLineNumber
        elif parent == "trace":
            self._note(self._trace, tag, attributes)
        elif parent == "event":
            self._note(self._event, tag, attributes)

    def end(self, _name: str) -> None:
        tag = self._open.pop()
        if tag == "event":
            self._pending.append((self._event_line, self._event))
        elif tag == "trace":
            self._finish_trace()

    def refuse_doctype(self, *_: object) -> None:
        self._fail("it has a document type (<!DOCTYPE …>), which XES does not need and which is not read")

    def _finish_trace(self) -> None:
        case = self._trace.pop(ACTIVITY, None)
        shared = {f"{_CASE_PREFIX}{key}": value for key, value in self._trace.items()}
        for line, values in self._pending:
            activity, timestamp = values.pop(ACTIVITY, None), values.pop(TIMESTAMP, None)
            event = make_event(
                case, activity, timestamp, {**values, **shared}, source=self.source, line=line, zone=self.zone
            )
            self._ready.append(event)

    def _note(self, values: dict[str, Any], tag: str, attributes: dict[str, str]) -> None:
        key, text = attributes.get("key"), attributes.get("value")
        if key is None or text is None:
            return
        if key in (ACTIVITY, TIMESTAMP):
            values[key] = text
            return
        try:
            match tag:
                case "string" | "id":
                    values[key] = text
                case "int":
                    values[key] = int(text)
                case "float":
                    number = Decimal(text)
                    # the codec keeps no NaN, and nobody counts with one
                    values[key] = number if number.is_finite() else text
                case "boolean":
                    values[key] = _BOOLEANS[text.strip().lower()]
                case "date":
                    values[key] = to_time(text, self.zone)
        except (ValueError, InvalidOperation, KeyError) as error:
            why = f": {error}" if tag == "date" else ""
            self._fail(f"the attribute {key!r} is no {tag}: {text!r}{why}")

    def _fail(self, problem: str) -> NoReturn:
        raise LogError(self.source, self.parser.CurrentLineNumber, problem)
