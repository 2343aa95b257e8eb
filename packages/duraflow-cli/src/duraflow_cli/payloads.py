"""How does JSON that a person typed become the payload that an event declares?

JSON has no decimals, dates or UUIDs. Where the event's payload type says that there is one, its text (or number) is
taken for it: `{"amount": "12.50"}` for a `Decimal`. What does not fit is left as it is, so that the runtime says what
is wrong, and where.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

import attrs

from duraflow import Codec, PayloadType, Workflow
from duraflow_cli.inputs import Real, duration


class _Unfit(Exception):
    """The value is nothing of the kind."""


def payload_for(workflow: Workflow | None, event: str, tree: Any, codec: Codec) -> Any:
    """The payload to fire, from JSON as `JsonText` reads it."""
    declared: PayloadType | None = None if workflow is None else workflow.events.get(event)
    description = None if declared is None else declared.describe()
    if description is None or "object" not in description:
        return codec.from_plain(tree)
    return _Reader(codec).read(tree, description, ())


@attrs.frozen
class _Reader:
    codec: Codec

    def read(self, tree: Any, shape: Any, outer: tuple[Mapping[str, Any], ...]) -> Any:
        """The value, as far as it fits; what does not is left."""
        try:
            return self._read(tree, shape, outer)
        except _Unfit:
            return self.codec.from_plain(tree)

    def _read(self, tree: Any, shape: Any, outer: tuple[Mapping[str, Any], ...]) -> Any:
        if isinstance(tree, dict) and "$" in tree:
            return self.codec.from_plain(tree)
        if isinstance(shape, str):
            return _SCALARS[shape](tree) if shape in _SCALARS else self.codec.from_plain(tree)
        match shape:
            case {"object": fields} if isinstance(tree, dict):
                inside = (*outer, shape)
                return {
                    key: self.read(item, fields[key], inside)
                    if key in fields
                    else self.codec.from_plain(item)
                    for key, item in tree.items()
                }
            case {"map": item_shape} if isinstance(tree, dict):
                return {key: self.read(item, item_shape, outer) for key, item in tree.items()}
            case {"tuple": [*shapes]} if isinstance(tree, list) and len(shapes) == len(tree):
                return [self.read(item, each, outer) for item, each in zip(tree, shapes, strict=True)]
            case {"list": item_shape} | {"set": item_shape} | {"array": item_shape} if isinstance(tree, list):
                return [self.read(item, item_shape, outer) for item in tree]
            case {"union": [*options]}:
                return self._first(tree, options, outer)
            case {"enclosing": int() as distance}:
                return self._read(tree, outer[-1 - distance], outer[: len(outer) - distance - 1])
            case {"literal": _}:
                return self.codec.from_plain(tree)
        raise _Unfit

    def _first(self, tree: Any, options: list[Any], outer: tuple[Mapping[str, Any], ...]) -> Any:
        for option in options:
            try:
                return self._read(tree, option, outer)
            except _Unfit:
                continue
        raise _Unfit


def _of(*kinds: type) -> Callable[[Any], Any]:
    def read(tree: Any) -> Any:
        if isinstance(tree, bool) != (bool in kinds) or not isinstance(tree, kinds):
            raise _Unfit
        return float(tree) if isinstance(tree, Real) else tree

    return read


def _text(make: Callable[[str], Any]) -> Callable[[Any], Any]:
    def read(tree: Any) -> Any:
        if not isinstance(tree, str):
            raise _Unfit
        try:
            return make(tree)
        except ValueError:
            raise _Unfit from None

    return read


def _decimal(tree: Any) -> Decimal:
    if isinstance(tree, bool) or not isinstance(tree, (str, int, float)):
        raise _Unfit
    try:
        return Decimal(tree.text if isinstance(tree, Real) else tree)
    except InvalidOperation:
        raise _Unfit from None


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(text) from error


def _timedelta(text: str) -> Any:
    found = duration(text)
    if found is None:
        raise ValueError(text)
    return found


_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "str": _of(str),
    "int": _of(int),
    "float": _of(int, float),
    "bool": _of(bool),
    "none": _of(type(None)),
    "decimal": _decimal,
    "uuid": _text(UUID),
    "bytes": _text(_bytes),
    "date": _text(date.fromisoformat),
    "datetime": _text(datetime.fromisoformat),
    "timedelta": _text(_timedelta),
}
