r"""What is an event log, and how is one read from a file?

>>> events = read_csv(io.StringIO(
...     "case:concept:name,concept:name,time:timestamp,amount,article\n"
...     "A1,Payment,2024-02-01 00:00:00+01:00,35.0,007\n"
...     "A1,Create Fine,2024-01-01 00:00:00+01:00,,007\n"
... ), source="fines.csv")
>>> [(event.case, event.activity, event.at.isoformat()) for event in events]
[('A1', 'Create Fine', '2024-01-01T00:00:00+01:00'), ('A1', 'Payment', '2024-02-01T00:00:00+01:00')]
>>> dict(events[1].attributes)
{'amount': Decimal('35.0'), 'article': '007'}
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import tzinfo
from os import PathLike
from pathlib import Path
from typing import IO, TextIO, cast

from duraflow.replay.events import (
    ACTIVITY,
    CASE,
    TIMESTAMP,
    LogError,
    LogEvent,
    in_order,
    make_event,
    to_value,
)
from duraflow.replay.xes import read_xes

_DELIMITERS = ",;\t|"


def read_log(path: str | PathLike[str], *, zone: tzinfo | None = None) -> tuple[LogEvent, ...]:
    """The events of a `.csv`, `.xes`, `.csv.gz` or `.xes.gz` file, by time; at one time in the order of the file.

    A CSV file has the columns `case:concept:name`, `concept:name` and `time:timestamp`; all others are attributes.
    In an XES file the attributes of a trace become attributes of its events, with `case:` before their names.

    Args:
        zone: what a timestamp without an offset means. There is no default: a guess would move events by hours.

    Raises:
        LogError: the file is none of these, or something in it cannot be used; it says where.
        OSError: the file cannot be opened.
    """
    path = Path(path)
    packed = path.suffix.lower() == ".gz"
    kind = (Path(path.stem) if packed else path).suffix.lower()
    if kind not in (".csv", ".xes"):
        raise LogError(str(path), None, "is neither .csv, .xes, .csv.gz nor .xes.gz")
    with ExitStack() as opened:
        stream: IO[bytes] = opened.enter_context(path.open("rb"))
        if packed:
            stream = cast("IO[bytes]", opened.enter_context(gzip.open(stream)))
        try:
            if kind == ".xes":
                return read_xes(stream, source=str(path), zone=zone)
            # utf-8-sig: spreadsheets put a mark before the first column's name
            text = opened.enter_context(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""))
            return read_csv(text, source=str(path), zone=zone)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise LogError(str(path), None, f"cannot be unpacked: {error}") from None


def read_csv(text: TextIO, *, source: str = "log", zone: tzinfo | None = None) -> tuple[LogEvent, ...]:
    """The events of CSV text, by time. The delimiter is the one of `, ; tab |` that the header uses.

    Raises:
        LogError: a column is missing, or a row cannot be used; it says which.
    """
    return in_order(_csv_events(text, source, zone))


def _csv_events(text: TextIO, source: str, zone: tzinfo | None) -> Iterator[LogEvent]:
    line = 1
    try:
        header = text.readline()
        delimiter = max(_DELIMITERS, key=header.count)
        columns = next(csv.reader([header], delimiter=delimiter), [])
        missing = [name for name in (CASE, ACTIVITY, TIMESTAMP) if name not in columns]
        if missing:
            found = ", ".join(columns) or "nothing"
            raise LogError(source, 1, f"there is no column {', '.join(map(repr, missing))}; there is {found}")
        if len(set(columns)) < len(columns):
            raise LogError(source, 1, "two columns have the same name")
        reader = csv.reader(text, delimiter=delimiter)
        for row in reader:
            line = reader.line_num + 1
            if row:
                yield _csv_event(row, columns, source, line, zone)
    except csv.Error as error:
        raise LogError(source, line + 1, f"is not CSV: {error}") from None
    except UnicodeDecodeError as error:
        raise LogError(source, None, f"is not UTF-8 text: {error}") from None


def _csv_event(row: list[str], columns: list[str], source: str, line: int, zone: tzinfo | None) -> LogEvent:
    if len(row) > len(columns):
        raise LogError(source, line, f"has {len(row)} fields, and there are {len(columns)} columns")
    values = {name: value for name, value in zip(columns, row, strict=False) if value.strip()}
    return make_event(
        values.pop(CASE, None),
        values.pop(ACTIVITY, None),
        values.pop(TIMESTAMP, None),
        {name: to_value(value) for name, value in values.items()},
        source=source,
        line=line,
        zone=zone,
    )
