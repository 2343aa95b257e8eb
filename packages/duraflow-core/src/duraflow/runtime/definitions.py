"""Which definition governs an instance, and what is known of an event before any instance is read?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from duraflow.definition.payloads import PayloadType
from duraflow.definition.values import to_name
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionConflict, DefinitionError, DefinitionNotFound, InvalidArgument
from duraflow.handlers import HandlerTable


@attrs.frozen
class Definitions:
    """All workflows of one runtime, in all their versions.

    Attributes:
        given: those that the application gave; what is known beside them was loaded from the store.
        newest: of those given, the highest version of each; new instances get it.
        following: of the newest, those that also govern instances of older versions.
        lock_free: events that, wherever they are answered, cannot run a command.
        payload_types: the payload types that an event has in any of them.
    """

    given: tuple[Workflow, ...]
    by_version: Mapping[tuple[str, int], Workflow]
    newest: Mapping[str, Workflow]
    following: Mapping[str, Workflow]
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
        return cls._made(tuple(by_version.values()), by_version, newest)

    @classmethod
    def _made(
        cls,
        given: tuple[Workflow, ...],
        by_version: Mapping[tuple[str, int], Workflow],
        newest: Mapping[str, Workflow],
    ) -> Definitions:
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
            given,
            by_version,
            newest,
            {name: workflow for name, workflow in newest.items() if workflow.follows == "latest"},
            frozenset(event for event, is_free in free.items() if is_free),
            {event: tuple(found) for event, found in types.items()},
        )

    def adding(self, loaded: Workflow) -> Definitions:
        """These and one that was loaded from the store."""
        by_version = {**self.by_version, (loaded.name, loaded.version): loaded}
        return self._made(self.given, by_version, self.newest)

    def revived(self, snapshot: Mapping[str, Any], handlers: HandlerTable) -> Workflow:
        """The workflow of a stored snapshot, with payload classes of the given versions where they describe the same.

        Raises:
            InvalidArgument, DefinitionError: the snapshot is of no use, or names handlers that are not registered.
        """
        workflow = Workflow.from_json(snapshot)
        missing = handlers.missing(workflow)
        if missing:
            raise DefinitionError(workflow.name, missing)
        mine = [known for known in self.given if known.name == workflow.name]
        events = {event: _classed(event, declared, mine) for event, declared in workflow.events.items()}
        return workflow if events == workflow.events else attrs.evolve(workflow, events=events)

    def latest(self, workflow: str) -> Workflow:
        """The highest version of a workflow that was given.

        Raises:
            DefinitionNotFound: the runtime does not have it.
        """
        try:
            return self.newest[workflow]
        except KeyError:
            raise DefinitionNotFound(workflow, None, tuple(sorted(self.newest))) from None

    def find(self, workflow: str, version: int) -> Workflow | None:
        """The definition that governs an instance stamped with this version; None while it is not known.

        It is that version, or the newest given one if the workflow follows it; never one older than the stamp.
        """
        latest = self.following.get(workflow)
        if latest is not None and latest.version > version:
            return latest
        return self.by_version.get((workflow, version))

    def governing(self, workflow: str, version: int) -> Workflow:
        """The definition that governs an instance stamped with this version.

        Raises:
            DefinitionNotFound: it is not known.
        """
        found = self.find(workflow, version)
        if found is None:
            raise self.not_found(workflow, version)
        return found

    def not_found(self, workflow: str, version: int, problem: str = "") -> DefinitionNotFound:
        """The error that says what there is instead, or why a stored snapshot is of no use."""
        known = tuple(f"{name} version {number}" for name, number in sorted(self.by_version))
        return DefinitionNotFound(workflow, version, known, problem)


def workflow_name(given: object) -> str:
    """The name of a workflow, given as such or by the definition itself.

    Raises:
        InvalidArgument: it is neither.
    """
    name = given.name if isinstance(given, Workflow) else to_name(given)
    if not isinstance(name, str):
        raise InvalidArgument("workflow", f"{given!r} is neither a Workflow nor the name of one")
    return name


def problem_of(error: InvalidArgument | DefinitionError) -> str:
    """Why a snapshot is of no use, on one line."""
    if isinstance(error, DefinitionError):
        return "; ".join(found.message for found in error.findings if found.severity == "error")
    return str(error)


def _classed(event: str, declared: PayloadType | None, versions: Iterable[Workflow]) -> PayloadType | None:
    """The payload type of a given version in place of a stored description of the same fields.

    Handlers serve all versions by name; so they see objects of their classes in each.
    """
    if declared is None:
        return None
    description = declared.describe()
    for workflow in sorted(versions, key=lambda known: -known.version):
        candidate = workflow.events.get(event)
        if candidate is not None and candidate.describe() == description:
            return candidate
    return declared
