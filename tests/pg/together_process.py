"""One process of tests/pg/test_together.py: does one kind of thing over and over, until it is killed or told to stop.

    python -m tests.pg.together_process ROLE DSN NAMESPACE SEED

What the outside world is told goes to standard output, a line each, as soon as it is known to be committed.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from duraflow import (
    DuraflowError,
    Firing,
    Message,
    MessageHandler,
    MessageRetryPolicy,
    NewInstance,
    Runtime,
    State,
    Transition,
    Workflow,
)
from duraflow_pg import PgPersistence

ORDERS = 60


def book(ctx: Any) -> None:
    """Transactional: a row of the application's, and a message."""
    ctx.connection.execute("INSERT INTO bookings VALUES (%s, %s)", [ctx.transition_id, ctx.instance.id])
    ctx.context["booked"] = ctx.context.get("booked", 0) + 1
    ctx.emit("booked", {"times": ctx.context["booked"]})


def order(version: int) -> Workflow:
    """Two versions of one workflow; the second calls its middle state otherwise."""
    middle = "packed" if version == 1 else "boxed"
    return Workflow(
        name="order",
        version=version,
        initial="open",
        events={"note": None},
        states=[
            State(
                "open",
                [
                    Transition("book", target=middle, commands=[book], emits=["order.booked"]),
                    Transition("note", emits=["noted"]),
                ],
            ),
            State(
                middle,
                [
                    Transition("back", target="open"),
                    Transition("note", commands=[book]),
                    Transition("close", target="closed", after=timedelta(milliseconds=300)),
                ],
            ),
            State("closed"),
        ],
    )


OLD, NEW = order(1), order(2)


def runtime(dsn: str, namespace: str, *handlers: MessageHandler) -> Runtime:
    """Every process has both versions."""
    return Runtime(
        workflows=[OLD, NEW],
        persistence=PgPersistence.from_dsn(dsn, namespace=namespace, min_size=1, max_size=2),
        message_handlers=handlers,
    )


def tell(*words: object) -> None:
    """One line to whoever began this process."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def callers(app: Runtime, chance: random.Random) -> None:
    """Requests with keys, each sent until it is answered, and sometimes sent again."""
    ref = f"r{chance.randrange(ORDERS)}"
    made = app.create("order", {"ref": ref}, ref=ref, key=f"create {ref}")
    key = f"{made.id} {chance.randrange(6)}"
    event = ("book", "note", "back", "note")[int(key[-1]) % 4]
    result = app.try_fire(made.id, event, {"key": key}, key=key)
    if result.ok:
        tell("done", made.id, key, result.or_raise().instance.version)
    if chance.random() < 0.2:
        batch = [
            Firing(made.id, event, {"key": key}, key=key),
            Firing(made.id, "note", {"key": "x"}, key=f"x {ref}"),
        ]
        for index, answer in enumerate(app.fire_many(batch)):
            if answer.ok:
                tell("done", made.id, batch[index].key, answer.or_raise().instance.version)
    if chance.random() < 0.1:
        app.create_many([NewInstance("order", {"ref": ref}, ref=ref, key=f"create {ref}")])


def sweeper(app: Runtime, chance: random.Random) -> None:
    """Fires due timers."""
    app.fire_due_timers()
    time.sleep(chance.random() * 0.05)


def upgrader(app: Runtime, chance: random.Random) -> None:
    """Moves living instances up and down."""
    there, states = chance.choice([((1, 2), {"packed": "boxed"}), ((2, 1), {"boxed": "packed"})])
    app.apply_upgrade(app.plan_upgrade("order", *there, states=states), batch=7)
    time.sleep(chance.random() * 0.1)


def dispatcher(app: Runtime, chance: random.Random) -> None:
    """Gives messages to a handler that refuses now and then."""
    app.dispatch(limit=20)
    time.sleep(chance.random() * 0.02)


def deliver(chance: random.Random) -> Callable[[Message], None]:
    """The handler: tells, or fails."""

    def call(message: Message) -> None:
        if chance.random() < 0.05:
            raise OSError("the other side is away")
        tell("message", message.id, message.instance_id, message.seq, message.ordinal)

    return call


ROLES: dict[str, Callable[[Runtime, random.Random], None]] = {
    "callers": callers,
    "sweeper": sweeper,
    "upgrader": upgrader,
    "dispatcher": dispatcher,
}

QUICK = MessageRetryPolicy(first=timedelta(milliseconds=20), cap=timedelta(milliseconds=100), park_after=50)


def main() -> None:
    """See above."""
    role, dsn, namespace, seed = sys.argv[1:]
    chance = random.Random(seed)
    handlers = (
        [MessageHandler("outside", deliver(chance), retry=QUICK, lease=timedelta(seconds=1))]
        if role == "dispatcher"
        else []
    )
    with runtime(dsn, namespace, *handlers) as app:
        tell("ready")
        while True:
            try:
                ROLES[role](app, chance)
            except DuraflowError as error:
                tell("error", type(error).__name__, " ".join(str(error).split()))
                time.sleep(0.02)


if __name__ == "__main__":
    main()
