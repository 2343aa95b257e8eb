"""Are properties, bounds and paths right, and can their runs be done again?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from duraflow import CommandRef, InvalidArgument, State, Transition, Wildcard, Workflow, not_
from duraflow.verify import (
    Move,
    always_reaches,
    assert_holds,
    at_most,
    explore,
    never,
    paths,
    print_run,
    rehearse,
    run_from_json,
    run_to_json,
)

DAY = timedelta(days=1)

ORDER = Workflow(
    name="order",
    initial="new",
    groups={"closed": ["done", "lost"]},
    states=[
        State(
            "new",
            [
                Transition(
                    "pay", target="paid", guard="covers", commands=["book", "tell"], error_target="lost"
                ),
                Transition("pay", commands=["book"]),
                Transition("lapse", target="lost", after=30 * DAY),
            ],
        ),
        State("paid", [Transition(target="done", guard="has_stock"), Transition("arrive", target="done")]),
        State("done"),
        State("lost", [Transition("reopen", target="new")]),
    ],
)


def broken(workflow: Workflow, *properties: Any) -> list[str]:
    """The counterexamples, as texts."""
    return [print_run(found.run) for found in explore(workflow, properties=properties).broken]


# --- properties ---------------------------------------------------------------------------------------------------


def test_never_gives_the_shortest_run() -> None:
    """The guards and commands that it takes stand beside each move."""
    (run,) = broken(ORDER, never("done"))
    assert run.splitlines() == [
        "1  $created  -> new",
        "2  pay       new -> paid   [covers: yes, book: done, tell: done]",
        "3  $auto     paid -> done  [has_stock: yes]",
    ]


def test_never_after_begins_to_count_when_the_state_is_entered() -> None:
    """The same state twice is after itself."""
    assert broken(ORDER, never("lost", after="paid")) == []
    assert broken(ORDER, never("lost", after="new"))[0].endswith("new -> lost  [covers: yes, book: Failure]")
    assert len(broken(ORDER, never("new", after="new"))[0].splitlines()) == 3
    assert broken(ORDER, never("paid", after="paid")) == []


def test_a_property_may_speak_of_a_group() -> None:
    """It then means each of its states."""
    report = explore(
        ORDER, properties=[never("closed"), never("new", after="closed"), always_reaches("closed")]
    )
    assert [checked.holds for checked in report.checked] == [False, False, True]
    assert [len(found.run) for found in report.broken] == [2, 3]


def test_always_reaches_is_broken_by_another_end() -> None:
    """What can wait for ever does not break it; what can no longer get there does."""
    assert broken(ORDER, always_reaches("done"), always_reaches()) == []
    ended = attrs.evolve(ORDER, states=[*ORDER.states[:3], State("lost", outcome="failed")])
    assert broken(ended, always_reaches()) == []
    assert broken(ended, always_reaches("done", "lost")) == []
    (run,) = broken(ended, always_reaches("done"))
    assert run.splitlines()[1:] == ["2  pay       new -> lost  [covers: yes, book: Failure]"]


def test_at_most_counts_moves_states_and_commands() -> None:
    """The run has one more than is allowed."""
    assert broken(ORDER, at_most(1, "arrive"), at_most(1, state="paid")) == []
    assert broken(ORDER, at_most(0, "arrive"))[0].splitlines()[2:] == [
        "   (rests)   paid          [has_stock: no]",
        "3  arrive    paid -> done",
    ]
    again = broken(ORDER, at_most(1, command="tell"))[0]
    assert "tell: Failure" in again
    assert "tell: done" in again
    twice = broken(ORDER, at_most(2, command="book"))[0]
    assert twice.count("book: done") == 3
    assert broken(ORDER, at_most(3, "pay"))[0].count("pay  ") == 4
    assert len(broken(ORDER, at_most(1, state="new"))[0].splitlines()) == 3


def test_a_failed_command_has_run_and_those_after_it_have_not() -> None:
    """Which of them fails is a part of the run."""
    failing = [path for path in paths(ORDER) if path.kind == "error_target"]
    assert [path.run[-1].commands for path in failing] == [(("book", "failure"),)]


@pytest.mark.parametrize(
    ("prop", "text"),
    [
        (never("nowhere"), "'order' has no state or group 'nowhere'; known: "),
        (never("new", after="nowhere"), "has no state or group 'nowhere'"),
        (always_reaches("nowhere"), "has no state or group 'nowhere'"),
        (at_most(1, "nothing"), "has no event 'nothing'; known: "),
        (at_most(1, state="nowhere"), "has no state 'nowhere'"),
        (at_most(1, command="nothing"), "has no command 'nothing'; known: book, tell"),
        ("never('new')", "is no property"),
    ],
)
def test_a_property_of_something_else_is_refused(prop: Any, text: str) -> None:
    """A typing error must not look like a property that holds."""
    with pytest.raises(InvalidArgument, match=text.replace("(", r"\(")):
        explore(ORDER, properties=[prop])


def test_at_most_needs_to_know_what_is_counted() -> None:
    """One thing, and a number."""
    for arguments in ((-1, "pay"), (True, "pay"), (1,)):
        with pytest.raises(InvalidArgument):
            at_most(*arguments)
    with pytest.raises(InvalidArgument, match="one of event, state and command"):
        at_most(1, "pay", state="new")
    with pytest.raises(InvalidArgument):
        never(None)  # type: ignore[arg-type]


def test_a_rejection_is_no_move() -> None:
    """It is recorded, but it is not what `at_most` counts."""
    definition = Workflow(
        name="w", initial="a", states=[State("a", [Transition("go", target="b", guard="g")]), State("b")]
    )
    assert broken(definition, at_most(1, "go")) == []


# --- bounds -------------------------------------------------------------------------------------------------------


def bounds(*states: State) -> Any:
    """The bounds of a workflow of these states."""
    found = explore(Workflow(name="w", initial=states[0].name, states=states)).bounds
    assert found is not None
    return found


def test_the_bounds_of_a_workflow_without_loops() -> None:
    """The longest way counts, for each measure its own."""
    found = bounds(
        State(
            "a",
            [
                Transition("x", target="b", after=DAY),
                Transition("y", target="d", commands=["c1", "c2", "c3"]),
            ],
        ),
        State("b", [Transition("x", target="c", after=2 * DAY)]),
        State("c", [Transition(target="d", commands=["c1"])]),
        State("d"),
    )
    assert (found.moves.value, found.commands.value, found.entries.value) == (3, 3, 4)
    assert found.waiting.value == 3 * DAY
    assert [move.event for move in found.waiting.run] == ["$created", "x", "x", "$auto"]
    assert all(b.limited and b.exact for b in (found.moves, found.commands, found.entries, found.waiting))
    assert (found.no_timer, found.unsure) == ((), ())


def test_a_loop_takes_away_the_limits_of_what_grows_on_it() -> None:
    """It is named; what does not grow on it keeps its limit."""
    found = bounds(
        State("a", [Transition("x", target="b", commands=["c"])]),
        State("b", [Transition("wait", target="b", after=DAY), Transition("go", target="c", after=3 * DAY)]),
        State("c"),
    )
    assert not found.moves.limited
    assert [str(move) for move in found.moves.loop] == ["wait (timer) b -> b"]
    assert not found.waiting.limited
    assert found.waiting.value == DAY
    assert found.commands.limited
    assert found.commands.value == 1
    assert found.no_timer == ("a",)


def test_how_long_timers_let_an_instance_wait() -> None:
    """Until the first that surely leaves; what may be refused or is computed is said."""
    sure = Transition("leave", target="b", after=5 * DAY)
    first = Transition("early", target="b", after=DAY, guard="g")
    assert bounds(State("a", [first, sure]), State("b")).waiting.value == 5 * DAY
    unsure = bounds(State("a", [first]), State("b"))
    assert (unsure.waiting.value, unsure.unsure) == (DAY, ("a",))
    computed = bounds(State("a", [Transition("x", target="b", after="computed")]), State("b"))
    assert (computed.waiting.value, computed.unsure) == (timedelta(0), ("a",))


def test_a_search_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The most that was seen is still a figure, but it is called that."""
    import duraflow.verify.bounds as module

    states = [
        State(
            f"s{n}",
            [Transition(f"to{m}", target=f"s{m}") for m in range(8) if m != n]
            + [Transition("e", target="f")],
        )
        for n in range(8)
    ]
    monkeypatch.setattr(module, "_BUDGET", 100)
    report = explore(Workflow(name="w", initial="s0", states=[*states, State("f")]))
    assert report.bounds is not None
    assert not report.bounds.moves.exact
    assert "at least" in report.to_text()


# --- paths --------------------------------------------------------------------------------------------------------


def test_paths_lead_to_every_transition_and_every_answer() -> None:
    """Each by a shortest run, in the order of the definition."""
    found = paths(ORDER)
    assert [(path.goal, sum(move.recorded for move in path.run)) for path in found] == [
        ("states[new].transitions[0]", 2),
        ("states[new].transitions[0]: Failure", 2),
        ("states[new].transitions[0]: covers says yes", 2),
        ("states[new].transitions[0]: covers says no", 2),
        ("states[new].transitions[1]", 2),
        ("states[new].transitions[2]", 2),
        ("states[paid].transitions[0]", 3),
        ("states[paid].transitions[0]: has_stock says yes", 3),
        ("states[paid].transitions[0]: has_stock says no", 2),
        ("states[paid].transitions[1]", 3),
        ("states[lost].transitions[0]", 3),
    ]
    for path in found:
        assert rehearse(ORDER, path.run).run == path.run


def test_paths_can_be_had_for_each_state() -> None:
    """A shared transition in each of the states that have it."""
    definition = Workflow(
        name="w",
        initial="a",
        states=[
            State("a", [Transition("go", target="b")]),
            State("b", [Transition("go", target="c")]),
            State("c"),
        ],
        from_any=[Wildcard(Transition("stop", target="c", guard="g"))],
    )
    shared = [(path.state, path.answer) for path in paths(definition) if path.path.startswith("from_any")]
    assert shared == [("a", None), ("a", True), ("a", False)]
    each = [path.state for path in paths(definition, each_state=True) if path.path.startswith("from_any")]
    assert each == ["a", "a", "a", "b", "b", "b"]


def test_what_cannot_happen_has_no_path() -> None:
    """And a workflow that cannot be created has none at all."""
    states = [
        State("a", [Transition("go", target="b", guard="g"), Transition("go", target="c", guard="g")]),
        State("b"),
        State("c"),
    ]
    found = paths(Workflow(name="w", initial="a", states=states))
    assert [path.goal for path in found] == [
        "states[a].transitions[0]",
        "states[a].transitions[0]: g says yes",
        "states[a].transitions[0]: g says no",
        "states[a].transitions[1]: g says no",
    ]
    endless = [
        State("a", [Transition(target="b", guard="g"), Transition(target="b", guard=not_("g"))]),
        State("b", [Transition(target="a", guard="g"), Transition(target="a", guard=not_("g"))]),
    ]
    assert paths(Workflow(name="w", initial="a", states=endless)) == ()


# --- rehearsals ---------------------------------------------------------------------------------------------------


def test_a_rehearsal_makes_a_history() -> None:
    """It is the machine's own, with what the run says."""
    (path,) = [path for path in paths(ORDER) if path.goal == "states[new].transitions[0]: Failure"]
    rehearsal = rehearse(ORDER, path.run)
    assert rehearsal.instance is not None
    assert rehearsal.instance.state == "lost"
    assert [(e.event, e.to_state, e.status) for e in rehearsal.entries] == [
        ("$created", "new", "success"),
        ("pay", "lost", "failure"),
    ]


def test_a_rehearsal_says_where_the_workflow_goes_another_way() -> None:
    """An event that is gone, another target, a chain that goes on."""
    run = (Move("$created", None, "new"), Move("lapse", "new", "lost"), Move("reopen", "lost", "new"))

    def diverged(*changed: State) -> str:
        by_name = {state.name: state for state in (*ORDER.states, *changed)}
        return rehearse(attrs.evolve(ORDER, states=[*by_name.values()]), run).diverged

    assert diverged() == ""
    assert "'lost' does not accept 'reopen'" in diverged(State("lost", [Transition("undo", target="new")]))
    assert "it is reopen lost -> done" in diverged(State("lost", [Transition("reopen", target="done")]))
    on = diverged(State("lost", [Transition(target="done"), Transition("reopen", target="new")]))
    assert on == "the automatic transitions go on to 'done', where the run ends"
    with pytest.raises(InvalidArgument, match="must begin with the creation"):
        rehearse(ORDER, run[1:])


def test_a_rehearsal_knows_who_makes_a_hop() -> None:
    """A hop that became a worker's ends the step, and one that no longer is does not."""

    def of(external: bool) -> Workflow:
        call = CommandRef("call", external=external)
        states = [State("a", [Transition(target="b", commands=[call])]), State("b")]
        return Workflow(name="w", initial="a", states=states)

    runs = {
        external: explore(of(external), properties=[never("b")]).broken[0].run for external in (True, False)
    }
    assert rehearse(of(True), runs[True]).followed
    assert rehearse(of(False), runs[False]).followed
    now = rehearse(of(True), runs[False])
    assert now.diverged == "$auto a -> b  [call: done] was expected, but the step is over in 'a'"
    assert now.run == runs[False][:1]
    assert rehearse(of(False), runs[True]).diverged == (
        "the automatic transitions go on to 'b', where the run ends"
    )
    waiting = runs[True][:2]
    assert waiting[-1].status == "waits"
    assert rehearse(of(True), waiting).followed
    assert rehearse(of(True), waiting[:1]).diverged == (
        "$created -> a was expected to be the last of a step, but a worker makes a hop"
    )


def test_a_run_goes_through_the_hops_of_a_worker() -> None:
    """The step is over before such a hop, and goes on after it."""
    call = CommandRef("call", external=True)
    definition = Workflow(
        name="w",
        initial="a",
        states=[
            State("a", [Transition("go", target="b", guard="g")]),
            State(
                "b",
                [
                    Transition(commands=[call], guard="g"),
                    Transition(target="c", guard=not_("g"), commands=[call], error_target="a"),
                    Transition(target="d"),
                ],
            ),
            State("c"),
            State("d"),
        ],
    )
    (run,) = broken(definition, never("c"))
    assert run.splitlines() == [
        "1  $created  -> a",
        "2  go        a -> b           [g: yes]",
        "   (waits)   b, for a worker  [g: yes]",
        "3  $auto     b, stays         [call: done]",
        "   (waits)   b, for a worker  [g: no]",
        "4  $auto     b -> c           [call: done]",
    ]
    for path in paths(definition):
        assert rehearse(definition, path.run).run == path.run
    assert explore(definition).findings == ()


def test_a_property_is_held_against_a_run() -> None:
    """It fails as long as the workflow goes that way, and is well once it does not."""
    prop = never("new", after="lost")
    (found,) = explore(ORDER, properties=[prop]).broken
    with pytest.raises(AssertionError, match=r"never\(\"new\", after=\"lost\"\) is broken:\n  1  \$created"):
        assert_holds(ORDER, prop, found.run)
    mended = attrs.evolve(ORDER, states=[*ORDER.states[:3], State("lost", outcome="failed")])
    assert_holds(mended, prop, found.run)


def test_a_trap_is_held_against_a_run() -> None:
    """Ending elsewhere is broken at the end only."""
    ended = attrs.evolve(ORDER, states=[*ORDER.states[:3], State("lost", outcome="failed")])
    prop = always_reaches("done")
    (found,) = explore(ended, properties=[prop]).broken
    with pytest.raises(AssertionError):
        assert_holds(ended, prop, found.run)
    assert_holds(ORDER, prop, found.run)
    assert_holds(ended, prop, found.run[:1])


def test_a_run_goes_through_json() -> None:
    """And what is none is refused."""
    for path in paths(ORDER):
        assert run_from_json(run_to_json(path.run)) == path.run
    wrongs: list[Any] = [{}, [1], [{"event": "x"}], None]
    for wrong in wrongs:
        with pytest.raises(InvalidArgument, match="run_to_json"):
            run_from_json(wrong)
