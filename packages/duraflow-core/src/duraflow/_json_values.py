"""Which plain JSON tree stands for a Python value?

Plain means `None`, `bool`, `int`, `float`, `str`, `list` and `dict` with string keys, of such values that PostgreSQL's
`jsonb` gives back unchanged. Everything else is *tagged*: `{"$": "date", "v": "2024-02-29"}`.

| Python value | JSON |
| --- | --- |
| float that `jsonb` would change: exponent in its text, or -0.0 | `{"$": "float", "v": "1e+22"}` |
| date, aware datetime | `{"$": "date", "v": "…"}`, `{"$": "datetime", "v": "…"}` (ISO 8601) |
| timedelta | `{"$": "timedelta_us", "v": 1500000}` (whole microseconds) |
| Decimal, UUID | `{"$": "decimal", "v": "1.50"}`, `{"$": "uuid", "v": "…"}` |
| bytes | `{"$": "bytes", "v": "…"}` (base64) |
| dict that has a key `"$"` | `{"$": "object", "v": {…}}`, each key that starts with `$` gets one more `$` |
| tuple inside a registered class | `{"$": "tuple", "v": […]}`; anywhere else a list |
| member of a registered enum | `{"$": "enum:Color", "v": "RED"}`; of a flag: its number |
| object of a registered class | `{"$": "class:Order", "v": {"id": 1, …}}` |
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias
from uuid import UUID

import attrs

TAG = "$"
VALUE = "v"

# CPython refuses to turn longer integers into text unless told otherwise; `jsonb` alone would take 131,072 digits.
MAX_INT_DIGITS = 4300
_INT_BOUND = 10**MAX_INT_DIGITS
# Every CPython turns this many digits into text, however low `sys.set_int_max_str_digits` is set.
_INT_ALWAYS_PRINTABLE = 10**640
_INT_SMALL = 2**64
# Strings up to this length are not counted one by one while walking: the finished text is measured anyway.
_SHORT_TEXT = 64
_MICROSECOND = timedelta(microseconds=1)

Encode: TypeAlias = "Callable[[Walk, Any, int], object]"
Decode: TypeAlias = "Callable[[Any], object]"


class Refusal(Exception):
    """A value cannot be stored. On its way up through the containers it learns where the value is."""

    def __init__(self, reason: str, *, whole: bool = False, too_deep: object = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.whole = whole
        self._too_deep = too_deep
        self._trail: list[tuple[object, str]] = []

    def inside(self, container: object, step: str) -> None:
        """Note one step of the way, innermost first."""
        self._trail.append((container, step))

    def locate(self, path: str) -> tuple[str, str]:
        """The path of the culprit, starting with `path`, and the reason."""
        if self.whole:
            return path, self.reason
        seen: set[int] = set()
        for container, step in reversed(self._trail):
            if id(container) in seen:
                return path, _CYCLE
            seen.add(id(container))
            path += step
        if self._too_deep is not None and id(self._too_deep) in seen:
            return path, _CYCLE
        return path, self.reason


_CYCLE = "contains itself; JSON has no cycles: store an id in place of the object"


def member(key: str) -> str:
    """One step of a path: `.price`, or `["unit price"]` for a key that is no identifier."""
    if key.isidentifier():
        return f".{key}"
    return f"[{json.dumps(key if len(key) <= 40 else key[:39] + '…')}]"


class Walk:
    """One pass over one value: checks it and gives its plain tree."""

    __slots__ = ("_bytes_left", "_encoders", "_in_class", "_max_bytes", "_max_depth", "_short")

    def __init__(
        self, encoders: Mapping[type, Encode], max_bytes: int, max_depth: int, *, texts: bool = False
    ) -> None:
        self._encoders = encoders
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        # A lower bound of the size is kept on the way, so that a small value whose parts are shared many times is
        # refused before it fills the memory.
        self._bytes_left = max_bytes
        # With `texts` every string is looked at. It is slow, so the caller asks for it only when the text is bad.
        self._short = -1 if texts else _SHORT_TEXT
        self._in_class = False

    def plain(self, value: object, depth: int = 0) -> object:
        """The plain tree of `value`; `value` itself when nothing had to be converted.

        Raises:
            Refusal: the value cannot be stored.
        """
        encode = self._encoders.get(type(value)) or _encoder_of_subclass(value)
        return encode(self, value, depth)

    def count(self, size: int) -> None:
        """Count bytes that the value takes at least."""
        self._bytes_left -= size
        if self._bytes_left < 0:
            raise Refusal(too_large(f"more than {self._max_bytes:,}", self._max_bytes), whole=True)

    def enter(self, container: object, depth: int, size: int) -> None:
        """Begin a container at `depth` with `size` items."""
        if depth >= self._max_depth:
            raise Refusal(
                f"is nested more than {self._max_depth} levels deep (Limits.max_depth): flatten it, "
                "or store the inner part elsewhere and keep its id",
                too_deep=container,
            )
        self.count(2 * size + 1)

    def text(self, text: str) -> None:
        """Count one string; look into it when asked to."""
        self.count(len(text))
        if self._short < 0:
            problem = text_problem(text)
            if problem:
                raise Refusal(problem)

    def walk_dict(self, value: Mapping[str, Any], depth: int, origin: object = None) -> object:
        """The plain tree of a dict; `origin` is the mapping it was made from, if any."""
        short = self._short
        for key in value:
            if type(key) is not str:
                return self.walk_mapping(value, depth)
            if len(key) > short:
                self._key(key)
        self.enter(value if origin is None else origin, depth, len(value))
        encoders = self._encoders
        inner = depth + 1
        plain: Any = value
        key = ""
        try:
            for key, item in value.items():
                kind = type(item)
                if kind is str:
                    if len(item) > short:
                        self.text(item)
                elif item is not None and kind is not bool:
                    encode = encoders.get(kind) or _encoder_of_subclass(item)
                    new = encode(self, item, inner)
                    if new is not item:
                        if plain is value:
                            plain = dict(value)
                        plain[key] = new
        except Refusal as refusal:
            refusal.inside(value if origin is None else origin, member(key))
            raise
        if TAG in plain:
            escaped = {TAG + key if key.startswith(TAG) else key: item for key, item in plain.items()}
            return {TAG: "object", VALUE: escaped}
        return plain

    def walk_list(self, value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
        """The plain list of a list's or tuple's items."""
        self.enter(value, depth, len(value))
        encoders = self._encoders
        short = self._short
        inner = depth + 1
        plain: list[Any] = value if type(value) is list else list(value)
        index = 0
        try:
            for index, item in enumerate(value):
                kind = type(item)
                if kind is str:
                    if len(item) > short:
                        self.text(item)
                elif item is not None and kind is not bool:
                    encode = encoders.get(kind) or _encoder_of_subclass(item)
                    new = encode(self, item, inner)
                    if new is not item:
                        if plain is value:
                            plain = list(value)
                        plain[index] = new
        except Refusal as refusal:
            refusal.inside(value, f"[{index}]")
            raise
        return plain

    def walk_tuple(self, value: tuple[Any, ...], depth: int) -> object:
        """A list, but inside a registered class, where a list would make the object unequal, a tagged one."""
        items = self.walk_list(value, depth)
        return {TAG: "tuple", VALUE: items} if self._in_class else items

    def walk_class(self, value: object, names: Mapping[str, str], tag: str, depth: int) -> object:
        """The plain tree of a registered class; `names` says under which key each attribute is kept."""
        self.enter(value, depth, len(names))
        plain: dict[str, object] = {}
        outside, self._in_class = self._in_class, True
        name = ""
        try:
            for name, key in names.items():
                try:
                    item = getattr(value, name)
                except AttributeError:
                    raise Refusal("was never set; give the attribute a value first") from None
                plain[key] = self.plain(item, depth + 1)
        except Refusal as refusal:
            refusal.inside(value, member(name))
            raise
        finally:
            self._in_class = outside
        return {TAG: tag, VALUE: plain}

    def _key(self, key: str) -> None:
        try:
            self.text(key)
        except Refusal as refusal:
            if not refusal.whole:
                refusal.reason = f"has a key {json.dumps(key[:40])} that {refusal.reason}"
            raise

    def walk_mapping(self, value: Mapping[Any, object], depth: int) -> object:
        """The plain tree of a mapping that is no dict, or whose keys are not exactly `str`."""
        plain: dict[str, object] = {}
        for key, item in value.items():
            if isinstance(key, Enum):
                raise Refusal(
                    f"has the enum member {key!r} as a key; JSON keys are strings: use its name or value"
                )
            if not isinstance(key, str):
                raise Refusal(
                    f"has the key {key!r} of type {type(key).__name__}; JSON keys are strings: use str(key)"
                )
            text = str.__str__(key)
            if text in plain:
                raise Refusal(
                    f"has two keys that are both written {json.dumps(text[:40])}: rename one of them"
                )
            plain[text] = item
        return self.walk_dict(plain, depth, value)


def too_large(size: str, limit: int) -> str:
    """Why a value is refused that takes `size` bytes."""
    return (
        f"takes {size} bytes as JSON, the limit is {limit:,} (Limits.max_bytes): "
        "store the large part elsewhere and keep a reference to it"
    )


def text_problem(text: str) -> str | None:
    """Why PostgreSQL cannot keep `text` in `jsonb`; None if it can."""
    if "\0" in text:
        return "contains the character NUL, which PostgreSQL cannot store: remove it, or store bytes"
    try:
        text.encode()
    except UnicodeEncodeError as error:
        bad = f"U+{ord(text[error.start]):04X}"
        return f"contains the lone surrogate {bad}, which is not valid Unicode: decode the text right, or store bytes"
    return None


def _tagged(tag: str, value: object) -> object:
    return {TAG: tag, VALUE: value}


def _as_is(_walk: Walk, value: object, _depth: int) -> object:
    return value


def _int(walk: Walk, value: int, _depth: int) -> object:
    if -_INT_SMALL < value < _INT_SMALL:
        return value
    if not -_INT_BOUND < value < _INT_BOUND:
        raise Refusal(f"is an integer of more than {MAX_INT_DIGITS} digits: store it as text or bytes")
    if not -_INT_ALWAYS_PRINTABLE < value < _INT_ALWAYS_PRINTABLE:
        try:
            int.__repr__(value)
        except ValueError as error:
            raise Refusal(
                f"is too long an integer for this interpreter ({error}): store it as bytes"
            ) from None
    walk.count(value.bit_length() // 4)  # a decimal digit holds less than four bits
    return value


def _float(_walk: Walk, value: float, _depth: int) -> object:
    # Exactly the range in which repr() writes no exponent. `jsonb` turns 1e+22 into an integer and -0.0 into 0.0.
    if 1e-4 <= value < 1e16 or -1e16 < value <= -1e-4:
        return value
    if value == 0.0 and math.copysign(1.0, value) > 0.0:
        return value
    if not math.isfinite(value):
        raise Refusal(f"is {value!r}, which JSON does not have: use None or a string")
    return _tagged("float", repr(value))


def _str(walk: Walk, value: str, _depth: int) -> object:
    walk.text(value)
    return value


def _datetime(_walk: Walk, value: datetime, _depth: int) -> object:
    text = datetime.isoformat(value)
    if value.utcoffset() is None:
        raise Refusal(
            f"is the datetime {text} without a time zone: add one, for example value.replace(tzinfo=timezone.utc)"
        )
    return _tagged("datetime", text)


def _date(_walk: Walk, value: date, _depth: int) -> object:
    return _tagged("date", date.isoformat(value))


def _timedelta(_walk: Walk, value: timedelta, _depth: int) -> object:
    return _tagged("timedelta_us", value // _MICROSECOND)


def _decimal(walk: Walk, value: Decimal, _depth: int) -> object:
    if not value.is_finite():
        raise Refusal(f"is the Decimal {value}, which is not a finite number: use None or a string")
    text = Decimal.__str__(value)
    walk.count(len(text))
    return _tagged("decimal", text)


def _uuid(_walk: Walk, value: UUID, _depth: int) -> object:
    return _tagged("uuid", UUID.__str__(value))


def _bytes(walk: Walk, value: bytes, _depth: int) -> object:
    walk.count(len(value))
    return _tagged("bytes", base64.b64encode(value).decode("ascii"))


ENCODERS: Mapping[type, Encode] = {
    type(None): _as_is,
    bool: _as_is,
    int: _int,
    float: _float,
    str: _str,
    dict: Walk.walk_dict,
    list: Walk.walk_list,
    tuple: Walk.walk_tuple,
    datetime: _datetime,
    date: _date,
    timedelta: _timedelta,
    Decimal: _decimal,
    UUID: _uuid,
    bytes: _bytes,
}


def _sub_datetime(walk: Walk, value: datetime, depth: int) -> object:
    # A subclass may hold more than a datetime (nanoseconds, "not a time"); then its own text differs.
    text = datetime.isoformat(value)
    if value.isoformat() != text:
        raise Refusal(f"is {value!r}, which a datetime cannot hold exactly: convert it to a datetime first")
    return _datetime(walk, value, depth)


def _sub_timedelta(walk: Walk, value: timedelta, depth: int) -> object:
    exact = timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds)
    if exact != value:
        raise Refusal(f"is {value!r}, which a timedelta cannot hold exactly: convert it to a timedelta first")
    return _timedelta(walk, exact, depth)


# In this order: a datetime is a date.
_SUBCLASSES: tuple[tuple[type, Encode], ...] = (
    (str, lambda walk, value, depth: _str(walk, str.__str__(value), depth)),
    (int, lambda walk, value, depth: _int(walk, int.__int__(value), depth)),
    (float, lambda walk, value, depth: _float(walk, float.__float__(value), depth)),
    (list, Walk.walk_list),
    (tuple, Walk.walk_tuple),
    (datetime, _sub_datetime),
    (date, _date),
    (timedelta, _sub_timedelta),
    (Decimal, _decimal),
    (UUID, _uuid),
    (bytes, _bytes),
    (Mapping, Walk.walk_mapping),
)

_REMEDIES: Mapping[str, str] = {
    "set": "use a sorted list",
    "frozenset": "use a sorted list",
    "bytearray": "use bytes(value)",
    "memoryview": "use bytes(value)",
    "time": "use value.isoformat()",
    "generator": "use list(value)",
}


def _encoder_of_subclass(value: object) -> Encode:
    """How to encode a value whose exact class is not known: as its base class, where that loses nothing."""
    kind = type(value)
    name = kind.__qualname__
    register = f"register it with Codec(types=[{name}])"
    if isinstance(value, Enum):
        raise Refusal(f"is a member of the enum {name}: {register}, or use its value")
    if attrs.has(kind) or is_dataclass(kind):
        raise Refusal(f"is an object of the class {name}: {register}")
    for base, encode in _SUBCLASSES:
        if isinstance(value, base):
            return encode
    remedy = _REMEDIES.get(
        name, "convert it to JSON values first, or make its class an attrs class and " + register
    )
    raise Refusal(f"is of the type {name}, which JSON does not have: {remedy}")


def _decode_object(value: dict[str, object]) -> object:
    return {key[1:] if key.startswith(TAG) else key: item for key, item in value.items()}


def _decode_list(value: object) -> object:
    if not isinstance(value, list):
        raise TypeError("a tuple is stored as a list")
    return tuple(value)


DECODERS: Mapping[str, Decode] = {
    "float": float,
    "datetime": datetime.fromisoformat,
    "date": date.fromisoformat,
    "timedelta_us": lambda us: timedelta(microseconds=us),
    "decimal": Decimal,
    "uuid": UUID,
    "bytes": lambda text: base64.b64decode(text, validate=True),
    "object": _decode_object,
    "tuple": _decode_list,
}
