"""Where is everything that happened kept on PostgreSQL? One row each in `workflow_history`, only ever added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import attrs

from duraflow.instance import HistoryEntry
from duraflow.ports import UnitOfWork
from duraflow.records import ENTRY_COLUMNS, entry_from_record, entry_to_record
from duraflow_pg.database import PgDatabase
from duraflow_pg.statements import compiled

COLUMNS = (
    "h.instance_id, h.seq, h.kind, h.event, h.from_state, h.to_state, h.status, h.entered, h.at, "
    "h.definition_version, h.attempt_id, h.transition_id, h.outcome, h.commands::text, h.blockers::text, "
    "h.payload::text, h.trigger::text, h.change::text, h.timers::text, h.metadata::text"
)
"""In the order of `ENTRY_COLUMNS`."""

NAMES = (
    "instance_id, seq, kind, event, from_state, to_state, status, entered, at, definition_version, attempt_id, "
    "transition_id, outcome, commands, blockers, payload, trigger, change, timers, metadata, namespace, position"
)
"""The columns that an INSERT fills."""

VALUES = (
    "%(seq)s, %(kind)s, %(event)s, %(from_state)s, %(to_state)s, %(status)s, %(entered)s, %(at)s, "
    "%(entry_definition_version)s, %(attempt_id)s, %(transition_id)s, %(entry_outcome)s, %(commands)s::jsonb, "
    "%(blockers)s::jsonb, %(payload)s::jsonb, %(trigger)s::jsonb, %(change)s::jsonb, %(entry_timers)s::jsonb, "
    "%(entry_metadata)s::jsonb, %(namespace)s"
)
"""Placeholders for all of them but `instance_id` and `position`, which the statement takes from the instance's row."""


def entry_parameters(record: Mapping[str, object]) -> dict[str, object]:
    """A history record under the names of `VALUES`: what instances have too is called `entry_…`."""
    parameters = dict(record)
    for name in ("definition_version", "outcome", "timers", "metadata"):
        parameters[f"entry_{name}"] = parameters.pop(name)
    return parameters


@attrs.frozen(eq=False)
class PgHistoryStore:
    """`HistoryStore` on the table `workflow_history`."""

    _database: PgDatabase
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _statements(self._database.schema), takes_self=True)
    )

    async def append(self, unit: UnitOfWork, entries: Sequence[HistoryEntry], /) -> None:
        for entry in entries:
            parameters = entry_parameters(entry_to_record(entry, self._database.codec))
            parameters["namespace"] = self._database.namespace
            await self._database.fetch(unit, self._sql["append"], parameters)

    async def read(
        self, unit: UnitOfWork | None, instance_id: UUID, /, *, after: int, limit: int, newest_first: bool
    ) -> Sequence[HistoryEntry]:
        order = "newest" if newest_first else "oldest"
        parameters = {
            "id": instance_id,
            "namespace": self._database.namespace,
            "after": after if after or not newest_first else 2**62,
            "limit": limit,
        }
        rows = await self._database.fetch(unit, self._sql[order], parameters)
        codec = self._database.codec
        return [entry_from_record(dict(zip(ENTRY_COLUMNS, row, strict=True)), codec) for row in rows]


def _statements(schema: str) -> dict[str, bytes]:
    select = (
        "SELECT {columns} FROM {history} h WHERE h.instance_id = %(id)s AND h.namespace = %(namespace)s "
        "AND h.seq {than} %(after)s ORDER BY h.seq {direction} LIMIT %(limit)s"
    )
    return {
        "oldest": compiled(select, schema, columns=COLUMNS, than=">", direction="ASC"),
        "newest": compiled(select, schema, columns=COLUMNS, than="<", direction="DESC"),
        "append": compiled(
            "INSERT INTO {history} ({names}) SELECT i.id, {values}, greatest(i.position, pg_current_xact_id()) "
            "FROM {instances} i WHERE i.id = %(instance_id)s AND i.namespace = %(namespace)s RETURNING seq",
            schema,
            names=NAMES,
            values=VALUES,
        ),
    }
