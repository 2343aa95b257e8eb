"""Why does an instance not move? The answer, for programs and for people."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

import attrs

from duraflow.instance import HistoryEntry, Instance
from duraflow.results import Explanation
from duraflow.telling import told_blockers, told_entry, told_instance, told_span, told_time

WhyReason = Literal[
    "finished", "no_definition", "no_state", "leased", "continuing", "parked", "due", "waiting", "stuck"
]


@attrs.frozen
class WaitingTimer:
    """An armed timer, and what came of it so far.

    Attributes:
        due_at: when it is due, as it was armed.
        next_at: when it is tried next; None while parked.
        rejected: how often its guards said no in a row.
        failed: how often it failed in a row.
        error: what the last failure said.
        parked_at: when it was given up after too many failures; `rearm` tries it again.
    """

    event: str
    due_at: datetime
    next_at: datetime | None
    rejected: int = 0
    failed: int = 0
    error: str = ""
    parked_at: datetime | None = None


@attrs.frozen
class Why:
    """Why an instance does not move, as it was at `now`. As a text it is an answer for people.

    Attributes:
        reason: the one thing that stands in its way, the first that holds of: `finished`; `no_definition` (its version
            is in neither this runtime nor the store, see `problem`); `no_state` (its definition has no such state);
            `leased` (a worker holds it); `continuing` (its automatic chain waits for a worker); `parked` (a timer was
            given up); `due` (a timer's time has come, and a sweep must fire it); `waiting` (for an event, or for the
            time of a timer); `stuck` (nothing that is declared will ever wake it).
        instance: the row, with `entered_at` (since when), `lease_token`, `continuation` and `waiting_events`.
        now: the store's time when it was asked.
        until: when it tries to move by itself next; None when nothing will make it.
        events: what each event of its state would do now, asked without a payload; see `explain`.
        automatic: what its automatic transitions would do, in order; they are only asked when the state is entered.
        timers: its armed timers.
        last: the last thing that happened to it.
        problem: what is wrong with its definition.
    """

    reason: WhyReason
    instance: Instance
    now: datetime
    until: datetime | None
    events: tuple[Explanation, ...]
    automatic: tuple[Explanation, ...]
    timers: tuple[WaitingTimer, ...]
    last: HistoryEntry
    problem: str = ""

    @property
    def since(self) -> datetime:
        """Since when it has been in its state."""
        return self.instance.entered_at

    @property
    def blocked(self) -> tuple[Explanation, ...]:
        """The events that guards say no to now."""
        return tuple(one for one in self.events if one.verdict == "rejected")

    def __str__(self) -> str:
        return "\n".join(self._lines())

    # --- for people ---------------------------------------------------------------------------------------------

    def _lines(self) -> Iterator[str]:
        held = told_span(self.now - self.since)
        yield (
            f"{told_instance(self.instance)} has been in {self.instance.state!r} for {held}, "
            f"since {told_time(self.since)}:"
        )
        yield self._sentence()
        if self.events:
            yield "events:"
        for one in self.events:
            yield f"  {one.event}: {_told(one)}"
        if self.automatic:
            yield "automatic transitions, asked only when the state is entered:"
        for one in self.automatic:
            yield f"  {_told(one)}"
        if self.timers:
            yield "timers:"
        for timer in self.timers:
            yield f"  {timer.event}: {self._timer(timer)}"
        if self.instance.waiting_events:
            yield "queued events wait for a state that accepts them"
        yield f"last: {told_entry(self.last)}"

    def _sentence(self) -> str:
        match self.reason:
            case "finished":
                at = told_time(self.instance.finished_at or self.instance.updated_at)
                return f"it is finished ({self.instance.outcome}) since {at}"
            case "no_definition" | "no_state":
                return self.problem
            case "leased":
                return f"a worker holds it under lease {self.instance.lease_token}"
            case "continuing":
                path = self.instance.continuation.path if self.instance.continuation else ""
                return f"its automatic chain waits at {path} for a worker"
            case "parked":
                names = ", ".join(repr(timer.event) for timer in self.timers if timer.parked_at is not None)
                return f"the timer {names} failed too often and was parked; mend the cause, then `rearm` it"
            case "due":
                return "a timer is due; `fire_due_timers` fires it: is a sweep running?"
            case "stuck":
                return "nothing that its definition declares will ever wake it; `force` or `cancel` it"
            case "waiting":
                return self._waits()

    def _waits(self) -> str:
        waits = []
        fired = {timer.event for timer in self.timers}
        if names := [one.event for one in self.events if one.event not in fired]:
            waits.append(f"an event ({', '.join(names)})")
        if self.until is not None:
            waits.append(f"a timer, next at {told_time(self.until)}, in {told_span(self.until - self.now)}")
        return f"it waits for {' or '.join(waits)}"

    def _timer(self, timer: WaitingTimer) -> str:
        if timer.parked_at is not None:
            return f"parked since {told_time(timer.parked_at)} after {timer.failed} failures: {timer.error or '?'}"
        text = f"due {told_time(timer.due_at)}"
        if timer.failed:
            text += f", failed {timer.failed} times ({timer.error or '?'})"
        elif timer.rejected:
            text += f", refused by its guards {timer.rejected} times"
        if timer.next_at is not None and timer.next_at != timer.due_at:
            text += f", tried again at {told_time(timer.next_at)}"
        return text


def _told(one: Explanation) -> str:
    match one.verdict:
        case "fires":
            return f"would be accepted, and lead to {one.target!r}"
        case "external":
            return f"would be a worker's job, and lead to {one.target!r}"
        case "rejected":
            return f"rejected: {told_blockers(one.blockers)}"
        case "unknown":
            return f"cannot be told without its payload ({one.message})"
