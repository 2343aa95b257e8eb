"""How does a follower wait? Over a feed that only notes what it was asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import attrs
from hypothesis import given
from hypothesis import strategies as st

from duraflow import FeedEntry, HistoryEntry, Runtime
from duraflow.memory import InMemoryPersistence
from duraflow.ports import FeedPage, FeedPosition


def _entry(number: int) -> FeedEntry:
    entry = HistoryEntry(
        instance_id=UUID(int=1),
        seq=number,
        kind="moved",
        event="go",
        from_state="one",
        to_state="two",
        at=datetime(2024, 1, 1, tzinfo=UTC),
        definition_version=1,
        attempt_id=UUID(int=number),
    )
    return FeedEntry(FeedPosition(number, UUID(int=1), number), "port", None, entry)


@attrs.define
class _Feed:
    """Plays a script: what each read gives, and how many hints there were after each wait."""

    pages: list[list[FeedEntry]]
    hints: list[int]
    waits: list[float] = attrs.field(factory=list)
    reads: list[FeedPosition | None] = attrs.field(factory=list)

    async def read(self, after: FeedPosition | None, /, *, limit: int, workflow: str | None) -> FeedPage:
        self.reads.append(after)
        page = self.pages.pop(0)
        return FeedPage(tuple(page), page[-1].position if page else None, more=False)

    async def end(self) -> FeedPosition:
        return FeedPosition(9, UUID(int=0), 0)

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        self.waits.append(round(seconds, 3))
        return self.hints.pop(0)


def _follow(feed: _Feed, count: int, **options: object) -> list[int]:
    persistence = attrs.evolve(InMemoryPersistence(), feed=feed)
    with Runtime(workflows=[], persistence=persistence) as runtime:
        changes = runtime.changes(follow=True, poll=timedelta(seconds=1), **options)  # type: ignore[arg-type]
        return [next(changes).entry.seq for _ in range(count)]


def test_without_hints_it_waits_for_poll() -> None:
    """Every time, whatever came before."""
    feed = _Feed([[], [], [_entry(1)], [], [_entry(2)]], [0, 0, 0, 0])
    assert _follow(feed, 2) == [1, 2]
    assert feed.waits == [1, 1, 1, 1]
    first = FeedPosition(1, UUID(int=1), 1)
    assert feed.reads == [None, None, None, first, first]


def test_after_a_hint_in_vain_it_looks_again_soon() -> None:
    """Less and less so, up to poll: an older transaction may be open still."""
    feed = _Feed([[] for _ in range(9)] + [[_entry(1)], [], [_entry(2)]], [1] * 9 + [1, 1])
    assert _follow(feed, 2) == [1, 2]
    assert feed.waits == [1, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1, 1, 1, 1]


def test_from_now_it_reads_after_the_end() -> None:
    """Which is asked for once."""
    feed = _Feed([[], [_entry(10)]], [1])
    assert _follow(feed, 1, after="now") == [10]
    assert feed.reads == [FeedPosition(9, UUID(int=0), 0)] * 2


@given(st.integers(0, 2**64 - 1), st.uuids(), st.integers(0, 2**63 - 1))
def test_a_cursor_is_its_position(position: int, instance_id: UUID, seq: int) -> None:
    """There and back."""
    place = FeedPosition(position, instance_id, seq)
    assert FeedPosition.from_text(place.text) == place
