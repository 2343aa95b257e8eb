"""Is the workflow of the example right about the process, and are its generator and checks to be trusted?"""

from __future__ import annotations

import io
from collections import Counter
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest

from duraflow import EventRefused, FireResult, Instance, Runtime, to_mermaid
from duraflow.memory import InMemoryPersistence
from duraflow.replay import LogClock, LogEvent, ReplayReport, read_csv, read_log, replay
from examples.traffic_fines.generator import generate, write_csv
from examples.traffic_fines.ledger import Ledger, MemoryLedger
from examples.traffic_fines.meanings import MEANINGS
from examples.traffic_fines.stores import Store, in_memory
from examples.traffic_fines.verify import instances, verify
from examples.traffic_fines.workflow import FINE, ROME, Payment, Ruling, Sending, new_fine, open_amount

REAL_LOG = Path(__file__).parents[4] / "shared" / "data" / "traffic_fines.csv"
README = Path(__file__).parents[3] / "examples" / "traffic_fines" / "README.md"
START = datetime(2024, 1, 10, tzinfo=ROME)
_BEGIN, _END = "<!-- diagram -->", "<!-- end of diagram -->"


@attrs.define
class Office:
    """One fine, and the days that go by."""

    runtime: Runtime
    clock: LogClock
    ledger: MemoryLedger
    day: datetime = START
    fine: Instance = attrs.field(init=False)

    def create(self, amount: int = 40, penalised: int = 85, **more: Any) -> None:
        self.clock.advance_to(self.day)
        self.fine = self.runtime.create(
            FINE, new_fine(Decimal(amount), penalised_amount=Decimal(penalised), **more)
        )

    def wait(self, days: int) -> None:
        self.day += timedelta(days=days)
        self.clock.advance_to(self.day)
        self.runtime.fire_due_timers()
        self.fine = self.runtime.get(self.fine)

    def fire(self, event: str, payload: Any = None) -> FireResult:
        result = self.runtime.fire(self.fine, event, payload)
        self.fine = result.instance
        return result

    def pay(self, amount: str | int | Decimal) -> FireResult:
        return self.fire("pay", Payment(Decimal(amount)))

    def to_notified(self) -> None:
        self.create()
        self.fire("send", Sending(Decimal(11)))
        self.fire("notify")

    @property
    def letters(self) -> list[str]:
        return [letter.kind for letter in self.ledger.letters]

    @property
    def rest(self) -> Any:  # compared with whole numbers, too
        return open_amount(self.fine.context)


@pytest.fixture
def office() -> Any:
    """An office with a memory."""
    clock, ledger = LogClock(), MemoryLedger()
    with Runtime(
        workflows=[FINE], persistence=InMemoryPersistence(), clock=clock, resources={Ledger: ledger.of}
    ) as runtime:
        yield Office(runtime, clock, ledger)


# --- the process --------------------------------------------------------------------------------------------------


def test_the_definition_has_no_findings() -> None:
    """Not even a warning; and it can be drawn."""
    assert FINE.findings == ()
    assert "in_collection --> " not in to_mermaid(FINE)
    assert not FINE.resolved["in_collection"].final


def test_a_fine_goes_its_way_to_credit_collection(office: Office) -> None:
    """Sent, notified, penalised on the 60th day, collected; a letter for each, in the same transaction."""
    office.to_notified()
    assert (office.fine.state, office.rest) == ("notified", 51)
    office.wait(59)
    assert office.fine.state == "notified"
    office.wait(1)
    assert (office.fine.state, office.rest) == ("penalised", 96)
    office.wait(300)
    office.fire("collect")
    assert (office.fine.state, office.fine.open) == ("in_collection", True)
    assert office.letters == ["notice", "penalty", "to credit collection"]


def test_sixty_days_are_counted_in_rome(office: Office) -> None:
    """In March a night has 23 hours: 60 days later is the same time of the day there, not 60 times 24 hours."""
    office.to_notified()
    due = office.fine.due_at
    assert due == datetime(2024, 3, 10, tzinfo=ROME)
    office.create()
    office.wait(60)
    office.fire("send", Sending(Decimal(11)))
    office.fire("notify")
    assert office.fine.due_at == datetime(2024, 5, 9, tzinfo=ROME)
    assert office.fine.due_at - office.clock.now() == timedelta(days=60, hours=-1)


@pytest.mark.parametrize("state", ["created", "sent", "notified", "penalised", "at_judge", "in_collection"])
def test_payments_may_come_at_any_time_and_in_parts(office: Office, state: str) -> None:
    """Part payments stay where they are, the rest pays the fine; each is noted."""
    office.create()
    if state != "created":
        office.fire("send", Sending(Decimal(11)))
    if state not in ("created", "sent"):
        office.fire("notify")
    if state in ("penalised", "in_collection"):
        office.wait(60)
    if state == "in_collection":
        office.fire("collect")
    if state == "at_judge":
        office.fire("appeal_to_judge", Ruling())
    before = office.fine
    rest = office.rest
    part = office.pay("10.50")
    assert (part.to_state, part.entries[0].entered, office.rest) == (state, False, rest - Decimal("10.50"))
    assert (office.fine.timers, office.fine.entered_at) == (before.timers, before.entered_at)
    assert office.pay(office.rest).to_state == "paid"
    assert (office.fine.outcome, office.rest, office.fine.timers) == ("done", 0, ())
    assert [payment.amount for payment in office.ledger.payments] == [
        Decimal("10.50"),
        rest - Decimal("10.50"),
    ]


def test_a_payment_of_nothing_is_rejected(office: Office) -> None:
    """Nothing is noted; the history has the reason."""
    office.create()
    for amount in ("0", "-5"):
        result = office.pay(amount)
        assert (result.status, result.blockers[0].code) == ("rejected", "no_amount")
    assert office.ledger.payments == []


def test_a_paid_fine_answers_nothing(office: Office) -> None:
    """Neither a letter nor a second payment."""
    office.create()
    office.pay(40)
    for event, payload in (("send", Sending(Decimal(11))), ("pay", Payment(Decimal(40)))):
        with pytest.raises(EventRefused) as refused:
            office.fire(event, payload)
        assert refused.value.reason == "finished"
    assert office.letters == []


def test_the_penalty_is_not_added_before_its_day(office: Office) -> None:
    """By name, too, it waits for the 60 days."""
    office.to_notified()
    result = office.fire("add_penalty")
    assert [(b.code, b.parameters) for b in result.blockers] == [("too_early", {"due": date(2024, 3, 10)})]
    office.wait(60)
    with pytest.raises(EventRefused):
        office.fire("add_penalty")


def test_a_fine_without_an_address_is_undeliverable(office: Office) -> None:
    """The failed command leads to the error target; no postage is charged, and it can still be paid."""
    office.create(deliverable=False)
    result = office.fire("send", Sending(Decimal(11)))
    assert (result.status, result.to_state, office.rest, office.letters) == (
        "failure",
        "undeliverable",
        40,
        [],
    )
    assert office.fire("send", Sending(Decimal(11))).to_state == "undeliverable"
    assert office.pay(40).to_state == "paid"


def test_an_appeal_to_the_prefecture_does_not_stop_the_sixty_days(office: Office) -> None:
    """The penalty is added during the appeal, once; after an appeal in vain the fine is as it would have been."""
    office.to_notified()
    office.wait(30)
    office.fire("appeal_to_prefecture")
    assert office.fine.due_at == datetime(2024, 3, 10, tzinfo=ROME)
    office.wait(30)
    assert (office.fine.state, office.rest, office.fine.timers) == ("appealed", 96, ())
    office.fire("rule_on_appeal", Ruling("NIL"))
    office.fire("receive_result")
    assert office.fine.timers == ()
    assert office.fire("notify_result").to_state == "penalised"
    assert office.letters == ["notice", "penalty", "appeal result"]
    assert all(entry.kind != "rejected" for entry in office.runtime.history(office.fine))


def test_a_quick_appeal_in_vain_leaves_the_timer_as_it_was(office: Office) -> None:
    """Back among the notified, 60 days from the notification, not from the result."""
    office.to_notified()
    office.wait(5)
    office.fire("appeal_to_prefecture")
    office.fire("rule_on_appeal", Ruling())
    office.fire("receive_result")
    assert office.fire("notify_result").to_state == "notified"
    assert office.fine.due_at == datetime(2024, 3, 10, tzinfo=ROME)


@pytest.mark.parametrize(
    ("event", "ruling", "state"),
    [
        ("rule_on_appeal", "#", "dismissed"),
        ("rule_on_appeal", "G", "at_prefecture"),
        ("appeal_to_judge", "G", "dismissed"),
        ("appeal_to_judge", "#", "at_judge"),
    ],
)
def test_only_the_authority_asked_can_dismiss(office: Office, event: str, ruling: str, state: str) -> None:
    """Each has its own mark."""
    office.to_notified()
    if event == "rule_on_appeal":
        office.fire("appeal_to_prefecture")
    assert office.fire(event, Ruling(ruling)).to_state == state
    assert office.fine.outcome == ("cancelled" if state == "dismissed" else None)


def test_a_fine_before_the_judge_is_collected_only_with_a_penalty(office: Office) -> None:
    """That is: after the 60 days."""
    office.to_notified()
    office.fire("appeal_to_judge", Ruling())
    assert office.fire("collect").blockers[0].code == "no_penalty_yet"
    office.wait(60)
    assert office.fire("collect").to_state == "in_collection"


def test_cancelling_a_fine_dismisses_it(office: Office) -> None:
    """It is the workflow's one cancelled state."""
    office.create()
    assert office.runtime.cancel(office.fine, reason="wrong plate", by="officer 541").to_state == "dismissed"


def test_what_is_rolled_back_is_out_of_the_ledger_too(office: Office) -> None:
    """The in-memory ledger undoes as a table would."""
    office.create()

    def pay_send_and_fail() -> None:
        with office.runtime.transaction() as tx:
            tx.fire(office.fine, "pay", Payment(Decimal(5)))
            tx.fire(office.fine, "send", Sending(Decimal(11)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        pay_send_and_fail()
    assert (office.ledger.payments, office.letters) == ([], [])
    assert office.runtime.get(office.fine).state == "created"


# --- the generator ------------------------------------------------------------------------------------------------


def test_a_seed_makes_the_same_log_again() -> None:
    """And another one another."""
    assert generate(60, seed=3) == generate(60, seed=3)
    assert generate(60, seed=3) != generate(60, seed=4)
    assert len({event.case for event in generate(60)}) == 60


def _replayed(store: Store, log: tuple[LogEvent, ...]) -> ReplayReport:
    return replay(store.runtime, log, workflow=FINE, meanings=MEANINGS, clock=store.clock)


def test_a_made_up_log_deviates_where_it_was_meant_to_and_nowhere_else() -> None:
    """Every kind of deviation is found, with its reason; ordinary fines agree with the workflow to the last event."""
    text = io.StringIO()
    write_csv(generate(400, seed=1), text)
    text.seek(0)
    log = read_csv(text)
    with in_memory() as store:
        report = _replayed(store, log)
        assert all(check.ok for check in verify(store, report, len(log)))
    wrong = {f"F{number:05}" for number in range(20, 401, 20)}
    assert {outcome.event.case for outcome in report.disagreeing} <= wrong
    assert {timer.case for timer in report.timers if timer.verdict != "confirmed"} <= wrong
    assert {(d.result, d.activity, d.state, d.code) for d in report.deviations()} == {
        ("refused", "Send Fine", "paid", "finished"),
        ("refused", "Payment", "paid", "finished"),
        ("refused", "Send for Credit Collection", "notified", "not_accepted"),
        ("refused", "Add penalty", "penalised", "timer_was_earlier"),
        ("refused", "Insert Fine Notification", "notified", "not_accepted"),
        ("refused", "Create Fine", "created", "already_exists"),
        ("refused", "Send Fine", None, "no_instance"),
        ("refused", "Insert Fine Notification", None, "no_instance"),
        ("rejected", "Add penalty", "notified", "too_early"),
        ("rejected", "Payment", "created", "no_amount+not_covered"),
        ("diverted", "Send Fine", "created", "no_address"),
        ("invalid", "Payment", "created", "log"),
        ("unknown", "Change Address", None, "unknown_activity"),
        ("unlogged", "add_penalty", "notified", "not_in_the_log"),
    }


def test_every_state_is_reached_by_a_made_up_log() -> None:
    """So that the demo shows the whole process."""
    with in_memory() as store:
        _replayed(store, tuple(generate(400, seed=1)))
        reached = {entry for fine in instances(store.runtime) for entry in _visited(store.runtime, fine)}
    assert reached == {state.name for state in FINE.states}


def _visited(runtime: Runtime, fine: Instance) -> set[str]:
    return {entry.to_state for entry in runtime.history(fine)}


# --- the checks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spoil", "which"),
    [
        (lambda store, report: report, ()),
        (lambda store, report: attrs.evolve(report, outcomes=report.outcomes[1:]), (0,)),
        (lambda store, report: attrs.evolve(report, moves=report.moves + 1), (1,)),
        (lambda store, report: attrs.evolve(report, timers=report.timers[1:]), (1,)),
        (lambda store, report: store.rows()[0].pop() and report, (3,)),
        (lambda store, report: store.rows()[0].append(store.rows()[0][0]) or report, (3,)),
        (lambda store, report: store.rows()[1].pop() and report, (4, 5)),
    ],
)
def test_a_check_fails_when_what_it_checks_is_wrong(spoil: Any, which: tuple[int, ...]) -> None:
    """A demo that cannot fail shows nothing."""
    log = tuple(generate(40, seed=2))
    with in_memory() as store:
        report = spoil(store, _replayed(store, log))
        checks = verify(store, report, len(log))
    assert tuple(number for number, check in enumerate(checks) if not check.ok) == which


def test_a_row_that_its_history_does_not_give_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check of invariant 1 compares every fine."""
    with in_memory() as store:
        log = tuple(generate(10, seed=2))
        report = _replayed(store, log)
        honest = store.runtime.list

        def lying(*args: Any, **options: Any) -> Any:
            page = honest(*args, **options)
            return attrs.evolve(
                page, instances=(attrs.evolve(page.instances[0], state="lost"), *page.instances[1:])
            )

        monkeypatch.setattr(store.runtime, "list", lying)
        checks = verify(store, report, len(log))
    assert [check.ok for check in checks] == [True, True, False, True, True, True]


# --- the published log --------------------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL_LOG.exists(), reason=f"the real log is not here: {REAL_LOG}")
def test_the_published_log_is_replayed_to_the_last_event() -> None:
    """390 events of 100 fines: each is applied, confirmed by the timer, or has a reason that was judged to be right."""
    log = read_log(REAL_LOG)
    with in_memory() as store:
        report = _replayed(store, log)
        assert all(check.ok for check in verify(store, report, len(log)))
        fines = list(instances(store.runtime))
    assert (report.events, report.cases, report.moves) == (390, 100, 390)
    assert {result: count for result, count in report.totals.items() if count} == {
        "applied": 332, "confirmed": 57, "refused": 1,
    }  # fmt: skip
    assert sum(report.totals.values()) == 390
    # Paid in full after three days, and sent seven weeks later all the same.
    (refused,) = report.disagreeing
    assert (refused.event.case, refused.event.activity, refused.state, refused.code) == (
        "N36957", "Send Fine", "paid", "finished",
    )  # fmt: skip
    assert report.by_activity["Add penalty"]["confirmed"] == 57
    assert report.timers_by_verdict == {"confirmed": 57, "disputed": 0, "unlogged": 0, "after_log": 0}
    assert Counter(fine.state for fine in fines) == {
        "paid": 40,
        "in_collection": 36,
        "sent": 16,
        "penalised": 8,
    }
    # What the log itself adds up is what the fines say was paid, and nobody paid too much.
    logged: dict[str, Decimal] = {}
    for event in log:
        logged[event.case] = event.number("totalPaymentAmount", logged.get(event.case, Decimal(0)))
    assert {fine.ref: fine.context["paid"] for fine in fines} == logged
    assert all(open_amount(fine.context) == 0 for fine in fines if fine.state == "paid")


# --- the README ---------------------------------------------------------------------------------------------------


def test_the_readme_shows_the_diagram_of_the_workflow() -> None:
    """`python -m tests.unit.examples.test_traffic_fines` writes it anew."""
    assert README.read_text(encoding="utf-8") == _with_diagram(README.read_text(encoding="utf-8"))


def _with_diagram(text: str) -> str:
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}\n```mermaid\n{to_mermaid(FINE)}\n```\n{_END}{after}"


if __name__ == "__main__":
    README.write_text(_with_diagram(README.read_text(encoding="utf-8")), encoding="utf-8")
