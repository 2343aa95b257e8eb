"""Do moves belong to a transaction that SQLAlchemy or Django has opened?"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from duraflow import AsyncRuntime, InvalidArgument, Runtime
from duraflow_pg import AsyncPgPersistence, PgPersistence
from tests.pg.conftest import Notes
from tests.pg.django_checks import CHECKS
from tests.pg.kit import order

ROOT = Path(__file__).parents[2]

INSERT = "INSERT INTO app_notes VALUES (:namespace, :note)"


def url(dsn: str) -> str:
    """The DSN as SQLAlchemy writes it."""
    return dsn.replace("postgresql://", "postgresql+psycopg://", 1)


@contextmanager
def blocking(notes: Notes, told: list[str]) -> Iterator[Runtime]:
    """A blocking runtime that says which states were entered."""
    with Runtime(
        workflows=[order()],
        persistence=PgPersistence.from_dsn(notes.dsn, namespace=notes.namespace, max_size=2),
        observers=[lambda notice: told.append(notice.entry.to_state)],
    ) as runtime:
        yield runtime


@asynccontextmanager
async def asynchronous(notes: Notes, told: list[str]) -> AsyncIterator[AsyncRuntime]:
    """An asyncio runtime that says which states were entered."""
    async with AsyncRuntime(
        workflows=[order()],
        persistence=AsyncPgPersistence.from_dsn(notes.dsn, namespace=notes.namespace, max_size=2),
        observers=[lambda notice: told.append(notice.entry.to_state)],
    ) as runtime:
        yield runtime


class Undo(Exception):
    """Rolls a transaction back."""


# --- SQLAlchemy, blocking -------------------------------------------------------------------------------------------


@pytest.fixture
def engine(notes: Notes) -> Iterator[sqlalchemy.Engine]:
    """An engine on the shared database."""
    made = sqlalchemy.create_engine(url(notes.dsn))
    yield made
    made.dispose()


@pytest.mark.parametrize("first", ["rows", "moves"])
@pytest.mark.parametrize("commit", [True, False])
def test_sqlalchemy_connection(notes: Notes, engine: sqlalchemy.Engine, commit: bool, first: str) -> None:
    """Rows written by a SQLAlchemy Connection and moves commit, or vanish, together, whichever comes first."""
    told: list[str] = []
    with blocking(notes, told) as runtime:
        one = runtime.create("order")
        told.clear()
        try:
            with engine.begin() as connection:
                if first == "rows":
                    connection.execute(
                        sqlalchemy.text(INSERT), {"namespace": notes.namespace, "note": "mine"}
                    )
                with runtime.using(connection) as bound:
                    bound.fire(one, "pay")
                    bound.fire(one, "ship")
                if first == "moves":
                    connection.execute(
                        sqlalchemy.text(INSERT), {"namespace": notes.namespace, "note": "mine"}
                    )
                assert runtime.get(one) == one
                if not commit:
                    raise Undo
            bound.committed()
        except Undo:
            pass
        assert runtime.get(one).state == ("shipped" if commit else "open")
        assert told == (["shipped"] if commit else [])
    assert notes.read() == (["mine"] if commit else [])


@pytest.mark.parametrize("commit", [True, False])
def test_sqlalchemy_session(notes: Notes, engine: sqlalchemy.Engine, commit: bool) -> None:
    """A Session is taken as it is; its `after_commit` tells the observers."""
    told: list[str] = []
    with blocking(notes, told) as runtime:
        one = runtime.create("order")
        told.clear()
        with Session(engine) as session:

            def after_commit(tell: Any) -> None:
                event.listen(session, "after_commit", lambda _: tell(), once=True)

            with runtime.using(session, on_commit=after_commit) as bound:
                bound.fire(one, "ship")
            session.execute(sqlalchemy.text(INSERT), {"namespace": notes.namespace, "note": "mine"})
            assert told == []
            if commit:
                session.commit()
            else:
                session.rollback()
        assert runtime.get(one).state == ("shipped" if commit else "open")
        assert told == (["shipped"] if commit else [])
    assert notes.read() == (["mine"] if commit else [])


def test_sqlalchemy_savepoint(notes: Notes, engine: sqlalchemy.Engine) -> None:
    """Moves inside a rolled-back `begin_nested()` are undone with it, the rest stays."""
    with blocking(notes, []) as runtime:
        kept, undone = runtime.create("order"), runtime.create("order")
        with engine.begin() as connection:
            with runtime.using(connection) as bound:
                bound.fire(kept, "pay")
            savepoint = connection.begin_nested()
            with runtime.using(connection) as bound:
                bound.fire(undone, "pay")
            savepoint.rollback()
            with runtime.using(connection) as bound:
                bound.fire(kept, "ship")
        assert (runtime.get(kept).state, runtime.get(kept).version) == ("shipped", 3)
        assert runtime.get(undone) == undone


def test_sqlalchemy_autocommit_is_refused(notes: Notes, engine: sqlalchemy.Engine) -> None:
    """An engine in AUTOCOMMIT has no transaction to join, and neither has an asyncio one for a blocking runtime."""
    with (
        blocking(notes, []) as runtime,
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
        pytest.raises(InvalidArgument, match="no transaction is open"),
        runtime.using(connection),
    ):
        raise AssertionError("joined")


# --- SQLAlchemy, asyncio --------------------------------------------------------------------------------------------


@asynccontextmanager
async def async_engine(notes: Notes) -> AsyncIterator[AsyncEngine]:
    """An asyncio engine on the shared database."""
    made = create_async_engine(url(notes.dsn))
    try:
        yield made
    finally:
        await made.dispose()


@pytest.mark.parametrize("commit", [True, False])
def test_sqlalchemy_async_connection(notes: Notes, commit: bool) -> None:
    """Rows written by an AsyncConnection and moves commit, or vanish, together."""

    async def body() -> None:
        told: list[str] = []
        async with asynchronous(notes, told) as runtime, async_engine(notes) as engine:
            one = await runtime.create("order")
            told.clear()
            try:
                async with engine.begin() as connection:
                    async with runtime.using(connection) as bound:
                        await bound.fire(one, "pay")
                        await bound.fire(one, "ship")
                    parameters = {"namespace": notes.namespace, "note": "mine"}
                    await connection.execute(sqlalchemy.text(INSERT), parameters)
                    assert await runtime.get(one) == one
                    if not commit:
                        raise Undo
                await bound.committed()
            except Undo:
                pass
            assert (await runtime.get(one)).state == ("shipped" if commit else "open")
            assert told == (["shipped"] if commit else [])

    asyncio.run(body())
    assert notes.read() == (["mine"] if commit else [])


@pytest.mark.parametrize("commit", [True, False])
def test_sqlalchemy_async_session(notes: Notes, commit: bool) -> None:
    """An AsyncSession's connection is joined; the session itself is refused with what to pass instead."""

    async def body() -> None:
        async with asynchronous(notes, []) as runtime, async_engine(notes) as engine:
            one = await runtime.create("order")
            async with AsyncSession(engine) as session:
                with pytest.raises(InvalidArgument, match=r"pass `await session\.connection\(\)`"):
                    async with runtime.using(session):
                        raise AssertionError("joined")
                async with runtime.using(await session.connection()) as bound:
                    await bound.fire(one, "ship")
                parameters = {"namespace": notes.namespace, "note": "mine"}
                await session.execute(sqlalchemy.text(INSERT), parameters)
                await (session.commit() if commit else session.rollback())
            assert (await runtime.get(one)).state == ("shipped" if commit else "open")

    asyncio.run(body())
    assert notes.read() == (["mine"] if commit else [])


# --- Django ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CHECKS)
def test_django(notes: Notes, name: str) -> None:
    """Moves belong to `transaction.atomic()`; see the check. In a process of its own, because settings are global."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.pg.django_checks", name, notes.dsn, notes.namespace],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
