"""How does an asyncio application follow what happens, and deliver messages?"""

from __future__ import annotations

from duraflow.runtime.aio.base import AsyncBase


class AsyncFeeding(AsyncBase):
    """The change feed and the outbox."""
