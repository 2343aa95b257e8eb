"""How are the recorded histories of many instances run against another definition? `replay`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing

import attrs

from duraflow.definition.values import to_items
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionError, InvalidArgument
from duraflow.handlers import Handlers, handler_table
from duraflow.instance import HistoryEntry, Instance
from duraflow.machine.step import Rules
from duraflow.queries import InstanceQuery
from duraflow.rerun.comparing import begins_step
from duraflow.rerun.report import RerunDifference, RerunGroup, RerunReport, RerunUnknown
from duraflow.rerun.rerunner import Rerunner
from duraflow.rerun.rules import rules_for
from duraflow.runtime.asking import list_instances, read
from duraflow.runtime.drive import resolved
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.seeing import entries_until
from duraflow.runtime.work import Work

BATCH = 100
"""How many instances are read at a time."""

MAX_KEPT = 10_000
Told = RerunDifference | RerunUnknown | None


async def replay(
    engine: Engine,
    work: Work | None,
    workflow: Workflow,
    query: InstanceQuery,
    instances: Iterable[Target] | None,
    *,
    limit: int | None,
    cursor: str | None,
    keep: int,
    guards: Handlers,
    delays: Handlers,
    on_progress: Callable[[int], object] | None,
) -> RerunReport:
    """See `Runtime.replay`."""
    engine.check_usable(work)
    if not isinstance(workflow, Workflow):
        raise InvalidArgument("workflow", f"{workflow!r} is not a Workflow; give the definition to try")
    if limit is not None and (type(limit) is not int or limit < 1):
        raise InvalidArgument("limit", f"{limit!r} is neither a positive whole number nor None for all")
    if type(keep) is not int or not 0 <= keep <= MAX_KEPT:
        raise InvalidArgument("keep", f"{keep!r} is not a whole number from 0 to {MAX_KEPT}")
    given = handler_table((), commands=(), guards=guards, delays=delays)
    rules = rules_for(workflow, engine.rules, given)
    if instances is None:
        pages = _found(engine, work, query, limit, cursor)
    else:
        if query != InstanceQuery(workflow=workflow.name) or cursor is not None:
            raise InvalidArgument(
                "instances", "give either instances, or a filter with its cursor, and not both"
            )
        pages = _chosen(engine, work, workflow, instances)
    tally = _Tally(keep)
    versions: dict[int, Workflow | None] = {}
    following: str | None = None
    async with aclosing(pages):
        async for page, next_cursor in pages:
            following = next_cursor
            for instance in page:
                tally.add(instance, await _rerun(engine, work, workflow, rules, versions, instance))
            if on_progress is not None:
                await resolved(on_progress(tally.total), "on_progress", suspends=engine.waits.suspends)
    return tally.report(workflow, following)


# --- which instances ------------------------------------------------------------------------------------------------

_Pages = AsyncGenerator[tuple[Sequence[Instance], str | None], None]


async def _found(
    engine: Engine, work: Work | None, query: InstanceQuery, limit: int | None, cursor: str | None
) -> _Pages:
    left = limit
    while left is None or left > 0:
        page = await list_instances(engine, work, query, BATCH if left is None else min(BATCH, left), cursor)
        cursor = page.cursor
        yield page.instances, cursor
        if cursor is None:
            return
        left = None if left is None else left - len(page.instances)


async def _chosen(engine: Engine, work: Work | None, workflow: Workflow, targets: Iterable[Target]) -> _Pages:
    unit = work.unit if work is not None else None
    keys = [engine.key(target) for target in to_items(targets)]
    for first in range(0, len(keys), BATCH):
        wanted = keys[first : first + BATCH]
        found = await read(
            engine,
            work,
            lambda wanted=wanted: engine.persistence.instances.get_many(unit, wanted, clock=engine.now()),
        )
        page = []
        for key in wanted:
            if key not in found:
                raise engine.not_found(key)
            instance = found[key].instance
            if instance.workflow != workflow.name:
                raise InvalidArgument(
                    "instances",
                    f"{instance.id} is of workflow {instance.workflow!r}, not of {workflow.name!r}",
                )
            page.append(instance)
        yield page, None


# --- one of them ----------------------------------------------------------------------------------------------------


async def _rerun(
    engine: Engine,
    work: Work | None,
    workflow: Workflow,
    rules: Rules,
    versions: dict[int, Workflow | None],
    instance: Instance,
) -> Told:
    unit = work.unit if work is not None else None
    rerunner = Rerunner(workflow, rules, versions, instance)
    step: list[HistoryEntry] = []
    entries = entries_until(engine, unit, instance, 0, instance.version)
    try:
        async with aclosing(entries):
            async for page in entries:
                for entry in page:
                    if entry.definition_version not in versions:
                        versions[entry.definition_version] = await _version(
                            engine, work, instance.workflow, entry.definition_version
                        )
                    if step and begins_step(entry, step):
                        told = rerunner.take(step)
                        if told is not None:
                            return told
                        step = []
                    step.append(entry)
    except InvalidArgument as error:
        # It was deleted while its turn came, or its history has a gap: `doctor` tells which.
        return RerunUnknown(
            instance.id, instance.ref, instance.version, "", instance.updated_at, instance.state, "history",
            error.argument, error.reason,
        )  # fmt: skip
    return rerunner.take(step) or rerunner.end()


async def _version(engine: Engine, work: Work | None, workflow: str, version: int) -> Workflow | None:
    """The definition that governed then; None when it is not to be had. Its handlers are not needed."""
    known = engine.definitions.by_version.get((workflow, version))
    store = engine.persistence.definitions
    if known is not None or store is None:
        return known
    unit = work.unit if work is not None else None
    snapshot = await read(engine, work, lambda: store.load(unit, workflow, version))
    try:
        return None if snapshot is None else Workflow.from_json(snapshot)
    except (InvalidArgument, DefinitionError):
        return None  # what depends on it is told as unknown


# --- all of them ----------------------------------------------------------------------------------------------------


class _Tally:
    """What has come of it so far; holds so many verdicts in full, and counts the rest."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.total = 0
        self._same = 0
        self._differences: list[RerunDifference] = []
        self._unknowns: list[RerunUnknown] = []
        self._groups: dict[tuple[str, ...], RerunGroup] = {}

    def add(self, instance: Instance, told: Told) -> None:
        """Count one more."""
        self.total += 1
        if told is None:
            self._same += 1
            return
        if isinstance(told, RerunDifference):
            group = RerunGroup(
                "different", told.event, told.state, told.expected.kind, told.found.kind, 1, instance.id
            )
            if len(self._differences) < self._keep:
                self._differences.append(told)
        else:
            group = RerunGroup(
                "unknown", told.event, told.state, "", f"{told.code} {told.about}", 1, instance.id
            )
            if len(self._unknowns) < self._keep:
                self._unknowns.append(told)
        key = (group.verdict, group.event, group.state, group.expected, group.found)
        known = self._groups.get(key)
        self._groups[key] = group if known is None else attrs.evolve(known, count=known.count + 1)

    def report(self, workflow: Workflow, cursor: str | None) -> RerunReport:
        """What has come of it."""
        groups = tuple(sorted(self._groups.values(), key=lambda group: -group.count))
        different = sum(group.count for group in groups if group.verdict == "different")
        return RerunReport(
            workflow=workflow.name,
            version=workflow.version,
            total=self.total,
            same=self._same,
            different=different,
            unknown=self.total - self._same - different,
            groups=groups,
            differences=tuple(self._differences),
            unknowns=tuple(self._unknowns),
            cursor=cursor,
        )
