"""What does a line of an export stand for, and does it hold together?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import get_args

import attrs

from duraflow.codec import Codec
from duraflow.definition.values import OUTCOMES
from duraflow.errors import InvalidArgument
from duraflow.instance import EntryKind, EntryStatus, HistoryEntry, Instance
from duraflow.integrity import Versions, history_breaches, row_breaches
from duraflow.ports.retention import Whole
from duraflow.records import (
    entry_from_record,
    instance_from_record,
    message_from_record,
    receipt_from_record,
    retries_from_text,
)
from duraflow.writes import Emitted, Receipt, SetDue, TimerRetry, Writes


@attrs.frozen
class Read:
    """An instance as its line says, checked.

    Attributes:
        receipts: those beyond the one that goes with the write.
    """

    line: int
    writes: Writes
    receipts: tuple[Receipt, ...]

    @property
    def instance(self) -> Instance:
        return self.writes.after


def read_whole(line: int, whole: Whole, versions: Versions, codec: Codec, *, delivered: bool) -> Read:
    """The values of a line.

    Args:
        versions: the definitions that are known of those that ever governed it.
        delivered: with the messages that every handler has had where they come from.

    Raises:
        InvalidArgument: they do not belong together.
    """
    try:
        instance = instance_from_record(whole.instance, codec)
        entries = tuple(entry_from_record(entry, codec) for entry in whole.entries)
        receipts = tuple(receipt_from_record(receipt, codec) for receipt in whole.receipts)
        messages = tuple(
            message_from_record(message, codec)
            for message in whole.messages
            if delivered or not message["delivered"]
        )
        retries = retries_from_text(whole.retries)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _refused(f"a part of it is not what is kept there: {type(error).__name__}: {error}") from error
    _check_history(instance, entries, versions)
    _check_receipts(instance, receipts)
    _check_messages(instance, messages)
    strange = set(retries) - {timer.event for timer in instance.timers}
    if strange:
        raise _refused(f"it has tries of timers it does not have: {', '.join(sorted(strange))}")
    moments = [timer.due_at for timer in instance.timers] + [retry.next_at for retry in retries.values()]
    if any(at is not None and at.tzinfo is None for at in moments):
        raise _refused("a timer of it is due at a time without a time zone")
    first = receipts[0] if receipts else None
    writes = Writes(None, instance, entries, _due(instance, retries), first, messages)
    return Read(line, writes, receipts[1:])


def _check_history(instance: Instance, entries: Sequence[HistoryEntry], versions: Versions) -> None:
    for entry in entries:
        if entry.kind not in get_args(EntryKind) or entry.status not in get_args(EntryStatus):
            raise _refused(f"entry {entry.seq} is of an unknown kind: {entry.kind!r}, {entry.status!r}")
    if instance.outcome not in (None, *OUTCOMES):
        raise _refused(f"{instance.outcome!r} is no outcome")
    if instance.ref == "":
        raise _refused("its ref is empty")
    for breach in (*history_breaches(instance, entries, versions), *row_breaches(instance, versions)):
        # In a state that its definition lacks, an operator has put it.
        if breach.code != "unknown_state":
            raise _refused(f"instance {instance.id}: {breach.what}")


def _check_receipts(instance: Instance, receipts: Sequence[Receipt]) -> None:
    for receipt in receipts:
        if not 1 <= receipt.first_seq <= receipt.last_seq <= instance.version:
            raise _refused(
                f"the receipt {receipt.key!r} is of entries that instance {instance.id} does not have"
            )
        if not 1 <= len(receipt.key.encode()) <= 256:
            raise _refused(f"{receipt.key!r} cannot be the key of a receipt")
        if receipt.workflow not in (None, instance.workflow) or (receipt.workflow and receipt.first_seq != 1):
            raise _refused(f"the receipt {receipt.key!r} is of another creation")
    if _repeated([(receipt.workflow, receipt.key) for receipt in receipts]):
        raise _refused("it has two receipts for one key")


def _check_messages(instance: Instance, messages: Sequence[Emitted]) -> None:
    places = [(message.seq, message.ordinal) for message in messages]
    if _repeated(places) or any(not 1 <= seq <= instance.version for seq, _ in places):
        raise _refused(f"its messages are not those of instance {instance.id}")
    if any(not message.topic or not 0 <= message.ordinal < 2**31 for message in messages):
        raise _refused("one of its messages cannot be kept: it needs a topic, and a small ordinal")


def _repeated(items: Collection[object]) -> bool:
    return len(set(items)) != len(items)


def _due(instance: Instance, retries: Mapping[str, TimerRetry]) -> SetDue | None:
    """The due row that it had."""
    if instance.timers:
        times = [retries[t.event].next_at if t.event in retries else t.due_at for t in instance.timers]
        return SetDue(min((at for at in times if at is not None), default=None), retries)
    return None if instance.continuation is None else SetDue(instance.updated_at)


def _refused(reason: str) -> InvalidArgument:
    return InvalidArgument("line", reason)
