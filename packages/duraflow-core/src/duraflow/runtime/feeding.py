"""How is everything that happens read in one order, page after page, and waited for?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument, NotSupported
from duraflow.ports import ChangeFeed, FeedEntry, FeedPage, FeedPosition
from duraflow.runtime.definitions import workflow_name
from duraflow.runtime.engine import Engine

PAGE = 500
"""How many entries one read gives at most; no connection is held between reads, nor while waiting."""

MIN_POLL, MAX_POLL = timedelta(milliseconds=1), timedelta(days=1)
NOW = "now"
_SOON_S = 0.02


@attrs.define(eq=False)
class FeedReader:
    """Goes through the feed for one iterator. It holds nothing but where it is, so that it can be left at any time.

    Attributes:
        after: from where it goes on; None: from the beginning.
        from_end: it has yet to ask where the end is, and begins there.
        closed: it gives nothing any more.
    """

    _engine: Engine
    _feed: ChangeFeed
    _workflow: str | None
    _follow: bool
    _poll_s: float
    after: FeedPosition | None
    from_end: bool
    closed: bool = False
    _more: bool = True
    _seen: int = 0
    _pause_s: float = 0.0

    async def next_entries(self) -> Sequence[FeedEntry]:
        """The next entries, waiting for them if it follows; none when it has come to its end."""
        while not self.closed:
            self._engine.check_usable(None)
            if not self._more:
                if not self._follow:
                    break
                self._more = True
                await self._wait()
                continue
            if self.from_end:
                self.after = await self._engine.retrying(self._feed.end)
                self.from_end = False
            page = await self._engine.retrying(self._read)
            self.after, self._more = page.reached or self.after, page.more
            if page.entries:
                self._pause_s = 0.0
                return page.entries
        return ()

    async def _wait(self) -> None:
        # After a hint that led to nothing yet, because an older transaction is still open, it looks again soon.
        pause = min(self._pause_s, self._poll_s) or self._poll_s
        seen = await self._feed.wait(pause, seen=self._seen)
        self._pause_s = _SOON_S if seen != self._seen else self._pause_s * 2
        self._seen = seen

    async def _read(self) -> FeedPage:
        return await self._feed.read(self.after, limit=PAGE, workflow=self._workflow)


def reader(
    engine: Engine, after: object, workflow: str | Workflow | None, follow: object, poll: object
) -> FeedReader:
    """A reader for these arguments of `changes`, checked before any I/O.

    Raises:
        InvalidArgument: one of them cannot be used.
        NotSupported: the persistence has no feed.
    """
    feed = engine.persistence.feed
    if feed is None:
        raise NotSupported("`changes`", "a persistence with the port `feed: ChangeFeed`")
    engine.check_usable(None)
    name = None if workflow is None else workflow_name(workflow)
    if not isinstance(follow, bool):
        raise InvalidArgument("follow", f"{follow!r} is neither True nor False")
    if not isinstance(poll, timedelta) or not MIN_POLL <= poll <= MAX_POLL:
        raise InvalidArgument("poll", f"{poll!r} is not a timedelta from {MIN_POLL} to {MAX_POLL}")
    place = None if after is None or after == NOW else FeedPosition.from_text(after)
    return FeedReader(engine, feed, name, follow, poll.total_seconds(), place, after == NOW)
