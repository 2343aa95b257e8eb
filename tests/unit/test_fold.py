"""Does history alone say what an instance looks like, and refuse what is no history?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from duraflow import ArmedTimer, Change, Continuation, Folded, HistoryEntry, Instance, InvalidArgument, fold
from duraflow.fold import snapshot_after, unborn

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


DAY = timedelta(days=1)
LATER = Instance(
    id=UUID(int=1), namespace="n", workflow="w", definition_version=9, state="z", version=9, created_at=NOW,
    updated_at=NOW + 9 * DAY, entered_at=NOW + 9 * DAY, context={"z": 1}, metadata={"m": 1}, ref="A1", outcome="done",
    finished_at=NOW + 9 * DAY, timers=(ArmedTimer("z", NOW),), parent_id=UUID(int=5), root_id=UUID(int=6),
    lease_token=UUID(int=7), waiting_events=True, continuation=Continuation("e", None, UUID(int=8), "p"),
)  # fmt: skip


def test_a_snapshot_is_the_whole_instance_as_it_was() -> None:
    """With its times; fixed for life comes from the later row; nothing else of the later row shows."""
    timer = ArmedTimer("t", NOW + DAY)
    entries = [
        _entry(1, change=Change({"a": 1}), metadata={"m": 1}, timers=(timer,)),
        _entry(2, at=NOW + DAY, entered=False, change=Change({"b": 2}, ("a",))),
        _entry(3, at=NOW + 2 * DAY, kind="cancelled", to_state="b", timers=(), outcome="cancelled"),
        _entry(4, at=NOW + 3 * DAY, kind="forced", to_state="c", definition_version=2),
    ]
    fixed: dict[str, Any] = {
        "id": LATER.id, "namespace": "n", "workflow": "w", "created_at": NOW, "metadata": {"m": 1}, "ref": "A1",
        "parent_id": UUID(int=5), "root_id": UUID(int=6),
    }  # fmt: skip
    first = Instance(
        **fixed, definition_version=1, state="a", version=1, updated_at=NOW, entered_at=NOW, context={"a": 1},
        timers=(timer,),
    )  # fmt: skip
    second = Instance(
        **fixed, definition_version=1, state="a", version=2, updated_at=NOW + DAY, entered_at=NOW, context={"b": 2},
        timers=(timer,),
    )  # fmt: skip
    third = Instance(
        **fixed, definition_version=1, state="b", version=3, updated_at=NOW + 2 * DAY, entered_at=NOW + 2 * DAY,
        context={"b": 2}, outcome="cancelled", finished_at=NOW + 2 * DAY,
    )  # fmt: skip
    fourth = Instance(
        **fixed, definition_version=2, state="c", version=4, updated_at=NOW + 3 * DAY, entered_at=NOW + 3 * DAY,
        context={"b": 2},
    )  # fmt: skip
    for number, expected in enumerate([first, second, third, fourth], start=1):
        found = snapshot_after(unborn(LATER), entries[:number])
        assert found == expected
        assert snapshot_after(found, entries[number:]) == fourth


def test_a_snapshot_over_gaps_is_refused() -> None:
    """Only all entries from the first on say what an instance was like."""
    for entries in ([_entry(2)], [_entry(1), _entry(3)], [_entry(1), _entry(2, kind="created")]):
        with pytest.raises(InvalidArgument, match="history"):
            snapshot_after(unborn(LATER), entries)
