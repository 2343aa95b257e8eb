"""What must hold of the data of an instance, and with which examples is it tried?"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

import attrs

from duraflow.codec import Codec
from duraflow.definition.values import EMPTY, handler_name
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.handlers import Handlers
from duraflow.instance import Instance
from duraflow.runtime.work import ResourceFactory
from duraflow.verify.moves import Run, print_run
from duraflow.verify.rehearsal import NOON

_ASKED = ("context", "state", "metadata", "instance")


@attrs.frozen
class Action:
    """One thing done to an instance in a trial.

    Attributes:
        event: an event; `$created`; `$timer` for waiting until the next timer is due.
        example: which of the examples: the payload, or for the creation the context.
    """

    event: str
    example: int = 0


@attrs.frozen
class Broken:
    """How an invariant was broken.

    Attributes:
        actions: what was done, to be done again by `Invariant.replay`.
        run: what happened.
        given: the examples used, action by action: the context first, then payloads.
        context: the context that breaks it.
        message: what the invariant said.
    """

    actions: tuple[Action, ...]
    run: Run
    given: tuple[Any, ...]
    context: Mapping[str, Any]
    message: str


@attrs.frozen
class Tried:
    """What became of a trial.

    Attributes:
        broken: the shortest way to break it that was found; None if it held.
        places: how many different places (state, context and timers) were looked at.
        not_covered: what could not be tried, and why.
    """

    broken: Broken | None
    places: int
    not_covered: tuple[str, ...]


@attrs.frozen(eq=False)
class Invariant:
    """See `invariant`."""

    holds: Callable[..., Any]
    name: str
    contexts: tuple[Mapping[str, Any], ...]
    payloads: Mapping[str, tuple[Any, ...]]
    metadata: Mapping[str, Any]
    commands: Handlers
    guards: Handlers
    delays: Handlers
    resources: Mapping[Any, ResourceFactory]
    codec: Codec | None
    start: datetime
    depth: int
    max_places: int
    max_automatic_moves: int

    def __str__(self) -> str:
        return f"invariant({self.name})"

    def check(self, workflow: Workflow) -> Tried:
        """Try it on a workflow.

        Raises:
            InvalidArgument: it has examples for an event that the workflow does not have.
        """
        from duraflow.verify.trial import Trial

        return Trial.of(self, workflow).run()

    def replay(self, workflow: Workflow, actions: Iterable[Action | tuple[str, int]]) -> None:
        """Do once more what broke it, which is a test that it holds now.

        Raises:
            AssertionError: it is still broken.
        """
        from duraflow.verify.trial import Trial

        trial = Trial.of(self, workflow)
        done = [action if isinstance(action, Action) else Action(*action) for action in actions]
        broken = trial.first_broken(done)
        if broken is not None:
            raise AssertionError(f"{self}: {broken.message}\n{print_run(broken.run, indent='  ')}")

    def verdict(self, instance: Instance) -> str | None:
        """What it says against an instance; None if it holds."""
        asked = inspect.signature(self.holds).parameters
        values = {
            "context": instance.context,
            "state": instance.state,
            "metadata": instance.metadata,
            "instance": instance,
        }
        try:
            answer = self.holds(**{name: values[name] for name in asked if name in values})
        except AssertionError as error:
            return str(error) or "an assertion failed"
        if answer is None or answer is True:
            return None
        if answer is False:
            return "it does not hold"
        raise InvalidArgument(
            str(self), f"it returned {answer!r}; return True or False, or assert what must hold"
        )


def invariant(
    holds: Callable[..., Any],
    *,
    payloads: Mapping[str, Iterable[Any]] = EMPTY,
    contexts: Iterable[Mapping[str, Any]] = ({},),
    metadata: Mapping[str, Any] = EMPTY,
    commands: Handlers = (),
    guards: Handlers = (),
    delays: Handlers = (),
    resources: Mapping[Any, ResourceFactory] = EMPTY,
    codec: Codec | None = None,
    start: datetime = NOON,
    depth: int = 6,
    max_places: int = 2000,
    max_automatic_moves: int = 10,
    name: str | None = None,
) -> Invariant:
    """Something that must hold of an instance after every step, tried with examples on the stores in memory.

    Args:
        holds: a function of any of (context, state, metadata, instance) that gives True or False, or asserts.
        payloads: examples by event. An event without a payload type is tried without a payload, too.
        contexts: examples of what instances are created with.
        commands: as for `Runtime`; the same holds for `guards`, `delays`, `resources`, `codec`, `max_automatic_moves`.
        start: the time at the creation. It passes only by waiting for timers.
        depth: how many events and timers after the creation.
        max_places: how many different places are looked at, at most.

    Raises:
        InvalidArgument: `holds` asks for something else, or a bound is not positive.
    """
    unknown = [
        parameter.name
        for parameter in inspect.signature(holds).parameters.values()
        if parameter.name not in _ASKED and parameter.default is parameter.empty
    ]
    if unknown:
        raise InvalidArgument(
            "holds", f"it has the parameter {unknown[0]!r}; what it can ask for is {', '.join(_ASKED)}"
        )
    for argument, value in (("depth", depth), ("max_places", max_places)):
        if value < 1:
            raise InvalidArgument(argument, f"{value!r} is not positive")
    return Invariant(
        holds=holds,
        name=name or handler_name(holds) or "holds",
        contexts=tuple(contexts),
        payloads={getattr(event, "value", event): tuple(given) for event, given in payloads.items()},
        metadata=metadata,
        commands=commands,
        guards=guards,
        delays=delays,
        resources=resources,
        codec=codec,
        start=start,
        depth=depth,
        max_places=max_places,
        max_automatic_moves=max_automatic_moves,
    )
