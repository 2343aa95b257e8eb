"""Instances, entries and writes that no runtime made, for checks of the ports alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import attrs

from duraflow.instance import ArmedTimer, HistoryEntry, Instance
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, Ports, World
from duraflow.writes import DueChange, TimerRetry, Writes

__all__ = ["ago", "armed", "create", "entry", "made", "moved", "new", "write"]


def new(world: World, **changes: Any) -> Instance:
    """A new instance of the workflow `port`, with an id of its own."""
    instance_id = changes.pop("id", None) or uuid4()
    values: dict[str, Any] = {
        "id": instance_id,
        "namespace": world.namespace,
        "workflow": "port",
        "definition_version": 1,
        "state": "one",
        "version": 1,
        "created_at": START,
        "updated_at": START,
        "entered_at": START,
        "root_id": instance_id,
    }
    return Instance(**{**values, **changes})


def moved(instance: Instance, **changes: Any) -> Instance:
    """The same one version later."""
    return attrs.evolve(instance, version=instance.version + 1, **changes)


def entry(instance: Instance, **changes: Any) -> HistoryEntry:
    """The entry that made this version."""
    first = instance.version == 1
    values: dict[str, Any] = {
        "instance_id": instance.id,
        "seq": instance.version,
        "kind": "created" if first else "moved",
        "event": "$created" if first else "go",
        "from_state": None if first else "one",
        "to_state": instance.state,
        "at": instance.updated_at,
        "definition_version": instance.definition_version,
        "attempt_id": UUID(int=instance.version),
        "metadata": instance.metadata if first else None,
    }
    return HistoryEntry(**{**values, **changes})


def armed(instance: Instance, *timers: tuple[str, datetime]) -> Instance:
    """The same with these timers."""
    return attrs.evolve(instance, timers=tuple(ArmedTimer(event, at) for event, at in timers))


def write(before: Instance | None, after: Instance, due: DueChange | None = None) -> Writes:
    """The writes of one move (or creation) with one entry."""
    return Writes(before, after, (entry(after),), due)


async def create(ports: Ports, *instances: Instance) -> None:
    """Commit these, each with its first entry."""
    async with ports.begin() as unit:
        for instance in instances:
            await ports.instances.create(unit, instance)
            await ports.history.append(unit, [entry(instance)])


async def made(ports: Ports, world: World, count: int = 1, **changes: Any) -> Sequence[Instance]:
    """So many new committed instances."""
    instances = [new(world, **changes) for _ in range(count)]
    await create(ports, *instances)
    return instances


def ago(days: float) -> datetime:
    """So many days before the beginning of time."""
    return START - days * DAY


def retry(**changes: Any) -> TimerRetry:
    """Earlier tries of a timer."""
    return TimerRetry(**{"next_at": None, **changes})
