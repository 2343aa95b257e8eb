"""What does exploring find that the construction does not, and is nothing said twice?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from duraflow import CommandRef, InvalidArgument, State, Transition, Wildcard, Workflow, all_of, any_of, not_
from duraflow.verify import explore

DAY = timedelta(days=1)


def workflow(*states: State, **more: Any) -> Workflow:
    """A workflow that begins in its first state."""
    return Workflow(name="w", initial=states[0].name, states=states, **more)


def found(definition: Workflow) -> list[tuple[str, str, str]]:
    """(severity, code, path) of what only exploring finds."""
    known = definition.findings
    return [(f.severity, f.code, f.path) for f in explore(definition).findings if f not in known]


def text(definition: Workflow, code: str) -> str:
    """The message of the only finding of this code."""
    (message,) = [f.message for f in explore(definition).findings if f.code == code]
    return message


def test_nothing_is_said_of_a_workflow_that_is_right() -> None:
    """Every state can be reached, every transition taken, every end reached."""
    definition = workflow(
        State("a", [Transition("go", target="b", guard="g"), Transition("go", target="c")]),
        State("b", [Transition("end", target="d", after=DAY)]),
        State("c", [Transition(target="d", guard="h"), Transition(target="b")]),
        State("d"),
    )
    report = explore(definition)
    assert report.findings == ()
    assert report.ok
    assert report.states == ("a", "b", "c", "d")
    # a: two answers of g; c: two answers of h; b: its timer; nothing runs that could raise
    assert report.outcomes == 5


def test_what_the_construction_found_comes_with_it_once() -> None:
    """The report is complete, and a state without a way out is not said twice."""
    definition = workflow(State("a", [Transition("go", target="b")]), State("b", final=False), State("c"))
    assert [(f.code, f.state) for f in definition.findings] == [
        ("no_way_to_final", "a"),
        ("no_way_to_final", "b"),
        ("unreachable_state", "c"),
    ]
    assert explore(definition).findings == definition.findings


def test_a_state_behind_a_guard_that_contradicts_itself_is_unreachable() -> None:
    """A transition leads there, which can never be taken."""
    definition = workflow(
        State(
            "a",
            [
                Transition("go", target="b", guard=all_of("g", not_("g"))),
                Transition("go", target="c"),
            ],
        ),
        State("b", [Transition("on", target="c")]),
        State("c"),
    )
    assert found(definition) == [
        ("warning", "unreachable_state", "states[b]"),
        ("warning", "unaccepted_event", "events[on]"),
        ("warning", "dead_transition", "states[a].transitions[0]"),
    ]
    assert text(definition, "dead_transition") == (
        "it can never be taken: its guard contradicts itself; correct the guard"
    )
    assert "states[a].transitions[0]" in text(definition, "unreachable_state")
    assert "they cannot be reached" in text(definition, "unaccepted_event")


def test_a_transition_after_a_guard_and_its_opposite_is_dead() -> None:
    """One of the two is always taken."""
    definition = workflow(
        State(
            "a",
            [
                Transition("go", target="b", guard="g"),
                Transition("go", target="b", guard=not_("g")),
                Transition("go", target="c"),
                Transition("else", target="c"),
            ],
        ),
        State("b"),
        State("c"),
    )
    assert found(definition) == [("warning", "dead_transition", "states[a].transitions[2]")]
    assert "(states[a].transitions[0], states[a].transitions[1])" in text(definition, "dead_transition")


def test_two_references_with_other_metadata_are_two_questions() -> None:
    """The same guard asked with other parameters may answer otherwise."""
    from duraflow import GuardRef

    low, high = GuardRef("over", metadata={"limit": 1}), GuardRef("over", metadata={"limit": 2})
    definition = workflow(
        State("a", [Transition("go", target="b", guard=all_of(low, not_(high)))]), State("b")
    )
    assert found(definition) == []
    never_both = workflow(
        State("a", [Transition("go", target="b", guard=all_of(low, not_(low)))]), State("b")
    )
    assert ("warning", "dead_transition", "states[a].transitions[0]") in found(never_both)


def test_a_guards_answer_is_kept_while_nothing_is_written() -> None:
    """A guard that let an event through lets the automatic transition through as well."""
    definition = workflow(
        State("a", [Transition("go", target="b", guard="g")]),
        State("b", [Transition(target="c", guard="g"), Transition(target="d")]),
        State("c"),
        State("d"),
    )
    assert found(definition) == [
        ("warning", "unreachable_state", "states[d]"),
        ("warning", "dead_transition", "states[b].transitions[1]"),
    ]
    assert "what guards have answered on the way" in text(definition, "dead_transition")


@pytest.mark.parametrize("writes", ["command", "context"])
def test_what_is_written_may_change_a_guards_answer(writes: str) -> None:
    """After a command, or in a state with declared context, everything is open again."""
    definition = workflow(
        State("a", [Transition("go", target="b", guard="g", commands=["c"] if writes == "command" else [])]),
        State(
            "b",
            [Transition(target="c", guard="g"), Transition(target="d")],
            context={"x": 1} if writes == "context" else {},
        ),
        State("c"),
        State("d"),
    )
    assert found(definition) == []


def test_a_loop_of_guarded_automatic_transitions_that_writes_nothing() -> None:
    """Once its guards hold they hold for good."""
    definition = workflow(
        State("a", [Transition("go", target="b")]),
        State("b", [Transition(target="c", guard="g")]),
        State("c", [Transition(target="b", guard="h"), Transition(target="d")]),
        State("d"),
    )
    # b is left when g holds, and rested in when it does not: from there nothing leads on
    assert found(definition) == [
        ("warning", "automatic_loop", "states[b].transitions[0]"),
        ("warning", "nothing_wakes", "states[b]"),
    ]
    assert text(definition, "automatic_loop") == (
        "automatic transitions can lead round for ever when g says yes and h says yes: b -> c -> b; nothing on the way "
        "writes the context, so the guards keep their answers, and every such step raises ChainTooDeep and is rolled "
        "back; let the guards exclude each other (`not_`), or let an event lead round"
    )


def test_a_loop_is_told_once_whatever_else_is_known_on_it() -> None:
    """An answer that does not matter on the way round makes no second loop."""
    definition = workflow(
        State("a", [Transition("go", target="b", guard="x"), Transition("go", target="b")]),
        State("b", [Transition(target="c", guard="g"), Transition(target="d")]),
        State(
            "c",
            [Transition(target="b", guard="h"), Transition(target="d", guard="x"), Transition(target="e")],
        ),
        State("d"),
        State("e"),
    )
    assert found(definition) == [("warning", "automatic_loop", "states[b].transitions[0]")]


def test_a_loop_whose_guards_exclude_each_other_is_none() -> None:
    """Who has answered yes does not answer no on the way round."""
    definition = workflow(
        State("a", [Transition("go", target="b")]),
        State("b", [Transition(target="c", guard="g"), Transition(target="d")]),
        State("c", [Transition(target="b", guard=not_("g")), Transition(target="d")]),
        State("d"),
    )
    # once b has seen g say yes, c can only go on to d
    assert found(definition) == [("warning", "dead_transition", "states[c].transitions[0]")]


def test_a_loop_that_writes_is_told_with_its_bound() -> None:
    """It may end, and is cut off if it does not."""
    definition = workflow(
        State("a", [Transition("go", target="b")]),
        State("b", [Transition(target="b", guard="more", commands=["one"]), Transition(target="c")]),
        State("c"),
    )
    assert found(definition) == [("warning", "automatic_loop", "states[b].transitions[0]")]
    assert "b -> b" in text(definition, "automatic_loop")
    report = explore(definition, max_automatic_moves=25)
    assert "after 25 automatic moves" in report.findings[0].message
    allowed = workflow(*definition.states[:1], allowing(definition.states[1], "automatic_loop"), State("c"))
    assert found(allowed) == []


def allowing(state: State, *codes: str) -> State:
    """The state, with these findings allowed."""
    import attrs

    return attrs.evolve(state, allow=codes)


def test_a_step_that_can_never_end_is_an_error() -> None:
    """Whatever the guards say, it goes round: the state cannot be entered at all."""
    definition = workflow(
        State("a", [Transition("go", target="b"), Transition("end", target="d")]),
        State("b", [Transition(target="c", guard="g"), Transition(target="c", guard=not_("g"))]),
        State("c", [Transition(target="b", guard="g"), Transition(target="b", guard=not_("g"))]),
        State("d"),
    )
    codes = found(definition)
    assert codes[:2] == [("error", "never_rests", "states[b]"), ("error", "never_rests", "states[c]")]
    assert "automatic_loop" not in [code for _, code, _ in codes]
    report = explore(definition)
    assert not report.ok
    assert report.exit_code() == 1
    assert report.states == ("a", "d")


def test_a_creation_that_can_never_end_is_said_once() -> None:
    """Nothing can be created, so there is nothing more to say."""
    definition = workflow(
        State("a", [Transition(target="b", guard="g"), Transition(target="b", guard=not_("g"))]),
        State("b", [Transition(target="a", guard="g"), Transition(target="a", guard=not_("g"))]),
        State("c", [Transition("go", target="c")]),
        State("d"),
    )
    report = explore(definition)
    assert report.errors
    assert {f.code for f in report.errors} == {"never_rests"}
    assert report.bounds is None
    assert report.states == ()
    assert "one instance" not in report.to_text()


def test_an_event_of_a_state_that_is_always_left_is_never_accepted() -> None:
    """An automatic transition without a guard leaves first."""
    definition = workflow(
        State("a", [Transition("go", target="b")]),
        State("b", [Transition("stop", target="a"), Transition(target="c")]),
        State("c"),
    )
    assert found(definition) == [("warning", "unaccepted_event", "events[stop]")]
    assert text(definition, "unaccepted_event") == (
        "it is declared in 'b', but no instance ever rests there: in 'b' an automatic transition always leaves first"
    )


def test_a_timer_of_a_state_that_is_always_left_is_dead() -> None:
    """It is armed only where a chain comes to rest; nothing more is said of its event and its transition."""
    definition = workflow(
        State("a", [Transition("go", target="b")]),
        State("b", [Transition("late", target="a", after=DAY), Transition(target="c")]),
        State("c"),
    )
    assert found(definition) == [("warning", "dead_timer", "states[b].transitions[0].after")]
    assert "states[b].transitions[1]" in text(definition, "dead_timer")


def test_a_timer_that_another_always_forestalls_is_dead() -> None:
    """Unless something can hold the earlier one up: a guard, a command, or that it stays."""

    def of(earlier: Transition) -> list[str]:
        later = Transition("later", target="c", after=2 * DAY)
        stop = Transition("stop", target="b")
        definition = workflow(State("a", [later, earlier, stop]), State("b"), State("c"))
        return [path for _, code, path in found(definition) if code == "dead_timer"]

    later, earlier = "states[a].transitions[0].after", "states[a].transitions[1].after"
    assert of(Transition("soon", target="b", after=DAY)) == [later]
    assert of(Transition("soon", target="a", after=DAY)) == [later]
    assert of(Transition("soon", target="b", after=3 * DAY)) == [earlier]
    assert of(Transition("soon", target="b", after=2 * DAY)) == []
    assert of(Transition("soon", target="b", after=DAY, guard="g")) == []
    assert of(Transition("soon", target="b", after=DAY, commands=["c"])) == []
    assert of(Transition("soon", target="b", after="computed")) == []
    assert of(Transition("soon", after=DAY, commands=["c"])) == []


def test_an_error_target_of_best_effort_commands_is_dead() -> None:
    """What they answer diverts nothing."""
    note = CommandRef("note", best_effort=True)
    definition = workflow(
        State("a", [Transition("go", target="b", commands=[note], error_target="b")]), State("b")
    )
    assert found(definition) == [("warning", "dead_error_target", "states[a].transitions[0].error_target")]
    behind = workflow(
        State("a", [Transition("go", target="b", commands=[note], error_target="c")]), State("b"), State("c")
    )
    assert ("warning", "unreachable_state", "states[c]") in found(behind)
    binding = workflow(
        State("a", [Transition("go", target="b", commands=[note, "c"], error_target="b")]), State("b")
    )
    assert found(binding) == []


def test_a_failure_after_which_no_good_end_can_be_reached_is_a_trap() -> None:
    """Where it leads must lead back, or be an end that says `failed`."""

    def of(*failed: State) -> list[tuple[str, str, str]]:
        go = Transition("go", target="done", commands=["c"], error_target="failed")
        return found(workflow(State("a", [go]), State("done"), *failed))

    path = "states[a].transitions[0].error_target"
    trap = [
        State("failed", [Transition("close", target="closed")]),
        State("closed", outcome="failed"),
    ]
    assert of(*trap) == [("warning", "trap_after_failure", path)]
    assert of(allowing(trap[0], "trap_after_failure"), trap[1]) == []
    assert of(State("failed", outcome="failed")) == []
    assert of(State("failed", [Transition("again", target="a")])) == []


def test_a_state_whose_way_out_can_never_be_taken_has_no_way_to_final() -> None:
    """There is a transition, but its guard excludes itself."""
    impossible = Transition("end", target="c", guard=all_of("g", not_("g")))
    definition = workflow(
        State("a", [Transition("go", target="b"), Transition("end", target="c")]),
        State("b", [impossible, Transition("note", commands=["c"])]),
        State("c"),
    )
    assert found(definition) == [
        ("warning", "dead_transition", "states[b].transitions[0]"),
        ("warning", "no_way_to_final", "states[b]"),
    ]


def test_a_shared_transition_is_dead_only_if_it_is_in_every_state() -> None:
    """One of the states is enough to use it."""
    used = workflow(
        State("a", [Transition("go", target="b"), Transition("stop", target="c")]),
        State("b", [Transition("go", target="c")]),
        State("c"),
        from_any=[Transition("stop", target="c", guard="g")],
    )
    assert found(used) == []
    unused = workflow(
        State("a", [Transition("go", target="b"), Transition("stop", target="c")]),
        State("b", [Transition("go", target="c"), Transition("stop", target="c")]),
        State("c"),
        from_any=[Wildcard(Transition("stop", target="c", guard="g"))],
    )
    assert found(unused) == [("warning", "dead_transition", "from_any[0].transitions[0]")]


def test_a_choice_between_parts_is_made_part_by_part() -> None:
    """`any_of` holds with its first part or its second, and fails with neither."""
    definition = workflow(
        State(
            "a",
            [Transition("go", target="b", guard=any_of("g", "h")), Transition("go", target="c", guard="g")],
        ),
        State("b"),
        State("c"),
    )
    assert found(definition) == [
        ("warning", "unreachable_state", "states[c]"),
        ("warning", "dead_transition", "states[a].transitions[1]"),
    ]


def test_too_much_to_explore_is_refused() -> None:
    """Many guards asked together can turn out in more ways than anyone can look at."""
    many = [Transition("go", target="b", guard=f"g{number}") for number in range(30)]
    definition = workflow(State("a", many), State("b"))
    assert explore(definition).ok  # one after the other they are 31 ways, not two to the thirtieth
    with pytest.raises(InvalidArgument, match="more than 10 ways"):
        explore(definition, max_edges=10)
