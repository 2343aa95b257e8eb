"""Which instances are meant? The filter of `list` and `count`, and its cursor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.values import EMPTY, Outcome
from duraflow.errors import InvalidArgument
from duraflow.instance import Instance


@attrs.frozen(kw_only=True)
class InstanceQuery:
    """A filter; every part that is given must hold.

    Attributes:
        states: any of these.
        open: True for living ones, False for finished ones.
        outcomes: any of these.
        metadata: contained in the instance's metadata, as JSONB's `@>` means it.
        definition_version: stamped with this one.
        leased: True for those that a worker holds.
        continuing: True for those whose automatic chain waits for a worker.
        waiting: True for those with queued events that wait for another state.
        created: from (inclusive) and to (exclusive); either may be None. So are `updated` and `entered`.
    """

    workflow: str | None = None
    states: tuple[str, ...] | None = None
    open: bool | None = None
    outcomes: tuple[Outcome, ...] | None = None
    metadata: Mapping[str, Any] = EMPTY
    created: tuple[datetime | None, datetime | None] = (None, None)
    updated: tuple[datetime | None, datetime | None] = (None, None)
    entered: tuple[datetime | None, datetime | None] = (None, None)
    oldest_first: bool = False
    definition_version: int | None = None
    leased: bool | None = None
    continuing: bool | None = None
    waiting: bool | None = None


def cursor_after(instance: Instance) -> str:
    """An opaque text that stands for the place after this instance."""
    text = f"{instance.created_at.isoformat()}/{instance.id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def read_cursor(cursor: str) -> tuple[datetime, UUID]:
    """The place a cursor stands for.

    Raises:
        InvalidArgument: it was not made by `list`.
    """
    try:
        created_at, _, instance_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition("/")
        return datetime.fromisoformat(created_at), UUID(instance_id)
    except (ValueError, binascii.Error) as error:
        raise InvalidArgument("cursor", "it was not made by `list`; pass `page.cursor` unchanged") from error
