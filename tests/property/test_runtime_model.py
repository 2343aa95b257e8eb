"""Does the runtime do what a plain dict would, whatever the workflow and whatever is done to it?

The model is written from DESIGN, not from the code: it reads the definition as the user wrote it, and knows nothing of
steps, writes or stores.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import pytest
from hypothesis import reject, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
)

from duraflow import (
    Blocker,
    ChainTooDeep,
    CommandFailed,
    CommandRef,
    DefinitionError,
    EventRefused,
    Failure,
    Firing,
    Folded,
    InvalidArgument,
    Notice,
    Rejected,
    Runtime,
    State,
    TimerRetryPolicy,
    Transition,
    Workflow,
    fold,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing import (
    EffectLedger,
    Inventory,
    ManualClock,
    SequentialIds,
    TransactionalLedger,
    check_invariants,
)

STATES = ("s0", "s1", "s2", "s3")
EVENTS = ("e0", "e1", "e2")
FLAGS = ("f0", "f1")
HOUR = timedelta(hours=1)
POLICY = TimerRetryPolicy(first=timedelta(minutes=10), factor=2.0, cap=timedelta(minutes=25), park_after=2)
BOUND = 4
ALLOWED = ("unreachable_state", "no_way_to_final", "only_wildcards_leave")


# --- random workflows ---------------------------------------------------------------------------------------

# Guards look at a flag in the context; commands flip flags, fail or raise if another flag is set.
GUARDS = {f"{flag}_is_{value}": (flag, value) for flag in FLAGS for value in (True, False)}
COMMANDS = ("count", "flip_f0", "flip_f1", "fail_if_f0", "raise_if_f1", "drop_n")


def guard(flag: str, value: bool) -> Any:
    """A guard with a reason that changes with the context."""

    def holds(context: Mapping[str, Any]) -> bool | Blocker:
        return context.get(flag, False) is value or Blocker("flag", flag, {"n": context.get("n", 0)})

    return holds


class _Raised(Exception):
    pass


def act(name: str, context: dict[str, Any]) -> str | None:
    """What a command does to a context: shared by the model and the real commands. Gives the code of a failure."""
    match name:
        case "count":
            context["n"] = context.get("n", 0) + 1
        case "flip_f0" | "flip_f1":
            flag = name[-2:]
            context[flag] = not context.get(flag, False)
        case "drop_n":
            context.pop("n", None)
        case "fail_if_f0":
            context["tried"] = True
            if context.get("f0"):
                return "f0"
        case "raise_if_f1":
            context["spoilt"] = True
            if context.get("f1"):
                raise _Raised
            del context["spoilt"]
    return None


def command(name: str) -> Any:
    """The real command."""

    def run(ctx: Any) -> Failure | None:
        ctx.resource(TransactionalLedger).record((ctx.transition_id, name))
        code = act(name, ctx.context)
        return None if code is None else Failure(code)

    return run


@st.composite
def _transition(draw: st.DrawFn, event: str | None, guarded: bool, after: timedelta | None) -> Transition:
    commands = draw(
        st.lists(st.builds(CommandRef, st.sampled_from(COMMANDS), best_effort=st.booleans()), max_size=2)
    )
    target = draw(st.one_of(st.sampled_from(STATES), st.none() if commands else st.sampled_from(STATES)))
    return Transition(
        event,
        target=target,
        commands=commands,
        guard=draw(st.sampled_from(sorted(GUARDS))) if guarded else None,
        error_target=draw(st.one_of(st.none(), st.sampled_from(STATES))) if commands else None,
        after=after,
    )


@st.composite
def _state(draw: st.DrawFn, index: int) -> State:
    found: list[Transition] = []
    for event in draw(st.lists(st.sampled_from(EVENTS), min_size=1, max_size=3, unique=True)):
        after = draw(st.one_of(st.none(), st.sampled_from((HOUR, 2 * HOUR))))
        count = draw(st.integers(1, 2))
        found += [
            draw(_transition(event, number < count - 1 or draw(st.booleans()), after))
            for number in range(count)
        ]
    # Automatic ones are guarded, so that no definition goes round for ever without a look at the context.
    found += [draw(_transition(None, True, None)) for _ in range(draw(st.integers(0, 2)))]
    context = draw(
        st.one_of(st.just({}), st.fixed_dictionaries({draw(st.sampled_from((*FLAGS, "n"))): st.just(0)}))
    )
    context = {key: (index if key == "n" else bool(index % 2)) for key in context}
    return State(STATES[index], found, context=context, allow=ALLOWED)


@st.composite
def workflows(draw: st.DrawFn) -> Workflow:
    """Four states, the last one final, with everything in between."""
    states = [draw(_state(index)) for index in range(3)]
    last = State(STATES[3], allow=ALLOWED, outcome=draw(st.sampled_from(("done", "failed", "cancelled"))))
    from_any = draw(st.lists(_transition("w", False, None), max_size=1))
    try:
        return Workflow(name="random", initial=STATES[0], states=[*states, last], from_any=from_any)
    except DefinitionError:
        reject()


# --- the model ----------------------------------------------------------------------------------------------


class _Undone(Exception):
    """The whole step is rolled back."""

    def __init__(self, error: type[BaseException]) -> None:
        super().__init__(error.__name__)
        self.error = error


@attrs.define
class Timer:
    """A timer of the model."""

    event: str
    due_at: datetime
    next_at: datetime | None
    rejected: int = 0
    failed: int = 0
    said: Any = None


@attrs.define
class Model:
    """An instance as a plain value."""

    workflow: Workflow
    state: str
    context: dict[str, Any]
    outcome: str | None = None
    version: int = 1
    timers: list[Timer] = attrs.field(factory=list)
    effects: int = 0

    def copy(self) -> Model:
        """One to try a step on."""
        return attrs.evolve(
            self, context=copy.deepcopy(self.context), timers=[attrs.evolve(timer) for timer in self.timers]
        )

    def definition(self) -> State:
        return next(state for state in self.workflow.states if state.name == self.state)

    def own(self) -> tuple[Transition, ...]:
        """What answers here, own transitions before wildcards, none in the final state."""
        shared = [t for wildcard in self.workflow.from_any for t in wildcard.transitions]
        return (*self.definition().transitions, *(shared if self.state != STATES[3] else ()))

    def answering(self, event: str | None) -> list[Transition]:
        return [transition for transition in self.own() if transition.event == event]

    def no(self, transition: Transition) -> Any:
        """Why the guard says no; None if it holds."""
        if transition.guard is None:
            return None
        flag, value = GUARDS[transition.guard.name]  # type: ignore[union-attr]  # the model has single guards only
        return None if self.context.get(flag, False) is value else (flag, self.context.get("n", 0))

    def enter(self, target: str, now: datetime) -> None:
        self.state = target
        self.context.update(self.definition().context)
        self.timers = []
        self.outcome = self.definition().outcome if target == STATES[3] else None

    def rest(self, now: datetime) -> None:
        """The chain has come to rest: timers are armed."""
        if self.outcome is None:
            for transition in self.own():
                if transition.after is not None and all(t.event != transition.event for t in self.timers):
                    due = now + transition.after  # type: ignore[operator]  # the model has durations only
                    self.timers.append(Timer(str(transition.event), due, due))

    def take(self, transition: Transition, now: datetime) -> tuple[bool, bool]:
        """Commands, then the move. Gives whether a state was entered, and whether it was a failure."""
        target = transition.target
        failed = False
        for ref in transition.commands:
            kept = copy.deepcopy(self.context)
            try:
                code = act(ref.name, self.context)
                self.effects += 1
            except _Raised:
                if not ref.best_effort:
                    raise _Undone(_Raised) from None
                self.context = kept
                continue
            if code is not None and not ref.best_effort:
                if transition.error_target is None:
                    raise _Undone(CommandFailed)
                target, failed = transition.error_target, True
                break
        self.version += 1
        if target is None:
            return False, failed
        self.enter(target, now)
        return True, failed

    def chain(self, now: datetime) -> bool:
        """Automatic moves until they rest; whether one of them failed."""
        failures = False
        hops = 0
        going = True
        while going:
            going = False
            for transition in self.answering(None):
                if self.no(transition) is not None:
                    continue
                hops += 1
                if hops > BOUND:
                    raise _Undone(ChainTooDeep)
                entered, failed = self.take(transition, now)
                failures |= failed
                if entered:
                    going = True
                    break
        self.rest(now)
        return failures

    def fire(self, event: str, now: datetime, *, by_timer: bool = False) -> str:
        """Gives the status; raises _Undone."""
        candidates = self.answering(event)
        if by_timer:
            candidates = [transition for transition in candidates if transition.after is not None]
        for transition in candidates:
            if self.no(transition) is None:
                entered, failed = self.take(transition, now)
                if entered:
                    failed |= self.chain(now)
                elif by_timer:
                    self.timers = [timer for timer in self.timers if timer.event != event]
                if not entered:
                    self.nudge(now)
                return "failure" if failed else "success"
        self.version += 1
        return "rejected"

    def nudge(self, now: datetime) -> None:
        """After an internal move, rejected timers are tried at once, unless something is parked."""
        if all(timer.next_at is not None for timer in self.timers):
            for timer in self.timers:
                if timer.rejected and timer.due_at <= now:
                    timer.next_at = now

    def sweep(self, now: datetime) -> tuple[str | None, Model]:
        """What a sweep does to it: which kind of thing, and how it is then."""
        waiting = [
            (timer.next_at, place) for place, timer in enumerate(self.timers) if timer.next_at is not None
        ]
        due = [place for at, place in sorted(waiting) if at <= now]
        if not due:
            return None, self
        after = self.copy()
        timer = after.timers[due[0]]
        said = [after.no(t) for t in after.answering(timer.event) if t.after is not None]
        if all(said):
            timer.rejected, timer.failed = timer.rejected + 1, 0
            timer.next_at = now + POLICY.delay(timer.rejected)
            if timer.said != said:
                timer.said = said
                after.version += 1
            return "rejected", after
        try:
            status = after.fire(timer.event, now, by_timer=True)
        except _Undone:
            after = self.copy()
            timer = after.timers[due[0]]
            timer.rejected, timer.failed = 0, timer.failed + 1
            parked = timer.failed >= POLICY.park_after
            timer.next_at = None if parked else now + POLICY.delay(timer.failed)
            return ("parked" if parked else "failed"), after
        return ("failures" if status == "failure" else "fired"), after


def created(workflow: Workflow, context: dict[str, Any], now: datetime) -> Model:
    """A new instance of the model."""
    model = Model(workflow, STATES[0], {**workflow.states[0].context, **context})
    model.chain(now)
    return model


# --- the machine --------------------------------------------------------------------------------------------

CONTEXTS = st.fixed_dictionaries(
    {}, optional={"f0": st.booleans(), "f1": st.booleans(), "n": st.integers(0, 2)}
)


class RuntimeMachine(RuleBasedStateMachine):
    """Everything that can be done to instances, to the runtime and to the model alike."""

    instances = Bundle("instances")

    def __init__(self) -> None:
        super().__init__()
        self.clock = ManualClock()
        self.ledger = EffectLedger()
        self.models: dict[UUID, Model] = {}
        self.inventory: Inventory | None = None
        self.forgotten: set[Any] = set()
        self.notices: list[Notice] = []

    @initialize(workflow=workflows(), locking=st.sampled_from(("auto", "always")))
    def begin(self, workflow: Workflow, locking: Any) -> None:
        """A runtime with one random workflow."""
        self.workflow = workflow
        self.runtime = Runtime(
            workflows=[workflow],
            persistence=InMemoryPersistence(),
            commands={name: command(name) for name in COMMANDS},
            guards={name: guard(*which) for name, which in GUARDS.items()},
            resources={TransactionalLedger: self.ledger.in_transaction},
            clock=self.clock,
            ids=SequentialIds(),
            timer_retry=POLICY,
            max_automatic_moves=BOUND,
            locking=locking,
            observers=[self.notices.append],
        )
        self.runtime.start()

    def teardown(self) -> None:
        """Close what is open."""
        if hasattr(self, "runtime"):
            self.runtime.close()

    @rule(target=instances, context=CONTEXTS)
    def create(self, context: dict[str, Any]) -> Any:
        """Create one, if its automatic transitions let it be born."""
        try:
            model = created(self.workflow, dict(context), self.clock.now())
        except _Undone as undone:
            with pytest.raises(undone.error):
                self.runtime.create("random", context)
            return multiple()
        instance = self.runtime.create("random", context)
        self.models[instance.id] = model
        return instance.id

    def _apply(self, instance_id: UUID, change: Callable[[Model], Any], call: Callable[[], Any]) -> Any:
        """Do the same to both; what one undoes, the other must."""
        after = self.models[instance_id].copy()
        try:
            expected = change(after)
        except _Undone as undone:
            with pytest.raises(undone.error):
                call()
            return None
        result = call()
        self.models[instance_id] = after
        assert result.instance.version == after.version
        if expected is not None:
            assert result.status == expected
        return result

    @rule(
        instance_id=instances,
        event=st.sampled_from((*EVENTS, "w")),
        how=st.sampled_from(("fire", "try", "many", "tx")),
    )
    def fire(self, instance_id: UUID, event: str, how: str) -> None:
        """Fire an event, by any of the calls that do."""
        model, now = self.models[instance_id], self.clock.now()
        if model.outcome is not None or not model.answering(event):
            with pytest.raises(EventRefused):
                self.runtime.fire(instance_id, event)
            return

        def call() -> Any:
            match how:
                case "fire":
                    return self.runtime.fire(instance_id, event)
                case "try":
                    return self.runtime.try_fire(instance_id, event).or_raise()
                case "many":
                    return self.runtime.fire_many([Firing(instance_id, event)])[0].or_raise()
                case _:
                    with self.runtime.transaction() as tx:
                        return tx.fire(instance_id, event)

        try:
            self._apply(instance_id, lambda after: after.fire(event, now), call)
        except Rejected:
            after = self.models[instance_id]
            assert how in {"try", "many"}
            assert after.fire(event, now) == "rejected"

    @rule(minutes=st.sampled_from((5, 10, 20, 25, 60, 120)))
    def advance(self, minutes: int) -> None:
        """Let time pass."""
        self.clock.advance(timedelta(minutes=minutes))

    @rule()
    def sweep(self) -> None:
        """Fire due timers; each instance has one turn."""
        now = self.clock.now()
        tally: Counter[str] = Counter()
        for instance_id, model in self.models.items():
            fate, self.models[instance_id] = model.sweep(now)
            tally.update([fate] if fate else [])
        result = self.runtime.fire_due_timers(limit=1_000)
        assert {name: count for name, count in attrs.asdict(result).items() if count} == dict(tally)

    @rule(instance_id=instances)
    def rearm(self, instance_id: UUID) -> None:
        """Timers begin anew."""
        model = self.models[instance_id]
        if not model.timers:
            with pytest.raises(InvalidArgument):
                self.runtime.rearm(instance_id)
            return
        self.runtime.rearm(instance_id)
        model.timers = [Timer(timer.event, timer.due_at, timer.due_at) for timer in model.timers]

    @rule(instance_id=instances)
    def cancel(self, instance_id: UUID) -> None:
        """End it."""
        model, now = self.models[instance_id], self.clock.now()
        if model.outcome is not None:
            with pytest.raises(EventRefused):
                self.runtime.cancel(instance_id)
            return

        def end(after: Model) -> None:
            after.version += 1
            if self.workflow.states[3].outcome == "cancelled":
                after.enter(STATES[3], now)
            after.outcome, after.timers = "cancelled", []

        self._apply(instance_id, end, lambda: self.runtime.cancel(instance_id))

    @rule(instance_id=instances, state=st.sampled_from(STATES), context=CONTEXTS)
    def force(self, instance_id: UUID, state: str, context: dict[str, Any]) -> None:
        """Move it by hand."""
        now = self.clock.now()

        def move(after: Model) -> str:
            after.version += 1
            after.enter(state, now)
            after.context.update(context)
            return "failure" if after.chain(now) else "success"

        self._apply(
            instance_id,
            move,
            lambda: self.runtime.force(instance_id, state=state, context=context, reason="test"),
        )

    @rule(instance_id=consumes(instances))
    def delete(self, instance_id: UUID) -> None:
        """Take it out. Its effects stay in the ledger, as an application's rows would: they are forgotten here."""
        model = self.models[instance_id]
        if model.outcome is None:
            with pytest.raises(InvalidArgument):
                self.runtime.delete(instance_id)
        gone = {entry.transition_id for entry in self.runtime.history(instance_id, limit=1_000)}
        self.runtime.delete(instance_id, force=True)
        del self.models[instance_id]
        self.forgotten |= gone

    @invariant()
    def both_agree(self) -> None:
        """Row and model, every part."""
        if not hasattr(self, "runtime"):
            return
        for instance_id, model in self.models.items():
            instance = self.runtime.get(instance_id)
            assert (instance.state, instance.context, instance.outcome, instance.version) == (
                model.state,
                model.context,
                model.outcome,
                model.version,
            )
            assert [(timer.event, timer.due_at) for timer in instance.timers] == [
                (timer.event, timer.due_at) for timer in model.timers
            ]
        assert sum(row.count for row in self.runtime.count()) == len(self.models)
        parked = {one.instance_id for one in self.runtime.parked(limit=1_000)}
        assert parked == {
            key for key, model in self.models.items() if any(timer.next_at is None for timer in model.timers)
        }

    @invariant()
    def history_tells_every_moment(self) -> None:
        """Folding history up to any state entered gives what observers were shown of it."""
        for notice in self.notices:
            if notice.instance.id in self.models:
                entries = self.runtime.history(notice.instance.id, limit=1_000)[: notice.entry.seq]
                assert fold(entries) == Folded.of(notice.instance)
        self.notices.clear()

    @invariant()
    def what_must_always_hold(self) -> None:
        """The invariants of the design."""
        if not hasattr(self, "runtime"):
            return
        effects = [key for key in self.ledger.keys if key[0] not in self.forgotten]  # type: ignore[index]
        assert len(effects) == sum(model.effects for model in self.models.values())
        self.inventory = check_invariants(self.runtime, effects=effects, before=self.inventory)  # type: ignore[arg-type]


TestRuntimeModel = RuntimeMachine.TestCase
TestRuntimeModel.settings = settings(stateful_step_count=25)
