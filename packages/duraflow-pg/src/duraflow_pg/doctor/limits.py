"""From when on is something called wrong?"""

from __future__ import annotations

from datetime import timedelta

import attrs


@attrs.frozen(kw_only=True)
class DoctorLimits:
    """What is below is not worth a word.

    Attributes:
        overdue: how late due work and messages may be.
        transaction: how long a transaction may be open.
        idle: how long a session may be idle in its transaction.
        clocks: how far the clocks may be apart.
        size: bytes below which a table or index is never called bloated.
        bloat: the part of a table or index that may be waste, from 0 to 1.
        dead: dead rows below which vacuum is never called overdue.
        unseen: rows from which on a table needs statistics.
        held: how many transactions a slot, a standby or a prepared transaction may hold back.
        kept: bytes of WAL that an inactive replication slot may keep.
        age: transactions until a warning of wraparound; the server stops writing at about two thousand million.
    """

    overdue: timedelta = timedelta(minutes=5)
    transaction: timedelta = timedelta(minutes=5)
    idle: timedelta = timedelta(minutes=1)
    clocks: timedelta = timedelta(seconds=1)
    size: int = 64 * 1_048_576
    bloat: float = 0.6
    dead: int = 50_000
    unseen: int = 10_000
    held: int = 1_000_000
    kept: int = 1_073_741_824
    age: int = 1_000_000_000
