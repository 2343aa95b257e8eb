"""How does an asyncio application see versions of workflows, and upgrade living instances?"""

from __future__ import annotations

from duraflow.runtime.aio.base import AsyncBase


class AsyncVersioning(AsyncBase):
    """Versions, and upgrades between them."""
