"""How does an asyncio application speak of one instance without naming it again?"""

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
from duraflow.runtime.aio.calls import AsyncCalls
from duraflow.runtime.engine import Target


class AsyncHandle:
    """One instance, by name: every call of the runtime that takes a target, without it."""

    def __init__(self, calls: AsyncCalls, target: Target) -> None:
        self._calls = calls
        self.target = target

    async def fire(
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
        """See `AsyncRuntime.fire`."""
        return await self._calls.fire(
            self.target,
            event,
            payload,
            subject=subject,
            trigger=trigger,
            key=key,
            fingerprint=fingerprint,
            keep_for=keep_for,
        )

    async def try_fire(
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
        """See `AsyncRuntime.try_fire`."""
        return await self._calls.try_fire(
            self.target,
            event,
            payload,
            subject=subject,
            trigger=trigger,
            key=key,
            fingerprint=fingerprint,
            keep_for=keep_for,
        )

    async def get(self) -> Instance:
        """See `AsyncRuntime.get`."""
        return await self._calls.get(self.target)

    async def history(
        self, *, after: int = 0, limit: int = 50, newest_first: bool = False
    ) -> tuple[HistoryEntry, ...]:
        """See `AsyncRuntime.history`."""
        return await self._calls.history(self.target, after=after, limit=limit, newest_first=newest_first)

    async def explain(self, payloads: Mapping[str, Any] | None = None) -> tuple[Explanation, ...]:
        """See `AsyncRuntime.explain`."""
        return await self._calls.explain(self.target, payloads)

    async def state_at(self, *, seq: int | None = None, time: datetime | None = None) -> Instance:
        """See `AsyncRuntime.state_at`."""
        return await self._calls.state_at(self.target, seq=seq, time=time)

    async def diff(self, a: int | datetime, b: int | datetime | None = None) -> InstanceDiff:
        """See `AsyncRuntime.diff`."""
        return await self._calls.diff(self.target, a, b)

    async def why(self) -> Why:
        """See `AsyncRuntime.why`."""
        return await self._calls.why(self.target)

    async def cancel(self, *, reason: str = "", by: str = "") -> FireResult:
        """See `AsyncRuntime.cancel`."""
        return await self._calls.cancel(self.target, reason=reason, by=by)

    async def force(
        self, *, state: str, reason: str, by: str = "", context: Mapping[str, Any] | None = None
    ) -> FireResult:
        """See `AsyncRuntime.force`."""
        return await self._calls.force(self.target, state=state, reason=reason, by=by, context=context)

    async def rearm(self) -> Instance:
        """See `AsyncRuntime.rearm`."""
        return await self._calls.rearm(self.target)

    async def delete(self, *, force: bool = False) -> Instance:
        """See `AsyncRuntime.delete`."""
        return await self._calls.delete(self.target, force=force)
