"""What data may come with an event, and how is it kept?

Declare an attrs class, a dataclass or a TypedDict:

>>> from decimal import Decimal
>>> import attrs
>>> @attrs.frozen
... class Payment:
...     amount: Decimal
...     note: str | None = None
>>> payment = payload_type(Payment)
>>> payment.load({"amount": Decimal("12.50")})
Payment(amount=Decimal('12.50'), note=None)
>>> payment.dump(Payment(Decimal("12.50")))
{'amount': Decimal('12.50'), 'note': None}
>>> payment.load({"amount": "12.50"})
Traceback (most recent call last):
    ...
duraflow.errors.InvalidArgument: payload.amount: expected Decimal, got str; give Decimal("…")

The description is JSON and loads the same data, as plain mappings, where the class is not at hand:

>>> payment.describe()
{'object': {'amount': 'decimal', 'note': {'union': ['str', 'none']}}, 'optional': ['note']}
>>> DescribedPayload(payment.describe()).load({"amount": Decimal("12.50")})
{'amount': Decimal('12.50')}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

import attrs

from duraflow.definition.annotations import Unsupported, has_fields, shape_of
from duraflow.definition.shapes import (
    ANY,
    WORDS,
    Choice,
    Field,
    Fixed,
    Map,
    Mismatch,
    Object,
    OneOf,
    Shape,
    a_list,
    a_set,
    an_array,
)
from duraflow.errors import InvalidArgument

_ROOT = "payload"
_TOO_DEEP = "is nested too deeply, or contains itself; store an id in place of the object"


@runtime_checkable
class PayloadType(Protocol):
    """Checks and stores one kind of payload. An object with these three methods plugs in any other library.

    For pydantic it is::

        @attrs.frozen
        class Pydantic:
            model: type[BaseModel]

            def load(self, data, /):
                try:
                    return self.model.model_validate(data)
                except ValidationError as error:
                    raise InvalidArgument("payload", str(error)) from error

            def dump(self, value, /):
                return value.model_dump(mode="json")

            def describe(self):
                return {"json_schema": self.model.model_json_schema()}

        Workflow(..., events={"pay": Pydantic(Payment)})

    and for msgspec the same with `msgspec.convert(data, Payment)`, `msgspec.to_builtins(value)` and
    `msgspec.json.schema(Payment)`.
    """

    def load(self, data: Any, /) -> object:
        """The typed value of what a caller gave: an instance of the class, or a mapping of its fields.

        Raises:
            InvalidArgument: it does not fit; `argument` is the path, such as `payload.lines[2].price`.
        """
        ...

    def dump(self, value: Any, /) -> object:
        """What history keeps: a mapping whose leaves the codec knows. `load(dump(value)) == value`.

        Raises:
            InvalidArgument: `value` is nothing that `load` gives.
        """
        ...

    def describe(self) -> Mapping[str, Any]:
        """JSON that says which fields of which types there are; part of the content hash of a workflow.

        A description with the key `object` is one of Duraflow's own (`duraflow.definition.shapes` lists the
        words); payloads of any other are not checked where only the description is at hand.
        """
        ...


@attrs.frozen
class FieldsPayload:
    """The payload type of an attrs class, dataclass or TypedDict: its annotations say what fits."""

    declared: type
    _shape: Shape = attrs.field(eq=False, repr=False)

    def load(self, data: Any, /) -> object:
        return _load(self._shape, data)

    def dump(self, value: Any, /) -> object:
        return _dump(self._shape, value)

    def describe(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self._shape.describe(()))


@attrs.frozen
class DescribedPayload:
    """A payload type known by its description only; its values are plain mappings. For stored workflows."""

    description: Mapping[str, Any] = attrs.field(hash=False)
    _shape: Shape = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_shape", _described(self.description, "description"))

    def load(self, data: Any, /) -> object:
        return _load(self._shape, data)

    def dump(self, value: Any, /) -> object:
        return _dump(self._shape, value)

    def describe(self) -> Mapping[str, Any]:
        return self.description


@attrs.frozen
class UnusablePayload:
    """Something declared as a payload type that is none; the checks report it as `bad_payload_type`."""

    declared: Any
    problem: str

    def load(self, _data: Any, /) -> object:
        raise InvalidArgument(_ROOT, self.problem)

    def dump(self, _value: Any, /) -> object:
        raise InvalidArgument(_ROOT, self.problem)

    def describe(self) -> Mapping[str, Any]:
        return {"unusable": self.problem}


def payload_type(declared: object) -> PayloadType | None:
    """The payload type that a declaration stands for. What makes no sense becomes an `UnusablePayload`."""
    if declared is None:
        return None
    if has_fields(declared):
        try:
            return FieldsPayload(cast("type", declared), shape_of(declared))
        except Unsupported as problem:
            return UnusablePayload(declared, str(problem))
    if isinstance(declared, PayloadType):
        return declared
    return UnusablePayload(
        declared,
        f"{declared!r} is no payload type: give an attrs class, a dataclass, a TypedDict, None, or an object "
        "with the methods load, dump and describe (see PayloadType)",
    )


def _load(shape: Shape, data: object) -> object:
    try:
        return shape.load(data)
    except Mismatch as mismatch:
        raise InvalidArgument(mismatch.path(_ROOT), mismatch.reason) from mismatch.__cause__
    except RecursionError:
        raise InvalidArgument(_ROOT, _TOO_DEEP) from None


def _dump(shape: Shape, value: object) -> object:
    try:
        # What `load` gave passes unchanged; anything else is refused here and not by a reader of the history.
        return shape.dump(shape.load(value))
    except Mismatch as mismatch:
        raise InvalidArgument(mismatch.path(_ROOT), mismatch.reason) from mismatch.__cause__
    except RecursionError:
        raise InvalidArgument(_ROOT, _TOO_DEEP) from None


# --- descriptions -------------------------------------------------------------------------------------------


def _described(description: object, path: str) -> Shape:
    if not isinstance(description, Mapping):
        raise InvalidArgument(path, f"expected an object, got {description!r}")
    if "object" not in description:
        return ANY
    return _read(description, path, ())


def _read(tree: Any, path: str, outer: tuple[Object, ...]) -> Shape:
    if isinstance(tree, str):
        if tree not in WORDS:
            raise InvalidArgument(path, f"{tree!r} is no type; known: {', '.join(sorted(WORDS))}")
        return WORDS[tree]
    if not isinstance(tree, Mapping):
        raise InvalidArgument(path, f"expected a type, got {tree!r}")
    match dict(tree):
        case {"object": Mapping() as fields, **rest} if set(rest) <= {"optional"}:
            return _read_object(fields, rest.get("optional", []), path, outer)
        case {"map": item, **rest} if set(rest) <= {"keys"}:
            return Map(
                _read(rest.get("keys", "str"), f"{path}.keys", outer), _read(item, f"{path}.map", outer)
            )
        case {"list": item, **rest} if not rest:
            return a_list(_read(item, f"{path}.list", outer))
        case {"set": item, **rest} if not rest:
            return a_set(_read(item, f"{path}.set", outer))
        case {"array": item, **rest} if not rest:
            return an_array(_read(item, f"{path}.array", outer))
        case {"tuple": [*items], **rest} if not rest:
            return Fixed(tuple(_read(item, f"{path}.tuple[{n}]", outer) for n, item in enumerate(items)))
        case {"union": [_, _, *_] as options, **rest} if not rest:
            return OneOf(
                tuple(_read(option, f"{path}.union[{n}]", outer) for n, option in enumerate(options))
            )
        case {"literal": [*values], **rest} if not rest and all(_is_plain(value) for value in values):
            return Choice(tuple((value, value) for value in values))
        case {"enclosing": int() as distance, **rest} if not rest and 0 <= distance < len(outer):
            return outer[-1 - distance]
    raise InvalidArgument(path, f"{tree!r} describes no type")


def _read_object(fields: Mapping[Any, Any], optional: object, path: str, outer: tuple[Object, ...]) -> Object:
    if not isinstance(optional, list) or not all(isinstance(key, str) and key in fields for key in optional):
        raise InvalidArgument(f"{path}.optional", "expected a list of names of fields")
    shape = Object(None)
    found = []
    for key, tree in fields.items():
        if not isinstance(key, str):
            raise InvalidArgument(f"{path}.object", f"{key!r} is not the name of a field")
        found.append(
            Field(key, key, _read(tree, f"{path}.object.{key}", (*outer, shape)), key not in optional)
        )
    shape.complete(tuple(found))
    return shape


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, (str, int, float, bool))


__all__ = ["DescribedPayload", "FieldsPayload", "PayloadType", "UnusablePayload", "payload_type"]
