"""What is done about messages that a handler has not taken?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import click

from duraflow_cli.agreeing import agree, yes_option
from duraflow_cli.asked import Asked, everything
from duraflow_cli.finding import opened
from duraflow_cli.output import Output, write

F = TypeVar("F", bound=Callable[..., Any])


@click.group(short_help="List, retry or skip messages that a handler has not taken.")
@everything
def messages() -> None:
    """Deal with messages that a handler failed to take too often, and that hold back later ones of their instance."""


def _which(function: F) -> F:
    """Which message of which handler."""
    function = click.argument("message_id", type=click.UUID)(function)
    return click.argument("handler")(function)


@messages.command("parked", short_help="List them, longest parked first.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@everything
@click.pass_obj
def parked(asked: Asked, limit: int) -> None:
    """List messages that wait for `retry` or `skip`, longest parked first, of all handlers."""
    with opened(asked) as runtime:
        found = runtime.parked_messages(limit=limit)
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(found)
        return
    out.table(
        ("HANDLER", "MESSAGE", "TOPIC", "INSTANCE", "PARKED", "TRIES", "ERROR"),
        [
            (
                p.handler,
                p.message.id,
                p.message.topic,
                p.message.instance_id,
                p.parked_at,
                p.attempts,
                p.error,
            )
            for p in found
        ],
        empty="nothing is parked",
    )


@messages.command(short_help="Let one be tried again.")
@_which
@everything
@click.pass_obj
def retry(asked: Asked, handler: str, message_id: UUID) -> None:
    """Let a message be given to HANDLER again, with the next dispatch."""
    with opened(asked) as runtime:
        runtime.retry_message(handler, message_id)
    _told(asked, "retry", handler, message_id)


@messages.command(short_help="Never give one to its handler.")
@_which
@yes_option
@everything
@click.pass_obj
def skip(asked: Asked, handler: str, message_id: UUID, yes: bool) -> None:
    """Never give a message to HANDLER; what waits behind it goes on. Asks first."""
    with opened(asked) as runtime:
        agree(f"Never give message {message_id} to {handler!r}?", yes=yes)
        runtime.skip_message(handler, message_id)
    _told(asked, "skip", handler, message_id)


@messages.command(short_help="Forget a handler that is gone for good.")
@click.argument("handler")
@yes_option
@everything
@click.pass_obj
def forget(asked: Asked, handler: str, yes: bool) -> None:
    """Forget HANDLER: how far it has come, and what is held back for it. Asks first."""
    with opened(asked) as runtime:
        agree(f"Forget {handler!r}, so that it would begin anew under this name?", yes=yes)
        runtime.forget_handler(handler)
    out = Output.of(asked)
    if out.json:
        out.document({"done": "forget", "handler": handler})
    else:
        write(f"forget: handler {out.text(handler)}")


def _told(asked: Asked, done: str, handler: str, message_id: UUID) -> None:
    out = Output.of(asked)
    if out.json:
        out.document({"done": done, "handler": handler, "message_id": message_id})
    else:
        write(f"{done}: message {message_id}, handler {out.text(handler)}")
