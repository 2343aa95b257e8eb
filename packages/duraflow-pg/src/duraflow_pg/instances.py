"""Where do instances live on PostgreSQL? One row each in `workflow_instances`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import attrs

from duraflow.errors import AlreadyExists
from duraflow.instance import Instance
from duraflow.ports import Key, Loaded, UnitOfWork
from duraflow.queries import InstanceQuery
from duraflow.records import INSTANCE_COLUMNS, instance_from_record, instance_to_record, utc
from duraflow.results import StateCount
from duraflow_pg.database import PgDatabase
from duraflow_pg.grouping import Grouping
from duraflow_pg.statements import Row, compiled, text_array, uuid_array

COLUMNS = (
    "i.id, i.namespace, i.workflow, i.definition_version, i.ref, i.state, i.outcome, i.version, i.context::text, "
    "i.metadata::text, i.timers::text, i.continuation::text, i.created_at, i.updated_at, i.entered_at, i.finished_at, "
    "i.parent_id, i.root_id, i.lease_token, i.waiting_events"
)
"""In the order of `INSTANCE_COLUMNS`. JSON is read as text, so that no loader of a borrowed connection touches it."""

NOW = "greatest(coalesce(%(clock)s, clock_timestamp()), i.updated_at)"
CONDITIONS: Mapping[str, LiteralString] = {
    "id": "i.id = %(id)s AND i.namespace = %(namespace)s",
    "ref": "i.namespace = %(namespace)s AND i.workflow = %(workflow)s AND i.ref = %(ref)s",
}
"""Which instance is meant, by what it is called by."""


def key_parameters(key: Key, namespace: str, clock: datetime | None) -> tuple[str, dict[str, Any]]:
    """By what an instance is called, and the parameters of that condition, with the clock to go by."""
    if isinstance(key, tuple):
        return "ref", {"namespace": namespace, "workflow": key[0], "ref": key[1], "clock": clock}
    return "id", {"namespace": namespace, "id": key, "clock": clock}


def loaded(row: Row, database: PgDatabase) -> Loaded:
    """The instance of a row of `COLUMNS` followed by the time of the step."""
    record = dict(zip(INSTANCE_COLUMNS, row, strict=False))
    return Loaded(instance_from_record(record, database.codec), utc(row[len(INSTANCE_COLUMNS)]))


@attrs.frozen(eq=False)
class PgInstanceStore:
    """`InstanceStore` on the table `workflow_instances`."""

    _database: PgDatabase
    _grouping: Grouping[Key, Loaded | None] | None = None
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _statements(self._database.schema), takes_self=True)
    )

    async def drain(self) -> None:
        """Wait for what is being read."""
        if self._grouping is not None:
            await self._grouping.drain()

    async def get(self, unit: UnitOfWork | None, key: Key, /, *, clock: datetime | None) -> Loaded | None:
        if self._grouping is not None and unit is None and clock is None:
            return await self._grouping.submit(key, key, self._get_group)
        return await self._get_one(unit, key, clock)

    async def _get_group(self, keys: Sequence[Key]) -> Sequence[Loaded | None]:
        if len(keys) == 1:
            return [await self._get_one(None, keys[0], None)]
        found = await self.get_many(None, keys, clock=None)
        return [found.get(key) for key in keys]

    async def _get_one(self, unit: UnitOfWork | None, key: Key, clock: datetime | None) -> Loaded | None:
        by, parameters = key_parameters(key, self._database.namespace, clock)
        rows = await self._database.fetch(unit, self._sql[f"get by {by}"], parameters)
        return loaded(rows[0], self._database) if rows else None

    async def get_many(
        self, unit: UnitOfWork | None, keys: Sequence[Key], /, *, clock: datetime | None
    ) -> Mapping[Key, Loaded]:
        ids = [key for key in keys if isinstance(key, UUID)]
        refs = [key for key in keys if isinstance(key, tuple)]
        found: dict[Key, Loaded] = {}
        base = {"namespace": self._database.namespace, "clock": clock}
        if ids:
            rows = await self._database.fetch(unit, self._sql["get by ids"], {**base, "ids": uuid_array(ids)})
            for row in rows:
                found[row[0]] = loaded(row, self._database)
        if refs:
            parameters = {
                **base,
                "workflows": text_array(workflow for workflow, _ in refs),
                "refs": text_array(ref for _, ref in refs),
            }
            for row in await self._database.fetch(unit, self._sql["get by refs"], parameters):
                one = loaded(row, self._database)
                found[one.instance.workflow, one.instance.ref or ""] = one
        return found

    async def lock(
        self, unit: UnitOfWork, key: Key, /, *, clock: datetime | None, skip_locked: bool = False
    ) -> Loaded | None:
        by, parameters = key_parameters(key, self._database.namespace, clock)
        how = "try lock" if skip_locked else "lock"
        rows = await self._database.fetch(unit, self._sql[f"{how} by {by}"], parameters)
        return loaded(rows[0], self._database) if rows else None

    async def create(self, unit: UnitOfWork, instance: Instance, /) -> None:
        record = instance_to_record(instance, self._database.codec)
        if not await self._database.fetch(unit, self._sql["create"], record):
            raise await self.conflict(unit, instance)

    async def conflict(self, unit: UnitOfWork | None, instance: Instance) -> AlreadyExists:
        """Who has the ref, or the id, that a new instance was to have."""
        if instance.ref is not None:
            found = await self.get(unit, (instance.workflow, instance.ref), clock=None)
            if found is not None:
                return AlreadyExists(instance.workflow, instance.ref, found.instance.id)
        return AlreadyExists(instance.workflow, None, instance.id)

    async def save(self, unit: UnitOfWork, instance: Instance, /, *, expected: Instance) -> bool:
        record = instance_to_record(instance, self._database.codec)
        parameters = {**record, "expected": expected.version, "expected_lease": expected.lease_token}
        return bool(await self._database.fetch(unit, self._sql["save"], parameters))

    async def now(self, unit: UnitOfWork | None = None, /) -> datetime:
        return await self._database.now(unit)

    async def delete(self, unit: UnitOfWork, instance_id: UUID, /) -> bool:
        parameters = {"namespace": self._database.namespace, "id": instance_id}
        return bool(await self._database.fetch(unit, self._sql["delete"], parameters))

    async def list(
        self,
        unit: UnitOfWork | None,
        query: InstanceQuery,
        /,
        *,
        limit: int,
        after: tuple[datetime, UUID] | None,
    ) -> Sequence[Instance]:
        where, parameters = self._where(query)
        if after is not None:
            where += (
                f" AND (i.created_at, i.id) {'>' if query.oldest_first else '<'} (%(after_at)s, %(after_id)s)"
            )
            parameters |= {"after_at": after[0], "after_id": after[1]}
        direction = "ASC" if query.oldest_first else "DESC"
        parameters["limit"] = limit
        statement = self._sql["list"] + (
            f"{where} ORDER BY i.created_at {direction}, i.id {direction} LIMIT %(limit)s".encode()
        )
        rows = await self._database.fetch(unit, statement, parameters)
        codec = self._database.codec
        return [instance_from_record(dict(zip(INSTANCE_COLUMNS, row, strict=True)), codec) for row in rows]

    async def count(self, unit: UnitOfWork | None, query: InstanceQuery, /) -> Sequence[StateCount]:
        where, parameters = self._where(query)
        statement = self._sql["count"] + f"{where} GROUP BY 1, 2, 3".encode()
        return [StateCount(*row) for row in await self._database.fetch(unit, statement, parameters)]

    def _where(self, query: InstanceQuery) -> tuple[str, dict[str, Any]]:
        """The filter as SQL: only the parts that are asked for, so that the planner sees which index fits."""
        parts = ["i.namespace = %(namespace)s"]
        parameters: dict[str, Any] = {"namespace": self._database.namespace}
        if query.workflow is not None:
            parts.append("i.workflow = %(workflow)s")
            parameters["workflow"] = query.workflow
        if query.states is not None and len(query.states) == 1:
            # Not `= ANY`: only a plain equality lets the index over the state give the order of the list as well.
            parts.append("i.state = %(state)s")
            (parameters["state"],) = query.states
        elif query.states is not None:
            parts.append("i.state = ANY (%(states)s::text[])")
            parameters["states"] = text_array(query.states)
        if query.open is not None:
            parts.append("i.outcome IS NULL" if query.open else "i.outcome IS NOT NULL")
        if query.outcomes is not None:
            parts.append("i.outcome = ANY (%(outcomes)s::text[])")
            parameters["outcomes"] = text_array(query.outcomes)
        if query.definition_version is not None:
            parts.append("i.definition_version = %(definition_version)s")
            parameters["definition_version"] = query.definition_version
        for column, wanted in (("lease_token", query.leased), ("continuation", query.continuing)):
            if wanted is not None:
                parts.append(f"i.{column} IS {'NOT ' if wanted else ''}NULL")
        if query.waiting is not None:
            parts.append("i.waiting_events" if query.waiting else "NOT i.waiting_events")
        if query.metadata:
            # The second condition is that of the partial index; anything contained makes it true.
            parts.append("i.metadata @> %(metadata)s::jsonb AND i.metadata <> '{}'::jsonb")
            parameters["metadata"] = self._database.codec.encode(query.metadata, path="metadata")
        for column, (low, high) in (
            ("created_at", query.created),
            ("updated_at", query.updated),
            ("entered_at", query.entered),
        ):
            if low is not None:
                parts.append(f"i.{column} >= %({column}_low)s")
                parameters[f"{column}_low"] = low
            if high is not None:
                parts.append(f"i.{column} < %({column}_high)s")
                parameters[f"{column}_high"] = high
        return " AND ".join(parts), parameters


def _statements(schema: str) -> dict[str, bytes]:
    made: dict[str, bytes] = {
        "list": compiled("SELECT {columns} FROM {instances} i WHERE ", schema, columns=COLUMNS),
        "count": compiled(
            "SELECT i.workflow, i.state, i.outcome IS NULL, count(*) FROM {instances} i WHERE ", schema
        ),
        "get by ids": compiled(
            "SELECT {columns}, {now} FROM {instances} i "
            "WHERE i.id = ANY (%(ids)s::uuid[]) AND i.namespace = %(namespace)s",
            schema,
            columns=COLUMNS,
            now=NOW,
        ),
        "get by refs": compiled(
            "SELECT {columns}, {now} FROM unnest(%(workflows)s::text[], %(refs)s::text[]) AS k (workflow, ref) "
            "JOIN {instances} i ON i.namespace = %(namespace)s AND i.workflow = k.workflow AND i.ref = k.ref",
            schema,
            columns=COLUMNS,
            now=NOW,
        ),
        "delete": compiled(
            "DELETE FROM {instances} i WHERE i.id = %(id)s AND i.namespace = %(namespace)s RETURNING i.id",
            schema,
        ),
        "create": compiled(_CREATE, schema),
        "save": compiled(_SAVE, schema),
    }
    for by, condition in CONDITIONS.items():
        made[f"get by {by}"] = compiled(
            "SELECT {columns}, {now} FROM {instances} i WHERE {condition}",
            schema,
            columns=COLUMNS,
            now=NOW,
            condition=condition,
        )
        for how, suffix in (("lock", ""), ("try lock", " SKIP LOCKED")):
            # Materialised, so that the clock is read after the lock is held, not before the wait for it.
            # NO KEY UPDATE: rows that reference this one are not blocked by the lock.
            made[f"{how} by {by}"] = compiled(
                "WITH i AS MATERIALIZED "
                "(SELECT * FROM {instances} i WHERE {condition} FOR NO KEY UPDATE{suffix}) "
                "SELECT {columns}, {now} FROM i",
                schema,
                columns=COLUMNS,
                now=NOW,
                condition=condition,
                suffix=suffix,
            )
    return made


_CREATE = """
INSERT INTO {instances} (
    id, namespace, workflow, definition_version, ref, state, outcome, version, context, metadata, timers,
    continuation, created_at, updated_at, entered_at, finished_at, parent_id, root_id, lease_token, waiting_events
) VALUES (
    %(id)s, %(namespace)s, %(workflow)s, %(definition_version)s, %(ref)s, %(state)s, %(outcome)s, %(version)s,
    %(context)s::jsonb, %(metadata)s::jsonb, %(timers)s::jsonb, %(continuation)s::jsonb, %(created_at)s,
    %(updated_at)s, %(entered_at)s, %(finished_at)s, %(parent_id)s, %(root_id)s, %(lease_token)s, %(waiting_events)s
) ON CONFLICT DO NOTHING
RETURNING id
"""

_SAVE = """
UPDATE {instances} i SET
    definition_version = %(definition_version)s, state = %(state)s, outcome = %(outcome)s, version = %(version)s,
    context = %(context)s::jsonb, timers = %(timers)s::jsonb, continuation = %(continuation)s::jsonb,
    updated_at = %(updated_at)s, entered_at = %(entered_at)s, finished_at = %(finished_at)s,
    lease_token = %(lease_token)s, waiting_events = %(waiting_events)s,
    position = greatest(i.position, pg_current_xact_id())
WHERE i.id = %(id)s AND i.namespace = %(namespace)s AND i.version = %(expected)s
  AND i.lease_token IS NOT DISTINCT FROM %(expected_lease)s
RETURNING i.id
"""
