"""How does an asyncio application look into the past of instances, and ask why one does not move?"""

from __future__ import annotations

from duraflow.runtime.aio.base import AsyncBase


class AsyncSeeing(AsyncBase):
    """Earlier states, differences, reasons."""
