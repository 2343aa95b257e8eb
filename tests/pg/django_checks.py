"""What must hold inside Django's transactions? Run as a program, because Django's settings are of the whole process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from duraflow import AsyncRuntime, InvalidArgument, Runtime
from duraflow_pg import AsyncPgPersistence, PgPersistence
from tests.pg.conftest import Notes
from tests.pg.kit import order


def configure(dsn: str) -> None:
    """Set Django up on this database, in a time zone of its own."""
    import django
    from django.conf import settings

    parts = conninfo_to_dict(dsn)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": parts["dbname"],
                "USER": parts["user"],
                "HOST": parts["host"],
                "PORT": parts["port"],
            }
        },
        USE_TZ=True,
        TIME_ZONE="Asia/Tokyo",
    )
    django.setup()


@contextmanager
def started(notes: Notes, told: list[str]) -> Iterator[Runtime]:
    """A runtime that says which states were entered."""
    with Runtime(
        workflows=[order()],
        persistence=PgPersistence.from_dsn(notes.dsn, namespace=notes.namespace, max_size=2),
        observers=[lambda notice: told.append(notice.entry.to_state)],
    ) as runtime:
        yield runtime


class Undo(Exception):
    """Rolls a transaction back."""


def refused(runtime: Runtime, connection: Any, reason: str) -> None:
    """Joining raises, for this reason."""
    with pytest.raises(InvalidArgument, match=reason), runtime.using(connection):
        raise AssertionError("joined")


def atomic_is_one_transaction(notes: Notes) -> None:
    """Rows and moves commit, or vanish, together, whichever comes first; `on_commit` tells observers after a commit."""
    from django.db import connection, transaction

    def write() -> None:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO app_notes VALUES (%s, %s)", [notes.namespace, "mine"])

    told: list[str] = []
    with started(notes, told) as runtime:
        for commit, rows_first in ((False, True), (False, False), (True, True), (True, False)):
            before = len(notes.read())
            one = after = runtime.create("order", {"n": 1.5, "list": [None]}, metadata={"town": "Bari"})
            told.clear()
            try:
                with transaction.atomic():
                    if rows_first:
                        write()
                    with runtime.using(connection, on_commit=transaction.on_commit) as bound:
                        assert bound.get(one) == one
                        bound.fire(one, "pay")
                        after = bound.fire(one, "ship").instance
                    if not rows_first:
                        write()
                    assert told == []
                    if not commit:
                        raise Undo
            except Undo:
                after = one
            assert runtime.get(one) == after
            assert told == (["shipped"] if commit else [])
            assert len(notes.read()) == before + commit


def inner_atomic_is_a_savepoint(notes: Notes) -> None:
    """Moves in an inner `atomic()` that is rolled back are undone, and their notices are never given."""
    from django.db import connection, transaction

    told: list[str] = []
    with started(notes, told) as runtime:
        kept, undone = runtime.create("order"), runtime.create("order")
        told.clear()
        with transaction.atomic():
            with runtime.using(connection, on_commit=transaction.on_commit) as bound:
                bound.fire(kept, "reopen")
            try:
                with (
                    transaction.atomic(),
                    runtime.using(connection, on_commit=transaction.on_commit) as bound,
                ):
                    bound.fire(undone, "ship")
                    raise Undo
            except Undo:
                pass
            with runtime.using(connection, on_commit=transaction.on_commit) as bound:
                bound.fire(kept, "pay")
        assert runtime.get(kept).version == 3
        assert runtime.get(undone) == undone
        assert told == ["open"], told


def without_atomic_it_is_refused(notes: Notes) -> None:
    """In Django's autocommit, or before Django has connected, there is no transaction to join; the error says so."""
    from django.db import connection

    with started(notes, []) as runtime:
        refused(runtime, connection, r"does not hold, a psycopg\.Connection")
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        refused(runtime, connection, "begin one first")


def an_asyncio_runtime_refuses_djangos_connection(notes: Notes) -> None:
    """Django's connections are blocking, also in its async views; the error names what is needed."""
    from django.db import connection, transaction

    async def body(blocking: Any) -> str:
        async with AsyncRuntime(
            workflows=[order()],
            persistence=AsyncPgPersistence.from_dsn(notes.dsn, namespace=notes.namespace),
        ) as runtime:
            try:
                async with runtime.using(blocking):
                    return "joined"
            except InvalidArgument as error:
                return str(error)

    with transaction.atomic():
        connection.ensure_connection()
        assert "psycopg.AsyncConnection" in asyncio.run(body(connection.connection))


CHECKS: dict[str, Callable[[Notes], None]] = {
    check.__name__: check
    for check in (
        atomic_is_one_transaction,
        inner_atomic_is_a_savepoint,
        without_atomic_it_is_refused,
        an_asyncio_runtime_refuses_djangos_connection,
    )
}

if __name__ == "__main__":
    name, dsn, namespace = sys.argv[1:]
    configure(dsn)
    CHECKS[name](Notes(dsn, namespace))
    from django.db import connections

    connections.close_all()
