"""Would what happened have gone differently under another definition?"""

from __future__ import annotations

from typing import Any

import click

from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import Code
from duraflow_cli.finding import opened
from duraflow_cli.inputs import Target, TargetText
from duraflow_cli.output import Output, note, visible, write
from duraflow_cli.progress import progress
from duraflow_cli.selecting import Filter, chosen, filters


@click.command(short_help="Run recorded histories against a definition, and say what differs.")
@filters(click.argument("workflow", required=False))
@click.option("--version", type=click.IntRange(1), help="Which definition to try (default: the newest).")
@click.option("--instance", "targets", multiple=True, type=TargetText(), help="This one; may be repeated.")
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many instances."
)
@click.option("--cursor", help="Go on where an earlier run ended.")
@everything
@click.pass_obj
def replay(
    asked: Asked,
    /,
    version: int | None,
    targets: tuple[Target, ...],
    limit: int,
    cursor: str | None,
    **options: Any,
) -> Code:
    """Run recorded histories against a definition of the application, and say where each would have gone otherwise.

    Nothing is touched, no command runs. Ends with 1 if one would have gone differently. What the record cannot
    answer is told as unknown.
    """
    which = Filter(**options)
    with opened(asked, needs_code=True) as runtime, progress("replaying") as advance:
        tried = chosen(runtime, which.workflow, version, None)
        given: dict[str, Any] = {"instances": targets} if targets else which.arguments(runtime)
        given.pop("workflow", None)
        report = runtime.replay(
            tried, **given, limit=limit, cursor=cursor, on_progress=lambda done: advance(done, None)
        )
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(report)
    else:
        write(visible(str(report)))
        if report.cursor is not None:
            note(f"there are more: --cursor {report.cursor}")
    return Code.NO if report.different else Code.DONE
