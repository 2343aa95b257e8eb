"""How does an operator act on instances?"""

from __future__ import annotations

from typing import Any

import click

from duraflow_cli.agreeing import agree, yes_option
from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import Code
from duraflow_cli.finding import opened
from duraflow_cli.inputs import JsonText, Target, TargetText
from duraflow_cli.moving import by_option
from duraflow_cli.output import Output, write
from duraflow_cli.printing import print_result
from duraflow_cli.selecting import target_argument


@click.command(short_help="End an instance now, as cancelled.")
@target_argument
@click.option("--reason", default="", help="Why, for the history.")
@by_option
@yes_option
@everything
@click.pass_obj
def cancel(asked: Asked, target: Target, reason: str, by: str | None, yes: bool) -> Code:
    """End an instance now, as cancelled. Asks first."""
    with opened(asked, needs_code=True) as runtime:
        instance = runtime.get(target)
        agree(f"Cancel instance {instance.id} of {instance.workflow}, now in {instance.state}?", yes=yes)
        result = runtime.cancel(instance.id, reason=reason, by=by or "")
        return print_result(Output.of(asked, runtime.codec), result)


@click.command(short_help="Put an instance into any state.")
@target_argument
@click.option("--state", required=True, metavar="NAME", help="Where it goes.")
@click.option("--reason", required=True, help="Why, for the history.")
@by_option
@click.option("--context", type=JsonText(an_object=True), help="Laid over its context.")
@yes_option
@everything
@click.pass_obj
def force(
    asked: Asked, target: Target, state: str, reason: str, by: str | None, context: Any, yes: bool
) -> Code:
    """Put an instance into a state, whatever its definition says. Asks first."""
    with opened(asked, needs_code=True) as runtime:
        instance = runtime.get(target)
        agree(
            f"Force instance {instance.id} of {instance.workflow} from {instance.state} to {state}?", yes=yes
        )
        laid: Any = None if context is None else runtime.codec.from_plain(context)
        result = runtime.force(instance.id, state=state, reason=reason, by=by or "", context=laid)
        return print_result(Output.of(asked, runtime.codec), result)


@click.command(short_help="List timers that failed too often.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@everything
@click.pass_obj
def parked(asked: Asked, limit: int) -> None:
    """List timers that failed too often and wait for `rearm`, longest parked first."""
    with opened(asked) as runtime:
        found = runtime.parked(limit=limit)
    out = Output.of(asked)
    if out.json:
        out.document(found)
        return
    out.table(
        ("INSTANCE", "WORKFLOW", "STATE", "EVENT", "PARKED", "TRIES", "ERROR"),
        [(p.instance_id, p.workflow, p.state, p.event, p.parked_at, p.attempts, p.error) for p in found],
        empty="nothing is parked",
    )


@click.command(short_help="Try timers again, parked ones too.")
@click.argument("targets", nargs=-1, required=True, type=TargetText())
@everything
@click.pass_obj
def rearm(asked: Asked, targets: tuple[Target, ...]) -> None:
    """Try the timers of instances again from the start, parked ones too."""
    with opened(asked) as runtime:
        out = Output.of(asked, runtime.codec)
        for target in targets:
            instance = runtime.rearm(target)
            if out.json:
                out.line(instance)
            else:
                write(f"armed again: {instance.id}, in {out.text(instance.state)}")


@click.command(short_help="Take out an instance with its history.")
@target_argument
@click.option("--even-open", is_flag=True, help="Also when it is not finished.")
@yes_option
@everything
@click.pass_obj
def delete(asked: Asked, target: Target, even_open: bool, yes: bool) -> None:
    """Take out a finished instance with its history. Asks first."""
    with opened(asked) as runtime:
        out = Output.of(asked, runtime.codec)
        instance = runtime.get(target)
        if instance.open and not even_open:
            raise click.UsageError(
                f"instance {instance.id} is still open; cancel it first, or give --even-open"
            )
        agree(f"Delete instance {instance.id} of {instance.workflow} with its history, for good?", yes=yes)
        deleted = runtime.delete(instance.id, force=even_open)
    if out.json:
        out.document(deleted)
    else:
        write(
            f"deleted: {deleted.id}, {out.text(deleted.workflow)} in {out.text(deleted.state)}, with its history"
        )


commands = (cancel, force, rearm, parked, delete)
