"""What does a blocking application call, group by group?

Each method drives the same coroutine that `AsyncRuntime` awaits (see `drive`); a test holds the two together.
"""

from duraflow.runtime.blocking.calls import Calls
from duraflow.runtime.blocking.feeding import Changes
from duraflow.runtime.blocking.handle import Handle
from duraflow.runtime.blocking.runtime import BoundRuntime, LockedRuntime, Runtime

__all__ = ["BoundRuntime", "Calls", "Changes", "Handle", "LockedRuntime", "Runtime"]
