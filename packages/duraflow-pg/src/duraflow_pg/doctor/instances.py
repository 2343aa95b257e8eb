"""Is there something that will wake every open instance, and someone who can? One pass over the instances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import attrs

from duraflow_pg.doctor.running import Looked, Ward, total_of
from duraflow_pg.statements import Row, int_array, text_array

# The subselect is worked out once; the snapshot's function, called for each row, would take longer than all the rest.
_CENSUS: Final = """
SELECT i.workflow, i.definition_version, i.state, i.outcome IS NULL, count(*),
       count(*) FILTER (WHERE i.timers IS NULL AND i.continuation IS NULL AND i.lease_token IS NULL),
       count(*) FILTER (WHERE i.lease_token IS NOT NULL),
       count(*) FILTER (WHERE i.position >= (SELECT pg_snapshot_xmax(pg_current_snapshot())))
FROM {instances} i WHERE i.namespace = %(namespace)s
GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""

_DEFINITIONS: Final = """
SELECT d.workflow, d.version, d.snapshot::text FROM {definitions} d WHERE d.namespace = %(namespace)s ORDER BY 1, 2
"""

_OPEN_IN: Final = """
SELECT i.id, i.workflow, i.definition_version, i.state, count(*) OVER ()
FROM unnest(%(workflows)s::text[], %(versions)s::int[], %(states)s::text[]) AS k (workflow, version, state)
JOIN {instances} i ON i.namespace = %(namespace)s AND i.workflow = k.workflow AND i.state = k.state
    AND i.definition_version = k.version
WHERE i.outcome IS NULL AND (%(awake)s OR (
    i.timers IS NULL AND i.continuation IS NULL AND i.lease_token IS NULL
    AND NOT EXISTS (SELECT FROM {due} d WHERE d.instance_id = i.id)
    AND NOT EXISTS (SELECT FROM {instances} c WHERE c.parent_id = i.id AND c.outcome IS NULL)))
ORDER BY i.created_at, i.id LIMIT %(shown)s
"""

_LEASED: Final = """
SELECT i.id, i.lease_token, count(*) OVER ()
FROM {instances} i LEFT JOIN {due} d ON d.instance_id = i.id
WHERE i.namespace = %(namespace)s AND i.lease_token IS NOT NULL
  AND d.lease_token IS DISTINCT FROM i.lease_token
ORDER BY i.created_at, i.id LIMIT %(shown)s
"""


@attrs.frozen
class _Group:
    """The instances of one workflow and version in one state, open or finished."""

    workflow: str
    version: int
    state: str
    open: bool
    count: int
    idle: int
    leased: int
    ahead: int

    @property
    def key(self) -> tuple[str, int]:
        return self.workflow, self.version


async def check_instances(ward: Ward, looked: Looked) -> None:
    """Every instance once: by version, state and openness; then those that stand out, by the index over the state."""
    groups = [_Group(*row) for row in await ward.ask(_CENSUS)]
    ward.census.instances = sum(group.count for group in groups)
    ward.census.ahead = sum(group.ahead for group in groups)
    looked.scanned = f"{ward.census.instances:,} instances, one pass"
    versions, unreadable = ward.examination.with_stored(await ward.ask(_DEFINITIONS))
    ward.census.versions = versions
    looked.found("version_unreadable", unreadable)
    pinned: Counter[tuple[str, int]] = Counter()
    for group in groups:
        pinned[group.key] += group.count if group.open else 0
    for code, texts in ward.examination.not_given(+pinned, versions):
        looked.found(code, texts)
    asleep, unknown = [], []
    for group in groups:
        workflow = versions.get(group.key)
        if not group.open or workflow is None:
            continue
        state = workflow.resolved.get(group.state)
        if state is None:
            unknown.append(group)
        elif group.idle and not state.events:
            asleep.append(group)
    for code, found in (("nothing_wakes_it", asleep), ("unknown_state", unknown)):
        rows = await _open_in(ward, found, awake=code == "unknown_state")
        looked.found(
            code,
            [
                f"{one}: {workflow} version {version}, state {state!r}"
                for one, workflow, version, state, _ in rows
            ],
            total=total_of(rows),
        )
    if any(group.leased for group in groups):
        rows = await ward.ask(_LEASED)
        looked.found(
            "lease_without_work", [f"{one}: lease {token}" for one, token, _ in rows], total=total_of(rows)
        )


async def _open_in(ward: Ward, groups: Iterable[_Group], *, awake: bool) -> list[Row]:
    """The open instances of these groups; not those that something wakes, unless asked for."""
    groups = list(groups)
    if not groups:
        return []
    return await ward.ask(
        _OPEN_IN,
        workflows=text_array(group.workflow for group in groups),
        versions=int_array(group.version for group in groups),
        states=text_array(group.state for group in groups),
        awake=awake,
    )
