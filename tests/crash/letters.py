"""An application's own table of letters, in memory and in PostgreSQL: what commands write to through a resource."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

import attrs
import psycopg

from duraflow import UnitResources
from duraflow.testing import EffectLedger

Key = tuple[UUID | None, str]


class Letters:
    """The resource: one letter for each command of each move."""

    async def write(self, key: Key) -> None:
        """Write a letter that belongs to the open transaction."""
        raise NotImplementedError


class Mailbox(Protocol):
    """Where letters end up."""

    def resource(self, unit: UnitResources) -> Letters:
        """Letters of one unit of work."""
        ...

    def found(self) -> list[Key]:
        """The letters that are there."""
        ...


# --- in memory ----------------------------------------------------------------------------------------------


@attrs.frozen
class _MemoryLetters(Letters):
    _ledger: Any

    async def write(self, key: Key) -> None:
        self._ledger.record(key)


class MemoryMailbox:
    """Letters in a ledger that rollbacks reach."""

    def __init__(self) -> None:
        self._ledger = EffectLedger()

    def resource(self, unit: UnitResources) -> Letters:
        return _MemoryLetters(self._ledger.in_transaction(unit))

    def found(self) -> list[Key]:
        return list(self._ledger.keys)  # type: ignore[arg-type]  # only letters are recorded in it


# --- PostgreSQL ---------------------------------------------------------------------------------------------


@attrs.frozen
class _PgLetters(Letters):
    _namespace: str
    _connection: Any

    async def write(self, key: Key) -> None:
        done = self._connection.execute(
            "INSERT INTO crash_letters (namespace, transition_id, command) VALUES (%s, %s, %s)",
            (self._namespace, *key),
        )
        if isinstance(self._connection, psycopg.AsyncConnection):
            await done


@attrs.frozen
class PgMailbox:
    """Letters in a table beside the workflow's."""

    dsn: str
    namespace: str

    def resource(self, unit: UnitResources) -> Letters:
        return _PgLetters(self.namespace, unit.connection)

    def found(self) -> list[Key]:
        with psycopg.connect(self.dsn) as connection:
            rows = connection.execute(
                "SELECT transition_id, command FROM crash_letters WHERE namespace = %s", (self.namespace,)
            )
            return [(row[0], row[1]) for row in rows]

    @staticmethod
    def prepare(dsn: str) -> None:
        """Make the table."""
        with psycopg.connect(dsn) as connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS crash_letters (namespace text, transition_id uuid, command text)"
            )
