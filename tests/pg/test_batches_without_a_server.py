"""A batch does not wait once for each of its members when there is nothing to be had."""

from __future__ import annotations

import pytest

from duraflow import (
    Firing,
    NewInstance,
    Runtime,
    State,
    StoreRetryPolicy,
    StoreUnavailable,
    Transition,
    Unfired,
    Workflow,
)
from duraflow_pg import PgPersistence

DOOR = Workflow(
    name="door",
    initial="open",
    states=[State("open", [Transition("shut", target="shut")]), State("shut", final=True)],
)


def test_a_full_pool_is_waited_for_once_by_a_batch(
    pg_dsn: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All members get the answer of the one wait, and nothing was written."""
    persistence = PgPersistence.from_dsn(pg_dsn, namespace=namespace, max_size=1)
    with Runtime(
        workflows=[DOOR], persistence=persistence, store_retry=StoreRetryPolicy(attempts=1)
    ) as runtime:
        made = runtime.create_many([NewInstance(DOOR) for _ in range(20)])
        connections = persistence.database.connections
        real, asked = connections.acquire, 0

        async def only_the_read() -> object:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise StoreUnavailable("no connection became free in the pool")
            return await real()

        monkeypatch.setattr(type(connections), "acquire", lambda self: only_the_read())
        answers = runtime.fire_many([Firing(one, "shut") for one in made])
        monkeypatch.undo()
        assert asked == 2
        assert all(
            isinstance(answer, Unfired) and isinstance(answer.error, StoreUnavailable) for answer in answers
        )
        assert {runtime.get(one).state for one in made} == {"open"}
