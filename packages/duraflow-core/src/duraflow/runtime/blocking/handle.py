"""How does a blocking application speak of one instance without naming it again?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from duraflow.differences import InstanceDiff
from duraflow.instance import HistoryEntry, Instance
from duraflow.reasons import Why
from duraflow.results import (
    Explanation,
    FireResult,
    Unfired,
)
from duraflow.runtime.blocking.calls import Calls
from duraflow.runtime.engine import Target


class Handle:
    """One instance, by name: every call of the runtime that takes a target, without it."""

    def __init__(self, calls: Calls, target: Target) -> None:
        self._calls = calls
        self.target = target

    def fire(
        self,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
        key: str | None = None,
        fingerprint: str | bool = True,
        keep_for: timedelta | None = None,
    ) -> FireResult:
        """See `Runtime.fire`."""
        return self._calls.fire(
            self.target,
            event,
            payload,
            subject=subject,
            trigger=trigger,
            key=key,
            fingerprint=fingerprint,
            keep_for=keep_for,
        )

    def try_fire(
        self,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
        key: str | None = None,
        fingerprint: str | bool = True,
        keep_for: timedelta | None = None,
    ) -> FireResult | Unfired:
        """See `Runtime.try_fire`."""
        return self._calls.try_fire(
            self.target,
            event,
            payload,
            subject=subject,
            trigger=trigger,
            key=key,
            fingerprint=fingerprint,
            keep_for=keep_for,
        )

    def get(self) -> Instance:
        """See `Runtime.get`."""
        return self._calls.get(self.target)

    def history(
        self, *, after: int = 0, limit: int = 50, newest_first: bool = False
    ) -> tuple[HistoryEntry, ...]:
        """See `Runtime.history`."""
        return self._calls.history(self.target, after=after, limit=limit, newest_first=newest_first)

    def explain(self, payloads: Mapping[str, Any] | None = None) -> tuple[Explanation, ...]:
        """See `Runtime.explain`."""
        return self._calls.explain(self.target, payloads)

    def state_at(self, *, seq: int | None = None, time: datetime | None = None) -> Instance:
        """See `Runtime.state_at`."""
        return self._calls.state_at(self.target, seq=seq, time=time)

    def diff(self, a: int | datetime, b: int | datetime | None = None) -> InstanceDiff:
        """See `Runtime.diff`."""
        return self._calls.diff(self.target, a, b)

    def why(self) -> Why:
        """See `Runtime.why`."""
        return self._calls.why(self.target)

    def cancel(self, *, reason: str = "", by: str = "") -> FireResult:
        """See `Runtime.cancel`."""
        return self._calls.cancel(self.target, reason=reason, by=by)

    def force(
        self, *, state: str, reason: str, by: str = "", context: Mapping[str, Any] | None = None
    ) -> FireResult:
        """See `Runtime.force`."""
        return self._calls.force(self.target, state=state, reason=reason, by=by, context=context)

    def rearm(self) -> Instance:
        """See `Runtime.rearm`."""
        return self._calls.rearm(self.target)

    def delete(self, *, force: bool = False) -> Instance:
        """See `Runtime.delete`."""
        return self._calls.delete(self.target, force=force)
