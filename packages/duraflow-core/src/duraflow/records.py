"""How do instances and history entries become rows of plain columns, and come back?

One form for every store: column names are those of the SQL tables, JSON columns are text (or None when there is
nothing to say), the rest is UUID, datetime, int, bool and text. Times come back in UTC whatever zone they were read in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any
from uuid import UUID

from duraflow.codec import Codec, compact_json
from duraflow.definition.values import EMPTY
from duraflow.instance import (
    NO_CHANGE,
    ArmedTimer,
    Blocker,
    Change,
    CommandResult,
    Continuation,
    HistoryEntry,
    Instance,
)
from duraflow.writes import Emitted, Receipt, TimerRetry

Record = dict[str, Any]

INSTANCE_COLUMNS = (
    "id",
    "namespace",
    "workflow",
    "definition_version",
    "ref",
    "state",
    "outcome",
    "version",
    "context",
    "metadata",
    "timers",
    "continuation",
    "created_at",
    "updated_at",
    "entered_at",
    "finished_at",
    "parent_id",
    "root_id",
    "lease_token",
    "waiting_events",
)

RECEIPT_COLUMNS = (
    "instance_id",
    "workflow",
    "key",
    "fingerprint",
    "first_seq",
    "last_seq",
    "result",
    "created_at",
    "expires_at",
)

MESSAGE_COLUMNS = ("id", "instance_id", "seq", "ordinal", "topic", "payload")

ENTRY_COLUMNS = (
    "instance_id",
    "seq",
    "kind",
    "event",
    "from_state",
    "to_state",
    "status",
    "entered",
    "at",
    "definition_version",
    "attempt_id",
    "transition_id",
    "outcome",
    "commands",
    "blockers",
    "payload",
    "trigger",
    "change",
    "timers",
    "metadata",
)


def utc(value: datetime) -> datetime:
    """The same instant in UTC; free when it already is."""
    return value if value.tzinfo is UTC else value.astimezone(UTC)


def instance_to_record(
    instance: Instance, codec: Codec, *, context: bool = True, metadata: bool = True
) -> Record:
    """The row of an instance; without `context` or `metadata` that column is None: the store leaves it as it is."""
    return {
        "id": instance.id,
        "namespace": instance.namespace,
        "workflow": instance.workflow,
        "definition_version": instance.definition_version,
        "ref": instance.ref,
        "state": instance.state,
        "outcome": instance.outcome,
        "version": instance.version,
        "context": codec.encode(instance.context, path="context") if context else None,
        "metadata": _metadata_to_text(instance.metadata, codec) if metadata else None,
        "timers": timers_to_text(instance.timers) if instance.timers else None,
        "continuation": _continuation_to_text(instance.continuation, codec),
        "created_at": instance.created_at,
        "updated_at": instance.updated_at,
        "entered_at": instance.entered_at,
        "finished_at": instance.finished_at,
        "parent_id": instance.parent_id,
        "root_id": instance.root_id,
        "lease_token": instance.lease_token,
        "waiting_events": instance.waiting_events,
    }


def _metadata_to_text(metadata: Mapping[str, Any], codec: Codec) -> str:
    return codec.encode(metadata, path="metadata") if metadata else "{}"


def _shared(text: str) -> str:
    """The one object for this text: a driver makes a new one for each row, and there are few names but many rows."""
    return intern(text) if type(text) is str else text


def instance_from_record(record: Mapping[str, Any], codec: Codec) -> Instance:
    """The instance of a row; its context and metadata are fresh copies."""
    created, updated, entered = record["created_at"], record["updated_at"], record["entered_at"]
    finished, metadata, timers, continuation = (
        record["finished_at"],
        record["metadata"],
        record["timers"],
        record["continuation"],
    )
    return Instance(
        id=record["id"],
        namespace=_shared(record["namespace"]),
        workflow=_shared(record["workflow"]),
        definition_version=record["definition_version"],
        state=_shared(record["state"]),
        version=record["version"],
        created_at=utc(created),
        updated_at=utc(updated),
        entered_at=utc(entered),
        context=codec.decode(record["context"]),  # type: ignore[arg-type]  # a CHECK keeps it an object
        metadata=EMPTY if metadata == "{}" else codec.decode(metadata),  # type: ignore[arg-type]  # likewise
        ref=record["ref"],
        outcome=record["outcome"],
        finished_at=None if finished is None else utc(finished),
        timers=() if timers is None else timers_from_text(timers),
        parent_id=record["parent_id"],
        root_id=record["root_id"],
        lease_token=record["lease_token"],
        waiting_events=record["waiting_events"],
        continuation=None if continuation is None else _continuation_from_text(continuation, codec),
    )


def entry_to_record(entry: HistoryEntry, codec: Codec, *, metadata: str | None = None) -> Record:
    """The row of a history entry.

    Args:
        metadata: the text of the entry's metadata, if it has some and the text is known from the instance's row.
    """
    if metadata is None and entry.metadata is not None:
        metadata = codec.encode(entry.metadata, path="metadata")
    return {
        "instance_id": entry.instance_id,
        "seq": entry.seq,
        "kind": entry.kind,
        "event": entry.event,
        "from_state": entry.from_state,
        "to_state": entry.to_state,
        "status": entry.status,
        "entered": entry.entered,
        "at": entry.at,
        "definition_version": entry.definition_version,
        "attempt_id": entry.attempt_id,
        "transition_id": entry.transition_id,
        "outcome": entry.outcome,
        "commands": compact_json([_result_to_plain(result, codec) for result in entry.commands])
        if entry.commands
        else None,
        "blockers": compact_json([_blocker_to_plain(blocker, codec) for blocker in entry.blockers])
        if entry.blockers
        else None,
        "payload": None if entry.payload is None else codec.encode(entry.payload, path="payload"),
        "trigger": codec.encode(entry.trigger, path="trigger") if entry.trigger else None,
        "change": _change_to_text(entry.change, codec) if entry.change else None,
        "timers": None if entry.timers is None else timers_to_text(entry.timers),
        "metadata": None if entry.metadata is None else metadata,
    }


def entry_from_record(record: Mapping[str, Any], codec: Codec) -> HistoryEntry:
    """The history entry of a row."""
    commands, blockers, change = record["commands"], record["blockers"], record["change"]
    payload, trigger, timers, metadata = (
        record["payload"],
        record["trigger"],
        record["timers"],
        record["metadata"],
    )
    return HistoryEntry(
        instance_id=record["instance_id"],
        seq=record["seq"],
        kind=record["kind"],
        event=record["event"],
        from_state=record["from_state"],
        to_state=record["to_state"],
        at=utc(record["at"]),
        definition_version=record["definition_version"],
        attempt_id=record["attempt_id"],
        status=record["status"],
        entered=record["entered"],
        transition_id=record["transition_id"],
        outcome=record["outcome"],
        commands=()
        if commands is None
        else tuple(_result_from_plain(row, codec) for row in json.loads(commands)),
        blockers=()
        if blockers is None
        else tuple(_blocker_from_plain(row, codec) for row in json.loads(blockers)),
        payload=None if payload is None else codec.decode(payload),
        trigger=EMPTY if trigger is None else codec.decode(trigger),  # type: ignore[arg-type]  # a CHECK: an object
        change=NO_CHANGE if change is None else _change_from_text(change, codec),
        timers=None if timers is None else timers_from_text(timers),
        metadata=None if metadata is None else codec.decode(metadata),  # type: ignore[arg-type]  # likewise
    )


def receipt_to_record(receipt: Receipt, codec: Codec) -> Record:
    """The row of a receipt, without its namespace."""
    return {
        "instance_id": receipt.instance_id,
        "workflow": receipt.workflow,
        "key": receipt.key,
        "fingerprint": None if receipt.fingerprint is None else compact_json(receipt.fingerprint),
        "first_seq": receipt.first_seq,
        "last_seq": receipt.last_seq,
        "result": codec.encode(receipt.result, path="result") if receipt.result else None,
        "created_at": receipt.created_at,
        "expires_at": receipt.expires_at,
    }


def receipt_from_record(record: Mapping[str, Any], codec: Codec) -> Receipt:
    """The receipt of a row."""
    fingerprint, result, expires = record["fingerprint"], record["result"], record["expires_at"]
    return Receipt(
        instance_id=record["instance_id"],
        key=record["key"],
        first_seq=record["first_seq"],
        last_seq=record["last_seq"],
        created_at=utc(record["created_at"]),
        workflow=record["workflow"],
        fingerprint=None if fingerprint is None else json.loads(fingerprint),
        result=EMPTY if result is None else codec.decode(result),  # type: ignore[arg-type]  # written as an object
        expires_at=None if expires is None else utc(expires),
    )


def message_to_record(message: Emitted, codec: Codec) -> Record:
    """The row of a message, without its namespace and position."""
    return {
        "id": message.id,
        "instance_id": message.instance_id,
        "seq": message.seq,
        "ordinal": message.ordinal,
        "topic": message.topic,
        "payload": None if message.payload is None else codec.encode(message.payload, path="payload"),
    }


def message_from_record(record: Mapping[str, Any], codec: Codec) -> Emitted:
    """The message of a row."""
    payload = record["payload"]
    return Emitted(
        record["id"],
        record["instance_id"],
        record["seq"],
        record["ordinal"],
        record["topic"],
        None if payload is None else codec.decode(payload),
    )


def timers_to_text(timers: tuple[ArmedTimer, ...]) -> str:
    """Armed timers as JSON text."""
    return compact_json([{"event": timer.event, "due_at": timer.due_at.isoformat()} for timer in timers])


def timers_from_text(text: str) -> tuple[ArmedTimer, ...]:
    """The reverse of `timers_to_text`."""
    return tuple(ArmedTimer(row["event"], datetime.fromisoformat(row["due_at"])) for row in json.loads(text))


def retries_to_text(retries: Mapping[str, TimerRetry]) -> str | None:
    """Earlier tries of timers as JSON text, by event; None when there were none."""
    if not retries:
        return None
    return compact_json(
        {
            event: {
                "next_at": None if retry.next_at is None else retry.next_at.isoformat(),
                "rejected": retry.rejected,
                "failed": retry.failed,
                "blockers": retry.blockers,
                "error": retry.error,
                "parked_at": None if retry.parked_at is None else retry.parked_at.isoformat(),
            }
            for event, retry in retries.items()
        }
    )


def retries_from_text(text: str | None) -> Mapping[str, TimerRetry]:
    """The reverse of `retries_to_text`."""
    if text is None:
        return EMPTY
    return {
        event: TimerRetry(
            next_at=None if row["next_at"] is None else datetime.fromisoformat(row["next_at"]),
            rejected=row["rejected"],
            failed=row["failed"],
            blockers=row["blockers"],
            error=row["error"],
            parked_at=None if row["parked_at"] is None else datetime.fromisoformat(row["parked_at"]),
        )
        for event, row in json.loads(text).items()
    }


def _continuation_to_text(continuation: Continuation | None, codec: Codec) -> str | None:
    if continuation is None:
        return None
    return compact_json(
        {
            "event": continuation.event,
            "payload": codec.to_plain(continuation.payload, path="payload"),
            "transition_id": str(continuation.transition_id),
            "path": continuation.path,
        }
    )


def _continuation_from_text(text: str, codec: Codec) -> Continuation:
    row = json.loads(text)
    return Continuation(
        row["event"], codec.from_plain(row["payload"]), UUID(row["transition_id"]), row["path"]
    )


def _result_to_plain(result: CommandResult, codec: Codec) -> Record:
    plain: Record = {"name": result.name, "status": result.status}
    if result.data is not None:
        plain["data"] = codec.to_plain(result.data, path=f"result of {result.name}")
    if result.code is not None:
        plain["code"] = result.code
    if result.message is not None:
        plain["message"] = result.message
    return plain


def _result_from_plain(row: Record, codec: Codec) -> CommandResult:
    return CommandResult(
        row["name"], row["status"], codec.from_plain(row.get("data")), row.get("code"), row.get("message")
    )


def _blocker_to_plain(blocker: Blocker, codec: Codec) -> Record:
    plain: Record = {"code": blocker.code, "guard": blocker.guard, "candidate": blocker.candidate}
    if blocker.message:
        plain["message"] = blocker.message
    if blocker.parameters:
        plain["parameters"] = codec.to_plain(blocker.parameters, path=f"parameters of blocker {blocker.code}")
    return plain


def _blocker_from_plain(row: Record, codec: Codec) -> Blocker:
    parameters = row.get("parameters")
    return Blocker(
        row["code"],
        row.get("message", ""),
        EMPTY if parameters is None else codec.from_plain(parameters),  # type: ignore[arg-type]  # written as an object
        row["guard"],
        row["candidate"],
    )


def _change_to_text(change: Change, codec: Codec) -> str:
    parts = []
    if change.set:
        parts.append('"set":' + codec.encode(change.set, path="context"))
    if change.unset:
        parts.append('"unset":' + compact_json(change.unset))
    return "{" + ",".join(parts) + "}"


def _change_from_text(text: str, codec: Codec) -> Change:
    row = json.loads(text)
    return Change(codec.from_plain(row.get("set", {})), tuple(row.get("unset", ())))  # type: ignore[arg-type]
