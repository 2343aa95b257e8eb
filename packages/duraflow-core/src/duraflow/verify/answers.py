"""Which answers can the guards of a choice give together?

A guard is pure, so while nothing that it sees changes it gives one answer however often it is asked. What is known of
that is a mapping from questions to yes or no; a question is a guard's name, with its metadata if it has any.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from duraflow.definition.resolve import Candidate
from duraflow.definition.values import AllOf, AnyOf, Guard, GuardRef, Not, guard_refs

Answers = Mapping[str, bool]
"""Answers by question."""


def question(name: str, metadata: Mapping[str, Any]) -> str:
    """What is asked: two references to one guard with other metadata are two questions."""
    if not metadata:
        return name
    return f"{name} {json.dumps(dict(metadata), sort_keys=True, ensure_ascii=False)}"


def questions(candidates: Iterable[Candidate]) -> frozenset[str]:
    """Everything that these transitions may ask."""
    return frozenset(question(r.name, r.metadata) for c in candidates for r in guard_refs(c.guard))


def holds(guard: Guard | None, known: Answers) -> Iterator[tuple[Answers, bool]]:
    """Every way in which a guard can turn out, as (what is known then, whether it holds), yes first."""
    match guard:
        case None:
            yield known, True
        case GuardRef():
            asked = question(guard.name, guard.metadata)
            if asked in known:
                yield known, known[asked]
            else:
                yield {**known, asked: True}, True
                yield {**known, asked: False}, False
        case Not(part):
            for then, answer in holds(part, known):
                yield then, not answer
        case AllOf(parts):
            yield from _until(parts, known, stop_at=False)
        case AnyOf(parts):
            yield from _until(parts, known, stop_at=True)


def _until(parts: tuple[Guard, ...], known: Answers, *, stop_at: bool) -> Iterator[tuple[Answers, bool]]:
    """Parts in order, up to the first that settles it: the others then may answer as they like."""
    if not parts:
        yield known, not stop_at
        return
    for then, answer in holds(parts[0], known):
        if answer is stop_at:
            yield then, answer
        else:
            yield from _until(parts[1:], then, stop_at=stop_at)


def choices(candidates: tuple[Candidate, ...], known: Answers) -> Iterator[tuple[Answers, int | None]]:
    """Every way in which a choice can turn out, as (what is known then, which candidate is taken; None if none is)."""
    yield from _choices(candidates, 0, known)


def _choices(
    candidates: tuple[Candidate, ...], index: int, known: Answers
) -> Iterator[tuple[Answers, int | None]]:
    if index == len(candidates):
        yield known, None
        return
    for then, answer in holds(candidates[index].guard, known):
        if answer:
            yield then, index
        else:
            yield from _choices(candidates, index + 1, then)
