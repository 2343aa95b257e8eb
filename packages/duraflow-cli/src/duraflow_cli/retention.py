"""How is what is old taken out, and how do instances get from one database to another?"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import IO, Any

import attrs
import click

from duraflow import PruneResult, Runtime
from duraflow_cli.agreeing import agree, yes_option
from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import Code
from duraflow_cli.finding import opened
from duraflow_cli.inputs import AgeText, Target, TargetText
from duraflow_cli.output import Output, note
from duraflow_cli.progress import progress
from duraflow_cli.selecting import OUTCOMES, Filter, filters

_AGE = AgeText()


@click.command(short_help="Take out what finished long ago.")
@click.option(
    "--older-than", type=_AGE, required=True, metavar="AGE", help="Finished that long ago: 90d, or a time."
)
@click.option("--outcome", multiple=True, type=click.Choice(OUTCOMES), help="Only these; may be repeated.")
@click.option("--workflow", help="Only instances of this workflow.")
@click.option("--receipts-older-than", type=_AGE, metavar="AGE", help="Receipts this old go, too.")
@click.option(
    "--messages-older-than", type=_AGE, metavar="AGE", help="Messages this old go, if all handlers had them."
)
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=100, show_default=True, help="In one transaction."
)
@click.option("--limit", type=click.IntRange(1), help="At most so many.")
@click.option("--dry-run", is_flag=True, help="Count, and take out nothing.")
@yes_option
@everything
@click.pass_obj
def prune(asked: Asked, /, dry_run: bool, yes: bool, **options: Any) -> None:
    """Take out instances that finished long ago, with history, receipts and messages; and expired receipts.

    Works in small batches that nobody waits for; may be stopped at any time and run again. Asks first.
    """
    with opened(asked) as runtime:
        out = Output.of(asked)
        wanted = _Pruning(**options)
        if dry_run:
            result = wanted.run(runtime, dry_run=True)
        else:
            question = "Take out what is that old, for good?"
            if not yes and sys.stdin.isatty():
                counted = wanted.run(runtime, dry_run=True)
                question = f"Take out {_told(counted)}, for good?"
            agree(question, yes=yes)
            result = wanted.run(runtime, dry_run=False)
    if out.json:
        out.document(result)
        return
    out.pairs(
        [
            ("would go" if result.dry_run else "taken out", _told(result)),
            ("waiting", f"{result.waiting:,}, for a handler of their messages" if result.waiting else None),
            ("complete", result.complete),
        ]
    )


@attrs.frozen
class _Pruning:
    """The options of `prune` that say what goes."""

    older_than: timedelta | datetime
    outcome: tuple[str, ...]
    workflow: str | None
    receipts_older_than: timedelta | datetime | None
    messages_older_than: timedelta | datetime | None
    batch: int
    limit: int | None

    def run(self, runtime: Runtime, *, dry_run: bool) -> PruneResult:
        """Do it, or count."""
        with progress("counting" if dry_run else "pruning") as advance:
            return runtime.prune(
                older_than=self.older_than,
                outcomes=self.outcome or None,
                workflow=self.workflow,
                batch=self.batch,
                limit=self.limit,
                dry_run=dry_run,
                receipts_older_than=self.receipts_older_than,
                messages_older_than=self.messages_older_than,
                on_progress=lambda done: advance(done.instances + done.receipts + done.messages, self.limit),
            )


def _told(result: PruneResult) -> str:
    return (
        f"{result.instances:,} instances with {result.entries:,} history entries, {result.receipts:,} receipts, "
        f"{result.messages:,} messages"
    )


@click.command(short_help="Write whole instances as JSON Lines.")
@click.argument("targets", nargs=-1, type=TargetText())
@filters(click.option("--workflow", help="Only instances of this workflow."))
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; there when it is complete.",
)
@everything
@click.pass_obj
def export(asked: Asked, /, targets: tuple[Target, ...], output: Path | None, **options: Any) -> None:
    """Write whole instances, with history and definitions, as JSON Lines.

    These are TARGETS, or all that the filter lets through.
    """
    which = Filter(**options)
    if targets and not which.empty:
        raise click.UsageError("name instances, or give a filter, not both")
    with opened(asked) as runtime:
        lines = runtime.export(targets) if targets else runtime.export(**which.arguments(runtime))
        if output is None:
            for line in lines:
                click.echo(line)
            return
        with _whole(output) as file, progress("exporting") as advance:
            written = 0
            for written, line in enumerate(lines, 1):
                file.write(line + "\n")
                advance(written, None)
    note(f"{written:,} lines written to {output}")


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[IO[str]]:
    """A file that has its name only when all of it is written."""
    partial = path.with_name(f"{path.name}.part")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@click.command("import", short_help="Take in what `export` has written.")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.option("--skip-existing", is_flag=True, help="Leave out instances whose id, ref or key is taken.")
@click.option("--all-messages", is_flag=True, help="Also messages that were delivered where they come from.")
@yes_option
@everything
@click.pass_obj
def import_(asked: Asked, file: IO[str], skip_existing: bool, all_messages: bool, yes: bool) -> Code:
    """Take in what `export` has written to FILE (- is stdin), into this namespace. Asks first.

    Ends with 1 if the export was cut short; what was in it is there then.
    """
    with opened(asked) as runtime:
        out = Output.of(asked)
        agree(f"Import {file.name} into namespace {runtime.namespace!r}?", yes=yes)
        with progress("importing") as advance:
            result = runtime.import_(
                _counted(file, advance),
                on_conflict="skip" if skip_existing else "fail",
                messages="all" if all_messages else "undelivered",
            )
    if out.json:
        out.document(result)
    else:
        out.pairs(
            [
                ("imported", f"{result.instances:,} instances with {result.entries:,} history entries"),
                ("definitions", f"{result.definitions:,} that were not known before"),
                ("skipped", f"{result.skipped:,} whose id, ref or key is taken" if result.skipped else None),
                ("orphaned", f"{result.orphaned:,} whose parent is not here" if result.orphaned else None),
                ("complete", result.complete),
            ]
        )
    return Code.DONE if result.complete else Code.NO


def _counted(lines: Iterable[str], advance: Any) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        advance(number, None)
        yield line


commands = (prune, export, import_)
