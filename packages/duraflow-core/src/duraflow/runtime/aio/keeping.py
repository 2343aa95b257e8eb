"""How does an asyncio application prune, export and import instances?"""

from __future__ import annotations

from duraflow.runtime.aio.base import AsyncBase


class AsyncKeeping(AsyncBase):
    """Retention, export and import."""
