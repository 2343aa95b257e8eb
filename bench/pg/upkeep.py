"""What do the operator's tools cost: keys, versions, the feed, upgrades, doctor and prune?"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from functools import partial
from typing import Any, LiteralString
from uuid import UUID, uuid4

import attrs
import psycopg
from psycopg import sql

from bench.figures import Figure
from bench.pg.growth import fill
from bench.pg.stage import POOL, Stage, blocking, file_letter, seeded
from bench.process import CONTEXT, METADATA, PAYLOAD, TICKET, has_room
from bench.rounds import Effort, Run, compare, timed
from duraflow import Runtime, Workflow
from duraflow_pg import PgPersistence

MANY = 100_000


def figures(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """Each beside the least that it could be: the same call without it, or bare SQL for the same rows."""
    yield from _keyed(stage, effort)
    yield from _pinned(stage, effort)
    yield from _upgraded(stage, effort)
    yield from _at_scale(stage, effort)


# --- one move -----------------------------------------------------------------------------------------------------


def _keyed(stage: Stage, effort: Effort) -> Iterator[Figure]:
    with blocking(stage, stage.schema("keyed")) as (runtime, _):
        ids = seeded(runtime, 1_000)
        sides = [_firing(runtime, ids[:400], keyed=False), _firing(runtime, ids[400:800], keyed=True)]
        plain, keyed = compare(sides, effort.slower(4))
        yield Figure.of_rates("fire with a key, beside one without", keyed, plain)
        bills = seeded(runtime, 800)
        sides_of_bills = [
            _billing(runtime, bills[:400], keyed=False),
            _billing(runtime, bills[400:], keyed=True),
        ]
        unkeyed, keyed = compare(sides_of_bills, effort.slower(4))
        yield Figure.of_rates("fire with a key and a command, beside one with the command", keyed, unkeyed)
        done = [(instance_id, f"again {instance_id}") for instance_id in ids[800:]]
        for instance_id, key in done:
            runtime.fire(instance_id, "assign", PAYLOAD, key=key)

        def replay(count: int) -> None:
            for number in range(count):
                instance_id, key = done[number % len(done)]
                assert runtime.fire(instance_id, "assign", PAYLOAD, key=key).replayed

        replayed, plain = compare([replay, sides[0]], effort.slower(4))
        yield Figure.of_rates("the same request again, beside a fire", replayed, plain)
        made, keyed_made = compare(
            [_creating(runtime, keyed=False), _creating(runtime, keyed=True)], effort.slower(4)
        )
        yield Figure.of_rates("create with a key, beside one without", keyed_made, made)


def _firing(runtime: Runtime, ids: Sequence[UUID], *, keyed: bool) -> Run:
    """Fires at each in turn: all are assigned, then all released, and so on."""
    place = 0

    def fire(count: int) -> None:
        nonlocal place
        for _ in range(count):
            turn, index = divmod(place, len(ids))
            place += 1
            event, payload = ("release", None) if turn % 2 else ("assign", PAYLOAD)
            assert runtime.fire(ids[index], event, payload, key=f"{uuid4()}" if keyed else None).ok

    return fire


def _billing(runtime: Runtime, ids: Sequence[UUID], *, keyed: bool) -> Run:
    """Fires an event with a command at each in turn."""
    turn = itertools.cycle(ids)

    def bill(count: int) -> None:
        for _ in range(count):
            assert runtime.fire(next(turn), "bill", PAYLOAD, key=f"{uuid4()}" if keyed else None).ok

    return bill


def _creating(runtime: Runtime, *, keyed: bool) -> Run:
    def create(count: int) -> None:
        for _ in range(count):
            runtime.create("ticket", CONTEXT, metadata=METADATA, key=f"{uuid4()}" if keyed else None)

    return create


def _pinned(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """Instances of a version that is only in the store, beside those of the version in code."""
    schema = stage.schema("pinned")
    with blocking(stage, schema) as (runtime, _):
        old = seeded(runtime, 500)
    with _later(stage, schema) as runtime:
        new = seeded(runtime, 500)
        pinned, current = compare(
            [_firing(runtime, old, keyed=False), _firing(runtime, new, keyed=False)], effort.slower(4)
        )
        yield Figure.of_rates("fire under a stored version, beside the one in code", pinned, current)


def _second() -> Workflow:
    return attrs.evolve(TICKET, version=2, description="the second")


def _later(stage: Stage, schema: str) -> Runtime:
    """A process that has only the second version in code."""
    persistence = PgPersistence.from_dsn(stage.dsn, schema=schema, min_size=1, max_size=POOL)
    return Runtime(
        workflows=[_second()],
        commands={"file_letter": file_letter},
        guards={"has_room": has_room},
        persistence=persistence,
    )


# --- many instances -----------------------------------------------------------------------------------------------


def _upgraded(stage: Stage, effort: Effort) -> Iterator[Figure]:
    """An upgrade of all of them, beside a bare UPDATE and INSERT for the same rows in batches of the same size."""
    schema, count = stage.schema("upgraded"), effort.scaled(20_000)
    with blocking(stage, schema):
        pass  # registers the first version
    fill(stage, schema, count)
    with _later(stage, schema) as runtime:
        plan = runtime.plan_upgrade("ticket", 1, 2)
        began = time.perf_counter()
        report = runtime.apply_upgrade(plan)
        ours = (time.perf_counter() - began) / count
        assert report.moved == count, report
    fill(stage, schema, count)
    bare = timed(partial(_in_batches, stage, schema, _UPGRADE), 1) / count
    yield Figure.of_rates(f"upgrade {count:,} instances, beside bare UPDATE and INSERT by 100", ours, bare)


def _at_scale(stage: Stage, effort: Effort) -> Iterator[Figure]:
    schema, count = stage.schema("upkeep"), effort.scaled(MANY)
    with blocking(stage, schema) as (runtime, _):
        fill(stage, schema, count)
        yield from _feed(stage, schema, runtime, count)
        ours = timed(lambda _: runtime.doctor(), 1)
        bare = timed(lambda _: _count_all(stage, schema), 1)
        yield Figure.of_times(f"doctor on {count:,} instances, beside counting their rows", ours, bare)
        _run(stage, schema, _FINISH)
        stage.settle(schema)
        began = time.perf_counter()
        pruned = runtime.prune(older_than=_LONG_AGO)
        ours = (time.perf_counter() - began) / count
        assert pruned.instances == count, pruned
    fill(stage, schema, count)
    _run(stage, schema, _FINISH)
    stage.settle(schema)
    bare = timed(partial(_in_batches, stage, schema, _DELETE), 1) / count
    yield Figure.of_rates(f"prune {count:,} instances, beside bare DELETE by 100", ours, bare)


def _feed(stage: Stage, schema: str, runtime: Runtime, count: int) -> Iterator[Figure]:
    def follow(_: int) -> None:
        with closing(runtime.changes()) as changes:
            assert sum(1 for _ in changes) == count

    ours = timed(follow, 1) / count
    bare = timed(lambda _: _read_all(stage, schema), 1) / count
    yield Figure.of_rates("change feed, entries, beside bare SELECT by 500", ours, bare)


def _read_all(stage: Stage, schema: str) -> None:
    after: tuple[Any, ...] = ("0", UUID(int=0), 0)
    statement = _named(_FEED, schema)
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        while rows := connection.execute(statement, after).fetchall():
            after = rows[-1][:3]


def _count_all(stage: Stage, schema: str) -> None:
    for table in ("instances", "history", "due"):
        name = sql.Identifier(schema, f"workflow_{table}")
        stage.control.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()


def _in_batches(stage: Stage, schema: str, statement: LiteralString, _: int) -> None:
    prepared = _named(statement, schema)
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        while connection.execute(prepared).rowcount:
            pass


def _run(stage: Stage, schema: str, statement: LiteralString) -> None:
    stage.control.execute(_named(statement, schema))


def _named(statement: LiteralString, schema: str) -> sql.Composed:
    names = {name: sql.Identifier(schema, f"workflow_{name}") for name in ("instances", "history")}
    return sql.SQL(statement).format(**names)


_LONG_AGO = timedelta(days=365)

_FINISH: LiteralString = """
UPDATE {instances} SET outcome = 'done', finished_at = updated_at - interval '2 years',
    created_at = created_at - interval '3 years', updated_at = updated_at - interval '2 years',
    entered_at = entered_at - interval '3 years'
"""
_DELETE: LiteralString = """
DELETE FROM {instances} WHERE id IN (
    SELECT id FROM {instances} WHERE namespace = 'default' AND finished_at < now() - interval '1 year'
    ORDER BY finished_at, id LIMIT 100 FOR UPDATE SKIP LOCKED
)
"""
_UPGRADE: LiteralString = """
WITH moved AS (
    UPDATE {instances} SET definition_version = 2, version = version + 1, updated_at = now(),
        position = greatest(position, pg_current_xact_id())
    WHERE id IN (
        SELECT id FROM {instances} WHERE namespace = 'default' AND definition_version = 1 AND outcome IS NULL
        ORDER BY created_at, id LIMIT 100
    )
    RETURNING id, version, state, position, namespace
)
INSERT INTO {history} (instance_id, seq, namespace, kind, event, from_state, to_state, status, entered, at,
    definition_version, attempt_id, position)
SELECT id, version, namespace, 'upgraded', '$upgraded', state, state, 'success', false, now(), 2, gen_random_uuid(),
    position
FROM moved
"""
_FEED: LiteralString = """
SELECT h.position::text, h.instance_id, h.seq, h.event, h.payload::text, h.change::text, i.workflow, i.ref
FROM {history} h JOIN {instances} i ON i.id = h.instance_id
WHERE h.namespace = 'default' AND (h.position, h.instance_id, h.seq) > (%s::text::xid8, %s::uuid, %s::bigint)
  AND h.position < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY h.position, h.instance_id, h.seq LIMIT 500
"""
