"""What does a user say must hold of a workflow, and does it hold whatever happens?

A property is a value. `explore(workflow, properties=[…])` checks it against everything that the definition allows and
gives the shortest run that breaks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, runtime_checkable

import attrs

from duraflow.definition.checks.names import listed
from duraflow.definition.resolve import expand
from duraflow.definition.values import as_given, to_name
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.verify.graph import Graph, build
from duraflow.verify.moves import Move, Run
from duraflow.verify.places import Place
from duraflow.verify.search import nothing, shortest
from duraflow.verify.traps import leading_to
from duraflow.verify.words import quoted


@runtime_checkable
class Property(Protocol):
    """Something that must hold of a workflow, checked on its definition alone. `str` of it is how it is written."""

    def counterexample(self, graph: Graph, /) -> Run | None:
        """The shortest run that breaks it; None if it holds.

        Raises:
            InvalidArgument: it speaks of a state, event or command that the workflow does not have.
        """
        ...

    def broken_by(self, run: Run, workflow: Workflow, /) -> bool:
        """Whether this run of the workflow breaks it."""
        ...


@attrs.frozen
class Never:
    """See `never`."""

    state: str
    after: str | None = None

    def __str__(self) -> str:
        after = "" if self.after is None else f", after={quoted(self.after)}"
        return f"never({quoted(self.state)}{after})"

    def counterexample(self, graph: Graph, /) -> Run | None:
        bad, trigger = self._states(graph.workflow)
        return shortest(
            graph,
            lambda _place, noted: noted == _BROKEN,
            before=_WAITING if trigger is not None else _SEEN,
            note=lambda noted, move: self._note(noted, move, bad, trigger),
        )

    def broken_by(self, run: Run, workflow: Workflow, /) -> bool:
        bad, trigger = self._states(workflow)
        noted = _WAITING if trigger is not None else _SEEN
        for move in run:
            noted = self._note(noted, move, bad, trigger)
        return noted == _BROKEN

    def _states(self, workflow: Workflow) -> tuple[frozenset[str], frozenset[str] | None]:
        bad = _known_states(workflow, "state", self.state)
        return bad, None if self.after is None else _known_states(workflow, "after", self.after)

    @staticmethod
    def _note(noted: int, move: Move, bad: frozenset[str], trigger: frozenset[str] | None) -> int:
        if noted == _BROKEN or not move.entered or not move.recorded:
            return noted
        if noted == _SEEN and move.to_state in bad:
            return _BROKEN
        return _SEEN if noted == _WAITING and trigger is not None and move.to_state in trigger else noted


_WAITING, _SEEN, _BROKEN = range(3)


@attrs.frozen
class AtMost:
    """See `at_most`."""

    n: int
    event: str | None = None
    state: str | None = None
    command: str | None = None

    def __str__(self) -> str:
        if self.event is not None:
            return f"at_most({self.n}, {quoted(self.event)})"
        what = "state" if self.state is not None else "command"
        return f"at_most({self.n}, {what}={quoted(getattr(self, what))})"

    def counterexample(self, graph: Graph, /) -> Run | None:
        self._check(graph.workflow)
        return shortest(graph, lambda _place, count: count > self.n, before=0, note=self._note)

    def broken_by(self, run: Run, workflow: Workflow, /) -> bool:
        self._check(workflow)
        count = 0
        for move in run:
            count = self._note(count, move)
        return count > self.n

    def _note(self, count: int, move: Move) -> int:
        if self.event is not None:
            more = int(move.moves and move.event == self.event)
        elif self.state is not None:
            more = int(move.entered and move.recorded and move.to_state == self.state)
        else:
            more = sum(name == self.command for name, _ in move.commands)
        return min(self.n + 1, count + more)

    def _check(self, workflow: Workflow) -> None:
        if self.event is not None and self.event not in workflow.event_names:
            raise InvalidArgument("event", _unknown(workflow, self.event, "event", workflow.event_names))
        if self.state is not None and self.state not in workflow.resolved:
            raise InvalidArgument("state", _unknown(workflow, self.state, "state", workflow.resolved))
        commands = frozenset(_command_names(workflow))
        if self.command is not None and self.command not in commands:
            raise InvalidArgument("command", _unknown(workflow, self.command, "command", commands))


@attrs.frozen
class AlwaysReaches:
    """See `always_reaches`."""

    finals: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"always_reaches({', '.join(map(quoted, self.finals))})"

    def counterexample(self, graph: Graph, /) -> Run | None:
        leading = leading_to(graph, self._states(graph.workflow))
        return shortest(graph, lambda place, _: place not in leading, before=None, note=nothing)

    def broken_by(self, run: Run, workflow: Workflow, /) -> bool:
        goals = self._states(workflow)
        if not run or run[-1].to_state in goals:
            return False
        leading = leading_to(build(workflow), goals)
        return not any(_ends_at(workflow, run[-1], place) for place in leading)

    def _states(self, workflow: Workflow) -> frozenset[str]:
        if not self.finals:
            return frozenset(name for name, state in workflow.resolved.items() if state.final)
        return frozenset().union(*(_known_states(workflow, "final", name) for name in self.finals))


def _ends_at(workflow: Workflow, last: Move, place: Place) -> bool:
    """Whether a run with this last move ends in this place."""
    if not place.settled or place.state != last.to_state or place.waits is not (last.status == "waits"):
        return False
    return place.at is None or workflow.resolved[place.state].automatic[place.at].path == last.path


def never(state: str, *, after: str | None = None) -> Never:
    """This state (or any of this group) is never entered; with `after`, never once that state was entered.

    >>> str(never("sent", after="paid"))
    'never("sent", after="paid")'
    """
    return Never(_text("state", state), None if after is None else _text("after", after))


def always_reaches(*finals: str) -> AlwaysReaches:
    """From wherever an instance gets, one of these states (or groups) can still be reached; without any, a final one.

    It is broken by a run that ends elsewhere, or where none of them can be reached any more. It is not broken because
    an instance may wait for an event for ever: that somebody fires it is nothing that a definition can promise.
    """
    return AlwaysReaches(tuple(_text("final", name) for name in finals))


def at_most(
    n: int, event: str | None = None, *, state: str | None = None, command: str | None = None
) -> AtMost:
    """An event moves an instance at most `n` times in its life; or a state is entered, or a command run so often.

    Rejections do not count, and neither does what is rolled back. A command that answers `Failure` has run.

    Raises:
        InvalidArgument: `n` is no number from 0, or not exactly one of event, state and command is given.
    """
    if type(as_given(n)) is not int or n < 0:
        raise InvalidArgument("n", f"{n!r} is no whole number from 0")
    given = [name for name in (event, state, command) if name is not None]
    if len(given) != 1:
        raise InvalidArgument("event", "give one of event, state and command: what is counted")
    return AtMost(
        n,
        None if event is None else _text("event", event),
        None if state is None else _text("state", state),
        None if command is None else _text("command", command),
    )


def _text(argument: str, name: object) -> str:
    found = to_name(name)
    if not isinstance(found, str):
        raise InvalidArgument(argument, f"{name!r} is no name")
    return found


def _known_states(workflow: Workflow, argument: str, name: str) -> frozenset[str]:
    known = frozenset(workflow.resolved) | frozenset(workflow.groups)
    if name not in known:
        raise InvalidArgument(argument, _unknown(workflow, name, "state or group", known))
    return expand([name], workflow.groups)


def _unknown(workflow: Workflow, name: str, what: str, known: Iterable[str]) -> str:
    return f"{workflow.name!r} has no {what} {name!r}; known: {listed(frozenset(known))}"


def _command_names(workflow: Workflow) -> Iterator[str]:
    for state in workflow.resolved.values():
        for candidates in (*state.events.values(), state.automatic):
            for candidate in candidates:
                yield from (ref.name for ref in candidate.commands)
