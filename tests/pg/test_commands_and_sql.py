"""What can a command, or whoever has the connection, do to a transaction, and what do callers then see?"""

# ruff: noqa: PT012  # what leaves a transaction is what these tests are about

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from duraflow import CommandFailed, CommandRef, Failure, Misuse, StoreUnavailable
from duraflow.testing.driver import Driver
from duraflow_pg import Timeouts
from tests.pg.conftest import Notes
from tests.pg.kit import check_all, engine_of, execute, in_both_worlds, look, order, resolved, runtime_on

WRONG = "SELECT 1 / 0"


@pytest.mark.parametrize("statement", ["COMMIT", "ROLLBACK"])
@in_both_worlds
async def test_a_command_that_ends_the_transaction_is_refused(
    driver: Driver, notes: Notes, statement: str
) -> None:
    """The move is not written, the error names the cause, and the connection serves on."""

    async def ends(ctx: Any, runtime: Any) -> None:
        await execute(ctx.connection, statement)

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(ends)), pool=pool) as runtime:
        one = await runtime.create("order")
        with pytest.raises(Misuse, match="ended from inside"):
            await runtime.fire(one, "pay")
        with pytest.raises(Misuse, match="ended from inside"):
            async with runtime.transaction() as tx:
                await execute(tx.connection, statement)
        assert await runtime.get(one) == one
        assert (await runtime.fire(one, "ship")).ok
        await check_all(runtime)


@in_both_worlds
async def test_a_command_cannot_commit_by_the_connection(driver: Driver, notes: Notes) -> None:
    """`connection.commit()` inside a command is refused by psycopg, and rolls everything back."""

    async def commits(ctx: Any, runtime: Any) -> None:
        await notes.write(ctx.connection, "lost")
        await resolved(ctx.connection.commit())

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(commits)), pool=pool) as runtime:
        one = await runtime.create("order")
        with pytest.raises(psycopg.ProgrammingError, match="commit"):
            await runtime.fire(one, "pay")
        assert await runtime.get(one) == one
        await check_all(runtime)
    assert notes.read() == []


@in_both_worlds
async def test_a_swallowed_sql_error_is_not_taken_for_success(driver: Driver, notes: Notes) -> None:
    """A command that catches an SQL error without a savepoint has lost the transaction: the error says so."""

    async def swallows(ctx: Any, runtime: Any) -> None:
        await notes.write(ctx.connection, "lost")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await execute(ctx.connection, WRONG)

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(swallows)), pool=pool) as runtime:
        one = await runtime.create("order")
        with pytest.raises(Misuse, match="its error went no further"):
            await runtime.fire(one, "pay")
        assert await runtime.get(one) == one
        await check_all(runtime)
    assert notes.read() == []


@in_both_worlds
async def test_a_transaction_that_postgresql_rolled_back_is_not_reported_as_committed(
    driver: Driver, notes: Notes
) -> None:
    """PostgreSQL answers the COMMIT of a failed transaction with a silent ROLLBACK; here it raises, telling nobody."""
    told: list[Any] = []
    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(), pool=pool, observers=[told.append]) as runtime:
        one = await runtime.create("order")
        told.clear()
        with pytest.raises(Misuse, match="its error went no further"):
            async with runtime.transaction() as tx:
                await tx.fire(one, "ship")
                with pytest.raises(psycopg.errors.DivisionByZero):
                    await execute(tx.connection, WRONG)
        assert (await runtime.get(one), told) == (one, [])
        await check_all(runtime)


@in_both_worlds
async def test_a_command_may_catch_an_sql_error_in_a_savepoint(driver: Driver, notes: Notes) -> None:
    """With psycopg's own savepoint around it the error is the command's to handle, and the rest is written."""

    async def careful(ctx: Any, runtime: Any) -> None:
        await notes.write(ctx.connection, "kept")
        with pytest.raises(psycopg.errors.DivisionByZero):
            if driver.waits.suspends:
                async with ctx.connection.transaction():
                    await notes.write(ctx.connection, "undone")
                    await execute(ctx.connection, WRONG)
            else:
                with ctx.connection.transaction():
                    await notes.write(ctx.connection, "undone")
                    await execute(ctx.connection, WRONG)

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(careful)), pool=pool) as runtime:
        one = await runtime.create("order")
        assert (await runtime.fire(one, "pay")).ok
        await check_all(runtime)
    assert notes.read() == ["kept"]


@pytest.mark.parametrize("swallow", [True, False])
@in_both_worlds
async def test_best_effort_undoes_its_rows(driver: Driver, notes: Notes, swallow: bool) -> None:
    """An SQL error in a best-effort command, raised or swallowed, undoes that command alone and is recorded."""

    async def fails(ctx: Any, runtime: Any) -> None:
        ctx.context["tried"] = True
        await notes.write(ctx.connection, "undone")
        try:
            await execute(ctx.connection, WRONG)
        except psycopg.errors.DivisionByZero:
            if not swallow:
                raise

    workflow = order(notes.command(driver, "before"), CommandRef("fails", best_effort=True), "after")
    pool = {"namespace": notes.namespace, "max_size": 1}
    commands = {"fails": driver.command(fails), "after": notes.command(driver, "after")}
    async with runtime_on(driver, notes.dsn, workflow, pool=pool, commands=commands) as runtime:
        one = await runtime.create("order")
        result = await runtime.fire(one, "pay")
        assert [row.status for row in result.commands] == ["success", "error", "success"]
        assert result.commands[1].code == ("InFailedSqlTransaction" if swallow else "DivisionByZero")
        assert result.instance.context == {}
        await check_all(runtime)
    assert notes.read() == ["after", "before"]


@in_both_worlds
async def test_a_nested_transaction_is_undone_alone(driver: Driver, notes: Notes) -> None:
    """A failed inner `transaction()` takes its moves, rows and notices along; the outer one commits the rest."""
    told: list[str] = []
    pool = {"namespace": notes.namespace, "max_size": 1}
    observers = [lambda notice: told.append(notice.entry.to_state)]
    async with runtime_on(driver, notes.dsn, order(), pool=pool, observers=observers) as runtime:
        one, other = await runtime.create("order"), await runtime.create("order")
        told.clear()
        async with runtime.transaction() as tx:
            await tx.fire(one, "ship")
            await notes.write(tx.connection, "outer")
            with pytest.raises(psycopg.errors.DivisionByZero):
                async with tx.transaction() as inner:
                    await inner.fire(other, "ship")
                    await notes.write(inner.connection, "inner")
                    await execute(inner.connection, WRONG)
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                async with tx.transaction() as inner:
                    await inner.fire(other, "ship")
                    with pytest.raises(psycopg.errors.DivisionByZero):
                        await execute(inner.connection, WRONG)
        assert [(await runtime.get(each)).state for each in (one, other)] == ["shipped", "open"]
        assert told == ["shipped"]
        await check_all(runtime)
    assert notes.read() == ["outer"]


@in_both_worlds
async def test_a_failure_rolls_the_rows_back(driver: Driver, notes: Notes) -> None:
    """A `Failure` without an error target undoes rows, context and move."""

    async def refuses(ctx: Any, runtime: Any) -> Any:
        await notes.write(ctx.connection, "lost")
        return Failure("no")

    pool = {"namespace": notes.namespace, "max_size": 1}
    async with runtime_on(driver, notes.dsn, order(driver.command(refuses)), pool=pool) as runtime:
        one = await runtime.create("order")
        with pytest.raises(CommandFailed, match="no"):
            await runtime.fire(one, "pay")
        assert await runtime.get(one) == one
        await check_all(runtime)
    assert notes.read() == []


@in_both_worlds
async def test_a_refused_history_row_leaves_nothing_behind(
    driver: Driver, fresh_pg_dsn: str, namespace: str
) -> None:
    """A trigger refuses the history row, on a pool of one: no state, no row, no due work, and the pool serves on."""
    look(fresh_pg_dsn, "CREATE TABLE app_notes (namespace text, note text)")
    notes = Notes(fresh_pg_dsn, namespace)
    pool = {"namespace": namespace, "max_size": 1}
    async with runtime_on(driver, fresh_pg_dsn, order(notes.command(driver)), pool=pool) as runtime:
        one = await runtime.create("order")
        look(
            fresh_pg_dsn,
            """
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
                $$ BEGIN RAISE EXCEPTION 'no more history'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON workflow_history FOR EACH ROW EXECUTE FUNCTION refuse();
            """,
        )
        for attempt in (
            lambda: runtime.fire(one, "reopen"),
            lambda: runtime.fire(one, "ask"),
            lambda: runtime.fire(one, "pay"),
            lambda: runtime.fire(one, "post"),
            lambda: runtime.cancel(one),
            lambda: runtime.create("order", ref="A2"),
        ):
            with pytest.raises(StoreUnavailable, match="no more history") as caught:
                await attempt()
            assert (caught.value.outcome, caught.value.retryable) == ("not_written", False)
        assert await runtime.get(one) == one
        look(fresh_pg_dsn, "DROP TRIGGER refuse ON workflow_history")
        assert (await runtime.fire(one, "pay")).ok
        assert [row.state for row in await runtime.count()] == ["open"]
        await check_all(runtime)
    assert notes.read() == ["paid"]


@in_both_worlds
async def test_idle_in_a_transaction_too_long_is_ended(driver: Driver, notes: Notes) -> None:
    """A command that waits without asking the server loses its transaction to the limit; the error names it."""

    async def dawdles(ctx: Any, runtime: Any) -> None:
        await driver.waits.sleep(0.4)

    limits = Timeouts(idle_in_transaction=_ms(100))
    pool = {"namespace": notes.namespace, "max_size": 1, "timeouts": limits}
    async with runtime_on(driver, notes.dsn, order(driver.command(dawdles)), pool=pool) as runtime:
        one = await runtime.create("order")
        with pytest.raises(StoreUnavailable, match="idle for too long") as caught:
            await runtime.fire(one, "pay")
        assert (caught.value.outcome, caught.value.retryable) == ("not_written", False)
        assert await runtime.get(one) == one
        assert (await runtime.fire(one, "ship")).ok
        await check_all(runtime)


@in_both_worlds
async def test_a_statement_that_takes_too_long_is_ended(driver: Driver, notes: Notes) -> None:
    """The statement timeout holds for a command's own statements too, whose error passes as it is."""

    async def sleeps(ctx: Any, runtime: Any) -> None:
        await execute(ctx.connection, "SELECT pg_sleep(5)")

    pool = {"namespace": notes.namespace, "max_size": 1, "timeouts": Timeouts(statement=_ms(100))}
    async with runtime_on(driver, notes.dsn, order(driver.command(sleeps)), pool=pool) as runtime:
        one = await runtime.create("order")
        with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
            await runtime.fire(one, "pay")
        assert await runtime.get(one) == one
        await check_all(runtime)


@in_both_worlds
async def test_limits_are_of_the_transaction_alone(driver: Driver, notes: Notes) -> None:
    """Inside, our limits hold; on the pooled session nothing of them stays, and None leaves the server's own."""
    settings = "SELECT " + ", ".join(
        f"current_setting('{name}')"
        for name in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    )
    found: list[Any] = []

    async def looks(ctx: Any, runtime: Any) -> None:
        found[:] = await execute(ctx.connection, settings)

    (outside,) = look(notes.dsn, settings)
    limits = Timeouts(lock=_ms(1), statement=None, idle_in_transaction=_ms(1500))
    pool = {"namespace": notes.namespace, "max_size": 1, "timeouts": limits}
    async with runtime_on(driver, notes.dsn, order(driver.command(looks)), pool=pool) as runtime:
        one = await runtime.create("order")
        await runtime.fire(one, "reopen")
        await runtime.fire(one, "pay")
        assert found == [("1ms", outside[1], "1500ms")]
        persistence = engine_of(runtime).persistence
        async with persistence.database.lent() as raw:
            assert await execute(raw, settings) == [outside]


def _ms(number: float) -> timedelta:
    return timedelta(milliseconds=number)
