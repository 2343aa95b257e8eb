"""Which of several candidates is taken? Guards are asked here, each at most once per choice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from duraflow.definition.resolve import Candidate
from duraflow.definition.values import AllOf, AnyOf, Guard, GuardRef, Not
from duraflow.handlers import Asked, GuardCheck
from duraflow.instance import Blocker


@attrs.frozen
class Choice:
    """The candidate taken, or None and why not."""

    candidate: Candidate | None
    blockers: tuple[Blocker, ...]


Memo = dict[tuple[str, int], tuple[Blocker, ...]]
"""Answers of guards within one choice, so that each is asked at most once; void as soon as a command has run."""


def choose(
    candidates: Iterable[Candidate], asked: Asked, guards: Mapping[str, GuardCheck], memo: Memo | None = None
) -> Choice:
    """The first candidate whose guards hold, with the blockers of those before it if none does."""
    blockers: tuple[Blocker, ...] = ()
    if memo is None:
        memo = {}
    for candidate in candidates:
        if candidate.guard is None:
            return Choice(candidate, ())
        found = _ask(candidate.guard, asked, guards, memo)
        if not found:
            return Choice(candidate, ())
        blockers += tuple(attrs.evolve(blocker, candidate=candidate.path) for blocker in found)
    return Choice(None, blockers)


def _ask(guard: Guard, asked: Asked, guards: Mapping[str, GuardCheck], memo: Memo) -> tuple[Blocker, ...]:
    match guard:
        case GuardRef():
            # Two references with other metadata are two questions; the metadata object stands for its content.
            key = (guard.name, id(guard.metadata))
            if key not in memo:
                try:
                    memo[key] = guards[guard.name](asked, guard.metadata)
                except Exception as error:
                    error.add_note(f"raised by the guard {guard.name!r}")
                    raise
            return memo[key]
        case AllOf(parts):
            found: tuple[Blocker, ...] = ()
            for part in parts:
                found += _ask(part, asked, guards, memo)
            return found
        case AnyOf(parts):
            found = ()
            for part in parts:
                answer = _ask(part, asked, guards, memo)
                if not answer:
                    return ()
                found += answer
            return found
        case Not(part):
            if _ask(part, asked, guards, memo):
                return ()
            text = guard_text(part)
            return (Blocker("not", f"{text} holds, but must not", guard=f"not {text}"),)


def guard_text(guard: Guard) -> str:
    """A guard as people write it: `a and (b or not c)`."""
    match guard:
        case GuardRef(name):
            return name
        case Not(part):
            inner = guard_text(part)
            return f"not ({inner})" if isinstance(part, (AllOf, AnyOf)) else f"not {inner}"
        case AllOf(parts):
            return " and ".join(
                f"({guard_text(p)})" if isinstance(p, AnyOf) else guard_text(p) for p in parts
            )
        case AnyOf(parts):
            return " or ".join(f"({guard_text(p)})" if isinstance(p, AllOf) else guard_text(p) for p in parts)
