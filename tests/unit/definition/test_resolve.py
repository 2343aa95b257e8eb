"""Is what a state allows worked out rightly: wildcards, groups, timers, and what can run without a command?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from duraflow.definition.values import DelayRef, State, Transition, Wildcard
from duraflow.definition.workflow import Workflow

DAY = timedelta(days=1)


def workflow(*states: State, from_any: Sequence[Transition | Wildcard] = (), **groups: list[str]) -> Workflow:
    """A workflow that begins in the first of these states."""
    return Workflow(name="w", initial=states[0].name, states=states, from_any=from_any, groups=groups)


def four(*wildcards: Transition | Wildcard) -> dict[str, tuple[str, ...]]:
    """What the states a, b, c and the final state z accept, with these wildcards; a and b are the group `early`."""
    flow = workflow(
        *(State(name, [Transition(f"leave_{name}", target="z")]) for name in "abc"),
        State("z"),
        from_any=wildcards,
        early=["a", "b"],
        ends=["c", "z"],
    )
    return {name: tuple(e for e in state.accepted if e == "x") for name, state in flow.resolved.items()}


X = Transition("x", target="z")


@pytest.mark.parametrize(
    ("wildcard", "states"),
    [
        (X, "abc"),
        (Wildcard(X), "abc"),
        (Wildcard([X], exclude=["a"]), "bc"),
        (Wildcard([X], exclude=["early"]), "c"),
        (Wildcard([X], within=["early"]), "ab"),
        (Wildcard([X], within=["early", "c"]), "abc"),
        (Wildcard([X], within=["early"], exclude=["a"]), "b"),
        (Wildcard([X], within=["ends"]), "c"),
        (Wildcard([X], exclude=["early", "ends"]), ""),
    ],
)
def test_a_wildcard_reaches_the_states_it_names(wildcard: Transition | Wildcard, states: str) -> None:
    """States and groups, with exceptions, and never a final state."""
    assert "".join(name for name, accepted in four(wildcard).items() if accepted) == states


def test_own_candidates_come_before_shared_ones() -> None:
    """A wildcard for the same event is tried after all of the state's own, in declared order."""
    flow = workflow(
        State("a", [Transition("x", target="z", guard="g"), Transition("x", commands=["c"], guard="h")]),
        State("z"),
        from_any=[Transition("x", target="a", guard="i"), X],
    )
    found = flow.state("a").events["x"]
    assert [(candidate.path, candidate.wildcard) for candidate in found] == [
        ("states[a].transitions[0]", False),
        ("states[a].transitions[1]", False),
        ("from_any[0].transitions[0]", True),
        ("from_any[1].transitions[0]", True),
    ]


def test_internal_and_re_entering_transitions_differ() -> None:
    """Without a target a transition stays; with its own state as target it enters the state again."""
    flow = workflow(
        State(
            "a",
            [
                Transition("stay", commands=["c"]),
                Transition("again", target="a"),
                Transition("go", target="z"),
            ],
        ),
        State("z"),
    )
    events = flow.state("a").events
    assert [events[event][0].internal for event in ("stay", "again", "go")] == [True, False, False]


def test_final_states_and_outcomes() -> None:
    """Final is declared, or inferred where a state has no transitions of its own; its outcome is done by default."""
    flow = workflow(
        State("a", [Transition("go", target="b")]),
        State("b", final=False),
        State("c"),
        State("d", final=True, outcome="failed"),
        State("e", outcome="cancelled"),
        from_any=[Transition("x", target="c")],
    )
    assert {name: (state.final, state.outcome) for name, state in flow.resolved.items()} == {
        "a": (False, None),
        "b": (False, None),
        "c": (True, "done"),
        "d": (True, "failed"),
        "e": (True, "cancelled"),
    }
    assert flow.state("b").accepted == ("x",)
    assert flow.state("c").accepted == ()


def test_timers_are_grouped_by_event() -> None:
    """A state has one timer for each timed event, with all its candidates; `disarm` holds for the timer."""
    flow = workflow(
        State(
            "a",
            [
                Transition("late", target="z", after=DAY, guard="g"),
                Transition("late", target="a", after=DAY),
                Transition("lost", target="z", after="when", on_rejected="disarm", guard="g"),
                Transition("late2", target="z"),
            ],
        ),
        State("z"),
        from_any=[Transition("old", target="z", after=3 * DAY)],
    )
    timers = flow.state("a").timers
    assert {event: (t.after, len(t.candidates), t.disarms) for event, t in timers.items()} == {
        "late": (DAY, 2, False),
        "lost": (DelayRef("when"), 1, True),
        "old": (3 * DAY, 1, False),
    }
    assert flow.state("z").timers == {}


def test_quiet_states_enter_without_commands() -> None:
    """A state is quiet when no command can run on entry, however far the automatic chain goes, loops included."""
    flow = workflow(
        State("plain", [Transition("go", target="z", commands=["c"])]),
        State("works", [Transition(commands=["c"]), Transition(target="z")]),
        State("moves", [Transition(target="z", commands=["c"])]),
        State("leads_to_work", [Transition(target="plain", guard="g"), Transition(target="works")]),
        State("leads_to_quiet", [Transition(target="plain")]),
        State("loops_a", [Transition(target="loops_b", guard="g"), Transition(target="z")]),
        State("loops_b", [Transition(target="loops_a", guard="g"), Transition(target="plain")]),
        State("loud_loop", [Transition(target="leads_to_loud_loop", guard="g"), Transition(target="works")]),
        State("leads_to_loud_loop", [Transition(target="loud_loop", guard="g"), Transition(target="z")]),
        State("z"),
    )
    assert {name for name, state in flow.resolved.items() if state.quiet} == {
        "plain",
        "leads_to_quiet",
        "loops_a",
        "loops_b",
        "z",
    }


def test_free_events_can_be_fired_without_commands() -> None:
    """An event is free when none of its candidates, wildcards included, can lead to a command."""
    flow = workflow(
        State(
            "a",
            [
                Transition("free", target="z"),
                Transition("again", target="a"),
                Transition("note", commands=["c"]),
                Transition("work", target="works"),
                Transition("mixed", target="z", guard="g"),
                Transition("mixed", target="works"),
                Transition("shared", target="z", guard="g"),
            ],
        ),
        State("works", [Transition(target="z", commands=["c"])]),
        State("z"),
        from_any=[Transition("shared", target="z", commands=["c"]), Transition("dismiss", target="z")],
    )
    assert flow.state("a").free == {"free", "again", "dismiss"}
    assert flow.state("z").free == frozenset()


def test_external_candidates_are_marked() -> None:
    """A candidate with an external command says so."""
    from duraflow.definition.values import CommandRef

    flow = workflow(
        State("a", [Transition("pay", target="z", commands=[CommandRef("charge", external=True), "note"])]),
        State("z"),
    )
    assert flow.state("a").events["pay"][0].external


def test_event_names_are_those_that_some_state_answers() -> None:
    """Declared events that nothing answers are not among them, those of wildcards are."""
    flow = Workflow(
        name="w",
        initial="a",
        states=[State("a", [Transition("go", target="z")]), State("z")],
        events=["go", "stop"],
        from_any=[Transition("x", target="z")],
    )
    assert flow.event_names == {"go", "x"}
