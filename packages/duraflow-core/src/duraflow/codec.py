"""How do Python values become JSON text that PostgreSQL keeps in `jsonb`, and Python values again?

>>> from datetime import date
>>> codec = Codec()
>>> codec.encode({"due": date(2024, 2, 29), "total": 1.5}, path="context")
'{"due":{"$":"date","v":"2024-02-29"},"total":1.5}'
>>> codec.decode('{"due":{"$":"date","v":"2024-02-29"},"total":1.5}')
{'due': datetime.date(2024, 2, 29), 'total': 1.5}

What cannot be stored is refused before anything is sent, with the place where it is:

>>> codec.encode({"lines": [{"price": {1, 2}}]}, path="order")
Traceback (most recent call last):
    ...
duraflow.errors.InvalidArgument: order.lines[0].price: is of the type set, which JSON does not have: use a sorted list
"""

from __future__ import annotations

import dataclasses
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, Flag
from types import MappingProxyType
from typing import Any

import attrs

from duraflow._json_values import (
    DECODERS,
    ENCODERS,
    TAG,
    VALUE,
    Decode,
    Encode,
    Refusal,
    Walk,
    text_problem,
    too_large,
)
from duraflow.errors import InvalidArgument

__all__ = ["Codec", "Limits", "canonical_json", "compact_json"]

# `jsonb` keeps at most this many bytes in one object or array.
_JSONB_MAX_BYTES = 268_435_455
# A registered class takes two levels of JSON; deeper than this, json itself meets Python's recursion limit.
_MAX_DEPTH = 256


def _writer(**options: Any) -> Callable[[object], str]:
    """`JSONEncoder(**options).encode`, but the C encoder is made once and not for every value.

    That halves the time for a small value. Where json has no C encoder of this form, its own method does.
    """
    encoder = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), **options)
    make = getattr(json.encoder, "c_make_encoder", None)
    try:
        # No memory of containers: what contains itself is refused by the walk before, and nested too deep.
        write = make(  # type: ignore[misc]  # None, or one of another form, is what `except` is for
            None, encoder.default, json.encoder.encode_basestring, None, ":", ",", encoder.sort_keys, False, False
        )  # fmt: skip
        if "".join(write({"b": [1.5, "é"], "a": None}, 0)) != encoder.encode({"b": [1.5, "é"], "a": None}):
            return encoder.encode
    except TypeError:
        return encoder.encode
    return lambda tree: "".join(write(tree, 0))


compact_json = _writer(check_circular=False)
"""The text of a plain tree as it is stored: no spaces, keys as they come."""
_canonical = _writer(sort_keys=True, check_circular=False)


def canonical_json(tree: object) -> str:
    """The one text of a plain tree: sorted keys, no spaces. Hash this, never the text that `encode` gives.

    >>> canonical_json({"b": [1, 2.0], "a": "é"})
    '{"a":"é","b":[1,2.0]}'
    """
    return _canonical(tree)


def _in_range(low: int, high: int) -> Callable[[Any, attrs.Attribute[int], int], None]:
    def check(_instance: object, attribute: attrs.Attribute[int], value: int) -> None:
        if type(value) is not int or not low <= value <= high:
            raise InvalidArgument(attribute.name, f"must be an int from {low:,} to {high:,}, not {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Limits:
    """How large one stored value may be.

    Attributes:
        max_bytes: size of its JSON text in UTF-8 bytes, 1 to 268,435,455.
        max_depth: containers inside containers, 1 to 256; `[1]` is one level deep.
    """

    max_bytes: int = attrs.field(default=1_048_576, validator=_in_range(1, _JSONB_MAX_BYTES))
    max_depth: int = attrs.field(default=64, validator=_in_range(1, _MAX_DEPTH))


def _named(types: Mapping[str, type] | Iterable[type]) -> Mapping[str, type]:
    if isinstance(types, Mapping):
        pairs = list(types.items())
    else:
        pairs = [(getattr(cls, "__name__", repr(cls)), cls) for cls in types]
    named: dict[str, type] = {}
    for name, cls in pairs:
        if not isinstance(name, str) or not name or text_problem(name):
            raise InvalidArgument("types", f"{name!r} cannot be the name of a type: use a non-empty string")
        if named.setdefault(name, cls) is not cls:
            raise InvalidArgument(
                "types",
                f"{named[name].__module__}.{named[name].__qualname__} and {cls.__module__}.{cls.__qualname__} "
                f"are both named {name!r}: give a mapping with a name for each",
            )
    return MappingProxyType(named)


@attrs.frozen(eq=False)
class Codec:
    """Values to JSON text and back: `decode(encode(x)) == x`, with lists for tuples, also after a stay in `jsonb`.

    Takes None, bool, int, finite float, str, list, tuple, mappings with string keys, date, datetime with a time zone
    (its offset is kept), timedelta, finite Decimal, UUID, bytes, and objects of registered types. A subclass of a
    built-in type comes back as the built-in type. Immutable, safe to share between threads.

    Attributes:
        types: enums, attrs classes and dataclasses that values may contain. Each is stored under its `__name__`, so
            renaming one makes stored values unreadable; to keep them readable give a mapping of names. A class with
            several names is written under the first and read under all.
        limits: bounds of one value.

    >>> import attrs
    >>> @attrs.frozen
    ... class Line:
    ...     article: str
    ...     tags: tuple[str, ...] = ()
    >>> codec = Codec(types=[Line])
    >>> codec.copy({"line": Line("tea", ("hot",))})
    {'line': Line(article='tea', tags=('hot',))}
    """

    types: Mapping[str, type] = attrs.field(default=(), converter=_named, kw_only=True)
    limits: Limits = attrs.field(
        factory=Limits, kw_only=True, validator=attrs.validators.instance_of(Limits), repr=True
    )
    _encoders: Mapping[type, Encode] = attrs.field(init=False, repr=False)
    _decoders: Mapping[str, Decode] = attrs.field(init=False, repr=False)
    _read_tagged: json.JSONDecoder = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        encoders: dict[type, Encode] = dict(ENCODERS)
        decoders: dict[str, Decode] = dict(DECODERS)
        for name, cls in self.types.items():
            tag, encode, decode = _registration(name, cls)
            encoders.setdefault(cls, encode)
            decoders[tag] = decode
        object.__setattr__(self, "_encoders", encoders)
        object.__setattr__(self, "_decoders", decoders)
        object.__setattr__(self, "_read_tagged", _decoder(self._untag))

    def encode(self, value: object, *, path: str) -> str:
        """Compact JSON text of `value`.

        Args:
            value: any value that the class docstring names, nested as you like.
            path: what to call the value in an error, for example `"context"`.

        Raises:
            InvalidArgument: the value cannot be stored; `argument` is the path inside the value.
        """
        return self._checked(value, path)[1]

    def to_plain(self, value: object, *, path: str) -> object:
        """The plain JSON tree of `value`, to be embedded in a larger document; shares what needed no conversion.

        Raises:
            InvalidArgument: as for `encode`.
        """
        return self._checked(value, path)[0]

    def decode(self, text: str) -> object:
        """The value that was encoded as `text`, new and independent.

        Raises:
            InvalidArgument: `text` is no JSON, or holds something that this codec does not know.
        """
        # Most values hold no tag; a plain read then takes no Python call per object.
        tagged = '"$"' in text or "\\u0024" in text
        reader = self._read_tagged if tagged else _read_plain
        text = text.lstrip()
        try:
            value: object
            value, end = reader.raw_decode(text)
            return value if end == len(text) else reader.decode(text)
        except InvalidArgument:
            raise
        except (ValueError, RecursionError) as error:
            raise InvalidArgument(_STORED, f"is not JSON that a codec wrote: {error}") from error

    def from_plain(self, tree: object) -> object:
        """The value of a plain tree, new and independent of `tree`.

        Raises:
            InvalidArgument: as for `decode`.
        """
        # The C reader and writer together are faster than a walk in Python, and there is one way to read.
        try:
            text = compact_json(tree)
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidArgument(_STORED, f"is not a plain JSON tree: {error}") from error
        return self.decode(text)

    def copy(self, value: object, *, path: str = "value") -> object:
        """What a store would give back for `value`.

        Raises:
            InvalidArgument: as for `encode`.
        """
        return self.decode(self.encode(value, path=path))

    def _checked(self, value: object, path: str) -> tuple[object, str]:
        limits = self.limits
        try:
            tree = Walk(self._encoders, limits.max_bytes, limits.max_depth).plain(value)
            text = compact_json(tree)
            # A backslash in the value can look the same in the text, hence the second look.
            if "\\u0000" in text:
                self._look_at_texts(value)
            if text.isascii():
                size = len(text)
            else:
                try:
                    size = len(text.encode())
                except UnicodeEncodeError:
                    self._look_at_texts(value)
                    raise
            if size > limits.max_bytes:
                raise Refusal(too_large(f"{size:,}", limits.max_bytes), whole=True)
        except Refusal as refusal:
            raise InvalidArgument(*refusal.locate(path)) from None
        return tree, text

    def _look_at_texts(self, value: object) -> None:
        Walk(self._encoders, self.limits.max_bytes, self.limits.max_depth, texts=True).plain(value)

    def _untag(self, found: dict[str, Any]) -> object:
        if TAG not in found:
            return found
        tag = found[TAG]
        if len(found) != 2 or VALUE not in found or not isinstance(tag, str):
            raise InvalidArgument(
                _STORED, f'has an object with the key "{TAG}" that no codec wrote: {sorted(found)}'
            )
        decode = self._decoders.get(tag)
        if decode is None:
            kind, _, name = tag.partition(":")
            remedy = (
                f"register the type with Codec(types=[{name}])"
                if name and kind in ("enum", "class")
                else "it was written by a newer version or by hand"
            )
            raise InvalidArgument(_STORED, f"has the unknown tag {tag!r}: {remedy}")
        try:
            return decode(found[VALUE])
        except InvalidArgument:
            raise
        except Exception as error:
            raise InvalidArgument(
                _STORED, f"tagged {tag!r} cannot be read: {type(error).__name__}: {error}"
            ) from error


_STORED = "stored value"


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _decoder(untag: Callable[[dict[str, Any]], object] | None) -> json.JSONDecoder:
    return json.JSONDecoder(object_hook=untag, parse_constant=_refuse_constant)


_read_plain = _decoder(None)


def _registration(name: str, cls: type) -> tuple[str, Encode, Decode]:
    """The tag of a registered type, how to write it and how to read it."""
    if isinstance(cls, type):
        if issubclass(cls, Flag):
            return _flag(name, cls)
        if issubclass(cls, Enum):
            return _enum(name, cls)
        if attrs.has(cls):
            return _class(
                name,
                cls,
                [(field.name, field.alias or field.name, field.init) for field in attrs.fields(cls)],
            )
        if dataclasses.is_dataclass(cls):
            return _class(
                name, cls, [(field.name, field.name, field.init) for field in dataclasses.fields(cls)]
            )
    raise InvalidArgument("types", f"{cls!r} is no enum, attrs class or dataclass")


def _enum(name: str, cls: type[Enum]) -> tuple[str, Encode, Decode]:
    tag = f"enum:{name}"
    # Names, for they are strings whatever the values are; `__members__` also knows the aliases.
    return tag, lambda _walk, member, _depth: {TAG: tag, VALUE: member.name}, lambda key: cls.__members__[key]


def _flag(name: str, cls: type[Flag]) -> tuple[str, Encode, Decode]:
    tag = f"enum:{name}"
    # A combination of flags has no name of its own.
    return tag, lambda _walk, member, _depth: {TAG: tag, VALUE: member.value}, cls


def _class(name: str, cls: type, fields: list[tuple[str, str, bool]]) -> tuple[str, Encode, Decode]:
    tag = f"class:{name}"
    keys = {field: key for field, key, _ in fields}
    given = {key for _, key, init in fields if init}
    set_after = {key: field for field, key, init in fields if not init}
    for parameter in inspect.signature(cls).parameters.values():
        required = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if required and (parameter.name not in given or parameter.kind is parameter.POSITIONAL_ONLY):
            raise InvalidArgument(
                "types",
                f"{cls.__qualname__} cannot be made from its fields: its constructor wants {parameter.name!r}; "
                "make that a field, or give it a default",
            )

    def encode(walk: Walk, value: object, depth: int) -> object:
        return walk.walk_class(value, keys, tag, depth)

    def decode(stored: dict[str, object]) -> object:
        later = {key: stored.pop(key) for key in set_after if key in stored}
        made = cls(**stored)
        for key, item in later.items():
            object.__setattr__(made, set_after[key], item)
        return made

    return tag, encode, decode
