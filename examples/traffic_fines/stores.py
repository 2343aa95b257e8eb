"""Where does the demo keep its fines? In memory, in a PostgreSQL of its own, or in one that it is given.

What differs between them is here: the persistence, the ledger's two forms, and how one looks at it afterwards.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import psycopg
from psycopg import sql

from devtools.embedded_pg import EmbeddedServer, apply_dbmate, keep_running
from duraflow import Runtime
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Persistence
from duraflow.replay import LogClock
from examples.traffic_fines.ledger import Ledger, Letter, MemoryLedger, PaymentNote, SqlLedger
from examples.traffic_fines.workflow import FINE

TABLES = Path(__file__).with_name("tables.sql")
DATABASE = "traffic_fines"
NAMESPACE = "traffic-fines"

_LETTERS = """
SELECT fine, kind, filed_at, transition FROM traffic_fines.letters
WHERE fine IN (SELECT id FROM workflow_instances WHERE namespace = %s) ORDER BY id
"""
_PAYMENTS = """
SELECT fine, amount, paid_at, transition FROM traffic_fines.payments
WHERE fine IN (SELECT id FROM workflow_instances WHERE namespace = %s) ORDER BY id
"""


@attrs.frozen
class Store:
    """An open store of the demo.

    Attributes:
        name: for people.
        rows: reads what commands wrote to the application's tables in this run.
        look: how to look at it afterwards; empty for a store that is gone then.
    """

    name: str
    runtime: Runtime
    clock: LogClock
    rows: Callable[[], tuple[list[Letter], list[PaymentNote]]]
    look: str = ""


@contextmanager
def in_memory() -> Iterator[Store]:
    """Gone with the process."""
    ledger = MemoryLedger()
    with _runtime(InMemoryPersistence(namespace=NAMESPACE), {Ledger: ledger.of}) as (runtime, clock):
        yield Store("memory", runtime, clock, lambda: (ledger.letters, ledger.payments))


@contextmanager
def embedded(directory: Path, say: Callable[[str], object]) -> Iterator[Store]:
    """In a PostgreSQL in `directory` that goes on after this process, in a database made anew by every run."""
    say(f"starting PostgreSQL in {directory}")
    server = keep_running(directory)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE))
        )
    dsn = server.create_database(DATABASE)
    look = _look(_psql(server), dsn, NAMESPACE)
    look += f"\n\nThe server goes on running. To stop it:\n\n  {_python()} -m examples.traffic_fines --stop"
    with _postgres(f"PostgreSQL {server.version} in {server.base}", dsn, NAMESPACE, look, say) as store:
        yield store


@contextmanager
def given(dsn: str, say: Callable[[str], object]) -> Iterator[Store]:
    """In a database that is there already, in a namespace of this run's own: what else is in it stays as it is."""
    namespace = f"{NAMESPACE}-{secrets.token_hex(4)}"
    with _postgres(
        "the given PostgreSQL", dsn, namespace, _look("psql", _hide(dsn), namespace), say
    ) as store:
        yield store


@contextmanager
def _postgres(
    name: str, dsn: str, namespace: str, look: str, say: Callable[[str], object]
) -> Iterator[Store]:
    from duraflow_pg import PgPersistence

    say("applying the migrations with dbmate, and the example's own tables")
    apply_dbmate(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(TABLES.read_bytes())

    def rows() -> tuple[list[Letter], list[PaymentNote]]:
        with psycopg.connect(dsn) as connection:
            letters = connection.execute(_LETTERS, [namespace]).fetchall()
            payments = connection.execute(_PAYMENTS, [namespace]).fetchall()
        return [Letter(*row) for row in letters], [PaymentNote(*row) for row in payments]

    persistence = PgPersistence.from_dsn(dsn, namespace=namespace)
    with _runtime(persistence, {Ledger: SqlLedger.of}) as (runtime, clock):
        yield Store(name, runtime, clock, rows, look)


@contextmanager
def _runtime(
    persistence: Persistence, resources: Mapping[Any, Callable[[Any], Any]]
) -> Iterator[tuple[Runtime, LogClock]]:
    clock = LogClock()
    with Runtime(workflows=[FINE], persistence=persistence, clock=clock, resources=resources) as runtime:
        yield runtime, clock


def _psql(server: EmbeddedServer) -> str:
    beside = server.installation.bin_dir / "psql"
    return shutil.which("psql") or (str(beside) if beside.exists() else "psql")


def _python() -> str:
    """How this interpreter is called from here."""
    try:
        return str(Path(sys.executable).relative_to(Path.cwd()))
    except ValueError:
        return sys.executable


def _hide(dsn: str) -> str:
    """The DSN without its password."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    if parts.pop("password", None) is None:
        return dsn
    return psycopg.conninfo.make_conninfo("", **parts)


def _look(psql: str, dsn: str, namespace: str) -> str:
    # for a person to read, not run from here; the namespace is one that we made
    return f"""\
The database stays, to be looked at:

  {psql} {_quote(dsn)}

  SELECT state, outcome, count(*) FROM workflow_instances
  WHERE namespace = '{namespace}' GROUP BY 1, 2 ORDER BY 3 DESC;

  -- one fine from its beginning, with the letters and payments that its moves wrote
  SELECT h.seq, (h.at AT TIME ZONE 'Europe/Rome')::date AS day, h.event, h.from_state, h.to_state,
         l.kind AS letter, p.amount AS payment
  FROM workflow_instances i
  JOIN workflow_history h ON h.instance_id = i.id
  LEFT JOIN traffic_fines.letters l ON l.transition = h.transition_id
  LEFT JOIN traffic_fines.payments p ON p.transition = h.transition_id
  WHERE i.namespace = '{namespace}' AND i.ref = (
      SELECT ref FROM workflow_instances WHERE namespace = '{namespace}' ORDER BY version DESC, ref LIMIT 1)
  ORDER BY h.seq;

  -- what is due next
  SELECT i.ref, i.state, d.due_at FROM workflow_due d JOIN workflow_instances i ON i.id = d.instance_id
  WHERE i.namespace = '{namespace}' ORDER BY d.due_at LIMIT 10;"""  # noqa: S608


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'" if os.name != "nt" else f'"{text}"'
