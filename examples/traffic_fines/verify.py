"""Is what the replay left behind what it says, down to the last row?"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs

from duraflow import DuraflowError, Folded, HistoryEntry, Instance, Runtime, fold
from duraflow.replay import ReplayReport
from examples.traffic_fines.stores import Store
from examples.traffic_fines.workflow import FINE

_PAGE = 1_000


@attrs.frozen
class Check:
    """One thing that must hold: what, in how many places it was looked at, and where it does not."""

    what: str
    looked_at: int
    wrong: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return not self.wrong


def instances(runtime: Runtime) -> Iterator[Instance]:
    """All fines, oldest first."""
    cursor = None
    while True:
        page = runtime.list(FINE, oldest_first=True, limit=_PAGE, cursor=cursor)
        yield from page.instances
        cursor = page.cursor
        if cursor is None:
            return


def whole_history(runtime: Runtime, instance: Instance) -> list[HistoryEntry]:
    """All entries of a fine, oldest first."""
    entries: list[HistoryEntry] = []
    while page := runtime.history(instance, after=len(entries), limit=_PAGE):
        entries += page
    return entries


def verify(store: Store, report: ReplayReport, lines: int) -> tuple[Check, ...]:
    """Every check of the demo.

    Args:
        lines: how many events were read from the log.
    """
    fines = list(instances(store.runtime))
    histories = {fine.id: whole_history(store.runtime, fine) for fine in fines}
    letters, payments = store.rows()
    entries = [entry for history in histories.values() for entry in history]
    return (
        _totals(report, lines),
        _counts(store.runtime, report, fines, entries),
        _folds(fines, histories),
        _effects(
            "every letter belongs to a recorded move, and every such move has its letter",
            {(letter.fine, letter.transition, letter.kind) for letter in letters},
            {
                (entry.instance_id, entry.transition_id, result.data["kind"])
                for entry, result in _done(entries, "file_letter")
            },
            len(letters),
        ),
        _effects(
            "every payment belongs to a recorded move, and every such move has its payment",
            {(payment.fine, payment.transition) for payment in payments},
            {(entry.instance_id, entry.transition_id) for entry, _ in _done(entries, "note_payment")},
            len(payments),
        ),
        _money(fines, {fine.id: [p.amount for p in payments if p.fine == fine.id] for fine in fines}),
    )


def _totals(report: ReplayReport, lines: int) -> Check:
    total = sum(report.totals.values())
    wrong = () if total == lines == report.events else (f"{total} outcomes of {lines} events",)
    return Check("the totals add up to the events of the log", lines, wrong)


def _counts(
    runtime: Runtime, report: ReplayReport, fines: list[Instance], entries: list[HistoryEntry]
) -> Check:
    wrong = []
    if len(entries) != report.moves:
        wrong.append(f"{len(entries)} history entries, and the replay counted {report.moves}")
    counted = sum(row.count for row in runtime.count(FINE))
    if counted != len(fines):
        wrong.append(f"{counted} fines by state, and {len(fines)} in the list")
    fired = sum(entry.kind == "moved" and entry.trigger.get("by") == "timer" for entry in entries)
    if not fired == len(report.timers) == report.sweeps.fired + report.sweeps.failures:
        wrong.append(f"{fired} timers in the history, and the replay saw {len(report.timers)}")
    return Check(
        "the store has the fines, moves and timers that the replay counted", len(entries), tuple(wrong)
    )


def _folds(fines: list[Instance], histories: dict[UUID, list[HistoryEntry]]) -> Check:
    wrong = []
    for fine in fines:
        try:
            if fold(histories[fine.id]) != Folded.of(fine):
                wrong.append(f"{fine.ref}: its history gives another row")
        except DuraflowError as error:
            wrong.append(f"{fine.ref}: {error}")
    return Check(
        "invariant 1: history is gap-free, and folding it gives exactly the row", len(fines), tuple(wrong)
    )


def _done(entries: list[HistoryEntry], command: str) -> Iterator[tuple[HistoryEntry, Any]]:
    for entry in entries:
        for result in entry.commands:
            if result.name == command and result.status == "success":
                yield entry, result


def _effects(what: str, rows: set[tuple[object, ...]], moves: set[tuple[object, ...]], count: int) -> Check:
    wrong = [f"no move for the row {row}" for row in rows - moves]
    wrong += [f"no row for the move {move}" for move in moves - rows]
    if count != len(moves):
        wrong.append(f"{count} rows for {len(moves)} moves")
    return Check(what, count, tuple(wrong))


def _money(fines: list[Instance], payments: dict[UUID, list[Decimal]]) -> Check:
    wrong = [
        f"{fine.ref}: paid {fine.context['paid']}, and the payments are {sum(payments[fine.id], Decimal(0))}"
        for fine in fines
        if fine.context["paid"] != sum(payments[fine.id], Decimal(0))
    ]
    return Check("what each fine says was paid is the sum of its payments", len(fines), tuple(wrong))
