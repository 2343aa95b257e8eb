"""Is an upgrade there and back, whatever the workflow, the data and the moment, where it began?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from duraflow import Runtime, State, Transition, Workflow, fold
from duraflow.fold import Folded
from duraflow.memory import InMemoryPersistence
from duraflow.testing import ManualClock, check_invariants

HOURS = st.integers(1, 48).map(lambda hours: timedelta(hours=hours))
EVENTS = ("remind", "expire", "review")
STATES = ("a", "b", "c")

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
contexts = st.dictionaries(texts, json_values, max_size=3)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Workflow, Workflow, dict[str, str]]:
    """Two versions with the same timers by event, of other lengths, and a renaming of states that can be undone."""
    renamed = dict(zip(STATES, draw(st.permutations(["a", "b", "c", "d", "e"])), strict=False))
    timers = {state: draw(st.sets(st.sampled_from(EVENTS))) for state in STATES}

    def flow(version: int, names: dict[str, str]) -> Workflow:
        states = []
        for state in STATES:
            transitions = [
                Transition(event, target="end", after=draw(HOURS)) for event in sorted(timers[state])
            ]
            moves = [Transition(f"to_{other}", target=names[other]) for other in STATES]
            context = draw(contexts)
            states.append(
                State(names[state], [*transitions, *moves, Transition("stop", target="end")], context=context)
            )
        return Workflow(
            name="flow", version=version, initial=names["a"], states=[*states, State("end", final=True)]
        )

    return flow(1, {state: state for state in STATES}), flow(2, renamed), renamed


@given(
    pairs(),
    st.lists(st.tuples(contexts, st.lists(st.sampled_from(STATES), max_size=3)), min_size=1, max_size=5),
    st.integers(0, 100),
    st.integers(1, 3),
)
def test_there_and_back_is_identity(
    versions: tuple[Workflow, Workflow, dict[str, str]],
    made: list[tuple[dict[str, Any], list[str]]],
    later: int,
    batch: int,
) -> None:
    """With a transform that can be undone and due times kept, only history is longer; and it folds to the row."""
    first, second, renamed = versions
    clock, persistence = ManualClock(), InMemoryPersistence()
    ids = []
    with Runtime(workflows=[first], persistence=persistence, clock=clock) as runtime:
        for context, moves in made:
            created = runtime.create("flow", context)
            for state in moves:
                clock.advance(timedelta(minutes=7))
                runtime.fire(created.id, f"to_{state}")
            ids.append(created.id)
        before = [runtime.get(instance_id) for instance_id in ids]
    clock.advance(timedelta(hours=later))
    with Runtime(workflows=[first, second], persistence=persistence, clock=clock) as runtime:
        there = runtime.plan_upgrade(
            "flow", 1, 2, states=renamed, timers="keep_due", transform=lambda c, _: {"was": c, "new": True}
        )
        assert there.total
        assert runtime.apply_upgrade(there, batch=batch).complete
        between = [runtime.get(instance_id) for instance_id in ids]
        assert [one.state for one in between] == [renamed[one.state] for one in before]
        assert [one.context for one in between] == [{"was": one.context, "new": True} for one in before]
        back = runtime.plan_upgrade(
            "flow",
            2,
            1,
            states={new: old for old, new in renamed.items()},
            timers="keep_due",
            transform=lambda c, _: c["was"],
        )
        assert runtime.apply_upgrade(back, batch=batch).complete
        after = [runtime.get(instance_id) for instance_id in ids]
        assert after == [attrs.evolve(one, version=one.version + 2, updated_at=clock.now()) for one in before]
        for one in after:
            assert fold(runtime.history(one.id, limit=1_000)) == Folded.of(one)
        check_invariants(runtime)


@given(
    pairs(),
    st.lists(st.lists(st.sampled_from(STATES), max_size=3), min_size=1, max_size=4),
    st.integers(0, 100),
)
def test_elapsed_time_is_kept_in_both_directions(
    versions: tuple[Workflow, Workflow, dict[str, str]], made: list[list[str]], later: int
) -> None:
    """By default a timer is due as if its version had governed since the state was entered."""
    first, second, renamed = versions
    clock, persistence = ManualClock(), InMemoryPersistence()
    with Runtime(workflows=[first, second], persistence=persistence, clock=clock) as runtime:
        ids = []
        for moves in made:
            created = runtime.create("flow")
            for state in moves:
                clock.advance(timedelta(minutes=7))
                runtime.fire(created.id, f"to_{state}")
            ids.append(created.id)
        before = [runtime.get(instance_id) for instance_id in ids]
        clock.advance(timedelta(hours=later))
        back = runtime.plan_upgrade("flow", 2, 1, states={new: old for old, new in renamed.items()})
        assert runtime.apply_upgrade(back).complete
        for instance_id in ids:
            one = runtime.get(instance_id)
            expected = {
                timer.event: one.entered_at + timer.after  # type: ignore[operator]  # all are durations here
                for timer in first.resolved[one.state].timers.values()
            }
            assert {timer.event: timer.due_at for timer in one.timers} == expected
        there = runtime.plan_upgrade("flow", 1, 2, states=renamed)
        assert runtime.apply_upgrade(there).complete
        after = [runtime.get(instance_id) for instance_id in ids]
        assert [one.timers for one in after] == [one.timers for one in before]
        check_invariants(runtime)
