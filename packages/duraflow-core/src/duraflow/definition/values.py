"""What does a user write to define a workflow?

All of these are values: frozen, comparable, without behaviour. They accept what people like to write (a bare
name or a function for a reference, a list for a tuple, a `StrEnum` member for a name) and keep it in one
form. Nothing is judged here: `Workflow` collects every error of the whole definition and reports them
together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, Literal

import attrs


class _Empty(Mapping[str, Any]):
    """A mapping with nothing in it, for good. Unlike a `mappingproxy` it can be pickled and copied."""

    __slots__ = ()

    def __getitem__(self, key: str) -> Any:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __repr__(self) -> str:
        return "{}"

    def __reduce__(self) -> str:
        return "EMPTY"


EMPTY: Mapping[str, Any] = _Empty()
MAX_DELAY = timedelta(days=36_525)
"""A hundred years: enough for any business rule, and no due time overflows a timestamp."""

MAX_JSON_DEPTH = 64

Outcome = Literal["done", "failed", "cancelled"]
OUTCOMES: tuple[Outcome, ...] = ("done", "failed", "cancelled")
Follows = Literal["pinned", "latest"]
FOLLOWS: tuple[Follows, ...] = ("pinned", "latest")
OnRejected = Literal["retry", "disarm"]


def as_given(value: object) -> Any:
    """A value as the user gave it, whatever its field is declared to hold: for whoever checks that."""
    return value


class NoName:
    """Stands for something given as a name that is none and cannot be looked up; the checks report it."""

    def __init__(self, given: object) -> None:
        self._given = given

    def __repr__(self) -> str:
        return repr(self._given)


def to_name(value: object) -> Any:
    """The plain text of a name; a value that is no text is kept, hashable, for the checks to report."""
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        return str(value)
    try:
        hash(value)
    except TypeError:
        return NoName(value)
    return value


def to_items(value: object) -> tuple[Any, ...]:
    """The items of what should be a list; a value that is none stands for itself, for the checks to report."""
    if value is None:
        return ()
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return (value,)
    return tuple(value)


def to_optional_name(value: object) -> Any:
    """`to_name` for a name that may be left out."""
    return None if value is None else to_name(value)


def to_mapping(value: object) -> Any:
    """A read-only copy of JSON data, lists for tuples; a value that is no mapping is kept for the checks."""
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        return value
    return (
        MappingProxyType({_key(key): _json_copy(item, 1) for key, item in value.items()}) if value else EMPTY
    )


def _key(key: object) -> object:
    return key.value if isinstance(key, Enum) else key


def _json_copy(value: object, depth: int) -> object:
    """A copy that later changes of the original do not reach, and that equals what JSON gives back."""
    if isinstance(value, Enum):
        return value.value
    if depth > MAX_JSON_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {_key(key): _json_copy(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_copy(item, depth + 1) for item in value]
    return value


def to_names(value: object) -> tuple[Any, ...]:
    """Names as plain texts; one name stands for itself."""
    return tuple(to_name(item) for item in to_items(value))


def handler_name(handler: object) -> str | None:
    """The name that a function or object is registered under: that of `@command("name")`, else `__name__`."""
    name = getattr(handler, "__duraflow_name__", None) or getattr(handler, "__name__", None)
    return name if isinstance(name, str) else None


@attrs.frozen
class CommandRef:
    """A transition's use of a command.

    Attributes:
        name: the registered command.
        metadata: JSON labels for the command, as `ctx.command.metadata`.
        best_effort: run in a savepoint; an exception undoes its rows and context and becomes a recorded
            result.
        external: it talks to the outside world, so it never runs under a lock or in a transaction.
        handler: the function itself when one was given in place of a name; no part of equality, hash or JSON.
    """

    name: str = attrs.field(converter=to_name)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_mapping, kw_only=True, hash=False)
    best_effort: bool = attrs.field(default=False, kw_only=True)
    external: bool = attrs.field(default=False, kw_only=True)
    description: str = attrs.field(default="", kw_only=True)
    handler: Any = attrs.field(default=None, kw_only=True, eq=False, repr=False)


@attrs.frozen
class GuardRef:
    """A transition's use of a guard. `metadata` reaches a guard that has a parameter named `params`."""

    name: str = attrs.field(converter=to_name)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_mapping, kw_only=True, hash=False)
    description: str = attrs.field(default="", kw_only=True)
    handler: Any = attrs.field(default=None, kw_only=True, eq=False, repr=False)


@attrs.frozen
class AllOf:
    """Holds when every part holds; its blockers are those of all parts that do not."""

    parts: tuple[Guard, ...]


@attrs.frozen
class AnyOf:
    """Holds when one part holds; its blockers are those of all parts."""

    parts: tuple[Guard, ...]


@attrs.frozen
class Not:
    """Holds when its part does not."""

    part: Guard


Guard = GuardRef | AllOf | AnyOf | Not
GuardLike = Guard | str | Callable[..., Any]
CommandLike = CommandRef | str | Callable[..., Any]


def to_guard(value: object) -> Any:
    """A reference for a name, function or object; a value that is none is kept for the checks to report."""
    if value is None or isinstance(value, (GuardRef, AllOf, AnyOf, Not)):
        return value
    if isinstance(value, str):
        return GuardRef(value)
    if callable(value) or hasattr(value, "check"):
        return GuardRef(handler_name(value) or type(value).__name__, handler=value)
    return value


def to_command(value: object) -> Any:
    """A reference for a name, function or object; a value that is none is kept for the checks to report."""
    if isinstance(value, CommandRef):
        return value
    if isinstance(value, str):
        return CommandRef(value)
    if callable(value) or hasattr(value, "execute"):
        return CommandRef(handler_name(value) or type(value).__name__, handler=value)
    return value


def to_commands(value: object) -> tuple[Any, ...]:
    """References for each item; one item stands for itself."""
    return tuple(to_command(item) for item in to_items(value))


def all_of(*guards: GuardLike) -> AllOf:
    """A guard that holds when all of `guards` hold."""
    return AllOf(tuple(to_guard(guard) for guard in guards))


def any_of(*guards: GuardLike) -> AnyOf:
    """A guard that holds when at least one of `guards` holds."""
    return AnyOf(tuple(to_guard(guard) for guard in guards))


def not_(guard: GuardLike) -> Not:
    """A guard that holds when `guard` does not."""
    return Not(to_guard(guard))


@attrs.frozen
class DelayRef:
    """A timer whose due time a registered function computes when the state is entered."""

    name: str = attrs.field(converter=to_name)
    handler: Any = attrs.field(default=None, kw_only=True, eq=False, repr=False)


def to_delay(value: object) -> Any:
    """A duration as it is, a reference for a name or function."""
    if value is None or isinstance(value, (timedelta, DelayRef)):
        return value
    if isinstance(value, str):
        return DelayRef(value)
    if callable(value):
        return DelayRef(handler_name(value) or type(value).__name__, handler=value)
    return value


@attrs.frozen
class Transition:
    """An allowed move.

    With `event` it answers that event; with `event` and `after` it is also a timer; with neither it is
    automatic: tried, in order, when its state is entered. Without `target` it is *internal*: its commands run
    and history is written, but the state is not entered again. With its own state as `target` it enters the
    state again.

    Attributes:
        error_target: where a `Failure` returned by a command leads; without it a `Failure` raises
            `CommandFailed`.
        after: how long after the state is entered the timer fires, or the function that says so.
        on_rejected: what a guard's no does to the timer: `retry` on the back-off curve, or `disarm` it for
            good.
        emits: topics of messages that the move leaves in the outbox, with the payload of its event; commands
            that say more use `ctx.emit`. Not when the move took its error target.
    """

    event: str | None = attrs.field(default=None, converter=to_optional_name)
    target: str | None = attrs.field(default=None, converter=to_optional_name, kw_only=True)
    guard: Guard | None = attrs.field(default=None, converter=to_guard, kw_only=True)
    commands: tuple[CommandRef, ...] = attrs.field(default=(), converter=to_commands, kw_only=True)
    error_target: str | None = attrs.field(default=None, converter=to_optional_name, kw_only=True)
    after: timedelta | DelayRef | None = attrs.field(default=None, converter=to_delay, kw_only=True)
    on_rejected: OnRejected = attrs.field(default="retry", converter=to_name, kw_only=True)
    emits: tuple[str, ...] = attrs.field(default=(), converter=to_names, kw_only=True)
    description: str = attrs.field(default="", kw_only=True)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_mapping, kw_only=True, hash=False)


def to_transitions(value: Transition | Iterable[Transition] | None) -> tuple[Transition, ...]:
    """Transitions as a tuple; one stands for itself."""
    return to_items(value)


@attrs.frozen
class State:
    """Where an instance can be.

    Attributes:
        context: laid over the instance's context, by top-level key, when the state is entered.
        final: whether it has no way out; left out, a state without transitions of its own is final.
        outcome: what being here means for the instance as a whole; only for final states, `done` if left out.
        allow: codes of warnings that are meant to be so in this state.
    """

    name: str = attrs.field(converter=to_name)
    transitions: tuple[Transition, ...] = attrs.field(default=(), converter=to_transitions)
    context: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_mapping, kw_only=True, hash=False)
    final: bool | None = attrs.field(default=None, kw_only=True)
    outcome: Outcome | None = attrs.field(default=None, converter=to_optional_name, kw_only=True)
    allow: tuple[str, ...] = attrs.field(default=(), converter=to_names, kw_only=True)
    description: str = attrs.field(default="", kw_only=True)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_mapping, kw_only=True, hash=False)


@attrs.frozen
class Wildcard:
    """Transitions that many states share; they come after each state's own and never leave a final state.

    Attributes:
        within: the states or groups that have them; empty stands for every non-final state.
        exclude: the states or groups that do not.
    """

    transitions: tuple[Transition, ...] = attrs.field(converter=to_transitions)
    within: tuple[str, ...] = attrs.field(default=(), converter=to_names, kw_only=True)
    exclude: tuple[str, ...] = attrs.field(default=(), converter=to_names, kw_only=True)


def to_states(value: State | Iterable[State] | None) -> tuple[State, ...]:
    """States as a tuple; one stands for itself."""
    return to_items(value)


def to_wildcards(
    value: Transition | Wildcard | Iterable[Transition | Wildcard] | None,
) -> tuple[Wildcard, ...]:
    """Wildcards as they are; a bare transition becomes one that applies everywhere."""
    return tuple(Wildcard(item) if isinstance(item, Transition) else item for item in to_items(value))


def guard_refs(guard: Guard | None) -> Iterator[GuardRef]:
    """Every named guard inside a combination."""
    match guard:
        case GuardRef():
            yield guard
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from guard_refs(part)
        case Not(part):
            yield from guard_refs(part)
