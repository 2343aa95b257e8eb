"""Where does PostgreSQL keep what became of requests that carried a key?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, LiteralString
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.errors import InstanceNotFound, Misuse
from duraflow.ports import Key, Loaded, UnitOfWork
from duraflow.records import INSTANCE_COLUMNS, RECEIPT_COLUMNS, receipt_from_record, receipt_to_record
from duraflow.writes import Receipt
from duraflow_pg.database import PgDatabase
from duraflow_pg.instances import COLUMNS as INSTANCE
from duraflow_pg.instances import CONDITIONS, NOW, key_parameters, loaded
from duraflow_pg.statements import Row, compiled, int_array, text_array, time_array, uuid_array

# With the move that it belongs to: `moved` is the instance's row, as written by the same statement.
RECEIPTS = """
INSERT INTO {receipts} (
    instance_id, namespace, workflow, key, fingerprint, first_seq, last_seq, result, created_at, expires_at
)
SELECT m.id, %(namespace)s, r.workflow, r.key, r.fingerprint::jsonb, r.first_seq, r.last_seq, r.result::jsonb,
    r.created_at, r.expires_at
FROM unnest(
    %(r_instance_id)s::uuid[], %(r_workflow)s::text[], %(r_key)s::text[], %(r_fingerprint)s::text[],
    %(r_first_seq)s::bigint[], %(r_last_seq)s::bigint[], %(r_result)s::text[], %(r_created_at)s::timestamptz[],
    %(r_expires_at)s::timestamptz[]
) AS r (instance_id, workflow, key, fingerprint, first_seq, last_seq, result, created_at, expires_at)
JOIN moved m ON m.id = r.instance_id
-- One order for all, so that two batches with the same keys wait for each other, but never crosswise.
ORDER BY r.workflow, r.key, m.id
"""

# The same for one move, where arrays would cost more than the row.
RECEIPT = """
INSERT INTO {receipts} (
    instance_id, namespace, workflow, key, fingerprint, first_seq, last_seq, result, created_at, expires_at
)
SELECT m.id, %(namespace)s, %(r_workflow)s, %(r_key)s, %(r_fingerprint)s::jsonb, %(r_first_seq)s, %(r_last_seq)s,
    %(r_result)s::jsonb, %(r_created_at)s, %(r_expires_at)s
FROM moved m
"""

# What was done before is not even begun: a unique violation would be an error in the server's log, and would undo all
# that is written by the same statement. Who comes at the same time still meets the index. `LATERAL` with `LIMIT`, so
# that each is looked up by its key.
UNLESS_FIRED: LiteralString = """
    AND NOT EXISTS (
        SELECT FROM {receipts} r
        WHERE r.instance_id = %(id)s AND r.key = %(r_key)s AND r.workflow IS NULL
    )"""
UNLESS_CREATED: LiteralString = """
    AND NOT EXISTS (
        SELECT FROM {receipts} r
        WHERE r.namespace = %(namespace)s AND r.workflow = %(r_workflow)s AND r.key = %(r_key)s
    )"""
UNLESS_MANY_FIRED: LiteralString = """
    AND NOT EXISTS (
        SELECT FROM unnest(%(r_instance_id)s::uuid[], %(r_key)s::text[]) AS k (instance_id, key)
        CROSS JOIN LATERAL (
            SELECT FROM {receipts} r
            WHERE r.instance_id = k.instance_id AND r.key = k.key AND r.workflow IS NULL LIMIT 1
        ) r
        WHERE k.instance_id = n.id
    )"""
UNLESS_MANY_CREATED: LiteralString = """
    AND NOT EXISTS (
        SELECT FROM unnest(%(r_instance_id)s::uuid[], %(r_workflow)s::text[], %(r_key)s::text[])
            AS k (instance_id, workflow, key)
        CROSS JOIN LATERAL (
            SELECT FROM {receipts} r
            WHERE r.namespace = %(namespace)s AND r.workflow = k.workflow AND r.key = k.key LIMIT 1
        ) r
        WHERE k.instance_id = n.id
    )"""

_ARRAYS = {
    "instance_id": uuid_array,
    "workflow": text_array,
    "key": text_array,
    "fingerprint": text_array,
    "first_seq": int_array,
    "last_seq": int_array,
    "result": text_array,
    "created_at": time_array,
    "expires_at": time_array,
}


def receipt_parameters(receipts: Iterable[Receipt], codec: Codec) -> dict[str, Any]:
    """The arrays that `RECEIPTS` takes, without the namespace."""
    records = [receipt_to_record(receipt, codec) for receipt in receipts]
    return {f"r_{name}": array([record[name] for record in records]) for name, array in _ARRAYS.items()}  # type: ignore[operator]


def one_receipt(receipt: Receipt, codec: Codec) -> dict[str, Any]:
    """What `RECEIPT` takes, without the namespace."""
    return {f"r_{name}": value for name, value in receipt_to_record(receipt, codec).items()}


@attrs.frozen(eq=False)
class PgReceiptStore:
    """`ReceiptStore` on the table `workflow_receipts`."""

    _database: PgDatabase
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: _statements(self._database.schema), takes_self=True)
    )

    async def find(
        self, unit: UnitOfWork | None, keys: Sequence[tuple[UUID, str]], /
    ) -> Mapping[tuple[UUID, str], Receipt]:
        parameters = {
            "namespace": self._database.namespace,
            "ids": uuid_array(instance_id for instance_id, _ in keys),
            "keys": text_array(key for _, key in keys),
        }
        found = self._receipts(await self._database.fetch(unit, self._sql["find"], parameters))
        return {(receipt.instance_id, receipt.key): receipt for receipt in found}

    async def lock(
        self, unit: UnitOfWork, target: Key, key: str, /, *, clock: datetime | None
    ) -> tuple[Loaded | None, Receipt | None]:
        by, parameters = key_parameters(target, self._database.namespace, clock)
        parameters["key"] = key
        # Two statements in one trip: what the second reads is newer than the wait for the lock.
        held = (self._sql[f"hold by {by}"], parameters)
        rows = await self._database.fetch(unit, self._sql[f"find by {by}"], parameters, after=held)
        if not rows:
            return None, None
        row = rows[0]
        receipt = row[len(INSTANCE_COLUMNS) + 1 :]
        found = None if receipt[0] is None else self._receipts([receipt])[0]
        return loaded(row, self._database), found

    async def find_creations(
        self, unit: UnitOfWork | None, keys: Sequence[tuple[str, str]], /, *, hold: bool = False
    ) -> Mapping[tuple[str, str], Receipt]:
        parameters = {
            "namespace": self._database.namespace,
            "workflows": text_array(workflow for workflow, _ in keys),
            "keys": text_array(key for _, key in keys),
        }
        if hold:
            if unit is None:
                raise Misuse("keys were to be held without a transaction", "pass the unit of work")
            # A statement of its own: what is read after it must be newer than the wait for it.
            await self._database.fetch(unit, self._sql["hold"], parameters)
        found = self._receipts(await self._database.fetch(unit, self._sql["find creations"], parameters))
        return {(str(receipt.workflow), receipt.key): receipt for receipt in found}

    async def add(self, unit: UnitOfWork, receipt: Receipt, /) -> None:
        parameters = receipt_parameters((receipt,), self._database.codec)
        parameters |= {"namespace": self._database.namespace, "id": receipt.instance_id}
        if not await self._database.fetch(unit, self._sql["add"], parameters):
            raise InstanceNotFound(receipt.instance_id, self._database.namespace)

    async def of(self, unit: UnitOfWork | None, instance_id: UUID, /) -> Sequence[Receipt]:
        parameters = {"namespace": self._database.namespace, "id": instance_id}
        return self._receipts(await self._database.fetch(unit, self._sql["of"], parameters))

    def _receipts(self, rows: Sequence[Row]) -> list[Receipt]:
        codec = self._database.codec
        return [receipt_from_record(dict(zip(RECEIPT_COLUMNS, row, strict=True)), codec) for row in rows]


COLUMNS: LiteralString = (
    "r.instance_id, r.workflow, r.key, r.fingerprint::text, r.first_seq, r.last_seq, r.result::text, "
    "r.created_at, r.expires_at"
)
"""In the order of `RECEIPT_COLUMNS`."""

_FIND = """
SELECT {columns} FROM unnest(%(ids)s::uuid[], %(keys)s::text[]) AS k (instance_id, key)
JOIN {receipts} r ON r.instance_id = k.instance_id AND r.key = k.key AND r.workflow IS NULL
WHERE r.namespace = %(namespace)s
"""

_FIND_CREATIONS = """
SELECT {columns} FROM unnest(%(workflows)s::text[], %(keys)s::text[]) AS k (workflow, key)
JOIN {receipts} r ON r.namespace = %(namespace)s AND r.workflow = k.workflow AND r.key = k.key
WHERE r.workflow IS NOT NULL
"""

# Two keys with the same hash only wait for each other. Ordered, so that two of these never wait crosswise.
_HOLD = """
SELECT pg_advisory_xact_lock(h.hash) FROM (
    SELECT DISTINCT hashtextextended(
        'duraflow ' || %(namespace)s::text || E'\\x01' || k.workflow || E'\\x01' || k.key, 0
    ) AS hash
    FROM unnest(%(workflows)s::text[], %(keys)s::text[]) AS k (workflow, key) ORDER BY hash
) AS h
"""


_HELD = "SELECT 1 FROM {instances} i WHERE {condition} FOR NO KEY UPDATE"

# It is held already, but for one that was created in between: that one must not be worked on unheld.
_FOUND = """
SELECT {instance}, {now}, {columns} FROM {instances} i
LEFT JOIN {receipts} r ON r.instance_id = i.id AND r.key = %(key)s AND r.workflow IS NULL
WHERE {condition} FOR NO KEY UPDATE OF i SKIP LOCKED
"""


def _statements(schema: str) -> dict[str, bytes]:
    by_key: dict[str, bytes] = {}
    for by, condition in CONDITIONS.items():
        by_key[f"hold by {by}"] = compiled(_HELD, schema, condition=condition)
        by_key[f"find by {by}"] = compiled(
            _FOUND, schema, condition=condition, instance=INSTANCE, now=NOW, columns=COLUMNS
        )
    return {
        **by_key,
        "find": compiled(_FIND, schema, columns=COLUMNS),
        "find creations": compiled(_FIND_CREATIONS, schema, columns=COLUMNS),
        "hold": compiled(_HOLD, schema),
        "add": compiled(
            "WITH moved AS (SELECT i.id FROM {instances} i WHERE i.id = %(id)s AND i.namespace = %(namespace)s) "
            "{receipts_added} RETURNING instance_id",
            schema,
            receipts_added=RECEIPTS,
        ),
        "of": compiled(
            "SELECT {columns} FROM {receipts} r WHERE r.instance_id = %(id)s AND r.namespace = %(namespace)s "
            "ORDER BY r.first_seq, r.key, r.workflow NULLS FIRST",
            schema,
            columns=COLUMNS,
        ),
    }
