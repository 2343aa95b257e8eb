"""What can be wrong with what is stored, why does it matter, and what is to be done about it?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Any, Final, Literal

import attrs

DiagnosisSeverity = Literal["error", "warning", "info"]
How = Literal["exact", "sample", "partly", "not run"]

_ORDER: Final = ("error", "warning", "info")


@attrs.frozen
class Ailment:
    """A kind of thing that can be wrong.

    Attributes:
        code: a stable name for programs.
        severity: `error`: something is broken, or work stands still; `warning`: it will, if nobody looks;
            `info`: worth knowing.
        what: what is found, in the plural.
        why: why it matters.
        remedy: what to do.
    """

    code: str
    severity: DiagnosisSeverity
    what: str
    why: str
    remedy: str

    def found(
        self, rows: Iterable[object], *, total: int | None = None, shown: int | None = None, what: str = ""
    ) -> Diagnosis:
        """It was found.

        Args:
            rows: which rows, with what is wrong there.
            total: how many there are, if `rows` are not all of them.
            shown: how many of them to name.
            what: what exactly, where "… : 3" does not say it.
        """
        texts = tuple(map(str, rows))
        count = len(texts) if total is None else total
        return Diagnosis(
            self.code,
            self.severity,
            what or f"{self.what}: {count:,}",
            self.why,
            self.remedy,
            texts[:shown],
            count,
        )


@attrs.frozen
class Diagnosis:
    """One thing that a doctor has found.

    Attributes:
        code: a stable name for programs, such as `history_gap`; docs/doctor.md has them all.
        what: what is so.
        why: why it matters.
        remedy: what to do.
        rows: the first of those concerned: ids of instances, names of tables or sessions, with what is wrong there.
        total: how many there are in what was looked at; the check says whether that was all or a sample.
    """

    code: str
    severity: DiagnosisSeverity
    what: str
    why: str
    remedy: str
    rows: tuple[str, ...] = ()
    total: int = 0

    def __str__(self) -> str:
        return f"{self.severity}: {self.what} [{self.code}]"


@attrs.frozen
class Checkup:
    """One check that a doctor has made, or could not make.

    Attributes:
        name: a stable name for programs.
        how: `exact`: all there is; `sample`; `partly`: a part of it could not be seen (see `problem`); `not run`.
        scanned: what was looked at, and how much of it.
        took: how long it took.
        findings: what it found.
        problem: why it could not run, or what it could not see.
    """

    name: str
    how: How
    scanned: str
    took: timedelta
    findings: tuple[Diagnosis, ...] = ()
    problem: str = ""


@attrs.frozen
class DoctorReport:
    """What an examination has found.

    Attributes:
        store: what was examined, such as `PostgreSQL 18.1`.
        namespace: the part of it whose instances were examined; tables and server are everyone's.
        checks: every check, in order, those included that found nothing or could not run.
    """

    store: str
    namespace: str
    checks: tuple[Checkup, ...]

    @property
    def findings(self) -> tuple[Diagnosis, ...]:
        """All that was found, errors first."""
        found = [diagnosis for checkup in self.checks for diagnosis in checkup.findings]
        return tuple(sorted(found, key=lambda diagnosis: _ORDER.index(diagnosis.severity)))

    @property
    def errors(self) -> tuple[Diagnosis, ...]:
        """What was found and is an error."""
        return tuple(diagnosis for diagnosis in self.findings if diagnosis.severity == "error")

    @property
    def not_run(self) -> tuple[Checkup, ...]:
        """The checks that could not run, or saw only a part."""
        return tuple(checkup for checkup in self.checks if checkup.how in ("not run", "partly"))

    @property
    def ok(self) -> bool:
        """Whether there is no error. What could not run is in `not_run`; it is no proof of anything."""
        return not self.errors

    @property
    def took(self) -> timedelta:
        """How long all checks took."""
        return sum((checkup.took for checkup in self.checks), timedelta())

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON values; durations in seconds."""
        return {
            "store": self.store,
            "namespace": self.namespace,
            "ok": self.ok,
            "took_s": round(self.took.total_seconds(), 3),
            "findings": [
                {**attrs.asdict(diagnosis), "rows": list(diagnosis.rows)} for diagnosis in self.findings
            ],
            "checks": [
                {
                    "name": checkup.name,
                    "how": checkup.how,
                    "scanned": checkup.scanned,
                    "took_s": round(checkup.took.total_seconds(), 3),
                    "findings": [diagnosis.code for diagnosis in checkup.findings],
                    "problem": checkup.problem,
                }
                for checkup in self.checks
            ],
        }

    def to_text(self) -> str:
        """For people: what was found with what to do, then what was looked at."""
        return "\n".join(self._lines())

    def __str__(self) -> str:
        return self.to_text()

    def _lines(self) -> Iterator[str]:
        yield f"{self.store}, namespace {self.namespace!r}: {self._verdict()}"
        for diagnosis in self.findings:
            yield ""
            yield str(diagnosis)
            for row in diagnosis.rows:
                yield f"    {row}"
            if diagnosis.total > len(diagnosis.rows):
                yield f"    … and {diagnosis.total - len(diagnosis.rows):,} more"
            yield f"  why: {diagnosis.why}"
            yield f"  do:  {diagnosis.remedy}"
        yield ""
        yield f"{len(self.checks)} checks in {self.took.total_seconds():.2f} s"
        for checkup in self.checks:
            codes = ", ".join(dict.fromkeys(diagnosis.code for diagnosis in checkup.findings))
            told = f"{checkup.how}: {checkup.scanned}" if checkup.scanned else checkup.how
            yield (
                f"  {checkup.name:<14} {checkup.took.total_seconds():6.2f} s  {told}"
                + (f" ({checkup.problem})" if checkup.problem else "")
                + (f" -> {codes}" if codes else "")
            )

    def _verdict(self) -> str:
        counts = {
            severity: sum(diagnosis.severity == severity for diagnosis in self.findings)
            for severity in _ORDER
        }
        parts = [
            f"{count} {name if count == 1 or name == 'info' else f'{name}s'}"
            for name, count in counts.items()
            if count
        ]
        blind = [checkup.name for checkup in self.checks if checkup.how == "not run"]
        parts += [f"could not check {', '.join(blind)}"] if blind else []
        return ", ".join(parts) or "nothing found"


# --- what every store can suffer from ---------------------------------------------------------------------------


def _table(*ailments: Ailment) -> Mapping[str, Ailment]:
    return MappingProxyType({ailment.code: ailment for ailment in ailments})


AILMENTS: Final = _table(
    Ailment(
        "history_gap",
        "error",
        "instances whose history has a gap",
        "history is the record that everything else is checked against, and a later move may be refused",
        "find out who deleted or changed rows by hand; restore them from a backup, or take the instance out",
    ),
    Ailment(
        "row_unlike_history",
        "error",
        "instances that are not what their history says",
        "the row was changed past the runtime, or a write was lost: what is decided on it is not what happened",
        "compare `state_at` with the row, and write back into the row what history says; if it should be elsewhere, "
        "then `force` it there",
    ),
    Ailment(
        "unknown_move",
        "error",
        "instances with moves that the recorded version does not have",
        "the definition that is registered for that version is not the one that made the move",
        "look for a version whose content was changed without a new number, or for entries written by hand",
    ),
    Ailment(
        "unreadable_values",
        "error",
        "instances with stored values that cannot be read",
        "whatever is asked of them fails",
        "give the runtime's codec the types that it had when they were written; else see who edited rows by hand",
    ),
    Ailment(
        "changed_after_end",
        "error",
        "final instances that have changed after they were finished",
        "a final instance never changes, unless an operator says so with `force`, and then history says it",
        "look into the entries after its end; nothing of Duraflow writes them",
    ),
    Ailment(
        "finished_with_work",
        "error",
        "finished instances that have something left to do",
        "a finished instance has nothing left to do; a sweep or a worker may still find it",
        "clear its timers and continuation, and find out who wrote the row by hand",
    ),
    Ailment(
        "nothing_wakes_it",
        "error",
        "open instances that nothing will wake",
        "no event leads out, no timer runs, nothing is due and nobody works on it: it stays there for ever",
        "give the state a way out in a new version and upgrade, or move the instances with `force` or `cancel`",
    ),
    Ailment(
        "unknown_state",
        "error",
        "open instances in a state that their version does not have",
        "its own version of the workflow does not have this state, so that it accepts no event",
        "find out who edited rows by hand, and mend these first (see `row_unlike_history`), or who changed the "
        "version's content; then move them with `force`",
    ),
    Ailment(
        "unknown_timer",
        "warning",
        "instances waiting for a timer that their version does not have",
        "its own version of the workflow does not have this timer there; when it is due it is cleared, not fired",
        "enter the state again with `force`, which arms the timers that it does have",
    ),
    Ailment(
        "version_unusable",
        "error",
        "versions with open instances that need functions which are not registered",
        "whatever moves these instances fails",
        "register those functions, give the runtime that version in code, or upgrade its instances",
    ),
    Ailment(
        "workflow_not_given",
        "warning",
        "versions with open instances of workflows that this runtime was given no version of",
        "this runtime cannot move them; another application may",
        "if they are this application's, give the runtime the workflow; else ask the doctor of the other one, too",
    ),
    Ailment(
        "version_from_store",
        "info",
        "versions with open instances that are not in code",
        "their stored snapshots govern them, so that the functions they name must stay registered",
        "nothing; upgrade the instances to be rid of the version",
    ),
    Ailment(
        "version_unreadable",
        "error",
        "versions whose stored snapshot does not load",
        "nothing can govern their instances, unless the version is given in code",
        "restore the row of workflow_definitions from a backup, or give the runtime that version in code",
    ),
    Ailment(
        "timer_without_due",
        "error",
        "instances with a timer or continuation, but without a due row",
        "sweeps and workers find instances by their due row; without one the timer never fires",
        "`rearm` each of them, which writes the row anew",
    ),
    Ailment(
        "due_without_work",
        "warning",
        "due rows with nothing to do",
        "a due row whose instance has neither timer nor continuation is found by every sweep, for nothing",
        "delete these rows of workflow_due",
    ),
    Ailment(
        "due_too_late",
        "warning",
        "due rows that are later than their timer",
        "the due row says a later time than the timer, and the row is what sweeps go by",
        "`rearm` each of them, which writes the row anew",
    ),
    Ailment(
        "overdue",
        "warning",
        "instances whose due work is late",
        "what is due is not done: no sweep and no worker runs, or they cannot keep up",
        "run `fire_due_timers` (or a worker) more often or in more processes; look at its log",
    ),
    Ailment(
        "timer_parked",
        "warning",
        "instances with parked timers",
        "these timers failed too often and are not tried again by themselves",
        "see `parked()` for the errors, mend the cause, then `rearm` each of them",
    ),
    Ailment(
        "lease_expired",
        "warning",
        "instances whose lease has run out",
        "whoever worked on it is gone, and no worker has taken it over",
        "see that workers run; any one of them rescues it",
    ),
    Ailment(
        "lease_without_work",
        "error",
        "instances held by a lease that no due row has",
        "the row says that a worker holds it, and no due row has that lease: every event finds it busy, for ever",
        "set lease_token of these rows to NULL when no worker runs, and find out who wrote them by hand",
    ),
    Ailment(
        "receipt_without_history",
        "error",
        "receipts that point at history which is not there",
        "a repeated request with that key cannot be answered: the entries it points at are not there",
        "delete these receipts (the key is then free again), and see `history_gap`",
    ),
    Ailment(
        "message_without_history",
        "error",
        "messages that belong to no history entry",
        "a message tells of a move that history does not have",
        "see `history_gap`; skip the message with `skip_message` if its move never happened",
    ),
    Ailment(
        "message_parked",
        "warning",
        "parked messages",
        "the handler could not take the message, and later ones of the same instance wait behind it",
        "see `parked_messages()` for the errors, mend the cause, then `retry_message`; or give the message up with "
        "`skip_message`",
    ),
    Ailment(
        "handler_lags",
        "warning",
        "message handlers that lag behind",
        "messages that could be delivered are not: no dispatcher runs for this handler, or it cannot keep up",
        "run `dispatch` where the handler is registered; if the handler is gone for good, `forget_handler`",
    ),
)
"""What every store can suffer from, by code. Stores add their own."""
