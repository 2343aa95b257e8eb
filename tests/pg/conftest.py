"""What the tests of the PostgreSQL stores need beside a database."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from duraflow.testing.driver import Driver
from tests.pg.kit import execute, look


@attrs.frozen
class Notes:
    """An application's own table, as one test sees it."""

    dsn: str
    namespace: str

    async def write(self, connection: Any, text: str) -> None:
        """Add one, in the transaction of the connection."""
        await execute(connection, "INSERT INTO app_notes VALUES (%s, %s)", [self.namespace, text])

    def read(self) -> list[str]:
        """What is committed."""
        rows = look(self.dsn, "SELECT note FROM app_notes WHERE namespace = %s ORDER BY 1", [self.namespace])
        return [note for (note,) in rows]

    def command(self, driver: Driver, name: str = "paid") -> Any:
        """A command that adds one."""

        async def write_note(ctx: Any, runtime: Any) -> None:
            await self.write(ctx.connection, name)

        return driver.command(write_note)


@pytest.fixture
def notes(pg_dsn: str, namespace: str) -> Notes:
    """An application's table in the shared database."""
    look(pg_dsn, "CREATE TABLE IF NOT EXISTS app_notes (namespace text NOT NULL, note text NOT NULL)")
    return Notes(pg_dsn, namespace)
