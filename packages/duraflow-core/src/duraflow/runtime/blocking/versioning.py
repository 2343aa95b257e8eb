"""How does a blocking application see versions of workflows, and upgrade living instances?"""

from __future__ import annotations

from duraflow.definition.workflow import Workflow
from duraflow.results import LiveProblem, VersionInfo
from duraflow.runtime import versions
from duraflow.runtime.blocking.base import Base
from duraflow.runtime.drive import drive


class Versioning(Base):
    """Versions, and upgrades between them."""

    def versions(self, workflow: str | Workflow | None = None) -> tuple[VersionInfo, ...]:
        """Every version that the store has seen, of one workflow or of all, with how many instances each governs.

        It counts all instances of these workflows in one pass.

        Raises:
            DefinitionNotFound: the store has seen no version of this workflow.
            NotSupported: the persistence keeps no definitions.
        """
        return drive(versions.versions(self._engine, workflow))

    def check_live(self) -> tuple[LiveProblem, ...]:
        """Every version with open instances that this runtime cannot use, with the reason.

        What is in code was checked when the runtime was made. Of workflows with further versions in the store it counts
        the instances in one pass, and loads the versions that govern open ones.

        Raises:
            NotSupported: the persistence keeps no definitions.
        """
        return drive(versions.check_live(self._engine))
