"""What does the record say of one hop: what its commands answered and wrote, and what a caller gave?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from duraflow.codec import Codec, canonical_json
from duraflow.definition.resolve import Candidate
from duraflow.definition.workflow import Workflow
from duraflow.instance import NO_CHANGE, Change, CommandResult, HistoryEntry
from duraflow.machine.requests import Ran
from duraflow.rerun.verdicts import Raised, Unanswerable

Versions = Mapping[int, Workflow | None]
"""The definitions that governed the recorded history, by version; None for one that is not to be had."""


def declared_then(versions: Versions, entry: HistoryEntry) -> Mapping[str, Any] | None:
    """The context that the entered state declared when this was recorded; None when that cannot be told."""
    workflow = versions.get(entry.definition_version)
    state = workflow.resolved.get(entry.to_state) if workflow is not None else None
    return state.context if state is not None else None


def results_of(candidate: Candidate, entry: HistoryEntry) -> Ran:
    """What the commands of a transition answered, taken from a recorded entry by name.

    Raises:
        Unanswerable: the entry has no result of one of them.
        Raised: one raised then as a best-effort command, and is none here: everything would be rolled back.
    """
    pool: dict[str, list[CommandResult]] = {}
    for recorded in entry.commands:
        pool.setdefault(recorded.name, []).append(recorded)
    results: list[CommandResult] = []
    for ref in candidate.commands:
        if not pool.get(ref.name):
            raise Unanswerable("command", ref.name, f"the record has no result of the command {ref.name!r}")
        result = pool[ref.name].pop(0)
        results.append(result)
        if ref.best_effort:
            continue
        if result.status == "error":
            raise Raised(f"the command {ref.name!r} raised {result.code}: {result.message}")
        if result.status == "failure":
            return Ran(tuple(results), result)
    return Ran(tuple(results))


def written_of(ran: Ran, entry: HistoryEntry, versions: Versions, overlaid: Mapping[str, Any]) -> Change:
    """What the commands wrote to the context, without what the entered state declared.

    Args:
        overlaid: the context of the state that is entered now.

    Raises:
        Unanswerable: the entry does not say it.
    """
    if not entry.change:
        return NO_CHANGE
    change = entry.change
    if entry.entered:
        declared = declared_then(versions, entry)
        if declared is None:
            raise Unanswerable(
                "definition",
                str(entry.definition_version),
                f"what the commands wrote cannot be told without version {entry.definition_version}",
            )
        for key in declared:
            if key in change.set and key not in overlaid:
                raise Unanswerable(
                    "context", key, f"what the commands wrote to {key!r} was laid over by {entry.to_state!r}"
                )
        change = Change(
            {key: value for key, value in change.set.items() if key not in declared},
            tuple(key for key in change.unset if key not in declared),
        )
    ours = sorted(result.name for result in ran.results)
    theirs = sorted(result.name for result in entry.commands)
    if change and ours != theirs:
        left = sorted(set(theirs) - set(ours)) or theirs
        raise Unanswerable(
            "context",
            ", ".join(left),
            f"which part of the change was written by {', '.join(map(repr, left))} is not recorded",
        )
    return change


@attrs.frozen
class Given:
    """What a caller gave as context, as far as it can be told; `doubtful` are keys that may be the old state's own."""

    context: Mapping[str, Any]
    doubtful: tuple[str, ...]


def given_context(
    entry: HistoryEntry, versions: Versions, declares: Mapping[str, Any], codec: Codec
) -> Given:
    """What the caller of a creation, or of a forced move, gave over what the entered state declared.

    Args:
        declares: what the state that is entered now declares.
    """

    def same(mine: Mapping[str, Any], theirs: Mapping[str, Any], key: str) -> bool:
        texts = [
            canonical_json(codec.to_plain(side[key], path=f"context.{key}"))
            for side in (mine, theirs)
            if key in side
        ]
        return len(texts) == 2 and texts[0] == texts[1]

    then = declared_then(versions, entry)
    recorded = entry.change.set
    if then is None:
        # Any of it may have been declared; that matters where this state declares something else.
        doubtful = tuple(key for key in declares if key in recorded and not same(recorded, declares, key))
    else:
        doubtful = tuple(
            key for key in then if same(recorded, then, key) and not same(recorded, declares, key)
        )
    return Given({key: value for key, value in recorded.items() if key not in doubtful}, doubtful)
