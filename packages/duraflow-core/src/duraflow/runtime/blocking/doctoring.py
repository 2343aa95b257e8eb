"""How does a blocking application have its database examined?"""

from __future__ import annotations

from duraflow.runtime.blocking.base import Base


class Doctoring(Base):
    """Examinations of a whole database."""
