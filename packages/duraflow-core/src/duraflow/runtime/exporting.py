"""How are whole instances written out, line by line, without holding more than a few of them?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.errors import InvalidArgument
from duraflow.exports import definition_line, end_line, header_line, instance_line
from duraflow.instance import Instance
from duraflow.ports import Key
from duraflow.ports.retention import Retention, Whole
from duraflow.queries import InstanceQuery
from duraflow.runtime import asking
from duraflow.runtime.creating import store_now
from duraflow.runtime.engine import Engine, Target
from duraflow.runtime.keeping import retention_of

PAGE = 200
"""How many instances are looked for at once."""

ENTRIES = 2_000
"""How many history entries are held at once, unless one instance alone has more."""


@attrs.define(eq=False)
class Exporter:
    """One export: gives its lines, some at a time. It holds no transaction between them."""

    _engine: Engine
    _store: Retention
    _query: InstanceQuery
    _keys: list[Key] | None
    _begun: bool = False
    _after: tuple[datetime, UUID] | None = None
    _waiting: list[Instance] = attrs.field(factory=list)
    _known: set[tuple[str, int]] = attrs.field(factory=set)
    _done: set[UUID] = attrs.field(factory=set)
    _searched: bool = False
    _ended: bool = False
    _count: int = 0

    async def next_lines(self) -> Sequence[str]:
        """The next lines; none when all have been given."""
        self._engine.check_usable(None)
        if not self._begun:
            self._begun = True
            at = await store_now(self._engine, None)
            return [header_line(self._engine.persistence.namespace, at)]
        if self._ended:
            return []
        while not self._waiting and not self._searched:
            await self._engine.retrying(self._search)
        if not self._waiting:
            self._ended = True
            return [end_line(self._count)]
        ids = self._take()
        lines: list[str] = []
        for whole in await self._engine.retrying(lambda: self._read(ids)):
            for version in _versions(whole):
                lines += await self._definition(whole.instance["workflow"], version)
            lines.append(instance_line(whole))
            self._count += 1
        # All of them may be gone meanwhile, but no lines stand for the end.
        return lines or await self.next_lines()

    async def _search(self) -> None:
        """Find the next instances: those that are asked for, or match."""
        instances = self._engine.persistence.instances
        if self._keys is None:
            page = await instances.list(None, self._query, limit=PAGE, after=self._after)
            found = list(page)
            self._searched = len(found) < PAGE
            if found:
                self._after = (found[-1].created_at, found[-1].id)
        else:
            keys, self._keys = self._keys[:PAGE], self._keys[PAGE:]
            loaded: Mapping[Key, Any] = {}
            try:
                loaded = await instances.get_many(None, keys, clock=None)
            except BaseException:
                self._keys = keys + self._keys
                raise
            for key in keys:
                if key not in loaded:
                    raise self._engine.not_found(key)
            found = [loaded[key].instance for key in keys if loaded[key].instance.id not in self._done]
            # The same one may be named twice, by its id and by its ref.
            found = list({instance.id: instance for instance in found}.values())
            self._done.update(instance.id for instance in found)
            self._searched = not self._keys
        self._waiting += found

    def _take(self) -> list[UUID]:
        """As many of those found as may be held at once."""
        taken: list[Instance] = []
        entries = 0
        while self._waiting and (not taken or entries + self._waiting[0].version <= ENTRIES):
            taken.append(self._waiting.pop(0))
            entries += taken[-1].version
        return [instance.id for instance in taken]

    async def _read(self, ids: list[UUID]) -> Sequence[Whole]:
        async with self._engine.opened(owned=True) as work:
            return await self._store.read(work.unit, ids)

    async def _definition(self, workflow: str, version: int) -> list[str]:
        """The line of a definition, the first time that it is needed."""
        if (workflow, version) in self._known:
            return []
        self._known.add((workflow, version))
        store = self._engine.persistence.definitions
        known = self._engine.definitions.by_version.get((workflow, version))
        snapshot = None
        if store is not None:
            snapshot = await self._engine.retrying(lambda: store.load(None, workflow, version))
        elif known is not None:
            snapshot = known.to_json()
        return [] if snapshot is None else [definition_line(workflow, version, snapshot)]


def _versions(whole: Whole) -> list[int]:
    """Every version that the instance was ever governed by."""
    found = {entry["definition_version"] for entry in whole.entries}
    return sorted({whole.instance["definition_version"], *found})


def query_of(engine: Engine, **given: Any) -> InstanceQuery | None:
    """The filter of an export from that of `list`, oldest first; None when nothing is asked for.

    Raises:
        InvalidArgument: a part of it makes no sense.
    """
    query = asking.query_of(engine, **given, oldest_first=True)
    return None if query == InstanceQuery(oldest_first=True) else query


def exporter(
    engine: Engine, targets: Target | Iterable[Target] | None, query: InstanceQuery | None
) -> Exporter:
    """An export of the named instances, or of those that match.

    Args:
        query: None when no filter is given.

    Raises:
        InvalidArgument: a target names nothing, or there are targets and a filter.
        NotSupported: the persistence cannot read whole instances.
    """
    store = retention_of(engine, "`export`")
    engine.check_usable(None)
    if targets is None:
        return Exporter(engine, store, query or InstanceQuery(oldest_first=True), None)
    if query is not None:
        raise InvalidArgument(
            "targets", "they are named one by one, and there is a filter, too; give one of both"
        )
    named = _targets(targets)
    return Exporter(engine, store, InstanceQuery(), list(dict.fromkeys(engine.key(one) for one in named)))


def _targets(targets: Any) -> list[Target]:
    """One target or several. A pair of texts is one: (workflow, ref)."""
    if isinstance(targets, (UUID, str, Instance)):
        return [targets]
    if isinstance(targets, tuple) and len(targets) == 2 and all(type(part) is str for part in targets):
        try:
            return [UUID(targets[0]), UUID(targets[1])]
        except ValueError:
            return [targets]
    if not isinstance(targets, Iterable):
        raise InvalidArgument("targets", f"{targets!r} is neither an instance nor several")
    return list(targets)
