"""Which requests are to be done once, and what is kept of them?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from duraflow.codec import canonical_json
from duraflow.errors import InvalidArgument
from duraflow.runtime.engine import Engine
from duraflow.writes import Receipt, Writes

MAX_KEY_BYTES = 256
MAX_KEEP = timedelta(days=36_525)
"""A century: what is to be kept longer is kept as long as its instance, which is the default."""
GIVEN = "given"
"""The part of a fingerprint that holds the caller's own."""


@attrs.frozen
class Keyed:
    """That a request is to be done once, and how it is told from others.

    Attributes:
        fingerprint: True: the request itself; False: nothing is compared; a text: the caller's own.
        keep_for: how long the receipt is kept at least; None: as long as the instance.
    """

    key: str
    fingerprint: str | bool = True
    keep_for: timedelta | None = None


def keyed(engine: Engine, key: object, fingerprint: object, keep_for: object) -> Keyed | None:
    """The key of a request, checked; None without one.

    Raises:
        InvalidArgument: one of them cannot be used.
        NotSupported: the persistence keeps no receipts.
    """
    if key is None:
        for name, value, default in (("fingerprint", fingerprint, True), ("keep_for", keep_for, None)):
            if value is not default:
                raise InvalidArgument(name, "it belongs to a key, and none is given; pass `key=` too")
        return None
    _ = engine.receipts  # raises where there are none
    if not isinstance(key, str):
        raise InvalidArgument("key", f"{key!r} is not text")
    _check_text("key", key)
    if isinstance(fingerprint, str):
        _check_text("fingerprint", fingerprint)
    elif not isinstance(fingerprint, bool):
        raise InvalidArgument(
            "fingerprint",
            f"{fingerprint!r} is neither True (compare requests), False (do not) nor a text of your own",
        )
    if keep_for is not None and not (isinstance(keep_for, timedelta) and timedelta(0) < keep_for <= MAX_KEEP):
        raise InvalidArgument(
            "keep_for",
            f"{keep_for!r} is not a positive timedelta of at most {MAX_KEEP.days:,} days; without it a receipt is kept "
            "as long as its instance",
        )
    return Keyed(key, fingerprint, keep_for)


def _check_text(argument: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidArgument(argument, f"{text!r} has lone surrogates, which UTF-8 cannot hold") from None
    if not 1 <= size <= MAX_KEY_BYTES:
        raise InvalidArgument(argument, f"it has {size} bytes; from 1 to {MAX_KEY_BYTES} are allowed")
    if "\x00" in text:
        raise InvalidArgument(argument, f"{text!r} has a NUL character, which PostgreSQL cannot keep")


def receipt_of(
    request: Keyed,
    writes: Writes,
    now: datetime,
    *,
    status: str = "success",
    creation: Mapping[str, str] | None = None,
) -> Receipt:
    """The receipt that a step leaves with its writes.

    Args:
        creation: of a creation, the fingerprints of its parts; an event's are in the history itself.
    """
    after = writes.after
    result: dict[str, Any] = {"status": status}
    if after.continuation is not None:
        result["continuation"] = attrs.asdict(after.continuation)
    if after.waiting_events:
        result["waiting_events"] = True
    match request.fingerprint:
        case str() as text:
            fingerprint: Mapping[str, str] | None = {GIVEN: text}
        case True:
            fingerprint = creation or {}
        case _:
            fingerprint = None
    return Receipt(
        instance_id=after.id,
        key=request.key,
        first_seq=writes.entries[0].seq,
        last_seq=writes.entries[-1].seq,
        created_at=now,
        workflow=after.workflow if creation is not None else None,
        fingerprint=fingerprint,
        result=result,
        expires_at=None if request.keep_for is None else now + request.keep_for,
    )


def short_hash(engine: Engine, value: Any, path: str) -> str:
    """A value in 32 characters: equal for what is stored alike."""
    text = canonical_json(engine.codec.to_plain(value, path=path))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
