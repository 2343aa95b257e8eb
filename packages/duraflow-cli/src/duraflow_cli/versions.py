"""Which versions of workflows are there, and how are instances moved from one to another?"""

from __future__ import annotations

import click

from duraflow_cli.asked import Asked, everything
from duraflow_cli.finding import opened
from duraflow_cli.output import Output


@click.command(short_help="List the versions of workflows, with how many instances each governs.")
@click.argument("workflow", required=False)
@everything
@click.pass_obj
def versions(asked: Asked, workflow: str | None) -> None:
    """List every version that the database has seen, of WORKFLOW or of all, with how many instances each governs."""
    with opened(asked) as runtime:
        found = runtime.versions(workflow)
    out = Output.of(asked)
    if out.json:
        out.document(found)
        return
    out.table(
        ("WORKFLOW", "VERSION", "OPEN", "FINAL", "FROM", "REGISTERED", "HASH", "PROBLEM"),
        [
            (v.workflow, v.version, v.open, v.final, v.source, v.registered_at, v.hash[:12], v.problem)
            for v in found
        ],
        empty="no versions",
    )
