"""What can be set on a runtime, with which bounds?"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import attrs

from duraflow.errors import InvalidArgument

Locking = Literal["auto", "always"]


@attrs.frozen(kw_only=True)
class TimerRetryPolicy:
    """When a timer whose guard said no, or which failed, is tried again: `first`, growing by `factor`, up to `cap`.

    Attributes:
        park_after: failures in a row after which it is parked; rejections never park.
    """

    first: timedelta = timedelta(minutes=1)
    factor: float = 2.0
    cap: timedelta = timedelta(hours=1)
    park_after: int = 10

    def __attrs_post_init__(self) -> None:
        if self.first <= timedelta(0) or self.cap < self.first:
            raise InvalidArgument("timer_retry", "`first` must be positive and `cap` not below it")
        if not 1.0 <= self.factor <= 100.0:
            raise InvalidArgument("timer_retry", "`factor` must be from 1 to 100")
        if self.park_after < 1:
            raise InvalidArgument("timer_retry", "`park_after` must be at least 1")

    def delay(self, tries: int) -> timedelta:
        """How long to wait after this many tries (from 1) in a row."""
        growth = self.factor ** min(tries - 1, 60)
        seconds = min(self.first.total_seconds() * growth, self.cap.total_seconds())
        return timedelta(seconds=seconds)


@attrs.frozen(kw_only=True)
class StoreRetryPolicy:
    """How often, and how fast, a transaction of the runtime's own is tried again when the store asks for it.

    Waits are `first * 2**n` seconds up to `cap_s`, each with full jitter.
    """

    attempts: int = 6
    first_s: float = 0.02
    cap_s: float = 2.0

    def __attrs_post_init__(self) -> None:
        if type(self.attempts) is not int or self.attempts < 1:
            raise InvalidArgument("store_retry", "`attempts` must be a whole number from 1")
        if not (self.first_s >= 0 and self.cap_s >= 0):
            raise InvalidArgument("store_retry", "`first_s` and `cap_s` must not be negative")
