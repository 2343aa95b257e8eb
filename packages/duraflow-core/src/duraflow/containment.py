"""Does one JSON value contain another, as `@>` of PostgreSQL's `jsonb` means it?

The rules are those of the manual, section "jsonb Containment and Existence":

>>> contains({"a": 1, "b": {"c": [1, 2], "d": 3}}, {"b": {"c": [2]}})
True
>>> contains([1, 2, [1, 3]], [1, 3]), contains([1, 2, [1, 3]], [[1, 3]])
(False, True)

Order and repetition in arrays do not count. Structures must match level by level, with one exception: a whole value
that is an array contains a scalar that is among its elements, but not deeper down:

>>> contains(["foo", "bar"], "bar"), contains("bar", ["bar"]), contains({"tags": ["foo"]}, {"tags": "foo"})
(True, False, False)
"""

from __future__ import annotations


def contains(container: object, contained: object) -> bool:
    """Whether `container @> contained`. Both are plain JSON trees: dict, list, str, int, float, bool, None."""
    if isinstance(container, list) and not isinstance(contained, (dict, list)):
        return _has(container, contained)
    return _contains(container, contained)


def _contains(container: object, contained: object) -> bool:
    if isinstance(contained, dict):
        return isinstance(container, dict) and all(
            key in container and _contains(container[key], value) for key, value in contained.items()
        )
    if isinstance(contained, list):
        return isinstance(container, list) and all(_has(container, value) for value in contained)
    return _same(container, contained)


def _has(array: list[object], value: object) -> bool:
    return any(_contains(element, value) for element in array)


def _same(left: object, right: object) -> bool:
    """Whether two scalars are equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return not isinstance(left, (dict, list)) and left == right
