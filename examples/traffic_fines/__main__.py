"""Replay a log of traffic fines through the workflow: `make demo`, or `python -m examples.traffic_fines --help`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from contextlib import AbstractContextManager
from datetime import datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from devtools.embedded_pg import StartFailed, keep_running
from duraflow import DuraflowError
from duraflow.replay import LogEvent, ReplayReport, read_log, replay
from examples.traffic_fines import show
from examples.traffic_fines.generator import generate, write_csv
from examples.traffic_fines.meanings import MEANINGS
from examples.traffic_fines.stores import Store, embedded, given, in_memory
from examples.traffic_fines.verify import instances, verify, whole_history
from examples.traffic_fines.workflow import FINE, ROME

_ROOT = Path(__file__).parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; gives the exit code: 1 if something does not hold, 2 if it could not run."""
    options = _parser().parse_args(arguments)
    if options.stop:
        keep_running(options.keep).stop()
        return 0
    out = show.console()
    try:
        return _run(options, out)
    except (DuraflowError, OSError, psycopg.Error, StartFailed, subprocess.CalledProcessError) as error:
        out.print(f"{type(error).__name__}: {error}", style="red", markup=False, soft_wrap=True)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.traffic_fines", description=__doc__)
    parser.add_argument("--log", type=Path, help="a .csv, .xes or .xes.gz; without it one is made up")
    parser.add_argument(
        "--zone", type=_zone, help="what timestamps without an offset mean, as in Europe/Rome"
    )
    parser.add_argument(
        "--until", type=_day, help="let timers fire on, after the log, until this day (2024-02-29)"
    )
    parser.add_argument("--store", choices=("postgres", "memory"), default="postgres")
    parser.add_argument("--dsn", help="a PostgreSQL to use in place of one of the demo's own")
    parser.add_argument("--fines", type=_positive, default=400, help="how many to make up (default: 400)")
    parser.add_argument("--seed", type=int, default=1, help="of what is made up (default: 1)")
    parser.add_argument("--out", type=Path, default=_ROOT / "build", help="where files go (default: build)")
    parser.add_argument(
        "--keep", type=Path, default=_ROOT / "demo" / "pg", help="where PostgreSQL is kept (default: demo/pg)"
    )
    parser.add_argument(
        "--stop", action="store_true", help="stop the PostgreSQL that an earlier run left running"
    )
    return parser


def _run(options: argparse.Namespace, out: Console) -> int:
    source = options.log
    if source is None:
        source = options.out / "traffic_fines_log.csv"
        source.parent.mkdir(parents=True, exist_ok=True)
        with source.open("w", newline="", encoding="utf-8") as file:
            write_csv(generate(options.fines, options.seed), file)
    log = read_log(source, zone=options.zone)
    show.show_log(out, source, log)
    with _store(options, out) as store:
        report = _replay(store, log, options.until, out)
        fines = list(instances(store.runtime))
        counts = store.runtime.count(FINE)
        show.show_totals(out, report, store.name)
        show.show_states(out, counts, fines)
        show.show_conformance(out, report)
        if fines:
            longest = max(fines, key=lambda fine: fine.version)
            show.show_history(out, longest, whole_history(store.runtime, longest))
        checks = verify(store, report, len(log))
        show.show_checks(out, checks)
        written = show.write_files(options.out, report, counts)
        out.print(f"\nwritten: {', '.join(map(str, written))}", soft_wrap=True)
        if store.look:
            out.print(f"\n{store.look}", markup=False, soft_wrap=True)
    return 0 if all(check.ok for check in checks) else 1


def _store(options: argparse.Namespace, out: Console) -> AbstractContextManager[Store]:
    if options.store == "memory":
        return in_memory()
    if options.dsn:
        return given(options.dsn, out.print)
    return embedded(options.keep, out.print)


def _replay(store: Store, log: tuple[LogEvent, ...], until: datetime | None, out: Console) -> ReplayReport:
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out) as bar:
        task = bar.add_task("replaying", total=len(log))
        return replay(
            store.runtime,
            log,
            workflow=FINE,
            meanings=MEANINGS,
            clock=store.clock,
            until=until,
            progress=lambda done, _: bar.update(task, completed=done),
        )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise argparse.ArgumentTypeError(f"{name!r} is no time zone such as Europe/Rome") from None


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ROME)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day such as 2024-02-29") from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
