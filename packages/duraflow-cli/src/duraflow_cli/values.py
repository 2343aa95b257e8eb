"""How do the values of Duraflow look as JSON?

A value of ours is an object with the names of its attributes. What users store (context, metadata, payloads and the
like) is written as the codec keeps it: plain JSON, but for `{"$": "decimal", "v": "1.50"}` and its kin. So what is
printed can be given back: `--context` reads the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any
from uuid import UUID

import attrs

from duraflow import Codec, Workflow
from duraflow.definition.serial import duration_text

# Attributes that hold data of the user's, whichever class they are of.
_USERS = frozenset(
    {
        "context",
        "metadata",
        "payload",
        "trigger",
        "data",
        "parameters",
        "set",
        "context_set",
        "context_changed",
        "context_unset",
    }
)
_PLAIN = (str, int, float, bool, type(None))


def as_json(value: Any, codec: Codec | None = None) -> Any:
    """A plain JSON tree of any value that a runtime gives."""
    return _tree(value, codec or Codec())


def _tree(value: Any, codec: Codec) -> Any:
    match value:
        case Enum():
            return _tree(value.value, codec)
        case str() | bool() | int() | float() | None:
            return value
        case UUID():
            return str(value)
        case BaseException():
            return error_json(value, codec)
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return duration_text(value) if value > timedelta(0) else "PT0S"
        case Workflow():
            return {"name": value.name, "version": value.version, "hash": value.hash}
        case _ if attrs.has(type(value)):
            return _fields(value, codec)
        case _ if callable(value):
            return getattr(value, "__qualname__", repr(value))
        case Mapping():
            return {str(key): _tree(item, codec) for key, item in value.items()}
        case Iterable():
            return [_tree(item, codec) for item in value]
    return codec.to_plain(value, path="value")


def _fields(value: Any, codec: Codec) -> dict[str, Any]:
    found = {}
    for field in attrs.fields(type(value)):
        if field.name.startswith("_"):
            continue
        item = getattr(value, field.name)
        stored = field.name in _USERS and not attrs.has(type(item))
        found[field.name] = users(item, codec) if stored else _tree(item, codec)
    return found


def error_json(error: BaseException, codec: Codec | None = None) -> dict[str, Any]:
    """An error: the name of its class, its text, and what it knows."""
    known = _fields(error, codec or Codec()) if attrs.has(type(error)) else {}
    return {"error": type(error).__name__, "message": str(error) or type(error).__name__, **known}


def users(value: Any, codec: Codec) -> Any:
    """A value that a user stored, as it is kept."""
    return (
        value
        if isinstance(value, _PLAIN) and not isinstance(value, float)
        else codec.to_plain(value, path="value")
    )
