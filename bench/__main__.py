"""`python -m bench`: measure, print tables, write build/bench.json."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console

from bench.figures import Figure, print_table, write_json
from bench.memory import footprint, steps
from bench.pg import batches, costs, growth, moves, upkeep
from bench.pg.stage import Stage
from bench.rounds import FULL, QUICK, TINY, Effort

JSON = Path("build/bench.json")

Suite = Callable[[Effort], Iterator[Figure]]

MEMORY: Mapping[str, tuple[str, Suite]] = {
    "steps": ("In memory: one step", steps.figures),
    "footprint": ("In memory: size and import", footprint.figures),
}

POSTGRESQL: Mapping[str, tuple[str, Callable[[Stage, Effort], Iterator[Figure]]]] = {
    "fire": ("PostgreSQL, blocking: one move", moves.blocking_figures),
    "asyncio": ("PostgreSQL, asyncio: one move", moves.asyncio_figures),
    "batches": ("PostgreSQL: batches", batches.figures),
    "costs": ("PostgreSQL: trips, commits and log of one operation", costs.figures),
    "upkeep": ("PostgreSQL: keys, versions, feed, upgrades, doctor, prune", upkeep.figures),
    "growth": ("PostgreSQL: one move among more and more instances", growth.figures),
}

NAMES = (*MEMORY, *POSTGRESQL)


def suites(names: Sequence[str]) -> Iterator[tuple[str, str, Suite]]:
    """The suites by name with their titles; a server runs while one needs it."""
    with ExitStack() as stack:
        stage: Stage | None = None
        for name in names:
            if name in MEMORY:
                yield name, *MEMORY[name]
                continue
            if stage is None:
                stage = stack.enter_context(Stage.opened())
            title, suite = POSTGRESQL[name]
            yield name, title, partial(suite, stage)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites that were asked for; 0 unless something fails. A goal that is not met is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"suites to run: {', '.join(NAMES)} (all)")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_const", const=QUICK, dest="effort", help="about a minute")
    effort.add_argument(
        "--tiny", action="store_const", const=TINY, dest="effort", help="only whether it runs"
    )
    parser.add_argument("--json", type=Path, default=JSON, help=f"where the figures go ({JSON})")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in NAMES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    # The measured definitions leave out what a real one would have; their warnings would only stand in the table.
    logging.getLogger("duraflow").setLevel(logging.ERROR)
    console = Console(width=None if sys.stdout.isatty() else 130)
    all_figures: list[Figure] = []
    for name, title, suite in suites(options.names or NAMES):
        started = time.monotonic()
        figures = list(suite(options.effort or FULL))
        print_table(f"{title} ({name}, {time.monotonic() - started:.0f} s)", figures, console)
        all_figures += figures
    write_json(all_figures, options.json)
    judged = [figure for figure in all_figures if figure.met is not None]
    met = sum(figure.met is True for figure in judged)
    console.print(f"{met} of {len(judged)} goals met; all figures in {options.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
