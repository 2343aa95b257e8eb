"""Does something hold of the data after every step, when real guards and commands run on examples?

What a definition alone cannot tell, because it depends on what guards compute and commands write, is tried: from each
example context, every event with every example payload, and every timer, up to a depth. It runs on a runtime over the
stores in memory. What could not be tried is said.
"""

from __future__ import annotations

import inspect
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs

from duraflow.codec import Codec, canonical_json
from duraflow.definition.resolve import ResolvedState
from duraflow.definition.values import (
    CommandRef,
    DelayRef,
    State,
    Transition,
    Wildcard,
    guard_refs,
    handler_name,
    to_items,
)
from duraflow.definition.workflow import Workflow
from duraflow.errors import DuraflowError, EventRefused, InvalidArgument, Rejected
from duraflow.handlers import Handlers
from duraflow.instance import Instance
from duraflow.memory import InMemoryPersistence
from duraflow.runtime.blocking import Runtime
from duraflow.verify.invariants import Action, Broken, Invariant, Tried
from duraflow.verify.moves import CREATED, Run, move_of_entry

TIMER = "$timer"


class _NotTried(Exception):
    """A handler that a trial cannot run."""


@attrs.define
class _Clock:
    time: datetime

    def now(self) -> datetime:
        return self.time


@attrs.define(eq=False)
class Trial:
    """One invariant on one workflow."""

    invariant: Invariant
    workflow: Workflow
    commands: dict[str, Any]
    guards: dict[str, Any]
    delays: dict[str, Any]
    missed: dict[str, None] = attrs.field(factory=dict)

    @classmethod
    def of(cls, invariant: Invariant, workflow: Workflow) -> Trial:
        for event in invariant.payloads:
            if event not in workflow.event_names:
                raise InvalidArgument("payloads", f"{workflow.name!r} has no event {event!r}")
        trial = cls(
            invariant,
            _plain(workflow),
            _by_name(invariant.commands),
            _by_name(invariant.guards),
            _by_name(invariant.delays),
        )
        trial._stand_in()
        return trial

    def _stand_in(self) -> None:
        """Something for each handler that is not there or cannot be run: it says so when it is asked."""
        for state in self.workflow.resolved.values():
            for candidate in _candidates(state):
                for ref in candidate.commands:
                    if ref.external:
                        self._miss(f"the external command {ref.name!r}: a worker runs it, not a step")
                    given = self.commands.get(ref.name)
                    if given is None and ref.handler is None:
                        self.commands[ref.name] = _refusing(f"no command {ref.name!r} is given")
                    elif given is not None and _is_async(given):
                        self.commands[ref.name] = _refusing(f"the command {ref.name!r} is async")
                for guard in guard_refs(candidate.guard):
                    if guard.handler is None and guard.name not in self.guards:
                        self.guards[guard.name] = _refusing(f"no guard {guard.name!r} is given")
                after = candidate.transition.after
                if isinstance(after, DelayRef) and after.handler is None and after.name not in self.delays:
                    self._miss(f"no delay {after.name!r} is given: its timers are not tried")
                    self.delays[after.name] = lambda: None

    def _miss(self, what: str) -> None:
        self.missed.setdefault(what)

    def run(self) -> Tried:
        """Everything, breadth first, so that what breaks it is found by a shortest way."""
        seen: set[tuple[Any, ...]] = set()
        waiting: deque[tuple[Action, ...]] = deque(
            (Action(CREATED, index),) for index in range(len(self.invariant.contexts))
        )
        cut = 0
        while waiting:
            actions = waiting.popleft()
            reached = self._replay(actions)
            if reached is None:
                continue
            instance, run = reached
            message = self.invariant.verdict(instance)
            if message is not None:
                return Tried(self._broken(actions, run, instance, message), len(seen) + 1, tuple(self.missed))
            place = self._place(instance)
            if place in seen:
                continue
            seen.add(place)
            if not instance.open or instance.continuation is not None:
                continue
            if len(actions) > self.invariant.depth or len(seen) >= self.invariant.max_places:
                cut += 1
                continue
            waiting.extend((*actions, action) for action in self._actions(instance))
        if cut:
            limit = f"depth={self.invariant.depth}, max_places={self.invariant.max_places}"
            self._miss(f"what comes after {cut} of the places, where the search ended ({limit})")
        return Tried(None, len(seen), tuple(self.missed))

    def first_broken(self, actions: Sequence[Action]) -> Broken | None:
        """The first step of these that breaks it."""
        for length in range(1, len(actions) + 1):
            reached = self._replay(tuple(actions[:length]))
            if reached is None:
                return None
            instance, run = reached
            message = self.invariant.verdict(instance)
            if message is not None:
                return self._broken(tuple(actions[:length]), run, instance, message)
        return None

    def _broken(self, actions: tuple[Action, ...], run: Run, instance: Instance, message: str) -> Broken:
        given = (self.invariant.contexts[actions[0].example], *map(self._payload, actions[1:]))
        return Broken(actions, run, given, dict(instance.context), message)

    def _place(self, instance: Instance) -> tuple[Any, ...]:
        codec = self.invariant.codec or Codec()
        context = canonical_json(codec.to_plain(instance.context, path="context"))
        return instance.state, instance.outcome, context, tuple(timer.event for timer in instance.timers)

    def _payload(self, action: Action) -> Any:
        given = self._examples(action.event)
        return given[action.example] if action.example < len(given) else None

    def _examples(self, event: str) -> tuple[Any, ...]:
        given = self.invariant.payloads.get(event, ())
        return given if given or self.workflow.events.get(event) is not None else (None,)

    def _actions(self, instance: Instance) -> Iterator[Action]:
        for event in self.workflow.resolved[instance.state].events:
            examples = self._examples(event)
            if not examples:
                self._miss(f"the event {event!r}: it takes a payload, and there is no example in `payloads`")
            for index in range(len(examples)):
                yield Action(event, index)
        if instance.timers:
            yield Action(TIMER)

    def _replay(self, actions: tuple[Action, ...]) -> tuple[Instance, Run] | None:
        """Do all of this to a new instance in a new store; None if the last step leads nowhere."""
        invariant = self.invariant
        clock = _Clock(invariant.start)
        with Runtime(
            workflows=[self.workflow],
            persistence=InMemoryPersistence(),
            commands=self.commands,
            guards=self.guards,
            delays=self.delays,
            resources=invariant.resources,
            codec=invariant.codec,
            clock=clock,
            max_automatic_moves=invariant.max_automatic_moves,
        ) as runtime:
            try:
                context = invariant.contexts[actions[0].example]
                instance = runtime.create(self.workflow.name, context=context, metadata=invariant.metadata)
                for action in actions[1:]:
                    self._act(runtime, clock, instance, action)
                    instance = runtime.get(instance.id)
            except (EventRefused, Rejected):
                return None
            except _NotTried as error:
                self._miss(f"{error}: what it is needed for is not tried")
                return None
            except Exception as error:  # noqa: BLE001  # whatever a handler raises is undone, and told
                self._miss(self._raised(actions, error))
                return None
            entries = [*runtime.history(instance.id, limit=1000)]
            return instance, tuple(move_of_entry(entry) for entry in entries)

    def _act(self, runtime: Runtime, clock: _Clock, instance: Instance, action: Action) -> None:
        if action.event != TIMER:
            runtime.fire(instance.id, action.event, self._payload(action)).or_raise()
            return
        if instance.due_at is None:
            raise EventRefused(instance.id, instance.workflow, instance.state, TIMER, "not_accepted", ())
        clock.time = max(clock.time, instance.due_at)
        if runtime.fire_due_timers().failed:
            self._miss(f"a timer of state {instance.state!r}: a guard or a command raises")

    def _raised(self, actions: tuple[Action, ...], error: Exception) -> str:
        last = actions[-1]
        what = "the creation" if last.event == CREATED else repr(last.event)
        text = str(error) if isinstance(error, DuraflowError) else f"{type(error).__name__}: {error}"
        return f"{what} with {_short(self._given(last))}: {text}"

    def _given(self, action: Action) -> Any:
        return self.invariant.contexts[action.example] if action.event == CREATED else self._payload(action)


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, Mapping) else json.dumps(dict(value), default=repr)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _candidates(state: ResolvedState) -> Iterator[Any]:
    for answering in state.events.values():
        yield from answering
    yield from state.automatic


def _by_name(handlers: Handlers) -> dict[str, Any]:
    if isinstance(handlers, Mapping):
        return dict(handlers)
    return {name: handler for handler in to_items(handlers) if (name := handler_name(handler)) is not None}


def _is_async(handler: Any) -> bool:
    return inspect.iscoroutinefunction(getattr(handler, "execute", handler))


def _refusing(why: str) -> Callable[..., Any]:
    def refuse(context: Any = None) -> Any:
        raise _NotTried(why)

    return refuse


def _plain(workflow: Workflow) -> Workflow:
    """The workflow with something in place of the async commands that it carries: it says what they are."""
    carried = [c for s in workflow.resolved.values() for x in _candidates(s) for c in x.commands]
    if not any(ref.handler is not None and _is_async(ref.handler) for ref in carried):
        return workflow
    stubs: dict[str, Callable[..., Any]] = {}

    def command(ref: CommandRef) -> CommandRef:
        if ref.handler is None or not _is_async(ref.handler):
            return ref
        stub = stubs.setdefault(ref.name, _refusing(f"the command {ref.name!r} is async"))
        return attrs.evolve(ref, handler=stub)

    def transition(found: Transition) -> Transition:
        return attrs.evolve(found, commands=tuple(map(command, found.commands)))

    def state(found: State) -> State:
        return attrs.evolve(found, transitions=tuple(map(transition, found.transitions)))

    def wildcard(found: Wildcard) -> Wildcard:
        return attrs.evolve(found, transitions=tuple(map(transition, found.transitions)))

    return attrs.evolve(
        workflow,
        states=tuple(map(state, workflow.states)),
        from_any=tuple(map(wildcard, workflow.from_any)),
    )
