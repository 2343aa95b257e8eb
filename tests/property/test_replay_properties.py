"""Does a replay account for every event, whatever the log?"""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from duraflow import Folded, Runtime, fold
from duraflow.memory import InMemoryPersistence
from duraflow.replay import LogClock, LogEvent, ReplayReport, read_csv, replay
from examples.traffic_fines.generator import write_csv
from examples.traffic_fines.ledger import Ledger, MemoryLedger
from examples.traffic_fines.meanings import MEANINGS
from examples.traffic_fines.workflow import FINE

START = datetime(2024, 3, 1, tzinfo=UTC)

_attributes = st.fixed_dictionaries(
    {},
    optional={
        "amount": st.decimals(-10, 500, places=2) | st.integers(-1, 5) | st.just("much"),
        "expense": st.decimals(0, 20, places=2),
        "paymentAmount": st.decimals(-1, 600, places=2),
        "dismissal": st.sampled_from(["NIL", "#", "G"]),
        "address": st.just("unknown"),
    },
)
_events = st.builds(
    LogEvent,
    case=st.sampled_from(["A1", "A2", "A3"]),
    activity=st.sampled_from([*MEANINGS, "Change Address"]),
    # around the 60 days, to the hour, in offsets around the line between two days
    at=st.builds(
        lambda days, hours, offset: (START + timedelta(days=days, hours=hours)).astimezone(
            timezone(timedelta(hours=offset))
        ),
        st.integers(0, 9) | st.integers(55, 75),
        st.integers(0, 23),
        st.integers(-12, 12),
    ),
    attributes=_attributes,
)
# Most events of a random log are refused; these get cases under way first.
_begun = st.lists(st.sampled_from(["A1", "A2", "A3"]), unique=True).map(
    lambda cases: [
        LogEvent(case, activity, START + timedelta(hours=hour), {"amount": 35, "expense": 11})
        for case in cases
        for hour, activity in enumerate(("Create Fine", "Send Fine", "Insert Fine Notification"))
    ]
)
_logs = st.builds(list.__add__, _begun, st.lists(_events, max_size=12))


def _replay(log: list[LogEvent], until: datetime | None) -> tuple[ReplayReport, MemoryLedger]:
    clock, ledger = LogClock(), MemoryLedger()
    with Runtime(
        workflows=[FINE], persistence=InMemoryPersistence(), clock=clock, resources={Ledger: ledger.of}
    ) as runtime:
        report = replay(runtime, log, workflow=FINE, meanings=MEANINGS, clock=clock, until=until)
        found = runtime.list(limit=1_000).instances
        histories = [runtime.history(instance, limit=1_000) for instance in found]
        for instance, history in zip(found, histories, strict=True):
            assert fold(history) == Folded.of(instance)
            times = [entry.at for entry in history]
            assert times == sorted(times)
            assert all(timer.due_at > clock.now() for timer in instance.timers)
        entries = [entry for history in histories for entry in history]
    assert len(entries) == report.moves
    timed = [entry for entry in entries if entry.trigger.get("by") == "timer" and entry.kind == "moved"]
    assert len(timed) == len(report.timers) == sum(report.timers_by_verdict.values())
    assert all(entry.at.isoformat() == entry.trigger["due_at"] for entry in timed)
    assert len(ledger.payments) == sum(r.name == "note_payment" for entry in entries for r in entry.commands)
    return report, ledger


@given(_logs, st.sampled_from([None, START + timedelta(days=200)]))
def test_the_totals_add_up_on_any_log(log: list[LogEvent], until: datetime | None) -> None:
    """Every event has one outcome, history has exactly the moves, and timers fire at their due times, all of them."""
    report, _ = _replay(log, until)
    assert sum(report.totals.values()) == report.events == len(log)
    assert [outcome.event for outcome in report.outcomes] == sorted(log, key=lambda event: event.at)
    assert sum(sum(counts.values()) for counts in report.by_activity.values()) == len(log)
    assert sum(d.count for d in report.deviations() if d.result != "unlogged") == len(report.disagreeing)
    assert report.timers_by_verdict["confirmed"] == report.totals["confirmed"]
    assert report.totals["failed"] == 0


@given(_logs)
def test_a_replay_is_the_same_every_time(log: list[LogEvent]) -> None:
    """Nothing in it depends on ids or on the machine's clock."""
    (first, one), (second, other) = _replay(log, None), _replay(log, None)
    assert [(o.result, o.state, o.code) for o in first.outcomes] == [
        (o.result, o.state, o.code) for o in second.outcomes
    ]
    assert first.timers == second.timers
    assert [p.amount for p in one.payments] == [p.amount for p in other.payments]


@given(st.lists(_events, max_size=10))
def test_a_written_log_reads_as_it_was(log: list[LogEvent]) -> None:
    """The generator's CSV and the reader agree, to the type of each attribute."""
    text = io.StringIO()
    write_csv(log, text)
    text.seek(0)
    assert read_csv(text) == tuple(sorted(log, key=lambda event: event.at))
