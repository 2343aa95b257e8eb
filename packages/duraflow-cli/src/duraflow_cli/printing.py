"""How do instances, their events and their moves look to people?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from duraflow import Blocker, Explanation, FireResult, HistoryEntry, Instance
from duraflow_cli.codes import Code
from duraflow_cli.output import Output, note


def print_instance(out: Output, instance: Instance) -> None:
    """An instance."""
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


def print_events(out: Output, events: Sequence[Explanation], given: Collection[str] = ()) -> None:
    """What each event would do; `given` are those that were asked with a payload."""
    unasked = [e.event for e in events if e.verdict == "unknown" and e.event not in given]
    out.table(
        ("EVENT", "WOULD", "LEADS TO", "DUE", "WHY NOT"),
        [
            (
                e.event,
                e.verdict,
                e.target,
                e.due_at,
                ("it needs its payload: " if e.event in unasked else "")
                + (e.message or blockers_text(out, e.blockers)),
            )
            for e in events
        ],
        empty="no event is accepted in this state",
    )
    if unasked:
        note(f"to ask with a payload: duraflow explain TARGET --payload '{unasked[0]}={{…}}'")


def print_result(out: Output, result: FireResult) -> Code:
    """What a move did; the exit code says whether it was what was asked for."""
    if out.json:
        out.document(result)
    else:
        out.pairs(
            [
                ("status", result.status),
                ("event", result.event),
                ("state", f"{result.from_state} -> {result.to_state}"),
                ("outcome", result.instance.outcome),
                ("why not", blockers_text(out, result.blockers)),
                ("failed", _failures_text(result)),
                ("replayed", "yes: this key was used before" if result.replayed else None),
                ("context", out.data(result.instance.context)),
                ("instance", result.instance.id),
            ]
        )
    return Code.DONE if result.ok else Code.REFUSED


def blockers_text(out: Output, blockers: Iterable[Blocker]) -> str:
    """Why guards said no, in one line."""
    texts = []
    for blocker in blockers:
        more = out.data(blocker.parameters)
        texts.append(f"{blocker.guard}: {blocker}" + (f" {more}" if more else ""))
    return "; ".join(texts)


def _failures_text(result: FireResult) -> str:
    """Which commands failed, and what they said, in one line."""
    return "; ".join(
        f"{command.name}: {command.message or command.code}"
        for command in result.commands
        if command.status != "success"
    )


def details(out: Output, entry: HistoryEntry) -> str:
    """What an entry says beyond the move, in one line."""
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
        "blockers": blockers_text(out, entry.blockers),
        "outcome": entry.outcome,
        "trigger": out.data(entry.trigger),
    }
    return "  ".join(f"{name}={value}" for name, value in parts.items() if value)
