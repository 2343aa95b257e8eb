"""How does the rerun of one history end early?"""

from __future__ import annotations

from duraflow.instance import HistoryEntry
from duraflow.rerun.report import RerunOutcome


class Verdict(Exception):
    """The rerun of a history ends here."""


class Unanswerable(Verdict):
    """The record does not say what would have happened.

    Attributes:
        entry: the entry that does not say it; None for the first of its step.
    """

    def __init__(self, code: str, about: str, reason: str) -> None:
        super().__init__(reason)
        self.entry: HistoryEntry | None = None
        self.code = code
        self.about = about
        self.reason = reason


class Raised(Verdict):
    """A command raised: everything would have been rolled back."""


class Differs(Verdict):
    """Something else would have happened at this entry."""

    def __init__(self, entry: HistoryEntry, expected: RerunOutcome, found: RerunOutcome) -> None:
        super().__init__(f"expected {expected}, found {found}")
        self.entry = entry
        self.expected = expected
        self.found = found
