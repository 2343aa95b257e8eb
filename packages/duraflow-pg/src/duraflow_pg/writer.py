"""How are steps written on PostgreSQL? One statement each, or one for many.

Inside a unit of work a move joins that transaction, and the last one commits it in the same trip. Outside, it is a
compare-and-set in a commit of its own; moves that wait at the same time are written together (see `grouping`). When the
answer to a commit is lost, the history entry is looked up before anything is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from duraflow.errors import DuraflowError, KeyTaken, StoreUnavailable
from duraflow.ports import UnitOfWork
from duraflow.writes import APPLIED, LOST, Answer, Failed, NudgeDue, Receipt, Writes
from duraflow_pg._psycopg import psycopg
from duraflow_pg.database import PgDatabase, Witness
from duraflow_pg.errors import is_broken, translated
from duraflow_pg.grouping import Grouping
from duraflow_pg.instances import PgInstanceStore
from duraflow_pg.moves import Statements, is_simple, lock_limit, many, one_creation, one_due_change, one_move
from duraflow_pg.receipts import PgReceiptStore
from duraflow_pg.statements import Row
from duraflow_pg.units import PgUnit

MAX_BATCH = 100


def witness_of(writes: Writes) -> Witness | None:
    """The last history entry of a step, if it has one."""
    if not writes.entries:
        return None
    entry = writes.entries[-1]
    return Witness(entry.instance_id, entry.seq, entry.attempt_id)


@attrs.frozen(eq=False)
class PgWriter:
    """`Writer` on PostgreSQL."""

    _database: PgDatabase
    _grouping: Grouping[Writes, Answer] | None = None
    _creating: Grouping[Writes, Answer] | None = None
    _instances: PgInstanceStore = attrs.field(
        init=False, default=attrs.Factory(lambda self: PgInstanceStore(self._database), takes_self=True)
    )
    _receipts: PgReceiptStore = attrs.field(
        init=False, default=attrs.Factory(lambda self: PgReceiptStore(self._database), takes_self=True)
    )
    _sql: Mapping[str, bytes] = attrs.field(
        init=False, default=attrs.Factory(lambda self: Statements(self._database.schema), takes_self=True)
    )
    _sql_alone: Mapping[str, bytes] = attrs.field(
        init=False,
        default=attrs.Factory(
            lambda self: Statements(
                self._database.schema, lock_limit(self._database.timeouts.lock), alone=True
            ),
            takes_self=True,
        ),
    )

    async def drain(self) -> None:
        """Wait for what is being written."""
        for grouping in (self._grouping, self._creating):
            if grouping is not None:
                await grouping.drain()

    async def apply(
        self, unit: UnitOfWork | None, writes: Sequence[Writes], /, *, last: bool = False
    ) -> Sequence[Answer]:
        if unit is not None:
            assert isinstance(unit, PgUnit)
            return await self._join(unit, writes, last=last)
        # Apart, because only creations wait for others: for whoever is about to take the same ref.
        grouping = self._creating if writes and writes[0].before is None else self._grouping
        if len(writes) == 1 and grouping is not None:
            return [await grouping.submit(writes[0], writes[0].after.id, self.write_alone)]
        return await self.write_alone(writes)

    # --- in a transaction ---------------------------------------------------------------------------------------

    async def _join(self, unit: PgUnit, writes: Sequence[Writes], *, last: bool) -> Sequence[Answer]:
        groups = self._grouped(writes)
        answers: dict[int, Answer] = {}
        for number, group in enumerate(groups):
            name, parameters = self._statement([writes[index] for index in group])
            # A creation that meets another leaves no row, so its commit must wait for the answer.
            final = last and number + 1 == len(groups) and writes[group[0]].before is not None
            unit.witness = witness_of(writes[group[-1]]) or unit.witness
            rows = await self._fetch_in(unit, self._sql[name], parameters, last=final)
            answers |= await self._answers(unit, writes, group, rows)
        return [answers[index] for index in range(len(writes))]

    async def _fetch_in(
        self, unit: PgUnit, statement: bytes, parameters: Mapping[str, Any], *, last: bool
    ) -> list[Row]:
        try:
            return await (unit.fetch_last if last else unit.fetch)(statement, parameters)
        except psycopg.Error as error:
            raise translated(error, schema=self._database.schema) from error

    async def _answers(
        self, unit: PgUnit | None, writes: Sequence[Writes], group: Sequence[int], rows: Sequence[Row]
    ) -> dict[int, Answer]:
        if len(rows) == len(group):
            return dict.fromkeys(group, APPLIED)
        if len(group) == 1 and not rows:
            return {group[0]: await self._missed(unit, writes[group[0]])}
        if len(rows) == 1 and rows[0] == ():
            return dict.fromkeys(group, APPLIED)
        written = {row[0] for row in rows}
        return {
            index: APPLIED if writes[index].after.id in written else await self._missed(unit, writes[index])
            for index in group
        }

    async def _missed(self, unit: PgUnit | None, writes: Writes) -> Answer:
        receipt = writes.receipt
        if receipt is not None and await self._is_taken(unit, receipt):
            return Failed(KeyTaken(f"{receipt.key!r} at {receipt.workflow or receipt.instance_id}"))
        if writes.before is not None:
            return LOST
        return Failed(await self._instances.conflict(unit, writes.after))

    async def _is_taken(self, unit: PgUnit | None, receipt: Receipt) -> bool:
        if receipt.workflow is None:
            return bool(await self._receipts.find(unit, [(receipt.instance_id, receipt.key)]))
        return bool(await self._receipts.find_creations(unit, [(receipt.workflow, receipt.key)]))

    def _grouped(self, writes: Sequence[Writes]) -> list[list[int]]:
        """Which writes go into one statement: creations together, moves together, an instance once in each."""
        if len(writes) == 1:
            return [[0]]
        groups: list[tuple[bool, set[object], list[int]]] = []
        for index, one in enumerate(writes):
            alone = not one.entries or isinstance(one.due, NudgeDue)
            new = one.before is None
            if groups and not alone:
                kind, ids, members = groups[-1]
                if kind is new and one.after.id not in ids and len(members) < MAX_BATCH and None not in ids:
                    ids.add(one.after.id)
                    members.append(index)
                    continue
            groups.append((new, {one.after.id, None} if alone else {one.after.id}, [index]))
        return [members for _, _, members in groups]

    def _statement(self, batch: Sequence[Writes]) -> tuple[str, Mapping[str, Any]]:
        codec, namespace = self._database.codec, self._database.namespace
        one = batch[0]
        if len(batch) == 1:
            if not one.entries:
                return one_due_change(one, namespace)
            if one.before is None and len(one.entries) == 1 and one.after.continuation is None:
                return one_creation(one, codec, namespace)
            if is_simple(one):
                return one_move(one, codec, namespace)
        return many(batch, codec, namespace, new=one.before is None)

    # --- each in a commit of its own, or several in one -----------------------------------------------------------

    async def write_alone(self, writes: Sequence[Writes]) -> Sequence[Answer]:
        """Write outside any transaction; a failure of one is that one's answer, never another's."""
        answers: dict[int, Answer] = {}
        for group in self._grouped(writes):
            try:
                found = await self._commit_group(writes, group)
            except StoreUnavailable as error:
                # No connection was to be had: it would be the same for each, after as long a wait each.
                found = dict.fromkeys(group, Failed(error))
            except (psycopg.Error, DuraflowError) as error:
                if len(group) == 1:
                    found = {group[0]: Failed(self._as_told(error))}
                else:
                    # The statement failed as a whole: each member is tried by itself.
                    found = {index: (await self.write_alone([writes[index]]))[0] for index in group}
            answers |= found
        if any(answer is APPLIED for answer in answers.values()):
            self._database.told()
        return [answers[index] for index in range(len(writes))]

    async def _commit_group(self, writes: Sequence[Writes], group: Sequence[int]) -> dict[int, Answer]:
        name, parameters = self._statement([writes[index] for index in group])
        database = self._database
        try:
            rows = await database.run_alone(self._sql_alone[name], parameters)
        except psycopg.Error as error:
            if not is_broken(error):
                raise
            return await self._look_all_up(writes, group, error)
        return await self._answers(None, writes, group, rows)

    def _as_told(self, error: psycopg.Error | DuraflowError) -> DuraflowError:
        if isinstance(error, DuraflowError):
            return error
        told = translated(error, schema=self._database.schema)
        told.__cause__ = error
        return told

    async def _look_all_up(
        self, writes: Sequence[Writes], group: Sequence[int], error: psycopg.Error
    ) -> dict[int, Answer]:
        """Look each up, because a batch passes over what someone else holds; not on after the server is gone."""
        found: dict[int, Answer] = {}
        gone: Failed | None = None
        for index in group:
            found[index] = answer = gone or await self._looked_up(writes[index], error)
            if isinstance(answer, Failed) and getattr(answer.error, "outcome", "") == "unknown":
                gone = answer
        return found

    async def _looked_up(self, writes: Writes, error: psycopg.Error) -> Answer:
        """Whether a write whose answer was lost has taken effect."""
        witness = witness_of(writes)
        failed = Failed(translated(error, schema=self._database.schema))
        if witness is None:
            # Only a due row: writing it again is the same.
            return failed
        try:
            if writes.before is None:
                # No row to wait on may exist yet: the same insertion waits for, or does, what the lost one did.
                answer = (await self.write_alone([writes]))[0]
                if isinstance(answer, Failed) and isinstance(answer.error, StoreUnavailable):
                    # Not even that was to be had. It must not say that nothing is written: the lost one may be.
                    await self._database.committed(witness)
                    answer = (await self.write_alone([writes]))[0]
                    if isinstance(answer, Failed) and isinstance(answer.error, StoreUnavailable):
                        return Failed(StoreUnavailable(answer.error.detail, "unknown"))
                taken = isinstance(answer, Failed) and not isinstance(answer.error, StoreUnavailable)
                return APPLIED if taken and await self._database.committed(witness) else answer
            return APPLIED if await self._database.committed(witness) else failed
        except StoreUnavailable as unknown:
            return Failed(unknown)
