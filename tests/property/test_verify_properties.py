"""Does exploring a workflow say exactly what can happen in it?

More than everything: no run of a real runtime does what is not in it. And not more than that: the machine itself goes
every way that is said to be possible.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from duraflow import (
    Busy,
    ChainTooDeep,
    CommandFailed,
    EventRefused,
    Failure,
    HistoryEntry,
    Rejected,
    Runtime,
    State,
    Transition,
    Workflow,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing import ManualClock
from duraflow.testing.machines import workflow_machine
from duraflow.testing.strategies import workflows
from duraflow.verify import (
    Move,
    always_reaches,
    at_most,
    explore,
    never,
    paths,
    rehearse,
    run_from_json,
    run_to_json,
)
from duraflow.verify.graph import build

GUARDS = ("g0", "g1", "g2")
COMMANDS = ("c0", "c1", "c2")
NAMED: dict[str, Any] = {
    "hostile": False,
    "guard_names": st.sampled_from(GUARDS),
    "commands": st.sampled_from(COMMANDS),
    "delays": st.just("a_day"),
}


class _Raised(Exception):
    pass


class _Player:
    """A runtime whose guards and commands do as they are told, step by step."""

    def __init__(self, workflow: Workflow) -> None:
        self.answers: dict[str, bool] = {}
        self.outcomes: dict[str, str] = {}
        self.clock = ManualClock()
        self.runtime = Runtime(
            workflows=[workflow],
            persistence=InMemoryPersistence(),
            commands={name: self._command(name) for name in COMMANDS},
            guards={name: self._guard(name) for name in GUARDS},
            delays={"a_day": lambda: timedelta(days=1)},
            clock=self.clock,
        )
        self.runtime.start()

    def _guard(self, name: str) -> Any:
        # What is written in the context turns the answer round, as commands do with real guards.
        def answer(context: Any) -> bool:
            return self.answers[name] is not bool(context.get(name))

        return answer

    def _command(self, name: str) -> Any:
        def play(ctx: Any) -> Failure | None:
            turned = f"g{name[1:]}"
            ctx.context[turned] = not ctx.context.get(turned)
            if self.outcomes[name] == "raises":
                raise _Raised
            return Failure("told") if self.outcomes[name] == "failure" else None

        return play


def _likeness(move: Move | HistoryEntry) -> tuple[Any, ...]:
    """What a move of the exploration and an entry of a history have in common."""
    names = [command[0] if isinstance(command, tuple) else command.name for command in move.commands]
    return move.event, move.from_state, move.to_state, move.status, move.entered, tuple(names)


@settings(max_examples=150, deadline=None)
@given(workflows(**NAMED, external=False), st.data())
def test_a_real_run_does_nothing_that_was_not_explored(workflow: Workflow, data: st.DataObject) -> None:
    """Every history entry is a move of the exploration, so what it reports as impossible never happens."""
    graph = build(workflow)
    possible = {_likeness(edge.move) for edge in graph.edges}
    if graph.start is not None:
        possible.add(_likeness(graph.start.move))
    player = _Player(workflow)
    runtime = player.runtime
    told = st.tuples(
        st.fixed_dictionaries({name: st.booleans() for name in GUARDS}),
        st.fixed_dictionaries(
            {name: st.sampled_from(("done", "done", "failure", "raises")) for name in COMMANDS}
        ),
    )
    harmless = (EventRefused, Rejected, CommandFailed, ChainTooDeep, Busy, _Raised)
    player.answers, player.outcomes = data.draw(told)
    try:
        instance = runtime.create(workflow.name)
    except harmless:
        return
    for _ in range(data.draw(st.integers(1, 12))):
        instance = runtime.get(instance.id)
        events = workflow.resolved[instance.state].accepted
        if not instance.open or not events:
            break
        player.answers, player.outcomes = data.draw(told)
        if instance.due_at is not None and data.draw(st.booleans()):
            if instance.due_at.year > 2100:
                break
            player.clock.set(max(instance.due_at, player.clock.now()))
            runtime.fire_due_timers()
            continue
        try:
            runtime.fire(instance.id, data.draw(st.sampled_from(events)))
        except harmless:
            continue
    for entry in runtime.history(instance.id):
        assert _likeness(entry) in possible
        assert entry.to_state in graph.states
    assert runtime.get(instance.id).state in graph.resting


@settings(max_examples=150, deadline=None)
@given(workflows(**NAMED))
def test_the_machine_goes_every_way_that_is_said_to_be_possible(workflow: Workflow) -> None:
    """Every path to a transition and to an answer of a guard can be rehearsed, move by move."""
    for path in paths(workflow, each_state=True):
        rehearsal = rehearse(workflow, path.run)
        assert rehearsal.diverged == "", f"{path}\n{rehearsal.diverged}"
        assert rehearsal.run == path.run
        recorded = [move for move in path.run if move.recorded]
        assert [_likeness(move) for move in recorded] == [_likeness(entry) for entry in rehearsal.entries]


@settings(max_examples=100, deadline=None)
@given(workflows(**NAMED), st.data())
def test_a_counterexample_can_be_rehearsed_and_breaks_its_property(
    workflow: Workflow, data: st.DataObject
) -> None:
    """It is a run that the machine goes, that breaks the property, and none of whose beginnings does."""
    state = st.sampled_from(sorted(workflow.resolved))
    properties: list[Any] = [
        never(data.draw(state), after=data.draw(st.one_of(st.none(), state))),
        always_reaches(data.draw(state)),
        always_reaches(),
        *(at_most(1, event) for event in sorted(workflow.event_names)[:1]),
    ]
    report = explore(workflow, properties=properties)
    for found in report.broken:
        rehearsal = rehearse(workflow, found.run)
        assert rehearsal.followed
        assert not hasattr(found.prop, "check")
        assert found.prop.broken_by(found.run, workflow)
        starts = [index for index, move in enumerate(found.run) if move.starts]
        assert not found.prop.broken_by(found.run[: starts[-1]], workflow)
        assert run_from_json(json.loads(json.dumps(run_to_json(found.run)))) == found.run


@settings(max_examples=100, deadline=None)
@given(workflows())
def test_any_workflow_can_be_explored_and_reported(workflow: Workflow) -> None:
    """Whatever its names: as text, as JSON, and nothing is said twice."""
    report = explore(workflow, properties=[always_reaches()])
    assert report.to_text().splitlines()[0].startswith(workflow.name.splitlines()[0])
    assert json.loads(json.dumps(report.to_json())) == report.to_json()
    said = [(finding.path, finding.code, finding.state) for finding in report.findings]
    assert len(said) == len(set(said))
    assert set(workflow.findings) <= set(report.findings)


_PARCEL = Workflow(
    name="parcel of mine",
    initial="packed",
    states=[
        State(
            "packed",
            [
                Transition("send", target="sent", commands=["post"], error_target="lost"),
                Transition("lapse", target="lost", after=timedelta(days=3), guard="is_late"),
            ],
        ),
        State(
            "sent",
            [Transition(target="delivered", guard="is_near"), Transition("arrive", target="delivered")],
        ),
        State("delivered"),
        State("lost", outcome="failed"),
    ],
)
# Found is enough: making a failure small takes long.
_FAST = settings(
    max_examples=20, stateful_step_count=12, deadline=None, database=None, phases=[Phase.generate]
)


def test_the_ready_made_machine_plays_a_workflow_without_handlers() -> None:
    """Hypothesis answers for guards and commands that are not given."""
    machine = workflow_machine(_PARCEL)
    assert machine.__name__ == "ParcelOfMineMachine"
    run_state_machine_as_test(machine, settings=_FAST)


def test_the_ready_made_machine_finds_what_a_check_forbids() -> None:
    """It gets to every end, and shows how."""

    def never_lost(instance: Any) -> None:
        assert instance.state != "lost"

    with pytest.raises(AssertionError, match="lost"):
        run_state_machine_as_test(workflow_machine(_PARCEL, checks=[never_lost]), settings=_FAST)


def test_the_ready_made_machine_runs_the_users_commands() -> None:
    """What is given is run, and what it raises is a failure of the test."""

    def post(ctx: Any) -> None:
        raise RuntimeError("the printer is out of paper")

    with pytest.raises(RuntimeError, match="out of paper"):
        run_state_machine_as_test(workflow_machine(_PARCEL, commands={"post": post}), settings=_FAST)
    run_state_machine_as_test(
        workflow_machine(_PARCEL, commands={"post": post}, tolerate=(RuntimeError,)), settings=_FAST
    )
