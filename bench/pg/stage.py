"""Where do the measurements on PostgreSQL take place? A durable server of our own, a schema for each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, LiteralString, Self
from uuid import UUID

import attrs
import psycopg
from psycopg import sql

from bench.process import CONTEXT, METADATA, TICKET, has_room
from devtools.embedded_pg import EmbeddedServer
from duraflow import AsyncRuntime, Instance, NewInstance, Runtime
from duraflow.ports import Persistence
from duraflow_pg import AsyncPgPersistence, PgPersistence
from duraflow_pg.schema.applying import migrate

POOL = 10
"""Connections of every pool, ours and by hand."""

LETTER: LiteralString = "INSERT INTO letters (ticket, text) VALUES (%(ticket)s, %(text)s)"
"""What the one command does: a row in a table of the application."""

_LETTERS: LiteralString = (
    "CREATE TABLE IF NOT EXISTS public.letters "
    "(number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, ticket uuid NOT NULL, text text NOT NULL)"
)


def file_letter(ctx: Any) -> None:
    """The command of `bill`: writes a row and changes the context."""
    ctx.connection.execute(LETTER, {"ticket": ctx.instance.id, "text": "to be paid"}, prepare=True)
    ctx.context["spent"] += 1


async def file_letter_async(ctx: Any) -> None:
    """The same for asyncio."""
    await ctx.connection.execute(LETTER, {"ticket": ctx.instance.id, "text": "to be paid"}, prepare=True)
    ctx.context["spent"] += 1


@attrs.define(eq=False)
class Stage:
    """A server, and what is asked of it beside what is measured."""

    server: EmbeddedServer
    dsn: str
    control: psycopg.Connection[Any]

    @classmethod
    @contextmanager
    def opened(cls) -> Iterator[Self]:
        """A new server, gone afterwards."""
        # Checkpoints and the writing of whole pages after them come when they will, to one side or to the other.
        settings = {"max_wal_size": "8GB", "checkpoint_timeout": "30min"}
        with EmbeddedServer.throw_away(durable=True, settings=settings) as server:
            dsn = server.create_database("bench")
            with psycopg.connect(dsn, autocommit=True) as control:
                control.execute(_LETTERS)
                yield cls(server, dsn, control)

    def schema(self, name: str) -> str:
        """A schema with all tables."""
        migrate(self.dsn, schema=name)
        return name

    def settle(self, schema: str) -> None:
        """Statistics as they would be after a while, and nothing left for autovacuum to do meanwhile."""
        for table in ("instances", "history", "due"):
            self.control.execute(
                sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(schema, f"workflow_{table}"))
            )

    def checkpoint(self) -> None:
        """Write everything out now."""
        self.control.execute("CHECKPOINT")

    def wal_bytes(self) -> int:
        """How much the server has ever written to its log."""
        return int(self._one("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def commits(self) -> int:
        """How many transactions have ever written something."""
        return int(self._one("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"))

    def _one(self, query: LiteralString) -> Any:
        row = self.control.execute(query).fetchone()
        assert row is not None
        return row[0]


def runtime_of(persistence: Persistence) -> Runtime:
    """The blocking runtime, not started."""
    return Runtime(
        workflows=[TICKET],
        commands={"file_letter": file_letter},
        guards={"has_room": has_room},
        persistence=persistence,
    )


@contextmanager
def blocking(stage: Stage, schema: str) -> Iterator[tuple[Runtime, PgPersistence]]:
    """A started blocking runtime."""
    persistence = PgPersistence.from_dsn(stage.dsn, schema=schema, min_size=1, max_size=POOL)
    with runtime_of(persistence) as runtime:
        yield runtime, persistence


@attrs.define(eq=False)
class Loop:
    """An event loop that stays, so that a round can be a plain call."""

    _runner: asyncio.Runner = attrs.field(factory=asyncio.Runner)

    def run(self, coroutine: Any) -> Any:
        """Run it to its end."""
        return self._runner.run(coroutine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._runner.close()


@contextmanager
def on_asyncio(
    loop: Loop, persistence: Persistence, commands: Mapping[str, Any] | None = None
) -> Iterator[AsyncRuntime]:
    """A started asyncio runtime."""
    runtime = AsyncRuntime(
        workflows=[TICKET],
        commands=commands or {"file_letter": file_letter_async},
        guards={"has_room": has_room},
        persistence=persistence,
    )
    loop.run(runtime.start())
    try:
        yield runtime
    finally:
        loop.run(runtime.close())


def async_persistence(stage: Stage, schema: str) -> AsyncPgPersistence:
    """With a full pool, because growing is not what is measured."""
    return AsyncPgPersistence.from_dsn(stage.dsn, schema=schema, min_size=POOL, max_size=POOL)


def seeded(runtime: Runtime, count: int) -> Sequence[UUID]:
    """New tickets."""
    made: list[Instance] = []
    for start in range(0, count, 1_000):
        size = min(1_000, count - start)
        made += runtime.create_many(NewInstance("ticket", CONTEXT, METADATA) for _ in range(size))
    return [instance.id for instance in made]
