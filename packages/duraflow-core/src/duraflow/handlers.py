"""How do an application's functions become commands, guards and delays of a runtime?

Nothing is registered globally. `@command("name")` only notes a name on the function; a runtime gets the functions (or
objects) it shall use, as an iterable or as a mapping from names, beside those that definitions carry themselves.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

import attrs

from duraflow.definition.checks.handlers import missing_handlers
from duraflow.definition.checks.names import name_problem
from duraflow.definition.findings import Finding
from duraflow.definition.values import DelayRef, guard_refs, handler_name, to_items
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.instance import Blocker

F = TypeVar("F", bound=Callable[..., Any])
Handlers = Mapping[str, Any] | Iterable[Any]

_GUARD_PARAMETERS = ("payload", "context", "metadata", "now", "params")
_DELAY_PARAMETERS = ("payload", "context", "metadata", "now")


def _named(name: str | F | None) -> Any:
    if callable(name):
        return name

    def note(function: F) -> F:
        if name is not None:
            function.__duraflow_name__ = name  # type: ignore[attr-defined]  # read back by handler_name
        return function

    return note


def command(name: str | F | None = None) -> Any:
    """Note under which name a function is registered as a command; without a name it is the function's own."""
    return _named(name)


def guard(name: str | F | None = None) -> Any:
    """Note under which name a function is registered as a guard; without a name it is the function's own."""
    return _named(name)


def delay(name: str | F | None = None) -> Any:
    """Note under which name a function is registered as a delay; without a name it is the function's own."""
    return _named(name)


@attrs.frozen
class Asked:
    """What a guard or delay function may ask for, by parameter name."""

    payload: Any
    context: Mapping[str, Any]
    metadata: Mapping[str, Any]
    now: datetime


GuardCheck = Callable[[Asked, Mapping[str, Any]], tuple[Blocker, ...]]
CommandCall = Callable[[Any], Any]
DelayCall = Callable[[Asked], timedelta | datetime | None]


@attrs.frozen
class HandlerTable:
    """All handlers of one runtime, by name, ready to call."""

    commands: Mapping[str, CommandCall]
    guards: Mapping[str, GuardCheck]
    delays: Mapping[str, DelayCall]

    def missing(self, workflow: Workflow) -> tuple[Finding, ...]:
        """What a definition uses and is not here."""
        return tuple(
            missing_handlers(
                workflow,
                commands=self.commands.__contains__,
                guards=self.guards.__contains__,
                delays=self.delays.__contains__,
            )
        )


def handler_table(
    workflows: Iterable[Workflow], *, commands: Handlers, guards: Handlers, delays: Handlers
) -> HandlerTable:
    """The handlers given to a runtime, together with those that its definitions carry.

    Raises:
        InvalidArgument: one name stands for two handlers, or a handler cannot be called as it must be.
    """
    found_commands = _by_name("commands", commands)
    found_guards = _by_name("guards", guards)
    found_delays = _by_name("delays", delays)
    for workflow in workflows:
        for state in workflow.resolved.values():
            for candidate in [c for answering in state.events.values() for c in answering] + list(
                state.automatic
            ):
                for ref in candidate.commands:
                    _add("commands", found_commands, ref.name, ref.handler)
                for used in guard_refs(candidate.guard):
                    _add("guards", found_guards, used.name, used.handler)
                if isinstance(candidate.transition.after, DelayRef):
                    after = candidate.transition.after
                    _add("delays", found_delays, after.name, after.handler)
    return HandlerTable(
        commands={name: _command_call(name, handler) for name, handler in found_commands.items()},
        guards={name: _guard_check(name, handler) for name, handler in found_guards.items()},
        delays={name: _delay_call(name, handler) for name, handler in found_delays.items()},
    )


def _by_name(kind: str, handlers: Handlers) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if isinstance(handlers, Mapping):
        for name, handler in handlers.items():
            _add(kind, found, name, handler)
        return found
    for handler in to_items(handlers):
        name = handler_name(handler)
        if name is None:
            raise InvalidArgument(
                kind, f"{handler!r} has no name; pass a mapping from names, or use @{kind[:-1]}(name)"
            )
        _add(kind, found, name, handler)
    return found


def _add(kind: str, found: dict[str, Any], name: str, handler: Any) -> None:
    if handler is None:
        return
    problem = name_problem(name)
    if problem is not None:
        raise InvalidArgument(kind, problem[1])
    if name == "<lambda>":
        raise InvalidArgument(
            kind, "a lambda has no name to store; pass a mapping from names, or use a function"
        )
    if found.setdefault(name, handler) is not handler:
        raise InvalidArgument(kind, f"two different {kind} are named {name!r}; give one another name")


def _command_call(name: str, handler: Any) -> CommandCall:
    call = getattr(handler, "execute", handler)
    if not callable(call):
        raise InvalidArgument("commands", f"{name!r} is neither callable nor has a method `execute(ctx)`")
    return call  # type: ignore[no-any-return]


def _parameters(kind: str, name: str, call: Callable[..., Any], known: tuple[str, ...]) -> tuple[str, ...]:
    if inspect.iscoroutinefunction(call):
        raise InvalidArgument(
            kind,
            f"{name!r} is async, but {kind} are plain and pure: let a command look things up and write context",
        )
    asked = []
    for parameter in inspect.signature(call).parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or parameter.kind is parameter.VAR_POSITIONAL:
            raise InvalidArgument(
                kind, f"{name!r} takes *{parameter.name}; name what it needs of {', '.join(known)}"
            )
        if parameter.name in known:
            asked.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise InvalidArgument(
                kind,
                f"{name!r} has the parameter {parameter.name!r}; what it can ask for is {', '.join(known)}",
            )
    return tuple(asked)


def _guard_check(name: str, handler: Any) -> GuardCheck:
    call = handler if callable(handler) and not hasattr(handler, "check") else getattr(handler, "check", None)
    if call is None:
        raise InvalidArgument("guards", f"{name!r} is neither callable nor has a method `check`")
    asked = _parameters("guards", name, call, _GUARD_PARAMETERS)
    refusal = (Blocker(name, f"guard {name!r} does not hold", guard=name),)

    def check(values: Asked, params: Mapping[str, Any]) -> tuple[Blocker, ...]:
        answer = call(**{key: params if key == "params" else getattr(values, key) for key in asked})
        if answer is True:
            return ()
        if answer is False:
            return refusal
        if isinstance(answer, Blocker):
            return (attrs.evolve(answer, guard=name),)
        raise InvalidArgument(
            f"guard {name!r}",
            f"it returned {answer!r}; a guard returns True, False or Blocker(code, message)",
        )

    return check


def _delay_call(name: str, handler: Any) -> DelayCall:
    asked = _parameters("delays", name, handler, _DELAY_PARAMETERS)

    def compute(values: Asked) -> timedelta | datetime | None:
        return handler(**{key: getattr(values, key) for key in asked})  # type: ignore[no-any-return]

    return compute
