"""Which shape does a type annotation stand for?"""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Mapping, MutableMapping, MutableSequence, MutableSet, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum, Flag
from typing import Any, Literal, TypeVar, Union
from uuid import UUID

import attrs

from duraflow.definition.shapes import (
    ANY,
    NONE,
    SCALARS,
    STR,
    Choice,
    Field,
    Fixed,
    Map,
    Object,
    OneOf,
    Shape,
    a_list,
    a_set,
    an_array,
)

_SUPPORTED = (
    "use str, int, float, bool, Decimal, UUID, bytes, date, datetime, timedelta, Enum, Literal, list, tuple, "
    "set, dict, Any, Optional, Union, an attrs class, a dataclass or a TypedDict"
)
_STORABLE = (str, int, float, bool, type(None))
_LISTS = (list, Sequence, MutableSequence)
_SETS = (set, frozenset, AbstractSet, MutableSet)
_MAPS = (dict, Mapping, MutableMapping)


class Unsupported(Exception):
    """An annotation cannot be checked and stored; the text says where and why."""


def has_fields(cls: object) -> bool:
    """Whether `cls` is an attrs class, a dataclass or a TypedDict."""
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls) or _is_typed_dict(cls))


def _is_typed_dict(cls: type) -> bool:
    # `typing.is_typeddict` does not know those of typing_extensions.
    return issubclass(cls, dict) and hasattr(cls, "__total__") and hasattr(cls, "__required_keys__")


def shape_of(annotation: object) -> Shape:
    """The shape of an annotation.

    Raises:
        Unsupported: it has none.
    """
    return _Reader().read(annotation, "")


class _Reader:
    """Reads one annotation; remembers the classes on the way, since they may speak of themselves."""

    def __init__(self) -> None:
        self._objects: dict[type, Object] = {}
        self._aliases: list[object] = []

    def read(self, annotation: Any, where: str) -> Shape:
        if annotation is Any or annotation is object or annotation is inspect.Parameter.empty:
            return ANY
        if annotation is None:
            return NONE
        if isinstance(annotation, TypeVar):
            return ANY
        if hasattr(annotation, "__supertype__"):  # a NewType
            return self.read(annotation.__supertype__, where)
        origin = typing.get_origin(annotation)
        if origin is None and hasattr(annotation, "__value__"):  # `type Name = …`
            return self._alias(annotation, where)
        if origin is not None:
            return self._generic(annotation, origin, typing.get_args(annotation), where)
        if isinstance(annotation, type):
            return self._class(annotation, where)
        raise Unsupported(f"{where or 'it'} is declared as {annotation!r}; {_SUPPORTED}")

    def _alias(self, annotation: Any, where: str) -> Shape:
        if annotation in self._aliases:
            raise Unsupported(
                f"{where or 'it'}: the type {annotation!r} contains itself; use Any for the inner part"
            )
        self._aliases.append(annotation)
        try:
            return self.read(annotation.__value__, where)
        finally:
            self._aliases.pop()

    def _generic(self, annotation: Any, origin: Any, args: tuple[Any, ...], where: str) -> Shape:
        if origin is typing.Annotated or _special(origin) in ("Required", "NotRequired", "ReadOnly", "Final"):
            return self.read(args[0], where)
        if origin is Union or origin is types.UnionType:
            return self._union(args, where)
        if origin is Literal:
            return _choice(args, None, where)
        if origin is tuple:
            if len(args) == 2 and args[1] is Ellipsis:
                return an_array(self.read(args[0], f"{where}[]"))
            return Fixed(tuple(self.read(item, f"{where}[{index}]") for index, item in enumerate(args)))
        if origin in _LISTS:
            return a_list(self.read(args[0], f"{where}[]"))
        if origin in _SETS:
            return a_set(self.read(args[0], f"{where}[]"), set if origin in (set, MutableSet) else frozenset)
        if origin in _MAPS:
            return self._map(args[0], args[1], where)
        if has_fields(origin):  # a generic class: its type parameters are not checked
            return self._class(origin, where)
        raise Unsupported(f"{where or 'it'} is declared as {annotation!r}; {_SUPPORTED}")

    def _union(self, args: tuple[Any, ...], where: str) -> Shape:
        options: list[Shape] = []
        for arg in args:
            shape = self.read(arg, where)
            for option in shape.options if isinstance(shape, OneOf) else (shape,):
                if option not in options:
                    options.append(option)
        # None last: `None | str` and `str | None` are one thing.
        options.sort(key=lambda option: option is NONE)
        return OneOf(tuple(options)) if len(options) > 1 else options[0]

    def _map(self, key: Any, item: Any, where: str) -> Shape:
        keys = self.read(key, f"{where}[key]")
        textual = isinstance(keys, Choice) and all(isinstance(stored, str) for _, stored in keys.members)
        if keys == ANY:
            keys = STR
        elif keys != STR and not textual:
            raise Unsupported(f"{where or 'it'} has keys of type {key!r}; JSON keys are text: use str")
        return Map(keys, self.read(item, f"{where}[]"))

    def _class(self, cls: type, where: str) -> Shape:
        if cls in SCALARS:
            return SCALARS[cls]
        if issubclass(cls, Enum):
            if issubclass(cls, Flag):
                return Choice(tuple((member, member.value) for member in cls), cls)
            return _choice(tuple(cls), cls, where)
        if has_fields(cls):
            return self._object(cls, where)
        if cls in _LISTS:
            return a_list(ANY)
        if cls in _SETS:
            return a_set(ANY, set if cls in (set, MutableSet) else frozenset)
        if cls in _MAPS:
            return Map(STR, ANY)
        if cls is tuple:
            return an_array(ANY)
        raise Unsupported(f"{where or 'it'} is declared as {cls.__module__}.{cls.__qualname__}; {_SUPPORTED}")

    def _object(self, cls: type, where: str) -> Object:
        if cls in self._objects:
            return self._objects[cls]
        typed_dict = _is_typed_dict(cls)
        shape = self._objects[cls] = Object(None if typed_dict else cls)
        hints = _hints(cls, where)
        found = _typed_dict_fields(cls, hints) if typed_dict else _class_fields(cls)
        shape.complete(
            tuple(
                Field(key, attribute, self.read(hints.get(attribute, Any), f"{where}.{key}"), required)
                for key, attribute, required in found
            )
        )
        if not typed_dict:
            _check_constructor(cls, shape.known)
        return shape


_WELL_KNOWN: Mapping[str, Any] = {
    **{cls.__name__: cls for cls in (Decimal, UUID, date, datetime, timedelta, Enum, Mapping, Sequence)},
    **{
        name: getattr(typing, name)
        for name in ("Annotated", "Any", "Literal", "NotRequired", "Optional", "Union")
    },
}


def _hints(cls: type, where: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except NameError:
        pass
    except Exception as error:
        raise Unsupported(
            f"{where or cls.__name__}: an annotation of {cls.__qualname__} is wrong ({error})"
        ) from error
    # Type checkers and linters like such imports under TYPE_CHECKING, where they do not exist at run time.
    names = dict(_WELL_KNOWN)
    for base in reversed(cls.__mro__):
        names.update(vars(sys.modules.get(base.__module__, typing)) if base is not object else {})
    try:
        return typing.get_type_hints(cls, globalns=names, include_extras=True)
    except Exception as error:
        raise Unsupported(
            f"{where or cls.__name__}: an annotation of {cls.__qualname__} cannot be resolved ({error}); "
            "import what it names at run time, at module level"
        ) from error


def _special(origin: object) -> str:
    return str(getattr(origin, "_name", None) or getattr(origin, "__name__", ""))


def _choice(members: tuple[Any, ...], enum: type[Enum] | None, where: str) -> Shape:
    pairs = tuple((member, member.value if isinstance(member, Enum) else member) for member in members)
    for member, stored in pairs:
        if type(stored) not in _STORABLE:
            raise Unsupported(f"{where or 'it'}: {member!r} has no JSON form; use text or numbers as values")
    return Choice(pairs, enum)


def _typed_dict_fields(cls: Any, hints: Mapping[str, Any]) -> list[tuple[str, str, bool]]:
    found = []
    for key, hint in hints.items():
        required = key in cls.__required_keys__
        # With annotations kept as text, Python 3.11 to 3.13 do not look into NotRequired themselves.
        while True:
            special = _special(typing.get_origin(hint))
            if special == "Required":
                required = True
            elif special == "NotRequired":
                required = False
            elif special not in ("ReadOnly", "Annotated"):
                break
            hint = typing.get_args(hint)[0]
        found.append((key, key, required))
    return found


def _class_fields(cls: Any) -> list[tuple[str, str, bool]]:
    """(key, attribute, required) of the fields that its constructor takes."""
    if attrs.has(cls):
        return [
            (field.alias or field.name, field.name, field.default is attrs.NOTHING)
            for field in attrs.fields(cls)
            if field.init
        ]
    missing = dataclasses.MISSING
    return [
        (field.name, field.name, field.default is missing and field.default_factory is missing)
        for field in dataclasses.fields(cls)
        if field.init
    ]


def _check_constructor(cls: type, known: frozenset[str]) -> None:
    parameters = inspect.signature(cls).parameters.values()
    anything = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    wanted = {
        p.name
        for p in parameters
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in known
    }
    refused = set() if anything else known - named
    if wanted or refused:
        names = ", ".join(sorted(wanted | refused))
        raise Unsupported(
            f"{cls.__qualname__} cannot be made from its fields: "
            f"its constructor and its fields disagree on {names}"
        )
