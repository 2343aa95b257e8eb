"""How does a workflow look as a Mermaid state diagram?

>>> from datetime import timedelta
>>> from duraflow.definition.values import State, Transition
>>> from duraflow.definition.workflow import Workflow
>>> fine = Workflow(name="fine", initial="sent", states=[
...     State("sent", [
...         Transition("pay", target="paid", guard="covers_the_amount"),
...         Transition("pay", commands=["note_part_payment"]),
...         Transition("remind", target="reminded", after=timedelta(days=60), commands=["file_letter"],
...                    error_target="undeliverable"),
...     ]),
...     State("reminded", [Transition("pay", target="paid")]),
...     State("paid"),
...     State("undeliverable", outcome="failed"),
... ], from_any=[Transition("dismiss", target="paid")])
>>> print(to_mermaid(fine, counts={"sent": 3}))
stateDiagram-v2
    direction TB
    state "sent (3)" as sent
    state "reminded" as reminded
    state "paid" as paid
    state "undeliverable" as undeliverable
    state "any state" as x__any
    [*] --> sent
    sent --> paid : pay [covers_the_amount]
    sent : pay / note_part_payment
    sent --> reminded : remind ⏱ 60d / file_letter
    sent --> undeliverable : ✗ remind ⏱ 60d
    reminded --> paid : pay
    x__any --> paid : dismiss
    paid --> [*]
    undeliverable --> [*] : failed

Mermaid's state diagrams have one kind of arrow (`-->`; neither `-.->` nor link styles parse), so an edge that is
taken when a command fails is marked with ✗. An internal transition stands inside its state, as in UML: it leads
nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, get_args

from duraflow.definition.workflow import Workflow
from duraflow.diagram.names import ANY, identifier
from duraflow.diagram.table import Row, transition_table
from duraflow.errors import InvalidArgument

Direction = Literal["TB", "BT", "LR", "RL"]

_HIGHLIGHT = "classDef highlighted fill:#ffd54f,stroke:#e65100,stroke-width:3px"
_SAFE = frozenset(" _-.,()[]/+=?!'✗⏱✉→…“”")


def to_mermaid(
    workflow: Workflow,
    *,
    direction: Direction = "TB",
    highlight: str | None = None,
    counts: Mapping[str, int] | None = None,
) -> str:
    """The `stateDiagram-v2` of a workflow.

    Args:
        workflow: what to draw.
        direction: where the arrows go: top to bottom, and so on.
        highlight: a state to stand out, such as the one where an instance is.
        counts: instances per state, shown in its label; states that this version does not have are left out.

    Raises:
        InvalidArgument: there is no such direction or state.
    """
    check_options(workflow, direction, highlight)
    return "\n".join(_lines(workflow, direction, highlight, counts or {}))


def check_options(workflow: Workflow, direction: str, highlight: str | None) -> None:
    """Raise `InvalidArgument` for a direction that there is not, or a state that the workflow does not have."""
    if direction not in get_args(Direction):
        raise InvalidArgument("direction", f"{direction!r} is not one of {', '.join(get_args(Direction))}")
    if highlight is not None and highlight not in workflow.resolved:
        raise InvalidArgument("highlight", f"workflow {workflow.name!r} has no state {highlight!r}")


def _lines(
    workflow: Workflow, direction: str, highlight: str | None, counts: Mapping[str, int]
) -> Iterator[str]:
    rows = transition_table(workflow)
    wildcards = wildcard_ids(rows)
    yield "stateDiagram-v2"
    yield f"    direction {direction}"
    for state in workflow.states:
        yield f'    state "{_label(state_text(state.name, counts))}" as {identifier(state.name)}'
    for row, node in wildcards.values():
        yield f'    state "{_label(row.reach)}" as {node}'
    yield f"    [*] --> {identifier(workflow.initial)}"
    for row in rows:
        source = identifier(row.source) if row.source is not None else wildcards[row.within, row.exclude][1]
        text = _label(edge_text(row))
        if row.target is None:
            yield f"    {source} : {text}"
        else:
            yield f"    {source} --> {identifier(row.target)}" + (f" : {text}" if text else "")
        if row.error_target is not None:
            yield f"    {source} --> {identifier(row.error_target)} : {_label(failure_text(row))}"
    for name, resolved in workflow.resolved.items():
        if resolved.final:
            yield f"    {identifier(name)} --> [*]" + (
                f" : {resolved.outcome}" if resolved.outcome != "done" else ""
            )
    if highlight is not None:
        yield f"    {_HIGHLIGHT}"
        yield f"    class {identifier(highlight)} highlighted"


def wildcard_ids(rows: tuple[Row, ...]) -> dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Row, str]]:
    """One node for all wildcards of the same reach: (its first row, its identifier) by (within, exclude)."""
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[Row, str]] = {}
    for row in rows:
        if row.source is None and (row.within, row.exclude) not in found:
            found[row.within, row.exclude] = (row, f"{ANY}_{len(found) + 1}" if found else ANY)
    return found


def state_text(name: str, counts: Mapping[str, int]) -> str:
    """What stands in a state: its name, and how many instances are there."""
    return f"{name} ({counts[name]})" if name in counts else name


def edge_text(row: Row) -> str:
    """`event [guard] / commands ✉ topics`, as far as there is something to say."""
    does = (row.commands and f"/ {row.commands}", row.emits and f"✉ {row.emits}")
    return " ".join(filter(None, (_trigger(row), *does)))


def failure_text(row: Row) -> str:
    """What stands at the edge that is taken when a command returns a failure."""
    return f"✗ {_trigger(row)}".rstrip()


def _trigger(row: Row) -> str:
    return " ".join(filter(None, (row.event, row.after and f"⏱ {row.after}", row.guard and f"[{row.guard}]")))


def _label(text: str) -> str:
    """Text in which nothing means anything to Mermaid: odd characters as its `#…;` codes."""
    return "".join(c if (c.isalnum() or c in _SAFE) and c != "ﬂ" else f"#{ord(c)};" for c in text)
