"""Where does PostgreSQL keep messages until every handler has taken them, and how far each has come?

Messages are rows that are only ever added. Whom they were given to is one row per handler: a position in the order of
the change feed, and a fenced lease; and one row for each instance that is held back. So delivering a message writes
nothing of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.errors import InstanceNotFound, Misuse
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
from duraflow.records import message_to_record, utc
from duraflow.writes import Emitted
from duraflow_pg.database import PgDatabase
from duraflow_pg.statements import Row, compiled, int_array, text_array, uuid_array

# With the move that they belong to: `moved` is the instance's row, as written by the same statement.
MESSAGES = """
INSERT INTO {outbox} (id, namespace, instance_id, seq, ordinal, topic, payload, position)
SELECT o.id, %(namespace)s, m.id, o.seq, o.ordinal, o.topic, o.payload::jsonb, m.position
FROM unnest(
    %(o_id)s::uuid[], %(o_instance_id)s::uuid[], %(o_seq)s::bigint[], %(o_ordinal)s::int[], %(o_topic)s::text[],
    %(o_payload)s::text[]
) AS o (id, instance_id, seq, ordinal, topic, payload)
JOIN moved m ON m.id = o.instance_id
"""

_ARRAYS = {
    "id": uuid_array,
    "instance_id": uuid_array,
    "seq": int_array,
    "ordinal": int_array,
    "topic": text_array,
    "payload": text_array,
}


def message_parameters(messages: Iterable[Emitted], codec: Codec) -> dict[str, Any]:
    """The arrays that `MESSAGES` takes, without the namespace."""
    records = [message_to_record(message, codec) for message in messages]
    return {f"o_{name}": array([record[name] for record in records]) for name, array in _ARRAYS.items()}  # type: ignore[operator]


@attrs.frozen(eq=False)
class PgOutbox:
    """`Outbox` on the tables `workflow_outbox`, `workflow_outbox_handlers` and `workflow_outbox_held`."""

    _database: PgDatabase
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _statements(self._database.schema), takes_self=True)
    )

    async def add(self, unit: UnitOfWork, messages: Sequence[Emitted], /) -> None:
        parameters = message_parameters(messages, self._database.codec)
        parameters |= {
            "namespace": self._database.namespace,
            "ids": uuid_array({message.instance_id for message in messages}),
        }
        rows = await self._database.fetch(unit, self._sql["add"], parameters)
        if len(rows) != len(messages):
            found = {row[0] for row in rows}
            missing = next(m.instance_id for m in messages if m.instance_id not in found)
            raise InstanceNotFound(missing, self._database.namespace)

    # --- delivering ---------------------------------------------------------------------------------------------

    async def _fetch(self, statement: str, **parameters: Any) -> list[Row]:
        parameters["namespace"] = self._database.namespace
        return await self._database.fetch(None, self._sql[statement], parameters)

    async def waiting(self, handlers: Sequence[str], /, *, clock: datetime | None) -> Sequence[str]:
        rows = await self._fetch("waiting", handlers=text_array(handlers), clock=clock)
        for handler, ahead in rows:
            if ahead:
                raise Misuse(
                    f"the handler {handler!r} has come further than the server's transaction counter, so that it would "
                    "be given nothing: the database was restored into a new server",
                    "reset the positions there (duraflow db check --reset-positions), and dispatch again",
                )
        return [row[0] for row in rows]

    async def claim(self, handler: str, /, *, lease: timedelta, start: Start) -> HandlerLease | None:
        rows = await self._fetch("claim", handler=handler, lease=_microseconds(lease), now=start == "now")
        if not rows:
            return None
        token, position, instance_id, seq, ordinal, interrupted = rows[0]
        reached = OutboxPosition(int(position), instance_id, seq, ordinal)
        return HandlerLease(handler, token, reached, interrupted)

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
        rows = await self._fetch(
            "due",
            **_place(reached),
            handler=lease.handler,
            topics=text_array(topics),
            clock=clock,
            limit=limit,
            exclude=uuid_array(exclude),
        )
        if not rows:
            return None
        messages = [self._message(row[4:]) for row in rows if row[4] is not None]
        instance_id, seq, ordinal, attempts = rows[0][:4]
        return HeldBack(
            instance_id, seq, ordinal, attempts, tuple(messages[:limit]), more=len(messages) > limit
        )

    async def read(
        self, lease: HandlerLease, after: OutboxPosition, /, *, topics: Sequence[str], limit: int
    ) -> OutboxPage:
        rows = await self._fetch(
            "read", **_place(after), handler=lease.handler, topics=text_array(topics), limit=limit
        )
        if not rows:
            return OutboxPage((), None, more=False)
        # The last one that was looked at comes along even if its topic is not wanted.
        posted = tuple(Posted(_position(row), self._message(row[4:]), row[3]) for row in rows if row[2])
        return OutboxPage(posted, _position(rows[-1]), more=rows[0][0] >= limit)

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
        parameters: dict[str, Any] = {
            **_place(reached),
            "handler": lease.handler,
            "token": lease.token,
            "delivered": delivered,
            "keep": None if keep is None else _microseconds(keep),
        }
        statement = "save"
        if change is not None:
            was_seq, was_ordinal = change.was or (None, None)
            parameters |= {"held_id": change.instance_id, "was_seq": was_seq, "was_ordinal": was_ordinal}
        match change:
            case Hold():
                statement = "hold" if change.was is None else "hold again"
                parameters |= {
                    "held_seq": change.seq,
                    "held_ordinal": change.ordinal,
                    "attempts": change.attempts,
                    "wait": None if change.wait is None else _microseconds(change.wait),
                    "error": change.error,
                    "clock": clock,
                }
            case Free():
                statement = "free"
        return bool(await self._fetch(statement, **parameters))

    def _message(self, row: Row) -> Message:
        id_, topic, payload, instance_id, workflow, ref, seq, ordinal, event, from_state, to_state, at = row
        plain = None if payload is None else self._database.codec.decode(payload)
        return Message(
            id_, topic, plain, instance_id, workflow, ref, seq, ordinal, event, from_state, to_state, utc(at)
        )

    # --- operators ----------------------------------------------------------------------------------------------

    async def parked(self, /, *, limit: int) -> Sequence[ParkedMessage]:
        rows = await self._fetch("parked", limit=limit)
        return [ParkedMessage(row[0], self._message(row[4:]), utc(row[1]), row[2], row[3]) for row in rows]

    async def retry(self, handler: str, message_id: UUID, /, *, clock: datetime | None) -> bool:
        return bool(await self._fetch("retry", handler=handler, id=message_id, clock=clock))

    async def skip(self, handler: str, message_id: UUID, /, *, clock: datetime | None) -> bool:
        return bool(await self._fetch("skip", handler=handler, id=message_id, clock=clock))

    async def forget(self, handler: str, /) -> bool:
        return bool(await self._fetch("forget", handler=handler))


def _microseconds(time: timedelta) -> int:
    return time // timedelta(microseconds=1)


def _position(row: Row) -> OutboxPosition:
    """Of a row of `_READ`."""
    return OutboxPosition(int(row[1]), row[7], row[10], row[11])


def _place(position: OutboxPosition) -> dict[str, Any]:
    return {
        "position": str(position.position),
        "instance_id": position.instance_id,
        "seq": position.seq,
        "ordinal": position.ordinal,
    }


_MESSAGE = (
    "o.id, o.topic, o.payload::text, o.instance_id, i.workflow, i.ref, o.seq, o.ordinal, "
    "h.event, h.from_state, h.to_state, h.at"
)
_PLACE = "(%(position)s::text::xid8, %(instance_id)s::uuid, %(seq)s::bigint, %(ordinal)s::int)"
_WANTED = "(cardinality(%(topics)s::text[]) = 0 OR o.topic = ANY (%(topics)s::text[]))"

# What a handler may be given at most: nothing that a transaction still open may come before (see `feed`).
_SETTLED = "o.position < pg_snapshot_xmin(pg_current_snapshot())"

# A handler that begins now stands at the counter itself; further ahead of it is nobody but after a restore (see
# `positions`).
_AHEAD = "p.position > pg_snapshot_xmax(pg_current_snapshot())"

# The first one in the index's order, and not EXISTS, for which a third of the table seems to fit, so that it is read
# from end to end whenever there is nothing to be found.
_WAITING = """
SELECT w.handler, coalesce({ahead}, false)
FROM unnest(%(handlers)s::text[]) WITH ORDINALITY AS w (handler, number)
LEFT JOIN {outbox_handlers} p ON p.namespace = %(namespace)s AND p.handler = w.handler
WHERE p.handler IS NULL OR {ahead}
   OR (
        SELECT true FROM {outbox} o
        WHERE o.namespace = %(namespace)s AND {settled}
          AND (o.position, o.instance_id, o.seq, o.ordinal) > (p.position, p.instance_id, p.seq, p.ordinal)
        ORDER BY o.position, o.instance_id, o.seq, o.ordinal LIMIT 1
    )
   OR (
        SELECT true FROM {outbox_held} x
        WHERE x.namespace = %(namespace)s AND x.handler = w.handler AND x.next_at <= coalesce(%(clock)s, now())
        ORDER BY x.next_at LIMIT 1
    )
ORDER BY w.number
"""

_CLAIM = """
WITH before AS (
    SELECT p.lease_token FROM {outbox_handlers} p
    WHERE p.namespace = %(namespace)s AND p.handler = %(handler)s
), added AS (
    INSERT INTO {outbox_handlers} (namespace, handler, position, lease_token, lease_until)
    SELECT %(namespace)s, %(handler)s,
        CASE WHEN %(now)s THEN pg_snapshot_xmin(pg_current_snapshot()) ELSE '0'::xid8 END,
        gen_random_uuid(), clock_timestamp() + %(lease)s * interval '1 microsecond'
    WHERE NOT EXISTS (SELECT 1 FROM before)
    ON CONFLICT DO NOTHING
    RETURNING *
), taken AS (
    UPDATE {outbox_handlers} p SET
        lease_token = gen_random_uuid(),
        lease_until = clock_timestamp() + %(lease)s * interval '1 microsecond',
        updated_at = clock_timestamp()
    WHERE p.namespace = %(namespace)s AND p.handler = %(handler)s
      AND (p.lease_token IS NULL OR p.lease_until <= clock_timestamp())
    RETURNING *
)
SELECT a.lease_token, a.position::text, a.instance_id, a.seq, a.ordinal, false FROM added a
UNION ALL
SELECT t.lease_token, t.position::text, t.instance_id, t.seq, t.ordinal,
    coalesce((SELECT b.lease_token IS NOT NULL FROM before b), false)
FROM taken t
"""

_DUE = """
WITH held AS MATERIALIZED (
    SELECT x.* FROM {outbox_held} x
    WHERE x.namespace = %(namespace)s AND x.handler = %(handler)s AND x.next_at <= coalesce(%(clock)s, now())
      AND x.instance_id <> ALL (%(exclude)s::uuid[])
    ORDER BY x.next_at, x.instance_id LIMIT 1
)
SELECT x.instance_id, x.seq, x.ordinal, x.attempts, {message}
FROM held x
JOIN {instances} i ON i.id = x.instance_id
LEFT JOIN LATERAL (
    SELECT * FROM {outbox} o
    WHERE o.instance_id = x.instance_id AND (o.seq, o.ordinal) >= (x.seq, x.ordinal)
      AND (o.position, o.instance_id, o.seq, o.ordinal) <= {place} AND {wanted}
    ORDER BY o.seq, o.ordinal LIMIT %(limit)s + 1
) o ON true
LEFT JOIN {history} h ON h.instance_id = o.instance_id AND h.seq = o.seq
ORDER BY o.seq, o.ordinal
"""

# LATERAL with LIMIT, so that each row is looked up by its key, whatever a generic plan takes the page's size for.
_READ = """
WITH page AS MATERIALIZED (
    SELECT o.*, row_number() OVER (ORDER BY o.position, o.instance_id, o.seq, o.ordinal) AS number
    FROM {outbox} o
    WHERE o.namespace = %(namespace)s AND (o.position, o.instance_id, o.seq, o.ordinal) > {place} AND {settled}
    ORDER BY o.position, o.instance_id, o.seq, o.ordinal
    LIMIT %(limit)s
), looked AS (
    SELECT count(*) AS total FROM page
)
SELECT looked.total, o.position::text, {wanted}, x.instance_id IS NOT NULL, {message}
FROM looked
JOIN page o ON {wanted} OR o.number = looked.total
CROSS JOIN LATERAL (SELECT * FROM {instances} i WHERE i.id = o.instance_id LIMIT 1) i
CROSS JOIN LATERAL (SELECT * FROM {history} h WHERE h.instance_id = o.instance_id AND h.seq = o.seq LIMIT 1) h
LEFT JOIN {outbox_held} x
    ON x.namespace = %(namespace)s AND x.handler = %(handler)s AND x.instance_id = o.instance_id
ORDER BY o.number
"""

_FENCED = """
WITH fenced AS (
    UPDATE {outbox_handlers} p SET
        position = %(position)s::text::xid8, instance_id = %(instance_id)s, seq = %(seq)s, ordinal = %(ordinal)s,
        delivered = p.delivered + %(delivered)s, updated_at = clock_timestamp(),
        lease_token = CASE WHEN %(keep)s::bigint IS NOT NULL THEN p.lease_token END,
        lease_until = clock_timestamp() + %(keep)s::bigint * interval '1 microsecond'
    WHERE p.namespace = %(namespace)s AND p.handler = %(handler)s AND p.lease_token = %(token)s
    RETURNING p.namespace, p.handler
)
"""

_NO_CHANGE = "SELECT 1 FROM fenced"

# The instance's row is locked against being deleted meanwhile: if it is, there is nothing to hold back.
_HOLD = """
, held AS (
    INSERT INTO {outbox_held} (namespace, handler, instance_id, seq, ordinal, attempts, next_at, parked_at, error)
    SELECT f.namespace, f.handler, i.id, %(held_seq)s, %(held_ordinal)s, %(attempts)s, {next_at}, {parked_at}, %(error)s
    FROM fenced f CROSS JOIN (SELECT id FROM {instances} WHERE id = %(held_id)s FOR KEY SHARE) i
    ON CONFLICT DO NOTHING
)
SELECT 1 FROM fenced
"""

_HOLD_AGAIN = """
, held AS (
    UPDATE {outbox_held} x SET
        seq = %(held_seq)s, ordinal = %(held_ordinal)s, attempts = %(attempts)s,
        next_at = {next_at}, parked_at = {parked_at}, error = %(error)s
    FROM fenced f
    WHERE x.namespace = f.namespace AND x.handler = f.handler AND x.instance_id = %(held_id)s
      AND x.seq = %(was_seq)s AND x.ordinal = %(was_ordinal)s
)
SELECT 1 FROM fenced
"""

_FREE = """
, freed AS (
    DELETE FROM {outbox_held} x USING fenced f
    WHERE x.namespace = f.namespace AND x.handler = f.handler AND x.instance_id = %(held_id)s
      AND x.seq = %(was_seq)s AND x.ordinal = %(was_ordinal)s
)
SELECT 1 FROM fenced
"""

_NEXT_AT = "coalesce(%(clock)s, clock_timestamp()) + %(wait)s::bigint * interval '1 microsecond'"
_PARKED_AT = "CASE WHEN %(wait)s::bigint IS NULL THEN coalesce(%(clock)s, clock_timestamp()) END"

_PARKED = """
SELECT x.handler, x.parked_at, x.attempts, x.error, {message}
FROM {outbox_held} x
JOIN {outbox} o ON o.instance_id = x.instance_id AND o.seq = x.seq AND o.ordinal = x.ordinal
JOIN {instances} i ON i.id = x.instance_id
JOIN {history} h ON h.instance_id = o.instance_id AND h.seq = o.seq
WHERE x.namespace = %(namespace)s AND x.parked_at IS NOT NULL
ORDER BY x.parked_at, x.handler, x.instance_id
LIMIT %(limit)s
"""

_RESTART = """
UPDATE {outbox_held} x SET
    attempts = 0, next_at = coalesce(%(clock)s, clock_timestamp()), parked_at = NULL {more}
FROM {outbox} o
WHERE o.id = %(id)s AND o.namespace = %(namespace)s
  AND x.namespace = %(namespace)s AND x.handler = %(handler)s AND x.instance_id = o.instance_id
  AND x.seq = o.seq AND x.ordinal = o.ordinal
RETURNING 1
"""


def _statements(schema: str) -> dict[str, bytes]:
    return {
        "waiting": compiled(_WAITING, schema, settled=_SETTLED, ahead=_AHEAD),
        "claim": compiled(_CLAIM, schema),
        "due": compiled(_DUE, schema, message=_MESSAGE, place=_PLACE, wanted=_WANTED),
        "read": compiled(_READ, schema, message=_MESSAGE, place=_PLACE, wanted=_WANTED, settled=_SETTLED),
        "save": compiled(_FENCED + _NO_CHANGE, schema),
        "hold": compiled(_FENCED + _HOLD, schema, next_at=_NEXT_AT, parked_at=_PARKED_AT),
        "hold again": compiled(_FENCED + _HOLD_AGAIN, schema, next_at=_NEXT_AT, parked_at=_PARKED_AT),
        "free": compiled(_FENCED + _FREE, schema),
        "parked": compiled(_PARKED, schema, message=_MESSAGE),
        "retry": compiled(_RESTART, schema, more=""),
        # What is held back for it goes along, by the foreign key.
        "forget": compiled(
            "DELETE FROM {outbox_handlers} h WHERE h.namespace = %(namespace)s AND h.handler = %(handler)s "
            "AND (h.lease_until IS NULL OR h.lease_until <= clock_timestamp()) RETURNING h.handler",
            schema,
        ),
        "skip": compiled(_RESTART, schema, more=", ordinal = x.ordinal + 1, error = ''"),
        "add": compiled(
            "WITH moved AS (SELECT i.id, greatest(i.position, pg_current_xact_id()) AS position FROM {instances} i "
            "WHERE i.id = ANY (%(ids)s::uuid[]) AND i.namespace = %(namespace)s) "
            "{messages} RETURNING instance_id",
            schema,
            messages=MESSAGES,
        ),
    }
