"""Which workflow is measured? A small ticket, with every kind of move that the figures speak of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from duraflow import State, Transition, Workflow
from duraflow.handlers import Handlers
from duraflow.memory import InMemoryPersistence
from duraflow.ports import Persistence
from duraflow.runtime.engine import Engine
from duraflow.runtime.waits import BlockingWaits

CONTEXT: Mapping[str, Any] = {
    "title": "The lamp at the corner of Via Roma is out",
    "limit": 250,
    "spent": 0,
    "tags": ["lamp", "street"],
    "due": None,
}
METADATA: Mapping[str, Any] = {"team": "north"}
PAYLOAD: Mapping[str, Any] = {"by": "anna", "amount": 120}

AFTER = timedelta(days=1)

TICKET = Workflow(
    name="ticket",
    version=1,
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("assign", target="assigned", guard="has_room"),
                Transition("bill", target="open", commands=["file_letter"]),
                Transition("wait", target="waiting"),
                Transition("close", target="closed"),
            ],
        ),
        State("assigned", [Transition("release", target="open")]),
        State("waiting", [Transition("expire", target="open", after=AFTER)]),
        State("closed", final=True),
    ],
)


def has_room(payload: Mapping[str, Any], context: Mapping[str, Any]) -> bool:
    """The guard of `assign`."""
    return bool(payload["amount"] <= context["limit"])


def no_letter(_ctx: Any) -> None:
    """The command, where its work is not what is measured."""


def engine_of(persistence: Persistence | None = None, *, commands: Handlers | None = None) -> Engine:
    """An engine to call the parts of a step with, as the runtimes do. Not started."""
    return Engine.build(
        waits=BlockingWaits(),
        bind=lambda _work: None,
        workflows=[TICKET],
        commands=commands or {"file_letter": no_letter},
        guards={"has_room": has_room},
        delays=(),
        resources={},
        persistence=persistence or InMemoryPersistence(),
        clock=None,
        ids=None,
        observers=(),
        on_observer_error=None,
        codec=None,
        max_automatic_moves=10,
        timer_retry=None,
        store_retry=None,
        locking="auto",
        live_check="off",
    )
