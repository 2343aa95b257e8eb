"""What was done outside, how often? A record that no rollback touches, and one that a transaction does."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any

import attrs

from duraflow.definition.values import EMPTY
from duraflow.runtime.work import UnitResources
from duraflow.testing.crashes import InjectedCrash


@attrs.frozen(eq=False)
class Effect:
    """One thing done: under which key, and what was noted with it."""

    key: Hashable
    detail: Mapping[str, Any] = EMPTY


class EffectLedger:
    """An append-only record of effects, as the outside world would see them. Safe to use from many threads.

    >>> ledger = EffectLedger()
    >>> _ = ledger.record("letter-1", by="first attempt")
    >>> _ = ledger.record("letter-1", by="second attempt")
    >>> ledger.count("letter-1"), ledger.count("letter-2"), len(ledger)
    (2, 0, 2)
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._effects: list[Effect] = []

    def record(self, key: Hashable, **detail: Any) -> Effect:
        """Note that it was done, once more."""
        effect = Effect(key, detail)
        with self._lock:
            self._effects.append(effect)
        return effect

    @property
    def effects(self) -> tuple[Effect, ...]:
        """All of them, in order."""
        with self._lock:
            return tuple(self._effects)

    @property
    def keys(self) -> tuple[Hashable, ...]:
        """Their keys, in order."""
        return tuple(effect.key for effect in self.effects)

    @property
    def counts(self) -> Mapping[Hashable, int]:
        """How often each key was recorded."""
        return Counter(self.keys)

    def count(self, key: Hashable) -> int:
        """How often this key was recorded."""
        return self.counts.get(key, 0)

    def __len__(self) -> int:
        return len(self.effects)

    def _withdraw(self, effect: Effect) -> None:
        with self._lock:
            self._effects.remove(effect)

    def in_transaction(self, unit: UnitResources) -> TransactionalLedger:
        """A resource factory: `Runtime(resources={TransactionalLedger: ledger.in_transaction})`."""
        return TransactionalLedger(self, unit)


@attrs.frozen(eq=False)
class TransactionalLedger:
    """The ledger as a resource of one transaction: what is rolled back was not done.

    It stands for an application's table where the store has no connection. A process that dies after its commit runs
    no undo functions, and so an injected crash there undoes nothing.
    """

    _ledger: EffectLedger
    _unit: UnitResources

    def record(self, key: Hashable, **detail: Any) -> None:
        """Note that it was done, if the transaction commits."""
        effect = self._ledger.record(key, **detail)

        def undo() -> None:
            crash = sys.exc_info()[1]
            if not (isinstance(crash, InjectedCrash) and crash.crash.committed):
                self._ledger._withdraw(effect)  # noqa: SLF001  # the two are one thing

        self._unit.on_rollback(undo)
