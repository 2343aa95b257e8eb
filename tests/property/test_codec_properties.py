"""Whatever the codec takes comes back the same, from text and from a plain tree."""

from __future__ import annotations

import enum
import json
from datetime import timedelta, timezone
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duraflow.codec import Codec, Limits, canonical_json
from duraflow.errors import InvalidArgument


class Color(enum.Enum):
    RED = 1
    BLUE = 2


@attrs.frozen
class Box:
    content: Any
    color: Color = Color.RED


codec = Codec(types=[Color, Box])

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
keys = st.one_of(texts, st.sampled_from(["$", "$$", "v", "$v", "object"]))
zones = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
    st.dates(),
    st.datetimes(timezones=zones),
    st.timedeltas(),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.uuids(),
    st.binary(max_size=100),
    st.sampled_from(Color),
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(keys, inner, max_size=4),
        st.builds(Box, st.one_of(inner, st.tuples(inner, inner)), st.sampled_from(Color)),
    ),
    max_leaves=15,
)


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


@given(values)
def test_values_survive_the_round_trip(value: object) -> None:
    """`decode(encode(x))` is x, with the exact types."""
    assert exact(codec.decode(codec.encode(value, path="x"))) == exact(value)


@given(values)
def test_key_order_and_spaces_do_not_matter(value: object) -> None:
    """What jsonb drops carries no meaning: the canonical, the indented and the embedded form read the same."""
    tree = codec.to_plain(value, path="x")
    assert exact(codec.decode(canonical_json(tree))) == exact(value)
    assert exact(codec.decode(json.dumps(tree, indent=1))) == exact(value)
    assert exact(codec.from_plain(tree)) == exact(value)


@given(values)
def test_the_canonical_form_is_stable(value: object) -> None:
    """Hashes taken before and after storing are equal."""
    tree = codec.to_plain(value, path="x")
    again = codec.to_plain(codec.decode(codec.encode(value, path="x")), path="x")
    assert canonical_json(again) == canonical_json(tree)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_no_exponent_reaches_jsonb(value: float) -> None:
    """A float is written as a number only if its text has neither an exponent nor a negative zero."""
    text = codec.encode(value, path="x")
    assert text == repr(value) or json.loads(text) == {"$": "float", "v": repr(value)}
    assert text.startswith("{") == ("e" in repr(value) or repr(value) == "-0.0")


@given(values, st.integers(1, 200))
def test_the_size_limit_is_the_size_of_the_text(value: object, max_bytes: int) -> None:
    """A value is refused exactly if its UTF-8 text is longer than the limit, however it is counted on the way."""
    size = len(codec.encode(value, path="x").encode())
    bounded = Codec(types=[Color, Box], limits=Limits(max_bytes=max_bytes))
    if size <= max_bytes:
        bounded.encode(value, path="x")
    else:
        with pytest.raises(InvalidArgument, match=r"Limits\.max_bytes"):
            bounded.encode(value, path="x")


@given(st.text(st.characters()))
def test_text_is_taken_exactly_if_postgresql_can_keep_it(text: str) -> None:
    """NUL and lone surrogates are refused, everything else is kept."""
    bad = "\0" in text or any("\ud800" <= character <= "\udfff" for character in text)
    try:
        assert codec.copy({text: text}) == {text: text}
        assert not bad
    except InvalidArgument:
        assert bad
