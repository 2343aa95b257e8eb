"""How is a definition kept as JSON, and when are two definitions the same?

The document holds what differs from the defaults, so that a field added to the model later changes no hash:

>>> from datetime import timedelta
>>> from duraflow.definition.values import State, Transition
>>> from duraflow.definition.workflow import Workflow
>>> letter = Workflow(name="letter", initial="sent", states=[
...     State("sent", [Transition("remind", target="reminded", after=timedelta(days=60))]),
...     State("reminded"),
... ])
>>> to_json(letter)["states"][0]
{'name': 'sent', 'transitions': [{'event': 'remind', 'target': 'reminded', 'after': 'P60D'}]}
>>> from_json(to_json(letter)) == letter
True

A duration is ISO 8601 (`P60D`, `PT1H30M`, `PT0.000001S`: exact), a named delay function `{"function": name}`,
a command or guard its name, or an object where there is more to say; guards combine as `{"all_of": […]}`,
`{"any_of": […]}`, `{"not": …}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from duraflow.codec import Codec, Limits, canonical_json
from duraflow.definition.payloads import DescribedPayload, PayloadType
from duraflow.definition.values import (
    AllOf,
    AnyOf,
    CommandRef,
    DelayRef,
    Guard,
    GuardRef,
    Not,
    State,
    Transition,
    Wildcard,
)
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument

FORMAT = 1

# Metadata and entry context go through the codec, so that `jsonb` gives back the floats that it would change.
_CODEC = Codec(limits=Limits(max_bytes=16 * 1_048_576, max_depth=128))
_MICROSECOND = timedelta(microseconds=1)


def content_hash(workflow: Workflow) -> str:
    """sha256, as hex, of the canonical JSON without the version."""
    document = {key: value for key, value in to_json(workflow).items() if key != "version"}
    import hashlib  # it loads OpenSSL

    return hashlib.sha256(canonical_json(document).encode()).hexdigest()


def to_json(workflow: Workflow) -> dict[str, Any]:
    """The definition as plain JSON data.

    Raises:
        InvalidArgument: a description given by a foreign payload type is not JSON.
    """
    events = {event: _from_payload(event, payload) for event, payload in workflow.events.items()}
    return {
        "format": FORMAT,
        "name": workflow.name,
        "version": workflow.version,
        "initial": workflow.initial,
        "states": [_from_state(state) for state in workflow.states],
        **({} if workflow.follows == "pinned" else {"follows": workflow.follows}),
        **_filled(
            events=events,
            from_any=[_from_wildcard(wildcard) for wildcard in workflow.from_any],
            groups={group: list(members) for group, members in workflow.groups.items()},
            description=workflow.description,
            metadata=_from_mapping(workflow.metadata),
        ),
    }


def from_json(data: object) -> Workflow:
    """The definition that `to_json` wrote: equal to the original but for payload classes and handlers.

    Raises:
        InvalidArgument: `data` is no such document; `argument` is the path to what is wrong.
        DefinitionError: it is one, of a wrong definition.
    """
    try:
        return _to_workflow(data)
    except RecursionError:
        raise InvalidArgument("workflow", "is nested too deeply") from None


# --- values to JSON -----------------------------------------------------------------------------------------


def _filled(**fields: Any) -> dict[str, Any]:
    """The fields that say something. Numbers are no fields, so every empty value is a default."""
    return {name: value for name, value in fields.items() if value not in (None, "", (), [], {}, False)}


def _from_mapping(value: Mapping[str, Any]) -> Any:
    return _CODEC.to_plain(dict(value), path="metadata")


def _from_payload(event: str, payload: PayloadType | None) -> Any:
    if payload is None:
        return None
    description = payload.describe()
    try:
        return json.loads(json.dumps(description, allow_nan=False, default=dict))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"events[{event}]", f"describe() must give JSON: {error}") from error


def _from_state(state: State) -> dict[str, Any]:
    return {
        "name": state.name,
        **_filled(
            transitions=[_from_transition(transition) for transition in state.transitions],
            context=_from_mapping(state.context),
        ),
        # `False` and left out differ: a state without transitions is final by default.
        **({} if state.final is None else {"final": state.final}),
        **_filled(
            outcome=state.outcome,
            allow=list(state.allow),
            description=state.description,
            metadata=_from_mapping(state.metadata),
        ),
    }


def _from_wildcard(wildcard: Wildcard) -> dict[str, Any]:
    return {
        "transitions": [_from_transition(transition) for transition in wildcard.transitions],
        **_filled(within=list(wildcard.within), exclude=list(wildcard.exclude)),
    }


def _from_transition(transition: Transition) -> dict[str, Any]:
    return _filled(
        event=transition.event,
        target=transition.target,
        guard=None if transition.guard is None else _from_guard(transition.guard),
        commands=[_from_command(command) for command in transition.commands],
        error_target=transition.error_target,
        after=_from_delay(transition.after),
        on_rejected=None if transition.on_rejected == "retry" else transition.on_rejected,
        emits=list(transition.emits),
        description=transition.description,
        metadata=_from_mapping(transition.metadata),
    )


def _from_command(command: CommandRef) -> Any:
    more = _filled(
        metadata=_from_mapping(command.metadata),
        best_effort=command.best_effort,
        external=command.external,
        description=command.description,
    )
    return {"name": command.name, **more} if more else command.name


def _from_guard(guard: Guard) -> Any:
    match guard:
        case AllOf(parts):
            return {"all_of": [_from_guard(part) for part in parts]}
        case AnyOf(parts):
            return {"any_of": [_from_guard(part) for part in parts]}
        case Not(part):
            return {"not": _from_guard(part)}
    more = _filled(metadata=_from_mapping(guard.metadata), description=guard.description)
    return {"name": guard.name, **more} if more else guard.name


def _from_delay(after: timedelta | DelayRef | None) -> Any:
    match after:
        case timedelta():
            return duration_text(after)
        case DelayRef():
            return {"function": after.name}
    return None


def duration_text(duration: timedelta) -> str:
    """A positive duration as ISO 8601, exact.

    >>> duration_text(timedelta(days=1, hours=2, microseconds=5))
    'P1DT2H0.000005S'
    """
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = (
        f"{seconds}.{duration.microseconds:06d}".rstrip("0").rstrip(".")
        if duration.microseconds
        else f"{seconds}"
    )
    time = "".join(
        f"{amount}{unit}"
        for amount, unit in ((hours, "H"), (minutes, "M"), (fraction, "S"))
        if amount not in (0, "0")
    )
    days = f"{duration.days}D" if duration.days or not time else ""
    return f"P{days}T{time}" if time else f"P{days}"


# --- JSON to values -----------------------------------------------------------------------------------------

Reader = Callable[[Any, str], Any]


class _Document:
    """One JSON object, read field by field; what nobody asked for is an error."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, Mapping):
            raise InvalidArgument(path, f"expected an object, got {_kind(data)}")
        self._rest = dict(data)
        self._path = path

    def take(self, name: str, read: Reader) -> Any:
        if name not in self._rest:
            raise InvalidArgument(f"{self._path}.{name}", "is missing")
        return read(self._rest.pop(name), f"{self._path}.{name}")

    def given(self, name: str, read: Reader) -> dict[str, Any]:
        return {name: self.take(name, read)} if name in self._rest else {}

    def end(self) -> None:
        for name in self._rest:
            raise InvalidArgument(
                f"{self._path}.{name}",
                "is unknown; a newer version of Duraflow may have written it, upgrade to that",
            )


def _kind(value: object) -> str:
    return "null" if value is None else type(value).__name__


def _text(value: Any, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(path, f"expected text, got {_kind(value)}")
    return value


def _int(value: Any, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidArgument(path, f"expected a whole number, got {_kind(value)}")
    return value


def _bool(value: Any, path: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidArgument(path, f"expected true or false, got {_kind(value)}")
    return value


def _list_of(read: Reader) -> Reader:
    def read_list(value: Any, path: str) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise InvalidArgument(path, f"expected a list, got {_kind(value)}")
        return [read(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return read_list


def _object_of(read: Reader) -> Reader:
    def read_object(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise InvalidArgument(path, f"expected an object, got {_kind(value)}")
        return {_text(key, path): read(item, f"{path}[{key}]") for key, item in value.items()}

    return read_object


def _to_workflow(data: object) -> Workflow:
    document = _Document(data, "workflow")
    version_of_format = document.take("format", _int)
    if version_of_format != FORMAT:
        raise InvalidArgument(
            "workflow.format",
            f"{version_of_format} is unknown, {FORMAT} is known; use the Duraflow that wrote it",
        )
    found = {
        "name": document.take("name", _text),
        "version": document.take("version", _int),
        "initial": document.take("initial", _text),
        "states": document.take("states", _list_of(_to_state)),
        **document.given("follows", _text),
        **document.given("events", _object_of(_to_payload)),
        **document.given("from_any", _list_of(_to_wildcard)),
        **document.given("groups", _object_of(_list_of(_text))),
        **document.given("description", _text),
        **document.given("metadata", _to_mapping),
    }
    document.end()
    return Workflow(**found)


def _to_mapping(value: Any, path: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidArgument(path, f"expected an object, got {_kind(value)}")
    try:
        found = _CODEC.from_plain(dict(value))
    except InvalidArgument as error:
        raise InvalidArgument(path, error.reason) from error
    if not isinstance(found, dict):
        raise InvalidArgument(path, f"expected an object, got {_kind(found)}")
    return found


def _to_payload(value: Any, path: str) -> PayloadType | None:
    if value is None:
        return None
    try:
        return DescribedPayload(_object_of(lambda item, _: item)(value, path))
    except InvalidArgument as error:
        raise InvalidArgument(error.argument.replace("description", path, 1), error.reason) from error


def _to_state(value: Any, path: str) -> State:
    document = _Document(value, path)
    name = document.take("name", _text)
    found = {
        **document.given("transitions", _list_of(_to_transition)),
        **document.given("context", _to_mapping),
        **document.given("final", _bool),
        **document.given("outcome", _text),
        **document.given("allow", _list_of(_text)),
        **document.given("description", _text),
        **document.given("metadata", _to_mapping),
    }
    document.end()
    return State(name, **found)


def _to_wildcard(value: Any, path: str) -> Wildcard:
    document = _Document(value, path)
    transitions = document.take("transitions", _list_of(_to_transition))
    names = {**document.given("within", _list_of(_text)), **document.given("exclude", _list_of(_text))}
    document.end()
    return Wildcard(transitions, **names)


def _to_transition(value: Any, path: str) -> Transition:
    document = _Document(value, path)
    found = {
        **document.given("event", _text),
        **document.given("target", _text),
        **document.given("guard", _to_guard),
        **document.given("commands", _list_of(_to_command)),
        **document.given("error_target", _text),
        **document.given("after", _to_delay),
        **document.given("on_rejected", _text),
        **document.given("emits", _list_of(_text)),
        **document.given("description", _text),
        **document.given("metadata", _to_mapping),
    }
    document.end()
    return Transition(**found)


def _to_command(value: Any, path: str) -> CommandRef:
    if isinstance(value, str):
        return CommandRef(value)
    document = _Document(value, path)
    name = document.take("name", _text)
    found = {
        **document.given("metadata", _to_mapping),
        **document.given("best_effort", _bool),
        **document.given("external", _bool),
        **document.given("description", _text),
    }
    document.end()
    return CommandRef(name, **found)


def _to_guard(value: Any, path: str) -> Guard:
    if isinstance(value, str):
        return GuardRef(value)
    document = _Document(value, path)
    match dict(value):
        case {"all_of": _}:
            guard: Guard = AllOf(tuple(document.take("all_of", _list_of(_to_guard))))
        case {"any_of": _}:
            guard = AnyOf(tuple(document.take("any_of", _list_of(_to_guard))))
        case {"not": _}:
            guard = Not(document.take("not", _to_guard))
        case _:
            name = document.take("name", _text)
            more = {**document.given("metadata", _to_mapping), **document.given("description", _text)}
            guard = GuardRef(name, **more)
    document.end()
    return guard


_DURATION = re.compile(
    r"P(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,6}))?S)?)?"
)


def _to_delay(value: Any, path: str) -> timedelta | DelayRef:
    if isinstance(value, Mapping):
        document = _Document(value, path)
        function = document.take("function", _text)
        document.end()
        return DelayRef(function)
    match = _DURATION.fullmatch(_text(value, path))
    if match is None or not any(match.groups()):
        raise InvalidArgument(path, f"{value!r} is no ISO 8601 duration of days, hours, minutes and seconds")
    days, hours, minutes, seconds = (int(group or 0) for group in match.groups()[:4])
    try:
        return timedelta(
            days=days,
            hours=hours,
            minutes=minutes,
            seconds=seconds,
            microseconds=int((match.group(5) or "").ljust(6, "0")),
        )
    except OverflowError:
        raise InvalidArgument(path, f"{value!r} is too long") from None


# --- two definitions ----------------------------------------------------------------------------------------


def difference(old: object, new: object, *, limit: int = 3) -> str:
    """Where two documents of `to_json` differ: the first few places, for a person. Versions are not compared.

    >>> old = {"initial": "a", "states": [{"name": "a"}]}
    >>> difference(old, {"initial": "b", "states": [{"name": "a", "final": True}]})
    'initial: "a" became "b"; states[a].final: true is new'
    """
    found = list(_differences(_without_version(old), _without_version(new), ""))
    if not found:
        return "no difference"
    more = f"; and {len(found) - limit} more" if len(found) > limit else ""
    return "; ".join(found[:limit]) + more


def _without_version(document: object) -> object:
    if isinstance(document, Mapping):
        return {key: value for key, value in document.items() if key not in ("version", "format")}
    return document


def _differences(old: object, new: object, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            where = f"{path}.{key}" if path else str(key)
            yield from _pair(old.get(key, _ABSENT), new.get(key, _ABSENT), where)
    elif isinstance(old, list) and isinstance(new, list):
        before, after = _labelled(old), _labelled(new)
        for label in [*before, *(label for label in after if label not in before)]:
            yield from _pair(before.get(label, _ABSENT), after.get(label, _ABSENT), f"{path}[{label}]")
        if list(before) != list(after) and set(before) == set(after):
            yield f"{path}: the order changed"
    elif type(old) is not type(new) or old != new:
        yield f"{path or 'the document'}: {_short(old)} became {_short(new)}"


_ABSENT = object()


def _pair(old: object, new: object, path: str) -> Iterator[str]:
    if old is _ABSENT:
        yield f"{path}: {_short(new)} is new"
    elif new is _ABSENT:
        yield f"{path}: {_short(old)} is gone"
    else:
        yield from _differences(old, new, path)


def _labelled(items: list[Any]) -> dict[str, Any]:
    """Items by name, where each has one of its own, else by position."""
    names = [item.get("name") if isinstance(item, Mapping) else None for item in items]
    if all(isinstance(name, str) for name in names) and len(set(names)) == len(names):
        return {str(name): item for name, item in zip(names, items, strict=True)}
    return {str(index): item for index, item in enumerate(items)}


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:59] + "…"


__all__ = ["content_hash", "difference", "duration_text", "from_json", "to_json"]
