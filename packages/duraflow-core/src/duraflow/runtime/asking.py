"""What can be asked without changing anything? `get`, `list`, `count`, `history`, `explain`, `parked`, `health`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any

from duraflow.definition.resolve import Candidate
from duraflow.definition.values import OUTCOMES
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument, NotSupported
from duraflow.handlers import Asked
from duraflow.instance import HistoryEntry, Instance
from duraflow.machine.guards import choose
from duraflow.ports import Loaded
from duraflow.queries import InstanceQuery, cursor_after, read_cursor
from duraflow.results import Explanation, Health, Page, Parked, StateCount
from duraflow.runtime.deciding import begin, governing
from duraflow.runtime.definitions import workflow_name
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.work import Work

MAX_PAGE = 1_000
Range = tuple[datetime | None, datetime | None]


async def load(engine: Engine, work: Work | None, target: Target) -> Loaded:
    """An instance as it is, with the time; raises `InstanceNotFound`."""
    engine.check_usable(work)
    key = engine.key(target)
    unit = work.unit if work is not None else None
    loaded = await read(engine, work, lambda: engine.persistence.instances.get(unit, key, clock=engine.now()))
    if loaded is None:
        raise engine.not_found(key)
    return loaded  # type: ignore[no-any-return]


async def read(engine: Engine, work: Work | None, ask: Any) -> Any:
    """A read outside a transaction is tried again when the store asks for it; inside one it cannot be."""
    return await (ask() if work is not None else engine.retrying(ask))


async def get(engine: Engine, work: Work | None, target: Target) -> Instance:
    """See `Runtime.get`."""
    return (await load(engine, work, target)).instance


def query_of(
    engine: Engine,
    *,
    workflow: object,
    state: object,
    open: bool | None,  # noqa: A002  # the plain word; nothing here opens files
    outcome: object,
    metadata: Mapping[str, Any] | None,
    created: Range,
    updated: Range,
    entered: Range,
    oldest_first: bool,
) -> InstanceQuery:
    """A filter from what people write: one name or several, a group for its states.

    Raises:
        InvalidArgument: a part of it makes no sense, such as a group without a workflow.
    """
    name = None if workflow is None else workflow_name(workflow)
    states = _names("state", state)
    if states is not None and name is not None and name in engine.definitions.newest:
        states = _ungroup(engine, name, states)
    outcomes = _names("outcome", outcome)
    for given in outcomes or ():
        if given not in OUTCOMES:
            raise InvalidArgument("outcome", f"{given!r} is not one of {', '.join(OUTCOMES)}")
    if metadata is not None:
        if not isinstance(metadata, Mapping):
            raise InvalidArgument("metadata", f"{metadata!r} is not a mapping")
        engine.codec.to_plain(metadata, path="metadata")
    return InstanceQuery(
        workflow=name,
        states=states,
        open=open,
        outcomes=outcomes,  # type: ignore[arg-type]  # checked above
        metadata=metadata or {},
        created=_range("created", created),
        updated=_range("updated", updated),
        entered=_range("entered", entered),
        oldest_first=oldest_first,
    )


def _names(argument: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    items = (value,) if isinstance(value, (str, Enum)) else value
    if not isinstance(items, Iterable):
        raise InvalidArgument(argument, f"{value!r} is neither a name nor several names")
    return tuple(str(getattr(item, "value", item)) for item in items)


def _ungroup(engine: Engine, workflow: str, names: tuple[str, ...]) -> tuple[str, ...]:
    versions = [w for (name, _), w in engine.definitions.by_version.items() if name == workflow]
    states = {state for version in versions for state in version.resolved}
    groups: dict[str, set[str]] = {}
    for version in versions:
        for group, members in version.groups.items():
            groups.setdefault(group, set()).update(members)
    found: list[str] = []
    for name in names:
        if name not in states and name not in groups:
            known = ", ".join(sorted(states | set(groups)))
            raise InvalidArgument("state", f"{workflow!r} has no state or group {name!r}; it has {known}")
        found += sorted(groups.get(name, {name}))
    return tuple(dict.fromkeys(found))


def _range(argument: str, value: Range) -> Range:
    try:
        low, high = value
    except (TypeError, ValueError):
        raise InvalidArgument(argument, f"{value!r} is not a pair (from, to); either may be None") from None
    for end in (low, high):
        if end is not None and getattr(end, "tzinfo", None) is None:
            raise InvalidArgument(argument, f"{end!r} is not an aware datetime")
    return low, high


async def list_instances(
    engine: Engine, work: Work | None, query: InstanceQuery, limit: int, cursor: str | None
) -> Page:
    """See `Runtime.list`."""
    engine.check_usable(work)
    check_limit(limit)
    after = None if cursor is None else read_cursor(cursor)
    unit = work.unit if work is not None else None
    found: Sequence[Instance] = await read(
        engine, work, lambda: engine.persistence.instances.list(unit, query, limit=limit + 1, after=after)
    )
    more = len(found) > limit
    kept = tuple(found[:limit])
    return Page(kept, cursor_after(kept[-1]) if more else None)


def check_limit(limit: object) -> None:
    """Refuse a page size that is out of bounds."""
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE:
        raise InvalidArgument("limit", f"{limit!r} is not a whole number from 1 to {MAX_PAGE}")


async def count(engine: Engine, work: Work | None, query: InstanceQuery) -> tuple[StateCount, ...]:
    """See `Runtime.count`."""
    engine.check_usable(work)
    unit = work.unit if work is not None else None
    found = await read(engine, work, lambda: engine.persistence.instances.count(unit, query))
    return tuple(sorted(found, key=lambda row: (row.workflow, row.state, row.open)))


async def history(
    engine: Engine, work: Work | None, target: Target, after: int, limit: int, newest_first: bool
) -> tuple[HistoryEntry, ...]:
    """See `Runtime.history`."""
    engine.check_usable(work)
    check_limit(limit)
    if type(after) is not int or after < 0:
        raise InvalidArgument("after", f"{after!r} is not the seq of an entry")
    key = engine.key(target)
    unit = work.unit if work is not None else None
    instance_id = key if not isinstance(key, tuple) else (await load(engine, work, target)).instance.id
    found: Sequence[HistoryEntry] = await read(
        engine,
        work,
        lambda: engine.persistence.history.read(
            unit, instance_id, after=after, limit=limit, newest_first=newest_first
        ),
    )
    if not found and after == 0:
        await load(engine, work, target)  # an instance always has entries: so this raises InstanceNotFound
    return tuple(found)


async def explain(
    engine: Engine, work: Work | None, target: Target, payloads: Mapping[Any, Any] | None
) -> tuple[Explanation, ...]:
    """Every event of the state with its answer. Guards are asked with the payload given for the event, or None."""
    given = {engine.event_name(event): payload for event, payload in (payloads or {}).items()}
    loaded = await load(engine, work, target)
    instance = loaded.instance
    if not instance.open:
        return ()
    await engine.know(work, instance)
    return explanations(engine, governing(engine, instance), loaded, given)


def explanations(
    engine: Engine, workflow: Workflow, loaded: Loaded, payloads: Mapping[str, Any]
) -> tuple[Explanation, ...]:
    """Every event of the state of an instance as read, under this definition."""
    due = {timer.event: timer.due_at for timer in loaded.instance.timers}
    found = []
    for event, candidates in workflow.resolved[loaded.instance.state].events.items():
        payload_type = workflow.events.get(event)
        payload = payloads.get(event)
        if payload is not None and payload_type is not None:
            payload = payload_type.load(payload)
        asked = begin(engine, workflow, loaded.instance, loaded.now, payload).asked()
        found.append(answer(engine, event, candidates, asked, due.get(event)))
    return tuple(found)


def answer(
    engine: Engine, event: str, candidates: Iterable[Candidate], asked: Asked, due_at: datetime | None = None
) -> Explanation:
    """What these transitions would do now."""
    try:
        choice = choose(candidates, asked, engine.rules.handlers.guards)
    except Exception as error:  # noqa: BLE001  # without the real payload a guard may raise anything; it is told
        return Explanation(event, "unknown", due_at=due_at, message=f"{type(error).__name__}: {error}")
    taken = choice.candidate
    if taken is None:
        return Explanation(event, "rejected", blockers=choice.blockers, due_at=due_at)
    return Explanation(
        event, "external" if taken.external else "fires", taken.target or taken.state, due_at=due_at
    )


async def parked(engine: Engine, work: Work | None, limit: int) -> tuple[Parked, ...]:
    """See `Runtime.parked`."""
    engine.check_usable(work)
    check_limit(limit)
    unit = work.unit if work is not None else None
    return tuple(await read(engine, work, lambda: engine.due.parked(unit, limit=limit)))


async def health(engine: Engine) -> Health:
    """See `Runtime.health`."""
    lifecycle = engine.persistence.lifecycle
    if lifecycle is None:
        raise NotSupported("`health`", "a persistence with the port `lifecycle: Lifecycle`")
    return await lifecycle.health()
