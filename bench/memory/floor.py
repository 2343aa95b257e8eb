"""What is the least that a step can cost? One written by hand: a table, two attrs values, and nothing checked.

The same amount of data as ours: an instance and a history entry with as many fields, two new ids, one time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import attrs

from bench.process import has_room


@attrs.frozen
class Ticket:
    """The row."""

    id: UUID
    namespace: str
    workflow: str
    definition_version: int
    state: str
    version: int
    created_at: datetime
    updated_at: datetime
    entered_at: datetime
    context: dict[str, Any]
    metadata: Mapping[str, Any]
    ref: str | None = None
    outcome: str | None = None
    finished_at: datetime | None = None
    timers: tuple[Any, ...] = ()
    parent_id: UUID | None = None
    root_id: UUID | None = None
    lease_token: UUID | None = None
    waiting_events: bool = False
    continuation: Any = None


@attrs.frozen
class Entry:
    """The history entry."""

    instance_id: UUID
    seq: int
    kind: str
    event: str
    from_state: str | None
    to_state: str
    at: datetime
    definition_version: int
    attempt_id: UUID
    status: str = "success"
    entered: bool = True
    transition_id: UUID | None = None
    commands: tuple[Any, ...] = ()
    blockers: tuple[Any, ...] = ()
    payload: Any = None
    trigger: Mapping[str, Any] | None = None
    change: Any = None
    timers: tuple[Any, ...] | None = None
    outcome: str | None = None
    metadata: Mapping[str, Any] | None = None


Guard = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]

TABLE: Mapping[tuple[str, str], tuple[str, Guard | None]] = {
    ("open", "assign"): ("assigned", has_room),
    ("assigned", "release"): ("open", None),
}


def step(ticket: Ticket, event: str, payload: Mapping[str, Any], now: datetime) -> tuple[Ticket, Entry]:
    """One move as two values."""
    target, guard = TABLE[ticket.state, event]
    if guard is not None and not guard(payload, ticket.context):
        raise ValueError("refused")
    version = ticket.version + 1
    entry = Entry(
        instance_id=ticket.id, seq=version, kind="moved", event=event, from_state=ticket.state, to_state=target,
        at=now, definition_version=ticket.definition_version, attempt_id=uuid4(), transition_id=uuid4(),
        payload=payload,
    )  # fmt: skip
    return attrs.evolve(ticket, state=target, version=version, updated_at=now, entered_at=now), entry


def create(instance_id: UUID, context: Mapping[str, Any], metadata: Mapping[str, Any], now: datetime) -> Any:
    """A creation as two values."""
    ticket = Ticket(
        id=instance_id, namespace="default", workflow="ticket", definition_version=1, state="open", version=1,
        created_at=now, updated_at=now, entered_at=now, context=dict(context), metadata=dict(metadata),
        root_id=instance_id,
    )  # fmt: skip
    entry = Entry(
        instance_id=instance_id, seq=1, kind="created", event="$created", from_state=None, to_state="open", at=now,
        definition_version=1, attempt_id=uuid4(), change=dict(context), metadata=ticket.metadata,
    )  # fmt: skip
    return ticket, entry


def from_row(row: Mapping[str, Any]) -> Ticket:
    """The instance of a row whose JSON columns are text."""
    values = {**row, "context": json.loads(row["context"]), "metadata": json.loads(row["metadata"])}
    values["timers"] = ()
    return Ticket(**values)


def to_rows(ticket: Ticket, entry: Entry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as rows, JSON columns as text."""
    row = attrs.asdict(ticket, recurse=False)
    row["context"], row["metadata"] = json.dumps(ticket.context), json.dumps(ticket.metadata)
    row["timers"] = None
    added = attrs.asdict(entry, recurse=False)
    added["payload"] = json.dumps(entry.payload)
    return row, added
