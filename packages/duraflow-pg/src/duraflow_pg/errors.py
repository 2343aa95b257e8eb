"""What does an error of the server mean to a caller? Translated here, in one place."""

from __future__ import annotations

from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from duraflow.errors import DuraflowError, KeyTaken, LockTimeout, SchemaMismatch, StoreUnavailable
from duraflow_pg._psycopg import psycopg
from duraflow_pg.schema.check import remedy

RETRYABLE_STATES = frozenset(
    {
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "53300",  # too_many_connections
        "25006",  # read_only_sql_transaction: the connection leads to a standby; a new one may not
    }
)

KEYS = frozenset({"workflow_receipts_event", "workflow_receipts_creation"})
"""The unique indexes that say that a request with this key was done before."""


def is_broken(error: psycopg.Error) -> bool:
    """Whether the connection itself is gone, so that the answer to what was sent last is unknown."""
    state = error.sqlstate
    if state is None:
        # A plain DatabaseError is libpq's own word in place of an answer: "server closed the connection …".
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) or (
            type(error) is psycopg.DatabaseError
        )
    return state.startswith(("08", "57P0")) or state in ("25P03", "25P04")


def is_retryable(error: psycopg.Error) -> bool:
    """Whether the same work, from the start, may well succeed in a moment."""
    if isinstance(error, (PoolTimeout, PoolClosed, TooManyRequests)):
        return False
    state = error.sqlstate
    if state in ("25P03", "25P04"):
        return False
    return is_broken(error) or state in RETRYABLE_STATES


def translated(error: psycopg.Error, *, schema: str, outcome: str = "not_written") -> DuraflowError:
    """The error that callers of the runtime see. Raise it `from` the original."""
    state = error.sqlstate
    detail = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, PoolTimeout):
        return StoreUnavailable(
            f"no connection became free in the pool ({detail}); raise max_size or its timeout"
        )
    if isinstance(error, PoolClosed):
        return StoreUnavailable(
            "the connection pool is closed; start the runtime, or open the pool you gave it"
        )
    if isinstance(error, TooManyRequests):
        return StoreUnavailable("too many callers wait for a connection of the pool")
    if state == "23505" and error.diag.constraint_name in KEYS:
        return KeyTaken(error.diag.message_detail or detail)
    if state == "55P03":
        return LockTimeout(detail)
    if state == "57014":
        return StoreUnavailable(f"the statement took longer than the statement timeout ({detail})", outcome)
    if state == "25P03":
        return StoreUnavailable(
            "the transaction was idle for too long (a command that waits?) and was ended", outcome
        )
    if state in ("42P01", "42703", "3F000"):
        return SchemaMismatch(schema, detail, remedy(schema))
    if state == "42501":
        return SchemaMismatch(
            schema, f"the database role lacks a right ({detail})", "GRANT the missing right"
        )
    return StoreUnavailable(detail, outcome, is_retryable(error) and outcome == "not_written")
