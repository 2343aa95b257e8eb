"""How does a workflow look as a Markdown table?"""

from __future__ import annotations

from collections.abc import Callable

from duraflow.definition.workflow import Workflow
from duraflow.diagram.table import Row, transition_table

_COLUMNS: tuple[tuple[str, Callable[[Row], str]], ...] = (
    ("From", lambda row: _code(row.source) if row.source is not None else f"*{_text(row.reach)}*"),
    ("Event", lambda row: _code(row.event) if row.event is not None else "*automatic*"),
    ("After", lambda row: _text(row.after)),
    ("Guard", lambda row: _code(row.guard)),
    ("Commands", lambda row: _code(row.commands)),
    ("Emits", lambda row: _code(row.emits)),
    ("To", lambda row: _code(row.target) if row.target is not None else "*stays*"),
    ("On failure", lambda row: _code(row.error_target or "")),
    ("Description", lambda row: _text(row.description)),
)
_SAFE = " ,.:;-()/'\"=?+%"
_ALWAYS = ("From", "Event", "To")


def to_markdown(workflow: Workflow) -> str:
    """The transitions of a workflow as a table (GitHub flavour); columns with nothing in them are left out.

    >>> from duraflow.definition.values import State, Transition
    >>> print(to_markdown(Workflow(name="fine", initial="sent", states=[
    ...     State("sent", [Transition("pay", target="paid", guard="enough"), Transition("pay", commands=["note"])]),
    ...     State("paid"),
    ... ])))
    | From | Event | Guard | Commands | To |
    | --- | --- | --- | --- | --- |
    | `sent` | `pay` | `enough` |  | `paid` |
    | `sent` | `pay` |  | `note` | *stays* |
    """
    rows = transition_table(workflow)
    shown = [(title, cell) for title, cell in _COLUMNS if title in _ALWAYS or any(cell(row) for row in rows)]
    lines = [[title for title, _ in shown], ["---"] * len(shown)]
    lines += [[cell(row) for _, cell in shown] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _code(text: str) -> str:
    if not text or not any(character in "`|\\" for character in text):
        return f"`{text}`" if text else ""
    # Inside back-ticks neither of these can be written safely in a table.
    return f"<code>{_text(text)}</code>"


def _text(text: str) -> str:
    """Text in which nothing means anything to Markdown."""
    return "".join(
        c if c.isalnum() or c in _SAFE or (c.isprintable() and not c.isascii()) else f"&#{ord(c)};"
        for c in text
    )
