"""Which versions of workflows are there, and can this runtime move what each of them governs?"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, get_args

import attrs

from duraflow.definition.values import to_name
from duraflow.errors import (
    DefinitionNotFound,
    DuraflowError,
    InvalidArgument,
    LiveCheckFailed,
    NotSupported,
)
from duraflow.results import LiveProblem, VersionInfo
from duraflow.runtime.definitions import workflow_name

if TYPE_CHECKING:
    from duraflow.ports.base import DefinitionStore, StoredVersion
    from duraflow.runtime.engine import Engine

LiveCheck = Literal["off", "warning", "fatal"]

_log = logging.getLogger("duraflow.versions")


@attrs.frozen
class LiveCheckPolicy:
    """What becomes of a version that open instances need and this runtime cannot use, when it starts.

    Attributes:
        named: by workflow.
        others: of all others that the runtime was given. One that it was given no version of may be another
            application's: it is at most a warning, unless it is named.
    """

    named: Mapping[str, LiveCheck]
    others: LiveCheck = "warning"

    @classmethod
    def of(cls, given: LiveCheck | Mapping[str, LiveCheck]) -> LiveCheckPolicy:
        """Raises `InvalidArgument` for what is neither a mode nor a mapping from workflows to modes."""
        policy = cls({}, given) if isinstance(given, str) else None
        if isinstance(given, Mapping):
            policy = cls({str(to_name(name)): mode for name, mode in given.items()})
        known = get_args(LiveCheck)
        if policy is None or not {policy.others, *policy.named.values()}.issubset(known):
            raise InvalidArgument(
                "live_check",
                f"{given!r} is neither one of {', '.join(known)} nor a mapping from workflows to these",
            )
        return policy

    def mode(self, workflow: str, *, given: bool) -> LiveCheck:
        """What is to be done about a workflow."""
        if workflow in self.named:
            return self.named[workflow]
        return "warning" if self.others == "fatal" and not given else self.others


def _store(engine: Engine, operation: str) -> DefinitionStore:
    if engine.persistence.definitions is None:
        raise NotSupported(operation, "a persistence with the port `definitions: DefinitionStore`")
    return engine.persistence.definitions


async def versions(engine: Engine, workflow: object) -> tuple[VersionInfo, ...]:
    """See `Runtime.versions`."""
    engine.check_usable(None)
    store = _store(engine, "`versions`")
    name = None if workflow is None else workflow_name(workflow)
    known = await engine.retrying(lambda: store.known(None))
    stored = [version for version in known if name is None or version.workflow == name]
    if name is not None and not stored:
        raise DefinitionNotFound(name, None, tuple(sorted({version.workflow for version in known})))
    names = sorted({version.workflow for version in stored})
    counts = await engine.retrying(lambda: store.counts(None, names))
    return tuple([await _info(engine, version, counts) for version in stored])


async def _info(
    engine: Engine, stored: StoredVersion, counts: Mapping[tuple[str, int], tuple[int, int]]
) -> VersionInfo:
    key = stored.workflow, stored.version
    living, final = counts.get(key, (0, 0))
    in_code = any((workflow.name, workflow.version) == key for workflow in engine.definitions.given)
    problem = "" if in_code else await _problem(engine, *key)
    return VersionInfo(
        *key, stored.hash, stored.registered_at, living, final, "code" if in_code else "store", problem
    )


async def _problem(engine: Engine, workflow: str, version: int, *, keep: bool = False) -> str:
    """Why a version that is not in code cannot be used; empty if it can, and then it is kept at hand if asked for."""
    if workflow not in engine.definitions.newest:
        return f"this runtime was given no version of {workflow!r}; pass one in `workflows=`"
    try:
        if keep:
            await engine.know_version(None, workflow, version)
        else:
            await engine.stored(None, workflow, version)
    except DefinitionNotFound as error:
        return error.problem or str(error)
    return ""


async def check_live(engine: Engine) -> tuple[LiveProblem, ...]:
    """See `Runtime.check_live`."""
    engine.check_usable(None)
    return await _check(engine, _store(engine, "`check_live`"), LiveCheckPolicy({}))


async def _check(engine: Engine, store: DefinitionStore, policy: LiveCheckPolicy) -> tuple[LiveProblem, ...]:
    """Every version with open instances that this runtime cannot use; those that it can are at hand afterwards.

    What is in code was checked when the runtime was made. So it counts instances only of workflows that have other
    versions in the store.
    """
    given = {(workflow.name, workflow.version) for workflow in engine.definitions.given}
    known = await engine.retrying(lambda: store.known(None))
    suspects = [
        (version.workflow, version.version)
        for version in known
        if (version.workflow, version.version) not in given
        and policy.mode(version.workflow, given=version.workflow in engine.definitions.newest) != "off"
    ]
    if not suspects:
        return ()
    names = sorted({workflow for workflow, _ in suspects})
    counts = await engine.retrying(lambda: store.counts(None, names))
    found = []
    for key in suspects:
        living, _ = counts.get(key, (0, 0))
        if living and (problem := await _problem(engine, *key, keep=True)):
            found.append(LiveProblem(*key, living, problem))
    return tuple(found)


async def check_at_start(engine: Engine, policy: LiveCheckPolicy) -> None:
    """Log, or raise, what `check_live` finds.

    Raises:
        LiveCheckFailed: a workflow for which it is fatal has open instances that cannot move.
    """
    store = engine.persistence.definitions
    if store is None or (policy.others == "off" and set(policy.named.values()) <= {"off"}):
        return
    try:
        problems = await _check(engine, store, policy)
    except DuraflowError as error:
        if "fatal" in (policy.others, *policy.named.values()):
            raise
        # What only warns must not keep anyone from starting: a count of very many may run into a timeout.
        _log.warning("whether all open instances can move could not be checked: %s", error)
        return
    fatal = _fatal(engine, policy, problems)
    for problem in problems:
        if problem not in fatal:
            _log.warning("%s", problem)
    if fatal:
        raise LiveCheckFailed(fatal)


def _fatal(
    engine: Engine, policy: LiveCheckPolicy, problems: Sequence[LiveProblem]
) -> tuple[LiveProblem, ...]:
    return tuple(
        problem
        for problem in problems
        if policy.mode(problem.workflow, given=problem.workflow in engine.definitions.newest) == "fatal"
    )
