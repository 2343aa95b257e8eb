"""Which versions of which workflows has this database seen? One row each in `workflow_definitions`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from duraflow.codec import canonical_json
from duraflow.definition.workflow import Workflow
from duraflow.ports import UnitOfWork
from duraflow.ports.base import StoredVersion
from duraflow.records import utc
from duraflow_pg.database import PgDatabase
from duraflow_pg.statements import compiled, int_array, text_array


@attrs.frozen(eq=False)
class PgDefinitionStore:
    """`DefinitionStore` on the table `workflow_definitions`."""

    _database: PgDatabase

    async def register(self, workflows: Sequence[Workflow], /) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        if not workflows:
            return {}
        schema = self._database.schema
        parameters = {
            "namespace": self._database.namespace,
            "workflows": text_array(workflow.name for workflow in workflows),
            "versions": int_array(workflow.version for workflow in workflows),
        }
        known = {
            (row[0], row[1]): row
            for row in await self._database.fetch(None, compiled(_KNOWN, schema), parameters)
        }
        new = [workflow for workflow in workflows if (workflow.name, workflow.version) not in known]
        if new:
            # Only what is new is written, so that a runtime with nothing new starts on a read-only role too.
            parameters |= {
                "workflows": text_array(workflow.name for workflow in new),
                "versions": int_array(workflow.version for workflow in new),
                "hashes": text_array(workflow.hash for workflow in new),
                "snapshots": text_array(canonical_json(workflow.to_json()) for workflow in new),
            }
            await self._database.fetch(None, compiled(_ADD, schema), parameters)
            parameters["workflows"] = text_array(workflow.name for workflow in workflows)
            parameters["versions"] = int_array(workflow.version for workflow in workflows)
            rows = await self._database.fetch(None, compiled(_KNOWN, schema), parameters)
            known = {(row[0], row[1]): row for row in rows}
        mine = {(workflow.name, workflow.version): workflow.hash for workflow in workflows}
        return {key: json.loads(row[3]) for key, row in known.items() if row[2] != mine[key]}

    async def load(self, unit: UnitOfWork | None, workflow: str, version: int, /) -> Mapping[str, Any] | None:
        parameters = {"namespace": self._database.namespace, "workflow": workflow, "version": version}
        rows = await self._database.fetch(unit, compiled(_LOAD, self._database.schema), parameters)
        return json.loads(rows[0][0]) if rows else None

    async def known(self, unit: UnitOfWork | None, /) -> Sequence[StoredVersion]:
        statement = compiled(_ALL, self._database.schema)
        rows = await self._database.fetch(unit, statement, {"namespace": self._database.namespace})
        return [StoredVersion(row[0], row[1], row[2], utc(row[3])) for row in rows]

    async def counts(
        self, unit: UnitOfWork | None, /, workflows: Sequence[str]
    ) -> Mapping[tuple[str, int], tuple[int, int]]:
        if not workflows:
            return {}
        parameters = {"namespace": self._database.namespace, "workflows": text_array(workflows)}
        rows = await self._database.fetch(unit, compiled(_COUNTS, self._database.schema), parameters)
        return {(row[0], row[1]): (row[2], row[3]) for row in rows}


_KNOWN = """
SELECT d.workflow, d.version, d.hash, d.snapshot::text
FROM unnest(%(workflows)s::text[], %(versions)s::int[]) AS k (workflow, version)
JOIN {definitions} d ON d.namespace = %(namespace)s AND d.workflow = k.workflow AND d.version = k.version
"""

_LOAD = """
SELECT d.snapshot::text FROM {definitions} d
WHERE d.namespace = %(namespace)s AND d.workflow = %(workflow)s AND d.version = %(version)s
"""

_ALL = """
SELECT d.workflow, d.version, d.hash, d.registered_at FROM {definitions} d
WHERE d.namespace = %(namespace)s
-- As Python orders text, whatever the database's collation.
ORDER BY d.workflow COLLATE "C", d.version
"""

_COUNTS = """
SELECT i.workflow, i.definition_version, count(*) FILTER (WHERE i.outcome IS NULL),
    count(*) FILTER (WHERE i.outcome IS NOT NULL)
FROM {instances} i
WHERE i.namespace = %(namespace)s AND i.workflow = ANY (%(workflows)s::text[])
GROUP BY 1, 2
"""

_ADD = """
INSERT INTO {definitions} (namespace, workflow, version, hash, snapshot)
SELECT %(namespace)s, k.workflow, k.version, k.hash, k.snapshot
FROM unnest(%(workflows)s::text[], %(versions)s::int[], %(hashes)s::text[], %(snapshots)s::text[]::jsonb[])
    AS k (workflow, version, hash, snapshot)
ORDER BY k.workflow, k.version
ON CONFLICT DO NOTHING
"""
