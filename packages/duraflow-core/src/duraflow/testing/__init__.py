"""What do tests of workflows, and of adapters, need? Time, ids, crashes, ledgers, and checks of what must always hold.

Here is what needs nothing but Python. `duraflow.testing.conformance` (needs pytest) is the suite that every adapter
must pass; `duraflow.testing.strategies` (needs hypothesis) makes workflows for property tests, and
`duraflow.testing.machines` (likewise) plays any workflow and checks what must hold.

>>> from datetime import timedelta
>>> clock = ManualClock()
>>> start = clock.now()
>>> clock.advance(timedelta(days=60)) - start
datetime.timedelta(days=60)
"""

from duraflow.testing.clocks import ManualClock, SequentialIds
from duraflow.testing.crashes import (
    Crash,
    CrashAttempt,
    InjectedCrash,
    PortCalls,
    Side,
    count_calls,
    crash_at,
    crash_attempts,
    every_crash_point,
)
from duraflow.testing.invariants import (
    InvariantBroken,
    Inventory,
    acheck_invariants,
    check_entries,
    check_invariants,
)
from duraflow.testing.ledger import Effect, EffectLedger, TransactionalLedger

__all__ = [
    # time and ids
    "ManualClock",
    "SequentialIds",
    # what happened outside
    "Effect",
    "EffectLedger",
    "TransactionalLedger",
    # crashes
    "Crash",
    "CrashAttempt",
    "InjectedCrash",
    "PortCalls",
    "Side",
    "count_calls",
    "crash_at",
    "crash_attempts",
    "every_crash_point",
    # what must always hold
    "InvariantBroken",
    "Inventory",
    "acheck_invariants",
    "check_entries",
    "check_invariants",
]
