"""What does it take to keep no more than is wanted, and to carry whole instances elsewhere?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import attrs

from duraflow.definition.values import Outcome
from duraflow.ports.base import UnitOfWork


@attrs.frozen
class PrunedBatch:
    """What one batch took out, or would take out.

    Attributes:
        taken: how many instances, receipts or messages.
        entries: how many history entries went with the instances.
        waiting: how many finished instances, old enough, stay because a handler has not had all of their messages.
        reached: where the next batch goes on; None when everything has been looked at.
    """

    taken: int
    entries: int = 0
    waiting: int = 0
    reached: str | None = None


@attrs.frozen
class Whole:
    """All that is kept of one instance, as records (see `duraflow.records`): JSON columns are text.

    Attributes:
        retries: of its due row, as text; None when there are none, or no due row.
        messages: with `delivered` beside the columns: whether there are handlers, and each of them has had it.
    """

    instance: dict[str, Any]
    entries: tuple[dict[str, Any], ...]
    retries: str | None
    receipts: tuple[dict[str, Any], ...]
    messages: tuple[dict[str, Any], ...]


class Retention(Protocol):
    """Takes out what is old, in batches, and reads whole instances.

    Every pruning looks at a stretch of what there is, in one fixed order, and takes out at most `limit`. What someone
    else holds is passed over, never waited for; it is there the next time.
    """

    async def prune_instances(
        self,
        unit: UnitOfWork,
        /,
        *,
        before: datetime,
        outcomes: Sequence[Outcome] | None,
        workflow: str | None,
        after: str | None,
        limit: int,
        dry_run: bool,
    ) -> PrunedBatch:
        """Take out instances that finished before a time, longest finished first, with all that belongs to them.

        One with a message that some handler has not had yet, or holds back, stays. Children forget their parent.

        Args:
            after: the `reached` of the batch before this one; None begins.
            dry_run: only count.
        """
        ...

    async def prune_receipts(
        self,
        unit: UnitOfWork,
        /,
        *,
        expired: datetime,
        before: datetime | None,
        after: str | None,
        limit: int,
        dry_run: bool,
    ) -> PrunedBatch:
        """Take out receipts whose `expires_at` is at or before `expired`, or that were made before `before`."""
        ...

    async def prune_messages(
        self, unit: UnitOfWork, /, *, before: datetime, after: str | None, limit: int, dry_run: bool
    ) -> PrunedBatch:
        """Take out messages of moves before a time which every handler has had, and none holds back."""
        ...

    async def read(self, unit: UnitOfWork, ids: Sequence[UUID], /) -> Sequence[Whole]:
        """Whole instances, each as it was at one moment, in the given order; those that are gone are left out.

        Args:
            unit: a transaction of its own, which has written nothing.
        """
        ...
