"""How are instances found, looked at, created and moved?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import attrs
import click

from duraflow import (
    Blocker,
    DefinitionNotFound,
    Explanation,
    FireResult,
    HistoryEntry,
    Instance,
    Runtime,
    Workflow,
)
from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import Code
from duraflow_cli.finding import opened
from duraflow_cli.inputs import EventJson, JsonText, MomentText, Target, TargetText, trigger
from duraflow_cli.output import Output, note, write
from duraflow_cli.payloads import payload_for

F = TypeVar("F", bound=Callable[..., Any])

OUTCOMES = ("done", "failed", "cancelled")
target_argument: Callable[[F], F] = click.argument("target", type=TargetText())
by_option: Callable[[F], F] = click.option("--by", metavar="NAME", help="Who does it, for the history.")


def _filters(function: F) -> F:
    """The options of `list` and `count` that say which instances are meant."""
    options = [
        click.argument("workflow", required=False),
        click.option(
            "--state", multiple=True, metavar="NAME", help="In this state, or group; may be repeated."
        ),
        click.option("--open/--finished", "is_open", default=None, help="Those that can move, or cannot."),
        click.option("--outcome", multiple=True, type=click.Choice(OUTCOMES), help="May be repeated."),
        click.option("--metadata", type=JsonText(an_object=True), help="What their metadata contain."),
    ]
    for what in ("created", "updated", "entered"):
        for end, word in (("since", "from"), ("until", "before")):
            options.append(
                click.option(
                    f"--{what}-{end}",
                    type=MomentText(),
                    metavar="TIME",
                    help=f"{what.capitalize()} {word} this time.",
                )
            )
    for option in reversed(options):
        function = option(function)
    return function


@attrs.frozen
class _Filter:
    """What the options of `_filters` gave."""

    workflow: str | None
    state: tuple[str, ...]
    is_open: bool | None
    outcome: tuple[str, ...]
    metadata: Any
    created_since: datetime | None
    created_until: datetime | None
    updated_since: datetime | None
    updated_until: datetime | None
    entered_since: datetime | None
    entered_until: datetime | None

    def arguments(self, runtime: Runtime) -> dict[str, Any]:
        """As `Runtime.list` and `Runtime.count` take them."""
        return {
            "workflow": self.workflow,
            "state": self.state or None,
            "open": self.is_open,
            "outcome": self.outcome or None,
            "metadata": None if self.metadata is None else runtime.codec.from_plain(self.metadata),
            "created": (self.created_since, self.created_until),
            "updated": (self.updated_since, self.updated_until),
            "entered": (self.entered_since, self.entered_until),
        }


@click.command("list")
@_filters
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
            **_Filter(**options).arguments(runtime), oldest_first=oldest_first, limit=limit, cursor=cursor
        )
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(page)
        return
    out.table(
        ("ID", "WORKFLOW", "REF", "STATE", "OUTCOME", "UPDATED", "DUE"),
        [(i.id, i.workflow, i.ref, i.state, i.outcome, i.updated_at, i.due_at) for i in page.instances],
        empty="no instances",
    )
    if page.cursor is not None:
        note(f"there are more: --cursor {page.cursor}")


@click.command()
@_filters
@everything
@click.pass_obj
def count(asked: Asked, /, **options: Any) -> None:
    """Count instances by workflow and state; the options are those of `list`."""
    with opened(asked) as runtime:
        counts = runtime.count(**_Filter(**options).arguments(runtime))
    out = Output.of(asked)
    if out.json:
        out.document(counts)
        return
    out.table(
        ("WORKFLOW", "STATE", "OPEN", "COUNT"),
        [(row.workflow, row.state, row.open, row.count) for row in counts],
        empty="no instances",
    )


@click.command()
@target_argument
@everything
@click.pass_obj
def show(asked: Asked, target: Target) -> None:
    """Show an instance, its timers, and what each event would do now.

    What events would do is known where the application is.
    """
    with opened(asked) as runtime:
        out = Output.of(asked, runtime.codec)
        instance = runtime.get(target)
        events: tuple[Explanation, ...] | None = None
        missing = ""
        try:
            events = runtime.explain(instance.id)
        except DefinitionNotFound as error:
            missing = str(error)
    if out.json:
        out.document({"instance": instance, "events": events})
        return
    print_instance(out, instance)
    if events is None:
        note(f"what its events would do is not known: {missing}")
    elif instance.open:
        write("")
        print_events(out, events)


def print_instance(out: Output, instance: Instance) -> None:
    """An instance, for people."""
    timers = ", ".join(f"{timer.event} at {out.text(timer.due_at)}" for timer in instance.timers)
    out.pairs(
        [
            ("id", instance.id),
            ("workflow", f"{instance.workflow} version {instance.definition_version}"),
            ("ref", instance.ref),
            ("namespace", instance.namespace),
            ("state", instance.state),
            ("outcome", instance.outcome),
            ("version", instance.version),
            ("context", out.data(instance.context)),
            ("metadata", out.data(instance.metadata)),
            ("timers", timers),
            ("created", instance.created_at),
            ("updated", instance.updated_at),
            ("entered", instance.entered_at),
            ("finished", instance.finished_at),
            ("parent", instance.parent_id),
            ("held by", instance.lease_token),
            ("continues with", instance.continuation.event if instance.continuation else None),
        ]
    )


def print_events(out: Output, events: tuple[Explanation, ...]) -> None:
    """What each event would do, for people."""
    out.table(
        ("EVENT", "WOULD", "LEADS TO", "DUE", "WHY NOT"),
        [
            (
                e.event,
                e.verdict,
                e.target,
                e.due_at,
                e.message or "; ".join(_blocker(out, b) for b in e.blockers),
            )
            for e in events
        ],
        empty="no event is accepted in this state",
    )


def _blocker(out: Output, blocker: Blocker) -> str:
    more = out.data(blocker.parameters)
    return f"{blocker.guard}: {blocker}" + (f" {more}" if more else "")


@click.command()
@target_argument
@click.option("--after", type=click.IntRange(0), default=0, metavar="SEQ", help="Go on after this entry.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@click.option("--newest-first", is_flag=True, help="Oldest come first otherwise.")
@everything
@click.pass_obj
def history(asked: Asked, target: Target, after: int, limit: int, newest_first: bool) -> None:
    """Show what happened to an instance."""
    with opened(asked) as runtime:
        entries = runtime.history(target, after=after, limit=limit, newest_first=newest_first)
        out = Output.of(asked, runtime.codec)
    if out.json:
        out.document(entries)
        return
    out.table(
        ("SEQ", "AT", "KIND", "EVENT", "FROM", "TO", "STATUS", "DETAILS"),
        [
            (e.seq, e.at, e.kind, e.event, e.from_state, e.to_state, e.status, _details(out, e))
            for e in entries
        ],
        empty="no more entries",
    )
    if len(entries) == limit:
        note(f"there may be more: --after {entries[-1].seq}")


def _details(out: Output, entry: HistoryEntry) -> str:
    commands = ", ".join(
        result.name
        if result.status == "success"
        else f"{result.name} {result.status}: {result.message or result.code}"
        for result in entry.commands
    )
    parts = {
        "payload": out.data(entry.payload),
        "set": out.data(entry.change.set),
        "unset": ", ".join(entry.change.unset),
        "commands": commands,
        "blockers": "; ".join(_blocker(out, blocker) for blocker in entry.blockers),
        "outcome": entry.outcome,
        "trigger": out.data(entry.trigger),
    }
    return "  ".join(f"{name}={value}" for name, value in parts.items() if value)


@click.command()
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
        print_events(out, events)


def governing(runtime: Runtime, instance: Instance) -> Workflow | None:
    """The definition that an event of this instance will meet; None where the runtime does not have it."""
    own = [workflow for workflow in runtime.workflows if workflow.name == instance.workflow]
    newest = max(own, key=lambda workflow: workflow.version, default=None)
    if newest is not None and getattr(newest, "follows", "pinned") == "latest":
        return newest
    return next((workflow for workflow in own if workflow.version == instance.definition_version), None)


@click.command()
@click.argument("workflow")
@click.option(
    "--context", type=JsonText(an_object=True), help="Its data: a JSON object, @FILE, or @- for stdin."
)
@click.option("--metadata", type=JsonText(an_object=True), help="Its labels, fixed for good.")
@click.option("--ref", help="Your own key for it.")
@click.option("--id", "instance_id", type=click.UUID, help="Its id, if it is made elsewhere.")
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
    by: str | None,
) -> None:
    """Create an instance of WORKFLOW."""
    with opened(asked, needs_code=True) as runtime:
        codec = runtime.codec
        created = runtime.create(
            workflow,
            codec.from_plain(context or {}),  # type: ignore[arg-type]  # an object stays one
            metadata=codec.from_plain(metadata or {}),  # type: ignore[arg-type]
            ref=ref,
            id=instance_id,
            trigger=trigger(by),
        )
        out = Output.of(asked, codec)
    if out.json:
        out.document(created)
    else:
        print_instance(out, created)


@click.command()
@target_argument
@click.argument("event")
@click.option("--payload", type=JsonText(), help="What it carries: JSON, @FILE, or @- for stdin.")
@by_option
@everything
@click.pass_obj
def fire(asked: Asked, target: Target, event: str, payload: Any, by: str | None) -> Code:
    """Fire EVENT at an instance.

    Ends with 4 when a guard says no, or a command leads to its error target; both are recorded.
    """
    with opened(asked, needs_code=True) as runtime:
        carried = payload
        if payload is not None:
            carried = payload_for(governing(runtime, runtime.get(target)), event, payload, runtime.codec)
        result = runtime.fire(target, event, carried, trigger=trigger(by))
        out = Output.of(asked, runtime.codec)
    return print_result(out, result)


def print_result(out: Output, result: FireResult) -> Code:
    """What a move did."""
    if out.json:
        out.document(result)
    else:
        out.pairs(
            [
                ("status", result.status),
                ("event", result.event),
                ("state", f"{result.from_state} -> {result.to_state}"),
                ("outcome", result.instance.outcome),
                ("why not", "; ".join(_blocker(out, blocker) for blocker in result.blockers)),
                ("context", out.data(result.instance.context)),
                ("instance", result.instance.id),
            ]
        )
    return Code.DONE if result.ok else Code.REFUSED
