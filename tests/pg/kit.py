"""What do the tests of the PostgreSQL stores share? Both worlds in one body, workflows, and looks into the database."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from duraflow import AsyncRuntime, State, Transition, Workflow
from duraflow.testing import acheck_invariants
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver
from duraflow_pg import AsyncPgPersistence, PgPersistence

DAY = timedelta(days=1)

Body = Callable[..., Coroutine[Any, Any, None]]


def in_both_worlds(body: Body) -> Any:
    """Make two tests of an `async def test(driver, …)`: on the blocking runtime and on the asyncio one."""

    @functools.wraps(body)
    def test(driver: Driver, **fixtures: Any) -> None:
        driver.run(body(driver, **fixtures))

    worlds = [
        pytest.param(BlockingDriver(), id="blocking"),
        pytest.param(AsyncioDriver(), id="asyncio"),
    ]
    return pytest.mark.parametrize("driver", worlds)(test)


def persistence_of(driver: Driver, dsn: str, **options: Any) -> PgPersistence | AsyncPgPersistence:
    """A persistence with a pool of its own, for this world."""
    kind = AsyncPgPersistence if driver.waits.suspends else PgPersistence
    return kind.from_dsn(dsn, **options)


def runtime_on(
    driver: Driver, dsn: str, *workflows: Workflow, pool: dict[str, Any] | None = None, **options: Any
) -> AsyncRuntime:
    """A runtime for this world, with the calls of `AsyncRuntime`; `pool` holds options of the persistence."""
    persistence = options.pop("persistence", None) or persistence_of(driver, dsn, **(pool or {}))
    return driver.runtime(workflows=workflows, persistence=persistence, **options)


async def resolved(value: Any) -> Any:
    """The value of something that may have to be awaited: psycopg's calls, in either world."""
    return await value if inspect.isawaitable(value) else value


async def execute(connection: Any, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Run an application's statement on a connection of either world; its rows, if it has any."""
    cursor = await resolved(connection.execute(statement, parameters))
    return list(await resolved(cursor.fetchall())) if cursor.description is not None else []


def look(dsn: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """What a session of its own sees, or does and commits."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description is not None else []


def settled(dsn: str) -> None:
    """Wait until the feed shows all that is committed: another test's transaction on the same server may hold it up."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute("SELECT pg_current_xact_id()::text").fetchone()
        assert row is not None
        for _ in range(3_000):
            done = connection.execute(
                "SELECT pg_snapshot_xmin(pg_current_snapshot()) > %s::text::xid8", [row[0]]
            ).fetchone()
            if done is not None and done[0]:
                return
            time.sleep(0.01)
    raise AssertionError("some transaction has been open for half a minute")


def history_count(dsn: str, namespace: str) -> int:
    """How many history entries a namespace has."""
    ((count,),) = look(dsn, "SELECT count(*) FROM workflow_history WHERE namespace = %s", [namespace])
    return int(count)


def pool_is_whole(runtime: AsyncRuntime) -> bool:
    """Whether every connection of the runtime's pool has come back."""
    stats = engine_of(runtime).persistence.database.connections.stats()
    return bool(stats["available"] == stats["size"] and stats["waiting"] == 0)


def engine_of(runtime: AsyncRuntime) -> Any:
    """The engine of a runtime of either world."""
    return runtime._engine


async def check_all(runtime: AsyncRuntime) -> None:
    """Check what must always hold, and that no connection was lost on the way."""
    engine = engine_of(runtime)
    await acheck_invariants(engine.persistence, workflows=engine.definitions.by_version.values())
    for _ in range(
        200
    ):  # connections given back, or made anew after an outage, come from other threads and tasks
        if pool_is_whole(runtime):
            return
        await engine.waits.sleep(0.02)
    stats = engine.persistence.database.connections.stats()
    raise AssertionError(f"connections have not come back: {stats}")


def never(payload: object) -> bool:
    """A guard that always says no."""
    return False


def order(*commands: Any, name: str = "order") -> Workflow:
    """Open until shipped. `ship` and `reopen` run no command; `pay` runs those given, and so does `post` in a chain."""
    work = list(commands) or [nothing]
    return Workflow(
        name=name,
        initial="open",
        states=[
            State(
                "open",
                [
                    Transition("ship", target="shipped"),
                    Transition("reopen", target="open"),
                    Transition("ask", target="shipped", guard=never),
                    Transition("pay", commands=work),
                    Transition("post", target="posted", commands=work),
                ],
            ),
            State("posted", [Transition(target="filed", commands=work)]),
            State("filed", [Transition(target="shipped")]),
            State("shipped", final=True),
        ],
    )


def nothing(ctx: Any) -> None:
    """A command that does nothing."""


def reminder(*, after: timedelta = DAY, name: str = "reminder") -> Workflow:
    """Waits, and is reminded after a day without running a command; `nag` counts in a command."""
    return Workflow(
        name=name,
        initial="waiting",
        states=[
            State(
                "waiting",
                [Transition("remind", target="reminded", after=after), Transition("answer", target="done")],
            ),
            State("reminded", [Transition("answer", target="done")]),
            State("done", final=True),
        ],
    )
