"""How does a blocking application look into the past of instances, and ask why one does not move?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from duraflow.definition.workflow import Workflow
from duraflow.handlers import Handlers
from duraflow.instance import Instance
from duraflow.runtime import asking, seeing
from duraflow.runtime.blocking.base import Base
from duraflow.runtime.drive import drive
from duraflow.runtime.engine import Target

if TYPE_CHECKING:
    from duraflow.differences import InstanceDiff
    from duraflow.reasons import Why
    from duraflow.rerun import RerunReport

Range = tuple[datetime | None, datetime | None]
_ANY: Range = (None, None)


class Seeing(Base):
    """Earlier states, differences, reasons."""

    def state_at(self, target: Target, *, seq: int | None = None, time: datetime | None = None) -> Instance:
        """An instance as it was, worked out from its history: what `get` gave at that moment.

        Of all but the last entry, `lease_token`, `waiting_events` and `continuation` are not recorded, and empty.

        Args:
            seq: right after the entry with this number. In the middle of a chain of automatic moves, too, where no
                reader ever saw it.
            time: at this time (aware): after the last entry that is not later.

        Raises:
            InvalidArgument: it has no such entry, or was not yet created.
        """
        return drive(seeing.state_at(self._engine, self._work, target, seq, time))

    def diff(self, target: Target, a: int | datetime, b: int | datetime | None = None) -> InstanceDiff:
        """What has changed in an instance between two moments; `print` it for a report.

        Args:
            a: the earlier moment: the `seq` of an entry (right after it), or a time (aware).
            b: the later one, likewise; None is now.

        Raises:
            InvalidArgument: it has no such entry, was not yet created, or `a` is later than `b`.
        """
        return drive(seeing.diff(self._engine, self._work, target, a, b))

    def why(self, target: Target) -> Why:
        """Why an instance does not move: what it waits for, since when and until when, and what stands in its way.

        `print` it for an answer in words; its fields are for programs. Reads the row, its last history entry and its
        due work, and changes nothing. Guards are asked as by `explain` without payloads.
        """
        from duraflow.runtime import reasoning

        return drive(reasoning.why(self._engine, self._work, target))

    def replay(
        self,
        workflow: Workflow,
        *,
        instances: Iterable[Target] | None = None,
        state: str | Iterable[str] | None = None,
        open: bool | None = None,  # noqa: A002  # the plain word
        outcome: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created: Range = _ANY,
        updated: Range = _ANY,
        entered: Range = _ANY,
        oldest_first: bool = False,
        limit: int | None = 1_000,
        cursor: str | None = None,
        keep: int = 1_000,
        guards: Handlers = (),
        delays: Handlers = (),
        on_progress: Callable[[int], object] | None = None,
    ) -> RerunReport:
        """Run recorded histories against another definition, and tell where each would have gone differently.

        Nothing is touched: no command runs, nothing is written. Guards and delays are run, with the recorded payload,
        the metadata, the context as it would have been, and the recorded time as `now`. What commands answered and
        wrote is taken from the record by their names; operators' moves are taken as recorded. Each history is followed
        to the first entry that differs, or that the record cannot answer; that is told as *unknown*, never assumed.

        Args:
            workflow: the definition to try, whatever its version; its name says whose histories.
            instances: which ones; else those that the filter finds, which is that of `list`.
            limit: at most so many of those that the filter finds; None for all. `report.cursor` goes on from there.
            keep: how many differences, and how many unknowns, are told in full (0 to 10,000); all are counted.
            guards: guards that go before those of the definition and of the runtime. So do `delays`.
            on_progress: plain, or async with `AsyncRuntime`; called with the number of instances done, after every
                hundred, and at the end.

        Raises:
            InstanceNotFound: one of `instances` is not there.
            InvalidArgument: one of them is of another workflow; a filter makes no sense.
        """
        from duraflow.runtime import rerunning

        query = asking.query_of(
            self._engine, workflow=workflow, state=state, open=open, outcome=outcome, metadata=metadata,
            created=created, updated=updated, entered=entered, oldest_first=oldest_first,
        )  # fmt: skip
        use_case = rerunning.replay(
            self._engine, self._work, workflow, query, instances, limit=limit, cursor=cursor, keep=keep,
            guards=guards, delays=delays, on_progress=on_progress,
        )  # fmt: skip
        return drive(use_case)
