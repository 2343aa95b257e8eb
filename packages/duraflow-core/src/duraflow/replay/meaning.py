"""What does an activity of a log mean to a workflow?

>>> meanings = {
...     "Create Fine": Create(lambda event, case: {"amount": event.number("amount")}),
...     "Payment": Fire("pay", lambda event: {"amount": event.number("paymentAmount")}),
...     "Add penalty": Fire("add_penalty"),
...     "Print envelope": Ignore("of no interest to the process"),
... }
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from duraflow.replay.events import LogEvent


@attrs.frozen
class Case:
    """All that a log has about one case, by time."""

    name: str
    events: tuple[LogEvent, ...]

    def first(self, activity: str) -> LogEvent | None:
        """The first event of this activity, if there is one."""
        return next((event for event in self.events if event.activity == activity), None)


Build = Callable[[LogEvent, Case], Mapping[str, Any]]


@attrs.frozen
class Create:
    """The case begins here: an instance is created, with the name of the case as its `ref`.

    Attributes:
        context: makes its context. It sees the whole case, for what a log tells late but is known from the start.
        metadata: makes its metadata.
    """

    context: Build | None = None
    metadata: Build | None = None


@attrs.frozen
class Fire:
    """An event of the workflow is fired at the instance of the case.

    Attributes:
        event: which; a timer's event also confirms the timer.
        payload: makes its payload.
    """

    event: str = attrs.field(converter=str)
    payload: Callable[[LogEvent], Any] | None = None


@attrs.frozen
class Ignore:
    """It means nothing to the workflow, and that is meant to be so."""

    reason: str


Meaning = Create | Fire | Ignore
