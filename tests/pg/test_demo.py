"""Does the demo run as a person would run it, on both stores, and twice?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

ROOT = Path(__file__).parents[2]
REAL_LOG = ROOT.parent / "shared" / "data" / "traffic_fines.csv"
FINES = "60"


def _run(out: Path, *arguments: str, code: int = 0) -> str:
    """What the demo prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-m", "examples.traffic_fines", "--out", str(out), *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert result.returncode == code, result.stdout
    return result.stdout


def _report(out: Path) -> dict[str, object]:
    data: dict[str, object] = json.loads((out / "traffic_fines.json").read_text(encoding="utf-8"))
    return {
        name: data[name]
        for name in ("events", "cases", "totals", "timers", "moves", "deviations", "disagreeing")
    }


def _holds(printed: str) -> None:
    assert printed.count("\nok ") == 6
    assert "WRONG" not in printed
    for part in (
        "moves a second",
        "Fines by state",
        "Conformance",
        "The history of fine",
        "The database stays",
    ):
        assert part in printed


@pytest.fixture(scope="session")
def in_memory(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The report of the same log on the memory store."""
    out = tmp_path_factory.mktemp("memory")
    printed = _run(out, "--store", "memory", "--fines", FINES)
    assert "The database stays" not in printed
    return _report(out)


def test_the_demo_on_a_given_database_does_what_it_does_in_memory(
    fresh_pg_dsn: str, tmp_path: Path, in_memory: dict[str, object]
) -> None:
    """Both stores give the same report to the last event; a second run stands beside the first."""
    for run in (1, 2):
        printed = _run(tmp_path, "--dsn", fresh_pg_dsn, "--fines", FINES)
        _holds(printed)
        assert _report(tmp_path) == in_memory
        with psycopg.connect(fresh_pg_dsn) as connection:
            rows = connection.execute(
                "SELECT namespace, count(*) FROM workflow_instances GROUP BY 1"
            ).fetchall()
            letters = connection.execute(
                "SELECT count(DISTINCT transition), count(*) FROM traffic_fines.letters"
            )
            assert len(set(letters.fetchone() or ())) == 1
        assert len(rows) == run
        assert len({count for _, count in rows}) == 1
    assert "stateDiagram-v2" in (tmp_path / "traffic_fines.mmd").read_text(encoding="utf-8")
    assert "```mermaid" in (tmp_path / "traffic_fines.md").read_text(encoding="utf-8")


def test_the_sql_that_the_demo_shows_runs(fresh_pg_dsn: str, tmp_path: Path) -> None:
    """What is printed can be pasted."""
    printed = _run(tmp_path, "--dsn", fresh_pg_dsn, "--fines", "20", "--until", "2030-01-01")
    shown = printed[printed.index("  SELECT state, outcome") : printed.rindex(";")]
    statements = shown.split(";")
    assert len(statements) == 3
    with psycopg.connect(fresh_pg_dsn) as connection:
        states, one, _ = (connection.execute(statement.encode()).fetchall() for statement in statements)
    assert sum(row[2] for row in states) == 20
    assert [row[0] for row in one] == sorted({row[0] for row in one})
    assert len(one) > 3


def test_the_demo_keeps_a_server_of_its_own(tmp_path: Path, in_memory: dict[str, object]) -> None:
    """Without a DSN it starts one, makes its database anew in every run, and leaves it running until told to stop."""
    keep = tmp_path / "pg"
    printed = ""
    try:
        for _ in range(2):
            printed = _run(tmp_path, "--keep", str(keep), "--fines", FINES)
            _holds(printed)
            assert _report(tmp_path) == in_memory
        assert "--stop" in printed
        dsn = next(part for part in printed.replace("'", " ").split() if part.startswith("postgresql://"))
        with psycopg.connect(dsn) as connection:
            ((namespaces,),) = connection.execute(
                "SELECT count(DISTINCT namespace) FROM workflow_instances"
            ).fetchall()
        assert namespaces == 1
    finally:
        _run(tmp_path, "--keep", str(keep), "--stop")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, connect_timeout=5)


@pytest.mark.skipif(not REAL_LOG.exists(), reason=f"the real log is not here: {REAL_LOG}")
def test_the_published_log_runs_on_postgresql(fresh_pg_dsn: str, tmp_path: Path) -> None:
    """All 390 events are accounted for, as in memory."""
    printed = _run(tmp_path, "--dsn", fresh_pg_dsn, "--log", str(REAL_LOG))
    _holds(printed)
    totals = json.loads((tmp_path / "traffic_fines.json").read_text(encoding="utf-8"))["totals"]
    assert {name: count for name, count in totals.items() if count} == {
        "applied": 332, "confirmed": 57, "refused": 1,
    }  # fmt: skip
    assert sum(totals.values()) == 390


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--log", "nonesuch.csv", "--store", "memory"), "No such file or directory: 'nonesuch.csv'"),
        (("--log", "README.md", "--store", "memory"), "README.md: is neither .csv"),
        (("--fines", "0"), "'0' is not a whole number from 1"),
        (("--zone", "Europe/Nowhere"), "'Europe/Nowhere' is no time zone"),
        (("--until", "soon"), "'soon' is no day"),
        (("--dsn", "postgresql://nobody:secret@127.0.0.1:1/x", "--fines", "1"), "connection refused"),
    ],
)
def test_what_cannot_run_says_why(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    """Exit code 2 and one line, no traceback, no password."""
    printed = _run(tmp_path, *arguments, code=2)
    assert says in printed
    assert "Traceback" not in printed
    assert "secret" not in printed
