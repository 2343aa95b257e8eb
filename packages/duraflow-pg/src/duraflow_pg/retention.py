"""How does PostgreSQL take out what is old, and read whole instances?

A batch looks at a window of rows in the order of an index (receipts without one: of the table), and deletes at most so
many of them: what is locked is passed over, and no later batch walks over what an earlier one has deleted.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import attrs

from duraflow.definition.values import Outcome
from duraflow.ports import UnitOfWork
from duraflow.ports.retention import PrunedBatch, Whole
from duraflow.records import ENTRY_COLUMNS, INSTANCE_COLUMNS, MESSAGE_COLUMNS, RECEIPT_COLUMNS, Record
from duraflow_pg.database import PgDatabase
from duraflow_pg.history import COLUMNS as ENTRY_NAMES
from duraflow_pg.instances import COLUMNS as INSTANCE_NAMES
from duraflow_pg.receipts import COLUMNS as RECEIPT_NAMES
from duraflow_pg.statements import Row, compiled, text_array, uuid_array

WINDOW = 1_000
"""How many rows a batch looks at, unless it may take more: few enough for any statement timeout."""

_MESSAGE_NAMES = "o.id, o.instance_id, o.seq, o.ordinal, o.topic, o.payload::text"
"""In the order of `MESSAGE_COLUMNS`."""


@attrs.frozen(eq=False)
class PgRetention:
    """`Retention` on all tables."""

    _database: PgDatabase
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _statements(self._database.schema), takes_self=True)
    )

    async def prune_instances(
        self,
        unit: UnitOfWork,
        /,
        *,
        before: datetime,
        outcomes: Sequence[Outcome] | None,
        workflow: str | None,
        after: str | None,
        limit: int,
        dry_run: bool,
    ) -> PrunedBatch:
        at, instance_id = json.loads(after) if after is not None else ("-infinity", str(UUID(int=0)))
        return await self._prune(
            unit,
            "instances",
            dry_run,
            {
                "before": before,
                "outcomes": None if outcomes is None else text_array(outcomes),
                "workflow": workflow,
                "after_at": at,
                "after_id": instance_id,
                "limit": limit,
            },
        )

    async def prune_receipts(
        self,
        unit: UnitOfWork,
        /,
        *,
        expired: datetime,
        before: datetime | None,
        after: str | None,
        limit: int,
        dry_run: bool,
    ) -> PrunedBatch:
        parameters: dict[str, Any] = {"expired": expired, "before": before, "limit": limit}
        if before is None:
            at, place = json.loads(after) if after is not None else ("-infinity", "(0,0)")
            parameters |= {"after_at": at, "after_place": place}
            return await self._prune(unit, "expired receipts", dry_run, parameters)
        parameters["after_place"] = json.loads(after)[0] if after is not None else "(0,0)"
        return await self._prune(unit, "old receipts", dry_run, parameters)

    async def prune_messages(
        self, unit: UnitOfWork, /, *, before: datetime, after: str | None, limit: int, dry_run: bool
    ) -> PrunedBatch:
        position, instance_id, seq, ordinal = (
            json.loads(after) if after is not None else ("0", str(UUID(int=0)), 0, 0)
        )
        return await self._prune(
            unit,
            "messages",
            dry_run,
            {
                "before": before,
                "after_position": position,
                "after_id": instance_id,
                "after_seq": seq,
                "after_ordinal": ordinal,
                "limit": limit,
            },
        )

    async def _prune(
        self, unit: UnitOfWork, kind: str, dry_run: bool, parameters: dict[str, Any]
    ) -> PrunedBatch:
        limit: int = parameters["limit"]
        window = max(WINDOW, limit)
        parameters |= {"namespace": self._database.namespace, "window": window}
        name = f"count {kind}" if dry_run else kind
        ((taken, entries, waiting, seen, picked, last_seen, last_picked),) = await self._database.fetch(
            unit, self._sql[name], parameters
        )
        if picked == limit:
            reached = last_picked
        else:
            reached = last_seen if seen == window else None
        return PrunedBatch(taken, entries, waiting, reached)

    async def read(self, unit: UnitOfWork, ids: Sequence[UUID], /) -> Sequence[Whole]:
        rows = await self._fetch(unit, "read instances", ids)
        found = {row[0]: row for row in rows}
        entries = await self._belonging(unit, "read history", ids, ENTRY_COLUMNS)
        receipts = await self._belonging(unit, "read receipts", ids, RECEIPT_COLUMNS)
        messages = await self._belonging(unit, "read messages", ids, (*MESSAGE_COLUMNS, "delivered"))
        whole = []
        for instance_id in ids:
            if instance_id not in found:
                continue
            row = found[instance_id]
            record = dict(zip(INSTANCE_COLUMNS, row, strict=False))
            version: int = record["version"]
            # Read after the row, so there may be more; what belongs to this version never changes.
            past = [entry for entry in entries[instance_id] if entry["seq"] <= version]
            if len(past) != version:
                continue  # pruned, or deleted, between two statements
            whole.append(
                Whole(
                    record,
                    tuple(past),
                    row[len(INSTANCE_COLUMNS)],
                    tuple(one for one in receipts[instance_id] if one["last_seq"] <= version),
                    tuple(one for one in messages[instance_id] if one["seq"] <= version),
                )
            )
        return whole

    async def _belonging(
        self, unit: UnitOfWork, name: str, ids: Sequence[UUID], columns: Sequence[str]
    ) -> Mapping[UUID, list[Record]]:
        """Records by the instance that they belong to."""
        found: defaultdict[UUID, list[Record]] = defaultdict(list)
        for row in await self._fetch(unit, name, ids):
            record = dict(zip(columns, row, strict=True))
            found[record["instance_id"]].append(record)
        return found

    async def _fetch(self, unit: UnitOfWork, name: str, ids: Sequence[UUID]) -> list[Row]:
        parameters = {"ids": uuid_array(ids), "namespace": self._database.namespace}
        return await self._database.fetch(unit, self._sql[name], parameters)


# Whether some handler has not had a message `o` yet, or holds it back.
_PENDING: LiteralString = """EXISTS (
        SELECT FROM {outbox_handlers} h
        WHERE h.namespace = o.namespace
          AND ((h.position, h.instance_id, h.seq, h.ordinal) < (o.position, o.instance_id, o.seq, o.ordinal)
            OR EXISTS (
                SELECT FROM {outbox_held} x
                WHERE x.namespace = h.namespace AND x.handler = h.handler AND x.instance_id = o.instance_id
                  AND (x.seq, x.ordinal) <= (o.seq, o.ordinal)
            ))
    )"""

# The instance is looked at again under its lock: someone may have led it back to life meanwhile. A child that someone
# holds keeps its parent, for the foreign key would wait to take the parent from it.
_INSTANCES: LiteralString = """
WITH seen AS MATERIALIZED (
    SELECT i.id, i.finished_at FROM {instances} i
    WHERE i.namespace = %(namespace)s AND i.finished_at < %(before)s
      AND (i.finished_at, i.id) > (%(after_at)s::timestamptz, %(after_id)s::uuid)
    ORDER BY i.finished_at, i.id LIMIT %(window)s
), picked AS MATERIALIZED (
    SELECT s.id, s.finished_at, i.version,
        EXISTS (SELECT FROM {outbox} o WHERE o.instance_id = i.id AND {pending}) AS waiting
    FROM seen s JOIN {instances} i ON i.id = s.id
    WHERE i.finished_at < %(before)s
      AND (%(outcomes)s::text[] IS NULL OR i.outcome = ANY (%(outcomes)s::text[]))
      AND (%(workflow)s::text IS NULL OR i.workflow = %(workflow)s::text)
    ORDER BY s.finished_at, s.id LIMIT %(limit)s {locking}
), {gone}
SELECT (SELECT count(*) FROM gone), (SELECT coalesce(sum(version), 0)::bigint FROM gone),
    (SELECT count(*) FROM picked WHERE waiting), (SELECT count(*) FROM seen), (SELECT count(*) FROM picked),
    (SELECT json_build_array(finished_at, id)::text FROM seen ORDER BY finished_at DESC, id DESC LIMIT 1),
    (SELECT json_build_array(finished_at, id)::text FROM picked ORDER BY finished_at DESC, id DESC LIMIT 1)
"""

_INSTANCES_GONE: LiteralString = """children AS MATERIALIZED (
    SELECT c.id FROM {instances} c WHERE c.parent_id IN (SELECT p.id FROM picked p WHERE NOT p.waiting)
    ORDER BY c.id FOR NO KEY UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM {instances} i USING picked p
    WHERE i.id = p.id AND NOT p.waiting
      AND NOT EXISTS (
        SELECT FROM {instances} c WHERE c.parent_id = p.id AND c.id NOT IN (SELECT k.id FROM children k)
      )
    RETURNING p.version
)"""

# Receipts are never changed, so one stays where it is in the table.
_EXPIRED_RECEIPTS: LiteralString = """
WITH seen AS MATERIALIZED (
    SELECT r.ctid AS place, r.expires_at FROM {receipts} r
    WHERE r.namespace = %(namespace)s AND r.expires_at <= %(expired)s
      AND (r.expires_at, r.ctid) > (%(after_at)s::timestamptz, %(after_place)s::tid)
    ORDER BY r.expires_at, r.ctid LIMIT %(window)s
), picked AS MATERIALIZED (
    SELECT r.ctid AS place, r.expires_at FROM seen s JOIN {receipts} r ON r.ctid = s.place
    ORDER BY s.expires_at, s.place LIMIT %(limit)s {locking}
), {gone}
SELECT (SELECT count(*) FROM gone), 0, 0, (SELECT count(*) FROM seen), (SELECT count(*) FROM picked),
    (SELECT json_build_array(expires_at, place)::text FROM seen ORDER BY expires_at DESC, place DESC LIMIT 1),
    (SELECT json_build_array(expires_at, place)::text FROM picked ORDER BY expires_at DESC, place DESC LIMIT 1)
"""

# There is no index over `created_at`, which every keyed move would pay for: the table is walked, once.
_OLD_RECEIPTS: LiteralString = """
WITH seen AS MATERIALIZED (
    SELECT r.ctid AS place FROM {receipts} r WHERE r.ctid > %(after_place)s::tid LIMIT %(window)s
), picked AS MATERIALIZED (
    SELECT r.ctid AS place FROM seen s JOIN {receipts} r ON r.ctid = s.place
    WHERE r.namespace = %(namespace)s AND (r.created_at < %(before)s OR r.expires_at <= %(expired)s)
    ORDER BY s.place LIMIT %(limit)s {locking}
), {gone}
SELECT (SELECT count(*) FROM gone), 0, 0, (SELECT count(*) FROM seen), (SELECT count(*) FROM picked),
    (SELECT json_build_array(place)::text FROM seen ORDER BY place DESC LIMIT 1),
    (SELECT json_build_array(place)::text FROM picked ORDER BY place DESC LIMIT 1)
"""

_RECEIPTS_GONE: LiteralString = (
    "gone AS (DELETE FROM {receipts} r USING picked p WHERE r.ctid = p.place RETURNING 1)"
)

_MESSAGES: LiteralString = """
WITH seen AS MATERIALIZED (
    SELECT o.id, o.position, o.instance_id, o.seq, o.ordinal FROM {outbox} o
    WHERE o.namespace = %(namespace)s
      AND (o.position, o.instance_id, o.seq, o.ordinal)
        > (%(after_position)s::xid8, %(after_id)s::uuid, %(after_seq)s::bigint, %(after_ordinal)s::int)
    ORDER BY o.position, o.instance_id, o.seq, o.ordinal LIMIT %(window)s
), picked AS MATERIALIZED (
    SELECT s.*
    FROM seen s JOIN {outbox} o ON o.id = s.id
    JOIN {history} e ON e.instance_id = o.instance_id AND e.seq = o.seq
    WHERE e.at < %(before)s AND NOT {pending}
    ORDER BY s.position, s.instance_id, s.seq, s.ordinal LIMIT %(limit)s {locking}
), {gone}
SELECT (SELECT count(*) FROM gone), 0, 0, (SELECT count(*) FROM seen), (SELECT count(*) FROM picked),
    (SELECT json_build_array(position::text, instance_id, seq, ordinal)::text
     FROM seen ORDER BY position DESC, instance_id DESC, seq DESC, ordinal DESC LIMIT 1),
    (SELECT json_build_array(position::text, instance_id, seq, ordinal)::text
     FROM picked ORDER BY position DESC, instance_id DESC, seq DESC, ordinal DESC LIMIT 1)
"""

_MESSAGES_GONE: LiteralString = (
    "gone AS (DELETE FROM {outbox} o USING picked p WHERE o.id = p.id RETURNING 1)"
)


def _statements(schema: str) -> dict[str, bytes]:
    made: dict[str, bytes] = {}
    kinds: tuple[tuple[str, LiteralString, LiteralString, LiteralString], ...] = (
        ("instances", _INSTANCES, _INSTANCES_GONE, "FOR UPDATE OF i SKIP LOCKED"),
        ("expired receipts", _EXPIRED_RECEIPTS, _RECEIPTS_GONE, "FOR UPDATE OF r SKIP LOCKED"),
        ("old receipts", _OLD_RECEIPTS, _RECEIPTS_GONE, "FOR UPDATE OF r SKIP LOCKED"),
        ("messages", _MESSAGES, _MESSAGES_GONE, "FOR UPDATE OF o SKIP LOCKED"),
    )
    for name, statement, gone, locking in kinds:
        counted: LiteralString = (
            "gone AS (SELECT p.version FROM picked p WHERE NOT p.waiting)"
            if name == "instances"
            else "gone AS (SELECT FROM picked)"
        )
        made[name] = compiled(statement, schema, pending=_PENDING, gone=gone, locking=locking)
        made[f"count {name}"] = compiled(statement, schema, pending=_PENDING, gone=counted, locking="")
    wanted: LiteralString = "= ANY (%(ids)s::uuid[])"
    made["read instances"] = compiled(
        "SELECT {columns}, d.retries::text FROM {instances} i LEFT JOIN {due} d ON d.instance_id = i.id "
        "WHERE i.id {wanted} AND i.namespace = %(namespace)s",
        schema,
        columns=INSTANCE_NAMES,
        wanted=wanted,
    )
    made["read history"] = compiled(
        "SELECT {columns} FROM {history} h WHERE h.instance_id {wanted} AND h.namespace = %(namespace)s "
        "ORDER BY h.instance_id, h.seq",
        schema,
        columns=ENTRY_NAMES,
        wanted=wanted,
    )
    made["read receipts"] = compiled(
        "SELECT {columns} FROM {receipts} r WHERE r.instance_id {wanted} AND r.namespace = %(namespace)s "
        "ORDER BY r.instance_id, r.first_seq, r.key",
        schema,
        columns=RECEIPT_NAMES,
        wanted=wanted,
    )
    made["read messages"] = compiled(
        "SELECT {columns}, EXISTS (SELECT FROM {outbox_handlers} a WHERE a.namespace = o.namespace) AND NOT {pending} "
        "FROM {outbox} o WHERE o.instance_id {wanted} AND o.namespace = %(namespace)s "
        "ORDER BY o.instance_id, o.seq, o.ordinal",
        schema,
        columns=_MESSAGE_NAMES,
        pending=_PENDING,
        wanted=wanted,
    )
    return made
