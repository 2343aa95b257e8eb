"""Does `check` find what is wrong before it runs, and `doctor` what is wrong with what is stored?"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import psycopg

from duraflow_cli.codes import Code
from tests.cli.conftest import Shell, plain_environment

DOOR = """
from duraflow import State, Transition, Workflow
from duraflow.verify import at_most, never

door = Workflow(
    name="door",
    initial="open",
    states=[
        State("open", [Transition("close", target="closed")]),
        State("closed", [Transition("open", target="open"), Transition("lock", target="locked")]),
        State("locked"),
    ],
)
workflows = [door]
properties = {"door": [never("open", after="locked"), at_most(1, "close")]}
unknown = {"window": []}
promises = [never("open", after="locked")]
"""


def test_a_workflow_is_explored_without_a_database(folder: Shell) -> None:
    """Nothing is wrong: 0. A property that does not hold: 1, with the run that breaks it, which is saved as a test."""
    folder.write("doors.py", DOOR)
    assert "door" in folder("check", "--app", "doors").out
    folder.write("pyproject.toml", '[tool.duraflow]\napp = "doors"\nproperties = "doors:properties"\n')
    done = folder("check", "--save", "found", code=Code.NO)
    assert re.search(r'broken +at_most\(1, "close"\)', done.out)
    assert done.err == "saved found/test_door_v1_2.py\n"
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "found"],
        cwd=folder.folder, env={**plain_environment(), "PYTHONPATH": "."}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1
    assert 'at_most(1, "close") is broken' in ran.stdout
    assert "holds" in folder("check", "--properties", "doors:promises").out
    report = folder("check", "door", "--json", code=Code.NO).json
    assert (report["ok"], [w["workflow"] for w in report["workflows"]]) == (False, ["door"])


def test_a_definition_that_cannot_be_used_is_a_no(folder: Shell) -> None:
    """All that is wrong with it, and the place; also as JSON."""
    folder.write("doors.py", DOOR.replace('target="closed"', 'target="shut"'))
    assert "'shut' is not a state" in folder("check", "--app", "doors", code=Code.NO).out
    report = folder("check", "--app", "doors", "--json", code=Code.NO).json
    assert report["error"]["findings"][0]["code"] == "unknown_target"


def test_properties_that_are_not_there(folder: Shell) -> None:
    """Told by name."""
    folder.write("doors.py", DOOR)
    for place, said in (
        ("doors:unknown", "names workflows that the application does not have: 'window'"),
        ("doors:nothing", "'doors' has no 'nothing'"),
        ("doors", "is not MODULE:NAME"),
        ("nowhere:x", "there is no module 'nowhere'"),
    ):
        assert said in folder("check", "--app", "doors", "--properties", place, code=Code.MISUSED).err


def test_the_doctor_finds_a_gap(shop: Shell, create: Callable[..., str], pg_dsn: str) -> None:
    """Well: 0. A row that someone deleted by hand: 1, with the instance and what to do."""
    made = create()
    assert shop("doctor", "--json").json["ok"] is True
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute("DELETE FROM workflow_history WHERE instance_id = %s", [made])
    done = shop("doctor", "--exact", code=Code.NO)
    assert "history_gap" in done.out
    assert made in done.out
    shop("delete", made, "--even-open", "--yes")


def test_strict_takes_doubts_for_problems(shop: Shell, create: Callable[..., str], pg_dsn: str) -> None:
    """A warning is none otherwise."""
    made = create()
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE workflow_due SET due_at = now() - interval '2 days' WHERE instance_id = %s", [made]
        )
    shop("doctor", "--strict", code=Code.NO)
