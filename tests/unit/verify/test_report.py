"""What do people, programs and CI get of a report?"""

from __future__ import annotations

import json
from datetime import timedelta

from duraflow import State, Transition, Workflow
from duraflow.verify import (
    always_reaches,
    at_most,
    explore,
    never,
    path_to_json,
    paths,
    rehearse,
    run_from_json,
)
from examples.traffic_fines.workflow import FINE

DOOR = Workflow(
    name="door",
    version=3,
    initial="open",
    states=[
        State("open", [Transition("close", target="closed", after=timedelta(hours=1))]),
        State(
            "closed",
            [Transition("open", target="open"), Transition("lock", target="locked", guard="has_key")],
        ),
        State("locked"),
    ],
)
DOUBTFUL = Workflow(
    name="doubtful",
    initial="a",
    states=[
        State("a", [Transition("go", target="b")]),
        State("b", [Transition(target="c", guard="g")]),
        State("c"),
    ],
)


def test_a_report_for_people() -> None:
    """What was looked at, what was found, what holds, and how long it can become."""
    report = explore(DOOR, properties=[never("open", after="locked"), at_most(1, "close")])
    assert report.to_text() == str(report)
    assert report.to_text().splitlines() == [
        "door, version 3: 3 states, 4 outcomes explored",
        "",
        "nothing wrong or doubtful was found",
        "",
        "properties:",
        '  holds   never("open", after="locked")',
        '  broken  at_most(1, "close")',
        "    1  $created       -> open",
        "    2  close (timer)  open -> closed",
        "    3  open           closed -> open",
        "    4  close (timer)  open -> closed",
        "",
        "one instance, at most:",
        "  moves:           no limit; 2 without going round",
        "  commands:        0",
        "  history entries: no limit; 3 without going round",
        "  time in timers:  no limit; 1:00:00 without going round",
        "  it may wait without limit, where no timer leads on: closed",
        "  no limit to moves, history entries and time in timers, because this can go on for ever:",
        "      close (timer)  open -> closed",
        "      open           closed -> open",
    ]


def test_a_report_for_programs() -> None:
    """Everything in it is plain JSON data."""
    data = json.loads(json.dumps(explore(DOOR, properties=[at_most(1, "close")]).to_json()))
    assert (data["workflow"], data["version"], data["hash"], data["ok"]) == ("door", 3, DOOR.hash, False)
    assert data["states"] == ["open", "closed", "locked"]
    assert data["outcomes"] == 4
    assert data["findings"] == []
    (checked,) = data["properties"]
    assert (checked["property"], checked["holds"], checked["tried"]) == ('at_most(1, "close")', False, None)
    run = run_from_json(checked["counterexample"]["run"])
    assert rehearse(DOOR, run).followed
    assert data["bounds"]["commands"] == {"limited": True, "value": 0, "exact": True, "loop": []} | {
        "run": data["bounds"]["commands"]["run"]
    }
    assert data["bounds"]["waiting_s"]["value"] == 3600.0
    assert data["bounds"]["no_timer"] == ["closed"]
    assert explore(DOUBTFUL).to_json()["findings"] == [
        {
            "severity": "warning",
            "code": "nothing_wakes",
            "path": "states[b]",
            "state": "b",
            "message": explore(DOUBTFUL).findings[0].message,
        }
    ]


def test_exit_codes() -> None:
    """A broken property is not well; a warning is not only for those who say so."""
    assert explore(DOOR).exit_code(strict=True) == 0
    assert explore(DOOR, properties=[at_most(1, "close")]).exit_code() == 1
    assert explore(DOUBTFUL).ok
    assert explore(DOUBTFUL).exit_code() == 0
    assert explore(DOUBTFUL).exit_code(strict=True) == 1
    assert "1 warning:\n  warning: states[b]: an instance rests here" in explore(DOUBTFUL).to_text()


def test_a_path_for_programs() -> None:
    """What it leads to, and the run."""
    (path,) = [path for path in paths(DOOR) if path.answer is False]
    assert path_to_json(path) == {
        "kind": "guard",
        "path": "states[closed].transitions[1]",
        "state": "closed",
        "guard": "has_key",
        "answer": False,
        "run": [
            {"event": "$created", "from": None, "to": "open", "status": "success"},
            {
                "event": "close",
                "from": "open",
                "to": "closed",
                "status": "success",
                "path": "states[open].transitions[0]",
                "timer": True,
            },
            {
                "event": "lock",
                "from": "closed",
                "to": "closed",
                "status": "rejected",
                "guards": {"has_key": False},
                "entered": False,
            },
        ],
    }
    assert str(path).startswith("states[closed].transitions[1]: has_key says no\n  1  $created")


def test_the_traffic_fine_is_right() -> None:
    """A workflow of the size that people write: nothing is wrong with it, and all of it can be seen in tests."""
    report = explore(FINE, properties=[always_reaches("paid", "dismissed"), never("dismissed", after="paid")])
    assert report.exit_code(strict=True) == 0
    assert report.states == tuple(state.name for state in FINE.states)
    found = paths(FINE)
    assert {path.path for path in found if path.kind == "transition"} == {
        candidate.path
        for state in FINE.resolved.values()
        for candidates in (*state.events.values(), state.automatic)
        for candidate in candidates
    }
    assert all(rehearse(FINE, path.run).followed for path in found)
