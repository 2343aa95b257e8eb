"""Where does a log come from when there is none? Made up, from a seed, with some things in it that should not be.

The proportions are roughly those of the published log of an Italian police force (de Leoni and Mannhardt, 2015); the
amounts, dates and cases are invented.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, TextIO

import attrs

from duraflow.replay import LogEvent
from examples.traffic_fines.workflow import DAYS_UNTIL_PENALTY, ROME

COLUMNS = (
    "case:concept:name", "concept:name", "time:timestamp", "amount", "expense", "paymentAmount", "totalPaymentAmount",
    "points", "article", "vehicleClass", "dismissal", "address",
)  # fmt: skip

# what it costs at once, and what from the 60th day on
_TARIFF = tuple(
    (Decimal(first), Decimal(second))
    for first, second in (
        ("29.00", "57.50"), ("42.00", "86.50"), ("42.00", "86.50"), ("54.00", "108.00"), ("87.00", "173.00"),
        ("168.00", "337.00"),
    )
)  # fmt: skip
_BEGIN = datetime(2019, 1, 7, tzinfo=ROME)


@attrs.define
class _Fine:
    """One fine as it is made up: a diary, a day to write at, and what is known of the money."""

    random: Random
    name: str
    day: datetime
    amount: Decimal
    penalised_amount: Decimal
    expense: Decimal = Decimal(0)
    paid: Decimal = Decimal(0)
    notified_on: datetime | None = None
    events: list[LogEvent] = attrs.field(factory=list)

    def wait(self, low: int, high: int) -> None:
        """Some days go by, counted in Rome."""
        self.day += timedelta(days=self.random.randint(low, high))

    def write(self, activity: str, **attributes: Any) -> None:
        self.events.append(LogEvent(self.name, activity, self.day, attributes))

    def chance(self, percent: float) -> bool:
        return self.random.random() * 100 < percent

    @property
    def rest(self) -> Decimal:
        """What is open on this day."""
        penalised = self.notified_on is not None and self.day >= self.penalty_day
        return (self.penalised_amount if penalised else self.amount) + self.expense - self.paid

    @property
    def penalty_day(self) -> datetime:
        assert self.notified_on is not None
        return self.notified_on + timedelta(days=DAYS_UNTIL_PENALTY)

    def create(self, **more: Any) -> None:
        self.write(
            "Create Fine", amount=self.amount, points=self.random.choice((0, 0, 0, 0, 2, 5)),
            article=self.random.choice(("7", "142", "157", "157", "158")), vehicleClass="A", dismissal="NIL", **more,
        )  # fmt: skip

    def send(self) -> None:
        self.wait(20, 150)
        self.expense = self.random.choice((Decimal("11.00"), Decimal("13.50"), Decimal("15.00")))
        self.write("Send Fine", expense=self.expense)

    def notify(self) -> None:
        self.wait(4, 45)
        self.notified_on = self.day
        self.write("Insert Fine Notification")

    def pay(self, amount: Decimal) -> None:
        self.paid += amount
        self.write("Payment", paymentAmount=amount, totalPaymentAmount=self.paid)

    def add_penalty(self, off_by: int = 0) -> None:
        """On its day, or beside it."""
        self.day = self.penalty_day + timedelta(days=off_by)
        self.write("Add penalty", amount=self.penalised_amount)
        self.day = max(self.day, self.penalty_day)

    def collect(self) -> None:
        self.wait(200, 500)
        self.write("Send for Credit Collection")


# --- ordinary fines -----------------------------------------------------------------------------------------------


def _ordinary(fine: _Fine) -> None:
    fine.create()
    if fine.chance(33):
        fine.wait(0, 25)
        fine.pay(fine.rest)
        return
    fine.send()
    if fine.chance(16):
        return
    if fine.chance(7):
        fine.wait(3, 20)
        fine.pay(fine.rest)
        return
    fine.notify()
    _notified(fine)


def _notified(fine: _Fine) -> None:
    fate = fine.random.random() * 100
    if fate < 12:
        fine.wait(3, 55)
        fine.pay(fine.rest)
    elif fate < 18:
        # without the postage: the rest, and then the penalty, stay open
        fine.wait(3, 55)
        fine.pay(fine.amount)
        fine.add_penalty()
    elif fate < 23:
        _prefecture(fine)
    elif fate < 26:
        _judge(fine)
    else:
        fine.add_penalty()
        _penalised(fine)


def _penalised(fine: _Fine) -> None:
    fate = fine.random.random() * 100
    if fate < 15:
        fine.wait(5, 300)
        fine.pay(fine.rest)
    elif fate < 25:
        fine.wait(1, 100)
        fine.pay((fine.rest / 2).quantize(Decimal("0.01")))
        fine.wait(10, 200)
        fine.pay(fine.rest)
    elif fate < 85:
        fine.collect()
        if fine.chance(5):
            fine.wait(30, 300)
            fine.pay(fine.rest)


def _prefecture(fine: _Fine) -> None:
    fine.wait(10, 50)
    fine.write("Insert Date Appeal to Prefecture")
    ruled = fine.day + timedelta(days=fine.random.randint(70, 120))
    fine.add_penalty()
    fine.day = ruled
    if fine.chance(40):
        fine.write("Send Appeal to Prefecture", dismissal="#")
        return
    fine.write("Send Appeal to Prefecture", dismissal="NIL")
    fine.wait(30, 120)
    fine.write("Receive Result Appeal from Prefecture")
    fine.wait(3, 30)
    fine.write("Notify Result Appeal to Offender")
    _penalised(fine)


def _judge(fine: _Fine) -> None:
    fine.wait(5, 25)
    if fine.chance(50):
        fine.write("Appeal to Judge", dismissal="G")
        return
    fine.write("Appeal to Judge", dismissal="NIL")
    fine.add_penalty()
    fine.collect()


# --- fines with something wrong -----------------------------------------------------------------------------------


def _sent_although_paid(fine: _Fine) -> None:
    fine.create()
    fine.wait(1, 10)
    fine.pay(fine.rest)
    fine.send()


def _paid_twice(fine: _Fine) -> None:
    fine.create()
    fine.wait(1, 10)
    rest = fine.rest
    fine.pay(rest)
    fine.wait(1, 3)
    fine.pay(rest)


def _collected_too_early(fine: _Fine) -> None:
    _to_notified(fine)
    fine.wait(20, 40)
    fine.write("Send for Credit Collection")
    fine.add_penalty()


def _penalty_too_early(fine: _Fine) -> None:
    _to_notified(fine)
    fine.add_penalty(off_by=-30)
    fine.collect()


def _penalty_too_late(fine: _Fine) -> None:
    _to_notified(fine)
    fine.add_penalty(off_by=15)
    fine.collect()


def _penalty_a_day_off(fine: _Fine) -> None:
    _to_notified(fine)
    fine.add_penalty(off_by=fine.random.choice((-1, 1)))
    fine.collect()


def _penalty_not_written_down(fine: _Fine) -> None:
    _to_notified(fine)
    fine.day = fine.penalty_day
    fine.collect()


def _notified_twice(fine: _Fine) -> None:
    _to_notified(fine)
    fine.wait(2, 5)
    fine.write("Insert Fine Notification")
    fine.add_penalty()


def _paid_nothing(fine: _Fine) -> None:
    fine.create()
    fine.wait(1, 10)
    fine.pay(Decimal("0.00"))
    fine.wait(1, 10)
    fine.pay(fine.rest)


def _paid_an_unknown_amount(fine: _Fine) -> None:
    fine.create()
    fine.wait(1, 10)
    fine.write("Payment")


def _created_twice(fine: _Fine) -> None:
    fine.create()
    fine.wait(1, 1)
    fine.create()
    fine.wait(1, 10)
    fine.pay(fine.rest)


def _never_created(fine: _Fine) -> None:
    fine.send()
    fine.notify()


def _of_no_known_address(fine: _Fine) -> None:
    fine.create(address="unknown")
    fine.send()


def _of_an_unknown_kind(fine: _Fine) -> None:
    fine.create()
    fine.wait(1, 10)
    fine.write("Change Address")
    fine.wait(1, 10)
    fine.pay(fine.rest)


def _to_notified(fine: _Fine) -> None:
    fine.create()
    fine.send()
    fine.notify()


_WRONG: tuple[Callable[[_Fine], None], ...] = (
    _sent_although_paid,
    _paid_twice,
    _collected_too_early,
    _penalty_too_early,
    _penalty_too_late,
    _penalty_a_day_off,
    _penalty_not_written_down,
    _notified_twice,
    _paid_nothing,
    _paid_an_unknown_amount,
    _created_twice,
    _never_created,
    _of_no_known_address,
    _of_an_unknown_kind,
)
_ONE_WRONG_IN = 20


def generate(fines: int = 400, seed: int = 1) -> list[LogEvent]:
    """A log of this many fines, case by case; the same for the same seed. One in twenty has something wrong with it."""
    random = Random(seed)
    events: list[LogEvent] = []
    for number in range(fines):
        amount, penalised = random.choice(_TARIFF)
        day = _BEGIN + timedelta(days=random.randrange(3 * 365))
        fine = _Fine(random, f"F{number + 1:05}", day, amount, penalised)
        wrong, rest = divmod(number, _ONE_WRONG_IN)
        make = _WRONG[wrong % len(_WRONG)] if rest == _ONE_WRONG_IN - 1 else _ordinary
        make(fine)
        events += fine.events
    return events


def write_csv(events: Iterable[LogEvent], file: TextIO) -> None:
    """Write a log with the columns of the published one. The file is best opened with `newline=""`."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for event in events:
        at = event.at.isoformat(sep=" ")
        columns = {"case:concept:name": event.case, "concept:name": event.activity, "time:timestamp": at}
        writer.writerow({**columns, **event.attributes})
