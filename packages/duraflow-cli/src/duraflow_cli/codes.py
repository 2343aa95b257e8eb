"""With which number does the command end?

docs/cli.md has the same table; a test holds the two together.
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """An exit code. `says` is its line in the docs."""

    says: str

    def __new__(cls, value: int, says: str) -> Code:
        made = int.__new__(cls, value)
        made._value_ = value
        made.says = says
        return made

    DONE = 0, "done; or yes, nothing is wrong"
    NO = 1, "the answer is no: something was found, does not fit, or was not confirmed"
    MISUSED = 2, "not asked rightly: an option, a value, the application, no database named, no `--yes`"
    NOT_FOUND = 3, "there is no such instance, workflow or version"
    REFUSED = 4, "refused, rejected, failed by a command, or in conflict with what is there"
    UNAVAILABLE = 5, "the store cannot be reached or used now: down, locked, or its schema does not fit"
    FAILED = 6, "something else was raised: by code of the application, by the system, or a fault of ours"
    INTERRUPTED = 130, "stopped with Ctrl-C"
    CLOSED = 141, "whoever read the output has closed it"
