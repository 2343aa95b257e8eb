"""How does a blocking application prune, export and import instances?"""

from __future__ import annotations

from duraflow.runtime.blocking.base import Base


class Keeping(Base):
    """Retention, export and import."""
