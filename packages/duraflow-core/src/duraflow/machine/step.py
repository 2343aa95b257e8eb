"""What does one step do to an instance? Worked out as values, without clock, I/O or logging.

A `Step` gathers what is decided: hops, their history entries, the context as it changes, and in the end the `Writes`.
Which hops are taken is the business of `chain`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.definition.resolve import Candidate, ResolvedState, unknown_state
from duraflow.definition.workflow import Workflow
from duraflow.errors import ChainTooDeep, CommandFailed
from duraflow.handlers import Asked, HandlerTable
from duraflow.instance import (
    NO_CHANGE,
    ArmedTimer,
    Blocker,
    Change,
    Continuation,
    EntryKind,
    EntryStatus,
    HistoryEntry,
    Instance,
)
from duraflow.machine.context import WorkingContext
from duraflow.machine.requests import Ran
from duraflow.machine.timers import arm
from duraflow.writes import ClearDue, DueChange, Emitted, NudgeDue, SetDue, Writes


@attrs.frozen
class Rules:
    """What is the same for all steps of a runtime."""

    handlers: HandlerTable
    codec: Codec
    ids: Callable[[], UUID]
    max_automatic_moves: int


class Step:
    """One step of one instance while it is being worked out. Lives for one `fire` (or create, cancel, …)."""

    __slots__ = (
        "_armed",
        "_before",
        "_continuation",
        "_drafts",
        "_emitted",
        "_hops",
        "_messages",
        "_rules",
        "_timers_touched",
        "_version",
        "attempt_id",
        "context",
        "definition",
        "entered",
        "failed",
        "instance",
        "now",
        "payload",
        "snapshots",
        "spent_timer",
        "state",
        "trigger",
    )

    def __init__(
        self,
        rules: Rules,
        definition: Workflow,
        instance: Instance,
        *,
        now: datetime,
        new: bool = False,
        payload: Any = None,
        trigger: Mapping[str, Any],
        snapshots: bool = False,
    ) -> None:
        self._rules = rules
        self.definition = definition
        self.instance = instance
        self._before = None if new else instance
        self._version = 0 if new else instance.version
        self.now = now
        self.payload = payload
        self.trigger = trigger
        self.attempt_id = rules.ids()
        self.state: ResolvedState = definition.resolved.get(instance.state) or unknown_state(instance.state)
        self.context = WorkingContext(instance.context, rules.codec)
        self._armed = instance.timers
        self._timers_touched = False
        self._drafts: list[dict[str, Any]] = []
        self._hops: list[str] = []
        self._emitted: list[tuple[str, Any]] = []
        self._messages: list[Emitted] = []
        self._continuation: Continuation | None = None
        self.entered = False
        self.failed = False
        self.spent_timer: str | None = None
        """The timer that started this step: an internal move disarms it, as it has done its work."""
        self.snapshots: list[tuple[Instance, int]] | None = [] if snapshots else None

    # --- asking -------------------------------------------------------------------------------------------------

    def asked(self) -> Asked:
        """What guards and delays may look at now; the context is read-only to them."""
        return Asked(self.payload, MappingProxyType(self.context.data), self.instance.metadata, self.now)

    # --- messages -----------------------------------------------------------------------------------------------

    def emit(self, topic: str, payload: Any) -> None:
        """Leave a message with the hop that is being worked out; `payload` is as stored."""
        self._emitted.append((topic, payload))

    @property
    def emitted(self) -> int:
        """How many messages this hop has so far, to come back to with `unemit`."""
        return len(self._emitted)

    def unemit(self, mark: int) -> None:
        """Forget the messages since the mark: what emitted them was undone."""
        del self._emitted[mark:]

    def _settle_messages(self) -> None:
        """Give the messages of a hop, which has its number now, their places."""
        for ordinal, (topic, payload) in enumerate(self._emitted):
            self._messages.append(
                Emitted(self._rules.ids(), self.instance.id, self._version, ordinal, topic, payload)
            )
        self._emitted.clear()

    # --- recording ----------------------------------------------------------------------------------------------

    def _as_read_back(self, blocker: Blocker) -> Blocker:
        if not blocker.parameters:
            return blocker
        path = f"parameters of the blocker {blocker.code!r}"
        parameters: Any = self._rules.codec.copy(dict(blocker.parameters), path=path)
        return attrs.evolve(blocker, parameters=parameters)

    def _draft(
        self,
        kind: EntryKind,
        event: str,
        *,
        to_state: str,
        status: EntryStatus,
        entered: bool,
        **more: Any,
    ) -> dict[str, Any]:
        self._version += 1
        draft = {
            "instance_id": self.instance.id,
            "seq": self._version,
            "kind": kind,
            "event": event,
            "from_state": self.state.name if kind != "created" else None,
            "to_state": to_state,
            "at": self.now,
            "definition_version": self.definition.version,
            "attempt_id": self.attempt_id,
            "status": status,
            "entered": entered,
            "trigger": self.trigger,
            **more,
        }
        self._drafts.append(draft)
        if len(self._drafts) == 1 and self.definition.version != self.instance.definition_version:
            self._drop_unknown_timers(draft)
        return draft

    def _drop_unknown_timers(self, draft: dict[str, Any]) -> None:
        """A newer version governs for the first time: what it has no timer for will never fire."""
        known = tuple(timer for timer in self._armed if timer.event in self.state.timers)
        if known != self._armed:
            self._armed = known
            self._timers_touched = True
            draft["timers"] = known

    def enter(self, draft: dict[str, Any], target: ResolvedState) -> None:
        """Be in another state (or again in the same): its declared context, no timers until the chain rests."""
        self.state = target
        self.entered = True
        if self._armed:
            self._armed = ()
            draft["timers"] = ()
        draft["outcome"] = target.outcome
        if target.context:
            draft["change"] = self.context.overlay(target.context, draft.get("change", NO_CHANGE))

    def create(self, context: str) -> None:
        """Record the creation with this context, as the codec's text."""
        decode = self._rules.codec.decode
        self.context.data = decode(context)  # type: ignore[assignment]  # an object stays one
        # The entry keeps its own copy: later hops go on writing to the context.
        change = Change(decode(context)) if self.context.data else NO_CHANGE  # type: ignore[arg-type]  # likewise
        draft = self._draft(
            "created", "$created", to_state=self.state.name, status="success", entered=True,
            metadata=self.instance.metadata, change=change,
        )  # fmt: skip
        draft["outcome"] = self.state.outcome
        self.entered = True
        self._snapshot()

    def reject(
        self, event: str, payload: Any, blockers: tuple[Blocker, ...], *, disarm: bool = False
    ) -> None:
        """Record a guard's no. It changes nothing else, but for a timer that is given up by it.

        Raises:
            InvalidArgument: a blocker's parameters are not JSON.
        """
        more: dict[str, Any] = {}
        blockers = tuple(self._as_read_back(blocker) for blocker in blockers)
        if disarm:
            self._armed = tuple(timer for timer in self._armed if timer.event != event)
            self._timers_touched = True
            more["timers"] = self._armed
        self._draft(
            "rejected", event, to_state=self.state.name, status="rejected", entered=False,
            payload=payload, blockers=blockers, outcome=self.instance.outcome, **more,
        )  # fmt: skip

    def move(self, candidate: Candidate, event: str, payload: Any, transition_id: UUID, ran: Ran) -> None:
        """Record one hop and be where it leads.

        Raises:
            CommandFailed: a command failed and the transition has no error target.
        """
        target = candidate.target
        if ran.failure is not None:
            if candidate.error_target is None:
                failure = ran.failure
                raise CommandFailed(
                    self.instance.id, event, failure.name, failure.code or "", failure.message or ""
                )
            target = candidate.error_target
            self.failed = True
        change = self.context.written() if ran.results else NO_CHANGE
        draft = self._draft(
            "moved", event, to_state=target or self.state.name,
            status="failure" if ran.failure is not None else "success", entered=target is not None,
            transition_id=transition_id, commands=ran.results, payload=payload, change=change, outcome=None,
        )  # fmt: skip
        if target is not None:
            self.enter(draft, self.definition.resolved[target])
        elif self.spent_timer == event:
            self._armed = tuple(timer for timer in self._armed if timer.event != event)
            self._timers_touched = True
            draft["timers"] = self._armed
        if ran.failure is None:
            self._emitted += [(topic, self._payload_of(payload)) for topic in candidate.emits]
        if self._emitted:
            self._settle_messages()
        self._snapshot()

    def _payload_of(self, payload: Any) -> Any:
        """What a declared message carries: the payload of the event that began the chain, as stored."""
        return payload if payload is not None or not self._drafts else self._drafts[0].get("payload")

    def operate(
        self,
        kind: EntryKind,
        event: str,
        target: ResolvedState,
        *,
        entered: bool,
        context: Mapping[str, Any] | None = None,
        outcome: Any = None,
    ) -> None:
        """Record an operator's move, which needs no transition."""
        draft = self._draft(
            kind, event, to_state=target.name, status="success", entered=entered, outcome=outcome
        )
        if entered:
            self.enter(draft, target)
        if context:
            draft["change"] = self.context.overlay(context, draft.get("change", NO_CHANGE))
        if outcome is not None:
            draft["outcome"] = outcome
            if self._armed:
                self._armed = ()
                draft["timers"] = ()
            # Only what there is can be cleared: a store without due work can cancel, too.
            self._timers_touched = bool(self.instance.timers) or self.instance.continuation is not None
        self._snapshot()

    def upgrade(
        self,
        target: ResolvedState,
        timers: tuple[ArmedTimer, ...],
        context: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that from now on this definition governs: in this state, with these timers and this context.

        Nothing is entered by it: the time in the state goes on, and declared context is not laid over.

        Raises:
            InvalidArgument: the context cannot be stored.
        """
        draft = self._draft(
            "upgraded", "$upgraded", to_state=target.name, status="success", entered=False, outcome=target.outcome
        )  # fmt: skip
        self.state = target
        self._armed = timers if target.outcome is None else ()
        draft["timers"] = None if self._armed == self.instance.timers else self._armed
        self._timers_touched = bool(self.instance.timers or self._armed)
        if context is not None:
            draft["change"] = self.context.replace(context)
        self._snapshot()

    def stop_before(self, candidate: Candidate, event: str) -> None:
        """Leave the rest of the chain to a worker, because the next hop talks to the outside world."""
        if self._armed:  # only an upgrade gets here without entering a state
            self._armed = ()
            self._drafts[-1]["timers"] = ()
        stored = self._drafts[0].get("payload")
        self._continuation = Continuation(event, stored, self._rules.ids(), candidate.path)

    def count_hop(self) -> None:
        """Note one automatic hop.

        Raises:
            ChainTooDeep: there were too many.
        """
        self._hops.append(self.state.name)
        if len(self._hops) > self._rules.max_automatic_moves:
            raise ChainTooDeep(self.instance.id, self._rules.max_automatic_moves, tuple(self._hops))

    # --- the result ---------------------------------------------------------------------------------------------

    def _snapshot(self) -> None:
        if self.snapshots is not None:
            draft = self._drafts[-1]
            after = attrs.evolve(
                self.instance,
                state=self.state.name,
                version=self._version,
                context=self.context.copy(),
                updated_at=self.now,
                entered_at=self.now if self.entered else self.instance.entered_at,
                outcome=draft["outcome"],
                finished_at=self.now if draft["outcome"] is not None else None,
                timers=self._armed,
                continuation=None,
            )
            self.snapshots.append((after, len(self._drafts) - 1))

    @property
    def entries(self) -> tuple[HistoryEntry, ...]:
        """What it records, as far as it is worked out."""
        return tuple(HistoryEntry(**draft) for draft in self._drafts)

    @property
    def continuing(self) -> bool:
        """Whether the chain stopped for a worker."""
        return self._continuation is not None

    def finish(self) -> Writes:
        """Everything that this step writes."""
        before = self._before
        outcome = self._drafts[-1]["outcome"] if self._drafts else self.instance.outcome
        due: DueChange | None = None
        if self.entered:
            if outcome is None and self._continuation is None and self.state.timers:
                asked = self.asked()
                timers = (
                    arm(timer, asked, self._rules.handlers.delays) for timer in self.state.timers.values()
                )
                self._armed = tuple(timer for timer in timers if timer is not None)
                last = next(draft for draft in reversed(self._drafts) if draft["entered"])
                last["timers"] = self._armed
            had = before is not None and (before.timers or before.continuation is not None)
            if self._continuation is not None:
                due = SetDue(self.now)
            elif self._armed:
                due = SetDue(min(timer.due_at for timer in self._armed))
            elif had:
                due = ClearDue()
        elif self._continuation is not None:
            due = SetDue(self.now)
        elif self._timers_touched:
            due = SetDue(min(timer.due_at for timer in self._armed)) if self._armed else ClearDue()
        elif self._armed and self._drafts and self._drafts[-1]["kind"] == "moved":
            # An internal move may have changed what a rejected timer's guards say: those already due try at once.
            due = NudgeDue(self.now) if min(timer.due_at for timer in self._armed) <= self.now else None
        after = Instance(
            id=self.instance.id,
            namespace=self.instance.namespace,
            workflow=self.instance.workflow,
            definition_version=self.definition.version,
            state=self.state.name,
            version=self._version,
            created_at=self.instance.created_at,
            updated_at=self.now,
            entered_at=self.now if self.entered else self.instance.entered_at,
            context=self.context.data,
            metadata=self.instance.metadata,
            ref=self.instance.ref,
            outcome=outcome,
            finished_at=self.now if outcome is not None else None,
            timers=self._armed,
            parent_id=self.instance.parent_id,
            root_id=self.instance.root_id,
            lease_token=self.instance.lease_token,
            waiting_events=self.instance.waiting_events,
            continuation=self._continuation,
        )
        return Writes(before, after, self.entries, due, messages=tuple(self._messages))
