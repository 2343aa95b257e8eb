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
        with self._access.view(None) as view:
            stored = {
                (key[1], key[2]): snapshot
                for key, offered_hash, text in offered
                for known_hash, snapshot in [view.tables.definitions.setdefault(key, (offered_hash, text))]
                if known_hash != offered_hash
            }
        return {key: json.loads(snapshot) for key, snapshot in stored.items()}

    async def load(self, unit: UnitOfWork | None, workflow: str, version: int, /) -> Mapping[str, Any] | None:
        with self._access.view(unit) as view:
            found = view.tables.definitions.get((self._access.namespace, workflow, version))
        return None if found is None else json.loads(found[1])
