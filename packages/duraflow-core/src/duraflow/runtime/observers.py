"""Who is told what happened, after the commit, without being able to do harm?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from duraflow.results import Notice
from duraflow.runtime.drive import resolved

_log = logging.getLogger("duraflow.observers")

Observer = Callable[[Notice], Any]
OnObserverError = Callable[[Exception, Notice], Any]


@attrs.frozen
class Observers:
    """All observers of one runtime, in order.

    Attributes:
        on_error: told when one of them raises; None logs it.
        suspends: whether they may be async.
    """

    members: tuple[Observer, ...]
    on_error: OnObserverError | None
    suspends: bool

    def __bool__(self) -> bool:
        return bool(self.members)

    async def tell(self, notices: Sequence[Notice]) -> None:
        """Tell every observer of every notice, in order. Whatever they raise is contained."""
        for notice in notices:
            for observer in self.members:
                try:
                    await resolved(observer(notice), "an observer", suspends=self.suspends)
                except Exception as error:  # noqa: BLE001  # observers must not reach the caller
                    await self._contain(error, notice)

    async def _contain(self, error: Exception, notice: Notice) -> None:
        where = (notice.instance.id, notice.entry.seq)
        if self.on_error is None:
            _log.error("an observer failed for instance %s, seq %s", *where, exc_info=error)
            return
        try:
            await resolved(self.on_error(error, notice), "on_observer_error", suspends=self.suspends)
        except Exception:  # noqa: BLE001  # nor may a failing error handler
            _log.exception("on_observer_error failed for instance %s, seq %s", *where)
