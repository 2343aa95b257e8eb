"""Are positions ahead of the server, as after a restore into a new one, and how are they mended?

A position is a transaction id. A server into which a dump was restored counts from its own beginning: to it, what the
dump brought along lies in the future, and a feed would wait for it. Where the server is not far behind, its counter is
moved on, and nothing else changes. Else positions are written anew in their order, from the lowest: the first of them
becomes the current transaction id, the next the one after it, and then the counter is moved past them. So no position
grows, what is done stays below what is not, and it can be broken off anywhere and run again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from duraflow.errors import Misuse
from duraflow.runtime.drive import drive
from duraflow_pg._psycopg import psycopg
from duraflow_pg.schema.names import check_schema_name
from duraflow_pg.schema.sessions import async_session, blocking_session
from duraflow_pg.statements import compiled

if TYPE_CHECKING:
    from typing import LiteralString

    from duraflow_pg.schema.sessions import Session

CATCH_UP: Final = 10_000_000
"""How far the counter is moved on rather than that positions change: half a minute, at 300,000 a second as measured."""

BATCH: Final = 1_000
"""How many history entries are written anew in one transaction, and all others of the last one's transaction."""

_STEP: Final = 100_000
_LOCK_KEY: Final = 7_133_912_404_150_823_001
_LAST: Final = str(2**64 - 1)


def positions_problem(target: str | psycopg.Connection[Any], *, schema: str = "public") -> str | None:
    """What is wrong with positions, and what to do; None when nothing is. It only reads, and only the ends of indexes.

    Args:
        target: a DSN, or an open connection with no transaction in progress.
        schema: where the tables are.

    Raises:
        InvalidArgument: the DSN or the schema's name cannot be used.
        Misuse: the connection is inside a transaction.
        StoreUnavailable: no connection could be made.
        psycopg.Error: the server refused, because the tables are missing, say.
    """
    check_schema_name(schema)
    with blocking_session(target) as session:
        return drive(_problem(session, schema))


async def positions_problem_async(
    target: str | psycopg.AsyncConnection[Any], *, schema: str = "public"
) -> str | None:
    """As `positions_problem`, on asyncio."""
    check_schema_name(schema)
    async with async_session(target) as session:
        return await _problem(session, schema)


def reset_positions(
    target: str | psycopg.Connection[Any],
    *,
    schema: str = "public",
    batch: int = BATCH,
    catch_up: int = CATCH_UP,
) -> int:
    """Bring positions that lie ahead of the server's transaction counter back behind it, in their order.

    Run it after a restore, before the application starts. Positions are changed only where the counter would have to be
    moved by more than `catch_up`; saved cursors of feeds stay good if they are not. Otherwise each is refused, once, by
    `changes`: its consumer begins anew, and knows by (instance, seq) what it has had. Handlers of messages keep their
    place. Where nothing is ahead it only reads.

    Args:
        target: a DSN, or an open connection in autocommit with no transaction in progress.
        schema: where the tables are; all namespaces in it.
        batch: about how many history entries are written in one transaction.
        catch_up: how many transaction ids may be used up to leave positions as they are.

    Returns:
        How many history entries have another position now.

    Raises:
        InvalidArgument: the DSN or the schema's name cannot be used.
        Misuse: the connection is inside a transaction, or not in autocommit.
        StoreUnavailable: no connection could be made.
        psycopg.Error: the server refused, for want of a right, say. What was done stays; run it again.
    """
    check_schema_name(schema)
    with blocking_session(target) as session:
        return drive(_reset(session, schema, batch, catch_up))


async def reset_positions_async(
    target: str | psycopg.AsyncConnection[Any],
    *,
    schema: str = "public",
    batch: int = BATCH,
    catch_up: int = CATCH_UP,
) -> int:
    """As `reset_positions`, on asyncio."""
    check_schema_name(schema)
    async with async_session(target) as session:
        return await _reset(session, schema, batch, catch_up)


# --- looking ----------------------------------------------------------------------------------------------------


async def _ahead(session: Session, schema: str) -> tuple[int, dict[str, int]]:
    """The next transaction id, and the highest position ahead of it in each namespace that has one."""
    async with session.transaction():
        rows = await _rows(session, _AHEAD, schema)
    tops: dict[str, int] = {}
    for _, namespace, position in rows:
        if namespace is not None:
            tops[namespace] = max(int(position), tops.get(namespace, 0))
    return int(rows[0][0]), tops


async def _problem(session: Session, schema: str) -> str | None:
    counter, tops = await _ahead(session, schema)
    if not tops:
        return None
    names = ", ".join(map(repr, sorted(tops)[:5]))
    return (
        f"positions go up to {max(tops.values()):,}, and this server's transaction counter is at {counter:,} "
        f"(namespace {names}): the database was restored into a new server, whose feeds and messages wait for it to "
        "come there; run `reset_positions` (duraflow db check --reset-positions) before the application starts"
    )


# --- mending ----------------------------------------------------------------------------------------------------


async def _reset(session: Session, schema: str, batch: int, catch_up: int) -> int:
    if not session.autocommit:
        raise Misuse(
            "the connection is not in autocommit", "set `connection.autocommit = True`, or give a DSN"
        )
    changed = 0
    while True:
        counter, tops = await _ahead(session, schema)
        if not tops:
            break
        top = max(tops.values())
        if top - counter < catch_up:
            await _move_counter(session, top + 1)
            break
        namespace = min(tops)
        entries, reached = await _one_batch(session, schema, namespace, batch)
        changed += entries
        await _move_counter(session, reached)
    # A row's position is that of its last entry, but for what was edited by hand.
    await _rows(session, _STRAY, schema)
    return changed


async def _one_batch(session: Session, schema: str, namespace: str, size: int) -> tuple[int, int]:
    """Give the lowest positions ahead new values: how many entries have one, and the first id after all of them."""
    async with session.transaction():
        # Whatever the default is: each statement is to see what is there when it begins.
        await session.run("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        # One at a time: two would use up twice the ids.
        await session.rows("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _LOCK_KEY})
        # The id first, and then, in a newer snapshot, what is ahead: so all of that lies above the id.
        ((own,),) = await session.rows("SELECT pg_current_xact_id()::text")
        parameters: dict[str, Any] = {"namespace": namespace, "size": size}
        ((counter, end),) = await _rows(session, _END, schema, parameters)
        parameters |= {"own": own, "counter": counter, "end": end or _LAST}
        ((places, entries),) = await _rows(session, _MOVE, schema, parameters)
    return entries, int(own) + int(places)


async def _move_counter(session: Session, to: int) -> None:
    """Use up transaction ids until the next one is `to`, or a later one. No commit of these waits for the disk."""
    while True:
        ((current,),) = await session.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())::text")
        left = to - int(current)
        if left <= 0:
            return
        await session.run(
            f"DO $$ BEGIN FOR n IN 1..{min(left, _STEP)} LOOP "
            "PERFORM pg_catalog.pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )


async def _rows(
    session: Session, template: LiteralString, schema: str, parameters: dict[str, Any] | None = None
) -> list[tuple[Any, ...]]:
    # Parameters also where there are none: a percent sign in a name is written twice.
    return await session.rows(_compiled(template, schema), parameters or {})


def _compiled(template: LiteralString, schema: str) -> psycopg.sql.SQL:
    return psycopg.sql.SQL(compiled(template, schema).decode())


# A handler that begins at the end of the feed stands at the counter itself, which is not ahead.
_AHEAD: LiteralString = """
WITH spaces AS MATERIALIZED (
    SELECT d.namespace FROM {definitions} d UNION SELECT a.namespace FROM {outbox_handlers} a
), tops AS (
    SELECT s.namespace, t.position FROM spaces s CROSS JOIN LATERAL (
        (SELECT h.position FROM {history} h WHERE h.namespace = s.namespace ORDER BY h.position DESC LIMIT 1)
        UNION ALL
        (SELECT o.position FROM {outbox} o WHERE o.namespace = s.namespace ORDER BY o.position DESC LIMIT 1)
    ) t
    WHERE t.position >= pg_snapshot_xmax(pg_current_snapshot())
    UNION ALL
    SELECT a.namespace, a.position FROM {outbox_handlers} a
    WHERE a.position > pg_snapshot_xmax(pg_current_snapshot())
)
SELECT pg_snapshot_xmax(pg_current_snapshot())::text, t.namespace, t.position::text
FROM (VALUES (1)) AS one (row) LEFT JOIN tops t ON true
"""

_END: LiteralString = """
SELECT pg_snapshot_xmax(pg_current_snapshot())::text, (
    SELECT l.position::text FROM (
        SELECT h.position FROM {history} h
        WHERE h.namespace = %(namespace)s AND h.position >= pg_snapshot_xmax(pg_current_snapshot())
        ORDER BY h.position LIMIT %(size)s
    ) l ORDER BY l.position DESC LIMIT 1
)
"""

# All rows of one old position get the same new one. Instances are locked in order, as by every batch of moves.
_MOVE: LiteralString = """
WITH ahead AS MATERIALIZED (
    SELECT h.position FROM {history} h WHERE h.namespace = %(namespace)s
        AND h.position >= %(counter)s::text::xid8 AND h.position <= %(end)s::text::xid8
    UNION SELECT o.position FROM {outbox} o WHERE o.namespace = %(namespace)s
        AND o.position >= %(counter)s::text::xid8 AND o.position <= %(end)s::text::xid8
    UNION SELECT a.position FROM {outbox_handlers} a WHERE a.namespace = %(namespace)s
        AND a.position > %(counter)s::text::xid8 AND a.position <= %(end)s::text::xid8
), place AS MATERIALIZED (
    SELECT a.position AS old,
        (%(own)s::text::numeric + row_number() OVER (ORDER BY a.position) - 1)::text::xid8 AS new
    FROM ahead a
), held AS MATERIALIZED (
    SELECT i.id, p.old, p.new FROM {instances} i
    JOIN place p ON p.old = i.position
    WHERE i.id IN (
        SELECT h.instance_id FROM {history} h JOIN place q ON q.old = h.position
        WHERE h.namespace = %(namespace)s
    )
    ORDER BY i.id FOR NO KEY UPDATE OF i
), instances_moved AS (
    UPDATE {instances} i SET position = k.new FROM held k WHERE i.id = k.id AND i.position = k.old
), history_moved AS (
    UPDATE {history} h SET position = p.new FROM place p
    WHERE h.namespace = %(namespace)s AND h.position = p.old RETURNING 1
), outbox_moved AS (
    UPDATE {outbox} o SET position = p.new FROM place p WHERE o.namespace = %(namespace)s AND o.position = p.old
), handlers_moved AS (
    UPDATE {outbox_handlers} a SET position = p.new FROM place p
    WHERE a.namespace = %(namespace)s AND a.position = p.old
)
SELECT (SELECT count(*) FROM place), (SELECT count(*) FROM history_moved)
"""

_STRAY: LiteralString = """
WITH mended AS (
    UPDATE {instances} i SET position = coalesce(
        (SELECT h.position FROM {history} h WHERE h.instance_id = i.id ORDER BY h.seq DESC LIMIT 1),
        pg_current_xact_id()
    )
    WHERE i.position >= pg_snapshot_xmax(pg_current_snapshot())
    RETURNING 1
)
SELECT count(*) FROM mended
"""
