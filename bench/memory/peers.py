"""What do other state-machine libraries for Python cost for the same move? They keep no history and store nothing."""

from __future__ import annotations

import itertools
from typing import Any

from statemachine import State, StateMachine
from transitions import Machine

from bench.process import CONTEXT, METADATA, PAYLOAD, has_room
from bench.rounds import Run

_STATES = ["open", "assigned", "waiting", "closed"]
_TRANSITIONS = [
    {"trigger": "assign", "source": "open", "dest": "assigned", "conditions": "has_room"},
    {"trigger": "release", "source": "assigned", "dest": "open"},
    {"trigger": "wait", "source": "open", "dest": "waiting"},
    {"trigger": "expire", "source": "waiting", "dest": "open"},
    {"trigger": "close", "source": "open", "dest": "closed"},
]


class Ticket:
    """The model of `transitions`: the library puts triggers on it."""

    assign: Any
    release: Any

    def __init__(self) -> None:
        self.context = dict(CONTEXT)
        self.metadata = dict(METADATA)

    def has_room(self, payload: Any) -> bool:
        """The guard of `assign`."""
        return has_room(payload, self.context)


def _machine() -> Machine:
    # One machine for all models, which its documentation names as the way to have many.
    return Machine(
        model=None, states=_STATES, transitions=_TRANSITIONS, initial="open", auto_transitions=False
    )


def moving_transitions() -> Run:
    """Moves by `transitions`."""
    ticket = Ticket()
    _machine().add_model(ticket)

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            if ticket.state == "open":  # type: ignore[attr-defined]  # put there by the library
                ticket.assign(PAYLOAD)
            else:
                ticket.release(PAYLOAD)

    return run


def creating_transitions() -> Run:
    """New models of `transitions`."""
    machine = _machine()

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            ticket = Ticket()
            machine.add_model(ticket)
            machine.remove_model(ticket)

    return run


class TicketMachine(StateMachine):
    """The machine of `python-statemachine`, one object for each ticket."""

    opened = State(initial=True)
    assigned = State()
    waiting = State()
    closed = State(final=True)

    assign = opened.to(assigned, cond="has_room")
    release = assigned.to(opened)
    wait = opened.to(waiting)
    expire = waiting.to(opened)
    close = opened.to(closed)

    def __init__(self) -> None:
        self.context = dict(CONTEXT)
        self.labels = dict(METADATA)
        super().__init__()

    def has_room(self, payload: Any) -> bool:
        """The guard of `assign`."""
        return has_room(payload, self.context)


def moving_statemachine() -> Run:
    """Moves by `python-statemachine`."""
    ticket = TicketMachine()

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            if "opened" in ticket.configuration_values:
                ticket.send("assign", payload=PAYLOAD)
            else:
                ticket.send("release")

    return run


def creating_statemachine() -> Run:
    """New machines of `python-statemachine`."""

    def run(count: int) -> None:
        for _ in itertools.repeat(None, count):
            TicketMachine()

    return run
