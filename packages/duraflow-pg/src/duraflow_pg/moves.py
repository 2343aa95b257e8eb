"""How is a step written in one statement? The SQL and parameters of one move, one creation, and of many at once.

A single move takes a statement of scalars, the fastest there is. Everything else (several entries, several instances)
goes through the set-based ones, which take one array for each column. Either way the instance's row is compared and
set first, and history and due row follow from what was really set: one statement, all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, LiteralString

from duraflow.codec import Codec
from duraflow.records import Record, entry_to_record, instance_to_record
from duraflow.writes import ClearDue, NudgeDue, SetDue, Writes
from duraflow_pg.due import NUDGE, due_parameters
from duraflow_pg.history import NAMES, VALUES, entry_parameters
from duraflow_pg.outbox import MESSAGES, message_parameters
from duraflow_pg.receipts import (
    RECEIPT,
    RECEIPTS,
    UNLESS_CREATED,
    UNLESS_FIRED,
    UNLESS_MANY_CREATED,
    UNLESS_MANY_FIRED,
    one_receipt,
    receipt_parameters,
)
from duraflow_pg.statements import bool_array, compiled, int_array, text_array, time_array, uuid_array

Parameters = dict[str, Any]


def is_simple(writes: Writes) -> bool:
    """Whether the statement for one move does: one entry, and nothing that only upgrades and chains touch."""
    before, after = writes.before, writes.after
    return (
        before is not None
        and len(writes.entries) == 1
        and before.definition_version == after.definition_version
        and before.continuation is None
        and after.continuation is None
        and before.lease_token == after.lease_token
        and before.waiting_events == after.waiting_events
    )


def context_changed(writes: Writes) -> bool:
    """Whether the row's context must be written; history says so exactly."""
    return writes.before is None or any(entry.change for entry in writes.entries)


# --- one move -----------------------------------------------------------------------------------------------------

# What someone holds is passed over, as in a batch: such a move is lost, and the locked path waits for the row, with a
# time limit, and without holding up the moves that wait for a place in this process.
_MOVED = """
WITH moved AS (
    UPDATE {instances} i SET
        state = %(state)s, outcome = %(outcome)s, version = %(version)s,
        context = coalesce(%(context)s::jsonb, i.context), timers = %(timers)s::jsonb,
        updated_at = %(updated_at)s, entered_at = %(entered_at)s, finished_at = %(finished_at)s,
        position = greatest(i.position, pg_current_xact_id())
    WHERE i.id = (SELECT k.id FROM {instances} k WHERE k.id = %(id)s FOR NO KEY UPDATE SKIP LOCKED)
      AND i.namespace = %(namespace)s AND i.version = %(expected)s
      AND i.lease_token IS NOT DISTINCT FROM %(expected_lease)s {unless}
    RETURNING i.id, i.position
)"""

_ADDED = """
INSERT INTO {history} ({names}) SELECT m.id, {values}, m.position FROM moved m RETURNING seq
"""

_SET_ONE = """
INSERT INTO {due} (instance_id, namespace, due_at, retries, parked_at, error)
SELECT m.id, %(namespace)s, %(due_at)s, %(retries)s::jsonb, %(parked_at)s, %(error)s FROM moved m
ON CONFLICT (instance_id) DO UPDATE SET
    due_at = excluded.due_at, retries = excluded.retries, parked_at = excluded.parked_at, error = excluded.error
"""

_CLEAR_ONE = "DELETE FROM {due} d USING moved m WHERE d.instance_id = m.id"

# With no entry only the due row changes, if the instance is still as it was read.
_SAME = """
WITH moved AS (
    SELECT i.id FROM {instances} i
    WHERE i.id = %(id)s AND i.namespace = %(namespace)s AND i.version = %(expected)s
      AND i.lease_token IS NOT DISTINCT FROM %(expected_lease)s
    FOR NO KEY UPDATE
)"""


def one_move(writes: Writes, codec: Codec, namespace: str) -> tuple[str, Parameters]:
    """The statement's name and the parameters for one move with one entry."""
    before, after, entry = writes.before, writes.after, writes.entries[0]
    assert before is not None
    record = instance_to_record(after, codec, context=context_changed(writes), metadata=False)
    parameters = entry_parameters(entry_to_record(entry, codec))
    parameters.update(record)
    parameters["namespace"] = namespace
    parameters["expected"] = before.version
    parameters["expected_lease"] = before.lease_token
    return f"move{_due_of(writes, parameters)}{_more_of((writes,), codec, parameters, one=True)}", parameters


def one_due_change(writes: Writes, namespace: str) -> tuple[str, Parameters]:
    """The statement's name and the parameters for a change of the due row alone."""
    before = writes.before
    assert before is not None
    parameters: Parameters = {
        "id": before.id,
        "namespace": namespace,
        "expected": before.version,
        "expected_lease": before.lease_token,
    }
    return f"same{_due_of(writes, parameters)}", parameters


def _due_of(writes: Writes, parameters: Parameters) -> str:
    match writes.due:
        case SetDue() as change:
            parameters.update(due_parameters(change))
            return " set"
        case NudgeDue(at):
            parameters.update(nudge_at=at, nudge_text=at.isoformat())
            return " nudge"
        case ClearDue():
            return " clear"
        case None:
            return ""


# --- many moves, and moves with many entries ----------------------------------------------------------------------

_MANY_MOVED = """
WITH held AS (
    -- Ordered, so that two batches never wait for each other crosswise; what someone holds is passed over. Versions
    -- are compared here, under the lock: compared in the UPDATE, its join was planned as loops in loops (n squared).
    SELECT n.*
    FROM unnest(
        %(id)s::uuid[], %(expected)s::bigint[], %(expected_lease)s::uuid[], %(definition_version)s::int[],
        %(state)s::text[], %(outcome)s::text[], %(version)s::bigint[], %(context)s::text[], %(timers)s::text[],
        %(continuation)s::text[], %(updated_at)s::timestamptz[], %(entered_at)s::timestamptz[],
        %(finished_at)s::timestamptz[], %(lease_token)s::uuid[], %(waiting_events)s::boolean[]
    ) AS n (
        id, expected, expected_lease, definition_version, state, outcome, version, context, timers, continuation,
        updated_at, entered_at, finished_at, lease_token, waiting_events
    ) JOIN {instances} i ON i.id = n.id
    WHERE i.namespace = %(namespace)s AND i.version = n.expected
      AND i.lease_token IS NOT DISTINCT FROM n.expected_lease {unless}
    ORDER BY i.id FOR NO KEY UPDATE OF i SKIP LOCKED
), moved AS (
    UPDATE {instances} i SET
        definition_version = n.definition_version, state = n.state, outcome = n.outcome, version = n.version,
        context = coalesce(n.context::jsonb, i.context), timers = n.timers::jsonb,
        continuation = n.continuation::jsonb, updated_at = n.updated_at, entered_at = n.entered_at,
        finished_at = n.finished_at, lease_token = n.lease_token, waiting_events = n.waiting_events,
        position = greatest(i.position, pg_current_xact_id())
    FROM held n
    WHERE i.id = n.id AND i.version = n.expected
    RETURNING i.id, i.position
)"""

_MANY_ADDED = """, added AS (
    INSERT INTO {history} ({names})
    SELECT m.id, e.seq, e.kind, e.event, e.from_state, e.to_state, e.status, e.entered, e.at, e.definition_version,
        e.attempt_id, e.transition_id, e.outcome, e.commands::jsonb, e.blockers::jsonb, e.payload::jsonb,
        e.trigger::jsonb, e.change::jsonb, e.timers::jsonb, e.metadata::jsonb, %(namespace)s, m.position
    FROM unnest(
        %(e_instance_id)s::uuid[], %(e_seq)s::bigint[], %(e_kind)s::text[], %(e_event)s::text[],
        %(e_from_state)s::text[], %(e_to_state)s::text[], %(e_status)s::text[], %(e_entered)s::boolean[],
        %(e_at)s::timestamptz[], %(e_definition_version)s::int[], %(e_attempt_id)s::uuid[],
        %(e_transition_id)s::uuid[], %(e_outcome)s::text[], %(e_commands)s::text[], %(e_blockers)s::text[],
        %(e_payload)s::text[], %(e_trigger)s::text[], %(e_change)s::text[], %(e_timers)s::text[],
        %(e_metadata)s::text[]
    ) AS e (
        instance_id, seq, kind, event, from_state, to_state, status, entered, at, definition_version, attempt_id,
        transition_id, outcome, commands, blockers, payload, trigger, change, timers, metadata
    ) JOIN moved m ON m.id = e.instance_id
)"""

_MANY_SET = """, due_set AS (
    INSERT INTO {due} (instance_id, namespace, due_at, retries, parked_at, error)
    SELECT m.id, %(namespace)s, d.due_at, d.retries::jsonb, d.parked_at, d.error
    FROM unnest(
        %(d_id)s::uuid[], %(d_due_at)s::timestamptz[], %(d_retries)s::text[], %(d_parked_at)s::timestamptz[],
        %(d_error)s::text[]
    ) AS d (id, due_at, retries, parked_at, error)
    JOIN moved m ON m.id = d.id
    ORDER BY m.id
    ON CONFLICT (instance_id) DO UPDATE SET
        due_at = excluded.due_at, retries = excluded.retries, parked_at = excluded.parked_at, error = excluded.error
)"""

_MANY_CLEARED = """, due_cleared AS (
    DELETE FROM {due} d USING moved m
    WHERE d.instance_id = m.id AND m.id = ANY (%(cleared)s::uuid[])
)"""

_CREATED = """
WITH moved AS (
    INSERT INTO {instances} (
        id, namespace, workflow, definition_version, ref, state, outcome, version, context, metadata, timers,
        continuation, created_at, updated_at, entered_at, finished_at, parent_id, root_id
    )
    SELECT n.id, %(namespace)s, n.workflow, n.definition_version, n.ref, n.state, n.outcome, n.version,
        n.context::jsonb, n.metadata::jsonb, n.timers::jsonb, n.continuation::jsonb, n.created_at, n.updated_at,
        n.entered_at, n.finished_at, n.parent_id, n.root_id
    FROM unnest(
        %(id)s::uuid[], %(workflow)s::text[], %(definition_version)s::int[], %(ref)s::text[], %(state)s::text[],
        %(outcome)s::text[], %(version)s::bigint[], %(context)s::text[], %(metadata)s::text[], %(timers)s::text[],
        %(continuation)s::text[], %(created_at)s::timestamptz[], %(updated_at)s::timestamptz[],
        %(entered_at)s::timestamptz[], %(finished_at)s::timestamptz[], %(parent_id)s::uuid[], %(root_id)s::uuid[]
    ) AS n (
        id, workflow, definition_version, ref, state, outcome, version, context, metadata, timers, continuation,
        created_at, updated_at, entered_at, finished_at, parent_id, root_id
    )
    WHERE {limit} {unless}
    -- One order for all, so that two batches with the same refs wait for each other, but never crosswise.
    ORDER BY n.workflow, n.ref, n.id
    ON CONFLICT DO NOTHING
    RETURNING id, position
)"""

_CREATED_ONE = """
WITH moved AS (
    INSERT INTO {instances} (
        id, namespace, workflow, definition_version, ref, state, outcome, version, context, metadata, timers,
        created_at, updated_at, entered_at, finished_at, parent_id, root_id
    ) SELECT
        %(id)s, %(namespace)s, %(workflow)s, %(definition_version)s, %(ref)s, %(state)s, %(outcome)s, %(version)s,
        %(context)s::jsonb, %(metadata)s::jsonb, %(timers)s::jsonb, %(created_at)s, %(updated_at)s, %(entered_at)s,
        %(finished_at)s, %(parent_id)s, %(root_id)s
    WHERE {limit} {unless}
    ON CONFLICT DO NOTHING
    RETURNING id, position
)"""

_RETURNED = " SELECT id FROM moved"

_Array = Callable[[Iterable[Any]], str]

_MOVE_ARRAYS: Mapping[str, _Array] = {
    "id": uuid_array,
    "definition_version": int_array,
    "state": text_array,
    "outcome": text_array,
    "version": int_array,
    "context": text_array,
    "timers": text_array,
    "continuation": text_array,
    "updated_at": time_array,
    "entered_at": time_array,
    "finished_at": time_array,
}
_MOVE_ONLY: Mapping[str, _Array] = {"lease_token": uuid_array, "waiting_events": bool_array}
_CREATE_ONLY: Mapping[str, _Array] = {
    "workflow": text_array,
    "ref": text_array,
    "metadata": text_array,
    "created_at": time_array,
    "parent_id": uuid_array,
    "root_id": uuid_array,
}
_ENTRY_ARRAYS: Mapping[str, _Array] = {
    "instance_id": uuid_array,
    "seq": int_array,
    "kind": text_array,
    "event": text_array,
    "from_state": text_array,
    "to_state": text_array,
    "status": text_array,
    "entered": bool_array,
    "at": time_array,
    "definition_version": int_array,
    "attempt_id": uuid_array,
    "transition_id": uuid_array,
    "outcome": text_array,
    "commands": text_array,
    "blockers": text_array,
    "payload": text_array,
    "trigger": text_array,
    "change": text_array,
    "timers": text_array,
    "metadata": text_array,
}


def many(batch: Sequence[Writes], codec: Codec, namespace: str, *, new: bool) -> tuple[str, Parameters]:
    """The statement's name and the parameters for a batch of moves, or of creations, of different instances."""
    records = [instance_to_record(w.after, codec, context=context_changed(w), metadata=new) for w in batch]
    arrays = {**_MOVE_ARRAYS, **(_CREATE_ONLY if new else _MOVE_ONLY)}
    entries = [
        entry_to_record(entry, codec, metadata=record["metadata"])
        for writes, record in zip(batch, records, strict=True)
        for entry in writes.entries
    ]
    parameters: Parameters = {}
    known: Known = {}
    _add_arrays(parameters, "", arrays, records, known)
    _add_arrays(parameters, "e_", _ENTRY_ARRAYS, entries, known)
    parameters["namespace"] = namespace
    if not new:
        befores = [writes.before for writes in batch if writes.before is not None]
        parameters["expected"] = int_array(before.version for before in befores)
        parameters["expected_lease"] = uuid_array(before.lease_token for before in befores)
    name = "create many" if new else "move many"
    return name + _due_arrays(batch, parameters) + _more_of(batch, codec, parameters), parameters


def one_creation(writes: Writes, codec: Codec, namespace: str) -> tuple[str, Parameters]:
    """The statement's name and the parameters for one creation with one entry."""
    record = instance_to_record(writes.after, codec)
    parameters = entry_parameters(entry_to_record(writes.entries[0], codec, metadata=record["metadata"]))
    parameters.update(record)
    parameters["namespace"] = namespace
    return (
        f"create{_due_of(writes, parameters)}{_more_of((writes,), codec, parameters, one=True)}",
        parameters,
    )


Known = dict[_Array, list[tuple[list[Any], str]]]
"""Arrays already written, by how: several columns hold the same ids, times and texts."""


def _add_arrays(
    parameters: Parameters, prefix: str, arrays: Mapping[str, _Array], records: Sequence[Record], known: Known
) -> None:
    for name, array in arrays.items():
        values = [record[name] for record in records]
        alike = known.setdefault(array, [])
        text = next((text for earlier, text in alike if earlier == values), None)
        if text is None:
            text = array(values)
            alike.append((values, text))
        parameters[prefix + name] = text


def _due_arrays(batch: Sequence[Writes], parameters: Parameters) -> str:
    """Due changes of a batch: which parts the statement needs, with their arrays."""
    setting = [(writes.after.id, writes.due) for writes in batch if isinstance(writes.due, SetDue)]
    clearing = [writes.after.id for writes in batch if isinstance(writes.due, ClearDue)]
    name = ""
    if setting:
        rows = [due_parameters(change) for _, change in setting]
        parameters["d_id"] = uuid_array(instance_id for instance_id, _ in setting)
        parameters["d_due_at"] = time_array(row["due_at"] for row in rows)
        parameters["d_retries"] = text_array(row["retries"] for row in rows)
        parameters["d_parked_at"] = time_array(row["parked_at"] for row in rows)
        parameters["d_error"] = text_array(row["error"] for row in rows)
        name += " set"
    if clearing:
        parameters["cleared"] = uuid_array(clearing)
        name += " clear"
    return name


def _more_of(batch: Sequence[Writes], codec: Codec, parameters: Parameters, *, one: bool = False) -> str:
    """What else a batch leaves: receipts and messages. Messages in arrays, because one move may leave several."""
    name = ""
    receipts = [writes.receipt for writes in batch if writes.receipt is not None]
    if receipts:
        parameters.update(one_receipt(receipts[0], codec) if one else receipt_parameters(receipts, codec))
        name += " receipt" if one else " receipts"
    messages = [message for writes in batch for message in writes.messages]
    if messages:
        parameters.update(message_parameters(messages, codec))
        name += " messages"
    return name


def lock_limit(longest: timedelta | None) -> LiteralString:
    """A condition that limits, as it is looked at, how long the rest of a statement waits for others.

    For statements with a commit of their own: `SET LOCAL` before them would cost a trip. In a transaction the limit
    would stay until its end, so there the condition is left out.
    """
    if longest is None:
        return "true"
    milliseconds: LiteralString = str(int(longest.total_seconds() * 1000))
    return "set_config('lock_timeout', '" + milliseconds + "', true) IS NOT NULL"


class Statements(dict[str, bytes]):
    """The statements of this module by name, each made when it is first asked for.

    A name is what is written (`move`, `same`, `create`, `move many`, `create many`), then what happens to the due row
    (`set`, `nudge`, `clear`), then what else is left (`receipt`, `receipts`, `messages`).

    Args:
        alone: they have a commit of their own, and what is done under a key that is taken leaves no row.
    """

    def __init__(self, schema: str, limit: LiteralString = "true", *, alone: bool = False) -> None:
        super().__init__()
        self._schema = schema
        self._limit: LiteralString = limit
        self._alone = alone

    def __missing__(self, name: str) -> bytes:
        many = " many" in name
        head, *parts = name.replace(" many", "").split(" ")
        start, end = _MANY[head] if many else _ONE[head]
        text: LiteralString = start
        for part in parts:
            if many and part in _MANY_DUE:
                text += _MANY_DUE[part]
            else:
                text += ", " + part_name(part) + " AS (" + _PARTS[part] + ")"
        # In a transaction a key that is taken must fail: with no row written, its COMMIT would keep what commands did.
        quietly = self._alone and ("receipts" in parts or "receipt" in parts)
        unless: LiteralString = _UNLESS[head, many] if quietly else ""
        made = compiled(
            text + end, self._schema, names=NAMES, values=VALUES, limit=self._limit, unless=unless
        )
        self[name] = made
        return made


def part_name(part: str) -> LiteralString:
    """What a part of a statement is called in it."""
    return "left_messages" if part == "messages" else "left_receipts" if "receipt" in part else "due_change"


_ONE: Mapping[str, tuple[LiteralString, LiteralString]] = {
    "move": (_MOVED, _ADDED),
    "same": (_SAME, _RETURNED),
    "create": (_CREATED_ONE, _ADDED),
}
_MANY: Mapping[str, tuple[LiteralString, LiteralString]] = {
    "move": (_MANY_MOVED + _MANY_ADDED, _RETURNED),
    "create": (_CREATED + _MANY_ADDED, _RETURNED),
}
_UNLESS: Mapping[tuple[str, bool], LiteralString] = {
    ("move", False): UNLESS_FIRED,
    ("move", True): UNLESS_MANY_FIRED,
    ("create", False): UNLESS_CREATED,
    ("create", True): UNLESS_MANY_CREATED,
}
_MANY_DUE: Mapping[str, LiteralString] = {"set": _MANY_SET, "clear": _MANY_CLEARED}
_PARTS: Mapping[str, LiteralString] = {
    "set": _SET_ONE,
    "nudge": NUDGE,
    "clear": _CLEAR_ONE,
    "receipt": RECEIPT,
    "receipts": RECEIPTS,
    "messages": MESSAGES,
}
