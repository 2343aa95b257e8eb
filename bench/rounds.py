"""How are several ways of doing one thing compared on a machine that also does other things?

Side by side: short rounds, A B B A A B B A …, and the median of each side's rounds. What slows the machine for a while
slows both, and a single disturbed round says nothing. The garbage collector runs between rounds, never in one.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median

import attrs

Run = Callable[[int], object]
"""Does one thing so many times."""


@attrs.frozen
class Effort:
    """How long to measure.

    Attributes:
        rounds: of each side.
        round_s: about how long one round takes.
        scale: of what is not repeated but counted: timers of a sweep, instances to fire at.
        full: also what takes long, such as a table of a million instances.
    """

    rounds: int
    round_s: float
    scale: float = 1.0
    full: bool = True

    def slower(self, factor: float) -> Effort:
        """The same with rounds so many times as long, for what has a trip to a server in it."""
        return attrs.evolve(self, round_s=self.round_s * factor)

    def scaled(self, number: int) -> int:
        """A number of things to work on, at least one."""
        return max(1, round(number * self.scale))


FULL = Effort(rounds=9, round_s=0.1)
QUICK = Effort(rounds=5, round_s=0.03, scale=0.2, full=False)
TINY = Effort(rounds=2, round_s=0.0, scale=0.001, full=False)
"""For the test that the benchmarks run at all: its times mean nothing."""


def compare(sides: Sequence[Run], effort: Effort, *, most: int = 1_000_000) -> list[float]:
    """Seconds for one operation of each side, medians of interleaved rounds.

    Args:
        most: operations of one round at most.
    """
    counts = [_calibrated(run, effort, most) for run in sides]
    taken: list[list[float]] = [[] for _ in sides]
    places = list(range(len(sides)))
    for number in range(effort.rounds):
        for place in places if number % 2 == 0 else reversed(places):
            taken[place].append(timed(sides[place], counts[place]) / counts[place])
    return [median(times) for times in taken]


def timed(run: Run, count: int) -> float:
    """Seconds of one round."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter()
        run(count)
        return time.perf_counter() - started
    finally:
        gc.enable()


def _calibrated(run: Run, effort: Effort, most: int) -> int:
    """How many operations fill one round; also the warm-up."""
    count = 1
    taken = timed(run, count)
    while taken < effort.round_s / 4 and count < most:
        count *= 2
        taken = timed(run, count)
    return max(1, min(most, round(count * effort.round_s / taken)))
