"""How are instances created and moved?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import click

from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import Code
from duraflow_cli.finding import governing, opened
from duraflow_cli.inputs import DurationText, JsonText, Target, trigger
from duraflow_cli.output import Output
from duraflow_cli.payloads import payload_for
from duraflow_cli.printing import print_instance, print_result
from duraflow_cli.selecting import target_argument

F = TypeVar("F", bound=Callable[..., Any])

by_option: Callable[[F], F] = click.option("--by", metavar="NAME", help="Who does it, for the history.")


def _keyed(function: F) -> F:
    """The options of a request that may be sent again."""
    function = click.option("--keep-for", type=DurationText(), help="How long the key is remembered.")(
        function
    )
    return click.option("--key", help="Under one key it takes effect once, however often it is sent.")(
        function
    )


@click.command(short_help="Create an instance.")
@click.argument("workflow")
@click.option(
    "--context", type=JsonText(an_object=True), help="Its data: a JSON object, @FILE, or @- for stdin."
)
@click.option("--metadata", type=JsonText(an_object=True), help="Its labels, fixed for good.")
@click.option("--ref", help="Your own key for it.")
@click.option("--id", "instance_id", type=click.UUID, help="Its id, if it is made elsewhere.")
@_keyed
@by_option
@everything
@click.pass_obj
def create(
    asked: Asked,
    workflow: str,
    context: Any,
    metadata: Any,
    ref: str | None,
    instance_id: UUID | None,
    key: str | None,
    keep_for: timedelta | None,
    by: str | None,
) -> None:
    """Create an instance of WORKFLOW, of its newest version."""
    with opened(asked, needs_code=True) as runtime:
        codec = runtime.codec
        data: Any = codec.from_plain(context or {})
        labels: Any = codec.from_plain(metadata or {})
        created = runtime.create(
            workflow,
            data,
            metadata=labels,
            ref=ref,
            id=instance_id,
            trigger=trigger(by),
            key=key,
            keep_for=keep_for,
        )
        out = Output.of(asked, codec)
    if out.json:
        out.document(created)
    else:
        print_instance(out, created)


@click.command(short_help="Fire an event at an instance.")
@target_argument
@click.argument("event")
@click.option("--payload", type=JsonText(), help="What it carries: JSON, @FILE, or @- for stdin.")
@_keyed
@by_option
@everything
@click.pass_obj
def fire(
    asked: Asked,
    target: Target,
    event: str,
    payload: Any,
    key: str | None,
    keep_for: timedelta | None,
    by: str | None,
) -> Code:
    """Fire EVENT at an instance.

    Ends with 4 when a guard says no, or a command leads to its error target; both are recorded.
    """
    with opened(asked, needs_code=True) as runtime:
        carried = payload
        if payload is not None:
            carried = payload_for(governing(runtime, runtime.get(target)), event, payload, runtime.codec)
        result = runtime.fire(target, event, carried, trigger=trigger(by), key=key, keep_for=keep_for)
        out = Output.of(asked, runtime.codec)
    return print_result(out, result)


commands = (create, fire)
