"""What was measured, and how is it told: a table for people, `build/bench.json` for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs
from rich.console import Console
from rich.table import Table


@attrs.frozen
class Figure:
    """One thing measured beside its reference.

    Attributes:
        ratio: how ours compares, turned so that higher is better and 1 is a draw.
        goal: the ratio we want at least; None where the figure is only to be known.
        unit: of `ours` and `reference`.
    """

    name: str
    ours: float
    reference: float
    ratio: float
    goal: float | None
    unit: str

    @classmethod
    def of_times(cls, name: str, ours_s: float, reference_s: float, goal: float | None = None) -> Figure:
        """From seconds for one operation, told in microseconds."""
        return cls(name, ours_s * 1e6, reference_s * 1e6, reference_s / ours_s, goal, "µs")

    @classmethod
    def of_rates(cls, name: str, ours_s: float, reference_s: float, goal: float | None = None) -> Figure:
        """From seconds for one operation, told in operations per second."""
        return cls(name, 1 / ours_s, 1 / reference_s, reference_s / ours_s, goal, "1/s")

    @classmethod
    def of_sizes(
        cls, name: str, ours: float, reference: float, unit: str, goal: float | None = None
    ) -> Figure:
        """From amounts, where less is better."""
        return cls(name, ours, reference, reference / ours if ours else 1.0, goal, unit)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without one."""
        return None if self.goal is None else self.ratio >= self.goal


def write_json(figures: Iterable[Figure], path: Path) -> None:
    """A list of {name, ours, reference, ratio, goal, unit}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [attrs.asdict(figure) for figure in figures]
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def print_table(title: str, figures: Sequence[Figure], console: Console) -> None:
    """One suite's figures."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("measured", no_wrap=True)
    for column in ("ours", "reference", "unit", "ratio", "goal", ""):
        table.add_column(column, justify="right" if column != "unit" else "left")
    for figure in figures:
        table.add_row(
            figure.name,
            _number(figure.ours),
            _number(figure.reference),
            figure.unit,
            f"{figure.ratio:.2f}",
            "" if figure.goal is None else f"{figure.goal:.2f}",
            {True: "[green]met[/]", False: "[red]not met[/]", None: ""}[figure.met],
        )
    console.print(table)


def _number(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
