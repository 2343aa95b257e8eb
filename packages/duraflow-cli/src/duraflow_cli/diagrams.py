"""How is a workflow drawn?"""

from __future__ import annotations

import attrs
import click

from duraflow import to_dot, to_markdown, to_mermaid, transition_table
from duraflow_cli.asked import Asked, everything
from duraflow_cli.finding import at_rest, opened
from duraflow_cli.inputs import Target, TargetText
from duraflow_cli.output import Output, write
from duraflow_cli.selecting import chosen

_DIRECTIONS = ("TB", "BT", "LR", "RL")


@click.command(short_help="Draw a workflow.")
@click.argument("workflow", required=False)
@click.option("--version", type=click.IntRange(1), help="Which version (default: the newest).")
@click.option(
    "--as", "kind", type=click.Choice(["mermaid", "dot", "markdown"]), default="mermaid", show_default=True,
)  # fmt: skip
@click.option(
    "--direction", type=click.Choice(_DIRECTIONS), default="TB", show_default=True, help="Where arrows go."
)
@click.option("--highlight", metavar="STATE", help="Let a state stand out.")
@click.option(
    "--of", "target", type=TargetText(), help="Of this instance: its version, its state standing out."
)
@click.option("--counts", is_flag=True, help="Write into each state how many open instances are there.")
@everything
@click.pass_obj
def diagram(
    asked: Asked,
    workflow: str | None,
    version: int | None,
    kind: str,
    direction: str,
    highlight: str | None,
    target: Target | None,
    counts: bool,
) -> None:
    """Draw WORKFLOW as a Mermaid or Graphviz diagram, or write it as a Markdown table.

    A database is asked only for --of and --counts.
    """
    there: dict[str, int] = {}
    if target is not None or counts:
        with opened(asked, needs_code=True) as runtime:
            instance = None if target is None else runtime.get(target)
            drawn = chosen(runtime, workflow, version, instance)
            if counts:
                there = {row.state: row.count for row in runtime.count(drawn.name, open=True)}
            highlight = highlight or (instance.state if instance is not None else None)
    else:
        with at_rest(asked) as runtime:
            drawn = chosen(runtime, workflow, version, None)
    if asked.json:
        rows = [attrs.asdict(row) for row in transition_table(drawn)]
        Output.of(asked).document(
            {"workflow": drawn.to_json(), "transitions": rows, "state": highlight, "counts": there}
        )
    elif kind == "markdown":
        write(to_markdown(drawn))
    else:
        draw = to_mermaid if kind == "mermaid" else to_dot
        write(draw(drawn, direction=direction, highlight=highlight, counts=there))  # type: ignore[arg-type]  # checked
