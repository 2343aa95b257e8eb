"""Which definition governs an instance, and what is known of an event before any instance is read?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from duraflow.definition.payloads import PayloadType
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionConflict, DefinitionNotFound, InvalidArgument


@attrs.frozen
class Definitions:
    """All workflows of one runtime, in all their versions.

    Attributes:
        lock_free: events that, wherever they are answered, cannot run a command.
        payload_types: the payload types that an event has in any of them.
    """

    by_version: Mapping[tuple[str, int], Workflow]
    newest: Mapping[str, Workflow]
    lock_free: frozenset[str]
    payload_types: Mapping[str, tuple[PayloadType | None, ...]]

    @classmethod
    def of(cls, workflows: Iterable[Workflow]) -> Definitions:
        """Raises `DefinitionConflict` for one name and version with two contents."""
        by_version: dict[tuple[str, int], Workflow] = {}
        newest: dict[str, Workflow] = {}
        for workflow in workflows:
            if not isinstance(workflow, Workflow):
                raise InvalidArgument("workflows", f"{workflow!r} is not a Workflow")
            known = by_version.setdefault((workflow.name, workflow.version), workflow)
            if known is not workflow and known.hash != workflow.hash:
                raise DefinitionConflict(workflow.name, workflow.version, "given twice to this runtime")
            if workflow.name not in newest or newest[workflow.name].version < workflow.version:
                newest[workflow.name] = workflow
        free: dict[str, bool] = {}
        types: dict[str, list[PayloadType | None]] = {}
        for workflow in by_version.values():
            for state in workflow.resolved.values():
                for event in state.events:
                    free[event] = free.get(event, True) and event in state.free
            for event in workflow.event_names:
                declared = workflow.events.get(event)
                if declared not in types.setdefault(event, []):
                    types[event].append(declared)
        return cls(
            by_version,
            newest,
            frozenset(event for event, is_free in free.items() if is_free),
            {event: tuple(found) for event, found in types.items()},
        )

    def latest(self, workflow: str) -> Workflow:
        """The highest version of a workflow.

        Raises:
            DefinitionNotFound: the runtime does not have it.
        """
        try:
            return self.newest[workflow]
        except KeyError:
            raise DefinitionNotFound(workflow, None, tuple(sorted(self.newest))) from None

    def governing(self, workflow: str, version: int) -> Workflow:
        """The definition that governs an instance.

        Raises:
            DefinitionNotFound: the runtime does not have this version.
        """
        try:
            return self.by_version[workflow, version]
        except KeyError:
            known = tuple(f"{name} version {number}" for name, number in sorted(self.by_version))
            raise DefinitionNotFound(workflow, version, known) from None
