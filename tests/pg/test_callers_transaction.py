"""What happens inside a transaction that the application has opened, on its own connection?"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg.adapt import Dumper, Loader
from psycopg.rows import dict_row, namedtuple_row

from duraflow import InvalidArgument, Misuse, NewInstance, Notice, StoreUnavailable
from duraflow.testing.driver import Driver
from tests.pg.conftest import Notes
from tests.pg.kit import check_all, execute, in_both_worlds, look, order, reminder, resolved, runtime_on


@asynccontextmanager
async def connected(driver: Driver, dsn: str, **options: Any) -> AsyncIterator[Any]:
    """A connection of the application's own, of this world's kind."""
    kind: Any = psycopg.AsyncConnection if driver.waits.suspends else psycopg.Connection
    connection = await resolved(kind.connect(dsn, **options))
    try:
        yield connection
    finally:
        await resolved(connection.close())


async def finished(connection: Any, commit: bool) -> None:
    """End the caller's transaction."""
    await resolved(connection.commit() if commit else connection.rollback())


# --- transaction() ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
@in_both_worlds
async def test_rows_and_moves_commit_together(driver: Driver, notes: Notes, fails: bool) -> None:
    """What is done in `transaction()` and on its connection is there as a whole or not at all, observers included."""
    told: list[str] = []
    options: dict[str, Any] = {"observers": [lambda notice: told.append(notice.entry.to_state)]}
    pool = {"namespace": notes.namespace}
    async with runtime_on(driver, notes.dsn, order(), reminder(), pool=pool, **options) as runtime:
        one = await runtime.create("order")
        told.clear()
        try:
            async with runtime.transaction() as tx:
                await notes.write(tx.connection, "mine")
                await tx.fire(one, "ship")
                other = await tx.create("reminder", ref="A1")
                assert (await tx.get(("reminder", "A1"))) == other
                assert told == []
                if fails:
                    raise ZeroDivisionError
        except ZeroDivisionError:
            pass
        assert (await runtime.get(one)).state == ("open" if fails else "shipped")
        assert sum(row.count for row in await runtime.count("reminder")) == (0 if fails else 1)
        assert told == ([] if fails else ["shipped", "waiting"])
        await check_all(runtime)
    assert notes.read() == ([] if fails else ["mine"])


@in_both_worlds
async def test_a_transaction_is_over_when_it_ends(driver: Driver, notes: Notes) -> None:
    """What `transaction()` gave refuses to be used after the block."""
    async with runtime_on(driver, notes.dsn, order(), pool={"namespace": notes.namespace}) as runtime:
        async with runtime.transaction() as tx:
            one = await tx.create("order")
        with pytest.raises(Misuse, match="has ended"):
            await tx.fire(one, "ship")
        with pytest.raises(Misuse, match="has ended"):
            _ = tx.connection


# --- using() --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("commit", [True, False])
@in_both_worlds
async def test_a_joined_transaction_is_the_callers_to_end(
    driver: Driver, notes: Notes, commit: bool, begun: bool
) -> None:
    """Nothing is seen before the caller's COMMIT, all of it after; a rollback takes all of it, and tells nobody."""
    told: list[str] = []
    options: dict[str, Any] = {"observers": [lambda notice: told.append(notice.entry.to_state)]}
    pool = {"namespace": notes.namespace, "max_size": 1}
    workflow = order(notes.command(driver))
    async with (
        runtime_on(driver, notes.dsn, workflow, pool=pool, **options) as runtime,
        connected(driver, notes.dsn) as connection,
    ):
        one = await runtime.create("order")
        told.clear()
        if begun:
            await notes.write(connection, "mine")
        async with runtime.using(connection) as bound:
            assert (await bound.fire(one, "pay")).ok
            assert (await bound.fire(one, "ship")).ok
            await bound.create_many([NewInstance("order", ref="A1"), NewInstance("order")])
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        assert (await runtime.get(one), notes.read()) == (one, [])
        await finished(connection, commit)
        assert told == []
        if commit:
            await bound.committed()
            await bound.committed()
        assert told == (["shipped", "open", "open"] if commit else [])
        assert (await runtime.get(one)).state == ("shipped" if commit else "open")
        await check_all(runtime)
    assert notes.read() == ((["mine", "paid"] if begun else ["paid"]) if commit else [])


@in_both_worlds
async def test_notices_go_through_the_hook(driver: Driver, notes: Notes) -> None:
    """`on_commit` gets what tells the observers, to be called after the commit; after an error it is not called."""
    told: list[Notice] = []
    hooks: list[Any] = []
    pool = {"namespace": notes.namespace}
    async with (
        runtime_on(driver, notes.dsn, order(), pool=pool, observers=[told.append]) as runtime,
        connected(driver, notes.dsn) as connection,
    ):
        async with runtime.using(connection, on_commit=hooks.append) as bound:
            await bound.create("order")
        await finished(connection, commit=True)
        assert (len(hooks), told) == (1, [])
        await resolved(hooks[0]())
        assert [notice.entry.event for notice in told] == ["$created"]
        with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the block is what raises
            async with runtime.using(connection, on_commit=hooks.append) as bound:
                await bound.create("order")
                raise ZeroDivisionError
        assert len(hooks) == 1
        await finished(connection, commit=False)


@in_both_worlds
async def test_savepoints_inside_a_joined_transaction(driver: Driver, notes: Notes) -> None:
    """A refused event, a failed command or a failed inner block undoes itself; the caller's transaction goes on."""
    async with (
        runtime_on(driver, notes.dsn, order(explodes), pool={"namespace": notes.namespace}) as runtime,
        connected(driver, notes.dsn) as connection,
    ):
        one = await runtime.create("order")
        async with runtime.using(connection) as bound:
            await bound.fire(one, "reopen")
            with pytest.raises(ZeroDivisionError):
                await bound.fire(one, "pay")
            with pytest.raises(ZeroDivisionError):  # noqa: PT012  # the block is what raises
                async with bound.transaction() as inner:
                    await inner.fire(one, "ship")
                    raise ZeroDivisionError
            await notes.write(bound.connection, "mine")
        await finished(connection, commit=True)
        assert ((await runtime.get(one)).state, (await runtime.get(one)).version) == ("open", 2)
        await check_all(runtime)
    assert notes.read() == ["mine"]


def explodes(ctx: Any) -> None:
    """A command that raises."""
    raise ZeroDivisionError


@in_both_worlds
async def test_connections_that_cannot_be_joined_are_refused(driver: Driver, notes: Notes) -> None:
    """Closed, failed, in autocommit without a transaction, of the other world, or none at all: each is named."""
    async with runtime_on(driver, notes.dsn, order(), pool={"namespace": notes.namespace}) as runtime:

        async def refused(connection: Any, reason: str) -> None:
            with pytest.raises(InvalidArgument, match=reason) as caught:
                async with runtime.using(connection):
                    raise AssertionError("joined")
            assert caught.value.argument == "connection"

        async with connected(driver, notes.dsn, autocommit=True) as connection:
            await refused(connection, "no transaction is open on it; begin one first")
            await execute(connection, "BEGIN")
            with pytest.raises(psycopg.errors.DivisionByZero):
                await execute(connection, "SELECT 1 / 0")
            await refused(connection, "its transaction has failed; roll it back first")
        await refused(connection, "it is closed")
        await refused(object(), "is not, and does not hold, a psycopg")
        await refused(None, "is not, and does not hold, a psycopg")
        if driver.waits.suspends:
            with psycopg.connect(notes.dsn) as wrong:
                await refused(wrong, "is not, and does not hold, a psycopg.AsyncConnection")


@in_both_worlds
async def test_a_transaction_that_ends_inside_the_block_is_noticed(driver: Driver, notes: Notes) -> None:
    """After a commit, or a swallowed SQL error, inside the block, further calls say what is wrong."""
    async with (
        runtime_on(driver, notes.dsn, order(), pool={"namespace": notes.namespace}) as runtime,
        connected(driver, notes.dsn) as connection,
    ):
        one = await runtime.create("order")
        async with runtime.using(connection) as bound:
            await bound.fire(one, "reopen")
            await finished(connection, commit=True)
            with pytest.raises(Misuse, match="ended from inside"):
                await bound.fire(one, "reopen")
        async with runtime.using(connection) as bound:
            with pytest.raises(psycopg.errors.DivisionByZero):
                await execute(connection, "SELECT 1 / 0")
            with pytest.raises(Misuse, match="its error went no further"):
                await bound.fire(one, "reopen")
        await finished(connection, commit=False)
        assert (await runtime.get(one)).version == 2


@in_both_worlds
async def test_a_lost_connection_is_raised_to_the_caller(driver: Driver, notes: Notes) -> None:
    """Nothing is retried behind the back of whoever owns the transaction."""
    async with (
        runtime_on(driver, notes.dsn, order(), pool={"namespace": notes.namespace}) as runtime,
        connected(driver, notes.dsn) as connection,
    ):
        one = await runtime.create("order")
        async with runtime.using(connection) as bound:
            await bound.fire(one, "reopen")
            look(notes.dsn, "SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])
            with pytest.raises(StoreUnavailable) as caught:
                await bound.fire(one, "reopen")
            assert (caught.value.outcome, caught.value.retryable) == ("not_written", True)
        assert await runtime.get(one) == one


# --- what the connection has registered -----------------------------------------------------------------------------


class _Text(Loader):
    """Gives every value as the text that the server sent: nothing that a store could use."""

    def load(self, data: Any) -> str:
        return f"spoilt {bytes(data)!r}"


class _Spoilt(Dumper):
    """Sends nothing that a server could use."""

    def dump(self, obj: Any) -> bytes:
        return b"spoilt"


@pytest.mark.parametrize("factory", [dict_row, namedtuple_row])
@in_both_worlds
async def test_what_a_connection_registers_changes_nothing(
    driver: Driver, notes: Notes, factory: Any
) -> None:
    """Row factories, loaders and dumpers of the caller's connection leave our statements alone, and stay in force."""
    async with (
        runtime_on(driver, notes.dsn, order(), pool={"namespace": notes.namespace}) as runtime,
        connected(driver, notes.dsn, row_factory=factory) as connection,
    ):
        context = {"n": 1.5, "deep": {"list": [1, None, "ä"]}, "text": '{"not": "json"}'}
        one = await runtime.create("order", context, ref="A1", metadata={"town": "Bari"})
        await execute(connection, "SET TIME ZONE 'Asia/Tokyo'")
        for name in ("jsonb", "json", "timestamptz", "uuid", "int8", "int4", "bool", "text"):
            connection.adapters.register_loader(name, _Text)
        for kind in (dict, str, int, bool, datetime, uuid.UUID):
            connection.adapters.register_dumper(kind, _Spoilt)
        async with runtime.using(connection) as bound:
            assert await bound.get(("order", "A1")) == one
            result = await bound.fire(one, "reopen", trigger={"by": "anna"})
            assert [entry.event for entry in await bound.history(one)] == ["$created", "reopen"]
            assert (await bound.list("order", metadata={"town": "Bari"})).instances == (result.instance,)
        ((value,),) = [
            tuple(row.values() if isinstance(row, dict) else row) for row in await _rows(connection)
        ]
        assert value.startswith("spoilt")
        await finished(connection, commit=True)
        assert await runtime.get(one) == result.instance
        await check_all(runtime)


async def _rows(connection: Any) -> Any:
    cursor = await resolved(connection.execute("SELECT 1"))
    return await resolved(cursor.fetchall())


def test_what_a_process_registers_changes_nothing(notes: Notes) -> None:
    """An application that replaces psycopg's loaders and dumpers for its whole process still runs."""
    import subprocess
    import sys

    program = f"""
import datetime, json, uuid
import psycopg
from psycopg.adapt import Dumper, Loader
from psycopg.types.json import set_json_loads

class Text(Loader):
    def load(self, data):
        return "spoilt"

class Spoilt(Dumper):
    def dump(self, obj):
        return b"spoilt"

for name in ("timestamptz", "uuid", "int8", "int4", "text", "bool", "jsonb"):
    psycopg.adapters.register_loader(name, Text)
for kind in (str, int, bool, datetime.datetime, uuid.UUID, dict):
    psycopg.adapters.register_dumper(kind, Spoilt)
set_json_loads(lambda data: "spoilt")

from duraflow import Runtime
from duraflow_pg import PgPersistence
from tests.pg.kit import order

with Runtime(
    workflows=[order()], persistence=PgPersistence.from_dsn({notes.dsn!r}, namespace={notes.namespace!r})
) as runtime:
    one = runtime.create("order", {{"a": [1]}}, ref="A1")
    runtime.fire(one, "reopen")
    runtime.fire(("order", "A1"), "pay")
    print(json.dumps([runtime.get(one).version, dict(runtime.get(one).context)]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [3, {"a": [1]}]
