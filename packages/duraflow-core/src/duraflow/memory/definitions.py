"""Where does memory keep which workflows it has seen?"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from duraflow.codec import canonical_json
from duraflow.definition.workflow import Workflow
from duraflow.memory.access import Access
from duraflow.ports import UnitOfWork
from duraflow.ports.base import StoredVersion


@attrs.frozen(eq=False)
class InMemoryDefinitionStore:
    """`DefinitionStore` in memory."""

    _access: Access

    async def register(self, workflows: Sequence[Workflow], /) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        offered = [
            (
                (self._access.namespace, workflow.name, workflow.version),
                workflow.hash,
                canonical_json(workflow.to_json()),
            )
            for workflow in workflows
        ]
        now = self._access.now(None)
        with self._access.view(None) as view:
            stored = {
                (key[1], key[2]): snapshot
                for key, offered_hash, text in offered
                for known_hash, snapshot, _ in [
                    view.tables.definitions.setdefault(key, (offered_hash, text, now))
                ]
                if known_hash != offered_hash
            }
        return {key: json.loads(snapshot) for key, snapshot in stored.items()}

    async def load(self, unit: UnitOfWork | None, workflow: str, version: int, /) -> Mapping[str, Any] | None:
        with self._access.view(unit) as view:
            found = view.tables.definitions.get((self._access.namespace, workflow, version))
        return None if found is None else json.loads(found[1])

    async def known(self, unit: UnitOfWork | None, /) -> Sequence[StoredVersion]:
        with self._access.view(unit) as view:
            mine = [
                StoredVersion(workflow, version, found_hash, registered_at)
                for (namespace, workflow, version), (
                    found_hash,
                    _,
                    registered_at,
                ) in view.tables.definitions.items()
                if namespace == self._access.namespace
            ]
        return sorted(mine, key=lambda stored: (stored.workflow, stored.version))

    async def counts(
        self, unit: UnitOfWork | None, /, workflows: Sequence[str]
    ) -> Mapping[tuple[str, int], tuple[int, int]]:
        counted: dict[tuple[str, int], tuple[int, int]] = {}
        with self._access.view(unit) as view:
            for row in view.created(self._access.namespace, after=None, newest_first=False):
                if row["workflow"] in workflows:
                    where = row["workflow"], row["definition_version"]
                    living, final = counted.get(where, (0, 0))
                    is_open = row["outcome"] is None
                    counted[where] = living + is_open, final + (not is_open)
        return counted
