"""What came of pruning and of importing?"""

from __future__ import annotations

from uuid import UUID

import attrs


@attrs.frozen
class PruneResult:
    """What a pruning took out, up to now: given to `on_progress` after each batch, and returned at the end.

    Attributes:
        instances: finished instances, with everything that belongs to them.
        entries: history entries that went with them.
        receipts: by their own age; those that went with instances are not counted again. So are `messages`.
        waiting: finished instances, old enough, that stay because a handler has not had all of their messages.
        complete: whether everything has been looked at; False when a limit ended it.
        dry_run: nothing was taken out, only counted.
    """

    instances: int = 0
    entries: int = 0
    receipts: int = 0
    messages: int = 0
    waiting: int = 0
    complete: bool = True
    dry_run: bool = False


@attrs.frozen
class Skipped:
    """An instance of an export that is there already, and was left alone.

    Attributes:
        line: its line in the export, counted from 1.
        instance_id: its id in the export.
        holder: the instance that has its id, its ref, or the key under which it was created.
    """

    line: int
    workflow: str
    ref: str | None
    instance_id: UUID
    holder: UUID | None


@attrs.frozen
class ImportResult:
    """What an import wrote.

    Attributes:
        instances: instances, with their whole history.
        entries: history entries.
        definitions: versions of workflows that were not known before.
        skipped: how many instances were there already.
        skips: the first hundred of them.
        orphaned: instances whose parent is not here; they have none now.
        complete: whether the last line of the export was there; else it was cut short, or is a part of one.
    """

    instances: int = 0
    entries: int = 0
    definitions: int = 0
    skipped: int = 0
    skips: tuple[Skipped, ...] = ()
    orphaned: int = 0
    complete: bool = False
