"""What does one step do to an instance? Worked out as values, without clock, I/O or logging.

A `Step` gathers what is decided: hops, their history entries, the context as it changes, and in the end the `Writes`.
`advance` is the machine itself, a generator: it yields a `Run` whenever commands must run and is sent what `Ran`; who
drives it does all the waiting. Without commands it never yields. It can stop before any automatic hop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any
from uuid import UUID

import attrs

from duraflow.codec import Codec, canonical_json
from duraflow.definition.resolve import Candidate, ResolvedState, Timer, unknown_state
from duraflow.definition.values import MAX_DELAY
from duraflow.definition.workflow import Workflow
from duraflow.errors import ChainTooDeep, CommandFailed, InvalidArgument
from duraflow.handlers import Asked, HandlerTable
from duraflow.instance import (
    NO_CHANGE,
    ArmedTimer,
    Blocker,
    Change,
    CommandResult,
    Continuation,
    EntryKind,
    EntryStatus,
    HistoryEntry,
    Instance,
)
from duraflow.machine.guards import Memo, choose
from duraflow.writes import ClearDue, DueChange, NudgeDue, SetDue, Writes

AUTO = "$auto"


@attrs.frozen
class Rules:
    """What is the same for all steps of a runtime."""

    handlers: HandlerTable
    codec: Codec
    ids: Callable[[], UUID]
    max_automatic_moves: int


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

Machine = Generator[Run, Ran, None]


class Step:
    """One step of one instance while it is being worked out. Lives for one `fire` (or create, cancel, …)."""

    __slots__ = (
        "_armed",
        "_before",
        "_continuation",
        "_drafts",
        "_encoded",
        "_hops",
        "_rules",
        "_timers_touched",
        "_version",
        "attempt_id",
        "context",
        "context_changed",
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
        self.context: dict[str, Any] = instance.context
        self.context_changed = False
        self._armed = instance.timers
        self._timers_touched = False
        self._drafts: list[dict[str, Any]] = []
        self._hops: list[str] = []
        self._encoded: dict[str, str] | None = None
        self._continuation: Continuation | None = None
        self.entered = False
        self.failed = False
        self.spent_timer: str | None = None
        """The timer that started this step: an internal move disarms it, as it has done its work."""
        self.snapshots: list[tuple[Instance, int]] | None = [] if snapshots else None

    # --- asking -------------------------------------------------------------------------------------------------

    def asked(self) -> Asked:
        """What guards and delays may look at now; the context is read-only to them."""
        return Asked(self.payload, MappingProxyType(self.context), self.instance.metadata, self.now)

    # --- recording ----------------------------------------------------------------------------------------------

    def watch_context(self) -> None:
        """Remember the context as it is, because commands are about to write to it."""
        if self._encoded is None:
            self._encoded = self._encode_context()

    def restore_context(self) -> None:
        """Undo what was written to the context since it was remembered by `watch_context`, in place."""
        kept = self._encoded or {}
        self.context.clear()
        self.context.update({key: self._rules.codec.decode(text) for key, text in kept.items()})

    def _encode_context(self) -> dict[str, str]:
        for key in self.context:
            if type(key) is not str:
                raise InvalidArgument("context", f"the key {key!r} is not text")
        codec = self._rules.codec
        return {
            key: canonical_json(codec.to_plain(value, path=f"context.{key}"))
            for key, value in self.context.items()
        }

    def rewatch_context(self) -> dict[str, str] | None:
        """Take what was written so far as the state that `restore_context` returns to; gives the earlier one."""
        earlier = self._encoded
        self._encoded = self._encode_context()
        return earlier

    def watch_from(self, earlier: dict[str, str] | None) -> None:
        """Go back to an earlier remembered context as the one that changes are counted from."""
        self._encoded = earlier

    def _written_by_commands(self) -> Change:
        if self._encoded is None:
            return NO_CHANGE
        after = self._encode_context()
        written = {key: text for key, text in after.items() if self._encoded.get(key) != text}
        unset = tuple(key for key in self._encoded if key not in after)
        self._encoded = None
        decode = self._rules.codec.decode
        # From now on it is what a store gives back; the entry keeps a copy of its own.
        self.context.update({key: decode(text) for key, text in after.items()})
        if not written and not unset:
            return NO_CHANGE
        return Change({key: decode(text) for key, text in written.items()}, unset)

    def _as_read_back(self, blocker: Blocker) -> Blocker:
        if not blocker.parameters:
            return blocker
        path = f"parameters of the blocker {blocker.code!r}"
        parameters: Any = self._rules.codec.copy(dict(blocker.parameters), path=path)
        return attrs.evolve(blocker, parameters=parameters)

    def _copy(self, value: dict[str, Any]) -> dict[str, Any]:
        return self._rules.codec.copy(value, path="context")  # type: ignore[return-value]  # an object stays one

    def _overlay(self, declared: Mapping[str, Any], change: Change) -> Change:
        """Lay a state's declared context over the instance's."""
        codec = self._rules.codec
        changed = {}
        for key, value in declared.items():
            text = canonical_json(codec.to_plain(value, path=f"context.{key}"))
            if key not in self.context or canonical_json(codec.to_plain(self.context[key], path=key)) != text:
                self.context[key] = codec.decode(text)
                changed[key] = codec.decode(text)
        if not changed:
            return change
        return Change({**change.set, **changed}, tuple(key for key in change.unset if key not in changed))

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
        return draft

    def enter(self, draft: dict[str, Any], target: ResolvedState) -> None:
        """Be in another state (or again in the same): its declared context, no timers until the chain rests."""
        self.state = target
        self.entered = True
        if self._armed:
            self._armed = ()
            draft["timers"] = ()
        draft["outcome"] = target.outcome
        change = draft.get("change", NO_CHANGE)
        if target.context:
            change = self._overlay(target.context, change)
            draft["change"] = change
        if change:
            self.context_changed = True

    def create(self, context: str) -> None:
        """Record the creation with this context, as the codec's text."""
        decode = self._rules.codec.decode
        self.context = decode(context)  # type: ignore[assignment]  # an object stays one
        # The entry keeps its own copy: later hops go on writing to the context.
        change = Change(decode(context)) if self.context else NO_CHANGE  # type: ignore[arg-type]  # likewise
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
        change = self._written_by_commands() if ran.results else NO_CHANGE
        if change:
            self.context_changed = True
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
        self._snapshot()

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
            draft["change"] = self._overlay(context, draft.get("change", NO_CHANGE))
            self.context_changed = True
        if outcome is not None:
            draft["outcome"] = outcome
            if self._armed:
                self._armed = ()
                draft["timers"] = ()
            # Only what there is can be cleared: a store without due work can cancel, too.
            self._timers_touched = bool(self.instance.timers) or self.instance.continuation is not None
        self._snapshot()

    def stop_before(self, candidate: Candidate, event: str) -> None:
        """Leave the rest of the chain to a worker, because the next hop talks to the outside world."""
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
                context=self._copy(self.context),
                updated_at=self.now,
                entered_at=self.now if self.entered else self.instance.entered_at,
                outcome=draft["outcome"],
                finished_at=self.now if draft["outcome"] is not None else None,
                timers=self._armed,
                continuation=None,
            )
            self.snapshots.append((after, len(self._drafts) - 1))

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
                timers = (self._arm(timer, asked) for timer in self.state.timers.values())
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
        elif self._timers_touched:
            due = SetDue(min(timer.due_at for timer in self._armed)) if self._armed else ClearDue()
        elif self._armed and self._drafts and self._drafts[-1]["kind"] == "moved":
            # An internal move may have changed what a rejected timer's guards say: those already due try at once.
            due = NudgeDue(self.now) if min(timer.due_at for timer in self._armed) <= self.now else None
        entries = tuple(HistoryEntry(**draft) for draft in self._drafts)
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
            context=self.context,
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
        return Writes(before, after, entries, due)

    def _arm(self, timer: Timer, asked: Asked) -> ArmedTimer | None:
        after = timer.after
        if isinstance(after, timedelta):
            return ArmedTimer(timer.event, self.now + after)
        computed = self._rules.handlers.delays[after.name](asked)
        if computed is None:
            # This instance needs no such timer here: one that is bound to be refused would only fill the history.
            return None
        where = f"delay {after.name!r}"
        if isinstance(computed, timedelta):
            if abs(computed) > MAX_DELAY:
                raise InvalidArgument(where, f"it returned {computed}; the limit is {MAX_DELAY.days} days")
            return ArmedTimer(timer.event, max(self.now, self.now + computed))
        if not isinstance(computed, datetime):
            raise InvalidArgument(
                where,
                f"it returned {computed!r}; return a timedelta, an aware datetime, or None for no timer",
            )
        if computed.tzinfo is None:
            raise InvalidArgument(where, f"it returned {computed!r}, which has no time zone")
        if computed - self.now > MAX_DELAY:
            raise InvalidArgument(
                where, f"it returned {computed}; the limit is {MAX_DELAY.days} days from now"
            )
        return ArmedTimer(timer.event, computed.astimezone(self.now.tzinfo))


def advance(step: Step, first: Candidate | None, event: str, stored_payload: Any, rules: Rules) -> Machine:
    """Take a transition, then follow automatic ones until the chain rests or must stop for a worker.

    Args:
        first: the chosen transition; None to begin with the automatic ones (after a creation).
    """
    if first is not None:
        transition_id = rules.ids()
        ran = NOTHING_RAN
        if first.commands:
            ran = yield Run(first, event, transition_id)
        step.move(first, event, stored_payload, transition_id, ran)
        if first.internal and ran.failure is None:
            return
    while (yield from _automatic_hop(step, event, rules)):
        pass


def _automatic_hop(step: Step, event: str, rules: Rules) -> Generator[Run, Ran, bool]:
    """Try the automatic transitions of the state in order; whether one of them led on."""
    candidates = step.state.automatic
    if not candidates:
        return False
    memo: Memo = {}
    asked = step.asked()
    for candidate in candidates:
        if choose((candidate,), asked, rules.handlers.guards, memo).candidate is None:
            continue
        if candidate.external:
            step.stop_before(candidate, event)
            return False
        step.count_hop()
        transition_id = rules.ids()
        ran = NOTHING_RAN
        if candidate.commands:
            ran = yield Run(candidate, AUTO, transition_id)
            memo, asked = {}, step.asked()
        step.move(candidate, AUTO, None, transition_id, ran)
        if not candidate.internal or ran.failure is not None:
            return True
    return False
