"""How does an asyncio application see versions of workflows, and upgrade living instances?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from duraflow.definition.values import EMPTY
from duraflow.definition.workflow import Workflow
from duraflow.results import LiveProblem, VersionInfo
from duraflow.runtime import versions
from duraflow.runtime.aio.base import AsyncBase

if TYPE_CHECKING:
    from duraflow.upgrades import TimerPolicy, Transform, UpgradePlan, UpgradeReport


class AsyncVersioning(AsyncBase):
    """Versions, and upgrades between them."""

    async def versions(self, workflow: str | Workflow | None = None) -> tuple[VersionInfo, ...]:
        """Every version that the store has seen, of one workflow or of all, with how many instances each governs.

        It counts all instances of these workflows in one pass.

        Raises:
            DefinitionNotFound: the store has seen no version of this workflow.
            NotSupported: the persistence keeps no definitions.
        """
        return await versions.versions(self._engine, workflow)

    async def check_live(self) -> tuple[LiveProblem, ...]:
        """Every version with open instances that this runtime cannot use, with the reason.

        What is in code was checked when the runtime was made. Of workflows with further versions in the store it counts
        the instances in one pass, and loads the versions that govern open ones.

        Raises:
            NotSupported: the persistence keeps no definitions.
        """
        return await versions.check_live(self._engine)

    async def plan_upgrade(
        self,
        workflow: str | Workflow,
        from_version: int,
        to_version: int,
        *,
        states: Mapping[Any, Any] = EMPTY,
        transform: Transform | None = None,
        timers: TimerPolicy = "keep_elapsed",
        sample: int = 100,
    ) -> UpgradePlan:
        """What moving the open instances of one version to another would do. Nothing is written.

        Args:
            to_version: any other version, also an older one: so an upgrade is taken back.
            states: where instances in a state go; those in a state that is not named go to the state of the same name.
            transform: gives the new context for (context, metadata). Pure: it may run more than once for one instance.
            timers: `keep_elapsed` counts the time already spent in the state, `keep_due` keeps the due times of timers
                that both versions have, `restart` begins anew.
            sample: how many instances to try it on (0 to 1000), spread over the states.

        Raises:
            DefinitionNotFound: this runtime cannot use the new version, or nobody knows the old one.
            InvalidArgument: the rules make no sense for these versions.
        """
        from duraflow.runtime import planning

        return await planning.plan_upgrade(
            self._engine, workflow, from_version, to_version, states, transform, timers, sample
        )

    async def apply_upgrade(
        self,
        plan: UpgradePlan,
        *,
        skip_uncovered: bool = False,
        dry_run: bool = False,
        limit: int | None = None,
        batch: int = 100,
        cursor: str | None = None,
        on_progress: Callable[[UpgradeReport], object] | None = None,
        reason: str = "",
        by: str = "",
    ) -> UpgradeReport:
        """Move the open instances of one version to another, each by itself: what one runs into stops no other.

        An instance moves with one history entry, of kind `upgraded`. Nothing is entered by it: the time in its state
        goes on, declared context is not laid over. Automatic transitions of its new state follow at once. Run it again
        after any interruption: what was moved is not found again.

        Args:
            skip_uncovered: leave instances alone of which the plan does not say where they go.
            dry_run: work all out, write nothing, run no commands.
            limit: move at most so many; the report's `cursor` goes on from there.
            batch: how many are read, and written together (1 to 1000).
            cursor: of an earlier report; None begins at the beginning, which is right as well.
            on_progress: plain, or async with `AsyncRuntime`; called with the report so far, after each batch. What it
                raises ends the run.
            reason: why, and `by` whom: kept in each entry's trigger.

        Raises:
            InvalidArgument: the plan is not total (and `skip_uncovered` is not given), or makes no sense any more.
            DefinitionNotFound: this runtime cannot use the new version.
            StoreUnavailable: the store cannot be reached; run it again.
        """
        from duraflow.runtime import upgrading

        return await upgrading.apply_upgrade(
            self._engine, plan, skip_uncovered, dry_run, limit, batch, cursor, on_progress, reason, by
        )
