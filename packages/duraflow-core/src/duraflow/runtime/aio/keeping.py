"""How does an asyncio application prune, export and import instances?"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from duraflow.definition.workflow import Workflow
from duraflow.runtime.aio.base import AsyncBase
from duraflow.runtime.engine import Target

if TYPE_CHECKING:
    from duraflow.retention import ImportResult, PruneResult
    from duraflow.runtime import exporting

Range = tuple[datetime | None, datetime | None]
_ANY: Range = (None, None)
Lines = Iterable[str] | AsyncIterable[str]


class AsyncKeeping(AsyncBase):
    """Retention, export and import."""

    async def prune(
        self,
        *,
        older_than: timedelta | datetime,
        outcomes: str | Iterable[str] | None = None,
        workflow: str | Workflow | None = None,
        batch: int = 100,
        limit: int | None = None,
        dry_run: bool = False,
        receipts_older_than: timedelta | datetime | None = None,
        messages_older_than: timedelta | datetime | None = None,
        on_progress: Callable[[PruneResult], Any] | None = None,
    ) -> PruneResult:
        """Take out what finished long ago, with its history, receipts and messages; and receipts that have expired.

        Batch after batch, each a transaction of its own: what others hold is passed over, so that neither live work
        nor another pruning waits. It may be broken off at any time, and run again. Open instances are never touched;
        nor is a finished one of whose messages some handler has not had all.

        Args:
            older_than: how long ago, or before when, an instance finished. A timedelta is positive.
            outcomes: only instances with one of these: `done`, `failed`, `cancelled`.
            workflow: only instances of this workflow. Receipts and messages go by their own age alone.
            batch: how many in one transaction, 1 to 10,000.
            limit: at most so many instances, and as many receipts, and messages; None for all.
            dry_run: count, and write nothing.
            receipts_older_than: receipts made before that go too; None: only those whose `keep_for` has passed.
            messages_older_than: messages of moves before that go, if every handler has had them; None: none.
            on_progress: plain, or async with `AsyncRuntime`; called with what was done up to now after each batch.

        Raises:
            InvalidArgument: an argument cannot be used.
            NotSupported: the persistence has no retention.
        """
        from duraflow.runtime import keeping

        asked = keeping.pruning(
            older_than=older_than, outcomes=outcomes, workflow=workflow, batch=batch, limit=limit, dry_run=dry_run,
            receipts_older_than=receipts_older_than, messages_older_than=messages_older_than, on_progress=on_progress,
        )  # fmt: skip
        return await keeping.prune(self._engine, asked)

    def export(
        self,
        targets: Target | Iterable[Target] | None = None,
        *,
        workflow: str | Workflow | None = None,
        state: str | Iterable[str] | None = None,
        open: bool | None = None,  # noqa: A002  # the plain word
        outcome: str | Iterable[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        created: Range = _ANY,
        updated: Range = _ANY,
        entered: Range = _ANY,
    ) -> AsyncIterator[str]:
        """Whole instances as JSON Lines, oldest first: a header, definitions before the instances of them, an end.

        Lines have no line break. A few instances are held at a time, and no transaction between them: each instance is
        as it was at one moment, the export as a whole is not.

        Args:
            targets: these instances, in this order; else those that match the filter, which is that of `list`.

        Raises:
            InvalidArgument: an argument cannot be used.
            NotSupported: the persistence cannot read whole instances.
            InstanceNotFound: with a line: there is no such instance.
        """
        from duraflow.runtime import exporting

        query = exporting.query_of(
            self._engine, workflow=workflow, state=state, open=open, outcome=outcome, metadata=metadata,
            created=created, updated=updated, entered=entered,
        )  # fmt: skip
        return _lines(exporting.exporter(self._engine, targets, query))

    async def import_(
        self,
        lines: Lines,
        *,
        on_conflict: Literal["fail", "skip"] = "fail",
        messages: Literal["undelivered", "all"] = "undelivered",
    ) -> ImportResult:
        """Take in what `export` wrote, into this runtime's namespace: instances as they were, whole or not at all.

        Each is checked before it is written: its history must give exactly its row, its moves must be those of their
        definition. To the change feed they are new. Timers that fell due meanwhile fire with the next sweep.

        Args:
            on_conflict: `skip` leaves out an instance whose id, ref or creation key is taken; the result names it.
            messages: `undelivered` leaves out those that every handler has had where they come from.

        Raises:
            ImportRefused: a line cannot be taken in. It names the line; what came before stays.
            InvalidArgument: an argument cannot be used.
        """
        from duraflow.runtime import importing

        return await importing.import_lines(self._engine, lines, on_conflict, messages)


async def _lines(exporter: exporting.Exporter) -> AsyncIterator[str]:
    while lines := await exporter.next_lines():
        for line in lines:
            yield line
