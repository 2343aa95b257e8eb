"""How does a blocking application look at instances?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from duraflow.definition.workflow import Workflow
from duraflow.instance import HistoryEntry, Instance
from duraflow.results import (
    Explanation,
    Page,
    Parked,
    StateCount,
)
from duraflow.runtime import asking
from duraflow.runtime.blocking.base import Base
from duraflow.runtime.drive import drive
from duraflow.runtime.engine import Target

Range = tuple[datetime | None, datetime | None]
_ANY: Range = (None, None)


class Asking(Base):
    """What can be asked without changing anything."""

    def get(self, target: Target) -> Instance:
        """Read an instance. Raises `InstanceNotFound`."""
        return drive(asking.get(self._engine, self._work, target))

    def list(
        self,
        workflow: str | Workflow | None = None,
        *,
        state: str | Iterable[str] | None = None,
        open: bool | None = None,  # noqa: A002  # the plain word
        outcome: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created: Range = _ANY,
        updated: Range = _ANY,
        entered: Range = _ANY,
        oldest_first: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Find instances, newest first; pass `page.cursor` to go on. Stable however many are created at one instant.

        Args:
            state: one or several states or groups.
            metadata: what their metadata must contain.
            created: from (inclusive) and to (exclusive), aware; either may be None. So are `updated` and `entered`.
            limit: 1 to 1000.
        """
        query = asking.query_of(
            self._engine, workflow=workflow, state=state, open=open, outcome=outcome, metadata=metadata,
            created=created, updated=updated, entered=entered, oldest_first=oldest_first,
        )  # fmt: skip
        return drive(asking.list_instances(self._engine, self._work, query, limit, cursor))

    def count(
        self,
        workflow: str | Workflow | None = None,
        *,
        state: str | Iterable[str] | None = None,
        open: bool | None = None,  # noqa: A002  # the plain word
        outcome: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created: Range = _ANY,
        updated: Range = _ANY,
        entered: Range = _ANY,
    ) -> tuple[StateCount, ...]:
        """How many instances match, per workflow and state; the filter is that of `list`."""
        query = asking.query_of(
            self._engine, workflow=workflow, state=state, open=open, outcome=outcome, metadata=metadata,
            created=created, updated=updated, entered=entered, oldest_first=False,
        )  # fmt: skip
        return drive(asking.count(self._engine, self._work, query))

    def history(
        self, target: Target, *, after: int = 0, limit: int = 50, newest_first: bool = False
    ) -> tuple[HistoryEntry, ...]:
        """What happened to an instance, oldest first.

        Args:
            after: go on after the entry with this `seq` (newest first: before it); 0 begins at the start (the end).
            limit: 1 to 1000.
        """
        return drive(asking.history(self._engine, self._work, target, after, limit, newest_first))

    def explain(self, target: Target, payloads: Mapping[str, Any] | None = None) -> tuple[Explanation, ...]:
        """What each event of the current state would do now, and which guards say no; empty when finished.

        Args:
            payloads: payloads by event, for guards that look at them.
        """
        return drive(asking.explain(self._engine, self._work, target, payloads))

    def parked(self, *, limit: int = 50) -> tuple[Parked, ...]:
        """Timers that failed too often and wait for `rearm`, longest parked first."""
        return drive(asking.parked(self._engine, self._work, limit))
