"""Is a command running in this thread or task, and of which runtime?"""

from __future__ import annotations

from contextvars import ContextVar

running: ContextVar[object] = ContextVar("duraflow_running_command_of", default=None)
"""The engine whose command is running here, so that its unbound runtime can refuse to be used."""
