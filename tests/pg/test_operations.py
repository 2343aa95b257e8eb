"""Do the roles of docs/operations.md have what they need, and no more? And do its queries run?"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any, LiteralString

import attrs
import psycopg
import pytest

from duraflow import NewInstance, Runtime, State, Transition, Workflow
from duraflow_pg import PgPersistence, migrate
from tests.docs.pages import Block, page

pytestmark = pytest.mark.pg

SQL = [block for block in page("docs/operations.md").blocks if block.language == "sql"]
ROLES = ("duraflow_migrator", "duraflow_application", "duraflow_reader")


def post(ctx: Any) -> None:
    """Leaves a message."""
    ctx.emit("posted", {"ref": ctx.instance.ref})


ORDER = Workflow(
    name="order",
    initial="open",
    states=[
        State("open", [Transition("post", target="posted", commands=[post])]),
        State("posted", [Transition("close", target="closed")]),
        State("closed"),
    ],
)


@attrs.frozen
class Roles:
    """The three roles, under names of this test's own."""

    admin: str
    suffix: str

    def dsn(self, role: str) -> str:
        """How this role connects."""
        return psycopg.conninfo.make_conninfo(self.admin, user=f"{role}_{self.suffix}")

    def run(self, dsn: str, block: Block) -> None:
        """Run a block of the page, with the names of this test."""
        text = block.code
        for role in ROLES:
            text = text.replace(role, f"{role}_{self.suffix}")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(text.encode())


@pytest.fixture
def roles(empty_pg_dsn: str) -> Iterator[Roles]:
    """Everything that the page says, done in its order."""
    made = Roles(empty_pg_dsn, uuid.uuid4().hex[:8])
    create, defaults, revoke, monitor = (
        next(block for block in SQL if block.code.startswith(start))
        for start in ("CREATE ROLE", "ALTER DEFAULT", "REVOKE", "GRANT pg_monitor")
    )
    made.run(made.admin, create)
    migrator = made.dsn("duraflow_migrator")
    made.run(migrator, defaults)
    migrate(migrator)
    made.run(migrator, revoke)
    made.run(made.admin, monitor)
    yield made
    with psycopg.connect(made.admin, autocommit=True) as connection:
        for role in ROLES:
            name = psycopg.sql.Identifier(f"{role}_{made.suffix}")
            connection.execute(psycopg.sql.SQL("DROP OWNED BY {} CASCADE").format(name))
            connection.execute(psycopg.sql.SQL("DROP ROLE {}").format(name))


def test_the_application_can_do_its_work(roles: Roles) -> None:
    """Create, fire with keys and messages, sweep, delete: with the rights of the page."""
    persistence = PgPersistence.from_dsn(roles.dsn("duraflow_application"))
    with Runtime(workflows=[ORDER], persistence=persistence) as runtime:
        one = runtime.create("order", {"n": 1}, ref="A", key="k")
        runtime.create_many([NewInstance("order"), NewInstance("order")])
        assert runtime.fire(one, "post", key="p") == runtime.fire(one, "post", key="p")
        runtime.fire_due_timers()
        runtime.fire(one, "close")
        assert runtime.delete(one).id == one.id
        assert runtime.health().ok


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("duraflow_application", "UPDATE workflow_history SET event = 'x'"),
        ("duraflow_application", "DELETE FROM workflow_history"),
        ("duraflow_application", "DELETE FROM workflow_definitions"),
        ("duraflow_application", "INSERT INTO schema_migrations VALUES ('x')"),
        ("duraflow_application", "DROP TABLE workflow_due"),
        ("duraflow_application", "CREATE TABLE mine (n int)"),
        ("duraflow_reader", "UPDATE workflow_instances SET state = 'x'"),
        (
            "duraflow_reader",
            "INSERT INTO workflow_due (instance_id, namespace) VALUES (gen_random_uuid(), 'x')",
        ),
        ("duraflow_reader", "SELECT 1 FROM workflow_instances FOR NO KEY UPDATE"),
    ],
)
def test_nobody_can_do_more(roles: Roles, role: str, statement: LiteralString) -> None:
    """What the page takes away, or never gave."""
    with (
        psycopg.connect(roles.dsn(role), autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_the_reader_can_read(roles: Roles) -> None:
    """All tables, and the sessions of others."""
    with psycopg.connect(roles.dsn("duraflow_reader"), autocommit=True) as connection:
        for (table,) in connection.execute(
            "SELECT tablename FROM pg_tables WHERE tablename LIKE 'workflow%'"
        ).fetchall():
            connection.execute(
                psycopg.sql.SQL("SELECT * FROM {} LIMIT 1").format(psycopg.sql.Identifier(table))
            )


@pytest.mark.parametrize(
    "block",
    [block for block in SQL if block.code.startswith("SELECT")],
    ids=lambda block: f"line {block.line}",
)
def test_queries_run(pg_dsn: str, block: Block) -> None:
    """On any server."""
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute(block.code.encode())
