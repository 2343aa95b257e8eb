"""How does an asyncio application have its database examined?"""

from __future__ import annotations

from duraflow.runtime.aio.base import AsyncBase


class AsyncDoctoring(AsyncBase):
    """Examinations of a whole database."""
