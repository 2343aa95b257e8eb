"""What does the machine ask its driver to do, and what is it told?"""

from __future__ import annotations

from uuid import UUID

import attrs

from duraflow.definition.resolve import Candidate
from duraflow.instance import CommandResult


@attrs.frozen
class Run:
    """Commands that must run now, before the hop is recorded."""

    candidate: Candidate
    event: str
    transition_id: UUID


@attrs.frozen
class Ran:
    """What they did; `failure` is the one that ended the row early with a `Failure`."""

    results: tuple[CommandResult, ...]
    failure: CommandResult | None = None


NOTHING_RAN = Ran(())
