"""Where would one recorded history have gone differently? The machine is given it step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from duraflow.definition.resolve import Candidate, ResolvedState
from duraflow.definition.workflow import Workflow
from duraflow.errors import ChainTooDeep, CommandFailed, InvalidArgument
from duraflow.fold import unborn
from duraflow.instance import ArmedTimer, HistoryEntry, Instance
from duraflow.machine.chain import AUTO, Machine, advance
from duraflow.machine.guards import choose
from duraflow.machine.requests import Ran, Run
from duraflow.machine.step import Rules, Step
from duraflow.rerun.comparing import compare, compare_all, landing_of, recorded, state_before, waiting
from duraflow.rerun.record import Versions, given_context, results_of, written_of
from duraflow.rerun.report import RerunDifference, RerunOutcome, RerunUnknown
from duraflow.rerun.verdicts import Differs, Raised, Unanswerable, Verdict


class Rerunner:
    """One recorded history, run again under another definition.

    Give it the steps in order by `take`, then `end`; the first answer that is not None is the verdict.
    """

    def __init__(self, workflow: Workflow, rules: Rules, versions: Versions, instance: Instance) -> None:
        self._workflow = workflow
        self._rules = rules
        self._versions = versions
        self._row = instance
        self._ours = attrs.evolve(unborn(instance), definition_version=workflow.version)
        self._payload: Any = None
        self._then: tuple[ArmedTimer, ...] = ()
        self._last: HistoryEntry | None = None

    def take(self, entries: Sequence[HistoryEntry]) -> RerunDifference | RerunUnknown | None:
        """Run one recorded step: an entry, and the automatic hops that followed it at once."""
        first = entries[0]
        try:
            self._check_timers(first)
            step = self._run(entries)
            self._ours = step.finish().after
            compare_all(entries, step)
        except Verdict as verdict:
            return self._told(verdict, first)
        except InvalidArgument as error:
            # A delay that gives no time, or a blocker that cannot be stored: raised when it is worked out.
            return self._told(Unanswerable("guard", error.argument, str(error)), first)
        for entry in entries:
            if entry.timers is not None:
                self._then = entry.timers
        self._last = entries[-1]
        return None

    def end(self) -> RerunDifference | RerunUnknown | None:
        """The record is at its end: is it left waiting for the same?"""
        last, row, ours = self._last, self._row, self._ours
        if last is None:
            raise InvalidArgument("history", "there are no entries to run again")
        expected = RerunOutcome(last.to_state, "resting", outcome=last.outcome)
        found = RerunOutcome(ours.state, "resting", outcome=ours.outcome)
        if (row.continuation is None) is not (ours.continuation is None):
            if row.continuation is not None:
                expected = waiting(expected, row.continuation.path)
            if ours.continuation is not None:
                found = waiting(found, ours.continuation.path)
            return self._told(Differs(last, expected, found), last)
        if set(row.timers) != set(ours.timers):
            expected = attrs.evolve(expected, timers=row.timers)
            found = attrs.evolve(found, timers=ours.timers)
            return self._told(Differs(last, expected, found), last)
        return None

    # --- one step -----------------------------------------------------------------------------------------------

    def _run(self, entries: Sequence[HistoryEntry]) -> Step:
        first = entries[0]
        machine: Machine | None
        if first.kind == "created":
            step, machine = self._created(first)
        elif first.kind in ("forced", "cancelled", "upgraded"):
            step, machine = self._operated(first, more=len(entries) > 1)
        elif first.event == AUTO:
            step, machine = self._continued(first)
        else:
            step, machine = self._fired(first)
        if machine is not None:
            self._drive(step, machine, entries)
        return step

    def _step(
        self, instance: Instance, first: HistoryEntry, payload: Any = None, *, new: bool = False
    ) -> Step:
        self._payload = payload
        return Step(
            self._rules,
            self._workflow,
            instance,
            now=first.at,
            new=new,
            payload=payload,
            trigger=first.trigger,
        )

    def _created(self, first: HistoryEntry) -> tuple[Step, Machine]:
        initial = self._workflow.resolved[self._workflow.initial]
        context = {**initial.context, **self._given(first, initial)}
        blank = attrs.evolve(
            self._ours, state=initial.name, created_at=first.at, updated_at=first.at, entered_at=first.at,
            metadata=first.metadata or {},
        )  # fmt: skip
        step = self._step(blank, first, new=True)
        step.create(self._rules.codec.encode(context, path="context"))
        return step, advance(step, None, first.event, None, self._rules)

    def _given(self, first: HistoryEntry, state: ResolvedState) -> Mapping[str, Any]:
        given = given_context(first, self._versions, state.context, self._rules.codec)
        if given.doubtful and (self._rules.handlers.guards or self._rules.handlers.delays):
            keys = ", ".join(map(repr, given.doubtful))
            raise Unanswerable(
                "context",
                ", ".join(given.doubtful),
                f"whether {keys} was given by a caller or declared by {first.to_state!r} is not recorded",
            )
        return given.context

    def _operated(self, first: HistoryEntry, *, more: bool) -> tuple[Step, Machine | None]:
        """What an operator did is taken as recorded."""
        target = self._workflow.resolved.get(first.to_state)
        if target is None:
            raise Unanswerable(
                "state", first.to_state, f"{first.kind} to {first.to_state!r}, which is not there"
            )
        ours = attrs.evolve(self._ours, continuation=None)
        step = self._step(ours, first)
        if first.kind == "upgraded":
            timers = self._then if first.timers is None else first.timers
            step.upgrade(target, timers, first.change.apply(ours.context) if first.change else None)
            # A sweep that takes out a timer which its version does not have goes no further.
            cleared = first.trigger.get("by") == "timer" and first.from_state == first.to_state and not more
            return step, None if cleared else advance(step, None, first.event, None, self._rules)
        given = self._given(first, target) if first.entered else first.change.set
        outcome = None if first.entered else first.outcome
        step.operate(
            first.kind, first.event, target, entered=first.entered, context=given or None, outcome=outcome
        )
        if first.kind == "cancelled":
            return step, None
        return step, advance(step, None, first.event, None, self._rules)

    def _continued(self, first: HistoryEntry) -> tuple[Step, Machine]:
        """A worker went on with a chain that had stopped."""
        waits = self._ours.continuation
        if waits is None:
            raise Differs(first, recorded(first), RerunOutcome(self._ours.state, "resting"))
        state = self._workflow.resolved[self._ours.state]
        candidate = next(found for found in state.automatic if found.path == waits.path)
        step = self._step(attrs.evolve(self._ours, continuation=None), first, self._payload)
        return step, advance(step, candidate, AUTO, None, self._rules)

    def _fired(self, first: HistoryEntry) -> tuple[Step, Machine | None]:
        ours, event = self._ours, first.event
        if ours.continuation is not None:
            path = ours.continuation.path
            raise Unanswerable(
                "continuation", path, f"the chain waits at {path} for a worker, of which there is no record"
            )
        state = self._workflow.resolved[ours.state]
        timer = self._timer_of(first)
        if timer is not None:
            candidates = self._armed(first, timer, state)
            payload = None
        else:
            candidates = state.events.get(event, ()) if ours.open else ()
            if not candidates:
                detail = "it is finished" if not ours.open else f"{event!r} is not accepted there"
                raise Differs(first, recorded(first), RerunOutcome(ours.state, "refused", detail=detail))
            payload = self._loaded(first)
        step = self._step(ours, first, payload)
        if timer is not None:
            step.spent_timer = event
        choice = choose(candidates, step.asked(), self._rules.handlers.guards)
        if choice.candidate is None:
            disarm = timer is not None and state.timers[event].disarms
            step.reject(event, first.payload, choice.blockers, disarm=disarm)
            return step, None
        if first.kind == "rejected":
            found = landing_of(choice.candidate, state.name)
            raise Differs(first, recorded(first), found)
        return step, advance(step, choice.candidate, event, first.payload, self._rules)

    def _timer_of(self, first: HistoryEntry) -> ArmedTimer | None:
        """The recorded timer that this entry is from, if a sweep made it."""
        if first.trigger.get("by") != "timer":
            return None
        due = first.trigger.get("due_at")
        return next((t for t in self._then if t.event == first.event and t.due_at.isoformat() == due), None)

    def _armed(self, first: HistoryEntry, timer: ArmedTimer, state: ResolvedState) -> tuple[Candidate, ...]:
        mine = next((one for one in self._ours.timers if one.event == timer.event), None)
        if mine is None or timer.event not in state.timers:
            found = RerunOutcome(self._ours.state, "refused", detail="no such timer is armed")
            raise Differs(first, recorded(first), found)
        if mine.due_at > first.at:
            raise Unanswerable(
                "timer", timer.event, f"the timer {timer.event!r} is only due at {mine.due_at.isoformat()}"
            )
        return state.timers[timer.event].candidates

    def _loaded(self, first: HistoryEntry) -> Any:
        declared = self._workflow.events.get(first.event)
        if declared is None:
            return None if first.payload is None else self._rules.codec.copy(first.payload, path="payload")
        try:
            return declared.load(first.payload)
        except Exception as error:
            raise Unanswerable(
                "payload", first.event, f"the recorded payload does not load: {error}"
            ) from error

    def _check_timers(self, first: HistoryEntry) -> None:
        """A timer that was not armed for that time then would have fired by now, and nobody knows what came of it."""
        for timer in self._ours.timers:
            if timer.due_at <= first.at and timer not in self._then:
                raise Unanswerable(
                    "timer",
                    timer.event,
                    f"the timer {timer.event!r} would have been due at {timer.due_at.isoformat()}, before this entry",
                )

    # --- commands -----------------------------------------------------------------------------------------------

    def _drive(self, step: Step, machine: Machine, entries: Sequence[HistoryEntry]) -> None:
        try:
            request = next(machine)
            while True:
                request = machine.send(self._answer(step, request, entries))
        except StopIteration:
            return
        except (ChainTooDeep, CommandFailed, Raised) as error:
            # Nothing of the step would have been recorded, its first entry neither.
            detail = "its automatic moves go on for ever" if isinstance(error, ChainTooDeep) else str(error)
            found = RerunOutcome(self._ours.state, "undone", detail=detail)
            raise Differs(entries[0], recorded(entries[0]), found) from error

    def _answer(self, step: Step, request: Run, entries: Sequence[HistoryEntry]) -> Ran:
        """What the commands of a hop answered then, with what they wrote put into the context."""
        done = step.entries
        compare(entries, done)
        candidate, state = request.candidate, step.state.name
        landing = landing_of(candidate, state)
        if len(done) >= len(entries):
            last = entries[-1]
            raise Differs(last, RerunOutcome(last.to_state, "resting"), landing)
        entry = entries[len(done)]
        if entry.event != request.event:
            raise Differs(entry, recorded(entry), landing)
        try:
            return self._from_record(step, candidate, entry)
        except Unanswerable as unanswerable:
            # Wherever it leads, it may be certain that it is elsewhere.
            if entry.to_state not in (candidate.target or state, candidate.error_target):
                raise Differs(entry, recorded(entry), landing) from None
            unanswerable.entry = entry
            raise

    def _from_record(self, step: Step, candidate: Candidate, entry: HistoryEntry) -> Ran:
        ran = results_of(candidate, entry)
        target = candidate.error_target if ran.failure is not None else candidate.target
        step.context.watch()
        if (target or step.state.name) == entry.to_state:  # else it differs, whatever was written
            overlaid = self._workflow.resolved[target].context if target is not None else {}
            change = written_of(ran, entry, self._versions, overlaid)
            for key in change.unset:
                step.context.data.pop(key, None)
            step.context.data.update(change.set)
        return ran

    # --- the verdict --------------------------------------------------------------------------------------------

    def _told(self, verdict: Verdict, first: HistoryEntry) -> RerunDifference | RerunUnknown:
        row = self._row
        if isinstance(verdict, Differs):
            at = verdict.entry
            return RerunDifference(
                row.id, row.ref, at.seq, at.event, at.at, state_before(at), verdict.expected, verdict.found
            )
        assert isinstance(verdict, Unanswerable)
        at = verdict.entry or first
        return RerunUnknown(
            row.id,
            row.ref,
            at.seq,
            at.event,
            at.at,
            state_before(at),
            verdict.code,
            verdict.about,
            verdict.reason,
        )
