"""Is everything that memory keeps as it should be? One walk over the rows of a namespace."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.diagnosis import AILMENTS, Checkup, Diagnosis, DoctorReport
from duraflow.errors import InvalidArgument
from duraflow.integrity import Versions, first_of_each, history_breaches, row_breaches
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
        with self._access.view(None) as view:
            walk = _Walk(
                view,
                self._access,
                examination,
                [*view.created(self._access.namespace, after=None, newest_first=False)],
            )
            checks = (
                walk.check("instances", walk.instances, f"{len(walk.rows):,} instances"),
                walk.check(
                    "histories", walk.histories, f"{len(walk.rows):,} instances with their whole histories"
                ),
                walk.check("timers", walk.timers, f"{len(walk.rows):,} instances and their due rows"),
                walk.check("receipts", walk.receipts, "the receipts of all instances"),
                walk.check("messages", walk.messages, "the messages of all instances"),
            )
        return DoctorReport("in memory", self._access.namespace, checks)


@attrs.define(eq=False)
class _Walk:
    """One examination."""

    view: View
    access: Access
    examination: Examination
    rows: list[Record]

    def check(self, name: str, look: Any, scanned: str) -> Checkup:
        began = monotonic()
        findings = tuple(look())
        return Checkup(name, "exact", scanned, timedelta(seconds=monotonic() - began), findings)

    def found(self, code: str, rows: Iterable[object]) -> Iterator[Diagnosis]:
        """A finding, if there are any rows."""
        every = list(rows)
        if every:
            yield AILMENTS[code].found(every, shown=self.examination.shown)

    # --- instances ----------------------------------------------------------------------------------------------

    def instances(self) -> Iterator[Diagnosis]:
        versions, unreadable = self._versions()
        yield from self.found("version_unreadable", unreadable.values())
        yield from self._unknown_versions(versions)
        by_code: dict[str, list[str]] = {}
        for row in self.rows:
            instance = instance_from_record(row, self.access.codec)
            for breach in row_breaches(instance, versions):
                if breach.code == "nothing_wakes_it" and self._wakes(row):
                    continue
                by_code.setdefault(breach.code, []).append(f"{instance.id}: {breach.what}")
        for code, rows in by_code.items():
            yield from self.found(code, rows)
        leased = [row["id"] for row in self.rows if row["lease_token"] is not None]
        yield from self.found(
            "lease_without_work",
            [one for one in leased if self.view.due(self.access.namespace, one) is None],
        )

    def _wakes(self, row: Record) -> bool:
        """Whether due work or an open child will wake it."""
        return self.view.due(self.access.namespace, row["id"]) is not None or any(
            child["outcome"] is None for child in self.view.children(row["id"])
        )

    def _versions(self) -> tuple[Versions, Mapping[tuple[str, int], str]]:
        """The definitions that the runtime has and those that are stored, and what does not load."""
        found: dict[tuple[str, int], Workflow] = dict(self.examination.versions)
        unreadable = {}
        for (namespace, name, version), (_, snapshot, _) in self.view.tables.definitions.items():
            if namespace != self.access.namespace or (name, version) in found:
                continue
            try:
                found[name, version] = Workflow.from_json(json.loads(snapshot))
            except InvalidArgument as error:
                unreadable[name, version] = f"{name} version {version}: {error.reason}"
        return found, unreadable

    def _unknown_versions(self, versions: Versions) -> Iterator[Diagnosis]:
        pinned: dict[tuple[str, int], int] = {}
        for row in self.rows:
            key = (row["workflow"], row["definition_version"])
            if row["outcome"] is None and key not in self.examination.versions:
                pinned[key] = pinned.get(key, 0) + 1
        able, unable = [], []
        for (name, version), count in sorted(pinned.items()):
            workflow = versions.get((name, version))
            missing = self.examination.unable(workflow) if workflow is not None else ""
            told = f"{name} version {version}: {count} open instances"
            if missing:
                unable.append(f"{told}; {missing}")
            else:
                able.append(told)
        yield from self.found("version_without_code", able)
        yield from self.found("version_without_handlers", unable)

    # --- histories ----------------------------------------------------------------------------------------------

    def histories(self) -> Iterator[Diagnosis]:
        versions, _ = self._versions()
        by_code: dict[str, list[str]] = {}
        for row in self.rows:
            instance = instance_from_record(row, self.access.codec)
            entries = [
                entry_from_record(entry, self.access.codec)
                for entry in self.view.entries(instance.id, after=0, newest_first=False)
            ]
            for breach in first_of_each(history_breaches(instance, entries, versions)):
                by_code.setdefault(breach.code, []).append(f"{instance.id}: {breach.what}")
        for code, rows in by_code.items():
            yield from self.found(code, rows)

    # --- due work -----------------------------------------------------------------------------------------------

    def timers(self) -> Iterator[Diagnosis]:
        now = self.access.now(self.examination.clock)
        without, idle, late, overdue, parked = [], [], [], [], []
        for row in self.rows:
            due = self.view.due(self.access.namespace, row["id"])
            waits = row["timers"] is not None or row["continuation"] is not None
            if due is None:
                without += [row["id"]] if waits else []
                continue
            if not waits:
                idle.append(row["id"])
            elif _too_late(row, due, self.access):
                late.append(row["id"])
            if due.parked_at is not None:
                parked.append((due.parked_at, f"{row['id']} in {row['state']!r}, since {due.parked_at}"))
            elif due.due_at is not None and due.due_at < now - OVERDUE:
                overdue.append((due.due_at, f"{row['id']}, due {due.due_at}"))
        yield from self.found("timer_without_due", without)
        yield from self.found("due_without_work", idle)
        yield from self.found("due_too_late", late)
        yield from self.found("overdue", [text for _, text in sorted(overdue)])
        yield from self.found("timer_parked", [text for _, text in sorted(parked)])

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

    def _has(self, instance_id: UUID, *seqs: int) -> bool:
        there = {entry["seq"] for entry in self.view.entries(instance_id, after=0, newest_first=False)}
        return there.issuperset(seqs)


def _too_late(row: Record, due: DueRow, access: Access) -> bool:
    """Whether a timer that was not tried yet would be found only after its time."""
    first: datetime | None = instance_from_record(row, access.codec).due_at
    return (
        first is not None
        and due.due_at is not None
        and not retries_from_text(due.retries)
        and due.due_at > first
    )
