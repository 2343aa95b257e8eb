"""Values survive a stay in PostgreSQL's `jsonb`, which normalises what it stores."""

from __future__ import annotations

import enum
import math
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duraflow.codec import Codec, canonical_json

pytestmark = pytest.mark.pg


class Color(enum.Enum):
    RED = 1


@attrs.frozen
class Box:
    content: Any
    color: Color = Color.RED


codec = Codec(types=[Color, Box])


@pytest.fixture(scope="module")
def connection(pg_dsn: str) -> Iterator[psycopg.Connection[tuple[str]]]:
    """One connection for all values: none of them is kept."""
    with psycopg.connect(pg_dsn, autocommit=True) as opened:
        yield opened


def through_jsonb(connection: psycopg.Connection[tuple[str]], text: str) -> str:
    """What PostgreSQL prints for `text` as jsonb."""
    row = connection.execute("SELECT %s::jsonb::text", [text]).fetchone()
    assert row is not None
    return row[0]


def exact(value: object) -> object:
    """A form in which values of other types, -0.0 and 0.0, 1.5 and 1.50 differ."""
    match value:
        case dict():
            return {key: exact(item) for key, item in value.items()}
        case list() | tuple():
            return type(value), [exact(item) for item in value]
        case Box():
            return Box, exact(value.content), value.color
        case float() | Decimal():
            return type(value), repr(value)
    return type(value), value


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        10**4300 - 1,
        -(10**4300) + 1,
        0.0,
        -0.0,
        1.0,
        100.0,
        0.1,
        0.0001,
        0.00001,
        math.nextafter(0.0001, 0),
        5e-324,
        1e15,
        math.nextafter(1e16, 0),
        1e16,
        1e22,
        123456789012345680.0,
        sys.float_info.max,
        "\x01\x1f\x7f\x80\u2028\ufffe\uffff\U0010ffff\\u0000\"'%s",
        {"b": 1, "a": {"": [], "$": {"$$": "$"}, "v": None}},
        datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=-5, seconds=1))),
        date.max,
        timedelta.min,
        Decimal("1.50"),
        Decimal("1E+999999"),
        Decimal("-0.000"),
        UUID(int=2**128 - 1),
        bytes(range(256)),
        Box((1, (2.0, [Color.RED]))),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_jsonb_gives_the_value_back(connection: psycopg.Connection[tuple[str]], value: object) -> None:
    """The very same value comes back, and its canonical form, which is hashed, is the same."""
    printed = through_jsonb(connection, codec.encode([value], path="x"))
    assert exact(codec.decode(printed)) == exact([value])
    again = codec.to_plain(codec.decode(printed), path="x")
    assert canonical_json(again) == canonical_json(codec.to_plain([value], path="x"))


def test_the_deepest_value_fits(connection: psycopg.Connection[tuple[str]]) -> None:
    """256 levels of registered objects are no problem for PostgreSQL's parser."""
    from duraflow.codec import Limits

    deepest = Codec(types=[Color, Box], limits=Limits(max_depth=256))
    value: object = 1
    for _ in range(256):
        value = Box(value)
    assert deepest.decode(through_jsonb(connection, deepest.encode(value, path="x"))) == value


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.decimals(allow_nan=False, allow_infinity=False),
        st.timedeltas(),
        texts,
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(texts, st.sampled_from(["$", "$$", "v"])), inner, max_size=4),
        st.builds(Box, st.one_of(inner, st.tuples(inner))),
    ),
    max_leaves=10,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=values)
def test_any_value_survives_jsonb(connection: psycopg.Connection[tuple[str]], value: object) -> None:
    """Random nested values come back with their exact types."""
    assert exact(codec.decode(through_jsonb(connection, codec.encode(value, path="x")))) == exact(value)
