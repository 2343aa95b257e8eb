"""What does the demo print, and write to files?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from duraflow import HistoryEntry, Instance, StateCount, to_markdown, to_mermaid
from duraflow.replay import LogEvent, ReplayReport
from duraflow.replay.report import MEANINGS, VERDICTS
from examples.traffic_fines.verify import Check
from examples.traffic_fines.workflow import FINE, ROME, open_amount

_SHOWN = 100


def console() -> Console:
    """A console that is wide enough where there is no terminal to ask."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=150, soft_wrap=False)


def show_log(out: Console, source: Path, log: tuple[LogEvent, ...]) -> None:
    """What is about to be replayed."""
    cases = len({event.case for event in log})
    days = f", {log[0].at:%Y-%m-%d} to {log[-1].at:%Y-%m-%d}" if log else ""
    out.print(f"{source}: {len(log)} events of {cases} fines{days}")


def show_totals(out: Console, report: ReplayReport, store: str) -> None:
    """What became of the events, and how fast."""
    table = Table(title="What became of the events of the log", title_justify="left")
    table.add_column("result")
    table.add_column("events", justify="right")
    table.add_column("meaning")
    for result, count in report.totals.items():
        if count:
            table.add_row(result, str(count), MEANINGS[result])
    table.add_section()
    table.add_row(
        "together", str(sum(report.totals.values())), f"of {report.events} events in {report.cases} fines"
    )
    out.print()
    out.print(table)
    out.print(
        f"{report.moves} moves in {report.duration_s:.2f} s on {store}: {report.moves_per_second:,.0f} moves a second"
    )
    verdicts = ", ".join(
        f"{VERDICTS[name]} {count}" for name, count in report.timers_by_verdict.items() if count
    )
    out.print(f"{len(report.timers)} timers fired ({verdicts})" if report.timers else "no timers fired")


def show_states(out: Console, counts: Iterable[StateCount], fines: Iterable[Instance]) -> None:
    """Fines by state."""
    table = Table(title="Fines by state", title_justify="left")
    table.add_column("state")
    table.add_column("fines", justify="right")
    table.add_column("still to be paid", justify="right")
    open_by_state: dict[str, Any] = {}
    for fine in fines:
        rest = open_amount(fine.context) if fine.open else 0
        open_by_state[fine.state] = open_by_state.get(fine.state, 0) + rest
    rows = sorted(counts, key=lambda row: -row.count)
    for row in rows:
        rest = open_by_state.get(row.state, 0)
        table.add_row(row.state, str(row.count), f"{rest:,.2f} €" if row.open else "–")
    table.add_section()
    table.add_row("together", str(sum(row.count for row in rows)), f"{sum(open_by_state.values()):,.2f} €")
    out.print()
    out.print(table)


def show_conformance(out: Console, report: ReplayReport) -> None:
    """Where the log and the workflow disagree: by reason, then every event."""
    out.print()
    deviations = report.deviations()
    if not deviations:
        out.print("The log and the workflow agree.")
        return
    table = Table(title="Conformance: where the log and the workflow disagree", title_justify="left")
    for name in ("result", "activity", "in state"):
        table.add_column(name)
    table.add_column("count", justify="right")
    table.add_column("reason", overflow="fold")
    for deviation in deviations:
        table.add_row(
            deviation.result,
            deviation.activity,
            deviation.state or "–",
            str(deviation.count),
            deviation.message,
        )
    out.print(table)
    each = Table(title="Each of these events", title_justify="left")
    for name in ("fine", "when", "activity", "in state", "result"):
        each.add_column(name, no_wrap=True)
    each.add_column("reason", overflow="fold")
    each.add_column("line", justify="right")
    for outcome in report.disagreeing[:_SHOWN]:
        event = outcome.event
        each.add_row(
            event.case, f"{event.at:%Y-%m-%d}", event.activity, outcome.state or "–", outcome.result,
            f"{outcome.code}: {outcome.message}", str(event.line or ""),
        )  # fmt: skip
    out.print()
    out.print(each)
    if len(report.disagreeing) > _SHOWN:
        out.print(f"… and {len(report.disagreeing) - _SHOWN} more, in the JSON file")


def show_history(out: Console, fine: Instance, entries: Iterable[HistoryEntry]) -> None:
    """One fine from its beginning."""
    table = Table(title=f"The history of fine {fine.ref}", title_justify="left")
    table.add_column("seq", justify="right")
    for name in ("day", "event", "by", "from", "to", "commands"):
        table.add_column(name, no_wrap=name != "commands")
    table.add_column("changed", overflow="fold")
    for entry in entries:
        table.add_row(
            str(entry.seq), _short(entry.at), entry.event, str(entry.trigger.get("by", "")),
            entry.from_state or "", entry.to_state,
            ", ".join(result.name if result.status == "success" else f"{result.name}: {result.code}"
                      for result in entry.commands),
            ", ".join(f"{key}={_short(value)}" for key, value in entry.change.set.items()),
        )  # fmt: skip
    out.print()
    out.print(table)
    out.print(f"open: {open_amount(fine.context):,.2f} €, metadata: {_short(fine.metadata)}")


def show_checks(out: Console, checks: Iterable[Check]) -> None:
    """What was verified."""
    out.print()
    for check in checks:
        mark = "[green]ok[/]  " if check.ok else "[red]WRONG[/]"
        out.print(f"{mark} {check.what} ({check.looked_at} looked at)")
        for wrong in check.wrong[:10]:
            out.print(f"      {wrong}", markup=False)
        if len(check.wrong) > 10:
            out.print(f"      … and {len(check.wrong) - 10} more")


def write_files(directory: Path, report: ReplayReport, counts: Iterable[StateCount]) -> tuple[Path, ...]:
    """The diagram with counts per state, alone and in a Markdown page with the report, and the report as JSON."""
    directory.mkdir(parents=True, exist_ok=True)
    mermaid = to_mermaid(FINE, counts={row.state: row.count for row in counts})
    page = [
        "# Traffic fines", "", "```mermaid", mermaid, "```", "", to_markdown(FINE), "", "## Conformance", "",
        report.to_markdown(examples=10), "",
    ]  # fmt: skip
    contents = {
        "traffic_fines.mmd": mermaid + "\n",
        "traffic_fines.md": "\n".join(page),
        "traffic_fines.json": json.dumps(report.to_json(), indent=2, ensure_ascii=False) + "\n",
    }
    for name, content in contents.items():
        (directory / name).write_text(content, encoding="utf-8")
    return tuple(directory / name for name in contents)


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={item}" for key, item in value.items()) or "none"
    if isinstance(value, datetime):
        return f"{value.astimezone(ROME):%Y-%m-%d}"
    return str(value)
