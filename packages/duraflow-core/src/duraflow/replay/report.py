"""What came of replaying a log, and where do the log and the workflow disagree?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

import attrs

from duraflow.replay.events import LogEvent
from duraflow.results import SweepResult

Result = Literal[
    "applied", "confirmed", "diverted", "rejected", "refused", "failed", "invalid", "ignored", "unknown"
]
Disagreement = Result | Literal["unlogged"]
RESULTS: tuple[Result, ...] = get_args(Result)

Verdict = Literal["confirmed", "disputed", "unlogged", "after_log"]
VERDICTS: Mapping[Verdict, str] = {
    "confirmed": "the log says the same",
    "disputed": "the log says so at another time",
    "unlogged": "the log does not say so",
    "after_log": "the log had ended",
}

MEANINGS: Mapping[Result, str] = {
    "applied": "the workflow did what the log says",
    "confirmed": "a timer had done it already, when the log says so",
    "diverted": "a command failed for a reason of the business, and the error target was taken",
    "rejected": "a guard said no; recorded in the history",
    "refused": "the state does not accept it; nothing was recorded",
    "failed": "a command failed, or something was raised; all was rolled back",
    "invalid": "the log does not have what the workflow needs",
    "ignored": "the mapping says that it means nothing here",
    "unknown": "the mapping does not have the activity",
}
AGREEING: tuple[Result, ...] = ("applied", "confirmed")


@attrs.frozen
class Outcome:
    """What became of one event of the log.

    Attributes:
        state: where the instance was; None if there was none.
        code: why, as a stable name for programs; empty where the log and the workflow agree.
        message: why, for people.
        instance_id: of the case.
    """

    event: LogEvent
    result: Result
    state: str | None = None
    code: str = ""
    message: str = ""
    instance_id: UUID | None = None


@attrs.frozen
class TimerFiring:
    """A timer that fired during a replay.

    Attributes:
        state: where the instance was.
        verdict: what the log says about it.
    """

    case: str
    event: str
    at: datetime
    state: str
    verdict: Verdict


@attrs.frozen
class Deviation:
    """One way in which the log and the workflow disagree, how often, and some examples.

    Attributes:
        result: what became of the events; `unlogged` for timers that fired and of which the log knows nothing.
    """

    result: Disagreement
    activity: str
    state: str | None
    code: str
    count: int
    message: str
    examples: tuple[str, ...]


@attrs.frozen
class ReplayReport:
    """What a replay did.

    Attributes:
        outcomes: one for each event of the log, in the order in which they were replayed.
        timers: those that fired, in order.
        cases: how many the log has.
        moves: history entries written: creations, moves, rejections.
        sweeps: what the sweeps over due timers counted.
        duration_s: seconds that it took.
    """

    outcomes: tuple[Outcome, ...]
    timers: tuple[TimerFiring, ...]
    cases: int
    moves: int
    sweeps: SweepResult
    duration_s: float

    @property
    def events(self) -> int:
        """How many events the log has."""
        return len(self.outcomes)

    @property
    def totals(self) -> Mapping[Result, int]:
        """Events by what became of them, those that did not occur included; they add up to `events`."""
        counts = Counter(outcome.result for outcome in self.outcomes)
        return {result: counts[result] for result in RESULTS}

    @property
    def by_activity(self) -> Mapping[str, Mapping[Result, int]]:
        """The same for each activity, in the order in which they first occur."""
        table: dict[str, Counter[Result]] = {}
        for outcome in self.outcomes:
            table.setdefault(outcome.event.activity, Counter())[outcome.result] += 1
        return {
            activity: {result: counts[result] for result in RESULTS} for activity, counts in table.items()
        }

    @property
    def timers_by_verdict(self) -> Mapping[Verdict, int]:
        """The timers that fired, by what the log says about them; they add up to all of them."""
        counts = Counter(timer.verdict for timer in self.timers)
        return {verdict: counts[verdict] for verdict in VERDICTS}

    @property
    def moves_per_second(self) -> float:
        return self.moves / self.duration_s if self.duration_s else 0.0

    @property
    def disagreeing(self) -> tuple[Outcome, ...]:
        """The events which were neither applied nor confirmed."""
        return tuple(outcome for outcome in self.outcomes if outcome.result not in AGREEING)

    def deviations(self, *, examples: int = 3) -> tuple[Deviation, ...]:
        """Where log and workflow disagree, by reason, the most frequent first; timers unknown to the log included."""
        groups: dict[tuple[Disagreement, str, str | None, str], list[tuple[str, str]]] = {}
        for outcome in self.disagreeing:
            about = (outcome.result, outcome.event.activity, outcome.state, outcome.code)
            groups.setdefault(about, []).append((outcome.message, _example(outcome)))
        for timer in self.timers:
            if timer.verdict == "unlogged":
                text = "the timer fired, and no event of the log says so"
                groups.setdefault(("unlogged", timer.event, timer.state, "not_in_the_log"), []).append(
                    (text, f"{timer.case} {timer.at:%Y-%m-%d}")
                )
        found = [
            Deviation(*key, len(members), members[0][0], tuple(example for _, example in members[:examples]))
            for key, members in groups.items()
        ]
        return tuple(sorted(found, key=lambda deviation: -deviation.count))

    def to_json(self, *, examples: int = 3) -> dict[str, Any]:
        """Everything but the single agreeing events, as plain JSON data."""
        return {
            "events": self.events,
            "cases": self.cases,
            "totals": dict(self.totals),
            "by_activity": {activity: dict(counts) for activity, counts in self.by_activity.items()},
            "timers": dict(self.timers_by_verdict),
            "moves": self.moves,
            "duration_s": round(self.duration_s, 3),
            "moves_per_second": round(self.moves_per_second, 1),
            "deviations": [
                {**attrs.asdict(deviation), "examples": list(deviation.examples)}
                for deviation in self.deviations(examples=examples)
            ],
            "disagreeing": [
                {
                    "case": outcome.event.case,
                    "activity": outcome.event.activity,
                    "at": outcome.event.at.isoformat(),
                    "line": outcome.event.line,
                    "result": outcome.result,
                    "state": outcome.state,
                    "code": outcome.code,
                    "message": outcome.message,
                }
                for outcome in self.disagreeing
            ],
        }

    def to_markdown(self, *, examples: int = 3) -> str:
        """The totals and the deviations as Markdown tables."""
        totals = [
            f"| {result} | {count} | {MEANINGS[result]} |" for result, count in self.totals.items() if count
        ]
        lines = [
            "| result | events | meaning |",
            "| --- | ---: | --- |",
            *totals,
            f"| **together** | **{sum(self.totals.values())}** | of {self.events} events in {self.cases} cases |",
            "",
        ]
        rows = [
            f"| {deviation.result} | {_cell(deviation.activity)} | {_cell(deviation.state or '–')} | {deviation.count} "
            f"| {_cell(deviation.code)}: {_cell(deviation.message)} | {_cell(', '.join(deviation.examples))} |"
            for deviation in self.deviations(examples=examples)
        ]
        if not rows:
            return "\n".join([*lines, "The log and the workflow agree."])
        return "\n".join(
            [
                *lines,
                "| result | activity | in state | count | reason | examples |",
                "| --- | --- | --- | ---: | --- | --- |",
                *rows,
            ]
        )


def _example(outcome: Outcome) -> str:
    event = outcome.event
    where = "" if event.line is None else f" (line {event.line})"
    return f"{event.case} {event.at:%Y-%m-%d}{where}"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")
