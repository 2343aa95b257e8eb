"""How do calls that wait at the same time share one trip? Whoever comes first goes at once; the rest go together.

Nothing waits for company: with no call under way, a call is sent as it is. While calls are under way, new ones gather,
and go as one batch when the next slot becomes free. Who is in a batch is settled when its task begins, so that all who
were woken by one answer go together again; and a second batch goes beside the first only if it is half as large as the
last one, because ten calls in one trip cost less than two and eight in two.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import ContextVar
from typing import Any, Generic, TypeVar

import attrs

A = TypeVar("A")
B = TypeVar("B")

Flush = Callable[[Sequence[A]], Awaitable[Sequence[B]]]

in_group: ContextVar[bool] = ContextVar("duraflow_in_group", default=False)
"""Whether this runs in a task of a `Grouping`, which no caller can cancel."""


@attrs.define(eq=False)
class _Waiting(Generic[A, B]):
    item: A
    key: Hashable
    future: asyncio.Future[B]
    flush: Flush[A, B]


@attrs.define(eq=False)
class Grouping(Generic[A, B]):
    """Groups calls of one asyncio event loop.

    Attributes:
        slots: how many batches may be under way at once.
        largest: how many calls one batch may have.
        eager: whether a second batch goes beside the first however small it is: where a batch may wait for others'
            locks, what comes after it must not.
    """

    slots: int = 2
    largest: int = 100
    eager: bool = False
    _waiting: list[_Waiting[A, B]] = attrs.field(factory=list)
    _under_way: int = 0
    _last: int = 1
    _starting: bool = False
    _tasks: set[asyncio.Task[Any]] = attrs.field(factory=set)

    async def submit(self, item: A, key: Hashable, flush: Flush[A, B]) -> B:
        """The answer for one item. Items of one key are never in the same batch.

        A caller that is cancelled before its batch is sent takes its item back; after that the batch goes on to its
        end, because its answer may already be true.
        """
        future: asyncio.Future[B] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, key, future, flush))
        self._start()
        return await future

    def _start(self) -> None:
        if self._starting or not self._waiting or self._under_way >= self.slots:
            return
        if self._under_way and not self.eager and 2 * len(self._waiting) < self._last:
            return
        self._starting = True
        task = asyncio.get_running_loop().create_task(self._run())
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            self._starting = False  # it may never have begun

    def _take(self) -> list[_Waiting[A, B]]:
        batch: list[_Waiting[A, B]] = []
        left: list[_Waiting[A, B]] = []
        keys: set[Hashable] = set()
        for one in self._waiting:
            if one.future.done():
                continue
            if len(batch) < self.largest and one.key not in keys:
                keys.add(one.key)
                batch.append(one)
            else:
                left.append(one)
        self._waiting = left
        return batch

    async def _run(self) -> None:
        # Only now, when all that were woken together have had their turn, is it known who goes along.
        self._starting = False
        in_group.set(True)
        batch = self._take()
        if not batch:
            return
        self._last = len(batch)
        self._under_way += 1
        self._start()
        try:
            answers = await batch[0].flush([one.item for one in batch])
        except BaseException as error:
            for one in batch:
                if not one.future.done():
                    one.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            for one, answer in zip(batch, answers, strict=True):
                if not one.future.done():
                    one.future.set_result(answer)
        finally:
            self._under_way -= 1
            self._start()

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
