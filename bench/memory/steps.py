"""What do deciding, firing, creating and resuming cost in memory, beside an attrs floor and other libraries?"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from bench.figures import Figure
from bench.memory import floor, peers
from bench.process import CONTEXT, METADATA, PAYLOAD, TICKET, engine_of, has_room, no_letter
from bench.rounds import Effort, Run, compare
from duraflow import Firing, Instance, NewInstance, Runtime
from duraflow.machine.chain import advance
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Loaded
from duraflow.records import entry_to_record, instance_from_record, instance_to_record
from duraflow.runtime import creating
from duraflow.runtime.commands import drive_free
from duraflow.runtime.deciding import decide, finish_free, request_of
from duraflow.writes import Writes

NOW = datetime(2024, 2, 29, 12, 0, tzinfo=UTC)


def figures(effort: Effort) -> Iterator[Figure]:
    """Everything measured in memory but sizes."""
    decided, decided_floor = compare([_repeat(_deciding()), _repeat(_floor_deciding())], effort)
    yield Figure.of_times("decide: a step as values, beside the attrs floor", decided, decided_floor, 1 / 3)
    resumed, resumed_floor = compare([_repeat(_resuming()), _repeat(_floor_resuming())], effort)
    yield Figure.of_times(
        "resume: row, instance, step, rows, beside the attrs floor", resumed, resumed_floor, 1 / 4
    )
    began, began_floor = compare([_repeat(_beginning()), _repeat(_floor_beginning())], effort)
    yield Figure.of_times("create: as values, beside the attrs floor", began, began_floor)
    with _runtime() as runtime:
        fired, stepped, transitions, statemachine = compare(
            [_firing(runtime), _floor_moving(), peers.moving_transitions(), peers.moving_statemachine()],
            effort,
        )
        yield Figure.of_times("fire, memory store, beside the attrs floor", fired, stepped)
        yield Figure.of_times("fire, memory store, beside transitions", fired, transitions)
        yield Figure.of_times("fire, memory store, beside python-statemachine", fired, statemachine)
    decided, transitions, statemachine = compare(
        [_repeat(_deciding()), peers.moving_transitions(), peers.moving_statemachine()], effort
    )
    yield Figure.of_times("decide, beside transitions", decided, transitions)
    yield Figure.of_times("decide, beside python-statemachine", decided, statemachine)
    with _runtime() as runtime:
        created, floor_created = compare(
            [_creating(runtime), _repeat(_floor_beginning())], effort, most=max(50, effort.scaled(5_000))
        )
        yield Figure.of_times("create, memory store, beside the attrs floor", created, floor_created)
    began, transitions, statemachine = compare(
        [_repeat(_beginning()), peers.creating_transitions(), peers.creating_statemachine()], effort
    )
    yield Figure.of_times("create as values, beside transitions", began, transitions)
    yield Figure.of_times("create as values, beside python-statemachine", began, statemachine)


def _repeat(operation: Callable[[], object]) -> Run:
    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            operation()

    return run


def instance() -> Instance:
    """A ticket in its first state."""
    new_id = uuid4()
    return Instance(
        id=new_id, namespace="default", workflow="ticket", definition_version=1, state="open", version=1,
        created_at=NOW, updated_at=NOW, entered_at=NOW, context=dict(CONTEXT), metadata=dict(METADATA),
        root_id=new_id,
    )  # fmt: skip


def ticket() -> floor.Ticket:
    """The same for the floor."""
    return floor.create(uuid4(), CONTEXT, METADATA, NOW)[0]  # type: ignore[no-any-return]


def _deciding() -> Callable[[], Writes]:
    engine = engine_of()
    loaded = Loaded(instance(), NOW)
    request = request_of(engine, Firing(loaded.instance.id, "assign", PAYLOAD))

    def operation() -> Writes:
        return finish_free(engine, decide(engine, request, loaded), request)[1]

    return operation


def _floor_deciding() -> Callable[[], object]:
    row = ticket()
    return lambda: floor.step(row, "assign", PAYLOAD, NOW)


def _resuming() -> Callable[[], object]:
    engine = engine_of()
    row = instance_to_record(instance(), engine.codec)
    request = request_of(engine, Firing(row["id"], "assign", PAYLOAD))

    def operation() -> object:
        loaded = Loaded(instance_from_record(row, engine.codec), NOW)
        writes = finish_free(engine, decide(engine, request, loaded), request)[1]
        return (
            instance_to_record(writes.after, engine.codec),
            [entry_to_record(entry, engine.codec) for entry in writes.entries],
        )

    return operation


def _floor_resuming() -> Callable[[], object]:
    row = floor.to_rows(*floor.create(uuid4(), CONTEXT, METADATA, NOW))[0]
    return lambda: floor.to_rows(*floor.step(floor.from_row(row), "assign", PAYLOAD, NOW))


def _beginning() -> Callable[[], object]:
    engine = engine_of()
    new = NewInstance("ticket", CONTEXT, METADATA)

    def operation() -> object:
        step = creating.begin(engine, creating.check(engine, new), NOW)
        drive_free(advance(step, None, "$created", None, engine.rules))
        return step.finish()

    return operation


def _floor_beginning() -> Callable[[], object]:
    return lambda: floor.create(uuid4(), CONTEXT, METADATA, NOW)


def _runtime() -> Runtime:
    return Runtime(
        workflows=[TICKET],
        commands={"file_letter": no_letter},
        guards={"has_room": has_room},
        persistence=InMemoryPersistence(),
    )


def _firing(runtime: Runtime) -> Run:
    """Fire at a new instance each round: history would otherwise grow without end."""

    def run(count: int) -> None:
        target = runtime.create("ticket", CONTEXT, metadata=METADATA).id
        for number in range(count):
            runtime.fire(target, "release" if number % 2 else "assign", PAYLOAD)

    return run


def _floor_moving() -> Run:
    kept: dict[UUID, Any] = {}

    def run(count: int) -> None:
        row = ticket()
        history = []
        for number in range(count):
            row, entry = floor.step(row, "release" if number % 2 else "assign", PAYLOAD, NOW)
            kept[row.id] = row
            history.append(entry)
        kept.clear()

    return run


def _creating(runtime: Runtime) -> Run:
    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            runtime.create("ticket", CONTEXT, metadata=METADATA)

    return run
