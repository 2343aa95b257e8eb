"""Where does the application keep its letters and payments?

Commands reach it as `ctx.resource(Ledger)`, so that the same workflow runs on both stores. What a command writes here
commits with its move, or not at all.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

import attrs

from duraflow import UnitResources


@attrs.frozen
class Letter:
    """A letter to the offender."""

    fine: UUID
    kind: str
    filed_at: datetime
    transition: UUID


@attrs.frozen
class PaymentNote:
    """Money that came in."""

    fine: UUID
    amount: Decimal
    paid_at: datetime
    transition: UUID


class Ledger(Protocol):
    """The application's own tables, as commands see them."""

    def file(self, letter: Letter, /) -> None:
        """File a letter for the post."""
        ...

    def note(self, payment: PaymentNote, /) -> None:
        """Note a payment."""
        ...


@attrs.frozen
class SqlLedger:
    """The tables `traffic_fines.letters` and `traffic_fines.payments`, on the connection of the move."""

    _connection: Any

    @classmethod
    def of(cls, unit: UnitResources) -> SqlLedger:
        """For `Runtime(resources={Ledger: SqlLedger.of})`."""
        return cls(unit.connection)

    def file(self, letter: Letter, /) -> None:
        self._connection.execute(
            "INSERT INTO traffic_fines.letters (fine, kind, filed_at, transition)"
            " VALUES (%(fine)s, %(kind)s, %(filed_at)s, %(transition)s)",
            attrs.asdict(letter),
        )

    def note(self, payment: PaymentNote, /) -> None:
        self._connection.execute(
            "INSERT INTO traffic_fines.payments (fine, amount, paid_at, transition)"
            " VALUES (%(fine)s, %(amount)s, %(paid_at)s, %(transition)s)",
            attrs.asdict(payment),
        )


@attrs.define
class MemoryLedger:
    """The same in two lists. What is rolled back is taken out again."""

    letters: list[Letter] = attrs.field(factory=list)
    payments: list[PaymentNote] = attrs.field(factory=list)

    def of(self, unit: UnitResources) -> Ledger:
        """For `Runtime(resources={Ledger: ledger.of})`."""
        return _MemoryUnit(self, unit)


@attrs.frozen
class _MemoryUnit:
    _ledger: MemoryLedger
    _unit: UnitResources

    def file(self, letter: Letter, /) -> None:
        self._ledger.letters.append(letter)
        self._unit.on_rollback(lambda: self._ledger.letters.remove(letter))

    def note(self, payment: PaymentNote, /) -> None:
        self._ledger.payments.append(payment)
        self._unit.on_rollback(lambda: self._ledger.payments.remove(payment))
