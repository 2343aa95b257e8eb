"""What does a payload look like, piece by piece: how is each piece checked, stored and described?

A *shape* loads (checks what a caller gave, gives the typed value), dumps (gives plain values for the codec)
and describes itself as JSON, from which `duraflow.definition.payloads` builds it again without the class.

| shape | description |
| --- | --- |
| str, int, float, bool, None | `"str"`, `"int"`, `"float"`, `"bool"`, `"none"` |
| Decimal, UUID, bytes | `"decimal"`, `"uuid"`, `"bytes"` |
| date, datetime, timedelta | `"date"`, `"datetime"`, `"timedelta"` |
| Any | `"any"` |
| list or Sequence (a list), set | `{"list": T}`, `{"set": T}` |
| tuple of any length, of fixed length | `{"array": T}`, `{"tuple": [T, …]}` |
| dict or Mapping | `{"map": T}`, with keys other than `str` `{"map": T, "keys": K}` |
| Literal, Enum | `{"literal": [value, …]}` |
| Optional, Union | `{"union": [T, …]}` |
| attrs class, dataclass, TypedDict | `{"object": {field: T, …}, "optional": [field, …]}` |
| the object around this one, n levels up | `{"enclosing": n}` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, Protocol
from uuid import UUID

import attrs


class Mismatch(Exception):
    """A value does not fit its shape. On its way up it learns where the value is."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self._trail: list[str] = []

    def inside(self, step: str) -> None:
        self._trail.append(step)

    def path(self, root: str) -> str:
        return root + "".join(reversed(self._trail))


class Shape(Protocol):
    """One piece of a payload."""

    def load(self, value: Any, /) -> Any:
        """The typed value of `value`; `value` itself when nothing had to be converted.

        Raises:
            Mismatch: it does not fit.
        """
        ...

    def dump(self, value: Any, /) -> Any:
        """The value as the codec can store it. Only for what `load` gave.

        Raises:
            Mismatch: it could not be loaded again as the same value.
        """
        ...

    def describe(self, outer: tuple[object, ...], /) -> Any:
        """JSON that says the same; `outer` are the object shapes around this one, innermost last."""
        ...

    def expected(self) -> str:
        """What to say after "expected"."""
        ...


_HINTS: Mapping[str, str] = {
    "decimal": 'give Decimal("…")',
    "uuid": 'give UUID("…")',
    "date": "give a date without time of day",
    "datetime": "give a datetime with a time zone",
    "timedelta": "give a timedelta",
    "bytes": "encode it first",
    "bool": "give True or False",
    "str": "convert it with str(…)",
    "int": "convert it with int(…)",
    "float": "convert it with float(…)",
    "none": "give None",
}


def wrong(expected: str, value: object, hint: str = "correct the value or the declared type") -> Mismatch:
    """The complaint about a value of another type."""
    return Mismatch(f"expected {expected}, got {type(value).__name__}; {hint}")


@attrs.frozen
class Scalar:
    """A value without parts. Enum members that are text or numbers stand for those."""

    word: str
    kind: type
    accepts: tuple[type, ...]
    refuses: tuple[type, ...] = ()

    def load(self, value: Any, /) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if not isinstance(value, self.accepts) or isinstance(value, self.refuses):
            raise wrong(self.expected(), value, _HINTS[self.word])
        return value

    def dump(self, value: Any, /) -> Any:
        return value

    def describe(self, _outer: tuple[object, ...], /) -> Any:
        return self.word

    def expected(self) -> str:
        return "None" if self.word == "none" else self.kind.__name__


@attrs.frozen
class Anything:
    """No check: the codec says what can be stored."""

    def load(self, value: Any, /) -> Any:
        return value

    def dump(self, value: Any, /) -> Any:
        return value

    def describe(self, _outer: tuple[object, ...], /) -> Any:
        return "any"

    def expected(self) -> str:
        return "anything"


ANY = Anything()
NONE = Scalar("none", type(None), (type(None),))
STR = Scalar("str", str, (str,))

# A bool is an int for Python, and a datetime a date; whoever declares one does not mean the other.
SCALARS: Mapping[type, Scalar] = {
    scalar.kind: scalar
    for scalar in (
        STR,
        Scalar("int", int, (int,), (bool,)),
        Scalar("float", float, (float, int), (bool,)),
        Scalar("bool", bool, (bool,)),
        Scalar("decimal", Decimal, (Decimal,)),
        Scalar("uuid", UUID, (UUID,)),
        Scalar("bytes", bytes, (bytes,)),
        Scalar("date", date, (date,), (datetime,)),
        Scalar("datetime", datetime, (datetime,)),
        Scalar("timedelta", timedelta, (timedelta,)),
        NONE,
    )
}

WORDS: Mapping[str, Shape] = {"any": ANY, **{scalar.word: scalar for scalar in SCALARS.values()}}


@attrs.frozen
class Sequence:
    """A list, set, or tuple of any length."""

    item: Shape
    word: str
    make: Callable[[Any], Any]
    exact: tuple[type, ...]

    def load(self, value: Any, /) -> Any:
        accepted = (list, tuple, set, frozenset) if self.word == "set" else (list, tuple)
        if not isinstance(value, accepted):
            raise wrong(self.expected(), value)
        loaded = [_part(self.item.load, item, f"[{index}]") for index, item in enumerate(value)]
        if type(value) in self.exact and all(map(_same, value, loaded)):
            return value
        try:
            return self.make(loaded)
        except TypeError:
            raise Mismatch("has items that cannot be in a set; declare a list") from None

    def dump(self, value: Any, /) -> Any:
        dumped = [_part(self.item.dump, item, f"[{index}]") for index, item in enumerate(value)]
        return (
            sorted(dumped, key=lambda item: (type(item).__name__, _sortable(item)))
            if self.word == "set"
            else dumped
        )

    def describe(self, outer: tuple[object, ...], /) -> Any:
        return {self.word: self.item.describe(outer)}

    def expected(self) -> str:
        return f"a {'tuple' if self.word == 'array' else self.word}"


def _sortable(item: Any) -> Any:
    return item if isinstance(item, (str, int, float, Decimal, bytes)) else repr(item)


def _same(one: object, other: object) -> bool:
    return one is other


def a_list(item: Shape) -> Sequence:
    """Shape of a list."""
    return Sequence(item, "list", list, (list,))


def a_set(item: Shape, make: type = frozenset) -> Sequence:
    """Shape of a set; `make` says which kind."""
    return Sequence(item, "set", make, (make,))


def an_array(item: Shape) -> Sequence:
    """Shape of a tuple of any length."""
    return Sequence(item, "array", tuple, (tuple,))


@attrs.frozen
class Fixed:
    """A tuple of fixed length."""

    items: tuple[Shape, ...]

    def load(self, value: Any, /) -> Any:
        if not isinstance(value, (list, tuple)):
            raise wrong(self.expected(), value)
        if len(value) != len(self.items):
            raise Mismatch(f"expected {self.expected()}, got {len(value)}")
        loaded = tuple(_part(self.items[index].load, item, f"[{index}]") for index, item in enumerate(value))
        return value if type(value) is tuple and all(map(_same, value, loaded)) else loaded

    def dump(self, value: Any, /) -> Any:
        return [_part(self.items[index].dump, item, f"[{index}]") for index, item in enumerate(value)]

    def describe(self, outer: tuple[object, ...], /) -> Any:
        return {"tuple": [item.describe(outer) for item in self.items]}

    def expected(self) -> str:
        return f"a tuple of {len(self.items)}"


@attrs.frozen
class Map:
    """A mapping; its keys are stored as text."""

    key: Shape
    item: Shape

    def load(self, value: Any, /) -> Any:
        if not isinstance(value, Mapping):
            raise wrong(self.expected(), value)
        loaded = {}
        for key, item in value.items():
            typed = _part(self.key.load, key, f"[{key!r}]")
            loaded[typed] = _part(self.item.load, item, f"[{key!r}]")
        if (
            type(value) is dict
            and all(map(_same, value, loaded))
            and all(map(_same, value.values(), loaded.values()))
        ):
            return value
        return loaded

    def dump(self, value: Any, /) -> Any:
        return {
            _part(self.key.dump, key, f"[{key!r}]"): _part(self.item.dump, item, f"[{key!r}]")
            for key, item in value.items()
        }

    def describe(self, outer: tuple[object, ...], /) -> Any:
        described = {"map": self.item.describe(outer)}
        return described if self.key == STR else {**described, "keys": self.key.describe(outer)}

    def expected(self) -> str:
        return "a mapping"


@attrs.frozen
class Choice:
    """One of some values: a Literal, or the values of an Enum.

    Attributes:
        members: (typed value, stored value) pairs.
        enum: the class whose members are accepted themselves too; a flag also gives combinations.
    """

    members: tuple[tuple[Any, Any], ...]
    enum: type[Enum] | None = None

    def made_from(self, value: object) -> bool:
        return self.enum is not None and isinstance(value, self.enum)

    def load(self, value: Any, /) -> Any:
        for typed, stored in self.members:
            if value is typed:
                return value
            if type(value) is type(stored) and value == stored:
                return typed
        if isinstance(value, Enum) and self.enum is None:
            return self.load(value.value)
        if self.enum is not None and issubclass(self.enum, Flag) and type(value) in (int, self.enum):
            try:
                return self.enum(value)
            except ValueError:
                pass
        raise Mismatch(f"expected {self.expected()}, got {value!r}")

    def dump(self, value: Any, /) -> Any:
        if isinstance(value, Enum):
            return value.value
        return value

    def describe(self, _outer: tuple[object, ...], /) -> Any:
        if self.enum is not None and issubclass(self.enum, Flag):
            return "int"
        return {"literal": [stored for _, stored in self.members]}

    def expected(self) -> str:
        known = ", ".join(repr(stored) for _, stored in self.members[:12])
        return f"one of {known}{', …' if len(self.members) > 12 else ''}"


@attrs.frozen
class OneOf:
    """A value that has one of several shapes; the first that fits counts."""

    options: tuple[Shape, ...]

    def load(self, value: Any, /) -> Any:
        return self._choose(value)[1]

    def _choose(self, value: Any) -> tuple[Shape, Any]:
        """The option that fits, and what it made of the value."""
        # An object of a declared class is what it is, whatever else could read its fields.
        for option in self.options:
            if isinstance(option, (Object, Choice)) and option.made_from(value):
                return option, option.load(value)
        failures = []
        for option in self.options:
            try:
                return option, option.load(value)
            except Mismatch as mismatch:
                if option is not NONE:
                    failures.append(mismatch)
        # With one real option its own complaint is the clearest, as is a complaint from deeper inside.
        deeper = [failure for failure in failures if failure.path("")]
        if len(failures) == 1 and (deeper or isinstance(value, Mapping)):
            raise failures[0]
        if len(deeper) == 1:
            raise deeper[0]
        raise wrong(self.expected(), value)

    def dump(self, value: Any, /) -> Any:
        option, typed = self._choose(value)
        dumped = option.dump(typed)
        # Two options may look the same once stored (an Enum and `str`, two classes with the same fields).
        reader, back = self._choose(dumped)
        if reader is option or (type(back) is type(typed) and back == typed):
            return dumped
        raise Mismatch(
            f"once stored, this {type(value).__name__} could not be told from the other kinds declared here "
            f"({self.expected()}); give each class a field with a Literal of its own, or declare the "
            "stricter type first"
        )

    def describe(self, outer: tuple[object, ...], /) -> Any:
        return {"union": [option.describe(outer) for option in self.options]}

    def expected(self) -> str:
        return " or ".join(option.expected() for option in self.options)


@attrs.frozen
class Field:
    """One field of an object: its key in mappings, its attribute, and whether it can be left out."""

    key: str
    attribute: str
    shape: Shape
    required: bool


@attrs.define(eq=False)
class Object:
    """Named fields: of a class, or of a mapping (a TypedDict, or any payload that is read without its class).

    Mutable only while it is built: the fields of a class may speak of the class itself.
    """

    cls: type | None
    fields: tuple[Field, ...] = ()
    known: frozenset[str] = frozenset()

    def complete(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self.known = frozenset(field.key for field in fields)

    def made_from(self, value: object) -> bool:
        return self.cls is not None and type(value) is self.cls

    def load(self, value: Any, /) -> Any:
        if self.cls is not None and isinstance(value, self.cls):
            return self._load_object(value, self.cls)
        if not isinstance(value, Mapping):
            fields = ", ".join(field.key for field in self.fields) or "it has none"
            raise wrong(
                self.expected(),
                value,
                f"give one, or a mapping of its fields ({fields})" if self.cls else "give one",
            )
        unknown = [key for key in value if key not in self.known]
        missing = [field.key for field in self.fields if field.required and field.key not in value]
        if unknown:
            known = ", ".join(field.key for field in self.fields) or "none"
            raise Mismatch(f"unknown field {_listed(unknown)}; {self.expected()} has: {known}")
        if missing:
            raise Mismatch(f"missing field {_listed(missing)}; {self.expected()} needs it")
        loaded = {
            field.key: _part(field.shape.load, value[field.key], f".{field.key}")
            for field in self.fields
            if field.key in value
        }
        if self.cls is None:
            unchanged = type(value) is dict and all(value[key] is item for key, item in loaded.items())
            return value if unchanged else loaded
        return self._make(self.cls, loaded)

    def _load_object(self, value: Any, cls: type) -> Any:
        if type(value) is not cls:
            raise Mismatch(
                f"expected {cls.__name__}, got its subclass {type(value).__name__}, which could not be "
                "restored; declare the subclass"
            )
        loaded = {}
        changed = False
        for field in self.fields:
            item = _attribute(value, field.attribute)
            loaded[field.key] = _part(field.shape.load, item, f".{field.key}")
            changed = changed or loaded[field.key] is not item
        return self._make(cls, loaded) if changed else value

    def _make(self, cls: type, fields: dict[str, Any]) -> Any:
        try:
            return cls(**fields)
        except (TypeError, ValueError) as error:
            raise Mismatch(f"{cls.__name__} refuses these values: {error}") from error

    def dump(self, value: Any, /) -> Any:
        if self.cls is None:
            present = {field.key: (field, value[field.key]) for field in self.fields if field.key in value}
        else:
            present = {field.key: (field, _attribute(value, field.attribute)) for field in self.fields}
        return {key: _part(field.shape.dump, item, f".{key}") for key, (field, item) in present.items()}

    def describe(self, outer: tuple[object, ...], /) -> Any:
        for distance, around in enumerate(reversed(outer)):
            if around is self:
                return {"enclosing": distance}
        inner = (*outer, self)
        described: dict[str, Any] = {
            "object": {field.key: field.shape.describe(inner) for field in self.fields}
        }
        optional = sorted(field.key for field in self.fields if not field.required)
        return {**described, "optional": optional} if optional else described

    def expected(self) -> str:
        return self.cls.__name__ if self.cls is not None else "a mapping with these fields"


def _attribute(value: object, name: str) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        raise Mismatch(f"its attribute {name!r} was never set; give it a value") from None


def _listed(keys: list[Any]) -> str:
    return ", ".join(repr(key) for key in keys[:5]) + (", …" if len(keys) > 5 else "")


def _part(act: Callable[[Any], Any], value: Any, step: str) -> Any:
    try:
        return act(value)
    except Mismatch as mismatch:
        mismatch.inside(step)
        raise
