"""Does a replay do to a workflow what the log says, at the time at which it says so?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from duraflow import (
    Blocker,
    CommandContext,
    Failure,
    Folded,
    InvalidArgument,
    Misuse,
    Runtime,
    State,
    StoreUnavailable,
    SweepResult,
    SystemClock,
    Transition,
    Workflow,
    fold,
)
from duraflow.memory import InMemoryPersistence
from duraflow.replay import (
    Create,
    Fire,
    Ignore,
    LogClock,
    LogEvent,
    Meaning,
    Outcome,
    ReplayReport,
    TimerFiring,
    replay,
)

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def allowed(payload: Any, context: Mapping[str, Any]) -> bool | Blocker:
    """Whatever the payload says, unless the context forbids it."""
    if context.get("forbidden"):
        return Blocker("forbidden", "the context forbids it")
    return payload is None or payload["ok"] or Blocker("not_ok", "the payload says so")


def work(ctx: CommandContext) -> Failure | None:
    """What the payload asks for."""
    match ctx.payload and ctx.payload.get("do"):
        case "fail":
            return Failure("no_luck", "it did not work")
        case "raise":
            raise ZeroDivisionError("a bug")
        case "stop":
            raise StoreUnavailable("gone")
    return None


def soon(context: Mapping[str, Any]) -> timedelta | None:
    """When the reminder is due."""
    days = context.get("wait", 10)
    return None if days is None else timedelta(days=days)


LETTER = Workflow(
    name="letter",
    initial="draft",
    states=[
        State("draft", [Transition("send", target="sent")]),
        State(
            "sent",
            [
                Transition("remind", target="reminded", after=soon, guard=allowed),
                Transition("answer", target="answered", guard=allowed),
                Transition("note", commands=[work]),
                Transition("try", target="answered", commands=[work], error_target="lost"),
            ],
        ),
        State(
            "reminded",
            [Transition("give_up", target="lost", after=5 * DAY), Transition("answer", target="answered")],
        ),
        State("answered"),
        State("lost", outcome="failed"),
    ],
)
MEANINGS: Mapping[str, Meaning] = {
    "begin": Create(lambda event, case: event.attributes, lambda event, case: {"events": len(case.events)}),
    "send": Fire("send"),
    "remind": Fire("remind", lambda event: event.attributes.get("payload")),
    "give up": Fire("give_up"),
    "answer": Fire("answer", lambda event: event.attributes.get("payload")),
    "note": Fire("note", lambda event: event["payload"]),
    "try": Fire("try", lambda event: event["payload"]),
    "sing": Fire("sing"),
    "stamp": Ignore("stamps do not matter"),
}


def at(case: str, activity: str, days: float, zone: timezone = UTC, **attributes: Any) -> LogEvent:
    """An event so many days after the start."""
    return LogEvent(case, activity, (START + days * DAY).astimezone(zone), attributes)


@attrs.define
class Bench:
    """A runtime on the clock of a log."""

    clock: LogClock = attrs.field(factory=LogClock)
    persistence: InMemoryPersistence = attrs.field(factory=InMemoryPersistence)
    sweeps: list[datetime] = attrs.field(factory=list)

    def run(self, *log: LogEvent, workflow: Workflow = LETTER, **options: Any) -> ReplayReport:
        with Runtime(workflows=[workflow], persistence=self.persistence, clock=self.clock) as runtime:
            swept = runtime.fire_due_timers

            def fire_due_timers(*, limit: int = 100) -> SweepResult:
                self.sweeps.append(self.clock.now())
                return swept(limit=limit)

            runtime.fire_due_timers = fire_due_timers  # type: ignore[method-assign]  # to count
            report = replay(
                runtime,
                log,
                workflow=workflow,
                meanings=options.pop("meanings", MEANINGS),
                clock=self.clock,
                **options,
            )
            for instance in runtime.list(limit=1_000).instances:
                entries = runtime.history(instance, limit=1_000)
                assert fold(entries) == Folded.of(instance)
            assert sum(i.version for i in runtime.list(limit=1_000).instances) == report.moves
            return report

    def states(self) -> dict[str | None, tuple[str, datetime]]:
        with Runtime(workflows=[LETTER], persistence=self.persistence, clock=self.clock) as runtime:
            return {i.ref: (i.state, i.entered_at) for i in runtime.list(limit=1_000).instances}


def told(report: ReplayReport) -> list[tuple[str, str, str | None, str]]:
    """What became of each event."""
    return [(one.event.activity, one.result, one.state, one.code) for one in report.outcomes]


def fired(report: ReplayReport) -> list[tuple[str, float, str]]:
    """The timers: which, on which day, and what the log says."""
    return [(one.event, (one.at - START) / DAY, one.verdict) for one in report.timers]


# --- events -------------------------------------------------------------------------------------------------------


def test_events_are_applied_in_the_order_of_time_at_the_time_of_the_log() -> None:
    """Over all cases, whatever the order in which they are given; the trigger says that it was the log."""
    bench = Bench()
    report = bench.run(
        at("b", "send", 4), at("a", "answer", 3), at("b", "begin", 2), at("a", "send", 1), at("a", "begin", 0)
    )
    assert told(report) == [
        ("begin", "applied", None, ""),
        ("send", "applied", "draft", ""),
        ("begin", "applied", None, ""),
        ("answer", "applied", "sent", ""),
        ("send", "applied", "draft", ""),
    ]
    assert bench.states() == {"a": ("answered", START + 3 * DAY), "b": ("sent", START + 4 * DAY)}
    assert (report.events, report.cases, report.moves, bench.sweeps) == (5, 2, 5, [])


def test_context_and_metadata_see_the_whole_case() -> None:
    """What a log tells late can be known from the start."""
    bench = Bench()
    bench.run(at("a", "begin", 0, colour="red"), at("a", "send", 1), at("a", "stamp", 2))
    with Runtime(workflows=[LETTER], persistence=bench.persistence, clock=bench.clock) as runtime:
        instance = runtime.get(("letter", "a"))
        assert (instance.context, instance.metadata) == ({"colour": "red"}, {"events": 3})
        assert [entry.trigger for entry in runtime.history(instance)] == [{"by": "log"}] * 2


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (at("a", "answer", 2), ("applied", "sent", "", "")),
        (at("a", "answer", 2, payload={"ok": False}), ("rejected", "sent", "not_ok", "the payload says so")),
        (at("a", "begin", 2), ("refused", "sent", "already_exists", "the case has begun before")),
        (at("b", "answer", 2), ("refused", None, "no_instance", "the case has not begun")),
        (at("a", "send", 2),
         ("refused", "sent", "not_accepted", "this state accepts remind, answer, note, try")),
        (at("a", "sing", 2), ("refused", "sent", "unknown_event", "the workflow has no event 'sing'")),
        (at("a", "note", 2, payload={"do": "fail"}), ("failed", "sent", "no_luck", "work: it did not work")),
        (at("a", "note", 2, payload={"do": "raise"}), ("failed", "sent", "ZeroDivisionError", "a bug")),
        (at("a", "try", 2, payload={"do": "fail"}),
         ("diverted", "sent", "no_luck", "it did not work; led to lost")),
        (at("a", "note", 2), ("invalid", "sent", "log", "this event ('note') has no attribute 'payload'")),
        (at("a", "note", 2, payload={"x": {1, 2}}), ("invalid", "sent", "argument", None)),
        (at("a", "answer", 2, payload=object()), ("invalid", "sent", "argument", None)),
        (at("c", "begin", 2, x={1}), ("invalid", None, "argument", None)),
        (at("c" * 257, "begin", 2), ("invalid", None, "argument", None)),
        (at("a", "stamp", 2), ("ignored", None, "ignored", "stamps do not matter")),
        (at("a", "dance", 2), ("unknown", None, "unknown_activity", "the mapping does not have it")),
    ],
)  # fmt: skip
def test_whatever_an_event_runs_into_is_an_outcome(
    event: LogEvent, outcome: tuple[str, str | None, str, str | None]
) -> None:
    """The replay goes on; the outcome says what, where and why."""
    report = Bench().run(at("a", "begin", 0), at("a", "send", 1), event, at("z", "begin", 3))
    result, state, code, message = outcome
    found: Outcome = report.outcomes[2]
    assert (found.result, found.state, found.code) == (result, state, code)
    assert message is None or found.message == message
    assert found.event is event
    assert report.outcomes[3].result == "applied"
    assert sum(report.totals.values()) == report.events == 4


def test_an_event_after_the_end_is_refused_as_such() -> None:
    """A finished case answers nothing."""
    report = Bench().run(at("a", "begin", 0), at("a", "send", 1), at("a", "answer", 2), at("a", "answer", 3))
    assert told(report)[3] == ("answer", "refused", "answered", "finished")


def test_a_store_that_is_down_stops_the_replay() -> None:
    """That is no finding about an event."""
    with pytest.raises(StoreUnavailable, match="gone"):
        Bench().run(at("a", "begin", 0), at("a", "send", 1), at("a", "note", 2, payload={"do": "stop"}))


def test_a_store_that_is_down_at_a_creation_stops_the_replay() -> None:
    """There, too."""

    def stop(ctx: CommandContext) -> None:
        raise StoreUnavailable("gone")

    dead = Workflow(
        name="dead",
        initial="on",
        states=[State("on", [Transition(target="off", commands=[stop])]), State("off")],
    )
    with pytest.raises(StoreUnavailable, match="gone"):
        Bench().run(at("a", "begin", 0), workflow=dead)


def test_what_a_command_does_to_another_case_is_seen_with_its_next_event() -> None:
    """Its moves count, and so does a timer that it armed and that fired meanwhile."""

    def send_the_next(ctx: CommandContext) -> None:
        ctx.runtime.fire((ctx.instance.workflow, ctx.payload["next"]), "send")

    chained = Workflow(
        name="chained",
        initial="draft",
        states=[
            State("draft", [Transition("send", target="sent"), Transition("pass", commands=[send_the_next])]),
            State("sent", [Transition("remind", target="reminded", after=10 * DAY)]),
            State("reminded", [Transition("answer", target="answered")]),
            State("answered"),
        ],
    )
    meanings = {
        "begin": Create(),
        "send": Fire("send"),
        "pass": Fire("pass", lambda event: {"next": event["next"]}),
        "answer": Fire("answer"),
    }
    report = Bench().run(
        at("a", "begin", 0), at("b", "begin", 0), at("c", "begin", 0), at("c", "send", 1),
        at("a", "pass", 1, next="b"), at("b", "answer", 12),
        workflow=chained, meanings=meanings,
    )  # fmt: skip
    assert [outcome.result for outcome in report.outcomes] == ["applied"] * 6
    assert fired(report) == [("remind", 11.0, "unlogged")] * 2


def test_a_log_may_come_in_two_files() -> None:
    """Instances that are there already are found by their ref, and what was due meanwhile fires."""
    bench = Bench()
    bench.run(at("a", "begin", 0), at("a", "send", 1), at("b", "begin", 1))
    with Runtime(workflows=[LETTER], persistence=bench.persistence, clock=bench.clock) as runtime:
        log = [at("a", "answer", 12), at("b", "begin", 13), at("b", "send", 14)]
        report = replay(runtime, log, workflow="letter", meanings=MEANINGS, clock=bench.clock)
    assert told(report) == [
        ("answer", "applied", "reminded", ""),
        ("begin", "refused", "draft", "already_exists"),
        ("send", "applied", "draft", ""),
    ]
    assert fired(report) == [("remind", 12.0, "unlogged")]


# --- timers -------------------------------------------------------------------------------------------------------


def test_timers_fire_at_their_due_times_between_events() -> None:
    """Also one that another one armed, and of several cases in turn; no sweep is made at other times."""
    bench = Bench()
    report = bench.run(
        at("a", "begin", 0),
        at("b", "begin", 0.5),
        at("a", "send", 1),
        at("b", "send", 3),
        at("c", "begin", 30),
    )
    assert fired(report) == [
        ("remind", 11.0, "unlogged"), ("remind", 13.0, "unlogged"), ("give_up", 16.0, "unlogged"),
        ("give_up", 18.0, "unlogged"),
    ]  # fmt: skip
    assert report.timers[0] == TimerFiring("a", "remind", START + 11 * DAY, "sent", "unlogged")
    assert bench.states()["a"] == ("lost", START + 16 * DAY)
    assert [(time - START) / DAY for time in bench.sweeps] == [11.0, 13.0, 16.0, 18.0]
    assert report.sweeps == SweepResult(fired=4)


def test_a_timer_due_at_the_very_time_of_an_event_fires_before_it() -> None:
    """So the event meets the state that the timer led to."""
    report = Bench().run(at("a", "begin", 0), at("a", "send", 1), at("a", "answer", 11))
    assert told(report)[2] == ("answer", "applied", "reminded", "")


def test_no_timer_fires_after_the_log_unless_a_horizon_says_so() -> None:
    """What fires up to it is marked: the log could not know."""
    log = at("a", "begin", 0), at("a", "send", 1)
    assert fired(Bench().run(*log)) == []
    assert fired(Bench().run(*log, until=START + 11 * DAY)) == [("remind", 11.0, "after_log")]
    assert fired(Bench().run(*log, until=START + 99 * DAY)) == [
        ("remind", 11.0, "after_log"), ("give_up", 16.0, "after_log"),
    ]  # fmt: skip


@pytest.mark.parametrize("days", [11, 11.5, 12, 12.99])
def test_an_event_on_the_day_of_its_timer_or_the_next_is_confirmed(days: float) -> None:
    """The timer had fired already; the event does nothing."""
    report = Bench().run(at("a", "begin", 0), at("a", "send", 1), at("a", "remind", days))
    assert told(report)[2] == ("remind", "confirmed", "sent", "")
    assert fired(report) == [("remind", 11.0, "confirmed")]
    assert report.moves == 3


@pytest.mark.parametrize("days", [10, 10.5, 10.99])
def test_an_event_on_the_day_before_its_timer_waits_for_it(days: float) -> None:
    """Also as the last of the log: the clock goes on to the timer, and no further."""
    bench = Bench()
    report = bench.run(at("a", "begin", 0), at("a", "send", 1), at("a", "remind", days))
    assert told(report)[2] == ("remind", "confirmed", "sent", "")
    assert (bench.states()["a"], bench.clock.now()) == (("reminded", START + 11 * DAY), START + 11 * DAY)


def test_the_next_event_of_the_case_ends_the_waiting() -> None:
    """The order of the log counts: the timer's event is fired by name, then the other."""
    bench = Bench()
    report = bench.run(
        at("a", "begin", 0), at("b", "begin", 0), at("a", "send", 1), at("b", "send", 1), at("a", "remind", 10.2),
        at("b", "remind", 10.2), at("a", "answer", 10.6),
    )  # fmt: skip
    assert told(report)[4:] == [
        ("remind", "applied", "sent", ""),
        ("remind", "confirmed", "sent", ""),
        ("answer", "applied", "reminded", ""),
    ]
    assert fired(report) == [("remind", 11.0, "confirmed")]
    assert bench.states()["a"] == ("answered", START + 10.6 * DAY)


@pytest.mark.parametrize(
    ("days", "told_as", "timers"),
    [
        (9.99, ("remind", "applied", "sent", ""), []),
        (13, ("remind", "refused", "reminded", "timer_was_earlier"), [("remind", 11.0, "disputed")]),
    ],
)
def test_further_from_its_timer_an_event_stands_for_itself(
    days: float, told_as: tuple[str, str, str, str], timers: list[tuple[str, float, str]]
) -> None:
    """Early, it is fired by name; late, the report says by how much the two differ."""
    report = Bench().run(at("a", "begin", 0), at("a", "send", 1), at("a", "remind", days))
    assert told(report)[2] == told_as
    assert fired(report) == timers
    if timers:
        assert report.outcomes[2].message == "the timer fired 2 days before what the log says"


@pytest.mark.parametrize(
    ("tolerance", "days", "result"),
    [
        (0, 11.99, "confirmed"), (0, 12.0, "refused"), (3, 14.99, "confirmed"), (3, 15.0, "refused"),
        (timedelta(0), 11.0, "confirmed"), (timedelta(hours=2), 11.25, "refused"), (0, 10.99, "applied"),
        (timedelta(hours=6), 11.25, "confirmed"), (timedelta(hours=6), 10.75, "confirmed"),
        (timedelta(hours=6), 10.7, "applied"),
    ],
)  # fmt: skip
def test_the_tolerance_is_days_of_the_calendar_or_a_duration(
    tolerance: int | timedelta, days: float, result: str
) -> None:
    """A whole number counts dates, a duration is exact; both ends belong to it."""
    report = Bench().run(
        at("a", "begin", 0), at("a", "send", 1), at("a", "remind", days), tolerance=tolerance
    )
    assert report.outcomes[2].result == result


def test_calendar_days_are_those_of_the_logs_own_offset() -> None:
    """00:30 in the east is the day before in UTC."""
    east = timezone(timedelta(hours=2))
    log = at("a", "begin", 0), at("a", "send", 1)
    near, far = at("a", "remind", 12 + 21.5 / 24, east), at("a", "remind", 12 + 22.5 / 24, east)
    assert Bench().run(*log, near).outcomes[2].result == "confirmed"
    assert Bench().run(*log, far).outcomes[2].result == "refused"


def test_a_timer_is_confirmed_once() -> None:
    """A second event of the same name is one too many."""
    report = Bench().run(
        at("a", "begin", 0), at("a", "send", 1), at("a", "remind", 11), at("a", "remind", 11.1)
    )
    assert [result for _, result, *_ in told(report)[2:]] == ["confirmed", "refused"]
    assert told(report)[3][3] == "not_accepted"


def test_an_event_that_waits_for_a_timer_whose_guard_says_no_is_rejected_with_its_reason() -> None:
    """When the time has come and the timer did not fire, the event is fired by name."""
    bench = Bench()
    report = bench.run(
        at("a", "begin", 0, forbidden=True), at("a", "send", 1), at("a", "remind", 10.5), at("b", "stamp", 10.9),
        at("b", "stamp", 11.4),
    )  # fmt: skip
    assert told(report)[2] == ("remind", "rejected", "sent", "forbidden")
    assert report.sweeps == SweepResult(rejected=2)
    assert _rejections(bench) == [("timer", 11.0), ("log", 11.0)]


def test_an_event_does_not_wait_for_a_timer_that_is_overdue() -> None:
    """A timer whose guard said no may never fire; the event is tried at its own time."""
    bench = Bench()
    report = bench.run(
        at("a", "begin", 0, forbidden=True),
        at("a", "send", 1),
        at("a", "remind", 11.5),
        at("a", "stamp", 11.8),
    )
    assert told(report)[2] == ("remind", "rejected", "sent", "forbidden")
    assert _rejections(bench) == [("timer", 11.0), ("log", 11.5)]


def _rejections(bench: Bench) -> list[tuple[str, float]]:
    """By whom and on which day a guard said no to the case `a`."""
    with Runtime(workflows=[LETTER], persistence=bench.persistence, clock=bench.clock) as runtime:
        return [
            (entry.trigger["by"], (entry.at - START) / DAY)
            for entry in runtime.history(("letter", "a"))
            if entry.kind == "rejected"
        ]


def test_of_several_timers_the_nearest_is_confirmed() -> None:
    """One that comes again and again may have fired twice within the tolerance."""
    ticking = Workflow(
        name="ticking",
        initial="on",
        states=[
            State("on", [Transition("tick", target="on", after=DAY), Transition("stop", target="off")]),
            State("off"),
        ],
    )
    meanings = {"begin": Create(), "tick": Fire("tick"), "stop": Fire("stop")}
    report = Bench().run(
        at("a", "begin", 0), at("a", "tick", 3.1), at("a", "tick", 3.2), at("a", "stop", 3.3),
        workflow=ticking, meanings=meanings,
    )  # fmt: skip
    assert [outcome.result for outcome in report.outcomes] == ["applied", "confirmed", "confirmed", "applied"]
    assert fired(report) == [
        ("tick", 1.0, "unlogged"),
        ("tick", 2.0, "confirmed"),
        ("tick", 3.0, "confirmed"),
    ]
    assert Bench().run(at("a", "begin", 0), at("a", "tick", 3.1), workflow=ticking, meanings=meanings).timers[
        -1
    ] == (TimerFiring("a", "tick", START + 3 * DAY, "on", "confirmed"))


def test_a_timer_whose_guard_said_no_is_tried_again_at_later_events() -> None:
    """The store knows when; the replay asks it whenever the clock has moved on."""
    bench = Bench()
    report = bench.run(
        at("a", "begin", 0, forbidden=True), at("a", "send", 1), at("b", "begin", 12), at("c", "begin", 13)
    )
    assert report.sweeps == SweepResult(rejected=3)
    assert [(time - START) / DAY for time in bench.sweeps] == [11.0, 12.0, 13.0]
    assert report.moves == 5  # the same no is recorded once


def test_a_case_without_a_timer_is_never_swept_for() -> None:
    """A delay that gives None arms none."""
    bench = Bench()
    report = bench.run(at("a", "begin", 0, wait=None), at("a", "send", 1), at("a", "remind", 50))
    assert told(report)[2] == ("remind", "applied", "sent", "")
    assert bench.sweeps == []


def test_many_timers_due_at_one_time_take_one_sweep() -> None:
    """A thousand cases cost no thousand sweeps."""
    bench = Bench()
    log = [at(str(n), activity, day) for n in range(60) for day, activity in enumerate(("begin", "send"))]
    report = bench.run(*log, until=START + 12 * DAY)
    assert len(report.timers) == 60
    assert len(bench.sweeps) == 1


def past(now: datetime) -> datetime:
    """A time that has been."""
    return now - DAY


ENDLESS = Workflow(
    name="endless",
    initial="on",
    states=[
        State("on", [Transition("tick", target="off", after=past), Transition("stop", target="done")]),
        State("off", [Transition("tock", target="on", after=past)]),
        State("done"),
    ],
)


def test_timers_that_never_let_the_time_go_on_are_an_error() -> None:
    """Instead of a replay that never ends."""
    meanings = {"begin": Create(), "stop": Fire("stop")}
    with pytest.raises(Misuse, match=r"timers of a fire again and again at 2024-01-01"):
        Bench().run(at("a", "begin", 0), at("a", "stop", 1), workflow=ENDLESS, meanings=meanings)


# --- the replay itself --------------------------------------------------------------------------------------------


def test_a_runtime_on_another_clock_is_refused() -> None:
    """Its timers would fire in the present, and not in the log."""
    with (
        Runtime(workflows=[LETTER], persistence=InMemoryPersistence(), clock=SystemClock()) as runtime,
        pytest.raises(Misuse, match=r"pass Runtime\(clock=clock\)"),
    ):
        replay(runtime, [at("a", "begin", 0)], workflow=LETTER, meanings=MEANINGS, clock=LogClock())


@pytest.mark.parametrize("tolerance", [-1, -DAY, True])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance: Any) -> None:
    """Before anything is done."""
    with pytest.raises(InvalidArgument, match="tolerance"):
        Bench().run(at("a", "begin", 0), tolerance=tolerance)


def test_a_horizon_without_a_zone_is_refused() -> None:
    """Before anything is done."""
    bench = Bench()
    with pytest.raises(InvalidArgument, match="until"):
        bench.run(at("a", "begin", 0), until=datetime(2024, 1, 1))  # noqa: DTZ001  # is meant
    assert bench.states() == {}


def test_progress_and_speed_are_told() -> None:
    """After each event, out of how many; seconds come from the given stopwatch."""
    calls: list[tuple[int, int]] = []
    ticks = iter([10.0, 12.0])
    stopwatch: Callable[[], float] = lambda: next(ticks)  # noqa: E731  # shorter here
    report = Bench().run(
        at("a", "begin", 0), at("a", "send", 1), at("a", "stamp", 2),
        progress=lambda done, total: calls.append((done, total)), stopwatch=stopwatch,
    )  # fmt: skip
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert (report.duration_s, report.moves_per_second) == (2.0, 1.0)


def test_an_empty_log_is_replayed_to_nothing() -> None:
    """No events, no division by zero."""
    report = Bench().run(stopwatch=lambda: 1.0)
    assert (report.events, report.cases, report.moves_per_second, report.deviations()) == (0, 0, 0.0, ())


def test_a_log_clock_never_goes_back() -> None:
    """The first time may be any; then only later ones count."""
    clock = LogClock()
    assert clock.now() == datetime(1900, 1, 1, tzinfo=UTC)
    clock.advance_to(datetime(1850, 1, 1, tzinfo=UTC))
    assert clock.now() == datetime(1850, 1, 1, tzinfo=UTC)
    clock.advance_to(START)
    clock.advance_to(START - DAY)
    assert clock.now() == START
    with pytest.raises(InvalidArgument, match="time zone"):
        clock.advance_to(datetime(2024, 1, 1))  # noqa: DTZ001  # is meant
