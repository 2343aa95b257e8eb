"""What belongs to one open transaction of a runtime, beside what the store itself keeps?

The store's unit of work knows rows. `Work` knows the rest: notices to give after the commit, resources made for this
unit, Python-side undo functions, and which instances are in the middle of a step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import attrs

from duraflow.errors import Misuse, NotSupported
from duraflow.ports import UnitOfWork
from duraflow.results import Notice

ResourceFactory = Callable[["UnitResources"], Any]


@attrs.define(eq=False)
class Work:
    """One transaction in use.

    Attributes:
        owned: the runtime opened it and nobody else sees it, so that the commit may go with the last statement.
        stepping: instances whose step is under way, and which therefore must not be fired at.
        creating: (workflow, key) of the creations that are under way.
    """

    unit: UnitOfWork
    factories: Mapping[Any, ResourceFactory]
    owned: bool
    notices: list[Notice] = attrs.field(factory=list)
    stepping: set[UUID] = attrs.field(factory=set)
    creating: set[tuple[str, str]] = attrs.field(factory=set)
    closed: bool = False
    _undo: list[Callable[[], None]] = attrs.field(factory=list)
    _resources: dict[Any, Any] = attrs.field(factory=dict)

    @property
    def ending(self) -> bool:
        """Whether the step that is being written is the last thing of this transaction.

        While a command runs, its own instance is stepping: what it does through `ctx.runtime` is never the last.
        """
        return self.owned and not self.stepping

    def check_open(self) -> None:
        """Refuse use after the end."""
        if self.closed:
            raise Misuse("this transaction has ended", "open a new one with `runtime.transaction()`")

    def resource(self, kind: Any) -> Any:
        """The resource of this kind, made once per unit of work.

        Raises:
            NotSupported: the runtime was not given a factory for it.
        """
        if kind not in self._resources:
            factory = self.factories.get(kind)
            if factory is None:
                name = getattr(kind, "__name__", repr(kind))
                raise NotSupported(f"resource({name})", f"a factory: `Runtime(resources={{{name}: …}})`")
            self._resources[kind] = factory(UnitResources(self))
        return self._resources[kind]

    def on_rollback(self, undo: Callable[[], None]) -> None:
        """Call `undo` if what is done now is rolled back."""
        self._undo.append(undo)

    def undo(self, mark: int = 0) -> None:
        """Undo, newest first, what was registered after the mark."""
        while len(self._undo) > mark:
            self._undo.pop()()

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[None]:
        """A part that is undone by itself: rows, resources, and notices."""
        undo_mark, notice_mark = len(self._undo), len(self.notices)
        try:
            async with self.unit.savepoint():
                try:
                    yield
                except BaseException:
                    # While the store still holds its locks, so that nobody sees rows undone and resources not.
                    self.undo(undo_mark)
                    raise
        except BaseException:
            # Also when nothing was wrong inside, and the store could not keep the savepoint.
            self.undo(undo_mark)
            del self.notices[notice_mark:]
            raise


@attrs.frozen
class UnitResources:
    """What a resource factory gets: the unit of work it is made for."""

    _work: Work

    @property
    def connection(self) -> Any:
        """The open connection of the transaction; raises `NotSupported` where the store has none."""
        return self._work.unit.connection

    def on_rollback(self, undo: Callable[[], None]) -> None:
        """Call `undo` if what the resource has just done is rolled back (the transaction, or a savepoint in it)."""
        self._work.on_rollback(undo)
