"""What does an asyncio application call, group by group?

Each method awaits the same coroutine that `Runtime` drives; a test holds the two together.
"""

from duraflow.runtime.aio.calls import AsyncCalls
from duraflow.runtime.aio.feeding import AsyncChanges
from duraflow.runtime.aio.handle import AsyncHandle
from duraflow.runtime.aio.runtime import AsyncBoundRuntime, AsyncLockedRuntime, AsyncRuntime

__all__ = [
    "AsyncBoundRuntime",
    "AsyncCalls",
    "AsyncChanges",
    "AsyncHandle",
    "AsyncLockedRuntime",
    "AsyncRuntime",
]
