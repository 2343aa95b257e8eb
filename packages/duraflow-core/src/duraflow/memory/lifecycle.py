"""How is an in-memory persistence opened and closed, and is it well?"""

from __future__ import annotations

from datetime import timedelta

import attrs

from duraflow.memory.access import Access
from duraflow.ports import Environment
from duraflow.results import Health


@attrs.frozen(eq=False)
class InMemoryLifecycle:
    """`Lifecycle` in memory. What is stored lives as long as the database object, however often it is closed."""

    _access: Access

    async def start(self, environment: Environment, /) -> None:
        """Begin to serve a runtime.

        Raises:
            Misuse: it serves one that waits, or encodes, in another way.
        """
        self._access.open(environment)

    async def close(self) -> None:
        self._access.close()

    async def health(self) -> Health:
        started = self._access.started
        return Health(
            ok=started,
            server="in memory",
            round_trip=timedelta(0),
            schema_fits=True,
            writable=started,
            problem="" if started else "it is not started",
        )
