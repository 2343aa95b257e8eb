"""How much memory does one instance take, and how long does `import duraflow` take?"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from statistics import median
from uuid import uuid4

from bench.figures import Figure
from bench.memory import floor
from bench.memory.steps import NOW
from bench.process import engine_of
from bench.rounds import Effort
from duraflow.records import Record, instance_from_record

BYTES_LIMIT = 600
IMPORT_LIMIT_MS = 60.0


def figures(effort: Effort) -> Iterator[Figure]:
    """Bytes and import times."""
    ours, bare = instance_bytes(effort.scaled(20_000))
    yield Figure.of_sizes(
        "bytes per instance from its row, beside the limit", ours, BYTES_LIMIT, "bytes", 1.0
    )
    yield Figure.of_sizes("bytes per instance from its row, beside the attrs floor", ours, bare, "bytes")
    with tempfile.TemporaryDirectory() as cache:
        ours_ms, attrs_ms = import_times(("duraflow", "attrs"), 2 * effort.rounds + 1, cache)
    yield Figure.of_sizes("import duraflow, beside the limit", ours_ms, IMPORT_LIMIT_MS, "ms", 1.0)
    yield Figure.of_sizes("import duraflow, beside import attrs (a part of it)", ours_ms, attrs_ms, "ms")


def instance_bytes(count: int) -> tuple[float, float]:
    """What one instance takes beside its context and metadata, and one of the floor, read from rows of a database."""
    codec = engine_of().codec
    ours = _kept_bytes(lambda row: instance_from_record(row, codec), count)
    bare = _kept_bytes(floor.from_row, count)
    empty = sys.getsizeof({})
    # Both hold an empty dict as context, the floor one as metadata, too.
    return ours - empty, bare - 2 * empty


def _row(number: int) -> Record:
    """A row as a driver gives it: every value is an object of its own."""
    at = NOW.replace(microsecond=number % 1_000_000)
    new_id = uuid4()
    return {
        "id": new_id,
        "namespace": _fresh("default"),
        "workflow": _fresh("ticket"),
        "definition_version": 1,
        "ref": None,
        "state": _fresh("open"),
        "outcome": None,
        "version": 1,
        "context": "{}",
        "metadata": "{}",
        "timers": None,
        "continuation": None,
        "created_at": at,
        "updated_at": at.replace(),
        "entered_at": at.replace(),
        "finished_at": None,
        "parent_id": None,
        "root_id": type(new_id)(int=new_id.int),
        "lease_token": None,
        "waiting_events": False,
    }


def _fresh(text: str) -> str:
    return bytes(text, "ascii").decode()


def _kept_bytes(read: Callable[[Record], object], count: int) -> float:
    read(_row(0))
    gc.collect()
    kept: list[object] = [None] * count
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            kept[number] = read(_row(number))
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()


def import_times(modules: tuple[str, ...], rounds: int, cache: str) -> list[float]:
    """Milliseconds of processor time of each import in fresh processes, medians of interleaved rounds.

    Args:
        cache: an empty directory for bytecode, so that no setting of the caller's makes Python compile each time.
    """
    taken: dict[str, list[float]] = {module: [] for module in modules}
    for module in modules:
        _import_ms(module, cache)
    for _ in range(rounds):
        for module in modules:
            taken[module].append(_import_ms(module, cache))
    return [median(taken[module]) for module in modules]


def _import_ms(module: str, cache: str) -> float:
    # Processor time, for importing waits for nothing: what else runs on the machine then counts little.
    code = f"import time; t = time.process_time(); import {module}; print((time.process_time() - t) * 1000)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "PYTHONPYCACHEPREFIX": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)
