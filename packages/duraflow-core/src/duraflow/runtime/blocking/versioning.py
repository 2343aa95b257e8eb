"""How does a blocking application see versions of workflows, and upgrade living instances?"""

from __future__ import annotations

from duraflow.runtime.blocking.base import Base


class Versioning(Base):
    """Versions, and upgrades between them."""
