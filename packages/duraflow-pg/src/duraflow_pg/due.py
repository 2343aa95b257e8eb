"""Which instances have something due on PostgreSQL? One narrow row each in `workflow_due`, claimed by one index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.instance import Instance
from duraflow.ports import DueInstance, UnitOfWork
from duraflow.records import INSTANCE_COLUMNS, retries_from_text, retries_to_text, utc
from duraflow.results import Parked
from duraflow.writes import DueChange, NudgeDue, SetDue, TimerRetry
from duraflow_pg.database import PgDatabase
from duraflow_pg.instances import COLUMNS, NOW, loaded
from duraflow_pg.statements import Row, compiled, uuid_array


def due_parameters(change: SetDue) -> dict[str, Any]:
    """The columns of a due row: `due_at`, `retries`, and what a person sees of the timer parked first."""
    parked = change.parked
    return {
        "due_at": change.at,
        "retries": retries_to_text(change.retries),
        "parked_at": None if parked is None else parked[1].parked_at,
        "error": None if parked is None else parked[1].error,
    }


NUDGE = """
UPDATE {due} d SET
    due_at = least(d.due_at, %(nudge_at)s),
    retries = (
        SELECT jsonb_object_agg(r.key, CASE WHEN (r.value ->> 'rejected')::int > 0
            THEN r.value || jsonb_build_object('next_at', %(nudge_text)s::text) ELSE r.value END)
        FROM jsonb_each(d.retries) r
    )
FROM moved m
WHERE d.instance_id = m.id AND d.parked_at IS NULL
  AND jsonb_path_exists(d.retries, '$.*.rejected ? (@ > 0)')
"""
"""Rejected timers are tried again at once, unless something is parked."""


@attrs.frozen(eq=False)
class PgDueStore:
    """`DueStore` on the table `workflow_due`."""

    _database: PgDatabase
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _statements(self._database.schema), takes_self=True)
    )

    def _due_instance(self, row: Row) -> DueInstance:
        return DueInstance(loaded(row, self._database), retries_from_text(row[len(INSTANCE_COLUMNS) + 1]))

    async def claim(
        self, unit: UnitOfWork, /, *, clock: datetime | None, limit: int, exclude: Sequence[UUID]
    ) -> Sequence[DueInstance]:
        parameters = {
            "namespace": self._database.namespace,
            "clock": clock,
            "limit": limit,
            "exclude": uuid_array(exclude),
        }
        rows = await self._database.fetch(unit, self._sql["claim"], parameters)
        return [self._due_instance(row) for row in rows]

    async def lock(
        self, unit: UnitOfWork, instance_id: UUID, /, *, clock: datetime | None
    ) -> DueInstance | None:
        parameters = {"namespace": self._database.namespace, "clock": clock, "id": instance_id}
        rows = await self._database.fetch(unit, self._sql["lock"], parameters)
        return self._due_instance(rows[0]) if rows else None

    async def write(self, unit: UnitOfWork, instance: Instance, change: DueChange, /) -> None:
        parameters: dict[str, Any] = {"id": instance.id, "namespace": self._database.namespace}
        match change:
            case SetDue():
                kind = "set"
                parameters |= due_parameters(change)
            case NudgeDue(at):
                kind = "nudge"
                parameters |= {"nudge_at": at, "nudge_text": at.isoformat()}
            case _:
                kind = "clear"
        await self._database.fetch(unit, self._sql[kind], parameters)

    async def retries(self, unit: UnitOfWork | None, instance_id: UUID, /) -> Mapping[str, TimerRetry] | None:
        parameters = {"id": instance_id, "namespace": self._database.namespace}
        rows = await self._database.fetch(unit, self._sql["retries"], parameters)
        return retries_from_text(rows[0][0]) if rows else None

    async def parked(self, unit: UnitOfWork | None, /, *, limit: int) -> Sequence[Parked]:
        parameters = {"namespace": self._database.namespace, "limit": limit}
        found = []
        for instance_id, workflow, state, due_at, retries in await self._database.fetch(
            unit, self._sql["parked"], parameters
        ):
            parked = SetDue(due_at, retries_from_text(retries)).parked
            if parked is not None:
                event, retry = parked
                assert retry.parked_at is not None
                found.append(
                    Parked(
                        instance_id, workflow, state, event, utc(retry.parked_at), retry.failed, retry.error
                    )
                )
        return found


def _statements(schema: str) -> dict[str, bytes]:
    # Both rows are locked: what another sweep has just changed in either is checked again before it is taken. `now()`
    # and not `clock_timestamp()`, which is volatile and would keep the index from being used.
    select = (
        "WITH i AS MATERIALIZED (SELECT i.*, d.due_at AS next_at, d.retries AS tries "
        "FROM {due} d JOIN {instances} i ON i.id = d.instance_id "
        "WHERE d.namespace = %(namespace)s AND d.due_at <= coalesce(%(clock)s, now()) {more} "
        "FOR NO KEY UPDATE OF i, d SKIP LOCKED) "
        "SELECT {columns}, {now}, i.tries::text FROM i ORDER BY i.next_at, i.id"
    )
    return {
        "claim": compiled(
            select,
            schema,
            columns=COLUMNS,
            now=NOW,
            # Leased work is a worker's; instances without a timer wait for a worker's continuation.
            more="AND d.lease_token IS NULL AND i.timers IS NOT NULL AND d.instance_id <> ALL (%(exclude)s::uuid[]) "
            "ORDER BY d.due_at, d.instance_id LIMIT %(limit)s",
        ),
        "lock": compiled(
            select,
            schema,
            columns=COLUMNS,
            now=NOW,
            more="AND d.instance_id = %(id)s AND d.lease_token IS NULL",
        ),
        "set": compiled(
            "INSERT INTO {due} (instance_id, namespace, due_at, retries, parked_at, error) "
            "VALUES (%(id)s, %(namespace)s, %(due_at)s, %(retries)s::jsonb, %(parked_at)s, %(error)s) "
            "ON CONFLICT (instance_id) DO UPDATE SET due_at = excluded.due_at, retries = excluded.retries, "
            "parked_at = excluded.parked_at, error = excluded.error",
            schema,
        ),
        "clear": compiled(
            "DELETE FROM {due} d WHERE d.instance_id = %(id)s AND d.namespace = %(namespace)s", schema
        ),
        "nudge": compiled("WITH moved AS (SELECT %(id)s::uuid AS id) " + NUDGE, schema),
        "retries": compiled(
            "SELECT d.retries::text FROM {due} d WHERE d.instance_id = %(id)s AND d.namespace = %(namespace)s",
            schema,
        ),
        "parked": compiled(
            "SELECT d.instance_id, i.workflow, i.state, d.due_at, d.retries::text "
            "FROM {due} d JOIN {instances} i ON i.id = d.instance_id "
            "WHERE d.namespace = %(namespace)s AND d.parked_at IS NOT NULL "
            "ORDER BY d.parked_at, d.instance_id LIMIT %(limit)s",
            schema,
        ),
    }
