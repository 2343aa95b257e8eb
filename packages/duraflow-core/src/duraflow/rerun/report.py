"""What came of running recorded histories against another definition?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal
from uuid import UUID

import attrs

from duraflow.definition.values import Outcome
from duraflow.instance import ArmedTimer, Blocker
from duraflow.telling import told_blockers, told_time

RerunStatus = Literal["success", "failure", "rejected", "refused", "undone", "resting", "continuing"]


@attrs.frozen
class RerunOutcome:
    """What happened at one entry, or would have.

    Attributes:
        state: where the instance is after it.
        status: that of the entry (`success`, `failure`, `rejected`); else `refused` (the event is not accepted, or no
            such timer is armed), `undone` (a command failed without an error target, or the chain is too long: all is
            rolled back), `resting` (nothing further happens), `continuing` (the chain waits for a worker).
        entered: whether a state was entered, which internal moves do not.
        outcome: of the instance; None while it is open.
        timers: the armed timers, where it is they that differ.
        blockers: of a rejection.
        detail: what else there is to say, for people.
    """

    state: str
    status: RerunStatus
    entered: bool = False
    outcome: Outcome | None = None
    timers: tuple[ArmedTimer, ...] | None = None
    blockers: tuple[Blocker, ...] = ()
    detail: str = ""

    @property
    def kind(self) -> str:
        """What it is in short, without values of one instance, so that equal ones can be counted together."""
        match self.status:
            case "success" | "failure":
                text = f"enters {self.state!r}" if self.entered else f"stays in {self.state!r}"
                text += " by a failure" if self.status == "failure" else ""
                return text + (f", {self.outcome}" if self.outcome is not None else "")
            case "rejected":
                names = dict.fromkeys(blocker.guard or blocker.code for blocker in self.blockers)
                return f"rejected by {', '.join(names)}" if names else "rejected"
            case "refused" | "undone":
                return self.status
            case "resting":
                if self.timers is None:
                    return f"rests in {self.state!r}"
                names = dict.fromkeys(timer.event for timer in self.timers)
                with_ = f"timers {', '.join(names)}" if names else "no timer"
                return f"rests in {self.state!r} with {with_}"
            case "continuing":
                return f"waits in {self.state!r} for a worker"

    def __str__(self) -> str:
        text = self.kind
        if self.blockers:
            text = f"rejected: {told_blockers(self.blockers)}"
        if self.timers:
            armed = ", ".join(f"{timer.event} due {told_time(timer.due_at)}" for timer in self.timers)
            text = f"rests in {self.state!r} with timers {armed}"
        return f"{text} ({self.detail})" if self.detail else text


@attrs.frozen
class RerunDifference:
    """The first entry at which an instance would have gone differently; what came after it was not looked at.

    Attributes:
        seq: of the recorded entry.
        state: where the instance was before it.
        expected: as recorded.
        found: under the other definition.
    """

    instance_id: UUID
    ref: str | None
    seq: int
    event: str
    at: datetime
    state: str
    expected: RerunOutcome
    found: RerunOutcome

    def __str__(self) -> str:
        who = f"{self.instance_id}" + (f" (ref {self.ref!r})" if self.ref is not None else "")
        return (
            f"{who}, entry {self.seq} at {told_time(self.at)}, {self.event!r} in {self.state!r}: "
            f"expected: {self.expected}; found: {self.found}"
        )


@attrs.frozen
class RerunUnknown:
    """The first entry at which the record cannot answer; what came after it was not looked at.

    Attributes:
        code: what is missing: `command` (the record has no result of it), `context` (what a command wrote, or a creator
            gave, cannot be told), `payload` (it does not load), `guard` or `delay` (it raised, or is not registered),
            `timer` (it would have been due at another time), `continuation` (the chain waits for a worker), `state` (an
            operator moved it to one that is not there), `definition` (the version that governed then is not to be had),
            `history` (it is gone, or has a gap).
        about: the name of it.
    """

    instance_id: UUID
    ref: str | None
    seq: int
    event: str
    at: datetime
    state: str
    code: str
    about: str
    reason: str

    def __str__(self) -> str:
        who = f"{self.instance_id}" + (f" (ref {self.ref!r})" if self.ref is not None else "")
        return (
            f"{who}, entry {self.seq} at {told_time(self.at)}, {self.event!r} in {self.state!r}: "
            f"unknown: {self.reason}"
        )


@attrs.frozen
class RerunGroup:
    """Instances of which the same is to be said, counted.

    Attributes:
        expected: empty of what is unknown.
        example: one of them.
    """

    verdict: Literal["different", "unknown"]
    event: str
    state: str
    expected: str
    found: str
    count: int
    example: UUID

    def __str__(self) -> str:
        what = (
            f"expected: {self.expected}; found: {self.found}" if self.expected else f"unknown: {self.found}"
        )
        return f"{self.count} x {self.event!r} in {self.state!r}: {what} (such as {self.example})"


@attrs.frozen
class RerunReport:
    """What came of running recorded histories against another definition. As a text it is a report for people.

    Attributes:
        total: how many instances were looked at; it is the sum of `same`, `different` and `unknown`.
        same: those that would have gone as they did.
        groups: what is different or unknown, counted, most frequent first; complete.
        differences: the first so many of those that differ; see `keep`.
        unknowns: the first so many of those that the record cannot answer.
        cursor: where to go on, as of `list`; None when there are no more.
    """

    workflow: str
    version: int
    total: int
    same: int
    different: int
    unknown: int
    groups: tuple[RerunGroup, ...]
    differences: tuple[RerunDifference, ...]
    unknowns: tuple[RerunUnknown, ...]
    cursor: str | None = None

    @property
    def ok(self) -> bool:
        """Whether all of them would certainly have gone as they did."""
        return self.same == self.total

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        yield (
            f"workflow {self.workflow!r} version {self.version}: {self.total} instances: {self.same} the same, "
            f"{self.different} different, {self.unknown} unknown"
        )
        for group in self.groups:
            yield f"  {group}"
