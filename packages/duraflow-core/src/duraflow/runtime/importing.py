"""How do instances come in from an export: checked one by one, and written whole or not at all?"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.serial import difference
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    AlreadyExists,
    DuraflowError,
    ImportRefused,
    InvalidArgument,
    KeyTaken,
    StoreUnavailable,
)
from duraflow.exports import read_definition, read_instance, read_line
from duraflow.ports.retention import Whole
from duraflow.retention import ImportResult, Skipped
from duraflow.runtime.engine import Engine
from duraflow.runtime.incoming import Read, read_whole
from duraflow.writes import Failed

BATCH = 100
"""How many instances are written together, at most."""

ENTRIES = 2_000
"""How many history entries are held at once, unless one instance alone has more."""

MAX_SKIPS = 100
"""How many of the skipped are named in the result."""


@attrs.define(eq=False)
class Importer:
    """One import: takes lines, and writes what they say in batches."""

    _engine: Engine
    _skip: bool
    _delivered: bool
    result: ImportResult = attrs.field(factory=ImportResult)
    _number: int = 0
    _headed: bool = False
    _batch: list[Read] = attrs.field(factory=list)
    _versions: dict[tuple[str, int], Workflow | None] = attrs.field(factory=dict)
    _seen: int = 0

    async def take(self, text: object) -> None:
        """One line.

        Raises:
            ImportRefused: it cannot be taken in.
        """
        self._number += 1
        if isinstance(text, str) and not text.strip():
            return
        try:
            await self._take(text)
        except (InvalidArgument, OverflowError) as error:
            reason = error.reason if isinstance(error, InvalidArgument) else str(error)
            raise await self._refusal(self._number, reason) from error

    async def _take(self, text: object) -> None:
        line = read_line(text)
        match line["type"]:
            case "header":
                self._headed = True
                self.result = attrs.evolve(self.result, complete=False)
                self._seen = 0
                return
            case _ if not self._headed:
                raise InvalidArgument(
                    "line", "there is no header before it; give an export from its first line"
                )
            case "definition":
                await self._define(read_definition(line))
            case "instance":
                whole = read_instance(line, self._engine.persistence.namespace)
                self._batch.append(await self._read(whole))
                self._seen += 1
                entries = sum(len(one.writes.entries) for one in self._batch)
                if len(self._batch) >= BATCH or entries >= ENTRIES:
                    await self.flush()
            case _:
                if line.get("instances") != self._seen:
                    raise InvalidArgument(
                        "line",
                        f"the export had {line.get('instances')!r} instances, but here are {self._seen}",
                    )
                self.result = attrs.evolve(self.result, complete=True)

    async def _refusal(self, line: int, reason: str) -> ImportRefused:
        """The error for a line, after what came before it is written."""
        await self.flush()
        return ImportRefused(line, reason, self.result.instances)

    # --- definitions --------------------------------------------------------------------------------------------

    async def _define(self, workflow: Workflow) -> None:
        """Keep a definition. One that is known must be the same."""
        key = (workflow.name, workflow.version)
        known = await self._version(*key)
        if known is not None and known.hash != workflow.hash:
            raise InvalidArgument(
                "line",
                f"workflow {workflow.name!r} version {workflow.version} is known here with other content "
                f"({difference(known.to_json(), workflow.to_json())})",
            )
        if known is None:
            self.result = attrs.evolve(self.result, definitions=self.result.definitions + 1)
        self._versions[key] = workflow
        store = self._engine.persistence.definitions
        if store is not None:
            stored = await self._engine.retrying(lambda: store.register([workflow]))
            for snapshot in stored.values():
                raise InvalidArgument(
                    "line",
                    f"workflow {workflow.name!r} version {workflow.version} is kept here with other content "
                    f"({difference(dict(snapshot), workflow.to_json())})",
                )

    async def _version(self, name: str, version: int) -> Workflow | None:
        """A version of a workflow as it is known here; None if it is not."""
        key = (name, version)
        if key not in self._versions:
            found = self._engine.definitions.by_version.get(key)
            store = self._engine.persistence.definitions
            if found is None and store is not None:
                snapshot = await self._engine.retrying(lambda: store.load(None, name, version))
                found = None if snapshot is None else Workflow.from_json(snapshot)
            self._versions[key] = found
        return self._versions[key]

    # --- instances ----------------------------------------------------------------------------------------------

    async def _read(self, whole: Whole) -> Read:
        """The values of a line, if they belong together.

        Raises:
            InvalidArgument: they do not.
        """
        name = whole.instance["workflow"]
        governing = whole.instance["definition_version"]
        # What governs it must be known here; what once governed it may be gone.
        if await self._version(name, governing) is None:
            raise InvalidArgument(
                "line",
                f"version {governing} of workflow {name!r} is not known here, and no line before says what it is",
            )
        versions = {
            (name, version): found
            for version in {governing, *(entry["definition_version"] for entry in whole.entries)}
            if (found := await self._version(name, version)) is not None
        }
        return read_whole(self._number, whole, versions, self._engine.codec, delivered=self._delivered)

    async def flush(self) -> None:
        """Write what was read.

        Raises:
            ImportRefused: one of them is here already, and that is to fail.
        """
        batch, self._batch = self._batch, []
        while batch:
            # Parents first: whether one of them is refused decides what becomes of its children.
            ids = {one.instance.id for one in batch}
            turn = [one for one in batch if one.instance.parent_id not in ids] or batch
            done = {one.line for one in turn}
            batch = [one for one in batch if one.line not in done]
            await self._write(await self._parented(turn))

    async def _parented(self, batch: Sequence[Read]) -> list[Read]:
        """These, without parents that are not here."""
        parents = {one.instance.parent_id for one in batch if one.instance.parent_id is not None}
        if not parents:
            return list(batch)
        keys: list[Any] = list(parents)
        instances = self._engine.persistence.instances
        found = await self._engine.retrying(lambda: instances.get_many(None, keys, clock=None))
        kept: list[Read] = []
        for one in batch:
            parent = one.instance.parent_id
            if parent is not None and parent not in found:
                orphan = attrs.evolve(one.instance, parent_id=None)
                one = attrs.evolve(one, writes=attrs.evolve(one.writes, after=orphan))
                self.result = attrs.evolve(self.result, orphaned=self.result.orphaned + 1)
            kept.append(one)
        return kept

    async def _write(self, batch: Sequence[Read]) -> None:
        together = [one for one in batch if not one.receipts]
        conflicts: list[tuple[Read, DuraflowError]] = []
        refused: list[tuple[Read, DuraflowError]] = []
        written: list[Read] = []

        async def attempt() -> None:
            left = [one for one in together if one not in written]
            answers = await self._engine.writer.apply(None, [one.writes for one in left])
            again: StoreUnavailable | None = None
            for one, answer in zip(left, answers, strict=True):
                error = answer.error if isinstance(answer, Failed) else None
                if error is None:
                    written.append(one)
                elif isinstance(error, (AlreadyExists, KeyTaken)):
                    together.remove(one)
                    conflicts.append((one, error))
                elif isinstance(error, StoreUnavailable) and error.retryable:
                    again = error
                else:
                    refused.append((one, error))
            if again is not None and not refused:
                raise again

        try:
            if together:
                await self._engine.retrying(attempt)
            for one in batch:
                if one.receipts:
                    try:
                        await self._engine.in_work(None, lambda work, one=one: self._write_one(work, one))  # type: ignore[misc]
                        written.append(one)
                    except (AlreadyExists, KeyTaken) as error:
                        conflicts.append((one, error))
        finally:
            self.result = attrs.evolve(
                self.result,
                instances=self.result.instances + len(written),
                entries=self.result.entries + sum(len(one.writes.entries) for one in written),
            )
        for one, failure in refused:
            if isinstance(failure, StoreUnavailable) and failure.outcome == "unknown":
                raise failure
            raise ImportRefused(one.line, str(failure), self.result.instances) from failure
        for one, conflict in sorted(conflicts, key=lambda found: found[0].line):
            await self._conflict(one, conflict)

    async def _write_one(self, work: Any, one: Read) -> None:
        """One with several receipts, of which a write takes only one."""
        (answer,) = await self._engine.writer.apply(work.unit, (one.writes,))
        if isinstance(answer, Failed):
            raise answer.error
        store = self._engine.persistence.receipts
        assert store is not None  # it has kept the first one
        for receipt in one.receipts:
            await store.add(work.unit, receipt)

    async def _conflict(self, one: Read, error: DuraflowError) -> None:
        instance = one.instance
        holder = error.instance_id if isinstance(error, AlreadyExists) else await self._holder(one)
        if not self._skip:
            raise ImportRefused(
                one.line,
                f"instance {instance.id} cannot come in: {error}",
                self.result.instances,
            ) from error
        skips = self.result.skips
        if len(skips) < MAX_SKIPS:
            skips += (Skipped(one.line, instance.workflow, instance.ref, instance.id, holder),)
        self.result = attrs.evolve(self.result, skipped=self.result.skipped + 1, skips=skips)

    async def _holder(self, one: Read) -> UUID | None:
        """Who was created under one of the keys of an instance."""
        store = self._engine.persistence.receipts
        receipts = [one.writes.receipt, *one.receipts]
        keys = [(r.workflow, r.key) for r in receipts if r is not None and r.workflow is not None]
        found = await store.find_creations(None, keys) if store is not None and keys else {}
        return next((receipt.instance_id for receipt in found.values()), None)


def importer(engine: Engine, on_conflict: object, messages: object) -> Importer:
    """An import, its arguments checked.

    Raises:
        InvalidArgument: one of them cannot be used.
    """
    if on_conflict not in ("fail", "skip"):
        raise InvalidArgument("on_conflict", f"{on_conflict!r} is neither 'fail' nor 'skip'")
    if messages not in ("undelivered", "all"):
        raise InvalidArgument("messages", f"{messages!r} is neither 'undelivered' nor 'all'")
    engine.check_usable(None)
    return Importer(engine, on_conflict == "skip", messages == "all")


async def import_lines(
    engine: Engine, lines: Iterable[str] | AsyncIterable[str], on_conflict: object, messages: object
) -> ImportResult:
    """See `Runtime.import_`."""
    taking = importer(engine, on_conflict, messages)
    async for line in _each(lines, suspends=engine.waits.suspends):
        await taking.take(line)
    await taking.flush()
    return taking.result


def _each(lines: Any, *, suspends: bool) -> AsyncIterator[str]:
    if isinstance(lines, (str, bytes)):
        raise InvalidArgument(
            "lines", "it is one text; give its lines, such as an open file or `text.splitlines()`"
        )
    if isinstance(lines, AsyncIterable):
        if not suspends:
            raise InvalidArgument("lines", "it is an async iterable; use AsyncRuntime, or give a plain one")
        return aiter(lines)
    if not isinstance(lines, Iterable):
        raise InvalidArgument("lines", f"{lines!r} gives no lines")
    return _Plainly(iter(lines))


@attrs.frozen
class _Plainly(AsyncIterator[str]):
    """A plain iterator as an asynchronous one, which never suspends and needs no closing."""

    _lines: Iterator[str]

    async def __anext__(self) -> str:
        for line in self._lines:
            return line
        raise StopAsyncIteration
