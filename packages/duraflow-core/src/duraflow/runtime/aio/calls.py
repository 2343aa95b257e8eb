"""What can be asked of an asyncio runtime, whether it opens its own transactions or is bound to one?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duraflow.runtime.aio.asking import AsyncAsking
from duraflow.runtime.aio.moving import AsyncMoving
from duraflow.runtime.aio.seeing import AsyncSeeing
from duraflow.runtime.engine import Target

if TYPE_CHECKING:
    from duraflow.runtime.aio.handle import AsyncHandle


class AsyncCalls(AsyncMoving, AsyncAsking, AsyncSeeing):
    """What can be asked of a runtime, whether it opens its own transactions or is bound to one."""

    def handle(self, target: Target) -> AsyncHandle:
        """The same calls for one instance, without naming it again. Reads nothing."""
        from duraflow.runtime.aio.handle import AsyncHandle

        return AsyncHandle(self, target)
