"""What time is it, and where do ids come from, when nothing else is asked for?"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID


class SystemClock:
    """The clock of this machine, in UTC."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def default_ids() -> Callable[[], UUID]:
    """Time-ordered ids where this Python makes them (3.14), else random ones.

    Time-ordered keys keep index pages warm. Pass `ids=` for a library's own, such as `uuid_utils.compat.uuid7`.
    """
    made: Callable[[], UUID] = getattr(uuid, "uuid7", uuid.uuid4)
    return made
