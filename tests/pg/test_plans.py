"""Do the statements use their indexes on 100,000 instances, and do moves stay within their page?

Each statement is recorded as the runtime runs it, and explained twice: with its parameters, and as the generic plan
that a prepared statement may get.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
import psycopg
import pytest

from duraflow import Firing, NewInstance, Runtime, State, Transition, Workflow
from duraflow.testing import ManualClock
from duraflow.testing.driver import BlockingDriver
from duraflow_pg import PgPersistence
from duraflow_pg.connections import BlockingConnections
from duraflow_pg.database import PgDatabase, Witness
from tests.pg.kit import DAY, never, nothing, order, runtime_on
from tests.support.databases import Databases

START = datetime(2024, 1, 1, tzinfo=UTC)
NOW = START + timedelta(days=200)
COUNT = 100_000

SEEDED = Workflow(
    name="seeded",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("touch", target="open"),
                Transition("ask", target="shut", guard=never),
                Transition("count", commands=[nothing]),
                Transition("remind", target="open", after=DAY, commands=[nothing]),
            ],
        ),
        State(
            "waiting", [Transition("touch", target="open"), Transition("remind", target="open", after=DAY)]
        ),
        State("shut", final=True),
    ],
)

# No triggers, and so no foreign keys, while rows are loaded: they are right by construction.
SEED = """
SET session_replication_role = replica;
INSERT INTO workflow_instances (
    id, namespace, workflow, definition_version, ref, state, outcome, version, metadata, timers,
    created_at, updated_at, entered_at, finished_at
)
SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    CASE WHEN n % 20 = 0 THEN 'other' ELSE 'default' END,
    CASE WHEN n % 4 = 0 THEN 'second' ELSE 'seeded' END,
    1,
    CASE WHEN n % 2 = 0 THEN 'ref-' || n END,
    CASE WHEN n % 50 = 1 THEN 'waiting' WHEN n % 3 = 0 THEN 'open' ELSE 'shut' END,
    CASE WHEN n % 50 <> 1 AND n % 3 <> 0 THEN 'done' END,
    2,
    CASE WHEN n % 5 = 0 THEN jsonb_build_object('customer', 'c' || n % 2000) ELSE '{}' END,
    CASE WHEN n % 50 = 1 THEN
        jsonb_build_array(jsonb_build_object('event', 'remind', 'due_at', to_char(
            timestamptz '2024-01-01Z' + n * interval '4 minutes', 'YYYY-MM-DD"T"HH24:MI:SS"+00:00"')))
    END,
    timestamptz '2024-01-01Z' + n * interval '1 minute',
    timestamptz '2024-01-01Z' + n * interval '2 minutes',
    timestamptz '2024-01-01Z' + n * interval '2 minutes',
    CASE WHEN n % 50 <> 1 AND n % 3 <> 0 THEN timestamptz '2024-01-01Z' + n * interval '2 minutes' END
FROM generate_series(1, %(count)s) AS n;
INSERT INTO workflow_history (
    instance_id, seq, namespace, kind, event, from_state, to_state, status, entered, at, definition_version, attempt_id
)
SELECT i.id, s.seq, i.namespace, CASE s.seq WHEN 1 THEN 'created' ELSE 'moved' END, 'touch',
    CASE s.seq WHEN 1 THEN NULL ELSE 'open' END, i.state, 'success', true, i.updated_at, 1, i.id
FROM workflow_instances i CROSS JOIN (VALUES (1), (2)) AS s (seq);
INSERT INTO workflow_due (instance_id, namespace, due_at, parked_at, retries)
SELECT i.id, i.namespace, (i.timers #>> '{0,due_at}')::timestamptz,
    CASE WHEN i.id::text LIKE '%%001' THEN i.updated_at END,
    CASE WHEN i.id::text LIKE '%%001' THEN '{}'::jsonb END
FROM workflow_instances i WHERE i.timers IS NOT NULL;
SET session_replication_role = origin;
"""


@pytest.fixture(scope="module")
def seeded_dsn(databases: Databases) -> Iterator[str]:
    """A database with 100,000 instances, 200,000 history entries and 2,000 due rows, analysed."""
    dsn = databases.clone()
    begun = time.monotonic()
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in SEED.replace("%(count)s", str(COUNT)).replace("%%", "%").split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())
        connection.execute("VACUUM (ANALYZE)")
    assert time.monotonic() - begun < 60
    yield dsn
    databases.drop(dsn)


@attrs.define(eq=False)
class Recorder(BlockingConnections):
    """Connections that note every statement with its parameters."""

    seen: list[tuple[bytes, Any]] = attrs.field(factory=list)

    def _cursor(self, connection: psycopg.Connection[Any]) -> Any:
        return _Watched(super()._cursor(connection), self.seen)


class _Watched:
    def __init__(self, cursor: Any, seen: list[tuple[bytes, Any]]) -> None:
        self._cursor, self._seen = cursor, seen

    def execute(self, statement: bytes, parameters: Any = None, **options: Any) -> Any:
        self._seen.append((statement, parameters))
        return self._cursor.execute(statement, parameters, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


@pytest.fixture(scope="module")
def runtime(seeded_dsn: str) -> Iterator[tuple[Runtime, Recorder]]:
    """A blocking runtime on it, watched; it writes little, and the plans stay as they are."""
    persistence = PgPersistence.from_dsn(seeded_dsn, max_size=2)
    owned = persistence.database.connections
    assert isinstance(owned, BlockingConnections)
    recorder = persistence.database.connections = Recorder(owned.pool, owned.make)
    with psycopg.connect(seeded_dsn) as connection:
        # The workflow of the other quarter of the rows is known to the database as well.
        connection.execute(
            "INSERT INTO workflow_definitions SELECT n, 'second', 1, repeat('a', 64), '{}' "
            "FROM unnest(ARRAY['default', 'other']) n"
        )
    with Runtime(workflows=[SEEDED], persistence=persistence, clock=ManualClock(NOW)) as made:
        yield made, recorder


def key(number: int) -> UUID:
    """The id of the seeded instance of that number."""
    return UUID(f"00000000-0000-4000-8000-{number:012}")


OPEN = 3  # the number of an instance of the workflow `seeded` in the namespace `default` in this state
PK, REF = "workflow_instances_pkey", "workflow_instances_ref"
CREATED, STATE = "workflow_instances_created", "workflow_instances_state"
METADATA, HISTORY = "workflow_instances_metadata", "workflow_history_pkey"
DUE, DUE_PK, PARKED = "workflow_due_due", "workflow_due_pkey", "workflow_due_parked"


def _page(runtime: Runtime, **query: Any) -> Any:
    page = runtime.list("seeded", limit=20, **query)
    assert len(page.instances) == 20
    return runtime.list("seeded", limit=20, cursor=page.cursor, **query)


async def _committed(runtime: Runtime) -> bool:
    database: PgDatabase = runtime._engine.persistence.database  # type: ignore[attr-defined]  # it is on PostgreSQL
    return await database.committed(Witness(key(OPEN), 2, key(OPEN)))


CALLS: dict[str, tuple[Callable[[Runtime], Any], set[str]]] = {
    "get by id": (lambda r: r.get(key(OPEN)), {PK}),
    "get by ref": (lambda r: r.get(("seeded", "ref-6")), {REF}),
    "a free move": (lambda r: r.fire(key(OPEN), "touch"), {PK}),
    "a rejection": (lambda r: r.fire(key(OPEN), "ask"), {PK}),
    "a move with a command": (lambda r: r.fire(key(OPEN), "count"), {PK}),
    "a move by ref": (lambda r: r.fire(("seeded", "ref-6"), "count"), {PK, REF}),
    "a batch of moves": (lambda r: r.fire_many([Firing(key(3 * n), "touch") for n in range(1, 9)]), {PK}),
    "a batch by ref": (
        lambda r: r.fire_many([Firing(("seeded", f"ref-{6 * n}"), "touch") for n in (1, 3, 5)]),
        {PK, REF},
    ),
    "cancel": (lambda r: r.cancel(key(9)), {PK}),
    "delete": (lambda r: r.delete(key(7)), {PK}),
    "create": (lambda r: r.create("seeded", ref="new"), set()),
    "create many": (lambda r: r.create_many([NewInstance("seeded")] * 5), set()),
    "list": (lambda r: r.list(), {CREATED}),
    "list of a workflow": (lambda r: _page(r), {CREATED}),
    "list of a state": (lambda r: _page(r, state="waiting"), {STATE}),
    "list of two states": (lambda r: r.list("seeded", state=["waiting", "open"], limit=20), {CREATED, STATE}),
    "oldest first": (lambda r: _page(r, state="waiting", oldest_first=True), {STATE}),
    "open ones": (lambda r: _page(r, open=True), {CREATED}),
    "created in a day": (
        lambda r: r.list("seeded", created=(START + 40 * DAY, START + 41 * DAY)),
        {CREATED},
    ),
    "metadata": (lambda r: r.list(metadata={"customer": "c15"}), {METADATA}),
    "count of a state": (lambda r: r.count("seeded", state="waiting"), {STATE}),
    "history": (lambda r: r.history(key(OPEN)), {HISTORY}),
    "newest history": (lambda r: r.history(key(OPEN), newest_first=True, limit=1), {HISTORY}),
    "explain": (lambda r: r.explain(key(OPEN)), {PK}),
    "a sweep": (lambda r: r.fire_due_timers(limit=10), {DUE, PK}),
    "parked": (lambda r: r.parked(limit=10), {PARKED, PK}),
    "rearm": (lambda r: r.rearm(key(99951)), {PK}),
    "a lost answer": (lambda r: BlockingDriver().run(_committed(r)), {PK, HISTORY}),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_uses_its_indexes(runtime: tuple[Runtime, Recorder], seeded_dsn: str, name: str) -> None:
    """No statement of a call reads a table from end to end, and those it should use are used."""
    made, recorder = runtime
    call, wanted = CALLS[name]
    recorder.seen.clear()
    call(made)
    statements = [seen for seen in recorder.seen if b"workflow_" in seen[0]]
    assert statements
    for generic in (False, True):
        used: set[str] = set()
        for statement, parameters in statements:
            plan = explained(seeded_dsn, statement, parameters, generic=generic)
            scans = set(nodes(plan, "Seq Scan"))
            assert not scans, f"{name} (generic: {generic}) reads all of {scans}:\n{statement.decode()}"
            used |= set(indexes(plan))
        if not generic:
            assert wanted <= used or (wanted == {CREATED, STATE} and wanted & used), (name, used)


def explained(dsn: str, statement: bytes, parameters: Any, *, generic: bool) -> Any:
    """The plan of a statement, without running it."""
    with psycopg.connect(dsn) as connection:
        if not generic:
            row = connection.execute(b"EXPLAIN (FORMAT JSON) " + statement, parameters).fetchone()
        elif connection.info.server_version >= 160000:
            numbered = re.sub(rb"%\((\w+)\)s", _Numbers(), statement).replace(b"%%", b"%")
            row = connection.execute(b"EXPLAIN (GENERIC_PLAN, FORMAT JSON) " + numbered).fetchone()
        else:
            return []
        connection.rollback()
    assert row is not None
    return row[0] if not isinstance(row[0], str) else json.loads(row[0])


class _Numbers:
    """Numbers named placeholders as psycopg does."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}

    def __call__(self, match: re.Match[bytes]) -> bytes:
        return b"$%d" % self._known.setdefault(match[1], len(self._known) + 1)


def nodes(plan: Any, kind: str) -> Iterator[str]:
    """The tables that nodes of this kind read."""
    for node in walk(plan):
        if node.get("Node Type") == kind:
            yield node["Relation Name"]


def indexes(plan: Any) -> Iterator[str]:
    """The indexes that are used."""
    return (node["Index Name"] for node in walk(plan) if "Index Name" in node)


def walk(plan: Any) -> Iterator[dict[str, Any]]:
    """Every node of a plan."""
    if isinstance(plan, list):
        for one in plan:
            yield from walk(one)
    elif isinstance(plan, dict):
        yield plan
        for name in ("Plan", "Plans"):
            yield from walk(plan.get(name, []))


def test_the_seed_is_sound(runtime: tuple[Runtime, Recorder]) -> None:
    """What was loaded by SQL reads as instances with history and timers, in the numbers that were meant."""
    made, _ = runtime
    one = made.get(key(95051))
    assert (one.state, one.timers[0].event, one.version) == ("waiting", "remind", 2)
    assert [entry.seq for entry in made.history(key(95051))] == [1, 2]
    assert sum(row.count for row in made.count()) > COUNT * 0.94


# --- updates within the page ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("events", "least"),
    [
        pytest.param(("pay",), 0.9, id="internal moves"),
        pytest.param(("ask",), 0.9, id="rejections"),
        pytest.param(("reopen",), 0.9, id="moves to the same state"),
        pytest.param(("there", "back"), 0.0, id="state changes"),
    ],
)
def test_updates_stay_in_their_page(
    own_pg_dsn: str, events: tuple[str, ...], least: float, record_property: Callable[[str, object], None]
) -> None:
    """What does not change the state changes no indexed column, so that its updates are HOT; others are reported.

    On a server of its own: a transaction of another test that stays open, even in another database, keeps old versions
    from being cleared out of their page.
    """
    driver = BlockingDriver()
    workflow = order()
    workflow = attrs.evolve(
        workflow,
        states=[
            attrs.evolve(
                workflow.states[0],
                transitions=(*workflow.states[0].transitions, Transition("there", target="away")),
            ),
            State("away", [Transition("back", target="open")]),
            *workflow.states[1:],
        ],
    )

    async def body() -> None:
        async with runtime_on(driver, own_pg_dsn, workflow) as runtime:
            made = await runtime.create_many([NewInstance("order")] * 100)
            for number in range(10):
                for one in made:
                    await runtime.fire(one, events[number % len(events)])

    driver.run(body())
    updates, hot = counted(own_pg_dsn, 1_000)
    record_property("hot", hot / updates)
    assert hot / updates >= least, f"{hot} of {updates} updates stayed in their page"
    if least == 0.0:
        assert (
            hot == 0
        )  # an index over the state is what it costs; if this changes, docs/performance.md should say so


def counted(dsn: str, expected: int) -> tuple[int, int]:
    """Updates of `workflow_instances` and how many were HOT, once the sessions have reported them."""
    found: Any = None
    with psycopg.connect(dsn, autocommit=True) as connection:
        for _ in range(200):
            found = connection.execute(
                "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'workflow_instances'"
            ).fetchone()
            assert found is not None
            if found[0] >= expected:
                return found[0], found[1]
            time.sleep(0.02)
    raise AssertionError(f"the server has counted {found}")
