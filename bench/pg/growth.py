"""How does the cost of a `fire` grow with the number of instances? One schema for each number, filled by SQL."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from typing import LiteralString
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from bench.figures import Figure
from bench.pg.moves import firing
from bench.pg.stage import Stage, blocking
from bench.process import CONTEXT, METADATA
from bench.rounds import Effort, compare

SIZES = (1_000, 10_000, 100_000, 1_000_000)
SMALL = (1_000, 10_000, 50_000)
FIRED_AT = 20_000
"""Instances that are fired at, drawn from all of them."""

_FILL: tuple[LiteralString, ...] = (
    """
    INSERT INTO {instances} (id, namespace, workflow, definition_version, state, version, context, metadata,
        created_at, updated_at, entered_at)
    SELECT gen_random_uuid(), 'default', 'ticket', 1, 'open', 1, %(context)s, %(metadata)s, made, made, made
    FROM (SELECT now() - n * interval '1 second' AS made FROM generate_series(1, %(count)s::int) AS n)
    """,
    """
    INSERT INTO {history} (instance_id, seq, namespace, kind, event, to_state, status, entered, at,
        definition_version, attempt_id, change, metadata)
    SELECT id, 1, namespace, 'created', '$created', state, 'success', true, created_at, 1, gen_random_uuid(),
        jsonb_build_object('set', context), metadata
    FROM {instances} i
    WHERE NOT EXISTS (SELECT FROM {history} h WHERE h.instance_id = i.id)
    """,
)


def figures(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """A `fire` without commands among more and more instances, beside the smallest number."""
    sizes = SIZES if effort.full else SMALL
    with ExitStack() as stack:
        sides = []
        for size in sizes:
            schema = stage.schema(f"growth_{size}")
            runtime, _ = stack.enter_context(blocking(stage, schema))
            ids = _filled(stage, schema, size)
            sides.append(firing(runtime, ids))
        stage.checkpoint()
        times = compare(sides, effort.slower(6))
        for size, taken in zip(sizes, times, strict=True):
            yield Figure.of_rates(f"fire among {size:,} instances, beside {sizes[0]:,}", taken, times[0])
        counts = []
        for side in sides:
            before = stage.wal_bytes()
            side(500)
            counts.append((stage.wal_bytes() - before) / 500)
        for size, written in zip(sizes, counts, strict=True):
            name = f"log of a fire among {size:,} instances, beside {sizes[0]:,}"
            yield Figure.of_sizes(name, written, counts[0], "bytes")


def fill(stage: Stage, schema: str, size: int) -> None:
    """Add so many open tickets, each with its first history entry."""
    names = {name: sql.Identifier(schema, f"workflow_{name}") for name in ("instances", "history")}
    parameters = {"count": size, "context": Jsonb(dict(CONTEXT)), "metadata": Jsonb(dict(METADATA))}
    for statement in _FILL:
        stage.control.execute(sql.SQL(statement).format(**names), parameters)
    stage.settle(schema)


def _filled(stage: Stage, schema: str, size: int) -> list[UUID]:
    """Fill the tables; some of the ids, in random order."""
    fill(stage, schema, size)
    names = {"instances": sql.Identifier(schema, "workflow_instances")}
    rows = stage.control.execute(sql.SQL("SELECT id FROM {instances} ORDER BY id").format(**names)).fetchall()
    return random.Random(7).sample([row[0] for row in rows], min(size, FIRED_AT))
