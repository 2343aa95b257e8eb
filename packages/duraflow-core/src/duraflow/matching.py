"""Does the row of an instance match a query?"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from duraflow.codec import Codec
from duraflow.containment import contains
from duraflow.queries import InstanceQuery
from duraflow.records import Record


def matcher(query: InstanceQuery, codec: Codec) -> Callable[[Record], bool]:
    """The query as a function of a row.

    Raises:
        InvalidArgument: its metadata cannot be stored, and so nothing could contain it.
    """
    # Read back from text, so that both sides are what JSON knows: lists for tuples, tagged dates.
    wanted = json.loads(codec.encode(query.metadata, path="metadata")) if query.metadata else None

    def matches(row: Record) -> bool:
        return (
            (query.workflow is None or row["workflow"] == query.workflow)
            and (query.states is None or row["state"] in query.states)
            and (query.open is None or (row["outcome"] is None) == query.open)
            and (query.outcomes is None or row["outcome"] in query.outcomes)
            and (query.definition_version is None or row["definition_version"] == query.definition_version)
            and (query.leased is None or (row["lease_token"] is not None) == query.leased)
            and (query.continuing is None or (row["continuation"] is not None) == query.continuing)
            and (query.waiting is None or row["waiting_events"] == query.waiting)
            and _within(row["created_at"], query.created)
            and _within(row["updated_at"], query.updated)
            and _within(row["entered_at"], query.entered)
            and (wanted is None or contains(json.loads(row["metadata"]), wanted))
        )

    return matches


def _within(time: datetime, bounds: tuple[datetime | None, datetime | None]) -> bool:
    start, end = bounds
    return (start is None or time >= start) and (end is None or time < end)
