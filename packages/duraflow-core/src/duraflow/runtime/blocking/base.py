"""What do all groups of calls of the blocking runtime work on?"""

from __future__ import annotations

from duraflow.runtime.engine import Engine
from duraflow.runtime.work import Work


class Base:
    """One runtime, and the transaction it is bound to, if it is."""

    _engine: Engine
    _work: Work | None
