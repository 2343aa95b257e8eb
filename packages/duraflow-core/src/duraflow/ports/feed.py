"""What does it take to follow everything that happens, in one order, without missing what commits late?"""

from __future__ import annotations

import base64
import binascii
from typing import Protocol, Self
from uuid import UUID

import attrs

from duraflow.errors import InvalidArgument
from duraflow.instance import HistoryEntry


@attrs.frozen(order=True)
class FeedPosition:
    """A place in the feed: that of an entry, or one between entries. They are ordered as the feed is.

    Attributes:
        position: of the transaction that wrote the entry, as the store counts them.
    """

    position: int
    instance_id: UUID
    seq: int

    @property
    def text(self) -> str:
        """An opaque text for it, which any process can go on from."""
        plain = f"{self.position}/{self.instance_id}/{self.seq}"
        return base64.urlsafe_b64encode(plain.encode()).decode()

    @classmethod
    def from_text(cls, text: object, /) -> Self:
        """The reverse of `text`.

        Raises:
            InvalidArgument: it was not made by a feed.
        """
        try:
            plain = base64.b64decode(str(text).encode("ascii"), altchars=b"-_", validate=True).decode("ascii")
            position, instance_id, seq = plain.split("/")
            made = cls(int(position), UUID(instance_id), int(seq))
            if made.text != text or not (0 <= made.position < 2**64 and 0 <= made.seq < 2**63):
                raise ValueError(text)
        except (ValueError, binascii.Error) as error:
            raise InvalidArgument(
                "after", f"{text!r} is no cursor of a feed; pass the `cursor` of an entry unchanged"
            ) from error
        return made


@attrs.frozen
class FeedEntry:
    """One thing that happened in the namespace, with the place to go on from after it.

    Attributes:
        ref: of the instance.
    """

    position: FeedPosition
    workflow: str
    ref: str | None
    entry: HistoryEntry

    @property
    def cursor(self) -> str:
        """What to keep when this entry is dealt with, and to give as `after=` to go on: `runtime.changes(after=…)`."""
        return self.position.text


@attrs.frozen
class FeedPage:
    """Some of the feed, in order.

    Attributes:
        reached: from where to go on: beyond the last entry that was looked at, of whichever workflow; None when there
            was none.
        more: whether there may be more to read at once.
    """

    entries: tuple[FeedEntry, ...]
    reached: FeedPosition | None
    more: bool


class ChangeFeed(Protocol):
    """All history entries of the namespace in one order, that of their positions.

    The order never changes: what has been passed over in silence, because its transaction was still open, would be
    lost. So nothing is shown of any position that an open transaction may still write to. Entries of one instance come
    in the order of their `seq`.
    """

    async def read(self, after: FeedPosition | None, /, *, limit: int, workflow: str | None) -> FeedPage:
        """What comes after a position (None: from the beginning), at most so many entries.

        Raises:
            InvalidArgument: the position lies ahead of all that this store has counted: it is of another store, or
                this one was restored from a backup.
        """
        ...

    async def end(self) -> FeedPosition:
        """The place after all that can be read now, and before all that cannot."""
        ...

    async def wait(self, seconds: float, /, *, seen: int) -> int:
        """Wait this long, or until something may have been committed since `seen`; gives what to pass next time.

        It is a hint: a store that knows nothing of commits sleeps, and gives 0. A reader begins with 0.
        """
        ...
