"""Is everything that memory keeps as it should be? One walk over the rows of a namespace."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from time import monotonic
from uuid import UUID

import attrs

from duraflow.diagnosis import AILMENTS, Checkup, Diagnosis, DoctorReport
from duraflow.instance import HistoryEntry, Instance
from duraflow.integrity import (
    UNREADABLE,
    Breach,
    Versions,
    first_of_each,
    history_breaches,
    row_breaches,
    unreadable,
)
from duraflow.memory.access import Access
from duraflow.memory.tables import DueRow, View
from duraflow.ports import Examination
from duraflow.records import Record, entry_from_record, instance_from_record, retries_from_text

OVERDUE = timedelta(minutes=5)
"""How late due work must be to be called overdue."""


@attrs.frozen(eq=False)
class InMemoryInspector:
    """`Inspector` in memory. It looks at everything, whatever the sample: what is in memory is small."""

    _access: Access

    async def examine(self, examination: Examination, /) -> DoctorReport:
        namespace = self._access.namespace
        with self._access.view(None) as view:
            rows = [*view.created(namespace, after=None, newest_first=False)]
            walk = _Walk(view, self._access, examination, rows)
            count = f"{len(rows):,} instances"
            checks = (
                walk.check("reading", walk.reading, f"{count} with their whole histories"),
                walk.check("instances", walk.states, count),
                walk.check("histories", walk.histories, f"{count} with their whole histories"),
                walk.check("due", walk.due, f"{count} and their due rows"),
                walk.check("receipts", walk.receipts, "the receipts of all instances"),
                walk.check("messages", walk.messages, "the messages of all instances"),
                walk.check("handlers", walk.handlers, "every handler and what is held back"),
            )
        return DoctorReport("in memory", namespace, checks)


@attrs.define(eq=False)
class _Walk:
    """One examination.

    Attributes:
        subjects: the instances whose rows could be read, with their histories.
    """

    view: View
    access: Access
    examination: Examination
    rows: list[Record]
    subjects: list[tuple[Instance, list[HistoryEntry]]] = attrs.field(factory=list)

    def check(self, name: str, look: Callable[[], Iterator[Diagnosis]], scanned: str) -> Checkup:
        began = monotonic()
        findings = tuple(look())
        return Checkup(name, "exact", scanned, timedelta(seconds=monotonic() - began), findings)

    def found(self, code: str, rows: Iterable[object]) -> Iterator[Diagnosis]:
        """A finding, if there are any rows."""
        every = list(rows)
        if every:
            yield AILMENTS[code].found(every, shown=self.examination.shown)

    def breaches(self, found: Iterable[tuple[UUID, Breach]]) -> Iterator[Diagnosis]:
        """A finding for each kind of breach."""
        by_code: dict[str, list[str]] = {}
        for instance_id, breach in found:
            by_code.setdefault(breach.code, []).append(f"{instance_id}: {breach.what}")
        for code, rows in by_code.items():
            yield from self.found(code, rows)

    # --- instances and their histories --------------------------------------------------------------------------

    def reading(self) -> Iterator[Diagnosis]:
        codec = self.access.codec
        broken = []
        for row in self.rows:
            try:
                instance = instance_from_record(row, codec)
                entries = [
                    entry_from_record(entry, codec)
                    for entry in self.view.entries(row["id"], after=0, newest_first=False)
                ]
            except UNREADABLE as error:
                broken.append((row["id"], unreadable(error)))
            else:
                self.subjects.append((instance, entries))
        yield from self.breaches(broken)

    def states(self) -> Iterator[Diagnosis]:
        versions, not_loading = self._versions()
        yield from self.found("version_unreadable", not_loading)
        pinned = Counter(
            (row["workflow"], row["definition_version"]) for row in self.rows if row["outcome"] is None
        )
        for code, rows in self.examination.not_given(pinned, versions):
            yield from self.found(code, rows)
        yield from self.breaches(
            (instance.id, breach)
            for instance, _ in self.subjects
            for breach in row_breaches(instance, versions)
            if breach.code != "nothing_wakes_it" or not self._wakes(instance.id)
        )
        leased = [row["id"] for row in self.rows if row["lease_token"] is not None]
        yield from self.found("lease_without_work", [one for one in leased if self._due(one) is None])

    def _wakes(self, instance_id: UUID) -> bool:
        """Whether due work or an open child will wake it."""
        children = self.view.children(instance_id)
        return self._due(instance_id) is not None or any(child["outcome"] is None for child in children)

    def _due(self, instance_id: UUID) -> DueRow | None:
        return self.view.due(self.access.namespace, instance_id)

    def _versions(self) -> tuple[Versions, tuple[str, ...]]:
        """The definitions that the runtime has and those that are stored, and what does not load."""
        return self.examination.with_stored(
            (name, version, stored[1])
            for (namespace, name, version), stored in self.view.tables.definitions.items()
            if namespace == self.access.namespace
        )

    def histories(self) -> Iterator[Diagnosis]:
        versions, _ = self._versions()
        yield from self.breaches(
            (instance.id, breach)
            for instance, entries in self.subjects
            for breach in first_of_each(history_breaches(instance, entries, versions))
        )

    # --- due work -----------------------------------------------------------------------------------------------

    def due(self) -> Iterator[Diagnosis]:
        overdue_at = self.access.now(self.examination.clock) - OVERDUE
        without, idle, late, overdue, parked = [], [], [], [], []
        for instance, _ in self.subjects:
            due = self._due(instance.id)
            waits = instance.timers or instance.continuation is not None
            if due is None:
                without += [instance.id] if waits else []
                continue
            if not (waits or instance.waiting_events):
                idle.append(instance.id)
            elif _too_late(instance, due):
                late.append(instance.id)
            if due.parked_at is not None:
                parked.append((due.parked_at, f"{instance.id}: since {due.parked_at}"))
            if due.due_at is not None and due.due_at < overdue_at:
                overdue.append((due.due_at, f"{instance.id}: due {due.due_at}"))
        yield from self.found("timer_without_due", without)
        yield from self.found("due_without_work", idle)
        yield from self.found("due_too_late", late)
        yield from self.found("overdue", [told for _, told in sorted(overdue)])
        yield from self.found("timer_parked", [told for _, told in sorted(parked)])

    # --- receipts and messages ----------------------------------------------------------------------------------

    def receipts(self) -> Iterator[Diagnosis]:
        yield from self.found(
            "receipt_without_history",
            [
                f"{row['id']}: key {receipt['key']!r}, entries {receipt['first_seq']} to {receipt['last_seq']}"
                for row in self.rows
                for receipt in self.view.receipts(row["id"])
                if not self._has(row["id"], receipt["first_seq"], receipt["last_seq"])
            ],
        )

    def messages(self) -> Iterator[Diagnosis]:
        yield from self.found(
            "message_without_history",
            [
                f"{row['id']}: message {message['id']} of entry {message['seq']}"
                for row in self.rows
                for message in self.view.messages(row["id"])
                if not self._has(row["id"], message["seq"])
            ],
        )

    def handlers(self) -> Iterator[Diagnosis]:
        """How far each handler of messages has come, and what it could not take."""
        namespace, tables = self.access.namespace, self.view.tables
        late = self.access.now(self.examination.clock) - OVERDUE
        parked, lagging = [], []
        for (of, handler), table in sorted(tables.held.items()):
            for instance_id, held in table.items() if of == namespace else ():
                if held.parked_at is not None:
                    told = f"{handler}: instance {instance_id}, entry {held.seq}, message {held.ordinal}"
                    parked.append((held.parked_at, f"{told}, since {held.parked_at}: {held.error}"))
                elif held.next_at is not None and held.next_at < late:
                    lagging.append(
                        f"{handler}: instance {instance_id} was to be tried again at {held.next_at}"
                    )
        order = tables.posted.get(namespace, [])
        for (of, handler), row in sorted(tables.handlers.items(), key=lambda item: item[0]):
            waiting = order[bisect_right(order, row.reached) :]
            if of != namespace or not waiting:
                continue
            _, instance_id, seq, _ = waiting[0]
            at = next(
                (entry["at"] for entry in self.view.entries(instance_id, after=seq - 1, newest_first=False)),
                late,
            )
            if at < late:
                lagging.append(f"{handler}: {len(waiting):,} waiting, the first of {at}")
        yield from self.found("message_parked", [told for _, told in sorted(parked)])
        yield from self.found("handler_lags", lagging)

    def _has(self, instance_id: UUID, *seqs: int) -> bool:
        there = {entry["seq"] for entry in self.view.entries(instance_id, after=0, newest_first=False)}
        return there.issuperset(seqs)


def _too_late(instance: Instance, due: DueRow) -> bool:
    """Whether a timer that was not tried yet would be found only after its time."""
    first = instance.due_at
    return (
        first is not None
        and due.due_at is not None
        and instance.continuation is None
        and not retries_from_text(due.retries)
        and due.due_at > first
    )
