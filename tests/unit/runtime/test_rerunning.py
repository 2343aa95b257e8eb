"""Where does `replay` say that a history would have gone differently, and what does it own not to know?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow import (
    ArmedTimer,
    Blocker,
    Codec,
    CommandRef,
    CommandResult,
    Failure,
    HistoryEntry,
    InstanceNotFound,
    InvalidArgument,
    Runtime,
    State,
    Transition,
    Workflow,
)
from duraflow.handlers import handler_table
from duraflow.machine.step import Rules
from duraflow.memory import InMemoryPersistence
from duraflow.rerun import RerunDifference, RerunGroup, RerunOutcome, RerunReport, RerunUnknown
from duraflow.rerun.comparing import begins_step
from duraflow.rerun.rerunner import Rerunner
from duraflow.rerun.rules import rules_for
from duraflow.testing import ManualClock
from duraflow.testing.clocks import START

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ALLOW = ("unreachable_state", "no_way_to_final")


# --- the world --------------------------------------------------------------------------------------------------------


def small(payload: Any, context: Mapping[str, Any]) -> bool | Blocker:
    """Whether it is within the limit."""
    return payload["n"] <= context.get("limit", 10) or Blocker("big", "too big", {"n": payload["n"]})


def large(payload: Any) -> bool:
    """The other way round."""
    return bool(payload["n"] > 10)


def note(ctx: Any) -> None:
    """Write what came."""
    ctx.context["noted"] = (ctx.payload or {}).get("n")


def stamp(ctx: Any) -> Failure | None:
    """Write, and fail if told to."""
    ctx.context["stamped"] = True
    return Failure("torn", "the paper is torn") if (ctx.payload or {}).get("n") == 13 else None


def burst(ctx: Any) -> None:
    """Raise."""
    raise RuntimeError("the printer burns")


def quiet(ctx: Any) -> None:
    """Do nothing."""


def in_hours(context: Mapping[str, Any]) -> timedelta | None:
    """So many hours as the context says."""
    hours = context.get("hours")
    return None if hours is None else hours * HOUR


COMMANDS = (note, stamp, burst, quiet)


def case(*states: State, version: int = 1, **more: Any) -> Workflow:
    """A workflow of these states, begun in the first."""
    last = (State("done"), State("bad", outcome="failed", allow=ALLOW))
    return Workflow(
        name="case", version=version, initial=states[0].name,
        states=[*(attrs.evolve(state, allow=ALLOW) for state in states), *last], **more,
    )  # fmt: skip


Act = Callable[[Runtime, UUID, ManualClock], object]


def fire(event: str, **payload: Any) -> Act:
    """Fire it, an hour later."""

    def act(runtime: Runtime, instance_id: UUID, clock: ManualClock) -> object:
        clock.advance(HOUR)
        return runtime.fire(instance_id, event, payload or None)

    return act


def sweep(after: timedelta) -> Act:
    """Fire due timers, so much later."""

    def act(runtime: Runtime, instance_id: UUID, clock: ManualClock) -> object:
        clock.advance(after)
        return runtime.fire_due_timers()

    return act


def rerun(
    before: Workflow, after: Workflow, *acts: Act, context: Mapping[str, Any] | None = None, **options: Any
) -> tuple[RerunReport, Runtime]:
    """What comes of one instance that all this happened to under one definition, run again under another."""
    clock = ManualClock()
    runtime = Runtime(
        workflows=[before], persistence=InMemoryPersistence(), clock=clock, commands=COMMANDS,
        guards=[small, large], delays=[in_hours],
    )  # fmt: skip
    runtime.start()
    created = runtime.create("case", context or {}, ref="C1")
    for act in acts:
        act(runtime, created.id, clock)
    history, row = runtime.history(created.id), runtime.get(created.id)
    report = runtime.replay(after, **options)
    assert (runtime.history(created.id), runtime.get(created.id)) == (history, row)
    assert runtime.replay(before).ok
    return report, runtime


def same(*arguments: Any, **options: Any) -> None:
    """It would have gone the same way."""
    report, _ = rerun(*arguments, **options)
    assert report.ok, str(report)


def different(*arguments: Any, **options: Any) -> tuple[int, str, str]:
    """The entry, what was, and what would have been."""
    report, _ = rerun(*arguments, **options)
    assert (report.same, report.different, report.unknown) == (0, 1, 0), str(report)
    (found,) = report.differences
    return found.seq, found.expected.kind, found.found.kind


def unknown(*arguments: Any, **options: Any) -> tuple[int, str, str]:
    """The entry, what is missing, and its name."""
    report, _ = rerun(*arguments, **options)
    assert (report.same, report.different, report.unknown) == (0, 0, 1), str(report)
    (found,) = report.unknowns
    return found.seq, found.code, found.about


GO = case(State("new", [Transition("go", target="done", guard=small), Transition("go", target="bad")]))


def go(*transitions: Transition, version: int = 2, **more: Any) -> Workflow:
    """The same with other transitions."""
    return case(State("new", transitions, **more), version=version)


# --- events and guards ------------------------------------------------------------------------------------------------


def test_another_answer_is_a_difference() -> None:
    """Another state, a guard's no, an event that is not there, another outcome, another way in."""
    paid = fire("go", n=3)
    assert different(GO, go(Transition("go", target="bad")), paid) == (
        2, "enters 'done', done", "enters 'bad', failed",
    )  # fmt: skip
    assert different(GO, go(Transition("go", target="done", guard=large)), paid) == (
        2, "enters 'done', done", "rejected by large",
    )  # fmt: skip
    assert different(GO, go(Transition("come", target="done")), paid) == (2, "enters 'done', done", "refused")
    strict = go(Transition("go", target="done", guard=small))
    assert different(strict, GO, fire("go", n=11)) == (2, "rejected by small", "enters 'bad'")
    cancelled = Workflow(
        name="case", initial="new",
        states=[
            State("new", [Transition("go", target="done", guard=small), Transition("go", target="bad")]),
            State("done", outcome="cancelled"), State("bad", outcome="failed"),
        ],
    )  # fmt: skip
    assert different(GO, cancelled, paid) == (2, "enters 'done', done", "enters 'done', cancelled")
    stays = go(Transition("go", commands=[quiet]), Transition("end", target="done"))
    again = go(Transition("go", commands=[quiet], target="new"), Transition("end", target="done"))
    assert different(stays, again, paid) == (2, "stays in 'new'", "enters 'new'")
    renamed = case(State("fresh", [Transition("go", target="done")]))
    assert different(GO, renamed, paid) == (1, "enters 'new'", "enters 'fresh'")


def test_what_does_not_lead_elsewhere_is_the_same() -> None:
    """Other words, other reasons of a guard, a new event, another number."""
    strict = go(Transition("go", target="done", guard=small))
    other = go(Transition("go", target="done", guard="reworded"), Transition("rest", target="bad"))
    worded = {"reworded": lambda payload: payload["n"] < 11 or Blocker("other", "in other words")}
    same(strict, other, fire("go", n=11), fire("go", n=1), guards=worded)
    same(GO, attrs.evolve(GO, version=7, description="x"), fire("go", n=1))


def test_guards_see_what_they_saw() -> None:
    """The recorded payload, context, labels, and the recorded time; one that raises or is missing is unknown."""
    seen: list[Any] = []

    def asked(payload: Any, context: Mapping[str, Any], metadata: Mapping[str, Any], now: Any) -> bool:
        seen.append((payload, dict(context), dict(metadata), now))
        return True

    watched = go(Transition("go", target="done", guard="asked"))
    report, _ = rerun(GO, watched, fire("go", n=3), context={"limit": 5}, guards={"asked": asked})
    assert report.ok
    assert seen == [({"n": 3}, {"limit": 5}, {}, START + HOUR)]
    assert unknown(GO, watched, fire("go", n=3)) == (2, "guard", "asked")

    def raises() -> bool:
        raise RuntimeError("no")

    assert unknown(GO, watched, fire("go", n=3), guards={"asked": raises}) == (2, "guard", "asked")
    # What is given goes before what the runtime has.
    assert different(GO, GO, fire("go", n=3), guards={"small": lambda: False}) == (
        2, "enters 'done', done", "enters 'bad', failed",
    )  # fmt: skip


def test_a_payload_that_does_not_load_is_unknown() -> None:
    """The type says more than was recorded."""

    @attrs.frozen
    class Amount:
        n: int
        currency: str

    @attrs.frozen
    class Number:
        n: int

    def typed(payload: Any) -> bool:
        return isinstance(payload, Number)

    states = State("new", [Transition("go", target="done", guard=typed), Transition("go", target="bad")])
    assert unknown(GO, case(states, events={"go": Amount}), fire("go", n=3)) == (2, "payload", "go")
    same(GO, case(states, events={"go": Number}), fire("go", n=3))


# --- commands ---------------------------------------------------------------------------------------------------------


def test_commands_are_taken_from_the_record() -> None:
    """By name, with what they wrote; one that the record does not have is unknown, unless it leads elsewhere anyway."""
    noted = [Transition("go", target="next", commands=[note])]
    guarded = State(
        "next", [Transition("end", target="done", guard="has_noted"), Transition("end", target="bad")]
    )
    has = {"has_noted": lambda context: context.get("noted") == 3}
    before = case(State("new", noted), State("next", [Transition("end", target="done")]))
    acts = (fire("go", n=3), fire("end"))
    same(before, case(State("new", noted), guarded), *acts, guards=has)
    without = case(State("new", [Transition("go", target="next")]), guarded)
    assert different(before, without, *acts, guards=has) == (
        3, "enters 'done', done", "enters 'bad', failed",
    )  # fmt: skip
    more = case(State("new", [Transition("go", target="next", commands=[note, quiet])]), guarded)
    assert unknown(before, more, *acts, guards=has) == (2, "command", "quiet")
    elsewhere = case(State("new", [Transition("go", target="bad", commands=[quiet])]), guarded)
    assert different(before, elsewhere, *acts, guards=has) == (2, "enters 'next'", "enters 'bad'")


def test_who_wrote_what_is_not_guessed() -> None:
    """Of two commands that wrote, one alone cannot be told; where nothing was written it does not matter."""
    both = go(Transition("go", target="done", commands=[note, stamp]), version=1)
    assert unknown(both, go(Transition("go", target="done", commands=[stamp])), fire("go", n=3)) == (
        2, "context", "note",
    )  # fmt: skip
    same(both, go(Transition("go", target="done", commands=[stamp, note])), fire("go", n=3))
    still = go(Transition("go", target="done", commands=[quiet, quiet]), version=1)
    same(still, go(Transition("go", target="done", commands=[quiet])), fire("go", n=3))

    def declared(*commands: Any) -> Workflow:
        sent = State("sent", [Transition("end", target="done")], context={"limit": 5})
        return case(State("new", [Transition("go", target="sent", commands=commands)]), sent)

    # What the entered state declared was written by no command.
    same(declared(quiet, quiet), declared(quiet), fire("go", n=3))


def test_failures_go_where_they_would_go() -> None:
    """To another error target; nowhere without one; on, if the command is best effort now, as far as is recorded."""
    routed = go(Transition("go", target="done", commands=[stamp, quiet], error_target="bad"), version=1)
    torn = fire("go", n=13)
    assert different(routed, go(Transition("go", target="done", commands=[stamp, quiet])), torn) == (
        2, "enters 'bad' by a failure, failed", "undone",
    )  # fmt: skip
    other = go(Transition("go", target="done", commands=[stamp, quiet], error_target="done"))
    assert different(routed, other, torn)[2] == "enters 'done' by a failure, done"
    lenient = [CommandRef("stamp", best_effort=True), quiet]
    eager = go(Transition("go", target="bad", commands=lenient, error_target="done"))
    assert unknown(routed, eager, torn) == (2, "command", "quiet")
    swallowed = go(
        Transition("go", target="done", commands=[CommandRef("burst", best_effort=True)]), version=1
    )
    report, _ = rerun(swallowed, go(Transition("go", target="done", commands=[burst])), fire("go", n=1))
    assert report.differences[0].found == RerunOutcome(
        "new", "undone", detail="the command 'burst' raised RuntimeError: the printer burns"
    )


def test_declared_context_is_that_of_the_new_definition() -> None:
    """It is told apart from what commands wrote; where it cannot be, that is unknown."""

    def sent(version: int, commands: Any = (note,), **context: Any) -> Workflow:
        return case(
            State("new", [Transition("go", target="sent", commands=commands)]),
            State("sent", [Transition("pay", target="done", guard=small), Transition("pay", target="bad")],
                  context=context),
            version=version,
        )  # fmt: skip

    acts = (fire("go", n=1), fire("pay", n=7))
    same(sent(1, limit=5), sent(2, limit=6), *acts)
    assert different(sent(1, limit=5), sent(2, limit=8), *acts) == (
        3, "enters 'bad', failed", "enters 'done', done",
    )  # fmt: skip
    assert unknown(sent(1, limit=5), sent(2), *acts) == (2, "context", "limit")
    # Without a command nobody can have written it.
    assert different(sent(1, (), limit=5), sent(2, ()), *acts) == (
        3, "enters 'bad', failed", "enters 'done', done",
    )  # fmt: skip


def test_what_a_creator_gave_is_told_apart_where_it_can_be() -> None:
    """Another value than the declared one is the creator's; the same may be either, which matters if anything asks."""

    def new(version: int, guard: Any = small, **context: Any) -> Workflow:
        return case(
            State("new", [Transition("go", target="done", guard=guard)], context=context), version=version
        )

    went = fire("go", n=7)
    same(new(1, limit=8), new(2, limit=8), went)
    same(new(1, limit=8), new(2, limit=1), went, context={"limit": 7})
    assert unknown(new(1, limit=8), new(2, limit=1), went) == (1, "context", "limit")
    assert unknown(new(1, limit=8), new(2), went) == (1, "context", "limit")
    same(new(1, None, limit=8), new(2, None, limit=1), went)
    same(new(1), new(2, limit=8), went)
    assert different(new(1), new(2, limit=1), went) == (2, "enters 'done', done", "rejected by small")


# --- chains -----------------------------------------------------------------------------------------------------------


def test_a_chain_is_followed_hop_by_hop() -> None:
    """One hop more, one less, another one; a loop; each hop's commands by themselves."""

    def chain(version: int, *automatic: Transition, first: Any = ()) -> Workflow:
        return case(
            State("new", [Transition("go", target="mid", commands=first)]),
            State("mid", [*automatic, Transition("end", target="done")]),
            version=version,
        )  # fmt: skip

    onward, back = Transition(target="done", guard=small), Transition(target="new", guard=small)
    went = fire("go", n=1)
    assert different(chain(1), chain(2, onward), went) == (2, "rests in 'mid'", "enters 'done', done")
    assert different(chain(1, onward), chain(2), went) == (3, "enters 'done', done", "rests in 'mid'")
    assert different(chain(1, onward), chain(2, back), went) == (3, "enters 'done', done", "enters 'new'")
    loop = Transition(target="mid", guard=small)
    assert different(chain(1), chain(2, loop), went) == (2, "enters 'mid'", "undone")
    loud = Transition(target="done", guard=small, commands=[note])
    same(chain(1, loud, first=[note]), chain(2, loud, first=[note]), went)
    assert different(chain(1), chain(2, loud), went) == (2, "rests in 'mid'", "enters 'done'")
    assert unknown(chain(1, onward), chain(2, loud), went) == (3, "command", "note")


def test_a_chain_that_would_wait_for_a_worker() -> None:
    """At the end of the record it is a difference, before a further event nobody can tell."""
    external = CommandRef("quiet", external=True)

    def chain(version: int, *automatic: Transition) -> Workflow:
        return case(
            State("new", [Transition("go", target="mid")]),
            State("mid", [*automatic, Transition("end", target="done")]),
            version=version,
        )  # fmt: skip

    waits = Transition(target="done", guard=small, commands=[external])
    went = fire("go", n=1)
    assert different(chain(1), chain(2, waits), went) == (2, "rests in 'mid'", "waits in 'mid' for a worker")
    assert different(chain(1, waits), chain(2), went) == (2, "waits in 'mid' for a worker", "rests in 'mid'")
    path = "states[mid].transitions[0]"
    assert unknown(chain(1), chain(2, waits), went, fire("end")) == (3, "continuation", path)
    hop = Transition(target="done", guard=small)
    assert different(chain(1, hop), chain(2, waits), went) == (
        3, "enters 'done', done", "waits in 'mid' for a worker",
    )  # fmt: skip


# --- timers -----------------------------------------------------------------------------------------------------------


def ticking(version: int, after: Any, *more: Transition, **options: Any) -> Workflow:
    """A state with a timer, which leads to `bad`; `go` leads out of it."""
    timer = [Transition("expire", target="bad", after=after, **options)] if after is not None else []
    return case(State("new", [*timer, *more, Transition("go", target="done")]), version=version)


def test_a_timer_fires_when_it_fired() -> None:
    """With the candidates of the timer, at the recorded time; an internal one is spent by it."""
    same(ticking(1, DAY), ticking(2, DAY), sweep(DAY))
    same(ticking(1, DAY), ticking(2, "in_hours"), sweep(DAY), context={"hours": 24})
    assert different(ticking(1, DAY), ticking(2, DAY, guard="no"), sweep(DAY), guards={"no": lambda: False}) == (
        2, "enters 'bad', failed", "rejected by no",
    )  # fmt: skip


def test_a_timer_at_another_time_is_unknown() -> None:
    """It would have fired earlier, or not yet: what else would have come of that is not recorded."""
    assert unknown(ticking(1, DAY), ticking(2, 2 * DAY), sweep(DAY)) == (2, "timer", "expire")
    assert unknown(ticking(1, DAY), ticking(2, HOUR), sweep(DAY)) == (2, "timer", "expire")
    assert unknown(ticking(1, DAY), ticking(2, HOUR), fire("go")) == (2, "timer", "expire")
    same(ticking(1, DAY), ticking(2, 2 * HOUR), fire("go"))
    same(ticking(1, None), ticking(2, 2 * HOUR), fire("go"))
    same(ticking(1, DAY), ticking(2, None), fire("go"))


def test_a_timer_that_is_not_armed_does_not_fire() -> None:
    """Nor does it wait; one that is armed in addition waits where nothing did."""
    assert different(ticking(1, DAY), ticking(2, None), sweep(DAY)) == (2, "enters 'bad', failed", "refused")
    assert different(ticking(1, DAY), ticking(2, None)) == (
        1, "rests in 'new' with timers expire", "rests in 'new' with no timer",
    )  # fmt: skip
    report, _ = rerun(ticking(1, DAY), ticking(2, 2 * DAY))
    (found,) = report.differences
    assert found.expected.timers == (ArmedTimer("expire", START + DAY),)
    assert found.found.timers == (ArmedTimer("expire", START + 2 * DAY),)


def test_a_delay_that_cannot_answer_is_unknown() -> None:
    """Missing, raising, or giving what is no time."""

    def raises() -> timedelta:
        raise RuntimeError("no")

    for delay in (None, raises, lambda: "tomorrow"):
        given = {} if delay is None else {"strange": delay}
        report, _ = rerun(ticking(1, DAY), ticking(2, "strange"), fire("go"), delays=given)
        assert (report.unknown, report.unknowns[0].seq) == (1, 1)
        assert "strange" in str(report.unknowns[0])


def test_an_internal_timer_is_spent_and_a_refused_one_may_be_given_up() -> None:
    """As then: what is not armed any more does not fire again."""
    nudge = Transition("nudge", commands=[quiet], after=HOUR)
    same(ticking(1, None, nudge), ticking(2, None, nudge), sweep(HOUR), sweep(DAY))
    no = Transition("expire", target="bad", after=HOUR, guard=large, on_rejected="disarm")
    once = [ticking(version, None, attrs.evolve(no, guard="no")) for version in (1, 2)]
    clock = ManualClock()
    runtime = Runtime(
        workflows=[once[0]], persistence=InMemoryPersistence(), clock=clock, guards={"no": lambda: False}
    )
    with runtime:
        created = runtime.create("case")
        clock.advance(HOUR)
        assert runtime.fire_due_timers().rejected == 1
        assert runtime.get(created.id).timers == ()
        assert runtime.replay(once[1]).ok
        patient = ticking(3, None, attrs.evolve(no, guard="no", on_rejected="retry"))
        (found,) = runtime.replay(patient).differences
        assert found.found.kind == "rests in 'new' with timers expire"


# --- operators --------------------------------------------------------------------------------------------------------


def test_what_an_operator_did_is_taken_as_recorded() -> None:
    """With what follows from it by the new definition; into a state that is not there it is unknown."""

    def force(state: str, **context: Any) -> Act:
        return lambda runtime, instance_id, _: runtime.force(
            instance_id, state=state, context=context or None, reason="to try"
        )

    cancel: Act = lambda runtime, instance_id, _: runtime.cancel(instance_id)  # noqa: E731  # beside its like

    def states(version: int, *automatic: Transition, odd: str = "odd") -> Workflow:
        return case(
            State("new", [Transition("go", target="done")]),
            State(odd, [*automatic, Transition("go", target="done", guard=small), Transition("go", target="bad")]),
            version=version,
        )  # fmt: skip

    went = fire("go", n=4)
    same(states(1), states(2), force("odd", limit=3), went)
    same(states(1), states(2), force("odd", limit=5), went)
    assert unknown(states(1), states(2, odd="strange"), force("odd"), went) == (2, "state", "odd")
    onward = Transition(target="done", guard="yes")
    assert different(states(1), states(2, onward), force("odd"), guards={"yes": lambda: True}) == (
        2, "rests in 'odd'", "enters 'done', done",
    )  # fmt: skip
    same(states(1), states(2), cancel)
    same(states(1), states(2), cancel, force("odd", limit=5), went)


def test_an_upgrade_is_taken_as_recorded() -> None:
    """With the timers that it kept, the context that it made, and the automatic moves that followed it."""

    def version(number: int, *automatic: Transition, after: timedelta = DAY) -> Workflow:
        return case(
            State("new", [Transition("go", target="done"), Transition("expire", target="bad", after=after)]),
            State("mid", [*automatic, Transition("go", target="done", guard=small)]),
            version=number,
        )  # fmt: skip

    clock, persistence = ManualClock(), InMemoryPersistence()
    first, second = version(1), version(2, Transition(target="done", guard="ready"))
    asks = {"ready": lambda context: context.get("ready", False), "small": small}
    with Runtime(workflows=[first], persistence=persistence, clock=clock, guards=asks) as runtime:
        ids = [runtime.create("case", {"n": n}).id for n in range(2)]
    clock.advance(HOUR)
    with Runtime(workflows=[first, second], persistence=persistence, clock=clock, guards=asks) as runtime:
        plan = runtime.plan_upgrade("case", 1, 2)
        assert runtime.apply_upgrade(plan, limit=1).moved == 1
        mapped = runtime.plan_upgrade(
            "case", 1, 2, states={"new": "mid"}, transform=lambda context, _: {**context, "ready": True}
        )
        assert runtime.apply_upgrade(mapped).moved == 1
        clock.advance(DAY)
        assert runtime.fire_due_timers().fired == 1
        assert {runtime.get(one).state for one in ids} == {"bad", "done"}
        assert runtime.replay(second).ok
        lost = attrs.evolve(
            second, version=3, states=[state for state in second.states if state.name != "mid"]
        )
        assert [(found.code, found.about) for found in runtime.replay(lost).unknowns] == [("state", "mid")]
        (found,) = runtime.replay(version(3)).differences
        assert (found.expected.kind, found.found.kind) == ("enters 'done', done", "rests in 'mid'")


def test_a_chain_that_a_worker_went_on_with_is_followed_further() -> None:
    """Its continuation begins a step of its own, with the payload that began the chain, and results from the record."""
    external = CommandRef("quiet", external=True)

    def chain(*hops: Transition) -> Workflow:
        return case(
            State("new", [Transition("go", target="mid")]),
            State("mid", [*hops, Transition("end", target="done")]),
            State("late", [Transition(target="done", guard=small), Transition("end", target="done")]),
        )

    waits = chain(Transition(target="late", guard=small, commands=[external]))
    clock = ManualClock()
    with Runtime(
        workflows=[waits], persistence=InMemoryPersistence(), clock=clock, commands=COMMANDS, guards=[small]
    ) as runtime:
        created = runtime.create("case")
        fire("go", n=1)(runtime, created.id, clock)
        row, entries = runtime.get(created.id), runtime.history(created.id)
    went_on = attrs.evolve(
        entries[-1], seq=3, event="$auto", from_state="mid", to_state="late", at=START + DAY, payload=None,
        attempt_id=uuid4(), commands=(CommandResult("quiet"),),
    )  # fmt: skip
    ended = attrs.evolve(went_on, seq=4, from_state="late", to_state="done", commands=(), outcome="done")
    after = attrs.evolve(row, continuation=None, state="done", outcome="done", version=4)

    def run(workflow: Workflow, *last: HistoryEntry) -> Any:
        rules = Rules(
            handler_table([waits], commands=COMMANDS, guards=[small], delays=()), Codec(), uuid4, 10
        )
        given = handler_table((), commands=(), guards=(), delays=())
        rerunner = Rerunner(workflow, rules_for(workflow, rules, given), {1: waits}, after)
        step: list[HistoryEntry] = []
        for entry in (*entries, *last):
            if step and begins_step(entry, step):
                found = rerunner.take(step)
                if found is not None:
                    return found
                step = []
            step.append(entry)
        return rerunner.take(step) or rerunner.end()

    assert run(waits, went_on, ended) is None
    found = run(waits, attrs.evolve(went_on, commands=(CommandResult("other"),)))
    assert (found.seq, found.code, found.about) == (3, "command", "quiet")
    found = run(chain(), went_on)
    assert (found.seq, found.found.kind) == (3, "rests in 'mid'")


# --- the report -------------------------------------------------------------------------------------------------------


@pytest.fixture
def many() -> Any:
    """A runtime with seven instances: three paid little, three much, one is still new."""
    clock = ManualClock()
    loose = go(Transition("go", target="done"), version=1)
    runtime = Runtime(
        workflows=[loose], persistence=InMemoryPersistence(), clock=clock, guards=[small, large]
    )
    with runtime:
        for n in (1, 11, 2, 12, 3, 13, None):
            created = runtime.create("case", ref=f"C{n}", metadata={"big": bool(n and n > 10)})
            clock.advance(HOUR)
            if n is not None:
                runtime.fire(created.id, "go", {"n": n})
        yield runtime


STRICT = go(Transition("go", target="done", guard=small))


def test_a_report_counts_and_tells(many: Runtime) -> None:
    """Totals, groups with an example, each difference in full; as a text too."""
    report = many.replay(STRICT, oldest_first=True)
    (group,) = report.groups
    first = many.get(("case", "C11"))
    assert (report.workflow, report.version, report.ok) == ("case", 2, False)
    assert (report.total, report.same, report.different, report.unknown) == (7, 4, 3, 0)
    assert group == RerunGroup(
        "different", "go", "new", "enters 'done', done", "rejected by small", 3, first.id
    )
    blocker = Blocker("big", "too big", {"n": 11}, "small", "states[new].transitions[0]")
    assert report.differences[0] == RerunDifference(
        first.id, "C11", 2, "go", first.updated_at, "new",
        RerunOutcome("done", "success", True, "done"), RerunOutcome("new", "rejected", blockers=(blocker,)),
    )  # fmt: skip
    assert [found.ref for found in report.differences] == ["C11", "C12", "C13"]
    assert str(report.differences[0]) == (
        f"{first.id} (ref 'C11'), entry 2 at 2024-01-01 02:00:00+00:00, 'go' in 'new': "
        "expected: enters 'done', done; found: rejected: too big (guard 'small') [n=11]"
    )
    assert str(report).splitlines() == [
        "workflow 'case' version 2: 7 instances: 4 the same, 3 different, 0 unknown",
        f"  3 x 'go' in 'new': expected: enters 'done', done; found: rejected by small (such as {first.id})",
    ]
    asking = many.replay(go(Transition("go", target="done", guard="nobody")))
    assert (asking.same, asking.unknown) == (1, 6)
    assert str(asking).splitlines()[1].startswith("  6 x 'go' in 'new': unknown: guard nobody (such as ")
    last = many.get(("case", "C13"))
    assert asking.unknowns[0] == RerunUnknown(
        last.id,
        "C13",
        2,
        "go",
        last.updated_at,
        "new",
        "guard",
        "nobody",
        "the guard 'nobody' is not registered",
    )


def test_instances_are_chosen(many: Runtime) -> None:
    """By a filter, page by page, or by name; what is not there, or of another workflow, is an error."""
    assert many.replay(STRICT, metadata={"big": True}).total == 3
    assert many.replay(STRICT, open=True).total == 1
    done: list[int] = []
    page = many.replay(STRICT, limit=3, oldest_first=True, on_progress=done.append)
    assert (page.total, page.different, done) == (3, 1, [3])
    rest = many.replay(STRICT, limit=None, oldest_first=True, cursor=page.cursor)
    assert (rest.total, rest.different, rest.cursor) == (4, 2, None)
    chosen = many.replay(STRICT, instances=[("case", "C1"), many.get(("case", "C12"))])
    assert (chosen.same, chosen.different, chosen.cursor) == (1, 1, None)
    assert many.replay(STRICT, instances=[]).total == 0
    with pytest.raises(InstanceNotFound):
        many.replay(STRICT, instances=[uuid4()])
    bad: list[tuple[Any, str]] = [
        ({"limit": 0}, "limit"), ({"limit": True}, "limit"), ({"keep": -1}, "keep"), ({"keep": 10_001}, "keep"),
        ({"instances": [], "open": True}, "not both"), ({"instances": [], "cursor": "x"}, "not both"),
        ({"cursor": "x"}, "cursor"), ({"state": "nowhere"}, "nowhere"), ({"instances": ["x"]}, "target"),
    ]  # fmt: skip
    for options, match in bad:
        with pytest.raises(InvalidArgument, match=match):
            many.replay(STRICT, **options)
    with pytest.raises(InvalidArgument, match="of workflow 'case', not of 'other'"):
        many.replay(attrs.evolve(STRICT, name="other"), instances=[("case", "C1")])
    with pytest.raises(InvalidArgument, match="definition to try"):
        many.replay("case")  # type: ignore[arg-type]  # what a user may try


def test_so_many_are_told_in_full(many: Runtime) -> None:
    """The counts are complete whatever is kept."""
    report = many.replay(STRICT, keep=2)
    assert (len(report.differences), report.different, report.groups[0].count) == (2, 3, 3)
    assert many.replay(STRICT, keep=0).differences == ()


def test_without_the_old_definition_what_depends_on_it_is_unknown() -> None:
    """What commands wrote on the way into a state cannot be told from what the state declared."""
    clock = ManualClock()
    persistence = attrs.evolve(InMemoryPersistence(), definitions=None)
    noted = go(Transition("go", target="done", commands=[note]), version=1)
    with Runtime(workflows=[noted], persistence=persistence, clock=clock, commands=COMMANDS) as runtime:
        written, silent = runtime.create("case"), runtime.create("case")
        runtime.fire(written.id, "go", {"n": 1})
        runtime.fire(silent.id, "go", {})
    newer = attrs.evolve(noted, version=2)
    with Runtime(workflows=[newer], persistence=persistence, clock=clock, commands=COMMANDS) as runtime:
        report = runtime.replay(newer, instances=[written.id])
        assert [(found.seq, found.code, found.about) for found in report.unknowns] == [(2, "definition", "1")]
