"""Does a report say where a log and a workflow disagree, in numbers that add up?"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from duraflow import SweepResult
from duraflow.replay import Deviation, LogEvent, Outcome, ReplayReport, TimerFiring
from duraflow.replay.report import MEANINGS, RESULTS, VERDICTS

START = datetime(2024, 1, 1, tzinfo=UTC)


def _event(case: str, activity: str, line: int) -> LogEvent:
    return LogEvent(case, activity, START + timedelta(days=line), line=line)


REPORT = ReplayReport(
    outcomes=(
        Outcome(_event("a", "begin", 2), "applied"),
        Outcome(_event("a", "pay", 3), "rejected", "sent", "no|amount", "nothing\nwas paid"),
        Outcome(_event("b", "pay", 4), "rejected", "sent", "no|amount", "nothing\nwas paid"),
        Outcome(_event("c", "send", 5), "refused", "paid", "finished", "the case is finished"),
        Outcome(_event("c", "remind", 6), "confirmed", "sent"),
    ),
    timers=(
        TimerFiring("c", "remind", START, "sent", "confirmed"),
        TimerFiring("a", "remind", START + timedelta(days=3), "sent", "unlogged"),
        TimerFiring("a", "give_up", START, "sent", "disputed"),
        TimerFiring("b", "remind", START, "sent", "after_log"),
    ),
    cases=3,
    moves=6,
    sweeps=SweepResult(fired=4),
    duration_s=2.0,
)
NOTHING = ReplayReport((), (), 0, 0, SweepResult(), 0.0)


def test_totals_have_every_result_and_add_up() -> None:
    """Those that did not occur are there as zero, so that a reader need not guess."""
    assert REPORT.totals == {
        "applied": 1, "confirmed": 1, "diverted": 0, "rejected": 2, "refused": 1, "failed": 0, "invalid": 0,
        "ignored": 0, "unknown": 0,
    }  # fmt: skip
    assert sum(REPORT.totals.values()) == REPORT.events
    assert sum(sum(counts.values()) for counts in REPORT.by_activity.values()) == REPORT.events
    assert {name: counts["rejected"] for name, counts in REPORT.by_activity.items()} == {
        "begin": 0, "pay": 2, "send": 0, "remind": 0,
    }  # fmt: skip
    assert REPORT.timers_by_verdict == {"confirmed": 1, "disputed": 1, "unlogged": 1, "after_log": 1}
    assert set(MEANINGS) == set(RESULTS)
    assert set(VERDICTS) == set(REPORT.timers_by_verdict)


def test_deviations_are_grouped_by_reason_the_most_frequent_first() -> None:
    """With examples; a timer of which the log knows nothing is one, those after its end are not."""
    rejected = Deviation(
        "rejected", "pay", "sent", "no|amount", 2, "nothing\nwas paid", ("a 2024-01-04 (line 3)",)
    )
    refused = Deviation(
        "refused", "send", "paid", "finished", 1, "the case is finished", ("c 2024-01-06 (line 5)",)
    )
    unlogged = Deviation(
        "unlogged", "remind", "sent", "not_in_the_log", 1,
        "the timer fired, and no event of the log says so", ("a 2024-01-04",),
    )  # fmt: skip
    assert REPORT.deviations(examples=1) == (rejected, refused, unlogged)


def test_a_report_is_plain_json() -> None:
    """What it holds comes back from JSON as it was."""
    data = REPORT.to_json()
    assert json.loads(json.dumps(data)) == data
    assert data["totals"]["rejected"] == 2
    assert data["timers"] == {"confirmed": 1, "disputed": 1, "unlogged": 1, "after_log": 1}
    assert (data["moves"], data["moves_per_second"]) == (6, 3.0)
    assert data["disagreeing"][2] == {
        "case": "c",
        "activity": "send",
        "at": "2024-01-06T00:00:00+00:00",
        "line": 5,
        "result": "refused",
        "state": "paid",
        "code": "finished",
        "message": "the case is finished",
    }


def test_a_report_is_markdown_whose_cells_hold() -> None:
    """Bars and line breaks in texts of a log do not break its tables."""
    text = REPORT.to_markdown(examples=2)
    assert "| **together** | **5** | of 5 events in 3 cases |" in text
    assert (
        "| rejected | pay | sent | 2 | no\\|amount: nothing was paid | a 2024-01-04 (line 3), b 2024-01-05 (line 4) |"
        in text
    )
    assert "| diverted |" not in text
    assert NOTHING.to_markdown().endswith("The log and the workflow agree.")
