"""Does a report of the doctor say what was found, what was looked at, and what could not be?"""

from __future__ import annotations

import json
from datetime import timedelta

import attrs
import pytest

from duraflow import Checkup, Diagnosis, DoctorReport, NotSupported, Runtime, State, Transition, Workflow
from duraflow.diagnosis import AILMENTS
from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing import ManualClock
from duraflow_pg.doctor import PG_AILMENTS

DOOR = Workflow(
    name="door",
    initial="open",
    states=[State("open", [Transition("shut", target="shut", after=timedelta(days=1))]), State("shut")],
)
SECOND = timedelta(seconds=1)


def _report() -> DoctorReport:
    ailments = AILMENTS
    return DoctorReport(
        "in memory",
        "default",
        (
            Checkup("one", "exact", "3 rows", SECOND, (ailments["overdue"].found(["a: late"], total=1_200),)),
            Checkup(
                "two", "sample", "10 of 1,000 rows", SECOND * 2, (ailments["history_gap"].found(["b", "c"]),)
            ),
            Checkup("three", "not run", "", SECOND, problem="no right to look"),
            Checkup("four", "partly", "some", SECOND, problem="the rest belongs to others"),
        ),
    )


def test_errors_come_first_and_everything_is_counted() -> None:
    """Warnings do not make a report bad; what could not run does not hide."""
    report = _report()
    assert [one.code for one in report.findings] == ["history_gap", "overdue"]
    assert [one.code for one in report.errors] == ["history_gap"]
    assert not report.ok
    assert [one.name for one in report.not_run] == ["three", "four"]
    assert report.took == SECOND * 5
    assert attrs.evolve(report, checks=report.checks[:1]).ok


def test_the_text_is_for_people() -> None:
    """What, which, why, what to do; then what was looked at."""
    assert _report().to_text() == str(_report())
    assert _report().to_text().splitlines() == [
        "in memory, namespace 'default': 1 error, 1 warning, could not check three",
        "",
        "error: instances whose history has a gap: 2 [history_gap]",
        "    b",
        "    c",
        f"  why: {AILMENTS['history_gap'].why}",
        f"  do:  {AILMENTS['history_gap'].remedy}",
        "",
        "warning: instances whose due work is late: 1,200 [overdue]",
        "    a: late",
        "    … and 1,199 more",
        f"  why: {AILMENTS['overdue'].why}",
        f"  do:  {AILMENTS['overdue'].remedy}",
        "",
        "4 checks in 5.00 s",
        "  one              1.00 s  exact: 3 rows -> overdue",
        "  two              2.00 s  sample: 10 of 1,000 rows -> history_gap",
        "  three            1.00 s  not run (no right to look)",
        "  four             1.00 s  partly: some (the rest belongs to others)",
    ]


def test_nothing_found_is_said_too() -> None:
    """In the first line."""
    report = DoctorReport("in memory", "a", ())
    assert report.to_text().startswith("in memory, namespace 'a': nothing found")


def test_the_json_is_for_programs() -> None:
    """Plain values only, with everything in them."""
    document = json.loads(json.dumps(_report().to_json()))
    assert document["ok"] is False
    assert document["took_s"] == 5.0
    assert document["findings"][1] == {
        "code": "overdue",
        "severity": "warning",
        "what": "instances whose due work is late: 1,200",
        "why": AILMENTS["overdue"].why,
        "remedy": AILMENTS["overdue"].remedy,
        "rows": ["a: late"],
        "total": 1_200,
    }
    assert document["checks"][2] == {
        "name": "three", "how": "not run", "scanned": "", "took_s": 1.0, "findings": [], "problem": "no right to look",
    }  # fmt: skip


def test_rows_are_cut_and_counted() -> None:
    """None shown is not none found."""
    found = AILMENTS["overdue"].found(["a", "b", "c"], shown=2)
    assert (found.rows, found.total) == (("a", "b"), 3)
    assert AILMENTS["overdue"].found(["a"], shown=0, total=7) == attrs.evolve(
        found, rows=(), total=7, what="instances whose due work is late: 7"
    )
    assert isinstance(found, Diagnosis)


@pytest.mark.parametrize("ailment", [*AILMENTS.values(), *PG_AILMENTS.values()], ids=lambda one: one.code)
def test_every_ailment_is_said_in_full(ailment: object) -> None:
    """Why it matters, and what to do, as parts of a sentence."""
    for text in (ailment.what, ailment.why, ailment.remedy):  # type: ignore[attr-defined]
        assert text
        assert not text.endswith(".")


# --- what only memory can have, or only by hand -----------------------------------------------------------------


def _shelf() -> tuple[InMemoryDatabase, Runtime]:
    database = InMemoryDatabase()
    return database, Runtime(workflows=[DOOR], persistence=InMemoryPersistence(database=database))


def _codes(runtime: Runtime) -> set[str]:
    return {one.code for one in runtime.doctor().findings}


def test_a_store_without_an_inspector_is_told_so() -> None:
    """By the port's name."""
    persistence = attrs.evolve(InMemoryPersistence(), inspector=None)
    with (
        Runtime(workflows=[DOOR], persistence=persistence) as runtime,
        pytest.raises(NotSupported, match="Inspector"),
    ):
        runtime.doctor()


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("finished_with_work", {"timers": '[{"event":"shut","due_at":"2024-01-01T00:00:00+00:00"}]'}),
        ("unreadable_values", {"context": '{"a":{"$":"?"}}'}),
        ("unreadable_values", {"context": "{"}),
    ],
)
def test_a_row_that_was_edited_by_hand_is_found(code: str, changes: dict[str, str]) -> None:
    """And the others are examined all the same."""
    database, runtime = _shelf()
    with runtime:
        instance = runtime.create(DOOR)
        runtime.fire(instance.id, "shut")
        assert _codes(runtime) == set()
        rows = database._tables.instances
        rows[instance.id] = {**rows[instance.id], **changes}
        assert code in _codes(runtime)


def test_a_lease_without_work_is_found() -> None:
    """Every event would find it busy."""
    database, runtime = _shelf()
    with runtime:
        instance = runtime.create(DOOR)
        rows = database._tables.instances
        rows[instance.id] = {**rows[instance.id], "lease_token": instance.id}
        assert _codes(runtime) == set()  # a due row stands for it
        database._tables.due.pop(instance.id)
        assert _codes(runtime) == {"lease_without_work", "timer_without_due"}


def test_a_snapshot_that_does_not_load_is_found() -> None:
    """Nothing could be governed by it."""
    database, runtime = _shelf()
    with runtime:
        known = database._tables.definitions
        known["default", "door", 2] = ("0" * 64, "{}", *known["default", "door", 1][2:])
        assert _codes(runtime) == {"version_unreadable"}


def test_the_runtimes_clock_says_what_is_late() -> None:
    """Not the machine's."""
    clock = ManualClock()
    with Runtime(workflows=[DOOR], persistence=InMemoryPersistence(), clock=clock) as runtime:
        runtime.create(DOOR)
        clock.advance(timedelta(days=1, minutes=5))
        assert _codes(runtime) == set()
        clock.advance(SECOND)
        assert _codes(runtime) == {"overdue"}
