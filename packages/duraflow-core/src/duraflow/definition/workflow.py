"""What is a workflow: the definition as a whole, checked when it is made."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Any

import attrs

from duraflow.definition.checks import check_definition
from duraflow.definition.findings import Finding
from duraflow.definition.payloads import PayloadType, payload_type
from duraflow.definition.resolve import ResolvedState, resolve
from duraflow.definition.values import (
    EMPTY,
    Follows,
    State,
    Wildcard,
    to_items,
    to_mapping,
    to_name,
    to_names,
    to_states,
    to_wildcards,
)
from duraflow.errors import DefinitionError, InvalidArgument

_log = logging.getLogger("duraflow.definition")


def _to_events(value: Mapping[Any, Any] | Iterable[Any] | None) -> Mapping[str, Any]:
    """Payload types by event. A plain list of names declares events without a payload type."""
    if not isinstance(value, Mapping):
        value = dict.fromkeys(map(to_name, to_items(value)))
    return MappingProxyType({to_name(event): payload_type(declared) for event, declared in value.items()})


def _to_groups(value: Mapping[Any, Iterable[Any]] | None) -> Mapping[str, tuple[str, ...]]:
    if value is None:
        return EMPTY
    if not isinstance(value, Mapping):
        raise InvalidArgument(
            "groups", f"expected a mapping from names to states, got {type(value).__name__}"
        )
    return MappingProxyType({to_name(group): to_names(states) for group, states in value.items()})


@attrs.frozen
class Workflow:
    """A named, versioned definition: states and the transitions between them.

    Making one checks it: all errors are raised together as one `DefinitionError`, warnings are logged once to
    `duraflow.definition` and stay readable as `findings`.

    Attributes:
        version: a whole number from 1; instances stay on the version they were created with.
        follows: `pinned`, or `latest`: then the newest version given to a runtime governs, also older instances.
        initial: the state in which an instance is created.
        events: payload types by event: an attrs class, dataclass, TypedDict or `PayloadType`; None for no
            type.
        from_any: transitions shared by many states (see `Wildcard`); a bare `Transition` applies to every
            non-final state.
        groups: names for sets of states, usable in `Wildcard` and in queries.
    """

    name: str = attrs.field(converter=to_name, kw_only=True)
    version: int = attrs.field(default=1, kw_only=True)
    follows: Follows = attrs.field(default="pinned", kw_only=True)
    initial: str = attrs.field(converter=to_name, kw_only=True)
    states: tuple[State, ...] = attrs.field(converter=to_states, kw_only=True)
    events: Mapping[str, PayloadType | None] = attrs.field(
        default=None, converter=_to_events, kw_only=True, hash=False
    )
    from_any: tuple[Wildcard, ...] = attrs.field(default=(), converter=to_wildcards, kw_only=True)
    groups: Mapping[str, tuple[str, ...]] = attrs.field(
        default=None, converter=_to_groups, kw_only=True, hash=False
    )
    description: str = attrs.field(default="", kw_only=True)
    metadata: Mapping[str, Any] = attrs.field(default=EMPTY, converter=to_mapping, kw_only=True, hash=False)

    def __attrs_post_init__(self) -> None:
        if any(finding.severity == "error" for finding in self.findings):
            raise DefinitionError(str(self.name), self.findings)
        for finding in self.findings:
            _log.warning("workflow %s version %s: %s", self.name, self.version, finding)

    @classmethod
    def check(cls, **definition: Any) -> tuple[Finding, ...]:
        """All findings, errors and warnings, about a definition given as for the constructor."""
        try:
            return cls(**definition).findings
        except DefinitionError as error:
            return error.findings

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What the checks found: in a usable definition, warnings only."""
        return check_definition(self, self.resolved)

    @cached_property
    def resolved(self) -> Mapping[str, ResolvedState]:
        """Every state with all that it allows, wildcards and groups worked out."""
        return resolve(self.states, self.from_any, self.groups)

    @cached_property
    def event_names(self) -> frozenset[str]:
        """Every event that some state answers."""
        return frozenset(event for state in self.resolved.values() for event in state.events)

    def to_json(self) -> dict[str, Any]:
        """The definition as plain JSON data, payload types as names and types of their fields."""
        from duraflow.definition.serial import to_json

        return to_json(self)

    @staticmethod
    def from_json(data: object) -> Workflow:
        """The definition that `to_json` wrote, without its handlers and payload classes.

        Raises:
            InvalidArgument: `data` is no such document; `argument` is the path to what is wrong.
            DefinitionError: it is one, of a wrong definition.
        """
        from duraflow.definition.serial import from_json

        return from_json(data)

    @cached_property
    def hash(self) -> str:
        """sha256 of the canonical JSON without the version: equal for equal content, whatever the version."""
        from duraflow.definition.serial import content_hash

        return content_hash(self)

    def state(self, name: str) -> ResolvedState:
        """The state of this name, resolved.

        Raises:
            KeyError: the workflow has no such state.
        """
        return self.resolved[name]
