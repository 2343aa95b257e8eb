"""What may the function say that computes when a timer is due?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from duraflow import ArmedTimer, Folded, InvalidArgument, Runtime, State, Transition, Workflow, fold
from duraflow.memory import InMemoryPersistence

NOW = datetime(2024, 1, 1, tzinfo=UTC)


@attrs.frozen
class _Clock:
    def now(self) -> datetime:
        return NOW


def _runtime(answer: object) -> Runtime:
    def reminder(context: Mapping[str, Any]) -> Any:
        return answer if context.get("reminds", True) else None

    letter = Workflow(
        name="letter",
        initial="draft",
        states=[
            State("draft", [Transition("send", target="sent")]),
            State(
                "sent",
                [Transition("remind", target="sent", after=reminder), Transition("answer", target="done")],
            ),
            State("done"),
        ],
    )
    return Runtime(workflows=[letter], persistence=InMemoryPersistence(), clock=_Clock())


def test_a_delay_that_gives_none_arms_no_timer() -> None:
    """The instance comes to rest without a timer, is never swept, and its event can still be fired by name."""
    with _runtime(timedelta(days=1)) as runtime:
        made = runtime.create("letter", {"reminds": False})
        sent = runtime.fire(made, "send").instance
        assert (sent.timers, sent.due_at) == ((), None)
        assert runtime.fire_due_timers().total == 0
        assert Folded.of(sent) == fold(runtime.history(made))
        assert runtime.fire(made, "remind").ok


@pytest.mark.parametrize(
    ("answer", "due_at"),
    [
        (timedelta(days=60), NOW + timedelta(days=60)),
        (timedelta(days=-1), NOW),
        (NOW + timedelta(days=3), NOW + timedelta(days=3)),
        (NOW - timedelta(days=3), NOW - timedelta(days=3)),
    ],
)
def test_a_delay_gives_a_duration_or_a_time(answer: object, due_at: datetime) -> None:
    """A duration counts from the entry and is never in the past; a time is taken as it is."""
    with _runtime(answer) as runtime:
        sent = runtime.fire(runtime.create("letter"), "send").instance
        assert sent.timers == (ArmedTimer("remind", due_at),)


@pytest.mark.parametrize("answer", [60, "tomorrow", datetime(2024, 1, 2), timedelta.max])  # noqa: DTZ001  # is meant
def test_a_delay_that_makes_no_sense_is_refused_by_name(answer: object) -> None:
    """The error names the delay function; the move is not written."""
    with _runtime(answer) as runtime:
        made = runtime.create("letter")
        with pytest.raises(InvalidArgument, match="delay 'reminder': it returned"):
            runtime.fire(made, "send")
        assert runtime.get(made).state == "draft"
