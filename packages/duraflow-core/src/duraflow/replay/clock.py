"""What time is it in a replay? The time of the log."""

from __future__ import annotations

from datetime import UTC, datetime

from duraflow.errors import InvalidArgument

# Before anything happened in any log; PostgreSQL, Python and every time zone agree on it.
_BEFORE = datetime(1900, 1, 1, tzinfo=UTC)


class LogClock:
    """A clock that stands still until a replay moves it, and never goes back.

    Give it to the runtime as `Runtime(clock=…)` and to `replay`.
    """

    def __init__(self) -> None:
        self._now: datetime | None = None

    def now(self) -> datetime:
        """The time it shows, in UTC."""
        return self._now or _BEFORE

    def advance_to(self, time: datetime) -> None:
        """Show this time, unless it is later already. The first call may set any time.

        Raises:
            InvalidArgument: the time has no zone.
        """
        if time.tzinfo is None:
            raise InvalidArgument("time", f"{time!r} has no time zone")
        time = time.astimezone(UTC)
        if self._now is None or time > self._now:
            self._now = time
