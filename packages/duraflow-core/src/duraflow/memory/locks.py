"""Which transaction holds which instance, and who waits for whom?"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import attrs

from duraflow.errors import Misuse, StoreUnavailable
from duraflow.ports import Lock, Waits


@attrs.define(eq=False)
class Holder:
    """Someone who holds locks until it ends: a transaction.

    Attributes:
        held: what it holds, in the order in which it came by it.
        thread: where it began.
        open: whether it may still take locks.
    """

    held: dict[Hashable, None] = attrs.field(factory=dict, init=False)
    thread: int = attrs.field(factory=threading.get_ident, init=False)
    open: bool = attrs.field(default=True, init=False)


@attrs.define(eq=False)
class _Waiter:
    """One holder in a queue. Its gate is a closed lock, which whoever hands the lock over to it opens."""

    holder: Holder
    gate: Lock


@attrs.define(eq=False)
class _Held:
    holder: Holder
    queue: deque[_Waiter] = attrs.field(factory=deque)


@attrs.define(eq=False)
class LockTable:
    """Locks by key, first come first served.

    Who owns what is only read and changed under one short mutex, which is never held while waiting; a released lock
    goes straight to the first in its queue. So there is no moment in which a lock is owned by nobody and wanted by
    somebody, and following holder -> what it waits for -> holder … always tells the truth.

    Attributes:
        mutex: guards this table, and all else that the database wants to change in the same moment. Reentrant, because
            the collector may close a forgotten coroutine anywhere, which then leaves its queue.
    """

    mutex: AbstractContextManager[Any] = attrs.field(factory=threading.RLock)
    _held: dict[Hashable, _Held] = attrs.field(factory=dict, init=False)
    _waiting: dict[Holder, Hashable] = attrs.field(factory=dict, init=False)

    def take(self, holder: Holder, key: Hashable) -> bool:
        """Take the lock if it is free or already the holder's own; False when someone else has it. Needs the mutex."""
        held = self._held.get(key)
        if held is None:
            self._held[key] = _Held(holder)
            holder.held[key] = None
            return True
        return held.holder is holder

    async def acquire(self, holder: Holder, key: Hashable, waits: Waits) -> None:
        """Take the lock, waiting for it as long as it takes.

        Raises:
            StoreUnavailable: waiting would close a circle of transactions that wait for each other.
            Misuse: waiting could never end, or the transaction ended meanwhile.
        """
        with self.mutex:
            if self.take(holder, key):
                return
        gate = waits.lock()
        await gate.acquire()
        waiter = _Waiter(holder, gate)
        with self.mutex:
            if self.take(holder, key):
                return
            self._check_may_wait(holder, key, waits)
            self._held[key].queue.append(waiter)
            self._waiting[holder] = key
        try:
            await gate.acquire()
        except BaseException:
            # Cancelled or interrupted: the lock may have been handed over in the same moment.
            with self.mutex:
                if self._waiting.pop(holder, None) is not None:
                    self._held[key].queue.remove(waiter)
                else:
                    self.release(holder, [key])
            raise
        with self.mutex:
            if not holder.open:
                self.release(holder, [key])
                raise Misuse(
                    "a transaction ended while it was still waiting for a lock",
                    "use one transaction from one thread or task at a time",
                )

    def release(self, holder: Holder, keys: Iterable[Hashable]) -> None:
        """Give up these locks, as far as the holder has them, each to whoever waits first. Needs the mutex."""
        for key in keys:
            if key not in holder.held:
                continue
            del holder.held[key]
            held = self._held[key]
            if held.queue:
                waiter = held.queue.popleft()
                held.holder = waiter.holder
                waiter.holder.held[key] = None
                del self._waiting[waiter.holder]
                waiter.gate.release()
            else:
                del self._held[key]

    def _check_may_wait(self, holder: Holder, key: Hashable, waits: Waits) -> None:
        if holder in self._waiting:
            raise Misuse(
                "a transaction is used while it waits for a lock elsewhere",
                "use one transaction from one thread or task at a time",
            )
        other = self._held[key].holder
        while other in self._waiting:
            other = self._held[self._waiting[other]].holder
            if other is holder:
                raise StoreUnavailable(
                    f"deadlock: waiting for {_name(key)} would close a circle of transactions",
                    "not_written",
                    retryable=True,
                )
        # The last one in the row runs on; if it does so in this very thread, it cannot while this thread waits.
        if not waits.suspends and other.thread == threading.get_ident():
            raise Misuse(
                f"{_name(key)} is held by another open transaction of this thread, which would wait for itself forever",
                "work through that transaction, or end it first",
            )


def _name(key: Hashable) -> str:
    return f"the ref {key}" if isinstance(key, tuple) else f"instance {key}"
