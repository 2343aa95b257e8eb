"""Is exporting and importing the identity, whatever happened to the instances, and is nothing else ever taken in?"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from duraflow import (
    ChainTooDeep,
    CommandFailed,
    EventRefused,
    ImportRefused,
    Instance,
    InvalidArgument,
    Runtime,
    Workflow,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing import EffectLedger, ManualClock, TransactionalLedger, check_invariants
from duraflow.testing.strategies import json_objects
from tests.property.test_runtime_model import (
    BOUND,
    COMMANDS,
    EVENTS,
    GUARDS,
    STATES,
    command,
    guard,
    workflows,
)

REFUSED = (CommandFailed, EventRefused, ChainTooDeep, InvalidArgument)
"""What a random life runs into, beside what its commands raise."""

acts = st.lists(
    st.one_of(
        st.tuples(
            st.just("fire"),
            st.sampled_from((*EVENTS, "w")),
            st.one_of(st.none(), json_objects()),
            st.sampled_from((None, "k1", "k2", "größe")),
            json_objects(max_leaves=2),
        ),
        st.tuples(st.just("sweep"), st.integers(0, 5)),
        st.tuples(st.just("force"), st.sampled_from(STATES), json_objects(max_leaves=2)),
        st.tuples(st.just("cancel")),
    ),
    max_size=8,
)
lives = st.lists(
    st.tuples(json_objects(), json_objects(max_leaves=2), st.sampled_from((None, "A", "B")), st.booleans(), acts),
    min_size=1, max_size=3,
)  # fmt: skip


def _runtime(workflow: Workflow, clock: ManualClock) -> Runtime:
    return Runtime(
        workflows=[workflow],
        persistence=InMemoryPersistence(),
        commands={name: command(name) for name in COMMANDS},
        guards={name: guard(*flag) for name, flag in GUARDS.items()},
        resources={TransactionalLedger: EffectLedger().in_transaction},
        clock=clock,
        max_automatic_moves=BOUND,
    )


def _live(runtime: Runtime, clock: ManualClock, instance: Instance, act: tuple[Any, ...]) -> None:
    match act:
        case ("fire", event, payload, key, trigger):
            runtime.fire(instance.id, event, payload, key=key, fingerprint=False, trigger=trigger)
        case ("sweep", hours):
            clock.advance(timedelta(hours=hours, microseconds=1))
            runtime.fire_due_timers()
        case ("force", state, context):
            runtime.force(instance.id, state=state, reason="x", context=context)
        case ("cancel",):
            runtime.cancel(instance.id)


def _fill(runtime: Runtime, clock: ManualClock, found: list[Any]) -> None:
    refs = set()
    for context, metadata, ref, keyed, life in found:
        try:
            made = runtime.create(
                "random", context, metadata=metadata, ref=None if ref in refs else ref, key=ref if keyed else None
            )  # fmt: skip
        except Exception:  # noqa: BLE001  # its commands raise, or the key is that of another request
            continue
        refs.add(ref)
        for act in life:
            try:
                _live(runtime, clock, made, act)
            except Exception as error:
                # What commands raise; what else may go wrong, the model of the runtime looks for.
                if not isinstance(error, REFUSED) and not type(error).__module__.startswith("tests."):
                    raise


@given(workflows(), lives)
def test_export_and_import_are_the_identity(workflow: Workflow, found: list[Any]) -> None:
    """Row by row, entry by entry; and what was read once more says the same, line by line."""
    clock = ManualClock()
    with _runtime(workflow, clock) as first, _runtime(workflow, clock) as second:
        _fill(first, clock, found)
        lines = list(first.export())
        result = second.import_(lines, messages="all")
        assert result.complete
        there = first.list(limit=100, oldest_first=True).instances
        assert second.list(limit=100, oldest_first=True).instances == there
        for instance in there:
            assert second.history(instance.id, limit=100) == first.history(instance.id, limit=100)
        assert list(second.export()) == lines
        assert second.parked() == first.parked()
        check_invariants(second)
        # From here on both go on alike.
        clock.advance(timedelta(hours=3))
        assert second.fire_due_timers() == first.fire_due_timers()
        known = {instance.id: instance.state for instance in first.list(limit=100).instances}
        assert {instance.id: instance.state for instance in second.list(limit=100).instances} == known


@given(workflows(), lives, st.data())
def test_nothing_is_taken_in_that_does_not_hold(
    workflow: Workflow, found: list[Any], data: st.DataObject
) -> None:
    """Whatever is changed or left out in a line: it is refused by its number, or what came in keeps every invariant."""
    clock = ManualClock()
    with _runtime(workflow, clock) as first, _runtime(workflow, clock) as second:
        _fill(first, clock, found)
        lines = list(first.export())
        number = data.draw(st.integers(0, len(lines) - 1))
        tree = json.loads(lines[number])
        spots = list(_spots(tree))
        holder, key = data.draw(st.sampled_from(spots))
        if data.draw(st.booleans()):
            del holder[key]
        else:
            holder[key] = data.draw(
                st.one_of(
                    st.none(),
                    st.integers(-1, 5),
                    st.text(max_size=3),
                    st.just([]),
                    st.just({}),
                    st.booleans(),
                )
            )
        lines[number] = json.dumps(tree)
        try:
            second.import_(lines)
            line = len(lines)
        except ImportRefused as refused:
            line = refused.line
        assert line > number
        check_invariants(second)
        list(second.export())


def _spots(tree: Any) -> Any:
    """Every place of a JSON tree that could be changed."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    for key, value in items:
        yield tree, key
        if isinstance(value, (dict, list)):
            yield from _spots(value)
