"""The in-memory benchmarks run, and write what they promise. Their times are nobody's business here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.figures import Figure


def test_the_memory_suites_write_the_promised_json(tmp_path: Path) -> None:
    """A list of figures with exactly the six promised fields, each with usable numbers."""
    pytest.importorskip("statemachine")
    pytest.importorskip("transitions")
    path = tmp_path / "deep" / "bench.json"

    assert main(["steps", "footprint", "--tiny", "--json", str(path)]) == 0

    rows = json.loads(path.read_text())
    assert rows
    for row in rows:
        assert set(row) == {"name", "ours", "reference", "ratio", "goal", "unit"}
        assert row["ours"] > 0
        assert row["reference"] > 0
        assert row["ratio"] == pytest.approx(row["reference"] / row["ours"])
    assert len({row["name"] for row in rows}) == len(rows)
    assert sum(row["goal"] is not None for row in rows) == 4


def test_an_unknown_suite_is_refused_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in a name measures nothing and lists the names."""
    path = tmp_path / "bench.json"

    with pytest.raises(SystemExit) as refused:
        main(["stpes", "--json", str(path)])

    assert refused.value.code == 2
    assert "steps, footprint" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize(
    ("figure", "ratio", "met"),
    [
        (Figure.of_times("slower", 2e-6, 1e-6, 1.0), 0.5, False),
        (Figure.of_rates("faster", 1e-6, 2e-6, 1.0), 2.0, True),
        (Figure.of_sizes("smaller", 50, 100, "bytes", 2.0), 2.0, True),
        (Figure.of_sizes("no goal", 50, 100, "bytes"), 2.0, None),
    ],
)
def test_a_ratio_is_turned_so_that_higher_is_better(figure: Figure, ratio: float, met: bool | None) -> None:
    """Times, rates and sizes alike; a goal is met from exactly its ratio on."""
    assert figure.ratio == pytest.approx(ratio)
    assert figure.met is met


def test_rates_and_times_tell_the_same_seconds() -> None:
    """The same measurement as a time and as a rate."""
    assert Figure.of_times("t", 2e-6, 1e-6).ours == pytest.approx(2.0)
    assert Figure.of_rates("r", 2e-6, 1e-6).ours == pytest.approx(500_000)
