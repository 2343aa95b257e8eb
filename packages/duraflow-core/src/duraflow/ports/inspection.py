"""What does it take to have a whole store examined?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.diagnosis import DoctorReport
from duraflow.integrity import Versions


@attrs.frozen(kw_only=True)
class Examination:
    """What is to be examined, and how thoroughly.

    Attributes:
        versions: the definitions that the runtime was given.
        unable: why the runtime could not do the moves of a definition that it was not given; empty if it could.
        exact: look at everything, however long it takes.
        sample: how many instances to look at where all would take too long; a tenth of it where histories are folded.
        shown: how many rows a finding names.
        timeout: the longest that one statement of a check may take.
        clock: the time to go by; None takes the store's.
    """

    versions: Versions
    unable: Callable[[Workflow], str]
    exact: bool = False
    sample: int = 10_000
    shown: int = 10
    timeout: timedelta = timedelta(seconds=30)
    clock: datetime | None = None


class Inspector(Protocol):
    """Examines the namespace of a store, and what it stands on. It only reads."""

    async def examine(self, examination: Examination, /) -> DoctorReport:
        """Make every check. One that cannot run says so in its `Checkup`, and the others go on.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        ...
