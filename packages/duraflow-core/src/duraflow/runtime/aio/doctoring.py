"""How does an asyncio application have its database examined?"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from duraflow.runtime.aio.base import AsyncBase

if TYPE_CHECKING:
    from duraflow.diagnosis import DoctorReport


class AsyncDoctoring(AsyncBase):
    """Examinations of a whole database."""

    async def doctor(
        self,
        *,
        exact: bool = False,
        sample: int = 10_000,
        shown: int = 10,
        timeout: timedelta = timedelta(seconds=30),  # noqa: ASYNC109 - of each statement, which the server keeps
    ) -> DoctorReport:
        """Examine what is stored in this namespace, and the database it is stored in. It only reads.

        Each check says what it has looked at, all or a sample, and how long it took. One that could not run, for
        want of a right or of time, says so, and the others go on.

        Args:
            exact: look at every instance and its whole history; minutes for millions.
            sample: how many instances to look at where all would take too long; where histories are folded it is a
                tenth of that.
            shown: how many rows a finding names (0 to 1000).
            timeout: the longest that one statement of a check may take.

        Raises:
            InvalidArgument: a number is out of bounds.
            NotSupported: the persistence has no inspector.
            StoreUnavailable: the store cannot be reached.
        """
        from duraflow.runtime import doctoring

        return await doctoring.doctor(self._engine, exact, sample, shown, timeout)
