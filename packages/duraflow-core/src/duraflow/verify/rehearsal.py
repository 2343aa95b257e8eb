"""Does a workflow really go the way of a run? The machine itself takes it, guards and commands answering as written.

It is the same machine that a runtime drives, with the same history; what is missing is what a run of guards' and
commands' answers does not have: payloads, context and resources.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import attrs

from duraflow.codec import Codec
from duraflow.definition.resolve import Candidate
from duraflow.definition.workflow import Workflow
from duraflow.errors import ChainTooDeep, CommandFailed, InvalidArgument
from duraflow.handlers import Asked, DelayCall, GuardCheck, HandlerTable
from duraflow.instance import Blocker, CommandResult, HistoryEntry, Instance
from duraflow.machine.chain import AUTO, Machine, advance
from duraflow.machine.guards import choose
from duraflow.machine.requests import NOTHING_RAN, Ran
from duraflow.machine.requests import Run as Request
from duraflow.machine.step import Rules, Step
from duraflow.verify.answers import question
from duraflow.verify.moves import CREATED, Move, Run

NOON = datetime(2024, 1, 1, 12, tzinfo=UTC)


@attrs.frozen
class Rehearsal:
    """What became of a run.

    Attributes:
        run: what happened, as far as the workflow went the way of the given run.
        entries: its history.
        instance: as it is in the end; None if nothing could be created.
        diverged: where the workflow goes another way now, and how; empty if it went all the way.
    """

    run: Run
    entries: tuple[HistoryEntry, ...]
    instance: Instance | None
    diverged: str = ""

    @property
    def followed(self) -> bool:
        """Whether the workflow went all the way."""
        return not self.diverged


def rehearse(workflow: Workflow, run: Sequence[Move]) -> Rehearsal:
    """Take a new instance through a run, in memory and without handlers of yours.

    Raises:
        InvalidArgument: the run does not begin with a creation.
    """
    if not run or run[0].event != CREATED:
        raise InvalidArgument("run", f"it must begin with the creation: Move({CREATED!r}, None, …)")
    player = _Player(workflow)
    for step in _steps(run):
        problem = player.play(step)
        if problem:
            return Rehearsal(tuple(player.done), tuple(player.entries), player.instance, problem)
    return Rehearsal(tuple(player.done), tuple(player.entries), player.instance)


def _steps(run: Sequence[Move]) -> Iterator[list[Move]]:
    """The moves of each step: what starts it, and the automatic ones after it, up to where it is over."""
    step: list[Move] = []
    for move in run:
        if step and (move.starts or step[-1].status == "waits"):
            yield step
            step = []
        step.append(move)
    yield step


@attrs.define(eq=False)
class _Player:
    """Plays one instance."""

    workflow: Workflow
    instance: Instance | None = None
    entries: list[HistoryEntry] = attrs.field(factory=list)
    done: list[Move] = attrs.field(factory=list)
    _ids: Iterator[int] = attrs.field(factory=lambda: count(1))
    _now: datetime = NOON

    def play(self, moves: list[Move]) -> str:
        """One step; gives where the workflow went another way."""
        self._now += timedelta(seconds=1)
        before = len(self.entries)
        problem = self._step(moves)
        recorded = self.entries[before:]
        expected = [move for move in moves if move.recorded]
        for move, entry in zip(expected, recorded, strict=False):
            if (entry.event, entry.to_state, entry.status) != (move.event, move.to_state, move.status):
                went = f"{entry.event} {entry.from_state} -> {entry.to_state} ({entry.status})"
                return f"{move} was expected, but it is {went}"
            self.done.append(move)
        if problem:
            return problem
        if len(recorded) < len(expected):
            here = self.entries[-1].to_state
            return f"{expected[len(recorded)]} was expected, but the step is over in {here!r}"
        if len(recorded) > len(expected):
            return f"the automatic transitions go on to {recorded[-1].to_state!r}, where the run ends"
        waits = self.instance is not None and self.instance.continuation is not None
        if waits is not (moves[-1].status == "waits"):
            return f"{moves[-1]} was expected to be the last of a step, but a worker makes {'a' if waits else 'no'} hop"
        self.done += moves[len(expected) :]
        return ""

    def _step(self, script: list[Move]) -> str:
        """Take a step; gives what went wrong."""
        cast = _Cast(script)
        rules = Rules(
            HandlerTable(commands={}, guards=_Guards(cast), delays=_Delays()),
            Codec(),
            lambda: UUID(int=next(self._ids)),
            len(script) + 1,
        )
        move = script[0]
        try:
            step, machine, problem = self._begin(rules, move, cast)
            if machine is not None:
                _drive(machine, cast)
        except CommandFailed as error:
            return f"{move}: {error}"
        except (ChainTooDeep, _OffScript) as error:
            return str(error)
        if step is not None:
            writes = step.finish()
            self.instance = writes.after
            self.entries += writes.entries
        return problem

    def _begin(self, rules: Rules, move: Move, cast: _Cast) -> tuple[Step | None, Machine | None, str]:
        def step_of(instance: Instance, *, new: bool = False) -> Step:
            step = Step(rules, self.workflow, instance, now=self._now, new=new, trigger={}, snapshots=True)
            cast.follow(step)
            return step

        if move.event == CREATED:
            blank = Instance(
                id=rules.ids(),
                namespace="rehearsal",
                workflow=self.workflow.name,
                definition_version=self.workflow.version,
                state=self.workflow.initial,
                version=0,
                created_at=self._now,
                updated_at=self._now,
                entered_at=self._now,
            )
            step = step_of(blank, new=True)
            step.create(rules.codec.encode(dict(step.state.context), path="context"))
            return step, advance(step, None, CREATED, None, rules), ""
        assert self.instance is not None
        step = step_of(self.instance)
        if move.event == AUTO:
            # Where the chain stopped for a worker.
            continuation = self.instance.continuation
            if continuation is None:
                return (
                    None,
                    None,
                    f"{move} was expected, but no worker has anything to do in {step.state.name!r}",
                )
            waiting = next(c for c in step.state.automatic if c.path == continuation.path)
            return step, _go_on(step, waiting, rules), ""
        candidates: tuple[Candidate, ...] = step.state.events.get(move.event, ())
        if move.timer and move.event in step.state.timers:
            candidates = step.state.timers[move.event].candidates
        if not candidates:
            return None, None, f"{move} was expected, but {step.state.name!r} does not accept {move.event!r}"
        choice = choose(candidates, step.asked(), rules.handlers.guards)
        if choice.candidate is None:
            step.reject(move.event, None, choice.blockers)
            return step, None, ""
        return step, advance(step, choice.candidate, move.event, None, rules), ""


class _OffScript(Exception):
    """The machine asks for something that the run does not know of."""


def _go_on(step: Step, waiting: Candidate, rules: Rules) -> Machine:
    """The rest of a chain that stopped for a worker: its hop, what is left of its state, and on from there."""
    pool = step.state.automatic[step.state.automatic.index(waiting) :]
    for candidate in pool:
        if candidate is not waiting:
            if choose((candidate,), step.asked(), rules.handlers.guards).candidate is None:
                continue
            if candidate.external:
                step.stop_before(candidate, AUTO)
                return
        ran = NOTHING_RAN
        transition_id = rules.ids()
        if candidate.commands:
            ran = yield Request(candidate, AUTO, transition_id)
        step.move(candidate, AUTO, None, transition_id, ran)
        if not candidate.internal or ran.failure is not None:
            yield from advance(step, None, AUTO, None, rules)
            return


def _drive(machine: Machine, cast: _Cast) -> None:
    try:
        request = next(machine)
        while True:
            request = machine.send(cast.run(request))
    except StopIteration:
        return


class _Cast:
    """Answers for guards and commands, in the order of the run: the n-th choice is that of its n-th move."""

    def __init__(self, script: list[Move]) -> None:
        self._script = script
        self._step: Step | None = None

    def follow(self, step: Step) -> None:
        """Answer for this step from now on."""
        self._step = step

    def _move(self) -> Move | None:
        # One snapshot was taken for each hop so far, so this is the next one.
        taken = len(self._step.snapshots or ()) if self._step is not None else 0
        return self._script[taken] if taken < len(self._script) else None

    def answer(self, asked: str) -> bool:
        """What a guard says now; what the run does not say is a no."""
        move = self._move()
        return move is not None and move.guards.get(asked, False)

    def run(self, request: Request) -> Ran:
        """What the commands of a transition answer."""
        move = self._move()
        if move is None:
            raise _OffScript(f"the automatic transition {request.candidate.path} goes on where the run ends")
        failing = next((name for name, outcome in move.commands if outcome == "failure"), None)
        position = len(move.commands) - 1
        results: list[CommandResult] = []
        for index, ref in enumerate(request.candidate.commands):
            if ref.name == failing and index >= position and not ref.best_effort:
                failure = CommandResult(ref.name, "failure", code="rehearsed")
                return Ran((*results, failure), failure)
            results.append(CommandResult(ref.name))
        return Ran(tuple(results))


class _Guards(Mapping[str, GuardCheck]):
    """A guard for every name."""

    def __init__(self, cast: _Cast) -> None:
        self._cast = cast

    def __getitem__(self, name: str) -> GuardCheck:
        def check(_asked: Asked, metadata: Mapping[str, Any]) -> tuple[Blocker, ...]:
            return () if self._cast.answer(question(name, metadata)) else (Blocker(name, guard=name),)

        return check

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Delays(Mapping[str, DelayCall]):
    """A delay for every name: a day."""

    def __getitem__(self, name: str) -> DelayCall:
        wait: Callable[[Asked], timedelta] = lambda _asked: timedelta(days=1)  # noqa: E731
        return wait

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
