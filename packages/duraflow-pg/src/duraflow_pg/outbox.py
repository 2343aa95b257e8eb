"""Where does PostgreSQL keep messages until every handler has taken them?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from duraflow.codec import Codec
from duraflow.errors import InstanceNotFound
from duraflow.ports import UnitOfWork
from duraflow.records import message_to_record
from duraflow.writes import Emitted
from duraflow_pg.database import PgDatabase
from duraflow_pg.statements import compiled, int_array, text_array, uuid_array

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


def _statements(schema: str) -> dict[str, bytes]:
    return {
        "add": compiled(
            "WITH moved AS (SELECT i.id, greatest(i.position, pg_current_xact_id()) AS position FROM {instances} i "
            "WHERE i.id = ANY (%(ids)s::uuid[]) AND i.namespace = %(namespace)s) "
            "{messages} RETURNING instance_id",
            schema,
            messages=MESSAGES,
        ),
    }
