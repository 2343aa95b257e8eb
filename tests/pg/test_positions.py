"""After a restore into a server that counts from its own beginning: are positions found, and mended in their order?"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from duraflow import InvalidArgument, Misuse, Runtime, State, Transition, Workflow
from duraflow.testing import check_invariants
from duraflow.testing.driver import Driver
from duraflow_pg import (
    PgPersistence,
    positions,
    positions_problem,
    positions_problem_async,
    reset_positions,
    reset_positions_async,
)
from tests.pg.kit import in_both_worlds, look, settled
from tests.support.servers import PgServer

JOB = Workflow(
    name="job",
    initial="open",
    states=[
        State(
            "open",
            [Transition("note", emits=("noted",)), Transition("end", target="ended", emits=("ended",))],
        ),
        State("ended"),
    ],
)
Entry = tuple[UUID, int]
SPACES = ("default", "other")


def _runtime(dsn: str, namespace: str = "default") -> Runtime:
    return Runtime(workflows=[JOB], persistence=PgPersistence.from_dsn(dsn, namespace=namespace))


def _counter(dsn: str) -> int:
    ((found,),) = look(dsn, "SELECT pg_current_xact_id()::text")
    return int(found)


def _use_up(dsn: str, count: int) -> None:
    look(
        dsn,
        f"DO $$ BEGIN FOR n IN 1..{count} LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    )


def _order(dsn: str, namespace: str = "default", table: str = "history") -> list[Entry]:
    ordinal = ", ordinal" if table == "outbox" else ""
    return [
        (row[0], row[1])
        for row in look(
            dsn,
            f"SELECT instance_id, seq FROM workflow_{table} WHERE namespace = %s"
            f" ORDER BY position, instance_id, seq{ordinal}",
            [namespace],
        )
    ]


def _feed(dsn: str, runtime: Runtime) -> list[Entry]:
    settled(dsn)
    return [(one.entry.instance_id, one.entry.seq) for one in runtime.changes()]


def _passed(dsn: str) -> list[Entry]:
    """The messages that the handler has had."""
    rows = look(
        dsn,
        "SELECT o.instance_id, o.seq FROM workflow_outbox o JOIN workflow_outbox_handlers h USING (namespace)"
        " WHERE (o.position, o.instance_id, o.seq, o.ordinal) <= (h.position, h.instance_id, h.seq, h.ordinal)"
        " ORDER BY o.position, o.instance_id, o.seq",
    )
    return [(row[0], row[1]) for row in rows]


def _tool(directory: str, name: str, *arguments: str, text: bytes = b"") -> bytes:
    done = subprocess.run(
        [Path(directory) / name, *arguments], check=False, input=text, capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def restored(fresh_pg_dsn: str, own_pg_dsn: str, pg_server: PgServer) -> str:
    """A database whose positions are those of another server, far ahead of its own."""
    if pg_server.bin_dir is None:
        pytest.skip("pg_dump of that server's version is not at hand")
    behind = _counter(own_pg_dsn) - _counter(fresh_pg_dsn)
    _use_up(fresh_pg_dsn, max(behind, 0) + 20_000)
    for namespace in SPACES:
        with _runtime(fresh_pg_dsn, namespace) as runtime:
            made = [runtime.create("job", ref=f"R{number}").id for number in range(6)]
            for round_ in range(5):
                # Later ones first, so that the order is not that of the ids or of the creation.
                for instance_id in reversed(made):
                    runtime.fire(instance_id, "note")
                _use_up(fresh_pg_dsn, 100 + round_)
            with runtime.transaction() as tx:
                for instance_id in made[:3]:
                    tx.fire(instance_id, "end")
    look(
        fresh_pg_dsn,
        "INSERT INTO workflow_outbox_handlers (namespace, handler, position, instance_id, seq, ordinal)"
        " SELECT namespace, 'mail', position, instance_id, seq, ordinal FROM workflow_outbox"
        " WHERE namespace = 'default' ORDER BY position, instance_id, seq LIMIT 1 OFFSET 14",
    )
    look(own_pg_dsn, "DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    dump = _tool(pg_server.bin_dir, "pg_dump", "--no-owner", fresh_pg_dsn)
    _tool(pg_server.bin_dir, "psql", "-q", "-v", "ON_ERROR_STOP=1", "-d", own_pg_dsn, text=dump)
    return own_pg_dsn


def _orders(dsn: str) -> dict[Any, list[Entry]]:
    return {
        (namespace, table): _order(dsn, namespace, table)
        for namespace in SPACES
        for table in ("history", "outbox")
    }


def _rows_follow_entries(dsn: str) -> bool:
    """Whether each row has the position of its last entry, as every move leaves it."""
    return not look(
        dsn,
        "SELECT i.id FROM workflow_instances i WHERE i.position <> "
        "(SELECT position FROM workflow_history WHERE instance_id = i.id ORDER BY seq DESC LIMIT 1)",
    )


def _all_is_well(dsn: str) -> None:
    assert positions_problem(dsn) is None
    assert _rows_follow_entries(dsn)
    for namespace in SPACES:
        with _runtime(dsn, namespace) as runtime:
            check_invariants(runtime)


def test_what_is_ahead_is_found(restored: str, fresh_pg_dsn: str) -> None:
    """Where the dump came from nothing is wrong; where it went the feed shows none of it, and the check says why."""
    assert positions_problem(fresh_pg_dsn) is None
    problem = positions_problem(restored)
    assert problem is not None
    assert "'default', 'other'" in problem
    assert "reset-positions" in problem
    with _runtime(restored) as runtime:
        assert _feed(restored, runtime) == []
        # Also what happens now waits, for it comes after what happened before.
        runtime.fire(("job", "R5"), "note")
        assert _feed(restored, runtime) == []


def test_a_small_gap_is_caught_up(restored: str, fresh_pg_dsn: str) -> None:
    """The counter moves on, positions stay, and so do saved cursors."""
    settled(fresh_pg_dsn)
    with _runtime(fresh_pg_dsn) as runtime:
        cursor = [one.cursor for one in runtime.changes()][20]
    before = look(restored, "SELECT instance_id, seq, position::text FROM workflow_history ORDER BY 1, 2")
    assert reset_positions(restored) == 0
    assert (
        look(restored, "SELECT instance_id, seq, position::text FROM workflow_history ORDER BY 1, 2")
        == before
    )
    _all_is_well(restored)
    with _runtime(restored) as runtime:
        assert _feed(restored, runtime) == _order(fresh_pg_dsn)
        rest = [(one.entry.instance_id, one.entry.seq) for one in runtime.changes(after=cursor)]
        assert rest == _order(fresh_pg_dsn)[21:]


@in_both_worlds
async def test_a_large_gap_gets_new_positions(driver: Driver, restored: str, fresh_pg_dsn: str) -> None:
    """In the old order, in every namespace; handlers keep their place; what happens next comes after it."""
    before, passed = _orders(restored), _passed(restored)
    assert len(passed) == 15
    settled(fresh_pg_dsn)
    with _runtime(fresh_pg_dsn) as runtime:
        cursor = [one.cursor for one in runtime.changes()][20]
    total = len(before["default", "history"]) + len(before["other", "history"])
    if driver.waits.suspends:
        assert await positions_problem_async(restored) is not None
        assert await reset_positions_async(restored, batch=7, catch_up=0) == total
        assert await positions_problem_async(restored) is None
    else:
        assert reset_positions(restored, batch=7, catch_up=0) == total
    assert _orders(restored) == before
    assert _passed(restored) == passed
    _all_is_well(restored)
    with _runtime(restored) as runtime:
        assert _feed(restored, runtime) == before["default", "history"]
        with pytest.raises(InvalidArgument, match="ahead"):
            list(runtime.changes(after=cursor))
        moved = runtime.fire(("job", "R5"), "note").instance
        assert _feed(restored, runtime)[-1] == (moved.id, moved.version)
    assert reset_positions(restored, catch_up=0) == 0


def test_it_can_be_broken_off_and_run_again(restored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """After any batch, before or after the counter has moved: the order is the old one in the end."""
    before, passed = _orders(restored), _passed(restored)
    real_batch, real_move = positions._one_batch, positions._move_counter
    calls = 0

    def dying(real: Any) -> Any:
        async def call(*arguments: Any) -> Any:
            nonlocal calls
            answer = await real(*arguments)
            calls += 1
            if calls in (3, 6, 7, 11):
                raise KeyboardInterrupt
            return answer

        return call

    monkeypatch.setattr(positions, "_one_batch", dying(real_batch))
    monkeypatch.setattr(positions, "_move_counter", dying(real_move))
    broken = 0
    while True:
        try:
            reset_positions(restored, batch=5, catch_up=0)
            break
        except KeyboardInterrupt:
            broken += 1
            # What is done and what is not stand in the old order, too.
            assert _orders(restored) == before
            assert _rows_follow_entries(restored)
    assert broken == 4
    assert (_orders(restored), _passed(restored)) == (before, passed)
    _all_is_well(restored)


def test_life_goes_on_meanwhile(restored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed that is followed gets every entry once, those of an instance in order, also those written in between."""
    real = positions._one_batch
    seen: list[Entry] = []
    with _runtime(restored) as runtime:
        cursor: str | None = None

        def follow() -> None:
            nonlocal cursor
            for one in runtime.changes(after=cursor):
                cursor = one.cursor
                seen.append((one.entry.instance_id, one.entry.seq))

        number = 0

        async def lively(*arguments: Any) -> Any:
            nonlocal number
            number += 1
            runtime.fire(("job", f"R{3 + number % 3}"), "note")
            created = runtime.create("job")
            runtime.fire(created.id, "end")
            answer = await real(*arguments)
            follow()
            return answer

        monkeypatch.setattr(positions, "_one_batch", lively)
        reset_positions(restored, batch=4, catch_up=0)
        assert number > 5
        settled(restored)
        follow()
        assert sorted(seen) == sorted(_order(restored))
        for instance_id in {one for one, _ in seen}:
            seqs = [seq for one, seq in seen if one == instance_id]
            assert seqs == sorted(seqs)
    _all_is_well(restored)


def test_positions_edited_by_hand_are_mended(fresh_pg_dsn: str) -> None:
    """A row whose position is that of none of its entries would else carry its instance's moves away."""
    with _runtime(fresh_pg_dsn) as runtime:
        created = runtime.create("job")
        look(fresh_pg_dsn, "UPDATE workflow_instances SET position = '9000000000000'")
        reset_positions(fresh_pg_dsn)
        runtime.fire(created.id, "note")
        assert _feed(fresh_pg_dsn, runtime) == [(created.id, 1), (created.id, 2)]


def test_it_says_what_it_cannot_do(fresh_pg_dsn: str) -> None:
    """On a connection that is in use, or that keeps a transaction open for itself."""
    with psycopg.connect(fresh_pg_dsn) as connection:
        with pytest.raises(Misuse, match="autocommit"):
            reset_positions(connection)
        connection.execute("SELECT 1")
        for call in (reset_positions, positions_problem):
            with pytest.raises(Misuse, match="inside a transaction"):
                call(connection)
    for call in (reset_positions, positions_problem):
        with pytest.raises(InvalidArgument):
            call(fresh_pg_dsn, schema="")


def test_another_schema_is_mended(fresh_pg_dsn: str) -> None:
    """Names are qualified, whatever the search path."""
    persistence = PgPersistence.from_dsn(fresh_pg_dsn, schema='odd "%s" name', migrate=True)
    with Runtime(workflows=[JOB], persistence=persistence) as runtime:
        runtime.create("job")
        look(
            fresh_pg_dsn, """UPDATE "odd ""%%s"" name".workflow_history SET position = '9000000000000'""", []
        )
        assert positions_problem(fresh_pg_dsn) is None
        assert positions_problem(fresh_pg_dsn, schema='odd "%s" name') is not None
        assert reset_positions(fresh_pg_dsn, schema='odd "%s" name') == 1
        assert len(_feed(fresh_pg_dsn, runtime)) == 1
