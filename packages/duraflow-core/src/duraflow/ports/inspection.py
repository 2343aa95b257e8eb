"""What does it take to have a whole store examined?"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import attrs

from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument

if TYPE_CHECKING:
    from duraflow.diagnosis import DoctorReport
    from duraflow.integrity import Versions


@attrs.frozen(kw_only=True)
class Examination:
    """What is to be examined, and how thoroughly.

    Attributes:
        versions: the definitions that the runtime was given.
        unable: why the runtime could not do the moves of a definition that it was not given; empty if it could.
        exact: look at everything, however long it takes.
        sample: how many instances to look at where all would take too long; a tenth of it where histories are folded.
        shown: how many rows a finding names.
        timeout: the longest that one statement of a check may take.
        clock: the time to go by; None takes the store's.
    """

    versions: Versions
    unable: Callable[[Workflow], str]
    exact: bool = False
    sample: int = 10_000
    shown: int = 10
    timeout: timedelta = timedelta(seconds=30)
    clock: datetime | None = None

    def with_stored(self, snapshots: Iterable[tuple[str, int, str]]) -> tuple[Versions, tuple[str, ...]]:
        """The definitions given and those stored, from (name, version, JSON text); and which of these do not load."""
        found = dict(self.versions)
        unreadable = []
        for name, version, text in snapshots:
            if (name, version) in found:
                continue
            try:
                found[name, version] = Workflow.from_json(json.loads(text))
            except InvalidArgument as error:
                unreadable.append(f"{name} version {version}: {error.reason}")
        return found, tuple(unreadable)

    def not_given(
        self, pinned: Mapping[tuple[str, int], int], versions: Versions
    ) -> Iterator[tuple[str, list[str]]]:
        """What is to be said of versions that govern open instances and were not given: (code, rows).

        Args:
            pinned: how many open instances each version governs.
            versions: all that could be had.
        """
        given = {name for name, _ in self.versions}
        found: dict[str, list[str]] = {
            "version_unusable": [],
            "workflow_not_given": [],
            "version_from_store": [],
        }
        for (name, version), count in sorted(pinned.items()):
            if (name, version) in self.versions:
                continue
            workflow = versions.get((name, version))
            told = f"{name} version {version}: {count:,} open instances"
            if name not in given:
                found["workflow_not_given"].append(told)
            elif workflow is not None and (missing := self.unable(workflow)):
                found["version_unusable"].append(f"{told}; {missing}")
            elif workflow is not None:
                found["version_from_store"].append(told)
        yield from found.items()


class Inspector(Protocol):
    """Examines the namespace of a store, and what it stands on. It only reads."""

    async def examine(self, examination: Examination, /) -> DoctorReport:
        """Make every check. One that cannot run says so in its `Checkup`, and the others go on.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        ...
