"""How is a log replayed through a workflow? In the order of time over all cases, with timers firing when they are due.

Before each event the log's clock moves to it, stopping at every due time on the way to sweep. Which timers are armed is
learned from the instances that results bring, so that no sweep is made when nothing can be due. A timer whose guard
said no, or which failed, is due again at some later time that only the store knows: it is swept again at each event.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    AlreadyExists,
    CommandFailed,
    EventRefused,
    InstanceNotFound,
    InvalidArgument,
    LockTimeout,
    Misuse,
    NotSupported,
    StoreUnavailable,
)
from duraflow.instance import ArmedTimer, HistoryEntry, Instance
from duraflow.replay.clock import LogClock
from duraflow.replay.events import LogError, LogEvent, in_order
from duraflow.replay.meaning import Case, Create, Fire, Ignore, Meaning
from duraflow.replay.report import Outcome, ReplayReport, Result, TimerFiring, Verdict
from duraflow.results import FireResult, SweepResult, Unfired
from duraflow.runtime.blocking import Runtime

_SWEEP = 1_000
# A timer that arms itself again for the same instant would keep the clock from ever moving on.
_SWEEPS_AT_ONE_TIME = 1_000
_TRIGGER = {"by": "log"}
# What says that the replay as a whole cannot work, and nothing about the event at hand.
_FATAL = (StoreUnavailable, LockTimeout, Misuse, NotSupported)


def replay(
    runtime: Runtime,
    log: Iterable[LogEvent],
    *,
    workflow: str | Workflow,
    meanings: Mapping[str, Meaning],
    clock: LogClock,
    tolerance: int | timedelta = 1,
    until: datetime | None = None,
    progress: Callable[[int, int], object] | None = None,
    stopwatch: Callable[[], float] = time.perf_counter,
) -> ReplayReport:
    """Replay a log through a workflow, on any persistence.

    An event of the log that names a timer which fired, unasked, not further from it than the tolerance is *confirmed*.
    If the timer is armed and due that soon, the event waits for it; only when another event of its case comes
    first is it fired by name. Whatever an event runs into is an outcome, never an exception: what guards and commands
    raise is reported as `failed`. Instances that exist already (a log in several files) are found by their `ref`.

    Timers are learned from what events and timers of their own case bring: one that a command arms in *another* case
    may fire late, with the next sweep.

    Args:
        runtime: started, made with `clock=clock`, and alone in its namespace: its sweeps fire whatever is due there.
        log: the events, in any order.
        workflow: which one instances are created of.
        meanings: what each activity means; events of others are reported as `unknown`.
        clock: the clock of the runtime.
        tolerance: how far an event may be from its timer: whole calendar days, in the offset of the event, or a
            duration.
        until: where the clock goes on to after the log, timers firing on the way; None stops with the log, but for
            timers that its last events wait for.
        progress: called with (events done, events in all) after each event.
        stopwatch: seconds, for the report's duration.

    Raises:
        InvalidArgument: the tolerance is negative, or `until` has no zone.
        Misuse: the runtime does not run on the clock, or timers fire again and again at one time.
        StoreUnavailable, LockTimeout, NotSupported: as the runtime raises them.
    """
    _check(tolerance, until)
    events = in_order(log)
    started = stopwatch()
    running = _Replay.of(runtime, events, workflow, meanings, clock, tolerance)
    for number, event in enumerate(events):
        running.step(number, event)
        if progress is not None:
            progress(number + 1, len(events))
    running.finish(until)
    return ReplayReport(
        outcomes=tuple(running.outcomes[number] for number in range(len(events))),
        timers=tuple(one.firing for one in running.fired),
        cases=len(running.cases),
        moves=running.moves,
        sweeps=running.swept,
        duration_s=stopwatch() - started,
    )


def _check(tolerance: int | timedelta, until: datetime | None) -> None:
    days = tolerance / timedelta(days=1) if isinstance(tolerance, timedelta) else tolerance
    if isinstance(days, bool) or days < 0:
        raise InvalidArgument(
            "tolerance", f"{tolerance!r} is neither calendar days nor a duration, from zero"
        )
    if until is not None and until.tzinfo is None:
        raise InvalidArgument("until", f"{until!r} has no time zone")


@attrs.define(eq=False)
class _Fired:
    firing: TimerFiring

    @property
    def silent(self) -> bool:
        """Whether no event of the log has spoken of it."""
        return self.firing.verdict in ("unlogged", "after_log")

    def judge(self, verdict: Verdict) -> None:
        self.firing = attrs.evolve(self.firing, verdict=verdict)


@attrs.frozen
class _Held:
    """An event that waits for the timer that it names."""

    number: int
    event: LogEvent
    fire: Fire
    due_at: datetime


@attrs.define(eq=False)
class _Case:
    """A case under way, and what is known of its instance."""

    log: Case
    instance_id: UUID | None = None
    known: bool = False
    state: str | None = None
    version: int = 0
    timers: tuple[ArmedTimer, ...] = ()
    fired: list[_Fired] = attrs.field(factory=list)
    held: _Held | None = None


@attrs.define(eq=False)
class _Replay:
    runtime: Runtime
    workflow: str
    meanings: Mapping[str, Meaning]
    clock: LogClock
    tolerance: int | timedelta
    cases: dict[str, _Case]
    outcomes: dict[int, Outcome] = attrs.field(factory=dict)
    fired: list[_Fired] = attrs.field(factory=list)
    moves: int = 0
    swept: SweepResult = SweepResult()
    after_log: bool = False
    _agenda: list[tuple[datetime, int, _Case]] = attrs.field(factory=list)
    _overdue: dict[str, _Case] = attrs.field(factory=dict)
    _pushed: int = 0
    _swept_at: datetime | None = None
    _sweeps_here: int = 0

    @classmethod
    def of(
        cls,
        runtime: Runtime,
        events: Sequence[LogEvent],
        workflow: str | Workflow,
        meanings: Mapping[str, Meaning],
        clock: LogClock,
        tolerance: int | timedelta,
    ) -> _Replay:
        by_case: dict[str, list[LogEvent]] = {}
        for event in events:
            by_case.setdefault(event.case, []).append(event)
        return cls(
            runtime=runtime,
            workflow=workflow.name if isinstance(workflow, Workflow) else workflow,
            meanings=meanings,
            clock=clock,
            tolerance=tolerance,
            cases={name: _Case(Case(name, tuple(members))) for name, members in by_case.items()},
        )

    # --- the order of things ------------------------------------------------------------------------------------

    def step(self, number: int, event: LogEvent) -> None:
        """Everything that happens up to one event of the log, and the event."""
        self._run_to(event.at)
        case = self.cases[event.case]
        if case.held is not None:
            # The log has another event of the case before the timer: its order counts, not the clock's.
            self._give_up_waiting(case, case.held)
        match self.meanings.get(event.activity):
            case None:
                self._note(number, case, event, "unknown", "unknown_activity", "the mapping does not have it")
            case Ignore(reason=reason):
                self._note(number, case, event, "ignored", "ignored", reason)
            case Create() as create:
                self._create(number, case, event, create)
            case Fire() as fire:
                self._fire(number, case, event, fire)

    def finish(self, until: datetime | None) -> None:
        """What is left after the log: events that wait for their timers, and the time up to the horizon."""
        self.after_log = True
        if until is not None:
            self._run_to(until)
        while waiting := [case.held.due_at for case in self.cases.values() if case.held is not None]:
            self._run_to(min(waiting))
            for case in self.cases.values():
                if case.held is not None and case.held.due_at <= self.clock.now():
                    self._give_up_waiting(case, case.held)

    def _run_to(self, at: datetime) -> None:
        """Move the clock, firing each timer at its time."""
        while self._agenda and self._agenda[0][0] <= at:
            # What was due before now (a delay may lead into the past) is swept now, all together.
            stop = max(self._agenda[0][0], self.clock.now())
            due: dict[str, _Case] = {}
            while self._agenda and self._agenda[0][0] <= stop:
                due_at, _, case = heapq.heappop(self._agenda)
                if any(timer.due_at == due_at for timer in case.timers):
                    due[case.log.name] = case
            if due:
                self.clock.advance_to(stop)
                self._sweep(due)
        self.clock.advance_to(at)
        if self._overdue and self._swept_at != self.clock.now():
            self._sweep(dict(self._overdue))

    def _sweep(self, due: Mapping[str, _Case]) -> None:
        now = self.clock.now()
        self._sweeps_here = self._sweeps_here + 1 if now == self._swept_at else 1
        self._swept_at = now
        if self._sweeps_here > _SWEEPS_AT_ONE_TIME:
            names = ", ".join(sorted(due)[:3])
            raise Misuse(
                f"timers of {names} fire again and again at {now}", "let their delay lead beyond the present"
            )
        while True:
            result = self.runtime.fire_due_timers(limit=_SWEEP)
            self.swept += result
            if result.total < _SWEEP:
                break
        for case in due.values():
            self._look(case)

    def _look(self, case: _Case) -> None:
        """See what a sweep did to a case."""
        assert case.instance_id is not None
        self._catch_up(case)
        self._learn(case, self.runtime.get(case.instance_id))
        held = case.held
        if held is not None:
            fired = self._matching(case, held.fire.event, held.event.at)
            if fired is not None:
                case.held = None
                self._confirm(held.number, case, held.event, fired)
            elif held.due_at <= self.clock.now():
                self._give_up_waiting(case, held)

    def _catch_up(self, case: _Case) -> None:
        """Read what happened to a case since it was last seen."""
        assert case.instance_id is not None
        while entries := self.runtime.history(case.instance_id, after=case.version, limit=_SWEEP):
            for entry in entries:
                self._note_timer(case, entry)
            case.version = entries[-1].seq
            self.moves += len(entries)

    def _note_timer(self, case: _Case, entry: HistoryEntry) -> None:
        if entry.kind != "moved" or entry.trigger.get("by") != "timer" or entry.event.startswith("$"):
            return
        firing = TimerFiring(
            case.log.name,
            entry.event,
            entry.at,
            entry.from_state or entry.to_state,
            "after_log" if self.after_log else "unlogged",
        )
        one = _Fired(firing)
        case.fired.append(one)
        self.fired.append(one)

    def _learn(self, case: _Case, instance: Instance) -> None:
        """Remember where an instance is and when it is due."""
        case.instance_id, case.state, case.version = instance.id, instance.state, instance.version
        if instance.timers != case.timers:
            case.timers = instance.timers
            for timer in instance.timers:
                self._pushed += 1
                heapq.heappush(self._agenda, (timer.due_at, self._pushed, case))
        now = self.clock.now()
        late = any(timer.due_at <= now for timer in case.timers)
        if late and self._swept_at == now:
            self._overdue[case.log.name] = case
        elif not late:
            self._overdue.pop(case.log.name, None)

    # --- single events ------------------------------------------------------------------------------------------

    def _create(self, number: int, case: _Case, event: LogEvent, create: Create) -> None:
        try:
            instance = self.runtime.create(
                self.workflow,
                create.context(event, case.log) if create.context is not None else {},
                metadata=create.metadata(event, case.log) if create.metadata is not None else {},
                ref=case.log.name,
                trigger=_TRIGGER,
            )
        except AlreadyExists:
            self._find(case)
            self._note(
                number, case, event, "refused", "already_exists", "the case has begun before", case.state
            )
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # what commands raise is a finding about this event, and shown
            self._note_error(number, case, event, error, None)
        else:
            if instance.created_at != self.clock.now():
                raise Misuse(
                    "the runtime does not run on the clock of the replay", "pass Runtime(clock=clock)"
                )
            case.known = True
            self.moves += instance.version
            self._learn(case, instance)
            self._note(number, case, event, "applied")

    def _find(self, case: _Case) -> None:
        """Look once for an instance that was there before the log."""
        if case.known:
            return
        case.known = True
        try:
            instance = self.runtime.get((self.workflow, case.log.name))
        except (InstanceNotFound, InvalidArgument):
            return
        self._learn(case, instance)
        self._run_to(self.clock.now())

    def _fire(self, number: int, case: _Case, event: LogEvent, fire: Fire) -> None:
        self._find(case)
        if case.instance_id is None:
            self._note(number, case, event, "refused", "no_instance", "the case has not begun")
            return
        fired = self._matching(case, fire.event, event.at)
        if fired is not None:
            self._confirm(number, case, event, fired)
            return
        armed = next((timer for timer in case.timers if timer.event == fire.event), None)
        if armed is not None and armed.due_at > self.clock.now() and self._near(event.at, armed.due_at):
            case.held = _Held(number, event, fire, armed.due_at)
            return
        self._fire_by_name(number, case, event, fire)

    def _give_up_waiting(self, case: _Case, held: _Held) -> None:
        case.held = None
        self._fire_by_name(held.number, case, held.event, held.fire)

    def _fire_by_name(self, number: int, case: _Case, event: LogEvent, fire: Fire) -> None:
        before = case.state
        assert case.instance_id is not None
        try:
            payload = fire.payload(event) if fire.payload is not None else None
            answer = self.runtime.try_fire(case.instance_id, fire.event, payload, trigger=_TRIGGER)
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # what guards and commands raise is a finding, and shown
            self._note_error(number, case, event, error, before)
            return
        if isinstance(answer, Unfired):
            self._note_unfired(number, case, event, fire, answer.error, before)
            return
        if answer.entries[0].seq == case.version + 1:
            self.moves += len(answer.entries)
        else:
            # A command of another case has moved this one meanwhile.
            self._catch_up(case)
        self._learn(case, answer.instance)
        self._note_fired(number, case, event, answer, before)

    def _note_fired(
        self, number: int, case: _Case, event: LogEvent, answer: FireResult, before: str | None
    ) -> None:
        match answer.status:
            case "rejected":
                code = "+".join(dict.fromkeys(blocker.code for blocker in answer.blockers))
                message = "; ".join(dict.fromkeys(map(str, answer.blockers)))
                self._note(number, case, event, "rejected", code, message, before)
            case "failure":
                failure = next(result for result in answer.commands if result.status == "failure")
                code, message = failure.code or failure.name, failure.message or f"{failure.name} failed"
                self._note(
                    number, case, event, "diverted", code, f"{message}; led to {answer.to_state}", before
                )
            case _:
                self._note(number, case, event, "applied", state=before)

    def _note_unfired(
        self,
        number: int,
        case: _Case,
        event: LogEvent,
        fire: Fire,
        error: Exception,
        before: str | None,
    ) -> None:
        if not isinstance(error, EventRefused):
            self._note_error(number, case, event, error, before)
            return
        # Of timers that fired and wait to be confirmed, the nearest: then the two disagree about the time.
        silent = [one for one in case.fired if self._is_open(one, fire.event)]
        if silent:
            one = min(silent, key=lambda one: abs(one.firing.at - event.at))
            one.judge("disputed")
            nearest = one.firing.at - event.at
            days = f"{abs(nearest) / timedelta(days=1):.0f} days"
            code = "timer_was_earlier" if nearest < timedelta(0) else "timer_was_later"
            message = (
                f"the timer fired {days} {'before' if nearest < timedelta(0) else 'after'} what the log says"
            )
        elif error.reason == "finished":
            code, message = error.reason, "the case is finished"
        elif error.reason == "not_accepted":
            accepted = ", ".join(error.accepted) or "no event"
            code, message = error.reason, f"this state accepts {accepted}"
        else:
            code, message = error.reason, f"the workflow has no event {fire.event!r}"
        self._note(number, case, event, "refused", code, message, before)

    def _note_error(
        self, number: int, case: _Case, event: LogEvent, error: Exception, state: str | None
    ) -> None:
        match error:
            case LogError():
                self._note(number, case, event, "invalid", "log", error.problem, state)
            case InvalidArgument():
                self._note(number, case, event, "invalid", "argument", str(error), state)
            case CommandFailed():
                message = f"{error.command}: {error.message or error.code}"
                self._note(number, case, event, "failed", error.code, message, state)
            case _:
                self._note(number, case, event, "failed", type(error).__name__, str(error), state)

    def _confirm(self, number: int, case: _Case, event: LogEvent, fired: _Fired) -> None:
        fired.judge("confirmed")
        self._note(number, case, event, "confirmed", state=fired.firing.state)

    def _note(
        self,
        number: int,
        case: _Case,
        event: LogEvent,
        result: Result,
        code: str = "",
        message: str = "",
        state: str | None = None,
    ) -> None:
        self.outcomes[number] = Outcome(event, result, state, code, message, case.instance_id)

    # --- timers and events of the log ---------------------------------------------------------------------------

    def _matching(self, case: _Case, event: str, at: datetime) -> _Fired | None:
        """The timer that an event of the log confirms: the nearest of those near enough."""
        near = [one for one in case.fired if self._is_open(one, event) and self._near(at, one.firing.at)]
        return min(near, key=lambda one: abs(one.firing.at - at), default=None)

    def _is_open(self, one: _Fired, event: str) -> bool:
        return one.silent and one.firing.event == event

    def _near(self, at: datetime, fired_at: datetime) -> bool:
        if isinstance(self.tolerance, timedelta):
            return abs(fired_at - at) <= self.tolerance
        return abs((fired_at.astimezone(at.tzinfo).date() - at.date()).days) <= self.tolerance
