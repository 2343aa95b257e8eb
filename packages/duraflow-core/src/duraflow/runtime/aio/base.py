"""What do all groups of calls of the asyncio runtime work on?"""

from __future__ import annotations

from duraflow.runtime.engine import Engine
from duraflow.runtime.work import Work


class AsyncBase:
    """One runtime, and the transaction it is bound to, if it is."""

    _engine: Engine
    _work: Work | None
