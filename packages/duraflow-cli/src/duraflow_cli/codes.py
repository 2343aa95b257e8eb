"""With which number does the command end?

docs/cli.md has the same table; a test holds the two together.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class Code(enum.IntEnum):
    """An exit code; `MEANINGS` says what each means."""

    DONE = 0
    NO = 1
    MISUSED = 2
    NOT_FOUND = 3
    REFUSED = 4
    UNAVAILABLE = 5
    FAILED = 6
    INTERRUPTED = 130
    CLOSED = 141


MEANINGS: Mapping[Code, str] = MappingProxyType(
    {
        Code.DONE: "done; or yes, nothing is wrong",
        Code.NO: "the answer is no: something was found, does not fit, or was not confirmed",
        Code.MISUSED: "not asked rightly: an option, a value, the application, no database named, no `--yes`",
        Code.NOT_FOUND: "there is no such instance, workflow or version",
        Code.REFUSED: "refused, rejected, failed by a command, or in conflict with what is there",
        Code.UNAVAILABLE: "the store cannot be used now: down, locked, or its schema does not fit",
        Code.FAILED: "something else was raised: by the application's code, by the system, or a fault of ours",
        Code.INTERRUPTED: "stopped with Ctrl-C",
        Code.CLOSED: "whoever read the output has closed it",
    }
)
