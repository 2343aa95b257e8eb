"""Where does memory keep which instances have something due?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import attrs

from duraflow.errors import InstanceNotFound, InvalidArgument
from duraflow.instance import Instance
from duraflow.memory.access import Access
from duraflow.memory.tables import DueRow
from duraflow.ports import DueInstance, UnitOfWork
from duraflow.records import Record, retries_from_text, retries_to_text
from duraflow.results import Parked
from duraflow.writes import ClearDue, DueChange, NudgeDue, SetDue, TimerRetry


@attrs.frozen(eq=False)
class InMemoryDueStore:
    """`DueStore` in memory."""

    _access: Access

    async def claim(
        self, unit: UnitOfWork, /, *, clock: datetime | None, limit: int, exclude: Sequence[UUID]
    ) -> Sequence[DueInstance]:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        now, excluded = self._access.now(clock), frozenset(exclude)
        claimed: list[tuple[Record, DueRow]] = []
        # Nothing changes between the look and the lock: both happen under one view.
        with self._access.view(unit) as view:
            for instance_id, due in view.due_until(namespace, now):
                if len(claimed) >= limit:
                    break
                row = view.find(namespace, instance_id)
                if (
                    row is not None
                    # Continuations and leased work are a worker's.
                    and row["continuation"] is None
                    and row["lease_token"] is None
                    and instance_id not in excluded
                    and self._access.database.locks.take(transaction, instance_id)
                ):
                    claimed.append((row, due))
        return [self._due_instance(row, due, now) for row, due in claimed]

    async def lock(
        self, unit: UnitOfWork, instance_id: UUID, /, *, clock: datetime | None
    ) -> DueInstance | None:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        now = self._access.now(clock)
        with self._access.view(unit) as view:
            row, due = view.find(namespace, instance_id), view.due(namespace, instance_id)
            if row is None or due is None or due.due_at is None or due.due_at > now:
                return None
            if not self._access.database.locks.take(transaction, instance_id):
                return None
        return self._due_instance(row, due, now)

    async def write(self, unit: UnitOfWork, instance: Instance, change: DueChange, /) -> None:
        """Set, clear or nudge the due row.

        Raises:
            InstanceNotFound: there is no such instance to have due work.
            InvalidArgument: it says that nothing is due and nothing parked; that is `ClearDue`.
        """
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        await self._access.lock(transaction, instance.id)
        with self._access.view(unit) as view:
            before = view.due(namespace, instance.id)
            if isinstance(change, SetDue):
                if view.find(namespace, instance.id) is None:
                    raise InstanceNotFound(instance.id, namespace)
                transaction.changes.set_due(instance.id, _row(namespace, change))
            elif before is not None:
                if isinstance(change, ClearDue):
                    transaction.changes.set_due(instance.id, None)
                elif (nudged := _nudge(retries_from_text(before.retries), instance, change)) is not None:
                    transaction.changes.set_due(instance.id, _row(namespace, nudged))

    async def retries(self, unit: UnitOfWork | None, instance_id: UUID, /) -> Mapping[str, TimerRetry] | None:
        with self._access.view(unit) as view:
            due = view.due(self._access.namespace, instance_id)
        return None if due is None else retries_from_text(due.retries)

    async def parked(self, unit: UnitOfWork | None, /, *, limit: int) -> Sequence[Parked]:
        namespace = self._access.namespace
        with self._access.view(unit) as view:
            rows = [
                (view.find(namespace, instance_id), view.due(namespace, instance_id))
                for instance_id in view.parked(namespace)[:limit]
            ]
        return [_parked(row, due) for row, due in rows if row is not None and due is not None]

    def _due_instance(self, row: Record, due: DueRow, now: datetime) -> DueInstance:
        return DueInstance(self._access.loaded(row, now), retries_from_text(due.retries))


def _row(namespace: str, due: SetDue) -> DueRow:
    parked = due.parked
    if due.at is None and parked is None:
        raise InvalidArgument("change", "it says that nothing is due and nothing parked; use ClearDue")
    return DueRow(
        namespace, due.at, retries_to_text(due.retries), None if parked is None else parked[1].parked_at
    )


def _nudge(retries: Mapping[str, TimerRetry], instance: Instance, change: NudgeDue) -> SetDue | None:
    if not any(retry.rejected for retry in retries.values()) or any(
        retry.parked_at is not None for retry in retries.values()
    ):
        return None
    nudged = {
        event: attrs.evolve(retry, next_at=change.at) if retry.rejected else retry
        for event, retry in retries.items()
    }
    tries = [retry.next_at for retry in nudged.values() if retry.next_at is not None]
    tries += [timer.due_at for timer in instance.timers if timer.event not in nudged]
    return SetDue(min(tries), nudged)


def _parked(row: Record, due: DueRow) -> Parked:
    parked = SetDue(due.due_at, retries_from_text(due.retries)).parked
    assert parked is not None
    event, retry = parked
    assert retry.parked_at is not None
    return Parked(row["id"], row["workflow"], row["state"], event, retry.parked_at, retry.failed, retry.error)
