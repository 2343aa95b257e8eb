"""When is a timer due?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from duraflow.definition.resolve import Timer
from duraflow.definition.values import MAX_DELAY
from duraflow.errors import InvalidArgument
from duraflow.handlers import Asked, DelayCall
from duraflow.instance import ArmedTimer


def arm(timer: Timer, asked: Asked, delays: Mapping[str, DelayCall]) -> ArmedTimer | None:
    """The timer with its due time, `asked.now` being when the state was entered; None if there is to be none.

    Raises:
        InvalidArgument: a delay function gave something that is no time.
    """
    now = asked.now
    after = timer.after
    if isinstance(after, timedelta):
        return ArmedTimer(timer.event, now + after)
    computed = delays[after.name](asked)
    if computed is None:
        # This instance needs no such timer here: one that is bound to be refused would only fill the history.
        return None
    where = f"delay {after.name!r}"
    if isinstance(computed, timedelta):
        if abs(computed) > MAX_DELAY:
            raise InvalidArgument(where, f"it returned {computed}; the limit is {MAX_DELAY.days} days")
        return ArmedTimer(timer.event, max(now, now + computed))
    if not isinstance(computed, datetime):
        raise InvalidArgument(
            where,
            f"it returned {computed!r}; return a timedelta, an aware datetime, or None for no timer",
        )
    if computed.tzinfo is None:
        raise InvalidArgument(where, f"it returned {computed!r}, which has no time zone")
    if computed - now > MAX_DELAY:
        raise InvalidArgument(where, f"it returned {computed}; the limit is {MAX_DELAY.days} days from now")
    return ArmedTimer(timer.event, computed.astimezone(now.tzinfo))
