"""How does hypothesis play with any workflow, looking for what breaks? It needs the package `hypothesis`.

>>> from duraflow import State, Transition, Workflow
>>> parcel = Workflow(
...     name="parcel",
...     initial="packed",
...     states=[
...         State("packed", [Transition("send", target="sent", commands=["post"], error_target="lost")]),
...         State("sent", [Transition("arrive", target="delivered", guard="is_signed")]),
...         State("delivered"),
...         State("lost", outcome="failed"),
...     ],
... )
>>> ParcelMachine = workflow_machine(parcel)
>>> TestParcel = ParcelMachine.TestCase  # for pytest and unittest
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from duraflow.definition.payloads import FieldsPayload
from duraflow.definition.resolve import ResolvedState
from duraflow.definition.values import EMPTY, DelayRef, guard_refs, handler_name, to_items
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    Busy,
    ChainTooDeep,
    CommandFailed,
    EventRefused,
    InvalidArgument,
    Rejected,
)
from duraflow.handlers import Handlers
from duraflow.instance import Instance
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Persistence
from duraflow.results import Failure
from duraflow.runtime.blocking import Runtime
from duraflow.runtime.work import ResourceFactory
from duraflow.testing.clocks import ManualClock, SequentialIds
from duraflow.testing.invariants import Inventory, check_invariants
from duraflow.verify.graph import build

Examples = Iterable[Any] | st.SearchStrategy[Any]
"""What to choose from: values, or a strategy."""

_COMMANDS = ("done", "failure", "raises")


class CommandRaised(Exception):
    """What a command raises that hypothesis plays."""


def workflow_machine(
    workflow: Workflow,
    *,
    payloads: Mapping[str, Examples] = EMPTY,
    contexts: Examples = ({},),
    commands: Handlers = (),
    guards: Handlers = (),
    delays: Handlers = (),
    resources: Mapping[Any, Callable[[], ResourceFactory]] = EMPTY,
    checks: Iterable[Callable[[Instance], object]] = (),
    tolerate: tuple[type[Exception], ...] = (),
    persistence: Callable[[], Persistence] = InMemoryPersistence,
    max_automatic_moves: int = 10,
) -> type[RuleBasedStateMachine]:
    """A state machine that creates instances, fires events, lets time pass, and checks after each step what must hold.

    That is: `check_invariants`; that nothing changes when something raises; that no state is entered which
    `duraflow.verify` says cannot be. A guard or command that is neither given nor carried by the definition is played
    by hypothesis: the guard says yes or no, the command is done, answers `Failure` or raises.

    Args:
        workflow: any workflow. What its events take, and is not among `payloads`, is made from the type.
        payloads: by event.
        contexts: what instances are created with.
        commands: as for `Runtime`; the same holds for `guards`, `delays`, `max_automatic_moves`.
        resources: what makes the factory of each, once for each run: `{Ledger: lambda: MemoryLedger().of}`.
        checks: called with every instance after every step; they raise, as with `assert`, if something is wrong.
        tolerate: what your own commands may raise.
        persistence: makes an empty store.

    Returns:
        A class; its attribute `TestCase` is what pytest collects.

    Raises:
        InvalidArgument: there are no `payloads` for an event with a payload type that values cannot be made from.
    """
    given = {event: _payload_strategy(workflow, event, payloads) for event in sorted(workflow.event_names)}
    made = frozenset(e for e in given if e not in payloads and workflow.events.get(e) is not None)
    context_strategy = _strategy(contexts)
    missing = _Missing.of(workflow, commands, guards, delays)
    reachable = build(workflow).states
    harmless: tuple[type[Exception], ...] = (
        EventRefused,
        Rejected,
        CommandFailed,
        ChainTooDeep,
        Busy,
        CommandRaised,
        *tolerate,
    )

    class WorkflowMachine(RuleBasedStateMachine):
        """Plays with one workflow."""

        def __init__(self) -> None:
            super().__init__()
            self.clock = ManualClock()
            self.played = _Played(missing)
            self.inventory: Inventory | None = None
            self.runtime = Runtime(
                workflows=[workflow],
                persistence=persistence(),
                commands={**_by_name(commands), **self.played.commands},
                guards={**_by_name(guards), **self.played.guards},
                delays={**_by_name(delays), **self.played.delays},
                resources={kind: make() for kind, make in resources.items()},
                clock=self.clock,
                ids=SequentialIds(),
                max_automatic_moves=max_automatic_moves,
            )
            self.runtime.start()

        def teardown(self) -> None:
            self.runtime.close()

        @property
        def instances(self) -> tuple[Instance, ...]:
            """All of them, oldest first."""
            return tuple(sorted(self.runtime.list(limit=500).instances, key=lambda found: found.id))

        @initialize(data=st.data())
        def begin(self, data: st.DataObject) -> None:
            """Most runs are about one instance."""
            self.create(data)

        @rule(data=st.data())
        @precondition(lambda self: len(self.runtime.list(limit=5).instances) < 3)
        def create(self, data: st.DataObject) -> None:
            """Create one more."""
            self.played.decide(data)
            before = self.instances
            try:
                self.runtime.create(workflow.name, context=data.draw(context_strategy, label="context"))
            except harmless:
                assert self.instances == before, "a creation that raised has left something"

        @rule(data=st.data())
        @precondition(lambda self: any(found.open for found in self.instances))
        def fire(self, data: st.DataObject) -> None:
            """Fire an event, most often one that is accepted."""
            instance = data.draw(st.sampled_from([i for i in self.instances if i.open]), label="instance")
            accepted = workflow.resolved[instance.state].accepted
            pool = [*accepted, *given]
            if not pool:
                return
            event = data.draw(st.sampled_from(pool), label="event")
            payload = data.draw(given[event], label="payload")
            self.played.decide(data)
            try:
                result = self.runtime.fire(instance.id, event, payload)
            except harmless:
                assert self.runtime.get(instance.id) == instance, f"{event!r} raised and changed the instance"
            except InvalidArgument:
                # What hypothesis makes of a type need not be something that can be stored, such as a NaN.
                if event not in made:
                    raise
            else:
                assert event in accepted, (
                    f"{instance.state!r} does not accept {event!r}, but it did something"
                )
                assert result.instance == self.runtime.get(instance.id)

        @rule(data=st.data())
        @precondition(lambda self: any(found.due_at for found in self.instances))
        def wait_for_a_timer(self, data: st.DataObject) -> None:
            """Let time pass until the next timer is due, and fire what is due."""
            due = min(found.due_at for found in self.instances if found.due_at is not None)
            self.clock.set(max(due, self.clock.now()))
            self.played.decide(data)
            self.runtime.fire_due_timers()

        @rule(hours=st.integers(1, 48), data=st.data())
        def let_time_pass(self, hours: int, data: st.DataObject) -> None:
            """Let time pass, and fire what is due."""
            self.clock.advance(timedelta(hours=hours))
            self.played.decide(data)
            self.runtime.fire_due_timers()

        @invariant()
        def everything_holds(self) -> None:
            """What must hold of every store, of this workflow, and what the user says."""
            self.inventory = check_invariants(self.runtime, before=self.inventory)
            for instance in self.instances:
                assert instance.state in reachable, (
                    f"an instance is in {instance.state!r}, which duraflow.verify says cannot be"
                )
                for check in checks:
                    check(instance)

    WorkflowMachine.__name__ = WorkflowMachine.__qualname__ = "".join(
        part.capitalize() for part in _words(workflow.name)
    ) + ("Machine")
    return WorkflowMachine


def _words(name: str) -> list[str]:
    return "".join(letter if letter.isalnum() else " " for letter in name).split()


def _strategy(examples: Examples) -> st.SearchStrategy[Any]:
    return examples if isinstance(examples, st.SearchStrategy) else st.sampled_from([*examples])


def _payload_strategy(
    workflow: Workflow, event: str, payloads: Mapping[str, Examples]
) -> st.SearchStrategy[Any]:
    if event in payloads:
        return _strategy(payloads[event])
    declared = workflow.events.get(event)
    if declared is None:
        return st.none()
    if isinstance(declared, FieldsPayload):
        return st.from_type(declared.declared)
    raise InvalidArgument(
        "payloads", f"give examples or a strategy for {event!r}: values of its payload type cannot be made up"
    )


class _Missing:
    """The handlers that neither the user nor the definition has."""

    def __init__(self, commands: list[str], guards: list[str], delays: list[str]) -> None:
        self.commands = commands
        self.guards = guards
        self.delays = delays
        self.answers = st.fixed_dictionaries(dict.fromkeys(guards, st.booleans()))
        self.outcomes = st.fixed_dictionaries(dict.fromkeys(commands, st.sampled_from(_COMMANDS)))

    @classmethod
    def of(cls, workflow: Workflow, commands: Handlers, guards: Handlers, delays: Handlers) -> _Missing:
        found: tuple[set[str], set[str], set[str]] = (set(), set(), set())
        carried: tuple[set[str], set[str], set[str]] = (
            set(_by_name(commands)),
            set(_by_name(guards)),
            set(_by_name(delays)),
        )
        for state in workflow.resolved.values():
            for kind, ref in _references(state):
                (found if ref.handler is None else carried)[kind].add(ref.name)
        return cls(*(sorted(names - had) for names, had in zip(found, carried, strict=True)))


def _references(state: ResolvedState) -> Iterable[tuple[int, Any]]:
    for candidate in [c for answering in state.events.values() for c in answering] + [*state.automatic]:
        yield from ((0, ref) for ref in candidate.commands)
        yield from ((1, ref) for ref in guard_refs(candidate.guard))
        if isinstance(candidate.transition.after, DelayRef):
            yield 2, candidate.transition.after


class _Played:
    """Handlers that do what hypothesis decided for this step."""

    def __init__(self, missing: _Missing) -> None:
        self._missing = missing
        self._answers: Mapping[str, bool] = dict.fromkeys(missing.guards, True)
        self._outcomes: Mapping[str, str] = dict.fromkeys(missing.commands, "done")
        self.commands = {name: self._command(name) for name in missing.commands}
        self.guards = {name: self._guard(name) for name in missing.guards}
        self.delays = {name: lambda: timedelta(days=1) for name in missing.delays}

    def decide(self, data: st.DataObject) -> None:
        """Decide on everything for one step: a guard that is asked twice gives one answer."""
        if self._missing.guards:
            self._answers = data.draw(self._missing.answers, label="guards")
        if self._missing.commands:
            self._outcomes = data.draw(self._missing.outcomes, label="commands")

    def _command(self, name: str) -> Callable[[Any], Failure | None]:
        def play(_ctx: Any) -> Failure | None:
            match self._outcomes[name]:
                case "failure":
                    return Failure("played", f"hypothesis lets {name!r} fail")
                case "raises":
                    raise CommandRaised(name)
                case _:
                    return None

        return play

    def _guard(self, name: str) -> Callable[[], bool]:
        return lambda: self._answers[name]


def _by_name(handlers: Handlers) -> dict[str, Any]:
    if isinstance(handlers, Mapping):
        return dict(handlers)
    return {name: handler for handler in to_items(handlers) if (name := handler_name(handler)) is not None}


__all__ = ["CommandRaised", "workflow_machine"]
