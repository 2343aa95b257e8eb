"""How does a blocking application follow what happens, and deliver messages?"""

from __future__ import annotations

from duraflow.runtime.blocking.base import Base


class Feeding(Base):
    """The change feed and the outbox."""
