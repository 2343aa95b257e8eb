"""How is everything that happens followed?"""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from itertools import islice

import click

from duraflow import FeedEntry
from duraflow_cli.asked import Asked, everything
from duraflow_cli.finding import opened
from duraflow_cli.inputs import DurationText
from duraflow_cli.output import Output, note, write
from duraflow_cli.printing import details


@click.command(short_help="Print everything that happened, and follow what happens.")
@click.option(
    "--after", metavar="CURSOR", help="Go on after this entry; `now` begins with what is still to come."
)
@click.option("--workflow", help="Only of this workflow.")
@click.option("--follow", "-f", is_flag=True, help="Wait for more, until Ctrl-C.")
@click.option(
    "--poll", type=DurationText(), default="1s", show_default=True, help="How often to look, if nobody rings."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many entries.")
@everything
@click.pass_obj
def changes(
    asked: Asked, after: str | None, workflow: str | None, follow: bool, poll: timedelta, limit: int | None
) -> None:
    """Print the history entries of all instances, in an order in which none is passed over. JSON comes as JSON Lines.

    Every entry has a cursor, with which another process can go on.
    """
    last: FeedEntry | None = None
    try:
        with opened(asked) as runtime:
            out = Output.of(asked, runtime.codec)
            with closing(runtime.changes(after=after, workflow=workflow, follow=follow, poll=poll)) as found:
                for last in islice(found, limit):
                    _print(out, last)
    finally:
        if last is not None and not asked.json:
            note(f"go on with: --after {last.cursor}")


def _print(out: Output, found: FeedEntry) -> None:
    entry = found.entry
    if out.json:
        out.line({"cursor": found.cursor, "workflow": found.workflow, "ref": found.ref, "entry": entry})
        return
    name = (
        f"{found.workflow}:{found.ref}" if found.ref is not None else f"{found.workflow} {entry.instance_id}"
    )
    moved = entry.to_state if entry.from_state is None else f"{entry.from_state} -> {entry.to_state}"
    parts = (out.text(entry.at), name, f"#{entry.seq}", entry.kind, entry.event, moved, details(out, entry))
    write("  ".join(out.text(part) for part in parts if part))


commands = (changes,)
