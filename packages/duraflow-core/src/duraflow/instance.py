"""What is known of one running copy of a workflow, and of everything that happened to it?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import attrs

from duraflow.definition.values import EMPTY, Outcome

EntryKind = Literal["created", "moved", "rejected", "upgraded", "cancelled", "forced"]
EntryStatus = Literal["success", "failure", "rejected"]
CommandStatus = Literal["success", "failure", "error"]


@attrs.frozen
class ArmedTimer:
    """A timer of the current state: `event` fires by itself at `due_at` (aware, UTC)."""

    event: str
    due_at: datetime


@attrs.frozen
class Continuation:
    """Where an automatic chain stopped, before a hop with external commands, which a worker goes on with.

    Attributes:
        event: the event that began the chain.
        payload: its payload as stored.
        transition_id: the id that the commands of the waiting hop will share.
        path: the waiting transition, as in the definition.
    """

    event: str
    payload: Any
    transition_id: UUID
    path: str


@attrs.frozen
class Instance:
    """One running copy of a workflow, as it was when it was read: a snapshot, not a live object.

    Attributes:
        ref: the caller's own permanent key, unique per namespace and workflow.
        outcome: None while open; else what became of it.
        version: the `seq` of its last history entry; raised by one by everything recorded.
        context: mutable JSON data of the workflow; this copy is the caller's own.
        metadata: JSON labels fixed at creation.
        timers: armed timers, as armed on entry, whatever their retries.
        entered_at: when the current state was entered; internal moves and rejections leave it.
        lease_token: the fencing token of the worker that holds it.
        waiting_events: whether queued events wait for another state.
        continuation: the rest of an automatic chain, left for a worker.
    """

    id: UUID
    namespace: str
    workflow: str
    definition_version: int
    state: str
    version: int
    created_at: datetime
    updated_at: datetime
    entered_at: datetime
    context: dict[str, Any] = attrs.field(factory=dict)
    metadata: Mapping[str, Any] = EMPTY
    ref: str | None = None
    outcome: Outcome | None = None
    finished_at: datetime | None = None
    timers: tuple[ArmedTimer, ...] = ()
    parent_id: UUID | None = None
    root_id: UUID | None = None
    lease_token: UUID | None = None
    waiting_events: bool = False
    continuation: Continuation | None = None

    @property
    def due_at(self) -> datetime | None:
        """When its earliest timer is due; None without timers."""
        return min((timer.due_at for timer in self.timers), default=None)

    @property
    def open(self) -> bool:
        """Whether it can still move."""
        return self.outcome is None


@attrs.frozen
class Blocker:
    """Why a guard said no. A guard returns `Blocker(code, message, {…})`; the runtime adds where it was asked.

    Attributes:
        code: a stable name for programs.
        message: text for people.
        parameters: JSON values that the message speaks of.
        guard: the name of the guard.
        candidate: the transition it guards, as a path in the definition.
    """

    code: str
    message: str = ""
    parameters: Mapping[str, Any] = EMPTY
    guard: str = ""
    candidate: str = ""

    def __str__(self) -> str:
        return self.message or self.code


@attrs.frozen
class CommandResult:
    """What one command did.

    Attributes:
        status: `success`; `failure` (it returned a `Failure`); `error` (a best-effort one raised).
        data: what `Success(data)` carried.
        code: of a `Failure`; of an error the exception's class.
    """

    name: str
    status: CommandStatus = "success"
    data: Any = None
    code: str | None = None
    message: str | None = None


@attrs.frozen
class Change:
    """How a context changed: top-level keys that were set, with their new values, and keys that were taken out."""

    set: Mapping[str, Any] = EMPTY
    unset: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.set) or bool(self.unset)

    def apply(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """The context after this change."""
        kept = {key: value for key, value in context.items() if key not in self.unset}
        return {**kept, **self.set}


NO_CHANGE = Change()


@attrs.frozen
class HistoryEntry:
    """One thing that happened to an instance. Entries are only ever added; `seq` counts 1, 2, 3 … without gaps.

    Attributes:
        event: the event's name, or `$created`, `$auto`, `$upgraded`, `$cancelled`, `$forced`.
        from_state: None for the creation.
        status: `failure` when the move took an error target.
        payload: as stored: plain JSON values.
        trigger: who or what fired it, as given by the caller.
        change: what it did to the context.
        timers: all armed timers after it; None when it left them as they were.
        outcome: the instance's outcome after it; None while open.
        metadata: of a creation only.
        transition_id: shared by all commands of this hop.
        attempt_id: one per attempt to write; how an unknown commit is looked up.
        entered: whether a state was entered (also again), which internal moves and rejections do not.
    """

    instance_id: UUID
    seq: int
    kind: EntryKind
    event: str
    from_state: str | None
    to_state: str
    at: datetime
    definition_version: int
    attempt_id: UUID
    status: EntryStatus = "success"
    entered: bool = True
    transition_id: UUID | None = None
    commands: tuple[CommandResult, ...] = ()
    blockers: tuple[Blocker, ...] = ()
    payload: Any = None
    trigger: Mapping[str, Any] = EMPTY
    change: Change = NO_CHANGE
    timers: tuple[ArmedTimer, ...] | None = None
    outcome: Outcome | None = None
    metadata: Mapping[str, Any] | None = None
