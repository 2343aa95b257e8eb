"""What is an upgrade of living instances: its plan, and what became of it, as values?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal
from uuid import UUID

import attrs

from duraflow.definition.values import EMPTY

Transform = Callable[[dict[str, Any], Mapping[str, Any]], Mapping[str, Any]]
"""Gives the new context for (context, metadata). Pure: it may be called more than once for one instance."""

TimerPolicy = Literal["keep_elapsed", "keep_due", "restart"]
TIMER_POLICIES: tuple[TimerPolicy, ...] = ("keep_elapsed", "keep_due", "restart")

TimerEffect = Literal["elapsed", "due", "restarted", "new", "dropped"]


@attrs.frozen
class UpgradeRow:
    """What an upgrade does to the open instances in one state.

    Attributes:
        count: how many there were when it was planned.
        target: the state they go to; None when nothing says which, and then they are not covered.
        timers: what happens to each timer: `elapsed` (due as if armed when the state was entered), `due` (when it was
            due before), `restarted` (from now), `new` (unknown to the old version here; as `elapsed`), `dropped`.
        final: the target is final: they end there.
        automatic: the target has automatic transitions, which follow at once.
    """

    state: str
    count: int
    target: str | None
    timers: Mapping[str, TimerEffect] = EMPTY
    final: bool = False
    automatic: bool = False

    @property
    def covered(self) -> bool:
        """Whether it is known where they go."""
        return self.target is not None


@attrs.frozen
class NotUpgraded:
    """An instance that an upgrade did not move, and why."""

    instance_id: UUID
    ref: str | None
    state: str
    reason: str

    def __str__(self) -> str:
        name = f"{self.instance_id}" + (f" ({self.ref!r})" if self.ref is not None else "")
        return f"{name} in {self.state!r}: {self.reason}"


@attrs.frozen
class UpgradePlan:
    """What `apply_upgrade` is to do: rules, with what they meant for the instances that there were.

    Attributes:
        states: the explicit mapping; a state that is not in it goes to the state of the same name.
        rows: one for each state that has open instances.
        leased: how many of them a worker holds now, and `continuing`: how many wait for one in the middle of a chain.
            Both are busy: they are moved last, once that is done.
        waiting: how many have queued events; these stay queued, and the new version decides about them.
        sampled: how many were tried without writing, spread over the states.
        failures: those of them that would fail, with the reason.
    """

    workflow: str
    from_version: int
    to_version: int
    states: Mapping[str, str]
    transform: Transform | None
    timers: TimerPolicy
    rows: tuple[UpgradeRow, ...] = ()
    leased: int = 0
    continuing: int = 0
    waiting: int = 0
    sampled: int = 0
    failures: tuple[NotUpgraded, ...] = ()

    @property
    def count(self) -> int:
        """How many open instances the old version governed."""
        return sum(row.count for row in self.rows)

    @property
    def uncovered(self) -> tuple[str, ...]:
        """The states of which nothing says where they go."""
        return tuple(row.state for row in self.rows if not row.covered)

    @property
    def total(self) -> bool:
        """Whether every state with open instances is covered."""
        return not self.uncovered


@attrs.frozen
class UpgradeReport:
    """What one run of an upgrade did, or would do.

    Attributes:
        moved: now governed by the new version; `continuing` of these have an automatic chain that waits for a worker.
        skipped: in states that the plan does not cover, and left alone as told.
        busy: held by a worker or locked by someone else to the end; run the upgrade again for these.
        failed: left as they were, because something about them failed.
        gone: finished, deleted or upgraded by someone else meanwhile.
        announced: in a dry run, those whose automatic transitions run commands; what becomes of them only a real run
            can tell.
        failures: the first 100 that failed.
        held: the first 100 that are busy.
        cursor: where the next run goes on; None when there is nothing further on. Without a cursor a run begins at the
            beginning, which is right as well: what was moved is no longer found.
        done: everything has been looked at.
    """

    moved: int = 0
    skipped: int = 0
    busy: int = 0
    failed: int = 0
    gone: int = 0
    continuing: int = 0
    announced: int = 0
    failures: tuple[NotUpgraded, ...] = ()
    held: tuple[NotUpgraded, ...] = ()
    cursor: str | None = None
    done: bool = False
    dry_run: bool = False

    @property
    def complete(self) -> bool:
        """Whether no open instance that was looked at is left on the old version."""
        return self.done and not (self.skipped or self.busy or self.failed or self.announced or self.dry_run)
