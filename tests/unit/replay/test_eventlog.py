"""Is a log read as it was meant, and is what cannot be meant refused with its place?"""

from __future__ import annotations

import gzip
import io
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from duraflow.replay import LogError, LogEvent, read_csv, read_log, read_xes

HEAD = "case:concept:name,concept:name,time:timestamp"
XES = b"""<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0" xmlns="http://www.xes-standard.org/">
  <string key="concept:name" value="a log has a name too"/>
  <global scope="event"><string key="concept:name" value="name"/></global>
  <classifier name="Activity" keys="concept:name"/>
  <trace>
    <string key="concept:name" value="A1"/>
    <string key="officer" value="541"><string key="rank" value="nested, left out"/></string>
    <event>
      <string key="concept:name" value="Payment"/>
      <date key="time:timestamp" value="2024-02-01T10:00:00.000+01:00"/>
      <float key="paymentAmount" value="1.5e1"/>
      <boolean key="last" value="TRUE"/>
      <list key="items"><values><int key="item" value="1"/></values></list>
    </event>
    <event>
      <string key="concept:name" value="Create Fine"/>
      <date key="time:timestamp" value="2024-01-01T10:00:00Z"/>
      <int key="points" value="007"/>
      <id key="uuid" value="12"/>
      <date key="offence" value="2023-12-31T23:59:00Z"/>
      <float key="strange" value="NaN"/>
      <string key="empty"/>
    </event>
  </trace>
</log>
"""


def _csv(text: str, **options: Any) -> tuple[LogEvent, ...]:
    return read_csv(io.StringIO(text), source="log.csv", **options)


def test_events_come_by_time_and_keep_their_order_at_one_time() -> None:
    """The order is that of the moments, whatever their offsets; equal ones stay as in the file."""
    log = _csv(
        f"{HEAD}\nA,late,2024-01-01 02:00:00+01:00\nB,first,2024-01-01 00:30:00+00:00\n"
        "C,same,2024-01-01T00:30:00Z\nA,same too,2024-01-01 01:30:00+01:00\n"
    )
    assert [(event.case, event.activity, event.line) for event in log] == [
        ("B", "first", 3), ("C", "same", 4), ("A", "same too", 5), ("A", "late", 2),
    ]  # fmt: skip
    assert log[2].at.utcoffset() == timedelta(hours=1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("35.0", Decimal("35.0")), ("35.10", Decimal("35.10")), ("-0.5", Decimal("-0.5")), ("+3", 3), ("0", 0),
        ("157", 157), ("007", "007"), ("1e5", "1e5"), ("1.", "1."), (".5", ".5"), ("NIL", "NIL"), ("nan", "nan"),
        ("True", True), ("false", False), ("1,5", "1,5"), ("4111111111111111111", "4111111111111111111"),
        ("2024-01-01", "2024-01-01"), (" 7", " 7"), ("١", "١"),
    ],
)  # fmt: skip
def test_a_text_becomes_a_number_only_where_it_is_one(text: str, value: object) -> None:
    """Money stays exact; codes with leading zeros, exponents and long keys stay what they are."""
    quoted = text.replace('"', '""')
    (event,) = _csv(f'{HEAD},x\nA,pay,2024-01-01T00:00:00Z,"{quoted}"\n')
    assert (event["x"], type(event["x"])) == (value, type(value))


def test_what_is_empty_is_not_there() -> None:
    """An empty or missing field is no attribute, and asking for it says where it is missing."""
    (event,) = _csv(f"{HEAD},a,b,c\nA,pay,2024-01-01T00:00:00Z,,  \n")
    assert event.attributes == {}
    with pytest.raises(LogError, match=r"^log\.csv:2: this event \('pay'\) has no attribute 'a'$"):
        event["a"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_that_of_the_header(delimiter: str) -> None:
    """Spreadsheets of other countries write other delimiters."""
    text = f"{HEAD},note\nA,pay,2024-01-01T00:00:00Z,x\n".replace(",", delimiter)
    (event,) = _csv(text)
    assert (event.case, event["note"]) == ("A", "x")


def test_quoted_fields_may_hold_lines_and_delimiters() -> None:
    """The line of an event is the one where its record ends; empty lines between records are nothing."""
    log = _csv(
        f'{HEAD},note\n\nA,pay,2024-01-01T00:00:00Z,"two\nlines, ""quoted"""\nA,pay,2024-01-02T00:00:00Z,\n'
    )
    assert [(event.line, event.attributes.get("note")) for event in log] == [
        (4, 'two\nlines, "quoted"'),
        (5, None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "log.csv:1: there is no column 'case:concept:name', 'concept:name', 'time:timestamp'; there is nothing"),
        ("case,activity\n", "log.csv:1: there is no column"),
        (f"{HEAD},a,a\n", "log.csv:1: two columns have the same name"),
        (f"{HEAD}\n,pay,2024-01-01T00:00:00Z\n", "log.csv:2: this event has no 'case:concept:name'"),
        (f"{HEAD}\nA,,2024-01-01T00:00:00Z\n", "log.csv:2: this event has no 'concept:name'"),
        (f"{HEAD}\nA,pay,\n", "log.csv:2: this event has no 'time:timestamp'"),
        (f"{HEAD}\nA\n", "log.csv:2: this event has no 'concept:name'"),
        (f"{HEAD}\nA,pay,2024-01-01T00:00:00Z,more\n", "log.csv:2: has 4 fields, and there are 3 columns"),
        (f"{HEAD}\nA,pay,2024-01-01T00:00:00Z\nA,pay,yesterday\n", "log.csv:3: 'yesterday' is no timestamp such as"),
        (f"{HEAD}\nA,pay,2024-01-01 10:00:00\n",
         "log.csv:2: the timestamp '2024-01-01 10:00:00' has no offset; say what it means with `zone=`"),
        (f'{HEAD}\nA,pay,"{"x" * 200_000}"\n', "log.csv:2: is not CSV"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(text: str, message: str) -> None:
    """The error says where, what, and what to do."""
    with pytest.raises(LogError) as caught:
        _csv(text)
    assert str(caught.value).startswith(message)


def test_a_zone_says_what_a_timestamp_without_an_offset_means() -> None:
    """It is used only where there is no offset."""
    rome = ZoneInfo("Europe/Rome")
    log = _csv(f"{HEAD}\nA,a,2024-07-01 00:00:00\nA,b,2024-07-01 00:00:00+00:00\n", zone=rome)
    assert [event.at.astimezone(UTC) for event in log] == [
        datetime(2024, 6, 30, 22, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC),
    ]  # fmt: skip


def test_a_number_is_a_decimal_however_it_is_written() -> None:
    """Whole numbers and those with a point serve alike; a default stands in for nothing else than a missing one."""
    (event,) = _csv(f"{HEAD},a,b,c,d\nA,pay,2024-01-01T00:00:00Z,35,35.50,true,x\n")
    numbers = [event.number("a"), event.number("b"), event.number("e", 0), event.number("e", Decimal("1.5"))]
    assert numbers == [Decimal(35), Decimal("35.50"), Decimal(0), Decimal("1.5")]
    assert {type(number) for number in numbers} == {Decimal}
    for name in ("c", "d"):
        with pytest.raises(LogError, match="is no number"):
            event.number(name, 0)


def test_an_xes_document_gives_the_same_events() -> None:
    """Typed attributes are kept, those of the trace under `case:`; nested ones, lists and the log's own are not."""
    created, paid = read_xes(io.BytesIO(XES), source="log.xes")
    assert (created.case, created.activity, created.line) == ("A1", "Create Fine", 16)
    assert created.at == datetime(2024, 1, 1, 10, tzinfo=UTC)
    assert created.attributes == {
        "points": 7,
        "uuid": "12",
        "offence": datetime(2023, 12, 31, 23, 59, tzinfo=UTC),
        "strange": "NaN",
        "case:officer": "541",
    }
    assert (paid.activity, paid.line) == ("Payment", 9)
    assert paid.attributes == {"paymentAmount": Decimal(15), "last": True, "case:officer": "541"}
    assert paid.at == datetime(2024, 2, 1, 10, tzinfo=timezone(timedelta(hours=1)))


_EVENT = (
    '<event><string key="concept:name" value="pay"/><date key="time:timestamp" value="2024-01-01T00:00:00Z"/>'
)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("", "log.xes:1: is not XML: no element found"),
        ("<log>", "log.xes:1: is not XML: no element found"),
        ("<log>\n<trace></log>", "log.xes:2: is not XML: mismatched tag"),
        ("<html/>", "log.xes:1: the document is <html>, not an XES <log>"),
        ("<log><log/></log>", "log.xes:1: there is a <log> inside another element"),
        ("<log>\n<event/></log>", "log.xes:2: an event stands outside a trace, so it has no case"),
        (f"<log>\n<trace>{_EVENT}</event></trace></log>", "log.xes:2: this event has no 'case:concept:name'"),
        ('<log><trace><string key="concept:name" value="A"/>\n<event/></trace></log>',
         "log.xes:2: this event has no 'concept:name'"),
        (f'<log><trace>{_EVENT}<int key="n" value="x"/></event></trace></log>',
         "log.xes:1: the attribute 'n' is no int: 'x'"),
        (f'<log><trace>{_EVENT}<boolean key="n" value="maybe"/></event></trace></log>',
         "log.xes:1: the attribute 'n' is no boolean: 'maybe'"),
        (f'<log><trace>{_EVENT}<date key="n" value="2024-01-01T00:00:00"/></event></trace></log>',
         "log.xes:1: the attribute 'n' is no date: '2024-01-01T00:00:00': the timestamp"),
        ('<!DOCTYPE log [<!ENTITY a "aaaa">]><log/>', "log.xes:1: it has a document type"),
        ('<!DOCTYPE log SYSTEM "http://127.0.0.1:1/x.dtd"><log/>', "log.xes:1: it has a document type"),
    ],
)  # fmt: skip
def test_an_xes_document_that_cannot_be_read_is_refused_with_its_line(document: str, message: str) -> None:
    """Errors of XML, of XES, and every document type: no entity is ever expanded."""
    with pytest.raises(LogError) as caught:
        read_xes(io.BytesIO(document.encode()), source="log.xes")
    assert str(caught.value).startswith(message)


def test_an_entity_bomb_is_refused_before_it_goes_off() -> None:
    """The document type is refused where it begins, not after a billion laughs."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE log [<!ENTITY l0 "ha">{laughs}]><log><string key="concept:name" value="&l9;"/></log>'
    with pytest.raises(LogError, match="document type"):
        read_xes(io.BytesIO(bomb.encode()))


def test_files_are_read_by_their_names(tmp_path: Path) -> None:
    """CSV and XES, packed or not, in any case of letters; a mark at the start of the text is no part of a name."""
    text = f"\ufeff{HEAD}\nA1,Payment,2024-01-01T00:00:00Z\n".encode()
    for name, content in {
        "a.csv": text, "a.CSV": text, "a.csv.gz": gzip.compress(text), "a.xes": XES, "a.XES.GZ": gzip.compress(XES),
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
        log = read_log(tmp_path / name)
        assert {event.case for event in log} == {"A1"}
        assert log[0].source == str(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", b"", "is neither .csv, .xes, .csv.gz nor .xes.gz"),
        ("a.gz", b"", "is neither .csv, .xes, .csv.gz nor .xes.gz"),
        ("a.csv.gz", b"no gzip", "cannot be unpacked"),
        ("a.xes.gz", gzip.compress(XES, mtime=0)[:60], "cannot be unpacked"),
        ("a.csv", f"{HEAD}\nA,caf\xe9,2024-01-01T00:00:00Z\n".encode("latin-1"), "is not UTF-8 text"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    """The error begins with the file."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LogError) as caught:
        read_log(path)
    assert str(caught.value).startswith(f"{path}: {problem}")


def test_a_long_document_is_read_in_pieces(tmp_path: Path) -> None:
    """Events that stand across the borders of what is read at once come out whole."""
    traces = "".join(
        f'<trace><string key="concept:name" value="A{n}"/>{_EVENT}<int key="n" value="{n}"/></event></trace>'
        for n in range(3_000)
    )
    path = tmp_path / "long.xes"
    path.write_text(f"<log>{traces}</log>")
    assert [event["n"] for event in read_log(path)] == list(range(3_000))
