"""Is containment in memory what `@>` is in PostgreSQL?"""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duraflow.containment import contains

CASES = [
    # the examples of the manual, "jsonb Containment and Existence"
    ('"foo"', '"foo"', True),
    ("[1, 2, 3]", "[1, 3]", True),
    ("[1, 2, 3]", "[3, 1]", True),
    ("[1, 2, 3]", "[1, 2, 2]", True),
    ('{"product": "PostgreSQL", "version": 9.4, "jsonb": true}', '{"version": 9.4}', True),
    ("[1, 2, [1, 3]]", "[1, 3]", False),
    ("[1, 2, [1, 3]]", "[[1, 3]]", True),
    ('{"foo": {"bar": "baz"}}', '{"bar": "baz"}', False),
    ('{"foo": {"bar": "baz"}}', '{"foo": {}}', True),
    ('["foo", "bar"]', '"bar"', True),
    ('"bar"', '["bar"]', False),
    # a scalar in an array counts at the top only
    ('{"a": ["x"]}', '{"a": "x"}', False),
    ('[["x"]]', '["x"]', False),
    ('[["x"]]', '"x"', False),
    ('[{"a": 1}]', '{"a": 1}', False),
    ('[{"a": 1, "b": 2}]', '[{"b": 2}]', True),
    # nothing is contained in everything of its kind
    ("{}", "{}", True),
    ("[]", "[]", True),
    ("[1]", "[]", True),
    ("[]", "{}", False),
    ("{}", "[]", False),
    ('"x"', "[]", False),
    ("[1]", "[[]]", False),
    ("[{}]", "[[]]", False),
    ("[[1]]", "[[]]", True),
    ('{"a": []}', '{"a": {}}', False),
    # what is equal
    ("[1]", "[1.0]", True),
    ("[1]", "[true]", False),
    ("[0]", "[false]", False),
    ("[true]", "[true]", True),
    ("[null]", "[null]", True),
    ("[null]", "[false]", False),
    ('{"a": null}', '{"a": null}', True),
    ("{}", '{"a": null}', False),
    ('["1"]', "[1]", False),
    ("[9007199254740993]", "[9007199254740992.0]", False),
]


@pytest.mark.parametrize(("container", "contained", "expected"), CASES)
def test_the_rules(container: str, contained: str, expected: bool) -> None:
    """The examples of the manual, and the edges between them."""
    assert contains(json.loads(container), json.loads(contained)) is expected


_SCALARS = st.one_of(st.none(), st.booleans(), st.sampled_from([0, 1, 2, 0.0, 1.0, 1.5, "", "a", "b"]))
_VALUES: st.SearchStrategy[Any] = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_a_part_is_contained(data: st.DataObject) -> None:
    """Whatever is left out, reordered or repeated."""
    value = data.draw(_VALUES)
    assert contains(value, value)
    assert contains(value, _part(value, data))


def _part(value: Any, data: st.DataObject) -> Any:
    if isinstance(value, dict):
        return {key: _part(inner, data) for key, inner in value.items() if data.draw(st.booleans())}
    if isinstance(value, list) and value:
        indexes = data.draw(st.lists(st.sampled_from(range(len(value))), max_size=4))
        return [_part(value[index], data) for index in indexes]
    return value


@given(st.data())
def test_postgresql_says_the_same(pg_dsn: str, data: st.DataObject) -> None:
    """About hundreds of pairs of random values, half of them with a chance to be contained."""
    pairs = data.draw(st.lists(st.tuples(_VALUES, _VALUES), min_size=50, max_size=100))
    pairs += [(container, _part(container, data)) for container, _ in pairs]
    left, right = ([json.dumps(pair[side]) for pair in pairs] for side in (0, 1))
    with psycopg.connect(pg_dsn) as connection:
        rows = connection.execute(
            "SELECT l::jsonb @> r::jsonb FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS t (l, r, n) "
            "ORDER BY n",
            [left, right],
        ).fetchall()
    assert [contains(*pair) for pair in pairs] == [row[0] for row in rows]
