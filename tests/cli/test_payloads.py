"""Does what a person types become what an event declares?"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

import pytest

from duraflow import Codec, State, Transition, Workflow
from duraflow_cli.inputs import Real, duration
from duraflow_cli.payloads import payload_for

ID = UUID("0192d3c0-0000-7000-8000-000000000001")


class Colour(StrEnum):
    RED = "red"


@dataclass
class Node:
    name: str
    price: Decimal | None = None
    children: list[Node] = field(default_factory=list)


@dataclass
class Everything:
    a_decimal: Decimal = Decimal(0)
    a_float: float = 0.0
    an_int: int = 0
    a_bool: bool = False
    a_text: str = ""
    an_id: UUID = ID
    some_bytes: bytes = b""
    a_date: date = date(2026, 1, 1)
    a_time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    a_length: timedelta = timedelta(0)
    a_choice: Literal["x", "y"] = "x"
    a_colour: Colour = Colour.RED
    either: int | Decimal | None = None
    prices: dict[str, Decimal] = field(default_factory=dict)
    pair: tuple[str, Decimal] = ("", Decimal(0))
    tags: set[str] = field(default_factory=set)
    node: Node | None = None


WORKFLOW = Workflow(
    name="w",
    initial="a",
    events={"go": Everything},
    states=[State("a", [Transition("go", target="b"), Transition("free", target="b")]), State("b")],
)


def read(text: str, event: str = "go") -> Any:
    """The payload that the command would fire."""
    return payload_for(WORKFLOW, event, json.loads(text, parse_float=Real), Codec())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a_decimal": "12.50"}', Decimal("12.50")),
        ('{"a_decimal": 12.50}', Decimal("12.50")),
        ('{"a_decimal": 12}', Decimal(12)),
        ('{"a_decimal": {"$": "decimal", "v": "1.5"}}', Decimal("1.5")),
        ('{"a_float": 1.5}', 1.5),
        ('{"a_float": 1}', 1),
        ('{"an_int": 3}', 3),
        ('{"a_bool": true}', True),
        ('{"a_text": "12.50"}', "12.50"),
        (f'{{"an_id": "{ID}"}}', ID),
        ('{"some_bytes": "aGk="}', b"hi"),
        ('{"a_date": "2026-11-21"}', date(2026, 11, 21)),
        ('{"a_time": "2026-11-21T09:00:00Z"}', datetime(2026, 11, 21, 9, tzinfo=UTC)),
        ('{"a_length": "1h30m"}', timedelta(minutes=90)),
        ('{"a_choice": "y"}', "y"),
        ('{"a_colour": "red"}', Colour.RED),
        ('{"either": null}', None),
        ('{"either": 3}', 3),
        ('{"either": "3.5"}', Decimal("3.5")),
        ('{"prices": {"tea": 1.10}}', {"tea": Decimal("1.10")}),
        ('{"pair": ["tea", "1.10"]}', ("tea", Decimal("1.10"))),
        ('{"tags": ["b", "a"]}', {"a", "b"}),
        (
            '{"node": {"name": "a", "children": [{"name": "b", "price": "2.0"}]}}',
            Node("a", None, [Node("b", Decimal("2.0"))]),
        ),
    ],
)
def test_every_kind_of_field(text: str, value: object) -> None:
    """The payload type takes what was read, and it is the value that was meant; exactly so."""
    declared = WORKFLOW.events["go"]
    assert declared is not None
    loaded = declared.load(read(text))
    (name,) = json.loads(text)
    found = getattr(loaded, name)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        '{"a_decimal": true}',
        '{"a_decimal": "x"}',
        '{"an_int": true}',
        '{"an_id": "x"}',
        '{"some_bytes": "%"}',
        "3",
    ],
)
def test_what_does_not_fit_is_left_for_the_runtime_to_refuse(text: str) -> None:
    """It has the words for it."""
    assert read(text) == json.loads(text)


def test_without_a_payload_type_json_is_json() -> None:
    """Floats are floats, tagged values what they stand for; so it is for a workflow that is not at hand."""
    plain = read('{"a": 1.5, "b": {"$": "decimal", "v": "1.5"}}', "free")
    assert plain == {"a": 1.5, "b": Decimal("1.5")}
    assert type(plain["a"]) is float
    assert payload_for(None, "go", {"a_decimal": "1"}, Codec()) == {"a_decimal": "1"}


@pytest.mark.parametrize(
    ("text", "length"),
    [("90d", timedelta(days=90)), ("1.5h", timedelta(minutes=90)), ("1w1s", timedelta(days=7, seconds=1)), ("", None),
     ("d", None), ("1", None), ("99999999999d", None)],
)  # fmt: skip
def test_lengths_of_time(text: str, length: timedelta | None) -> None:
    """As people write them."""
    assert duration(text) == length
