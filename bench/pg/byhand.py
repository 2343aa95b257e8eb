"""What would someone write who needs no runtime? The very same statements, on parameters made beforehand.

Nothing is read into values, decided, or turned into JSON: only ids, versions and times of the call are put in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs
import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from bench.pg.stage import LETTER, POOL, Stage
from bench.process import CONTEXT, METADATA, PAYLOAD, engine_of
from duraflow import Firing, Instance, NewInstance
from duraflow.instance import CommandResult
from duraflow.machine.chain import advance
from duraflow.machine.requests import Ran
from duraflow.ports import Loaded
from duraflow.runtime import creating
from duraflow.runtime.commands import drive_free
from duraflow.runtime.deciding import decide, finish_free, request_of
from duraflow.writes import Writes
from duraflow_pg.instances import COLUMNS, NOW
from duraflow_pg.moves import Statements, many, one_creation, one_move
from duraflow_pg.statements import compiled, int_array, uuid_array

NAMESPACE = "default"
BATCH = 100
OPENING = (
    b"SELECT set_config('lock_timeout', '10000', true), set_config('statement_timeout', '30000', true), "
    b"set_config('idle_in_transaction_session_timeout', '60000', true)"
)


def reading(schema: str) -> dict[str, bytes]:
    """The statements that read, as the stores have them."""
    of_one = "i.id = %(id)s AND i.namespace = %(namespace)s"
    return {
        "get": compiled(
            "SELECT {columns}, {now} FROM {instances} i WHERE {one}",
            schema, columns=COLUMNS, now=NOW, one=of_one,
        ),
        "get many": compiled(
            "SELECT {columns}, {now} FROM {instances} i "
            "WHERE i.id = ANY (%(ids)s::uuid[]) AND i.namespace = %(namespace)s",
            schema, columns=COLUMNS, now=NOW,
        ),
        "lock": compiled(
            "WITH i AS MATERIALIZED (SELECT * FROM {instances} i WHERE {one} FOR NO KEY UPDATE) "
            "SELECT {columns}, {now} FROM i",
            schema, columns=COLUMNS, now=NOW, one=of_one,
        ),
        "claim": compiled(
            "WITH i AS MATERIALIZED (SELECT i.*, d.due_at AS next_at, d.retries AS tries "
            "FROM {due} d JOIN {instances} i ON i.id = d.instance_id "
            "WHERE d.namespace = %(namespace)s AND d.due_at <= coalesce(%(clock)s, now()) "
            "AND d.lease_token IS NULL AND i.timers IS NOT NULL AND d.instance_id <> ALL (%(exclude)s::uuid[]) "
            "ORDER BY d.due_at, d.instance_id LIMIT %(limit)s FOR NO KEY UPDATE OF i, d SKIP LOCKED) "
            "SELECT {columns}, {now}, i.tries::text FROM i ORDER BY i.next_at, i.id",
            schema, columns=COLUMNS, now=NOW,
        ),
    }  # fmt: skip


def _statements(schema: str) -> dict[str, bytes]:
    made = Statements(schema)
    made.update(reading(schema))
    return made


@attrs.define(eq=False)
class Hand:
    """Statements and parameters for one schema."""

    schema: str
    sql: dict[str, bytes] = attrs.field(
        init=False,
        default=attrs.Factory(lambda self: _statements(self.schema), takes_self=True),
    )
    _engine: Any = attrs.field(factory=engine_of)
    # Later than any row that was made before it, which a CHECK asks for.
    _now: datetime = attrs.field(factory=lambda: datetime.now(UTC) + timedelta(hours=1))

    def _instance(self, state: str, instance_id: UUID) -> Instance:
        return Instance(
            id=instance_id, namespace=NAMESPACE, workflow="ticket", definition_version=1, state=state, version=1,
            created_at=self._now, updated_at=self._now, entered_at=self._now, context=dict(CONTEXT),
            metadata=dict(METADATA), root_id=instance_id,
        )  # fmt: skip

    def writes(self, state: str, event: str, instance_id: UUID) -> Writes:
        """A step as the runtime would work it out."""
        instance = self._instance(state, instance_id)
        request = request_of(self._engine, Firing(instance_id, event, PAYLOAD))
        decided = decide(self._engine, request, Loaded(instance, self._now))
        if event != "bill":
            return finish_free(self._engine, decided, request)[1]
        decided.step.context.watch()
        instance.context["spent"] += 1
        machine = advance(decided.step, decided.candidate, event, PAYLOAD, self._engine.rules)
        next(machine)
        try:
            machine.send(Ran((CommandResult("file_letter"),)))
        except StopIteration:
            return decided.step.finish()
        raise AssertionError("`bill` has one command")

    def move(self, state: str, event: str, instance_id: UUID) -> tuple[bytes, dict[str, Any]]:
        """Statement and parameters of one move."""
        name, parameters = one_move(self.writes(state, event, instance_id), self._engine.codec, NAMESPACE)
        return self.sql[name], parameters

    def moves(self, state: str, event: str, ids: Sequence[UUID]) -> tuple[bytes, dict[str, Any]]:
        """Statement and parameters of a batch of moves."""
        batch = [self.writes(state, event, instance_id) for instance_id in ids]
        name, parameters = many(batch, self._engine.codec, NAMESPACE, new=False)
        return self.sql[name], parameters

    def creation(self) -> tuple[bytes, dict[str, Any]]:
        """Statement and parameters of a creation; ids are to be put in."""
        name, parameters = one_creation(self._created(), self._engine.codec, NAMESPACE)
        return self.sql[name], parameters

    def creations(self) -> tuple[bytes, dict[str, Any]]:
        """The same for a batch."""
        batch = [self._created() for _ in range(BATCH)]
        name, parameters = many(batch, self._engine.codec, NAMESPACE, new=True)
        return self.sql[name], parameters

    def _created(self) -> Writes:
        checked = creating.check(self._engine, NewInstance("ticket", CONTEXT, METADATA))
        step = creating.begin(self._engine, checked, self._now)
        drive_free(advance(step, None, "$created", None, self._engine.rules))
        return step.finish()

    def sweeping(self) -> tuple[bytes, dict[str, Any]]:
        """Statement and parameters for a batch of fired timers; ids and versions are to be put in."""
        ids = [uuid4() for _ in range(BATCH)]
        statement, parameters = self.moves("assigned", "release", ids)
        cleared = self.sql["move many clear"]
        assert statement == self.sql["move many"]
        parameters["state"] = parameters["e_to_state"] = "{" + ",".join(["open"] * BATCH) + "}"
        parameters["e_event"] = "{" + ",".join(["expire"] * BATCH) + "}"
        parameters["e_from_state"] = "{" + ",".join(["waiting"] * BATCH) + "}"
        parameters["e_timers"] = "{" + ",".join(['"[]"'] * BATCH) + "}"
        parameters["e_payload"] = "{" + ",".join(["NULL"] * BATCH) + "}"
        trigger = '"{\\"by\\":\\"timer\\",\\"due_at\\":\\"2024-02-29T12:00:00+00:00\\"}"'
        parameters["e_trigger"] = "{" + ",".join([trigger] * BATCH) + "}"
        return cleared, parameters


@attrs.define(eq=False)
class Pingpong:
    """Moves of tickets to and fro, each with its version."""

    _hand: Hand
    _ids: Sequence[UUID]
    _made: dict[UUID, list[tuple[bytes, dict[str, Any]]]] = attrs.field(init=False)
    _versions: dict[UUID, int] = attrs.field(init=False)
    _turn: Iterator[UUID] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._made = {
            one: [self._hand.move("assigned", "release", one), self._hand.move("open", "assign", one)]
            for one in self._ids
        }
        self._versions = dict.fromkeys(self._ids, 1)
        self._turn = itertools.cycle(self._ids)

    def next(self) -> tuple[bytes, dict[str, Any]]:
        """The next move, with its version put in."""
        one = next(self._turn)
        version = self._versions[one] = self._versions[one] + 1
        # Version 1 is open, so that even versions assign.
        statement, parameters = self._made[one][version % 2 == 0]
        parameters["expected"] = version - 1
        parameters["version"] = parameters["seq"] = version
        return statement, parameters


@attrs.define(eq=False)
class Bills:
    """Moves with a command, each with its version."""

    _hand: Hand
    _ids: Sequence[UUID]
    _made: dict[UUID, tuple[bytes, dict[str, Any]]] = attrs.field(init=False)
    _turn: Iterator[UUID] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._made = {one: self._hand.move("open", "bill", one) for one in self._ids}
        self._turn = itertools.cycle(self._ids)

    def next(self) -> tuple[bytes, dict[str, Any]]:
        """The next move, with its version put in."""
        statement, parameters = self._made[next(self._turn)]
        parameters["expected"] = version = parameters.get("turns", 1)
        parameters["version"] = parameters["seq"] = parameters["turns"] = version + 1
        return statement, parameters


@attrs.define(eq=False)
class BlockingHand:
    """One connection, one cursor."""

    connection: psycopg.Connection[Any]
    hand: Hand
    cursor: psycopg.Cursor[Any] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.cursor = psycopg.Cursor(self.connection, row_factory=tuple_row)
        self.cursor.format = psycopg.pq.Format.BINARY

    def run(self, statement: bytes, parameters: Mapping[str, Any] | None = None) -> list[Any]:
        """One statement and its rows."""
        self.cursor.execute(statement, parameters, prepare=True, binary=True)
        return self.cursor.fetchall()

    def fire(self, turns: Pingpong) -> None:
        """Read, and one compare-and-set."""
        statement, parameters = turns.next()
        self.run(self.hand.sql["get"], {"id": parameters["id"], "namespace": NAMESPACE, "clock": None})
        assert self.run(statement, parameters)

    def bill(self, bills: Bills) -> None:
        """Lock, the application's own row, write and commit, in three trips."""
        execute = self.cursor.execute
        statement, parameters = bills.next()
        with self.connection.pipeline():
            execute(b"BEGIN", prepare=True)
            execute(OPENING, prepare=True, binary=True)
            execute(
                self.hand.sql["lock"],
                {"id": parameters["id"], "namespace": NAMESPACE, "clock": None},
                prepare=True,
                binary=True,
            )
        assert self.cursor.fetchall()
        self.connection.execute(LETTER, {"ticket": parameters["id"], "text": "to be paid"}, prepare=True)
        with self.connection.pipeline():
            execute(statement, parameters, prepare=True, binary=True)
            execute(b"COMMIT", prepare=True)


def hand_pool(stage: Stage) -> AsyncConnectionPool[Any]:
    """A pool for code by hand, as large as ours."""
    return AsyncConnectionPool(
        stage.dsn, min_size=POOL, max_size=POOL, open=False, kwargs={"autocommit": True}
    )


def fresh_ids(count: int) -> str:
    """New ids as an array."""
    return uuid_array(uuid4() for _ in range(count))


def versions(version: int) -> str:
    """One version for a whole batch, as an array."""
    return int_array([version] * BATCH)
