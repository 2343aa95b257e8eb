"""Does history alone say what an instance looks like, and refuse what is no history?"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from duraflow import ArmedTimer, Change, Folded, HistoryEntry, InvalidArgument, fold

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def _entry(seq: int, **changes: Any) -> HistoryEntry:
    values: dict[str, Any] = {
        "instance_id": UUID(int=1),
        "seq": seq,
        "kind": "created" if seq == 1 else "moved",
        "event": "e",
        "from_state": None if seq == 1 else "a",
        "to_state": "a",
        "at": NOW,
        "definition_version": 1,
        "attempt_id": UUID(int=seq),
    }
    return HistoryEntry(**{**values, **changes})


def test_changes_add_up() -> None:
    """By top-level key, set and unset; timers stay until an entry says otherwise; metadata is the creation's."""
    timer = ArmedTimer("t", NOW)
    entries = [
        _entry(1, change=Change({"a": 1, "b": {"x": 1}}), metadata={"m": 1}, timers=(timer,)),
        _entry(2, change=Change({"b": {"y": 2}}, ("a",)), to_state="b"),
        _entry(3, kind="rejected", to_state="b"),
        _entry(
            4, change=Change({"a": None}), to_state="c", timers=(), outcome="failed", definition_version=2
        ),
    ]
    assert fold(entries[:1]) == Folded("a", 1, {"a": 1, "b": {"x": 1}}, {"m": 1}, None, 1, (timer,))
    assert fold(entries[:3]) == Folded("b", 3, {"b": {"y": 2}}, {"m": 1}, None, 1, (timer,))
    assert fold(entries) == Folded("c", 4, {"b": {"y": 2}, "a": None}, {"m": 1}, "failed", 2, ())
    assert fold(iter(entries)) == fold(entries)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [_entry(2)],
        [_entry(1, kind="moved")],
        [_entry(1), _entry(3)],
        [_entry(1), _entry(1)],
        [_entry(1), _entry(2, kind="created")],
        [_entry(1), _entry(2), _entry(2)],
        [_entry(1), _entry(3), _entry(2)],
    ],
)
def test_what_is_no_history_is_refused(entries: list[HistoryEntry]) -> None:
    """Nothing, a gap, a repetition, another order, no creation or two."""
    with pytest.raises(InvalidArgument, match="history"):
        fold(entries)
