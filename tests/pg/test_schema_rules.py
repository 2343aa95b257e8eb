"""Does the schema itself refuse what must not be, and does a feed by `position` miss nothing?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from duraflow import AsyncRuntime, NewInstance
from duraflow.testing.driver import Driver
from tests.pg.kit import execute, in_both_worlds, look, order, reminder, runtime_on

INSTANCE = {
    "id": "gen_random_uuid()",
    "namespace": "'n'",
    "workflow": "'w'",
    "definition_version": "1",
    "state": "'open'",
    "version": "1",
    "created_at": "'2024-01-01Z'",
    "updated_at": "'2024-01-01Z'",
    "entered_at": "'2024-01-01Z'",
}
ENTRY = {
    "instance_id": "(SELECT id FROM workflow_instances WHERE ref = 'A1')",
    "seq": "2",
    "namespace": "'n'",
    "kind": "'moved'",
    "event": "'go'",
    "from_state": "'open'",
    "to_state": "'shut'",
    "status": "'success'",
    "entered": "true",
    "at": "now()",
    "definition_version": "1",
    "attempt_id": "gen_random_uuid()",
}
DUE = {
    "instance_id": "(SELECT id FROM workflow_instances WHERE ref = 'A1')",
    "namespace": "'n'",
    "due_at": "now()",
}
DEFINITION = {
    "namespace": "'n'",
    "workflow": "'w'",
    "version": "2",
    "hash": "repeat('a', 64)",
    "snapshot": "'{}'",
}

TABLES = {
    "workflow_instances": INSTANCE,
    "workflow_history": ENTRY,
    "workflow_due": DUE,
    "workflow_definitions": DEFINITION,
}

CHECK, NULL, FOREIGN, UNIQUE = (
    errors.CheckViolation,
    errors.NotNullViolation,
    errors.ForeignKeyViolation,
    errors.UniqueViolation,
)

BAD: list[tuple[str, dict[str, str], type[psycopg.Error]]] = [
    ("workflow_definitions", {"hash": "'short'"}, CHECK),
    ("workflow_definitions", {"version": "0"}, CHECK),
    ("workflow_definitions", {"snapshot": "'[]'"}, CHECK),
    ("workflow_definitions", {"version": "1"}, UNIQUE),
    ("workflow_instances", {"definition_version": "9"}, FOREIGN),
    ("workflow_instances", {"namespace": "'other'"}, FOREIGN),
    ("workflow_instances", {"ref": "''"}, CHECK),
    ("workflow_instances", {"ref": "'A1'"}, UNIQUE),
    ("workflow_instances", {"id": "(SELECT id FROM workflow_instances WHERE ref = 'A1')"}, UNIQUE),
    ("workflow_instances", {"state": "''"}, CHECK),
    ("workflow_instances", {"state": "NULL"}, NULL),
    ("workflow_instances", {"version": "0"}, CHECK),
    ("workflow_instances", {"context": "'[]'"}, CHECK),
    ("workflow_instances", {"context": "NULL"}, NULL),
    ("workflow_instances", {"metadata": "'1'"}, CHECK),
    ("workflow_instances", {"timers": "'{}'"}, CHECK),
    ("workflow_instances", {"continuation": "'[]'"}, CHECK),
    ("workflow_instances", {"format": "0"}, CHECK),
    ("workflow_instances", {"outcome": "'lost'", "finished_at": "'2024-01-01Z'"}, CHECK),
    ("workflow_instances", {"outcome": "'done'"}, CHECK),
    ("workflow_instances", {"finished_at": "'2024-01-01Z'"}, CHECK),
    ("workflow_instances", {"outcome": "'done'", "finished_at": "'2024-01-01Z'", "timers": "'[]'"}, CHECK),
    ("workflow_instances", {"outcome": "'done'", "finished_at": "'2024-01-01Z'", "continuation": "'{}'"}, CHECK),
    ("workflow_instances", {"updated_at": "'2023-12-31Z'", "entered_at": "'2023-12-31Z'"}, CHECK),
    ("workflow_instances", {"entered_at": "'2023-12-31Z'"}, CHECK),
    ("workflow_instances", {"entered_at": "'2024-01-02Z'"}, CHECK),
    ("workflow_instances", {"parent_id": "gen_random_uuid()"}, FOREIGN),
    ("workflow_history", {"seq": "1"}, CHECK),
    ("workflow_history", {"seq": "0"}, CHECK),
    ("workflow_history", {"seq": "1", "kind": "'created'", "from_state": "NULL"}, UNIQUE),
    ("workflow_history", {"kind": "'created'"}, CHECK),
    ("workflow_history", {"kind": "'teleported'"}, CHECK),
    ("workflow_history", {"from_state": "NULL"}, CHECK),
    ("workflow_history", {"kind": "'rejected'"}, CHECK),
    ("workflow_history", {"status": "'rejected'"}, CHECK),
    ("workflow_history", {"status": "'perhaps'"}, CHECK),
    ("workflow_history", {"instance_id": "gen_random_uuid()"}, FOREIGN),
    ("workflow_history", {"event": "NULL"}, NULL),
    ("workflow_history", {"attempt_id": "NULL"}, NULL),
    ("workflow_history", {"outcome": "'lost'"}, CHECK),
    ("workflow_history", {"commands": "'{}'"}, CHECK),
    ("workflow_history", {"blockers": "'{}'"}, CHECK),
    ("workflow_history", {"trigger": "'[]'"}, CHECK),
    ("workflow_history", {"change": "'[]'"}, CHECK),
    ("workflow_history", {"timers": "'{}'"}, CHECK),
    ("workflow_history", {"metadata": "'[]'"}, CHECK),
    ("workflow_history", {"format": "0"}, CHECK),
    ("workflow_due", {"due_at": "NULL"}, CHECK),
    ("workflow_due", {"instance_id": "gen_random_uuid()"}, FOREIGN),
    ("workflow_due", {"lease_token": "gen_random_uuid()"}, CHECK),
    ("workflow_due", {"lease_until": "now()"}, CHECK),
    ("workflow_due", {"errors": "-1"}, CHECK),
    ("workflow_due", {"crashes": "-1"}, CHECK),
    ("workflow_due", {"wakes": "-1"}, CHECK),
    ("workflow_due", {"retries": "'[]'"}, CHECK),
]  # fmt: skip

UPDATES: list[tuple[str, type[psycopg.Error]]] = [
    ("UPDATE workflow_instances SET version = 0", CHECK),
    ("UPDATE workflow_instances SET outcome = 'done'", CHECK),
    ("UPDATE workflow_instances SET updated_at = created_at - interval '1 day'", CHECK),
    ("UPDATE workflow_instances SET definition_version = 7", FOREIGN),
    ("UPDATE workflow_history SET seq = 5", CHECK),
    ("DELETE FROM workflow_definitions", FOREIGN),
    ("UPDATE workflow_definitions SET version = 2", FOREIGN),
]


def insert(table: str, changes: dict[str, str]) -> str:
    """An INSERT of a good row with these changes."""
    row = {**TABLES[table], **changes}
    return f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(row.values())})"


@pytest.fixture
def connection(fresh_pg_dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """A session that has written one good instance with its first entry, and will be rolled back."""
    with psycopg.connect(fresh_pg_dsn) as made:
        made.execute(insert("workflow_definitions", {"version": "1"}).encode())
        made.execute(insert("workflow_instances", {"ref": "'A1'"}).encode())
        made.execute(
            insert("workflow_history", {"seq": "1", "kind": "'created'", "from_state": "NULL"}).encode()
        )
        yield made
        made.rollback()


@pytest.fixture(scope="module")
def shared_connection(databases: Any) -> Iterator[psycopg.Connection[Any]]:
    """The same, committed, for many tests, each of which rolls its own transaction back."""
    dsn = databases.clone()
    with psycopg.connect(dsn, autocommit=True) as made:
        made.execute(insert("workflow_definitions", {"version": "1"}).encode())
        made.execute(insert("workflow_instances", {"ref": "'A1'"}).encode())
        made.execute(
            insert("workflow_history", {"seq": "1", "kind": "'created'", "from_state": "NULL"}).encode()
        )
        yield made
    databases.drop(dsn)


@pytest.mark.parametrize("table", TABLES)
def test_the_good_row_is_taken(shared_connection: psycopg.Connection[Any], table: str) -> None:
    """What the bad rows differ from is accepted, so that each of them fails for its own reason."""
    with shared_connection.transaction(force_rollback=True):
        shared_connection.execute(insert(table, {}).encode())


@pytest.mark.parametrize(
    ("table", "changes", "error"), [pytest.param(*row, id=f"{row[0]} {row[1]}") for row in BAD]
)
def test_a_bad_row_is_refused(
    shared_connection: psycopg.Connection[Any],
    table: str,
    changes: dict[str, str],
    error: type[psycopg.Error],
) -> None:
    """Rows that no runtime would write are refused by the schema, whoever writes them."""
    with pytest.raises(error), shared_connection.transaction(force_rollback=True):
        shared_connection.execute(insert(table, changes).encode())


@pytest.mark.parametrize(("statement", "error"), UPDATES)
def test_a_bad_change_is_refused(
    shared_connection: psycopg.Connection[Any], statement: str, error: type[psycopg.Error]
) -> None:
    """Changes that break a rule are refused as well."""
    with pytest.raises(error), shared_connection.transaction(force_rollback=True):
        shared_connection.execute(statement.encode())


def test_what_belongs_to_an_instance_goes_with_it(connection: psycopg.Connection[Any]) -> None:
    """Deleting an instance takes its history and due row along; children stay, without a parent."""
    connection.execute(insert("workflow_due", {}).encode())
    child = insert(
        "workflow_instances",
        {"ref": "'child'", "parent_id": "(SELECT id FROM workflow_instances WHERE ref = 'A1')"},
    )
    connection.execute(child.encode())
    connection.execute("DELETE FROM workflow_instances WHERE ref = 'A1'")
    for table in ("workflow_history", "workflow_due"):
        assert connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone() == (0,)
    assert connection.execute("SELECT ref, parent_id FROM workflow_instances").fetchall() == [("child", None)]


def test_one_ref_per_workflow_and_namespace(connection: psycopg.Connection[Any]) -> None:
    """The same ref may be used in another workflow or namespace, and any number of instances have none."""
    for place in ({"workflow": "'v'"}, {"namespace": "'m'"}):
        connection.execute(insert("workflow_definitions", {"version": "1", **place}).encode())
        connection.execute(insert("workflow_instances", {"ref": "'A1'", **place}).encode())
    for _ in range(2):
        connection.execute(insert("workflow_instances", {}).encode())


# --- position -------------------------------------------------------------------------------------------------------

FEED = """
SELECT position::text, instance_id, seq FROM workflow_history
WHERE namespace = %s AND (position, instance_id, seq) > (%s::xid8, %s, %s)
  AND position < pg_snapshot_xmin(pg_current_snapshot())
ORDER BY position, instance_id, seq
"""


class Feed:
    """Reads on from where it was, as docs/sql.md shows."""

    def __init__(self, dsn: str, namespace: str) -> None:
        self._dsn, self._namespace = dsn, namespace
        self._after: tuple[str, UUID, int] = ("0", UUID(int=0), 0)
        self.seen: list[tuple[UUID, int]] = []

    def read(self) -> None:
        """Take everything that is complete."""
        for position, instance_id, seq in look(self._dsn, FEED, [self._namespace, *self._after]):
            self._after = (position, instance_id, seq)
            self.seen.append((instance_id, seq))

    def catch_up(self) -> None:
        """Read until everything that is committed has been seen: other tests' transactions hold the horizon back."""
        count = "SELECT count(*) FROM workflow_history WHERE namespace = %s"
        for _ in range(500):
            self.read()
            if look(self._dsn, count, [self._namespace]) == [(len(self.seen),)]:
                return
            time.sleep(0.02)
        raise AssertionError(f"after 10 s the feed has seen only {len(self.seen)} entries")


async def _positions(runtime: AsyncRuntime, dsn: str, namespace: str) -> list[tuple[int, int]]:
    return [
        (int(row), int(entry))
        for row, entry in look(
            dsn,
            "SELECT i.position::text, max(h.position::text::numeric) FROM workflow_instances i "
            "JOIN workflow_history h ON h.instance_id = i.id WHERE i.namespace = %s GROUP BY i.id",
            [namespace],
        )
    ]


@in_both_worlds
async def test_a_feed_misses_no_late_commit(driver: Driver, fresh_pg_dsn: str, namespace: str) -> None:
    """However transactions overlap, a reader of everything below the horizon sees each entry once, in order of seq."""
    dsn = fresh_pg_dsn
    feed = Feed(dsn, namespace)
    async with runtime_on(driver, dsn, order(), reminder(), pool={"namespace": namespace}) as runtime:
        first, second, third = await runtime.create_many([NewInstance("order")] * 3)
        feed.catch_up()
        created = len(feed.seen)
        # A transaction gets its number first and commits last, in between others come and go.
        async with runtime.transaction() as slow:
            await slow.fire(first, "reopen")
            await runtime.fire(second, "reopen")
            feed.read()
            async with runtime.transaction() as slower:
                await slower.fire(third, "reopen")
                await runtime.fire(second, "pay")
                await slow.fire(first, "pay")
                feed.read()
            await runtime.fire(second, "ship")
            feed.read()
            assert len(feed.seen) == created == 3
        feed.read()
        # One that began before the last commit of another, and writes to the same instance afterwards.
        async with runtime.transaction() as early:
            await execute(early.connection, "SELECT pg_current_xact_id()")
            await runtime.fire(first, "reopen")
            await runtime.fire(first, "pay")
            feed.read()
            await early.fire(first, "ship")
        feed.catch_up()
        every = look(dsn, "SELECT instance_id, seq FROM workflow_history WHERE namespace = %s", [namespace])
        assert sorted(feed.seen) == sorted(every)
        assert len(feed.seen) == len(set(feed.seen))
        for one in (first, second, third):
            seqs = [seq for instance_id, seq in feed.seen if instance_id == one.id]
            assert seqs == sorted(seqs)


@in_both_worlds
async def test_positions_never_fall_back(driver: Driver, fresh_pg_dsn: str, namespace: str) -> None:
    """An older transaction that writes later takes the instance's position, not its own: position follows seq."""
    async with runtime_on(driver, fresh_pg_dsn, order(), pool={"namespace": namespace}) as runtime:
        one = await runtime.create("order")
        async with runtime.transaction() as early:
            ((number,),) = await execute(early.connection, "SELECT pg_current_xact_id()::text")
            await runtime.fire(one, "reopen")
            await early.fire(one, "reopen")
            await early.fire(one, "pay")
        rows = look(
            fresh_pg_dsn,
            "SELECT position::text::bigint FROM workflow_history WHERE instance_id = %s ORDER BY seq",
            [one.id],
        )
        positions = [position for (position,) in rows]
        assert positions == sorted(positions)
        assert positions[-1] > int(number)
        ((row, newest),) = await _positions(runtime, fresh_pg_dsn, namespace)
        assert row == newest == positions[-1]


@in_both_worlds
async def test_a_busy_feed(driver: Driver, fresh_pg_dsn: str, namespace: str) -> None:
    """A reader beside several writers, batches and transactions of random length sees each entry exactly once."""
    feed = Feed(fresh_pg_dsn, namespace)
    async with runtime_on(
        driver, fresh_pg_dsn, order(), pool={"namespace": namespace, "max_size": 6}
    ) as runtime:
        made = await runtime.create_many([NewInstance("order")] * 12)
        left = [4]

        async def write(number: int) -> None:
            mine = made[number * 3 : number * 3 + 3]
            for step in range(12):
                if step % 3:
                    await runtime.fire(mine[step % 3], "pay" if step % 2 else "reopen")
                else:
                    async with runtime.transaction() as tx:
                        for one in mine:
                            await tx.fire(one, "reopen")
                            await driver.waits.sleep(0.001 * number)
            left[0] -= 1

        async def read() -> None:
            while left[0]:
                feed.read()
                await driver.waits.sleep(0.002)

        await driver.together(read, *(lambda number=number: write(number) for number in range(4)))
        feed.catch_up()
    every = look(
        fresh_pg_dsn, "SELECT instance_id, seq FROM workflow_history WHERE namespace = %s", [namespace]
    )
    assert sorted(feed.seen) == sorted(every)
