"""What does a sweep do with due work that is not its own to do?"""

from __future__ import annotations

from datetime import timedelta

from duraflow import CommandRef, Runtime, State, SweepResult, Transition, Workflow
from duraflow.memory import InMemoryPersistence
from duraflow.testing import ManualClock

_HOUR = timedelta(hours=1)

_TIMED = Workflow(
    name="timed",
    initial="waiting",
    states=[State("waiting", [Transition("end", target="over", after=_HOUR)]), State("over")],
)
_LETTER = Workflow(
    name="letter",
    initial="ready",
    states=[
        State("ready", [Transition(target="sent", commands=[CommandRef("post", external=True)])]),
        State("sent"),
    ],
)


def test_what_waits_for_a_worker_stands_in_nobodys_way() -> None:
    """However much of it is due earlier: it is passed over."""
    clock = ManualClock()
    with Runtime(
        workflows=[_TIMED, _LETTER],
        commands={"post": print},
        persistence=InMemoryPersistence(),
        clock=clock,
    ) as runtime:
        for _ in range(3):
            runtime.create("letter")
        created = runtime.create("timed")
        clock.advance(_HOUR)
        assert runtime.fire_due_timers(limit=1) == SweepResult(fired=1)
        assert runtime.get(created.id).state == "over"


def test_timers_of_workflows_that_a_runtime_does_not_have_are_left_alone() -> None:
    """Those of another application in the namespace, or of a version that only newer processes know."""
    clock, persistence = ManualClock(), InMemoryPersistence()
    with Runtime(workflows=[_TIMED], persistence=persistence, clock=clock) as runtime:
        created = runtime.create("timed")
    clock.advance(_HOUR)
    with Runtime(
        workflows=[_LETTER], commands={"post": print}, persistence=persistence, clock=clock
    ) as other:
        for _ in range(20):
            assert other.fire_due_timers() == SweepResult(skipped=1)
            clock.advance(_HOUR)
        assert other.parked() == ()
    with Runtime(workflows=[_TIMED], persistence=persistence, clock=clock) as runtime:
        assert runtime.fire_due_timers() == SweepResult(fired=1)
        assert runtime.get(created.id).state == "over"
