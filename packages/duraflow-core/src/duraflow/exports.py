"""How does an export look: which text stands for a definition, and for a whole instance?

JSON Lines. A header comes first, a definition before the first instance that needs it, and a line with their number
last. Values stand as they are stored: no application type is needed to write them, and equal content gives equal lines.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from duraflow._json_values import text_problem
from duraflow.codec import canonical_json
from duraflow.definition.workflow import Workflow
from duraflow.errors import DuraflowError, InvalidArgument
from duraflow.ports.retention import Whole
from duraflow.records import ENTRY_COLUMNS, INSTANCE_COLUMNS, MESSAGE_COLUMNS, RECEIPT_COLUMNS, Record, utc

T = TypeVar("T")

FORMAT = "duraflow export"
FORMAT_VERSION = 1

_OBJECTS = frozenset({"context", "metadata", "continuation", "trigger", "change", "fingerprint", "result"})
_ARRAYS = frozenset({"timers", "commands", "blockers"})
_JSON = _OBJECTS | _ARRAYS | {"payload"}
_TIMES = frozenset({"created_at", "updated_at", "entered_at", "finished_at", "at", "expires_at"})
_IDS = frozenset({"id", "instance_id", "parent_id", "root_id", "attempt_id", "transition_id"})
_NUMBERS = frozenset({"definition_version", "version", "seq", "first_seq", "last_seq", "ordinal"})
_FLAGS = frozenset({"entered", "waiting_events", "delivered"})
# A lease is a promise to a worker here; where the instance goes, nobody was promised anything.
_INSTANCE = tuple(name for name in INSTANCE_COLUMNS if name not in ("namespace", "lease_token"))
_ENTRY = tuple(name for name in ENTRY_COLUMNS if name != "instance_id")
_RECEIPT = tuple(name for name in RECEIPT_COLUMNS if name != "instance_id")
_MESSAGE = (*(name for name in MESSAGE_COLUMNS if name != "instance_id"), "delivered")


# --- writing ------------------------------------------------------------------------------------------------


def header_line(namespace: str, at: datetime) -> str:
    """The first line."""
    return canonical_json(
        {
            "type": "header",
            "format": FORMAT,
            "version": FORMAT_VERSION,
            "namespace": namespace,
            "at": _time(at),
        }
    )


def definition_line(workflow: str, version: int, snapshot: Mapping[str, Any]) -> str:
    """The line of one version of a workflow."""
    return canonical_json(
        {"type": "definition", "workflow": workflow, "version": version, "snapshot": snapshot}
    )


def instance_line(whole: Whole) -> str:
    """The line of one instance with all that belongs to it."""
    return canonical_json(
        {
            "type": "instance",
            "instance": _plain(whole.instance, _INSTANCE),
            "history": [_plain(entry, _ENTRY) for entry in whole.entries],
            "retries": None if whole.retries is None else json.loads(whole.retries),
            "receipts": [_plain(receipt, _RECEIPT) for receipt in whole.receipts],
            "messages": [_plain(message, _MESSAGE) for message in whole.messages],
        }
    )


def end_line(instances: int) -> str:
    """The last line: by it an import knows that nothing was cut off."""
    return canonical_json({"type": "end", "instances": instances})


def _plain(record: Record, columns: tuple[str, ...]) -> Record:
    """A record as a JSON object. What is None is left out: most columns of most entries are."""
    return {name: _PLAIN.get(name, _same)(value) for name in columns if (value := record[name]) is not None}


def _same(value: Any) -> Any:
    return value


def _time(value: datetime) -> str:
    return utc(value).isoformat()


_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_JSON, json.loads),
    **dict.fromkeys(_TIMES, _time),
    **dict.fromkeys(_IDS, str),
}


# --- reading ------------------------------------------------------------------------------------------------


def read_line(text: object) -> Record:
    """A line as a JSON object with a `type`.

    Raises:
        InvalidArgument: it is no line of an export, or one that a newer version wrote.
    """
    if not isinstance(text, str):
        raise _wrong(f"{type(text).__name__} is no text; open the file in text mode, as UTF-8")
    try:
        found = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"it is no JSON: {error}") from error
    # Escaped, or as they are: what no database keeps. Looked for in the values only if the text may have some.
    if "\\u0000" in text or "\0" in text or "\\ud" in text.lower() or not _is_utf8(text):
        for part in _texts(found):
            if problem := text_problem(part):
                raise _wrong(f"a text in it cannot be stored: {problem}")
    kind = found.get("type") if isinstance(found, dict) else None
    if kind not in ("header", "definition", "instance", "end"):
        raise _wrong("it is no line of an export: its `type` is none of header, definition, instance, end")
    if kind == "header":
        if found.get("format") != FORMAT:
            raise _wrong(f"its `format` is {found.get('format')!r}, not {FORMAT!r}")
        if found.get("version") != FORMAT_VERSION:
            raise _wrong(
                f"it has version {found.get('version')!r} of the format, and this library reads {FORMAT_VERSION}; "
                "import it with the version of Duraflow that wrote it, or a newer one"
            )
    return found  # type: ignore[no-any-return]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(tree: Any) -> Iterator[str]:
    """Every text of a JSON tree, names included."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _texts(value)
    elif isinstance(tree, list):
        for item in tree:
            yield from _texts(item)


def read_definition(line: Record) -> Workflow:
    """The definition of its line.

    Raises:
        InvalidArgument: the snapshot does not load, or is of another workflow or version.
    """
    try:
        workflow = Workflow.from_json(line.get("snapshot"))
    except DuraflowError as error:
        raise _wrong(f"its snapshot does not load: {error}") from error
    if (workflow.name, workflow.version) != (line.get("workflow"), line.get("version")):
        raise _wrong(f"its snapshot is that of {workflow.name!r} version {workflow.version}")
    return workflow


def read_instance(line: Record, namespace: str) -> Whole:
    """The whole instance of its line, as one of this namespace.

    Raises:
        InvalidArgument: a part is missing, or is not of the type it should be.
    """
    instance = _record(line.get("instance"), _INSTANCE, "instance")
    instance["namespace"] = namespace
    instance["lease_token"] = None
    belongs = {"instance_id": instance["id"]}
    parts = {
        name: tuple(
            _record(item, columns, f"{name}[{number}]") | belongs
            for number, item in enumerate(_list(line.get(name), name))
        )
        for name, columns in (("history", _ENTRY), ("receipts", _RECEIPT), ("messages", _MESSAGE))
    }
    retries = line.get("retries")
    return Whole(
        instance,
        parts["history"],
        None if retries is None else _retries(retries),
        parts["receipts"],
        parts["messages"],
    )


def _retries(value: object) -> str:
    try:
        found = _held_to(value, dict, "an object")
        return canonical_json({event: _shaped("retries", retry) for event, retry in found.items()})
    except (TypeError, ValueError) as error:
        raise _wrong(f"its 'retries' are not what is kept there: {error}") from error


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(f"its {path!r} is no list")
    return value


def _record(value: object, columns: tuple[str, ...], path: str) -> Record:
    if not isinstance(value, dict):
        raise _wrong(f"its {path!r} is no object")
    unknown = sorted(value.keys() - set(columns))
    if unknown:
        raise _wrong(f"its {path!r} has {', '.join(map(repr, unknown))}, which this version does not know")
    record: Record = {}
    for name in columns:
        found = value.get(name)
        read = _READ.get(name, _text)
        try:
            record[name] = None if found is None else read(found)
        except (TypeError, ValueError) as error:
            raise _wrong(f"its {path!r} has {str(found)[:80]!r} as {name}: {error}") from error
    missing = [name for name in columns if record[name] is None and name in _NEEDED.get(columns, ())]
    if missing:
        raise _wrong(f"its {path!r} lacks {', '.join(missing)}")
    return record


def _text(value: Any) -> Any:
    return _held_to(value, str, "a text")


def _number(value: Any) -> int:
    return _held_to(value, int, "a whole number")


def _flag(value: Any) -> bool:
    return _held_to(value, bool, "true or false")


def _object(value: Any) -> str:
    return canonical_json(_held_to(value, dict, "an object"))


def _held_to(value: Any, kind: type[T], what: str) -> T:
    if type(value) is not kind:
        raise TypeError(f"not {what}")
    return value


_SHAPES: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    "timers": ({"event": str, "due_at": str}, {}),
    "commands": ({"name": str, "status": str}, {"data": None, "code": str, "message": str}),
    "blockers": ({"code": str, "guard": str, "candidate": str}, {"message": str, "parameters": dict}),
    "change": ({}, {"set": dict, "unset": list}),
    "continuation": ({"event": str, "payload": None, "transition_id": str, "path": str}, {}),
    "retries": (
        {"rejected": int, "failed": int, "blockers": str, "error": str, "next_at": None, "parked_at": None},
        {},
    ),
}
"""What the parts of a JSON column are: those that must be there, and those that may. None stands for anything."""


def _shaped(name: str, value: Any) -> Any:
    """One part of a JSON column, held to its shape."""
    needed, optional = _SHAPES[name]
    found = _held_to(value, dict, "an object")
    if not needed.keys() <= found.keys() <= {*needed, *optional}:
        raise ValueError(f"a part of it has the keys {sorted(found)}")
    for key, kind in {**needed, **optional}.items():
        if kind is not None and key in found:
            _held_to(found[key], kind, f"right in {key!r}")
    return found


def _array(name: str) -> Callable[[Any], str]:
    return lambda value: canonical_json([_shaped(name, item) for item in _held_to(value, list, "a list")])


def _change(value: Any) -> str:
    found = _shaped("change", value)
    for key in found.get("unset", ()):
        _text(key)
    return canonical_json(found)


def _moment(value: Any) -> datetime:
    found = datetime.fromisoformat(_text(value))
    if found.tzinfo is None:
        raise ValueError("it has no time zone")
    return utc(found)


_READ: Mapping[str, Callable[[Any], Any]] = {
    "payload": canonical_json,
    **dict.fromkeys(_OBJECTS, _object),
    **{name: _array(name) for name in _ARRAYS},
    "change": _change,
    "continuation": lambda value: canonical_json(_shaped("continuation", value)),
    **dict.fromkeys(_TIMES, _moment),
    **dict.fromkeys(_IDS, lambda value: UUID(_text(value))),
    **dict.fromkeys(_NUMBERS, _number),
    **dict.fromkeys(_FLAGS, _flag),
}
_NEEDED = {
    _INSTANCE: (
        "id", "workflow", "definition_version", "state", "version", "context", "metadata", "created_at", "updated_at",
        "entered_at", "waiting_events",
    ),
    _ENTRY: (
        "seq", "kind", "event", "to_state", "status", "entered", "at", "definition_version", "attempt_id",
    ),
    _RECEIPT: ("key", "first_seq", "last_seq", "created_at"),
    _MESSAGE: ("id", "seq", "ordinal", "topic", "delivered"),
}  # fmt: skip


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON number")


def _wrong(reason: str) -> InvalidArgument:
    return InvalidArgument("line", reason)
