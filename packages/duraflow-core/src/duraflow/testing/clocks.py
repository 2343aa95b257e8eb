"""How do tests own time and ids?"""

from __future__ import annotations

import itertools
import threading
from datetime import UTC, datetime, timedelta
from uuid import UUID

START = datetime(2024, 1, 1, tzinfo=UTC)


class ManualClock:
    """A clock that stands still until it is told to move. Safe to use from many threads.

    >>> clock = ManualClock(datetime(2024, 2, 28, tzinfo=UTC))
    >>> clock.advance(timedelta(days=1))
    datetime.datetime(2024, 2, 29, 0, 0, tzinfo=datetime.timezone.utc)
    """

    def __init__(self, start: datetime = START) -> None:
        self._lock = threading.Lock()
        self._now = _aware(start)

    def now(self) -> datetime:
        """The time it shows."""
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move it; gives the new time. A negative step shows what a clock that is set back does."""
        with self._lock:
            self._now += by
            return self._now

    def set(self, to: datetime) -> datetime:
        """Set it; gives the new time."""
        with self._lock:
            self._now = _aware(to)
            return self._now


def _aware(time: datetime) -> datetime:
    if time.tzinfo is None:
        raise ValueError(f"{time!r} has no time zone; add tzinfo=UTC")
    return time.astimezone(UTC)


class SequentialIds:
    """Ids that are the same in every run: 1, 2, 3 … as UUIDs. Safe to use from many threads.

    >>> ids = SequentialIds()
    >>> str(ids()), str(ids())
    ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002')
    """

    def __init__(self, first: int = 1) -> None:
        self._numbers = itertools.count(first)

    def __call__(self) -> UUID:
        return UUID(int=next(self._numbers))
