"""Does history say exactly what an instance was like, and does it go the same way when it is run again?"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import attrs
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from duraflow import (
    Blocker,
    DuraflowError,
    Failure,
    Instance,
    Runtime,
    Success,
    TimerRetryPolicy,
    Workflow,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing import ManualClock
from duraflow.testing.strategies import workflows

HOUR = timedelta(hours=1)

# --- handlers: guards and delays are functions of what they see; commands write, fail and raise ----------------------


def even(context: Mapping[str, Any]) -> bool | Blocker:
    """By the context."""
    return context.get("n", 0) % 2 == 0 or Blocker("odd", "it is odd", {"n": context.get("n", 0)})


def early(now: datetime) -> bool:
    """By the time."""
    return now.hour < 12


def paid(payload: Any) -> bool:
    """By the payload."""
    return bool(payload)


def labelled(metadata: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """By the labels, of the instance and of the reference."""
    return bool(metadata) or bool(params)


def soon(context: Mapping[str, Any]) -> timedelta | None:
    """Some hours, or never."""
    return None if context.get("n", 0) > 5 else context.get("n", 0) * HOUR


def at_noon(now: datetime) -> datetime:
    """A time of the day."""
    return now.replace(hour=12)


def count(ctx: Any) -> Success:
    """Write."""
    ctx.context["n"] = ctx.context.get("n", 0) + 1
    return Success({"n": ctx.context["n"]})


def forget(ctx: Any) -> None:
    """Take out all that is there."""
    ctx.context.clear()


def store(ctx: Any) -> None:
    """Keep the payload."""
    ctx.context["seen"] = ctx.payload


def fail_if_odd(ctx: Any) -> Failure | None:
    """Write, and then say no."""
    ctx.context["tried"] = ctx.event
    return Failure("odd", "it is odd") if ctx.context.get("n", 0) % 2 else None


def raise_if_third(ctx: Any) -> None:
    """Write, and then raise."""
    ctx.context["spoilt"] = True
    if ctx.context.get("n", 0) % 3 == 2:
        raise RuntimeError("the third")


COMMANDS = (count, forget, store, fail_if_odd, raise_if_third)
GUARDS = (even, early, paid, labelled)
DELAYS = (soon, at_noon)
NAMES: dict[str, Any] = {
    kind: st.sampled_from([handler.__name__ for handler in handlers])
    for kind, handlers in (("commands", COMMANDS), ("guard_names", GUARDS), ("delays", DELAYS))
}
CONTEXTS = st.fixed_dictionaries({}, optional={"n": st.integers(0, 3), "x": st.none()})
PAYLOADS: st.SearchStrategy[Any] = st.one_of(st.none(), st.just({}), st.just({"amount": 1.0}))


@attrs.frozen
class Life:
    """What happened to some instances: the runtime, and how each was whenever it was looked at."""

    runtime: Runtime
    workflow: Workflow
    seen: dict[UUID, list[Instance]]


def runtime_of(workflow: Workflow, clock: ManualClock) -> Runtime:
    """A started runtime in memory."""
    runtime = Runtime(
        workflows=[workflow],
        persistence=InMemoryPersistence(),
        commands=COMMANDS,
        guards=GUARDS,
        delays=DELAYS,
        clock=clock,
        timer_retry=TimerRetryPolicy(first=HOUR, factor=2.0, cap=4 * HOUR, park_after=2),
        max_automatic_moves=4,
    )
    runtime.start()
    return runtime


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Random things done to instances of a random workflow."""
    workflow = draw(workflows(hostile=False, external=draw(st.booleans()), **NAMES))
    clock = ManualClock()
    runtime = runtime_of(workflow, clock)
    seen: dict[UUID, list[Instance]] = {}

    def look(instance_id: UUID) -> None:
        now = runtime.get(instance_id)
        known = seen.setdefault(instance_id, [])
        if not known or known[-1].version != now.version:
            known.append(now)

    for _ in range(draw(st.integers(1, 2))):
        try:
            created = runtime.create(workflow, draw(CONTEXTS), metadata=draw(st.sampled_from(({}, {"a": 1}))))
        except (DuraflowError, RuntimeError):
            continue
        look(created.id)
    states, events = sorted(workflow.resolved), sorted(workflow.event_names)
    for instance_id in [*seen] * draw(st.integers(2, 8)):
        try:
            match draw(st.sampled_from(("fire", "fire", "fire", "sweep", "sweep", "force", "cancel"))):
                case "fire" if events:
                    known = runtime.get(instance_id)
                    accepted = workflow.resolved[known.state].accepted or events
                    runtime.fire(instance_id, draw(st.sampled_from(accepted)), draw(PAYLOADS))
                case "sweep":
                    due = runtime.get(instance_id).due_at
                    if due is not None and due > clock.now():
                        clock.set(due)
                    runtime.fire_due_timers()
                case "force":
                    state, context = draw(st.sampled_from(states)), draw(CONTEXTS)
                    runtime.force(instance_id, state=state, context=context, reason="to try")
                case "cancel":
                    runtime.cancel(instance_id)
        except (DuraflowError, RuntimeError):
            pass
        clock.advance(draw(st.sampled_from((timedelta(0), timedelta(minutes=7), 5 * HOUR))))
        for one in seen:
            look(one)
    return Life(runtime, workflow, seen)


SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@SETTINGS
@given(lives())
def test_the_past_comes_back_exactly(life: Life) -> None:
    """By seq and by time: what `get` gave, but for the continuation of a chain, which history does not record."""
    for instance_id, known in life.seen.items():
        for number, one in enumerate(known):
            last = number + 1 == len(known)
            expected = one if last else attrs.evolve(one, continuation=None)
            assert life.runtime.state_at(instance_id, seq=one.version) == expected
            if last or known[number + 1].updated_at > one.updated_at:
                assert life.runtime.state_at(instance_id, time=one.updated_at) == expected


@SETTINGS
@given(lives())
def test_history_goes_the_same_way_again(life: Life) -> None:
    """Against the same definition nothing differs and nothing is unknown: timers, chains, failures, forced moves."""
    before = {instance_id: life.runtime.history(instance_id) for instance_id in life.seen}
    report = life.runtime.replay(life.workflow)
    assert (report.total, report.same) == (len(life.seen), len(life.seen)), "\n".join(
        map(str, (*report.differences, *report.unknowns))
    )
    assert report.ok
    assert {instance_id: life.runtime.history(instance_id) for instance_id in life.seen} == before
    for entries in before.values():
        for entry in entries:
            event(entry.kind)
            event(entry.status)
            if entry.trigger.get("by") == "timer":
                event(f"timer {entry.status}")
            for result in entry.commands:
                event(f"command {result.status}")
    assert life.runtime.replay(Workflow.from_json(life.workflow.to_json())) == report


@SETTINGS
@given(lives())
def test_differences_add_up(life: Life) -> None:
    """What changed from a to b, put onto a, is b."""
    for instance_id, known in life.seen.items():
        for earlier, later in itertools.pairwise(known):
            found = life.runtime.diff(instance_id, earlier.version, later.version)
            context = {
                **{key: value for key, value in earlier.context.items() if key not in found.context_unset},
                **found.context_set,
                **{key: new for key, (_, new) in found.context_changed.items()},
            }
            assert context == later.context
            timers = {timer for timer in earlier.timers if timer not in found.disarmed} | set(found.armed)
            assert timers == set(later.timers)
            assert [entry.seq for entry in found.entries] == [*range(earlier.version + 1, later.version + 1)]
