"""Requests with a key on PostgreSQL: is there one effect, sent at the same time, or again after a lost COMMIT?"""

from __future__ import annotations

import itertools
import multiprocessing
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest

from duraflow import (
    AsyncRuntime,
    Firing,
    Instance,
    NewInstance,
    Runtime,
    State,
    StoreUnavailable,
    Transition,
    Workflow,
)
from duraflow.errors import KeyTaken
from duraflow.runtime.deciding import decide, finish_free, request_of
from duraflow.testing.driver import AsyncioDriver, Driver
from duraflow.writes import Answer, Applied, Failed, Writes
from duraflow_pg import PgPersistence
from duraflow_pg.writer import PgWriter
from tests.pg.conftest import Notes
from tests.pg.kit import check_all, engine_of, in_both_worlds, look, order, runtime_on
from tests.pg.test_trips import WRITTEN, seen_second, warm
from tests.pg.wire import When, Wire

MANY = 20
BOTH_SIDES = pytest.mark.parametrize("when", ["before", "after"])

HELD = [
    "BEGIN",
    "SELECT",
    "SELECT",
    "SELECT",
]  # begin, the timeouts, the lock, the row with its receipt: one trip


def born(*commands: Any) -> Workflow:
    """Its creation runs the commands."""
    return Workflow(
        name="born",
        initial="begin",
        states=[State("begin", [Transition(target="open", commands=commands)]), State("open")],
    )


def noting(command: Any) -> tuple[Workflow, Workflow]:
    """Both, with the same command."""
    return order(command), born(command)


Ask = Callable[[AsyncRuntime, Instance, str], Coroutine[Any, Any, Any]]


async def _in_transaction(runtime: AsyncRuntime, one: Instance, key: str) -> Any:
    async with runtime.transaction() as tx:
        return await tx.fire(one.id, "pay", {"n": 1}, key=key)


async def _fire_many(runtime: AsyncRuntime, one: Instance, key: str) -> Any:
    return (await runtime.fire_many([Firing(one.id, "reopen", key=key)]))[0]


async def _create_many(runtime: AsyncRuntime, one: Instance, key: str) -> Any:
    return (await runtime.create_many([NewInstance("order"), NewInstance("born", {"n": 1}, key=key)]))[1]


REQUESTS: dict[str, tuple[Ask, int]] = {
    "a free move": (lambda runtime, one, key: runtime.fire(one.id, "reopen", key=key), 0),
    "a rejection": (lambda runtime, one, key: runtime.fire(one.id, "ask", key=key), 0),
    "the last move": (lambda runtime, one, key: runtime.fire(one.id, "ship", key=key), 0),
    "a batch": (_fire_many, 0),
    "a move with a command": (lambda runtime, one, key: runtime.fire(one.id, "pay", {"n": 1}, key=key), 1),
    "a chain": (lambda runtime, one, key: runtime.fire(one.id, "post", key=key), 2),
    "a transaction": (_in_transaction, 1),
    "a creation": (lambda runtime, one, key: runtime.create("order", {"n": 1}, key=key), 0),
    "a creation with a ref": (lambda runtime, one, key: runtime.create("order", ref=key, key=key), 0),
    "a creation with a command": (lambda runtime, one, key: runtime.create("born", ref=key, key=key), 1),
    "many creations": (_create_many, 1),
}
"""Requests, and how many notes their commands leave."""


@pytest.mark.parametrize("name", REQUESTS)
@in_both_worlds
async def test_twenty_at_a_time_have_one_effect(
    driver: Driver, pg_dsn: str, namespace: str, notes: Notes, name: str
) -> None:
    """Threads and tasks with one key: twenty equal answers, one of them not replayed, nobody meets an error."""
    ask, effects = REQUESTS[name]
    workflows = noting(notes.command(driver))
    pool = {"namespace": namespace, "max_size": 6}
    async with runtime_on(driver, pg_dsn, *workflows, pool=pool) as runtime:
        one = await runtime.create("order")
        answers = await driver.together(*[partial(ask, runtime, one, "k")] * MANY)
        assert answers == [answers[0]] * MANY
        if not isinstance(answers[0], Instance):
            assert Counter(answer.replayed for answer in answers) == {True: MANY - 1, False: 1}
        await check_all(runtime)
    assert len(notes.read()) == effects
    receipts = look(pg_dsn, "SELECT count(*) FROM workflow_receipts WHERE namespace = %s", [namespace])
    assert receipts == [(1,)]


def test_a_group_commit_with_the_same_keys_twice(pg_dsn: str, namespace: str) -> None:
    """Creations and moves that share a commit, each asked for three times at once: each is done once."""
    driver = AsyncioDriver()

    async def body() -> None:
        pool = {"namespace": namespace, "max_size": 3}
        async with runtime_on(driver, pg_dsn, order(), pool=pool) as runtime:
            keys = [f"k{number}" for number in range(30)]
            made = await driver.together(*(partial(runtime.create, "order", key=key) for key in keys * 3))
            assert made[:30] == made[30:60] == made[60:]
            assert len({one.id for one in made}) == 30
            calls = [partial(runtime.fire, one.id, "reopen", key="k") for one in made[:30] * 3]
            answers = await driver.together(*calls)
            assert answers[:30] == answers[30:60] == answers[60:]
            assert Counter(answer.replayed for answer in answers) == {False: 30, True: 60}
            await check_all(runtime)

    driver.run(body())


# --- processes ------------------------------------------------------------------------------------------------

_GATES: list[Any] = []


def _enter(gate: Any) -> None:
    """In each process, when it begins."""
    _GATES.append(gate)


def _paid(ctx: Any) -> None:
    ctx.connection.execute("INSERT INTO app_notes VALUES (%s, 'paid')", [ctx.instance.namespace])


def _ask_in_a_process(dsn: str, namespace: str, instance_id: UUID) -> tuple[Any, ...]:
    """All at once with all others: a creation and three moves, each under one key."""
    persistence = PgPersistence.from_dsn(dsn, namespace=namespace, max_size=1)
    with Runtime(workflows=noting(_paid), persistence=persistence) as runtime:
        _GATES[0].wait(60)
        return (
            runtime.create("order", {"n": 1}, key="k"),
            runtime.create("born", ref="A1", key="k"),
            runtime.fire(instance_id, "reopen", {"n": 1}, key="k1"),
            runtime.fire(instance_id, "pay", {"n": 1}, key="k2"),
            runtime.fire(instance_id, "post", key="k3"),
        )


def test_twenty_processes_have_one_effect(pg_dsn: str, namespace: str, notes: Notes) -> None:
    """Each request was done by one of them, and all twenty have the same answers."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with Runtime(
        workflows=noting(_paid), persistence=PgPersistence.from_dsn(pg_dsn, namespace=namespace)
    ) as runtime:
        one = runtime.create("order")
        with context.Pool(MANY, _enter, [context.Barrier(MANY)]) as pool:
            asked = [(pg_dsn, namespace, one.id)] * MANY
            answers = pool.starmap_async(_ask_in_a_process, asked, chunksize=1).get(100)
        assert answers == [answers[0]] * MANY
        replays = [Counter(answer[number].replayed for answer in answers) for number in (2, 3, 4)]
        assert replays == [{True: MANY - 1, False: 1}] * 3
        assert (runtime.get(one.id).state, runtime.get(one.id).version) == ("shipped", 6)
        assert sum(row.count for row in runtime.count()) == 3
    assert notes.read() == ["paid"] * 4


# --- lost answers ---------------------------------------------------------------------------------------------

LOST: dict[str, tuple[str, Ask, int]] = {
    "a free move": ("UPDATE", *REQUESTS["a free move"]),
    "a move with a command": ("COMMIT", *REQUESTS["a move with a command"]),
    "a chain": ("COMMIT", *REQUESTS["a chain"]),
    "a creation": ("INSERT INTO", *REQUESTS["a creation"]),
    "a creation with a command": ("COMMIT", *REQUESTS["a creation with a command"]),
    "many creations": ("COMMIT", *REQUESTS["many creations"]),
}


@BOTH_SIDES
@pytest.mark.parametrize("name", LOST)
@in_both_worlds
async def test_a_lost_commit_is_found_and_answered_again(
    driver: Driver, pg_dsn: str, notes: Notes, name: str, when: When
) -> None:
    """The caller sees success, and whoever sends the request again gets the same."""
    text, ask, effects = LOST[name]
    workflows = noting(notes.command(driver))
    pool = {"namespace": notes.namespace, "max_size": 1}
    with Wire(pg_dsn) as wire:
        async with runtime_on(driver, wire.dsn, *workflows, pool=pool) as runtime:
            one = await runtime.create("order")
            wire.cut(text, when)
            first = await ask(runtime, one, "k")
            assert wire.cuts_made == 1
            assert await ask(runtime, one, "k") == first
            await check_all(runtime)
    assert len(notes.read()) == effects


@pytest.mark.parametrize(
    "name", ["a move with a command", "a free move", "a creation", "a creation with a command"]
)
@in_both_worlds
async def test_an_unknown_outcome_is_settled_by_the_key(
    driver: Driver, pg_dsn: str, notes: Notes, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The server stays away after the COMMIT, so that nobody can tell: sending it again does, and does it once."""
    text, ask, effects = LOST[name]
    workflows = noting(notes.command(driver))
    pool = {"namespace": notes.namespace, "max_size": 1}
    with Wire(pg_dsn) as wire:
        async with runtime_on(driver, wire.dsn, *workflows, pool=pool) as runtime:
            one = await runtime.create("order")
            engine_of(runtime).persistence.database.connections.pool.timeout = 0.1
            monkeypatch.setattr("duraflow_pg.database._LOOK_UP_ATTEMPTS", 2)
            wire.cut(text, "after")
            wire.refuse_new()
            with pytest.raises(StoreUnavailable) as caught:
                await ask(runtime, one, "k")
            assert caught.value.outcome == "unknown"
            wire.heal()
            engine_of(runtime).persistence.database.connections.pool.timeout = 10
            settled = await ask(runtime, one, "k")
            assert await ask(runtime, one, "k") == settled
            if isinstance(settled, Instance):
                assert sum(row.count for row in await runtime.count()) == 2
            else:
                assert settled.replayed
            await check_all(runtime)
    assert len(notes.read()) == effects


# --- trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "words", "trips"),
    [
        pytest.param(
            lambda runtime, one, key: runtime.fire(one, "reopen", key=key),
            ["SELECT", "WITH"],
            2,
            id="a free move: as without a key",
        ),
        pytest.param(
            lambda runtime, one, key: runtime.fire(one, "pay", key=key),
            [*HELD, *WRITTEN],
            2,
            id="with a command: the receipt is looked for under the lock, in the same trip",
        ),
        pytest.param(
            lambda runtime, one, key: runtime.create("order", key=key), ["WITH"], 1, id="a creation: as without"
        ),
        pytest.param(
            lambda runtime, one, key: runtime.fire_many([Firing(one, "reopen", key=key)]),
            ["SELECT", "SELECT", "WITH"],
            3,
            id="a batch: receipts of all are looked for at once",
        ),
    ],
)  # fmt: skip
@in_both_worlds
async def test_what_a_key_costs(
    driver: Driver, pg_dsn: str, namespace: str, ask: Ask, words: list[str], trips: int
) -> None:
    """A new key on a command-free request costs no trip: the receipt is written by the same statement."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        one = await runtime.create("order")
        numbers = itertools.count()
        seen = await seen_second(wire, lambda: ask(runtime, one, f"k{next(numbers)}"))
    assert (seen.words, seen.trips, seen.connected) == (words, trips, 0)


@in_both_worlds
async def test_what_an_answer_costs(driver: Driver, pg_dsn: str, namespace: str) -> None:
    """A replay meets its receipt, and then reads it and the entries under the lock; it writes nothing."""
    async with warm(driver, pg_dsn, namespace, order()) as (wire, runtime):
        one = await runtime.create("order", key="k")
        await runtime.fire(one, "reopen", key="k")
        await runtime.fire(one, "pay", key="k2")
        asked = [*HELD, "SELECT", "COMMIT"]  # lock and receipt, its entries
        seen = await seen_second(wire, lambda: runtime.fire(one, "pay", key="k2"))
        assert (seen.words, seen.trips) == (asked, 3)


@in_both_worlds
async def test_what_is_sent_again_is_no_error_to_the_server(
    driver: Driver, pg_dsn: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose log would tell of it; and nothing is undone that others write with the same statement."""
    errors: list[psycopg.Error] = []
    commit = PgWriter._commit_group

    async def watched(writer: PgWriter, writes: Sequence[Writes], group: Sequence[int]) -> dict[int, Answer]:
        try:
            return await commit(writer, writes, group)
        except psycopg.Error as error:
            errors.append(error)
            raise

    monkeypatch.setattr(PgWriter, "_commit_group", watched)

    def note(ctx: Any) -> None:
        pass

    flow = order(note)
    async with runtime_on(driver, pg_dsn, flow, pool={"namespace": namespace}) as runtime:
        one = await runtime.create("order", key="c")
        assert await runtime.create("order", key="c") == one
        first = await runtime.fire(one.id, "reopen", key="k")
        assert await runtime.fire(one.id, "reopen", key="k") == first
        # As several tasks would come to write together: each on a row that is current.
        engine = engine_of(runtime)
        others = [await runtime.create("order") for _ in range(2)]
        loaded = await engine.persistence.instances.get_many(
            None, [one.id, *(other.id for other in others)], clock=None
        )
        request = request_of(engine, Firing(one.id, "reopen", key="k"))
        together = [
            finish_free(engine, decide(engine, request, found), request)[1] for found in loaded.values()
        ]
        answers = dict(zip(loaded, await engine.writer.apply(None, together), strict=True))
        taken = answers.pop(one.id)
        assert isinstance(taken, Failed)
        assert isinstance(taken.error, KeyTaken)
        assert answers == {other.id: Applied() for other in others}
    assert errors == []


@in_both_worlds
async def test_who_is_created_between_lock_and_look_is_held_too(
    driver: Driver, pg_dsn: str, namespace: str
) -> None:
    """Two statements: what the second finds and the first did not is locked by it, or it is someone else's."""
    async with runtime_on(driver, pg_dsn, order(), pool={"namespace": namespace}) as runtime:
        store: Any = engine_of(runtime).persistence.receipts
        instances, begin = (
            engine_of(runtime).persistence.instances,
            engine_of(runtime).persistence.transactions.begin,
        )
        parameters = {"namespace": namespace, "workflow": "order", "ref": "A1", "key": "k", "clock": None}
        async with begin() as unit:
            assert await unit.fetch(store._sql["hold by ref"], parameters) == []
            one = await runtime.create("order", ref="A1")
            async with begin() as other:
                assert await instances.lock(other, one.id, clock=None) is not None
                assert await unit.fetch(store._sql["find by ref"], parameters) == []
            ((found, *_),) = await unit.fetch(store._sql["find by ref"], parameters)
            assert found == one.id
            async with begin() as other:
                assert await instances.lock(other, one.id, clock=None, skip_locked=True) is None
