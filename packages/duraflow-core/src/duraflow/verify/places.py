"""Where can an instance be, and what can happen there? The whole of what a definition allows, as a graph.

A place is a state and how far a step has come in it. Between two events an instance *rests*; within a step it goes
through the states of an automatic chain, and what guards have answered stays true until a command runs or a state lays
its declared context over the instance's: only then can a pure guard answer otherwise.

Data is left out: a guard may say yes or no, a command may succeed, answer `Failure` or raise. So there are as many
places as the definition makes, whatever instances hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import attrs

from duraflow.definition.resolve import Candidate, ResolvedState
from duraflow.definition.workflow import Workflow
from duraflow.machine.chain import AUTO
from duraflow.verify.answers import Answers, choices, questions
from duraflow.verify.moves import CREATED, Move, move_of

Known = frozenset[tuple[str, bool]]
NOTHING: Known = frozenset()


@attrs.frozen
class Place:
    """A state, and how far a step has come in it.

    Attributes:
        at: the automatic transition that is tried next; None at rest, where only an event or a timer leads on.
        known: what guards have answered in this step, as far as it can matter from here on.
        waits: the step is over, and a worker makes the next hop, because it talks to the outside world.
    """

    state: str
    at: int | None = None
    known: Known = NOTHING
    waits: bool = False

    @property
    def rests(self) -> bool:
        """Whether an event or a timer is what leads on."""
        return self.at is None

    @property
    def settled(self) -> bool:
        """Whether a step is over here, so that what it did is kept."""
        return self.at is None or self.waits


@attrs.frozen
class Edge:
    """A move from one place to another. `cost` is 1 for what history records, 0 for coming to rest."""

    source: Place | None
    move: Move
    target: Place

    @property
    def cost(self) -> int:
        """How much longer a history gets by it."""
        return 1 if self.move.recorded else 0

    @property
    def chains(self) -> bool:
        """Whether it goes on within a step, so that what comes before it is undone if the step never ends."""
        return not self.move.starts and not self.move.external


@attrs.frozen(eq=False)
class Places:
    """What a workflow allows, worked out where it is asked for."""

    workflow: Workflow

    @cached_property
    def _asked_later(self) -> Mapping[str, frozenset[str]]:
        """Questions that an automatic chain can still ask from each state on, while nothing changes."""
        resolved = self.workflow.resolved
        found = {name: questions(state.automatic) for name, state in resolved.items()}
        changed = True
        while changed:
            changed = False
            for name, state in resolved.items():
                onward = [
                    found[c.target] for c in state.automatic if c.target is not None and c.target in found
                ]
                more = found[name].union(*onward)
                if more != found[name]:
                    found[name] = more
                    changed = True
        return found

    def start(self) -> Edge:
        """The creation of an instance."""
        initial = self.workflow.initial
        return Edge(None, Move(CREATED, None, initial), self._enter(initial, {}))

    def onward(self, place: Place) -> Iterator[Edge]:
        """Everything that can happen in a place, what is declared first coming first."""
        state = self.workflow.resolved[place.state]
        if place.at is None:
            if not state.final:
                yield from self._answers(place, state)
        elif place.waits:
            yield from self._take(place, state.automatic[place.at], AUTO, {}, {}, at=place.at)
        else:
            yield from self._goes_on(place, place.at, state)

    def raises(self, place: Place) -> int:
        """In how many ways commands can end a step here so that nothing of it stays: by raising, or by a `Failure`
        without an error target. They lead nowhere, so they are only counted.
        """
        state = self.workflow.resolved[place.state]
        found = 0
        for edge in self.onward(place):
            if edge.move.moves and edge.move.status == "success":
                candidate = self._candidate(state, edge.move)
                binding = sum(not ref.best_effort for ref in candidate.commands)
                found += binding * (1 if candidate.error_target is not None else 2)
        return found

    def _candidate(self, state: ResolvedState, move: Move) -> Candidate:
        pool = state.automatic if move.event == AUTO else state.events[move.event]
        return next(candidate for candidate in pool if candidate.path == move.path)

    def _answers(self, place: Place, state: ResolvedState) -> Iterator[Edge]:
        for event, candidates in state.events.items():
            timer = state.timers.get(event)
            # A timer asks its own candidates only; most often these are all that answer the event.
            same = timer is not None and timer.candidates == candidates
            yield from self._answer(place, event, candidates, timer=same)
            if timer is not None and not same:
                yield from self._answer(place, event, timer.candidates, timer=True)

    def _answer(
        self, place: Place, event: str, candidates: tuple[Candidate, ...], *, timer: bool
    ) -> Iterator[Edge]:
        for known, taken in choices(candidates, {}):
            if taken is None:
                move = Move(
                    event, place.state, place.state, "rejected", guards=known, timer=timer, entered=False
                )
                yield Edge(place, move, place)
            else:
                yield from self._take(place, candidates[taken], event, known, known, timer=timer)

    def _goes_on(self, place: Place, at: int, state: ResolvedState) -> Iterator[Edge]:
        automatic = state.automatic[at:]
        for known, taken in choices(automatic, dict(place.known)):
            tried = questions(automatic if taken is None else automatic[: taken + 1])
            guards = {asked: answer for asked, answer in known.items() if asked in tried}
            if taken is None:
                move = Move(AUTO, place.state, place.state, "rests", guards=guards, entered=False)
                yield Edge(place, move, Place(place.state))
            elif automatic[taken].external:
                path = automatic[taken].path
                move = Move(AUTO, place.state, place.state, "waits", path=path, guards=guards, entered=False)
                yield Edge(place, move, Place(place.state, at + taken, waits=True))
            else:
                yield from self._take(place, automatic[taken], AUTO, known, guards, at=at + taken)

    def _take(
        self,
        place: Place,
        candidate: Candidate,
        event: str,
        known: Answers,
        guards: Answers,
        *,
        at: int | None = None,
        timer: bool = False,
    ) -> Iterator[Edge]:
        state = place.state
        move = move_of(candidate, event, state, failing=None, guards=guards, timer=timer)
        if candidate.target is not None:
            yield Edge(place, move, self._enter(candidate.target, {} if candidate.commands else known))
        elif at is None:
            yield Edge(place, move, Place(state))
        else:
            # An automatic transition without target: the search goes on, and its commands may have changed everything.
            yield Edge(place, move, self._stand(state, at + 1, {}))
        if candidate.error_target is not None:
            for index, ref in enumerate(candidate.commands):
                if not ref.best_effort:
                    move = move_of(candidate, event, state, failing=index, guards=guards, timer=timer)
                    yield Edge(place, move, self._enter(candidate.error_target, {}))

    def _enter(self, state: str, known: Answers) -> Place:
        return self._stand(state, 0, {} if self.workflow.resolved[state].context else known)

    def _stand(self, state: str, at: int, known: Answers) -> Place:
        if at >= len(self.workflow.resolved[state].automatic):
            return Place(state)
        later = self._asked_later[state]
        return Place(state, at, frozenset(item for item in known.items() if item[0] in later))
