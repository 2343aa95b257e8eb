"""How does a blocking application look into the past of instances, and ask why one does not move?"""

from __future__ import annotations

from duraflow.runtime.blocking.base import Base


class Seeing(Base):
    """Earlier states, differences, reasons."""
