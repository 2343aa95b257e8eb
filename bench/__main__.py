"""`python -m bench`: measure, print tables, write build/bench.json."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console

from bench.figures import Figure, print_table, write_json
from bench.memory import footprint, steps
from bench.rounds import FULL, QUICK, TINY, Effort

JSON = Path("build/bench.json")

Suite = Callable[[Effort], Iterator[Figure]]

SUITES: Mapping[str, tuple[str, Suite]] = {
    "steps": ("In memory: one step", steps.figures),
    "footprint": ("In memory: size and import", footprint.figures),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suites that were asked for; 0 unless something fails. A goal that is not met is no failure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"suites to run: {', '.join(SUITES)} (all)")
    effort = parser.add_mutually_exclusive_group()
    effort.add_argument("--quick", action="store_const", const=QUICK, dest="effort", help="about a minute")
    effort.add_argument(
        "--tiny", action="store_const", const=TINY, dest="effort", help="only whether it runs"
    )
    parser.add_argument("--json", type=Path, default=JSON, help=f"where the figures go ({JSON})")
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in SUITES]
    if unknown:
        parser.error(f"no such suite: {', '.join(unknown)}; there are {', '.join(SUITES)}")
    # The measured definitions leave out what a real one would have; their warnings would only stand in the table.
    logging.getLogger("duraflow").setLevel(logging.ERROR)
    console = Console(width=None if sys.stdout.isatty() else 130)
    all_figures: list[Figure] = []
    for name in options.names or SUITES:
        title, suite = SUITES[name]
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
