"""How are instances found and looked at, as they are and as they were?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from duraflow import DefinitionNotFound, Explanation, HistoryEntry
from duraflow_cli.asked import Asked, everything
from duraflow_cli.finding import governing, opened
from duraflow_cli.inputs import EventJson, MomentText, SeqOrMoment, Target
from duraflow_cli.output import Output, note, visible, write
from duraflow_cli.payloads import payload_for
from duraflow_cli.printing import details, print_events, print_instance
from duraflow_cli.selecting import Filter, filters, target_argument, workflow_names
from duraflow_cli.wording import at_a_shell

_which = filters(click.argument("workflow", required=False))


@click.command("list", short_help="Find instances.")
@_which
@click.option("--oldest-first", is_flag=True, help="Newest come first otherwise.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--cursor", help="Go on where the last page ended.")
@everything
@click.pass_obj
def list_(asked: Asked, /, oldest_first: bool, limit: int, cursor: str | None, **options: Any) -> None:
    """Find instances, of WORKFLOW or of all, newest first.

    TIME is ISO 8601 with a time zone (2026-11-21T09:00Z), or how long ago (7d, 12h).
    """
    with opened(asked) as runtime:
        page = runtime.list(
            **Filter(**options).arguments(runtime), oldest_first=oldest_first, limit=limit, cursor=cursor
        )
        out = Output.of(asked, runtime.codec)
        known = workflow_names(runtime)
    if out.json:
        out.document(page)
        return
    out.table(
        ("ID", "WORKFLOW", "REF", "STATE", "OUTCOME", "UPDATED", "DUE"),
        [(i.id, i.workflow, i.ref, i.state, i.outcome, i.updated_at, i.due_at) for i in page.instances],
        empty="no instances",
    )
    if not page.instances:
        _note_unknown(options["workflow"], known)
    if page.cursor is not None:
        note(f"there are more: --cursor {page.cursor}")


@click.command(short_help="Count instances by workflow and state.")
@_which
@everything
@click.pass_obj
def count(asked: Asked, /, **options: Any) -> None:
    """Count instances by workflow and state; the options are those of `list`."""
    with opened(asked) as runtime:
        counts = runtime.count(**Filter(**options).arguments(runtime))
        known = workflow_names(runtime)
    out = Output.of(asked)
    if out.json:
        out.document(counts)
        return
    out.table(
        ("WORKFLOW", "STATE", "OPEN", "COUNT"),
        [(row.workflow, row.state, row.open, row.count) for row in counts],
        empty="no instances",
    )
    if not counts:
        _note_unknown(options["workflow"], known)


def _note_unknown(workflow: str | None, known: tuple[str, ...]) -> None:
    """Nothing was found: perhaps the name is not right. It may be another application's, so it is no error."""
    if known and workflow is not None and workflow not in known:
        note(f"this application has no workflow {workflow!r}; it has {', '.join(known)}")


@click.command(short_help="Show an instance, its timers, and what its events would do.")
@target_argument
@click.option("--seq", type=click.IntRange(1), help="As it was right after this history entry.")
@click.option("--time", type=MomentText(), metavar="TIME", help="As it was at this time.")
@everything
@click.pass_obj
def show(asked: Asked, target: Target, seq: int | None, time: datetime | None) -> None:
    """Show an instance, its timers, and what each event would do now.

    What events would do is known where its definition is: in the application, or stored with it.
    """
    if seq is not None and time is not None:
        raise click.UsageError("give --seq or --time, not both")
    then = seq is not None or time is not None
    events: tuple[Explanation, ...] | None = None
    missing = ""
    with opened(asked) as runtime:
        out = Output.of(asked, runtime.codec)
        instance = runtime.state_at(target, seq=seq, time=time) if then else runtime.get(target)
        if not then:
            try:
                events = runtime.explain(instance.id)
            except DefinitionNotFound as error:
                missing = str(error)
    if out.json:
        out.document({"instance": instance, "events": events})
        return
    print_instance(out, instance)
    if missing:
        note(f"what its events would do is not known: {missing}")
    elif events is not None and instance.open:
        write("")
        print_events(out, events)


@click.command(short_help="Show what happened to an instance.")
@target_argument
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="Go on after this entry.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--newest-first", is_flag=True, help="Oldest come first otherwise.")
@everything
@click.pass_obj
def history(asked: Asked, target: Target, after: int, limit: int, newest_first: bool) -> None:
    """Show what happened to an instance, each move with its payload, changes, commands and blockers."""
    with opened(asked) as runtime:
        entries = runtime.history(target, after=after, limit=limit, newest_first=newest_first)
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(entries)
        return
    out.table(
        ("SEQ", "AT", "KIND", "EVENT", "FROM", "TO", "STATUS", "DETAILS"),
        [_row(out, entry) for entry in entries],
        empty="no more entries",
    )
    if len(entries) == limit:
        note(f"there may be more: --after {entries[-1].seq}")


def _row(out: Output, e: HistoryEntry) -> tuple[object, ...]:
    return (e.seq, e.at, e.kind, e.event, e.from_state, e.to_state, e.status, details(out, e))


@click.command(short_help="Say what each event would do now, and which guards say no.")
@target_argument
@click.option(
    "--payload",
    "payloads",
    multiple=True,
    type=EventJson(),
    help="What an event would carry; may be repeated.",
)
@everything
@click.pass_obj
def explain(asked: Asked, target: Target, payloads: tuple[tuple[str, Any], ...]) -> None:
    """Say what each event of the current state would do now, and which guards say no."""
    with opened(asked, needs_code=True) as runtime:
        out = Output.of(asked, runtime.codec)
        instance = runtime.get(target)
        workflow = governing(runtime, instance)
        given = {event: payload_for(workflow, event, tree, runtime.codec) for event, tree in payloads}
        events = runtime.explain(instance.id, given)
    if out.json:
        out.document(events)
    else:
        print_events(out, events, given)


@click.command(short_help="Say why an instance does not move.")
@target_argument
@everything
@click.pass_obj
def why(asked: Asked, target: Target) -> None:
    """Say why an instance does not move: what it waits for, since when and until when, and what stands in its way."""
    with opened(asked) as runtime:
        answer = runtime.why(target)
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(answer)
    else:
        write(at_a_shell(visible(str(answer))))


@click.command(short_help="Show what has changed in an instance between two moments.")
@target_argument
@click.argument("since", type=SeqOrMoment())
@click.argument("until", type=SeqOrMoment(), required=False)
@everything
@click.pass_obj
def diff(asked: Asked, target: Target, since: int | datetime, until: int | datetime | None) -> None:
    """Show what has changed in an instance from SINCE to UNTIL, or to now.

    Both are the SEQ of a history entry, or a TIME: ISO 8601 with a time zone, or how long ago (7d).
    """
    with opened(asked) as runtime:
        found = runtime.diff(target, since, until)
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(found)
    else:
        write(visible(str(found)))


commands = (list_, count, show, why, history, diff, explain)
