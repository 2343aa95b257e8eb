"""One instance that the database refuses to move stands in nobody else's way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg

from duraflow import Runtime, State, Transition, Workflow
from duraflow.results import SweepResult
from duraflow.testing import ManualClock
from duraflow_pg import PgPersistence

RING = Workflow(
    name="ring",
    initial="set",
    states=[
        State("set", [Transition("ring", target="rung", after=timedelta(hours=1))]),
        State("rung", final=True),
    ],
)

REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'this one is refused';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON workflow_history FOR EACH ROW
    WHEN (NEW.event = 'ring' AND NEW.instance_id = '{id}') EXECUTE FUNCTION refuse();
"""


def test_a_timer_that_the_database_refuses_is_kept_and_the_rest_fires(fresh_pg_dsn: str) -> None:
    """The refused one is the earliest of all; the others fire, and it is backed off with its reason, not lost."""
    clock = ManualClock(datetime(2024, 1, 1, tzinfo=UTC))
    with Runtime(workflows=[RING], persistence=PgPersistence.from_dsn(fresh_pg_dsn), clock=clock) as runtime:
        poisoned = runtime.create(RING)
        clock.advance(timedelta(seconds=1))
        others = [runtime.create(RING) for _ in range(5)]
        with psycopg.connect(fresh_pg_dsn, autocommit=True) as admin:
            admin.execute(REFUSE.format(id=poisoned.id).encode())
            clock.advance(timedelta(hours=2))
            assert runtime.fire_due_timers() == SweepResult(fired=5, failed=1)
            assert {runtime.get(one).state for one in others} == {"rung"}
            assert runtime.get(poisoned).state == "set"
            row = admin.execute(
                "SELECT retries -> 'ring' ->> 'error' FROM workflow_due WHERE instance_id = %s", [poisoned.id]
            ).fetchone()
            assert row is not None
            assert "this one is refused" in row[0]
            admin.execute("DROP TRIGGER refuse ON workflow_history")
        clock.advance(timedelta(minutes=1))
        assert runtime.fire_due_timers() == SweepResult(fired=1)
