"""How does a blocking application create and move instances?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from duraflow.definition.values import EMPTY
from duraflow.definition.workflow import Workflow
from duraflow.instance import Instance
from duraflow.results import (
    FireResult,
    Firing,
    NewInstance,
    Unfired,
)
from duraflow.runtime import batches, creating, firing, operating
from duraflow.runtime.blocking.base import Base
from duraflow.runtime.drive import drive
from duraflow.runtime.engine import Target


class Moving(Base):
    """Creating and firing, and what an operator does."""

    def create(
        self,
        workflow: str | Workflow,
        context: Mapping[str, Any] = EMPTY,
        *,
        metadata: Mapping[str, Any] = EMPTY,
        ref: str | None = None,
        id: UUID | None = None,  # noqa: A002  # the plain word
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
        key: str | None = None,
        fingerprint: str | bool = True,
        keep_for: timedelta | None = None,
    ) -> Instance:
        """Create an instance of the newest version of a workflow, and follow its automatic transitions.

        Args:
            context: laid over the initial state's declared context.
            metadata: JSON labels, fixed for good; `list` can filter by them.
            ref: your own permanent key for it, at most 256 bytes, unique per namespace and workflow.
            id: its id, if it is made elsewhere.
            subject: any object, passed on to commands.
            trigger: who or what creates it, for the history.
            key: makes the request safe to send again: under one key, unique per workflow, one instance is created, and
                everyone who asks gets it as it was then. 1 to 256 bytes.
            fingerprint: how a request is known to be the same: True compares context, metadata, ref and id; a text is
                your own; False compares nothing.
            keep_for: how long the key is remembered, at least; None: as long as the instance.

        Raises:
            AlreadyExists: the ref or id is taken; the error has the id of the instance that has it.
            IdempotencyConflict: the key was used for another request.
            DefinitionNotFound: the runtime does not have the workflow.
            InvalidArgument: something given cannot be stored.
            CommandFailed, ChainTooDeep: as for `fire`.
        """
        new = NewInstance(workflow, context, metadata, ref, id, subject, trigger, key, fingerprint, keep_for)
        return drive(creating.create(self._engine, self._work, new))

    def create_many(self, instances: Iterable[NewInstance], /) -> tuple[Instance, ...]:
        """Create several, all or none, in one transaction and (where the store can) one statement.

        Raises:
            AlreadyExists: one of the refs or ids is taken; none was created.
        """
        return drive(creating.create_many(self._engine, self._work, tuple(instances)))

    def fire(
        self,
        target: Target,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
        key: str | None = None,
        fingerprint: str | bool = True,
        keep_for: timedelta | None = None,
    ) -> FireResult:
        """Fire an event at an instance. When this returns, what it says is committed (or joins the open transaction).

        Args:
            target: an id (also as text), an `Instance`, or `(workflow, ref)`.
            payload: as the event's payload type says: its class or a mapping of its fields; JSON without one.
            subject: any object, passed on to commands, also through automatic hops; never stored.
            trigger: who or what fired it, as JSON labels such as `{"by": "anna"}`, kept in history.
            key: makes the request safe to send again: under one key, unique per instance, the event takes effect once,
                and everyone who asks gets the first result, also a rejection. 1 to 256 bytes.
            fingerprint: how a request is known to be the same: True compares event and payload; a text is your own;
                False compares nothing.
            keep_for: how long the key is remembered, at least; None: as long as the instance.

        Raises:
            InstanceNotFound: there is no such instance.
            EventRefused: the state does not accept the event, or the instance is finished. Nothing was recorded.
            CommandFailed: a command returned a `Failure` and no `error_target` leads on. All was rolled back.
            Busy: durable work holds the instance.
            IdempotencyConflict: the key was used for another event, or another payload.
            ChainTooDeep: automatic transitions did not come to rest. All was rolled back.
            InvalidArgument: the event or payload cannot be used; raised before anything is locked.
            StoreUnavailable, LockTimeout: see there. Whatever else a guard or command raises rolls back and passes on.
        """
        asked = Firing(target, event, payload, trigger, subject, key, fingerprint, keep_for)
        return drive(firing.fire(self._engine, self._work, asked))

    def try_fire(
        self,
        target: Target,
        event: str,
        payload: Any = None,
        *,
        subject: Any = None,
        trigger: Mapping[str, Any] | None = None,
        key: str | None = None,
        fingerprint: str | bool = True,
        keep_for: timedelta | None = None,
    ) -> FireResult | Unfired:
        """As `fire`, but what the event ran into is a value (`Unfired(error)`) instead of an exception.

        Still raised: arguments that cannot be used, a store that is down, and what guards and commands raise.
        """
        asked = Firing(target, event, payload, trigger, subject, key, fingerprint, keep_for)
        return drive(firing.try_fire(self._engine, self._work, asked))

    def fire_many(self, firings: Iterable[Firing], /) -> tuple[FireResult | Unfired, ...]:
        """Fire many events, each for itself: whatever one runs into is its own answer, and stops no other.

        Answers come in the order given; events for one instance are fired in that order.
        Command-free events for different instances are read by one query and written by one statement.
        """
        return drive(batches.fire_many(self._engine, self._work, tuple(firings)))

    def cancel(self, target: Target, *, reason: str = "", by: str = "") -> FireResult:
        """End an instance now: in the workflow's one state with outcome cancelled, else where it is.

        Raises:
            EventRefused: it is finished already.
        """
        return drive(operating.cancel(self._engine, self._work, target, reason, by))

    def force(
        self,
        target: Target,
        *,
        state: str,
        reason: str,
        by: str = "",
        context: Mapping[str, Any] | None = None,
    ) -> FireResult:
        """The operator's move: to any state of its definition, also from a finished one, recorded as forced.

        The state is entered as by any move: its declared context, its timers, its automatic transitions. `context`
        is laid over by top-level key, last.
        """
        return drive(operating.force(self._engine, self._work, target, state, context, reason, by))

    def rearm(self, target: Target) -> Instance:
        """Try the timers of an instance again from the start, parked ones too; those already due, at once."""
        return drive(operating.rearm(self._engine, self._work, target))

    def delete(self, target: Target, *, force: bool = False) -> Instance:
        """Take out a finished instance with its history; an open one only with `force`. Gives what was deleted."""
        return drive(operating.delete(self._engine, self._work, target, force))
