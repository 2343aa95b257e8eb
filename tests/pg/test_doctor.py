"""Is every ailment that a database can have found, and nothing else, by a doctor that only reads?"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import psycopg
import pytest
from psycopg import sql

from duraflow import DoctorReport, MessageHandler, Runtime, State, StoreUnavailable, Transition, Workflow
from duraflow.diagnosis import AILMENTS
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Examination
from duraflow.runtime.drive import drive
from duraflow.testing import ManualClock
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver
from duraflow_pg import PgPersistence
from duraflow_pg.doctor import PG_AILMENTS, DoctorLimits, PgInspector
from duraflow_pg.doctor.inspector import CHECKS
from duraflow_pg.doctor.running import Looked, Ward
from tests.pg.kit import DAY, look, runtime_on, settled

NOT_OURS = frozenset({"setting_unsafe", "long_transaction", "idle_in_transaction"})
"""What the test's server is made with, and what other tests may be doing on it."""


def weigh(ctx: Any) -> None:
    """A command that does nothing."""


def never(payload: object) -> bool:
    """A guard that always says no."""
    return False


PARCEL = Workflow(
    name="parcel",
    initial="packed",
    states=[
        State(
            "packed",
            [
                Transition("send", target="sent"),
                Transition("lose", target="lost"),
                Transition("weigh", commands=["weigh"]),
                Transition("remind", commands=["weigh"], after=DAY),
            ],
        ),
        State("lost", [Transition(target="sent", guard="never")]),
        State("sent", final=True),
    ],
)


@contextmanager
def parcels(
    dsn: str, namespace: str, *, limits: DoctorLimits | None = None, **options: Any
) -> Iterator[Runtime]:
    """A runtime that the doctor is asked of."""
    persistence: PgPersistence = PgPersistence.from_dsn(dsn, namespace=namespace, max_size=2)
    inspector = persistence.inspector
    assert isinstance(inspector, PgInspector)
    wall = options.pop("wall", inspector.wall)
    persistence = attrs.evolve(
        persistence, inspector=attrs.evolve(inspector, limits=limits or inspector.limits, wall=wall)
    )
    options = {"workflows": [PARCEL], "commands": {"weigh": weigh}, "guards": {"never": never}, **options}
    with Runtime(persistence=persistence, live_check="off", **options) as runtime:
        yield runtime


def stock(runtime: Runtime) -> tuple[Any, Any]:
    """One that waits for its timer, one that was weighed, one that is sent; the first and the last."""
    waiting = runtime.create(PARCEL, {"weight": 1})
    weighed = runtime.create(PARCEL)
    runtime.fire(weighed.id, "weigh")
    sent = runtime.create(PARCEL)
    runtime.fire(sent.id, "send")
    return waiting.id, sent.id


def codes(report: DoctorReport) -> set[str]:
    """What was found, without what is not the test's doing."""
    return {diagnosis.code for diagnosis in report.findings} - NOT_OURS


def checkup(report: DoctorReport, name: str) -> Any:
    """One check of a report."""
    (found,) = [one for one in report.checks if one.name == name]
    return found


# --- what is stored ---------------------------------------------------------------------------------------------


@attrs.frozen
class Ailing:
    """One way to break what is stored, by SQL; `{waiting}` and `{sent}` are ids, `{namespace}` the test's.

    Attributes:
        codes: what must be found, and nothing else.
        limits: with which it is found; None for the usual.
        later: how far the runtime's clock is ahead of the time at which it was broken.
    """

    codes: set[str]
    statements: tuple[str, ...]
    limits: DoctorLimits | None = None
    later: timedelta | None = None


def ailing(codes: str, *statements: str, **options: Any) -> Any:
    """A parameter named by what is found."""
    return pytest.param(Ailing(set(codes.split()), statements, **options), id=codes.replace(" ", "+"))


_ENTRY = (
    "INSERT INTO workflow_history (instance_id, seq, namespace, kind, event, from_state, to_state, status, entered, "
    "at, definition_version, attempt_id, outcome) "
    "SELECT id, version + 1, namespace, '{kind}', '{event}', state, state, 'success', false, updated_at, "
    "definition_version, gen_random_uuid(), outcome FROM workflow_instances WHERE id = '{{{who}}}'"
)
_STEP = "UPDATE workflow_instances SET version = version + 1 WHERE id = '{{{who}}}'"
_AHEAD = "SET position = '9000000000000000000' WHERE namespace = '{namespace}'"
_LEASE = "lease_token = 'aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa'"


def entry(who: str, kind: str, event: str) -> tuple[str, str]:
    """An entry that nobody made, and a row that agrees with it."""
    return _ENTRY.format(who=who, kind=kind, event=event), _STEP.format(who=who)


HANDLER = "INSERT INTO workflow_outbox_handlers (namespace, handler, updated_at) VALUES ('{namespace}', 'post', now())"
MESSAGE = (
    "INSERT INTO workflow_outbox (id, namespace, instance_id, seq, ordinal, topic, position) "
    "SELECT gen_random_uuid(), '{{namespace}}', '{{sent}}', {seq}, 0, 'sent', pg_current_xact_id()"
)
SECOND_VERSION = (
    "INSERT INTO workflow_definitions (namespace, workflow, version, hash, snapshot) "
    "SELECT namespace, workflow, 2, hash, {snapshot} FROM workflow_definitions WHERE namespace = '{{namespace}}'"
)
# The row is of the other version, and so is the history, without a move that says so.
TO_SECOND = (
    "UPDATE workflow_instances SET definition_version = 2 WHERE id = '{waiting}'",
    "UPDATE workflow_history SET definition_version = 2 WHERE instance_id = '{waiting}'",
)

STORED = [
    # histories
    ailing("history_gap", "DELETE FROM workflow_history WHERE instance_id = '{sent}' AND seq = 1"),
    ailing("history_gap", "DELETE FROM workflow_history WHERE instance_id = '{sent}' AND seq = 2"),
    ailing("history_gap", "DELETE FROM workflow_history WHERE instance_id = '{sent}'"),
    ailing("history_gap", "UPDATE workflow_instances SET version = version + 1 WHERE id = '{sent}'"),
    ailing(
        "row_unlike_history",
        "UPDATE workflow_instances SET context = '{{\"weight\": 2}}' WHERE id = '{waiting}'",
    ),
    ailing("row_unlike_history", "UPDATE workflow_instances SET outcome = 'failed' WHERE id = '{sent}'"),
    ailing(
        "row_unlike_history",
        "UPDATE workflow_instances SET updated_at = now() + '1 day' WHERE id = '{waiting}'",
    ),
    ailing("unknown_move", *entry("waiting", "moved", "fly")),
    ailing("changed_after_end", *entry("sent", "cancelled", "$cancelled")),
    ailing(
        "unreadable_values",
        'UPDATE workflow_instances SET context = \'{{"a": {{"$": "?"}}}}\' WHERE id = \'{waiting}\'',
    ),
    # instances
    ailing(
        "unknown_state row_unlike_history",
        "UPDATE workflow_instances SET state = 'limbo' WHERE id = '{waiting}'",
    ),
    ailing(
        "unknown_timer row_unlike_history",
        "UPDATE workflow_instances SET timers = jsonb_set(timers, '{{0,event}}', '\"ring\"') WHERE id = '{waiting}'",
    ),
    ailing("lease_without_work", f"UPDATE workflow_instances SET {_LEASE} WHERE id = '{{waiting}}'"),
    ailing(
        "version_from_store",
        SECOND_VERSION.format(snapshot="jsonb_set(snapshot, '{{version}}', '2')"),
        *TO_SECOND,
    ),
    ailing(
        "version_unusable",
        SECOND_VERSION.format(
            snapshot="jsonb_set(replace(snapshot::text, '\"weigh\"]', '\"lift\"]')::jsonb, '{{version}}', '2')"
        ),
        *TO_SECOND,
    ),
    ailing("version_unreadable", SECOND_VERSION.format(snapshot="'{{}}'")),
    ailing(
        "workflow_not_given",
        "INSERT INTO workflow_definitions SELECT namespace, 'letter', version, hash, snapshot "
        "FROM workflow_definitions WHERE namespace = '{namespace}'",
        "UPDATE workflow_instances SET workflow = 'letter' WHERE id = '{waiting}'",
    ),
    # due work
    ailing("timer_without_due", "DELETE FROM workflow_due WHERE instance_id = '{waiting}'"),
    ailing(
        "due_without_work",
        "INSERT INTO workflow_due (instance_id, namespace, due_at) VALUES ('{sent}', '{namespace}', now() + '1 day')",
    ),
    ailing("due_too_late", "UPDATE workflow_due SET due_at = due_at + '1 s' WHERE instance_id = '{waiting}'"),
    ailing(
        "overdue", "UPDATE workflow_due SET due_at = now() - interval '6 min' WHERE instance_id = '{waiting}'"
    ),
    ailing("overdue", "SELECT 1", later=timedelta(days=1, minutes=6)),
    ailing(
        "timer_parked",
        "UPDATE workflow_due SET due_at = NULL, parked_at = now(), error = 'no stamps' WHERE instance_id = '{waiting}'",
    ),
    ailing(
        "lease_expired",
        f"UPDATE workflow_instances SET {_LEASE} WHERE id = '{{waiting}}'",
        f"UPDATE workflow_due SET {_LEASE}, lease_until = now() - interval '6 min' WHERE instance_id = '{{waiting}}'",
    ),
    # receipts and messages
    ailing(
        "receipt_without_history",
        "INSERT INTO workflow_receipts (instance_id, namespace, key, first_seq, last_seq, created_at) "
        "VALUES ('{sent}', '{namespace}', 'k', 2, 3, now())",
    ),
    ailing("message_without_history", MESSAGE.format(seq=9)),
    ailing(
        "message_parked",
        HANDLER,
        "INSERT INTO workflow_outbox_held (namespace, handler, instance_id, seq, ordinal, attempts, parked_at, error) "
        "VALUES ('{namespace}', 'post', '{sent}', 2, 0, 9, now(), 'no stamps')",
    ),
    ailing("handler_lags", HANDLER, MESSAGE.format(seq=2), later=timedelta(minutes=6)),
    ailing(
        "handler_lags",
        HANDLER,
        "INSERT INTO workflow_outbox_held (namespace, handler, instance_id, seq, ordinal, attempts, next_at) "
        "VALUES ('{namespace}', 'post', '{sent}', 2, 0, 1, now() - interval '6 min')",
    ),
    # positions
    *(
        ailing(
            "position_ahead",
            f"UPDATE {table} SET position = '9000000000000000000' WHERE namespace = '{{namespace}}'",
        )
        for table in ("workflow_history", "workflow_instances")
    ),
    ailing("position_ahead", MESSAGE.format(seq=2), f"UPDATE workflow_outbox {_AHEAD}"),
    ailing("position_ahead", HANDLER, f"UPDATE workflow_outbox_handlers {_AHEAD}"),
]


@pytest.mark.parametrize("exact", [False, True], ids=["usual", "exact"])
@pytest.mark.parametrize("case", STORED)
def test_what_is_wrong_with_what_is_stored_is_found_and_nothing_else(
    case: Ailing, exact: bool, pg_dsn: str, namespace: str
) -> None:
    """Each in a namespace that was healthy before."""
    clock = ManualClock(datetime.now(UTC)) if case.later is not None else None
    with parcels(pg_dsn, namespace, limits=case.limits, clock=clock) as runtime:
        waiting, sent = stock(runtime)
        assert codes(runtime.doctor(exact=exact)) == set()
        with psycopg.connect(pg_dsn) as connection:
            for statement in case.statements:
                connection.execute(statement.format(waiting=waiting, sent=sent, namespace=namespace))
        if clock is not None and case.later is not None:
            clock.advance(case.later)
        settled(pg_dsn)  # a message that a transaction elsewhere holds up does not wait for its handler
        report = runtime.doctor(exact=exact)
        assert codes(report) == case.codes, str(report)
        for diagnosis in report.findings:
            assert diagnosis.rows, diagnosis
            assert diagnosis.total >= len(diagnosis.rows)
        assert not [one for one in report.checks if one.how == "not run"], str(report)
    _clear(pg_dsn, namespace)


def _clear(dsn: str, namespace: str) -> None:
    """Positions ahead would stop the feeds of other tests on this database."""
    look(dsn, "DELETE FROM workflow_instances WHERE namespace = %s", [namespace])
    look(dsn, "DELETE FROM workflow_outbox_handlers WHERE namespace = %s", [namespace])


@pytest.mark.parametrize(
    ("code", "statements"),
    [
        ("history_gap", ("DELETE FROM workflow_history WHERE instance_id = '{sent}' AND seq = 1",)),
        ("changed_after_end", entry("sent", "cancelled", "$cancelled")),
        ("row_unlike_history", ("UPDATE workflow_instances SET outcome = 'failed' WHERE id = '{sent}'",)),
    ],
)
def test_sql_and_python_agree_on_histories(
    code: str, statements: tuple[str, ...], pg_dsn: str, namespace: str
) -> None:
    """The one looks at more of them than the other, usually; what an operator has done is fine to both."""
    with parcels(pg_dsn, namespace) as runtime:
        _, sent = stock(runtime)
        runtime.force(runtime.create(PARCEL).id, state="sent", reason="lost the label")
        runtime.force(sent, state="packed", reason="came back")
        runtime.fire(sent, "send")
        assert codes(runtime.doctor()) == set()
        for statement in statements:
            look(pg_dsn, statement.format(sent=sent))
        report = runtime.doctor()
        for name in ("histories", "folding"):
            (found,) = checkup(report, name).findings
            assert (found.code, found.total) == (code, 1)
            assert found.rows[0].startswith(f"{sent}: ")


def test_a_due_row_goes_by_its_tries(pg_dsn: str, namespace: str) -> None:
    """A timer that was refused is tried again later than it was due."""
    with parcels(pg_dsn, namespace) as runtime:
        waiting, _ = stock(runtime)
        look(
            pg_dsn,
            "UPDATE workflow_due SET due_at = due_at + interval '1 hour', retries = '{}' WHERE instance_id = %s",
            [waiting],
        )
        assert codes(runtime.doctor()) == set()


def test_what_nothing_wakes_is_found_unless_something_does(pg_dsn: str, namespace: str) -> None:
    """Due work and an open child do; a finished child does not."""
    with parcels(pg_dsn, namespace) as runtime:
        waiting, _ = stock(runtime)
        runtime.fire(waiting, "lose")
        report = runtime.doctor()
        assert codes(report) == {"nothing_wakes_it"}
        assert str(waiting) in report.errors[0].rows[0]
        child = runtime.create(PARCEL)
        look(pg_dsn, "UPDATE workflow_instances SET parent_id = %s WHERE id = %s", [waiting, child.id])
        assert codes(runtime.doctor()) == set()
        runtime.fire(child.id, "send")
        assert codes(runtime.doctor()) == {"nothing_wakes_it"}


def test_a_sample_is_a_sample_and_says_so(fresh_pg_dsn: str, namespace: str) -> None:
    """What is wrong everywhere is found in it; `exact` counts all."""
    with parcels(fresh_pg_dsn, namespace) as runtime:
        runtime.create_many([_new() for _ in range(3_000)])
        look(fresh_pg_dsn, "UPDATE workflow_instances SET updated_at = updated_at + interval '1 s'")
        look(fresh_pg_dsn, "INSERT INTO workflow_outbox (id, namespace, instance_id, seq, ordinal, topic, position) "
            "SELECT gen_random_uuid(), namespace, id, 9, 0, 't', position FROM workflow_instances")  # fmt: skip
        report = runtime.doctor(sample=500)
        assert codes(report) == {"row_unlike_history", "message_without_history"}
        for name in ("histories", "folding", "messages", "due_times"):
            made = checkup(report, name)
            assert made.how == "sample", str(report)
            assert "of 3,000 " in made.scanned
            seen = int(made.scanned.partition(" ")[0].replace(",", ""))
            assert 0 < seen < 3_000
            for diagnosis in made.findings:
                assert diagnosis.total == seen
                assert len(diagnosis.rows) == 10
        assert checkup(report, "instances").how == "exact"
        report = runtime.doctor(exact=True)
        assert {one.how for one in report.checks} == {"exact"}
        assert {diagnosis.total for diagnosis in report.findings if diagnosis.code not in NOT_OURS} == {3_000}


def _new() -> Any:
    from duraflow import NewInstance

    return NewInstance(PARCEL)


@pytest.mark.parametrize("kind", ["memory", "pg"])
def test_a_busy_system_raises_no_alarm(kind: str, pg_dsn: str, namespace: str) -> None:
    """Instances are made, moved, finished and deleted all the while."""
    done = threading.Event()
    options: dict[str, Any] = {
        "workflows": [PARCEL],
        "commands": {"weigh": weigh},
        "guards": {"never": never},
    }
    persistence = (
        InMemoryPersistence()
        if kind == "memory"
        else PgPersistence.from_dsn(pg_dsn, namespace=namespace, max_size=4)
    )
    with Runtime(persistence=persistence, live_check="off", **options) as runtime:

        def work() -> int:
            turns = 0
            while not done.is_set():
                turns += 1
                parcel = runtime.create(PARCEL)
                for event in ("weigh", "send"):
                    runtime.fire(parcel.id, event)
                if turns % 2:
                    runtime.delete(parcel.id)
            return turns

        with ThreadPoolExecutor(2) as threads:
            working = [threads.submit(work) for _ in range(2)]
            try:
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    report = runtime.doctor(exact=True)
                    assert codes(report) == set(), str(report)
            finally:
                done.set()
            assert all(one.result() > 1 for one in working)
        assert codes(runtime.doctor(exact=True)) == set()


# --- what it is stored in ---------------------------------------------------------------------------------------

GROW = (
    "INSERT INTO workflow_definitions SELECT '{{namespace}}', 'bulk', g, repeat('0', 64), '{{{{}}}}' "
    "FROM generate_series(1, {n}) AS g"
)
WASTE = (
    GROW.format(n=20_000),
    "DELETE FROM workflow_definitions WHERE workflow = 'bulk' AND version < 19990",
    "VACUUM ANALYZE workflow_definitions",
)
SMALL = DoctorLimits(size=65_536)

KEPT_IN = [
    ailing("schema_older", "ALTER TABLE workflow_outbox_handlers DROP COLUMN delivered"),
    ailing(
        "migration_missing",
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)",
    ),
    ailing("index_missing", "DROP INDEX workflow_due_parked"),
    ailing(
        "index_invalid",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'workflow_history_position'::regclass",
    ),
    ailing("index_leftover", "CREATE INDEX workflow_due_due_ccnew1 ON workflow_due (due_at)"),
    ailing(
        "table_bloated",
        *WASTE,
        "REINDEX TABLE workflow_definitions",
        limits=SMALL,
    ),
    ailing(
        "index_bloated",
        GROW.format(n=5_000),
        "CREATE INDEX ON workflow_definitions (namespace, workflow, version, hash) WITH (fillfactor = 10)",
        "VACUUM ANALYZE workflow_definitions",
        limits=SMALL,
    ),
    ailing("autovacuum_off", "ALTER TABLE workflow_due SET (autovacuum_enabled = false)"),
    ailing(
        "wraparound", "SELECT pg_current_xact_id()", "SELECT pg_current_xact_id()", limits=DoctorLimits(age=0)
    ),
    # What autovacuum must not mend meanwhile.
    ailing(
        "autovacuum_off vacuum_overdue",
        "ALTER TABLE workflow_definitions SET (autovacuum_enabled = false)",
        "ANALYZE workflow_definitions",
        *WASTE[:2],
        limits=DoctorLimits(dead=1_000),
    ),
    ailing(
        "autovacuum_off never_analyzed",
        "ALTER TABLE workflow_definitions SET (autovacuum_enabled = false)",
        "DELETE FROM pg_statistic WHERE starelid = 'workflow_definitions'::regclass",
        GROW.format(n=2_000),
        limits=DoctorLimits(unseen=1_000),
    ),
]


@pytest.mark.parametrize("case", KEPT_IN)
def test_what_is_wrong_with_the_tables_is_found_and_nothing_else(
    case: Ailing, fresh_pg_dsn: str, namespace: str
) -> None:
    """Each in a database of its own."""
    with parcels(fresh_pg_dsn, namespace, limits=case.limits) as runtime:
        stock(runtime)
        if "wraparound" not in case.codes:
            assert codes(runtime.doctor()) == set()
        with psycopg.connect(fresh_pg_dsn, autocommit=True) as connection:
            connection.execute("SET allow_system_table_mods = on")
            for statement in case.statements:
                connection.execute(statement.format(namespace="elsewhere"))
        report = _until(lambda: runtime.doctor(), lambda report: codes(report) == case.codes)
        assert codes(report) == case.codes, str(report)
        assert not report.not_run, str(report)


def _until(look_again: Callable[[], DoctorReport], right: Callable[[DoctorReport], bool]) -> DoctorReport:
    """The counters of a table are told by sessions when they end or are idle for a while."""
    end = time.monotonic() + 15
    while not right(report := look_again()) and time.monotonic() < end:
        time.sleep(0.1)
    return report


def test_a_schema_of_another_name_is_examined_where_it_is(fresh_pg_dsn: str, namespace: str) -> None:
    """And the one that nobody asked for is not."""
    name = 'odd "schema" 100%'
    persistence: PgPersistence = PgPersistence.from_dsn(
        fresh_pg_dsn, schema=name, namespace=namespace, migrate=True
    )
    look(fresh_pg_dsn, "DROP INDEX public.workflow_due_parked")
    options: dict[str, Any] = {
        "workflows": [PARCEL],
        "commands": {"weigh": weigh},
        "guards": {"never": never},
    }
    with Runtime(persistence=persistence, **options) as runtime:
        stock(runtime)
        report = runtime.doctor()
        assert codes(report) == set(), str(report)
        assert not report.not_run, str(report)
        with psycopg.connect(fresh_pg_dsn, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP INDEX {}.workflow_due_parked").format(sql.Identifier(name)))
        assert codes(runtime.doctor()) == {"index_missing"}


def test_tables_made_by_another_tool_have_no_record_of_migrations(fresh_pg_dsn: str, namespace: str) -> None:
    """That is said, and is no ailment."""
    look(fresh_pg_dsn, "DROP TABLE schema_migrations")
    with parcels(fresh_pg_dsn, namespace) as runtime:
        report = runtime.doctor()
        assert codes(report) == set()
        assert "another tool" in checkup(report, "schema").scanned


# --- the server -------------------------------------------------------------------------------------------------


def test_a_long_transaction_is_found(own_pg_dsn: str, namespace: str) -> None:
    """Once it has a snapshot or an id; and it is told who has it."""
    limits = DoctorLimits(transaction=timedelta(milliseconds=50))
    with parcels(own_pg_dsn, namespace, limits=limits) as runtime, _quiet(runtime) as report:
        assert _server_codes(report()) == set()
        with psycopg.connect(own_pg_dsn, application_name="report 7") as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute("SELECT 1")
            time.sleep(0.1)
            found = report()
            assert _server_codes(found) == {"long_transaction"}
            (row,) = _rows(found, "long_transaction")
            assert row.startswith(f"pid {connection.info.backend_pid}: ")
            assert "report 7" in row
            assert "written" not in row
            connection.execute("SELECT pg_current_xact_id()")
            assert "has written" in _rows(report(), "long_transaction")[0]
        assert _server_codes(report()) == set()


def test_a_session_idle_in_its_transaction_is_found(own_pg_dsn: str, namespace: str) -> None:
    """Also when it holds nothing back but its locks; and it is not told twice."""
    limits = DoctorLimits(transaction=timedelta(milliseconds=50), idle=timedelta(milliseconds=50))
    with parcels(own_pg_dsn, namespace, limits=limits) as runtime, _quiet(runtime) as report:
        with psycopg.connect(own_pg_dsn) as connection:
            connection.execute("SELECT pg_current_xact_id()")
            time.sleep(0.1)
            found = report()
            assert _server_codes(found) == {"idle_in_transaction"}
            assert str(connection.info.backend_pid) in _rows(found, "idle_in_transaction")[0]
        assert _server_codes(report()) == set()


def test_a_session_at_work_is_not_idle(own_pg_dsn: str, namespace: str) -> None:
    """It may be long all the same."""
    limits = DoctorLimits(transaction=timedelta(milliseconds=50), idle=timedelta(milliseconds=50))
    with (
        parcels(own_pg_dsn, namespace, limits=limits) as runtime,
        _quiet(runtime) as report,
        psycopg.connect(own_pg_dsn) as connection,
        ThreadPoolExecutor(1) as thread,
    ):
        sleeping = thread.submit(connection.execute, "SELECT pg_sleep(3)")
        time.sleep(0.3)
        assert _server_codes(report()) == {"long_transaction"}
        connection.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result()


def test_a_replication_slot_that_keeps_wal_is_found(own_pg_dsn: str, namespace: str) -> None:
    """An inactive one; from the size on that the limits say."""
    with parcels(own_pg_dsn, namespace, limits=DoctorLimits(kept=0)) as runtime, _quiet(runtime) as report:
        look(own_pg_dsn, "SELECT pg_create_physical_replication_slot('gone', true)")
        try:
            look(own_pg_dsn, "CREATE TABLE noise AS SELECT 1")
            found = report()
            assert _server_codes(found) == {"replication_slot"}
            assert _rows(found, "replication_slot")[0].startswith("gone (inactive): keeps ")
            with parcels(own_pg_dsn, f"{namespace}_b") as usual:
                assert "replication_slot" not in codes(usual.doctor())
        finally:
            look(own_pg_dsn, "SELECT pg_drop_replication_slot('gone')")


def test_a_handler_that_begins_now_is_not_ahead(own_pg_dsn: str, namespace: str) -> None:
    """On a quiet server it stands at the very next transaction id."""
    handler = MessageHandler("post", lambda message: None, start="now")
    with parcels(own_pg_dsn, namespace, message_handlers=[handler]) as runtime:
        settled(own_pg_dsn)
        runtime.dispatch()
        look(
            own_pg_dsn,
            "UPDATE workflow_outbox_handlers SET position = (pg_current_xact_id()::text::bigint + 1)::text::xid8",
        )
        assert codes(runtime.doctor()) == set()


def test_a_prepared_transaction_is_found(own_pg_server: Any, own_pg_dsn: str, namespace: str) -> None:
    """It has outlived its session, and would outlive the server."""
    look(own_pg_dsn, "ALTER SYSTEM SET max_prepared_transactions = 4")
    own_pg_server.restart()
    try:
        limits = DoctorLimits(transaction=timedelta(milliseconds=1))
        with parcels(own_pg_dsn, namespace, limits=limits) as runtime, _quiet(runtime) as report:
            with psycopg.connect(own_pg_dsn, autocommit=True) as connection:
                connection.execute("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'half done'")
                time.sleep(0.05)
                found = report()
                assert _server_codes(found) == {"prepared_transaction"}
                assert _rows(found, "prepared_transaction")[0].startswith("'half done' in ")
                connection.execute("ROLLBACK PREPARED 'half done'")
            assert _server_codes(report()) == set()
    finally:
        look(own_pg_dsn, "ALTER SYSTEM RESET max_prepared_transactions")
        own_pg_server.restart()


def test_clocks_that_are_apart_are_found(pg_dsn: str, namespace: str) -> None:
    """In either direction; a trip's length is not taken for it."""
    for offset, way in ((timedelta(seconds=-5), "ahead of"), (timedelta(seconds=5), "behind")):
        with parcels(pg_dsn, namespace, wall=lambda offset=offset: datetime.now(UTC) + offset) as runtime:
            report = runtime.doctor()
            assert codes(report) == {"clocks_apart"}
            assert way in _rows(report, "clocks_apart")[0]


def test_settings_that_are_unsafe_are_told(fresh_pg_dsn: str, namespace: str) -> None:
    """As information: who sets them may know why."""
    name = psycopg.conninfo.conninfo_to_dict(fresh_pg_dsn)["dbname"]
    look(fresh_pg_dsn, f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    with parcels(fresh_pg_dsn, namespace) as runtime:
        report = runtime.doctor()
        assert "synchronous_commit = off" in _rows(report, "setting_unsafe")
        assert report.ok


@contextmanager
def _quiet(runtime: Runtime) -> Iterator[Callable[[], DoctorReport]]:
    """The doctor, on a server where nobody else is at work (autovacuum is no client)."""
    yield lambda: runtime.doctor(shown=100)


def _server_codes(report: DoctorReport) -> set[str]:
    return {diagnosis.code for diagnosis in report.findings} - {"setting_unsafe"}


def _rows(report: DoctorReport, code: str) -> tuple[str, ...]:
    (found,) = [diagnosis for diagnosis in report.findings if diagnosis.code == code]
    return found.rows


# --- what cannot be looked at -----------------------------------------------------------------------------------


@pytest.fixture
def reader(fresh_pg_dsn: str) -> Iterator[str]:
    """The DSN of a role that may read all our tables but the history."""
    look(fresh_pg_dsn, "DROP ROLE IF EXISTS doctor_reader")
    look(fresh_pg_dsn, "CREATE ROLE doctor_reader LOGIN")
    look(fresh_pg_dsn, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO doctor_reader")
    look(fresh_pg_dsn, "REVOKE ALL ON workflow_history, schema_migrations FROM doctor_reader")
    yield psycopg.conninfo.make_conninfo(fresh_pg_dsn, user="doctor_reader")
    look(fresh_pg_dsn, "DROP OWNED BY doctor_reader")
    look(fresh_pg_dsn, "DROP ROLE doctor_reader")


def test_what_a_role_may_not_see_is_said(fresh_pg_dsn: str, reader: str, namespace: str) -> None:
    """The checks that it concerns say which right is missing, and the others go on."""
    with parcels(fresh_pg_dsn, namespace) as runtime:
        waiting, _ = stock(runtime)
        runtime.fire(waiting, "lose")
    with psycopg.connect(fresh_pg_dsn) as other, parcels(reader, namespace) as runtime:
        other.execute("SELECT 1")
        report = runtime.doctor()
        assert {one.name for one in report.checks} == set(CHECKS)
        assert codes(report) == {"nothing_wakes_it"}
        for name in ("histories", "folding", "receipts", "messages", "handlers", "positions"):
            made = checkup(report, name)
            assert made.how == "not run", name
            assert "workflow_history" in made.problem
            assert "GRANT" in made.problem
        assert checkup(report, "schema").how == "partly"
        assert checkup(report, "sessions").how == "partly"
        assert "pg_monitor" in checkup(report, "sessions").problem
        assert "could not check histories" in report.to_text()


def test_what_takes_too_long_is_given_up(pg_dsn: str, namespace: str) -> None:
    """One statement's time at most, not that of the whole pool; the session is as it was afterwards."""
    with parcels(pg_dsn, namespace) as runtime:
        stock(runtime)
        with psycopg.connect(pg_dsn) as connection:
            connection.execute("LOCK TABLE workflow_receipts")
            report = runtime.doctor(timeout=timedelta(milliseconds=200))
        made = checkup(report, "receipts")
        assert made.how == "not run"
        assert "longer than 0.2 s" in made.problem
        assert timedelta(milliseconds=200) <= made.took < timedelta(seconds=5)
        assert [one.name for one in report.not_run if one.how == "not run"] == ["receipts"]
        assert checkup(runtime.doctor(), "receipts").how == "exact"
        with runtime.transaction() as bound:
            ((limit, reads),) = bound.connection.execute(
                "SELECT current_setting('statement_timeout'), current_setting('transaction_read_only')"
            ).fetchall()
            assert (limit, reads) == ("30s", "off")


def test_it_only_reads(pg_dsn: str, namespace: str) -> None:
    """Each check is run in a transaction that could not write."""

    async def careless(ward: Ward, looked: Looked) -> None:
        await ward.ask("DELETE FROM {due} RETURNING 1")

    with parcels(pg_dsn, namespace) as runtime:
        stock(runtime)
        inspector = runtime._engine.persistence.inspector
        assert isinstance(inspector, PgInspector)
        examination = Examination(versions={}, unable=lambda workflow: "")
        ward = Ward(inspector._database, examination, inspector.limits, inspector.wall)
        with pytest.raises(StoreUnavailable, match="read-only"):
            drive(ward.run("careless", careless))
        assert codes(runtime.doctor()) == set()


def test_a_server_that_is_gone_is_an_error(own_pg_server: Any, own_pg_dsn: str, namespace: str) -> None:
    """Not a report in which nothing could run."""
    with parcels(own_pg_dsn, namespace) as runtime:
        own_pg_server.stop()
        with pytest.raises(StoreUnavailable):
            runtime.doctor()


@pytest.mark.parametrize("driver", [BlockingDriver(), AsyncioDriver()], ids=lambda driver: driver.name)
def test_a_pool_of_one_is_enough_on_every_server(driver: Driver, every_pg_dsn: str, namespace: str) -> None:
    """And all statements are understood by every version."""

    async def test() -> None:
        pool = {"namespace": namespace, "min_size": 1, "max_size": 1}
        options: dict[str, Any] = {"commands": {"weigh": weigh}, "guards": {"never": never}}
        async with runtime_on(driver, every_pg_dsn, PARCEL, pool=pool, **options) as runtime:
            await runtime.create(PARCEL)
            for exact in (False, True):
                report = await runtime.doctor(exact=exact, sample=1)
                assert codes(report) == set(), str(report)
                assert not report.not_run, str(report)
                assert report.store.startswith("PostgreSQL ")

    driver.run(test())


# --- all of them ------------------------------------------------------------------------------------------------


def test_every_ailment_has_been_produced() -> None:
    """By a case of this file, named here where it has a test of its own."""
    own = {
        "nothing_wakes_it", "long_transaction", "idle_in_transaction", "replication_slot", "prepared_transaction",
        "clocks_apart", "setting_unsafe",
    }  # fmt: skip
    cases = {code for parameter in (*STORED, *KEPT_IN) for code in parameter.values[0].codes}
    assert not own & cases
    # CHECKs of the tables do not let a finished instance have work.
    assert own | cases | {"finished_with_work"} == AILMENTS.keys() | PG_AILMENTS.keys()
    assert not AILMENTS.keys() & PG_AILMENTS.keys()
