"""Where does memory keep messages until every handler has taken them, and how far each has come?"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from operator import itemgetter
from uuid import UUID, uuid4

import attrs

from duraflow.errors import InstanceNotFound
from duraflow.memory.access import Access
from duraflow.memory.tables import FeedPlace, HandlerRow, HeldRow, Tables
from duraflow.messages import Message, ParkedMessage, Start
from duraflow.ports import (
    Free,
    HandlerLease,
    HeldBack,
    HeldChange,
    Hold,
    OutboxPage,
    OutboxPosition,
    Posted,
    UnitOfWork,
)
from duraflow.records import Record, message_from_record, message_to_record
from duraflow.writes import Emitted

_NOWHERE = UUID(int=0)


@attrs.frozen(eq=False)
class InMemoryOutbox:
    """`Outbox` in memory."""

    _access: Access

    async def add(self, unit: UnitOfWork, messages: Sequence[Emitted], /) -> None:
        transaction, namespace = self._access.transaction(unit), self._access.namespace
        for instance_id in dict.fromkeys(message.instance_id for message in messages):
            await self._access.lock(transaction, instance_id)
        with self._access.view(unit) as view:
            for message in messages:
                if view.find(namespace, message.instance_id) is None:
                    raise InstanceNotFound(message.instance_id, namespace)
                row = message_to_record(message, self._access.codec)
                transaction.changes.add_message(message.instance_id, row)

    async def waiting(self, handlers: Sequence[str], /, *, clock: datetime | None) -> Sequence[str]:
        now = self._access.now(clock)
        with self._access.view(None) as view:
            return [handler for handler in handlers if self._waits(view.tables, handler, now)]

    def _waits(self, tables: Tables, handler: str, now: datetime) -> bool:
        row = tables.handlers.get((self._access.namespace, handler))
        if row is None:
            return True
        posted = tables.posted.get(self._access.namespace)
        if posted and posted[-1] > row.reached:
            return True
        return any(
            held.next_at is not None and held.next_at <= now for _, held in self._held(tables, handler)
        )

    async def claim(self, handler: str, /, *, lease: timedelta, start: Start) -> HandlerLease | None:
        now, key = self._access.now(None), (self._access.namespace, handler)
        with self._access.view(None) as view:
            tables = view.tables
            position = tables.commits + 1 if start == "now" else 0
            row = tables.handlers.get(key) or HandlerRow((position, _NOWHERE, 0, 0), None, None)
            if row.until is not None and row.until > now:
                return None
            token = uuid4()
            tables.handlers[key] = attrs.evolve(row, token=token, until=now + lease)
        return HandlerLease(handler, token, OutboxPosition(*row.reached), row.token is not None)

    async def due(
        self,
        lease: HandlerLease,
        /,
        *,
        reached: OutboxPosition,
        topics: Sequence[str],
        clock: datetime | None,
        limit: int,
        exclude: Sequence[UUID],
    ) -> HeldBack | None:
        now, excluded = self._access.now(clock), frozenset(exclude)
        end = attrs.astuple(reached)
        with self._access.view(None) as view:
            tables = view.tables
            waiting = [
                (held.next_at, instance_id, held)
                for instance_id, held in self._held(tables, lease.handler)
                if held.next_at is not None and held.next_at <= now and instance_id not in excluded
            ]
            if not waiting:
                return None
            _, instance_id, held = min(waiting, key=itemgetter(0, 1))
            messages = [
                self._message(tables, row)
                for row in tables.outbox.get(instance_id, ())
                if (row["seq"], row["ordinal"]) >= (held.seq, held.ordinal)
                and (row["position"], instance_id, row["seq"], row["ordinal"]) <= end
                and (not topics or row["topic"] in topics)
            ]
        return HeldBack(
            instance_id,
            held.seq,
            held.ordinal,
            held.attempts,
            tuple(messages[:limit]),
            more=len(messages) > limit,
        )

    async def read(
        self, lease: HandlerLease, after: OutboxPosition, /, *, topics: Sequence[str], limit: int
    ) -> OutboxPage:
        key = (self._access.namespace, lease.handler)
        with self._access.view(None) as view:
            tables = view.tables
            order = tables.posted.get(self._access.namespace, [])
            begin = bisect_right(order, attrs.astuple(after))
            places = order[begin : begin + limit]
            held = tables.held.get(key, {})
            rows = [(place, _row(tables, place)) for place in places]
            messages = tuple(
                Posted(OutboxPosition(*place), self._message(tables, row), place[1] in held)
                for place, row in rows
                if not topics or row["topic"] in topics
            )
        return OutboxPage(
            messages, OutboxPosition(*places[-1]) if places else None, more=len(places) == limit
        )

    async def save(
        self,
        lease: HandlerLease,
        /,
        *,
        reached: OutboxPosition,
        change: HeldChange | None,
        delivered: int,
        clock: datetime | None,
        keep: timedelta | None,
    ) -> bool:
        now, key = self._access.now(clock), (self._access.namespace, lease.handler)
        with self._access.view(None) as view:
            tables = view.tables
            row = tables.handlers.get(key)
            if row is None or row.token != lease.token:
                return False
            tables.handlers[key] = HandlerRow(
                attrs.astuple(reached),
                None if keep is None else lease.token,
                None if keep is None else self._access.now(None) + keep,
                row.delivered + delivered,
            )
            if change is not None:
                self._change(tables, key, change, now)
        return True

    def _change(self, tables: Tables, key: tuple[str, str], change: HeldChange, now: datetime) -> None:
        table, instance_id = tables.held[key], change.instance_id
        before = table.get(instance_id)
        was = None if before is None else (before.seq, before.ordinal)
        if was != change.was or instance_id not in tables.instances:
            return
        match change:
            case Hold():
                table[instance_id] = HeldRow(
                    change.seq,
                    change.ordinal,
                    change.attempts,
                    None if change.wait is None else now + change.wait,
                    now if change.wait is None else None,
                    change.error,
                )
            case Free():
                del table[instance_id]

    async def parked(self, /, *, limit: int) -> Sequence[ParkedMessage]:
        with self._access.view(None) as view:
            tables = view.tables
            found = sorted(
                (held.parked_at, handler, instance_id)
                for (namespace, handler), table in tables.held.items()
                for instance_id, held in table.items()
                if namespace == self._access.namespace and held.parked_at is not None
            )
            return [
                self._parked(tables, handler, instance_id, parked_at)
                for parked_at, handler, instance_id in found[:limit]
            ]

    def _parked(self, tables: Tables, handler: str, instance_id: UUID, parked_at: datetime) -> ParkedMessage:
        held = tables.held[self._access.namespace, handler][instance_id]
        row = _row(tables, (0, instance_id, held.seq, held.ordinal))
        return ParkedMessage(handler, self._message(tables, row), parked_at, held.attempts, held.error)

    async def retry(self, handler: str, message_id: UUID, /, *, clock: datetime | None) -> bool:
        return self._restart(handler, message_id, clock, skip=False)

    async def skip(self, handler: str, message_id: UUID, /, *, clock: datetime | None) -> bool:
        return self._restart(handler, message_id, clock, skip=True)

    async def forget(self, handler: str, /) -> bool:
        now, key = self._access.now(None), (self._access.namespace, handler)
        with self._access.view(None) as view:
            row = view.tables.handlers.get(key)
            if row is None or (row.until is not None and row.until > now):
                return False
            del view.tables.handlers[key]
            view.tables.held.pop(key, None)
        return True

    def _restart(self, handler: str, message_id: UUID, clock: datetime | None, *, skip: bool) -> bool:
        now, key = self._access.now(clock), (self._access.namespace, handler)
        with self._access.view(None) as view:
            tables = view.tables
            for instance_id, held in self._held(tables, handler):
                for row in tables.outbox.get(instance_id, ()):
                    if row["id"] == message_id and (row["seq"], row["ordinal"]) == (held.seq, held.ordinal):
                        tables.held[key][instance_id] = HeldRow(
                            held.seq, held.ordinal + skip, 0, now, None, "" if skip else held.error
                        )
                        return True
        return False

    def _held(self, tables: Tables, handler: str) -> Iterator[tuple[UUID, HeldRow]]:
        yield from tables.held.get((self._access.namespace, handler), {}).items()

    def _message(self, tables: Tables, row: Record) -> Message:
        emitted = message_from_record(row, self._access.codec)
        instance = tables.instances[emitted.instance_id]
        history = tables.history[emitted.instance_id]
        entry = history[bisect_left(history, emitted.seq, key=itemgetter("seq"))]
        return Message(
            emitted.id,
            emitted.topic,
            emitted.payload,
            emitted.instance_id,
            instance["workflow"],
            instance["ref"],
            emitted.seq,
            emitted.ordinal,
            entry["event"],
            entry["from_state"],
            entry["to_state"],
            entry["at"],
        )


def _row(tables: Tables, place: FeedPlace) -> Record:
    rows = tables.outbox[place[1]]
    return rows[bisect_left(rows, place[2:], key=itemgetter("seq", "ordinal"))]
