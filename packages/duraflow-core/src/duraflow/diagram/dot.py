"""How does a workflow look as a Graphviz graph?

Edges that are taken when a command fails are dashed, internal transitions are dotted loops, final states have a
double border.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from duraflow.definition.workflow import Workflow
from duraflow.diagram.mermaid import (
    Direction,
    check_options,
    edge_text,
    failure_text,
    state_text,
    wildcard_ids,
)
from duraflow.diagram.names import START, identifier
from duraflow.diagram.table import transition_table


def to_dot(
    workflow: Workflow,
    *,
    direction: Direction = "TB",
    highlight: str | None = None,
    counts: Mapping[str, int] | None = None,
) -> str:
    """The `digraph` of a workflow, in the DOT language. Options as for `to_mermaid`.

    Raises:
        InvalidArgument: there is no such direction or state.
    """
    check_options(workflow, direction, highlight)
    return "\n".join(_lines(workflow, direction, highlight, counts or {}))


def _lines(
    workflow: Workflow, direction: str, highlight: str | None, counts: Mapping[str, int]
) -> Iterator[str]:
    rows = transition_table(workflow)
    wildcards = wildcard_ids(rows)
    yield f"digraph {_quoted(workflow.name)} {{"
    yield f"    rankdir={direction};"
    yield '    node [shape=box, style="rounded,filled", fillcolor=white];'
    yield f"    {START} [shape=point];"
    for name, resolved in workflow.resolved.items():
        more = (", peripheries=2" if resolved.final else "") + (
            ", fillcolor=gold" if name == highlight else ""
        )
        yield f"    {identifier(name)} [label={_quoted(state_text(name, counts))}{more}];"
    for row, node in wildcards.values():
        yield f'    {node} [label={_quoted(row.reach)}, style="rounded,dashed"];'
    yield f"    {START} -> {identifier(workflow.initial)};"
    for row in rows:
        source = identifier(row.source) if row.source is not None else wildcards[row.within, row.exclude][1]
        target = source if row.target is None else identifier(row.target)
        style = ", style=dotted" if row.internal else ""
        yield f"    {source} -> {target} [label={_quoted(edge_text(row))}{style}];"
        if row.error_target is not None:
            label = _quoted(failure_text(row))
            yield f"    {source} -> {identifier(row.error_target)} [label={label}, style=dashed];"
    yield "}"


def _quoted(text: str) -> str:
    """A DOT string: backslash sequences and HTML entities would mean something."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
    return f'"{escaped}"'
