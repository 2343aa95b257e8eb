"""What does it take to tell others of a move for certain: messages written with it, and delivered afterwards?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from duraflow.ports.base import UnitOfWork
from duraflow.writes import Emitted


class Outbox(Protocol):
    """Where messages are kept until every handler has taken them.

    They are written by the `Writer`, with the move; `add` is what a writer built on the base ports calls.
    """

    async def add(self, unit: UnitOfWork, messages: Sequence[Emitted], /) -> None:
        """Keep messages of an instance that this unit holds.

        Raises:
            InstanceNotFound: there is no such instance.
        """
        ...
