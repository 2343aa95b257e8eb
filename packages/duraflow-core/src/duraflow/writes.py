"""What is one move to the store: a value that says everything that is to be written, and the answers to it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.values import EMPTY
from duraflow.errors import DuraflowError
from duraflow.instance import HistoryEntry, Instance


@attrs.frozen
class TimerRetry:
    """Earlier tries of one armed timer.

    Attributes:
        next_at: when it is tried again; None while parked.
        rejected: how often its guards said no in a row.
        failed: how often it failed in a row.
        blockers: what the recorded rejection said, as canonical text, so that the same answer is not recorded twice.
        error: what the last failure said, cleaned and bounded.
        parked_at: when it was given up.
    """

    next_at: datetime | None
    rejected: int = 0
    failed: int = 0
    blockers: str = ""
    error: str = ""
    parked_at: datetime | None = None


@attrs.frozen
class SetDue:
    """The instance has due work at `at` (None: only parked work), with these earlier tries."""

    at: datetime | None
    retries: Mapping[str, TimerRetry] = EMPTY

    @property
    def parked(self) -> tuple[str, TimerRetry] | None:
        """The timer that was parked first, if one is."""
        found = [(event, retry) for event, retry in self.retries.items() if retry.parked_at is not None]
        return min(found, key=lambda item: str(item[1].parked_at), default=None)


@attrs.frozen
class ClearDue:
    """The instance has no due work any more."""


@attrs.frozen
class NudgeDue:
    """Try rejected timers again at `at`: an internal move may have changed their answer.

    An instance without rejected timers, or with a parked one, which waits for a person, is left as it is.
    """

    at: datetime


DueChange = SetDue | ClearDue | NudgeDue


@attrs.frozen
class Receipt:
    """What became of a request that carried a key: which history entries it left, from which its result is rebuilt.

    Attributes:
        workflow: of a creation, whose key is unique per namespace and workflow; None of an event, unique per instance.
        fingerprint: what the request was, by part, in short; None when the caller opted out.
        result: what of the result the history does not say.
        expires_at: from when on retention may take it out; None: with its instance.
    """

    instance_id: UUID
    key: str
    first_seq: int
    last_seq: int
    created_at: datetime
    workflow: str | None = None
    fingerprint: Mapping[str, str] | None = None
    result: Mapping[str, Any] = EMPTY
    expires_at: datetime | None = None


@attrs.frozen
class Emitted:
    """One message that a move leaves in the outbox; `ordinal` counts those of the same history entry from 0."""

    id: UUID
    instance_id: UUID
    seq: int
    ordinal: int
    topic: str
    payload: Any = None


@attrs.frozen
class Writes:
    """Everything that one step writes, as a value. It takes effect as a whole or not at all.

    Attributes:
        before: the row that the step was decided on; its version and lease token must still be current. None creates.
        after: the row as it is to be. With no entries it equals `before`, and only the due row changes.
        entries: in order, `seq` following on `before.version`.
        due: None leaves due work as it is.
        receipt: of the request that asked for it, if it carried a key.
        messages: for the outbox, in order.
    """

    before: Instance | None
    after: Instance
    entries: tuple[HistoryEntry, ...]
    due: DueChange | None = None
    receipt: Receipt | None = None
    messages: tuple[Emitted, ...] = ()


@attrs.frozen
class Applied:
    """It is written."""


@attrs.frozen
class Lost:
    """Someone else was first (or holds the row): nothing is written."""


@attrs.frozen
class Failed:
    """The store refused it: nothing is written."""

    error: DuraflowError


Answer = Applied | Lost | Failed
APPLIED = Applied()
LOST = Lost()
