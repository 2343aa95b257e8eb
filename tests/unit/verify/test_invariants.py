"""Are invariants tried with real guards and commands, and is it said what was not?"""

from __future__ import annotations

import runpy
import sys
import types
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest

from duraflow import Failure, InvalidArgument, State, Transition, Workflow
from duraflow.testing import EffectLedger, TransactionalLedger
from duraflow.verify import explore, invariant, never


@attrs.frozen
class Payment:
    amount: int


def covers(payload: Payment, context: Any) -> bool:
    """A guard."""
    return bool(payload.amount + context.get("paid", 0) >= 100)


def book(ctx: Any) -> Failure | None:
    """A command that writes, or fails."""
    if ctx.payload.amount == 13:
        return Failure("unlucky")
    ctx.context["paid"] = ctx.context.get("paid", 0) + ctx.payload.amount
    return None


def remind(ctx: Any) -> None:
    """A command of a timer."""
    ctx.context["reminded"] = ctx.context.get("reminded", 0) + 1


ORDER = Workflow(
    name="order",
    initial="new",
    events={"pay": Payment},
    states=[
        State(
            "new",
            [
                Transition("pay", target="paid", guard=covers, commands=[book], error_target="odd"),
                Transition("pay", commands=[book]),
                Transition("remind", target="new", commands=[remind], after=timedelta(days=7)),
            ],
        ),
        State("paid"),
        State("odd", outcome="failed"),
    ],
)


def paid_in_full(context: dict[str, Any], state: str) -> bool:
    """An invariant."""
    return state != "paid" or bool(context["paid"] == 100)


def test_an_invariant_that_holds_says_how_far_it_was_tried() -> None:
    """Every different place once, up to the depth."""
    report = explore(ORDER, properties=[invariant(paid_in_full, payloads={"pay": [Payment(50)]}, depth=3)])
    (checked,) = report.checked
    assert checked.holds
    assert checked.tried is not None
    assert checked.tried >= 6
    assert checked.not_covered == (
        "what comes after 2 of the places, where the search ended (depth=3, max_places=2000)",
    )
    assert "holds   invariant(paid_in_full), in" in report.to_text()
    assert "not tried: what comes after" in report.to_text()


def test_an_invariant_that_is_broken_gives_a_shortest_run_with_its_examples() -> None:
    """And the context that breaks it."""
    prop = invariant(paid_in_full, payloads={"pay": [Payment(50), Payment(70)]})
    report = explore(ORDER, properties=[prop])
    (found,) = report.broken
    assert found.broken is not None
    assert [move.event for move in found.run] == ["$created", "pay", "pay"]
    assert [(a.event, a.example) for a in found.broken.actions] == [("$created", 0), ("pay", 0), ("pay", 1)]
    assert found.broken.given == ({}, Payment(50), Payment(70))
    assert found.broken.context == {"paid": 120}
    assert "pay with Payment(amount=70)" in str(found)
    assert report.exit_code() == 1
    with pytest.raises(AssertionError, match="invariant\\(paid_in_full\\): it does not hold"):
        prop.replay(ORDER, [("$created", 0), ("pay", 0), ("pay", 1)])
    prop.replay(ORDER, [("$created", 0), ("pay", 0), ("pay", 0)])


def test_time_passes_to_the_next_timer() -> None:
    """Timers are fired by a sweep, as in production."""

    def once(context: dict[str, Any]) -> None:
        assert context.get("reminded", 0) < 2, "reminded twice"

    (found,) = explore(ORDER, properties=[invariant(once)]).broken
    assert found.broken is not None
    assert found.broken.message.startswith("reminded twice")
    # `remind` is a timer, and can be fired by name as well: either way it is two of them
    assert len(found.broken.actions) == 3


def test_a_failure_leads_to_its_error_target() -> None:
    """What a command answers is really answered."""
    prop = invariant(
        lambda state: state != "odd",
        name="never_odd",
        payloads={"pay": [Payment(13)]},
        contexts=[{"paid": 99}],
    )
    (found,) = explore(ORDER, properties=[prop]).broken
    assert found.run[-1].status == "failure"
    assert found.run[-1].commands == (("book", "failure"),)


def test_what_cannot_be_tried_is_said() -> None:
    """Missing examples and handlers, async and external commands, what raises."""

    async def slow(ctx: Any) -> None:
        raise AssertionError

    def breaks(ctx: Any) -> None:
        raise KeyError("amount")

    definition = Workflow(
        name="w",
        initial="a",
        events={"pay": Payment},
        states=[
            State(
                "a",
                [
                    Transition("pay", target="b"),
                    Transition("slow", target="b", commands=[slow]),
                    Transition("gone", target="b", commands=["gone"]),
                    Transition("ask", target="b", guard="unknown"),
                    Transition("break", target="b", commands=[breaks]),
                    Transition("later", target="b", after="some_time"),
                ],
            ),
            State("b"),
        ],
    )
    (checked,) = explore(
        definition, properties=[invariant(lambda state: state in "ab", name="known")]
    ).checked
    assert checked.holds
    assert set(checked.not_covered) == {
        "the event 'pay': it takes a payload, and there is no example in `payloads`",
        "the command 'slow' is async: what it is needed for is not tried",
        "no command 'gone' is given: what it is needed for is not tried",
        "no guard 'unknown' is given: what it is needed for is not tried",
        "'break' with None: KeyError: 'amount'",
        "no delay 'some_time' is given: its timers are not tried",
    }


def test_handlers_resources_and_metadata_are_those_of_a_runtime() -> None:
    """The same workflow with the commands of a test."""
    ledger = EffectLedger()

    def post(ctx: Any) -> None:
        ctx.resource(TransactionalLedger).record((ctx.transition_id, "post"))
        ctx.context["posted"] = ctx.metadata["to"]

    definition = Workflow(
        name="w",
        initial="a",
        states=[State("a", [Transition("go", target="b", commands=["post"], guard="may")]), State("b")],
    )
    prop = invariant(
        lambda context, metadata: context.get("posted", metadata["to"]) == "Rome",
        name="to_rome",
        metadata={"to": "Rome"},
        commands={"post": post},
        guards={"may": lambda: True},
        resources={TransactionalLedger: ledger.in_transaction},
    )
    (checked,) = explore(definition, properties=[prop]).checked
    assert checked.holds
    assert checked.not_covered == ()
    assert checked.tried == 2
    assert len(ledger) == 1


def test_wrong_invariants_are_refused() -> None:
    """Before anything runs, with what to do."""
    with pytest.raises(InvalidArgument, match="has the parameter 'ctx'; what it can ask for is context"):
        invariant(lambda ctx: True)
    with pytest.raises(InvalidArgument, match="depth"):
        invariant(lambda context: True, depth=0)
    with pytest.raises(InvalidArgument, match="has no event 'fly'"):
        explore(ORDER, properties=[invariant(lambda context: True, payloads={"fly": [None]})])
    with pytest.raises(InvalidArgument, match="return True or False"):
        explore(ORDER, properties=[invariant(lambda context: 1)])


# --- as a test ----------------------------------------------------------------------------------------------------

PAID_IN_FULL = invariant(paid_in_full, payloads={"pay": [Payment(50), Payment(70)]})


@pytest.mark.parametrize(
    ("prop", "place"),
    [
        (never("odd"), None),
        (never("odd"), "made_up.module:PROPERTY"),
        (PAID_IN_FULL, "made_up.module:PROPERTY"),
    ],
    ids=["never", "never, imported", "invariant"],
)
def test_a_counterexample_is_a_test_that_fails_until_it_is_mended(
    prop: Any, place: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The text is a module that pytest can run."""
    (found,) = explore(ORDER, properties=[prop]).broken
    text = found.to_test("made_up.module:flows[0]", place)
    made = tmp_path / "test_found.py"
    made.write_text(text, encoding="utf-8")
    module = types.ModuleType("made_up.module")
    monkeypatch.setitem(sys.modules, "made_up", types.ModuleType("made_up"))
    monkeypatch.setitem(sys.modules, "made_up.module", module)
    module.__dict__.update(flows=[ORDER], PROPERTY=prop)
    (test,) = [f for name, f in runpy.run_path(str(made)).items() if name.startswith("test_")]
    with pytest.raises(AssertionError, match="pay"):
        test()

    def exact(payload: Payment, context: Any) -> bool:
        return bool(payload.amount + context.get("paid", 0) == 100)

    states = [
        State("new", [Transition("pay", target="paid", guard=exact, commands=[book])]),
        *ORDER.states[1:],
    ]
    module.__dict__["flows"] = [attrs.evolve(ORDER, states=states)]
    (test,) = [f for name, f in runpy.run_path(str(made)).items() if name.startswith("test_")]
    test()


def test_the_places_of_a_test_are_checked() -> None:
    """It must be known what to import."""
    (found,) = explore(ORDER, properties=[PAID_IN_FULL]).broken
    with pytest.raises(InvalidArgument, match="is no place such as"):
        found.to_test("made_up.py", "a:b")
    with pytest.raises(InvalidArgument, match="the test needs it as it is"):
        found.to_test("made_up:flow")
