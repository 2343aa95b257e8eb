"""Does the first page keep its word: twenty lines, two of them different on PostgreSQL?"""

from __future__ import annotations

import contextlib
import io

import pytest

from duraflow import Workflow, to_mermaid
from tests.docs.pages import Block, page

_README = page("README.md")


def _block(language: str) -> Block:
    return next(block for block in _README.blocks if block.language == language)


def _run(code: str) -> tuple[str, dict[str, object]]:
    printed = io.StringIO()
    namespace: dict[str, object] = {"__name__": "readme"}
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), namespace)
    return printed.getvalue(), namespace


def test_the_example_is_short() -> None:
    """Twenty lines, without the empty ones."""
    assert len([line for line in _block("python").code.splitlines() if line.strip()]) <= 20


def test_the_picture_is_that_of_the_example() -> None:
    """The diagram is what `to_mermaid` gives."""
    order = _run(_block("python").code)[1]["order"]
    assert isinstance(order, Workflow)
    assert _block("mermaid").code == to_mermaid(order, direction="LR").rstrip() + "\n"


@pytest.mark.pg
def test_two_other_lines_and_it_runs_on_postgresql(empty_pg_dsn: str) -> None:
    """The change that the page shows is all it takes, on a database without any table."""
    code = _block("python").code
    changes = _block("diff").code.splitlines()
    removed, added = [[line[1:] for line in changes if line[0] == sign] for sign in "-+"]
    assert len(removed) == len(added) == 2
    for before, after in zip(removed, added, strict=True):
        assert code.count(f"{before}\n") == 1
        code = code.replace(f"{before}\n", f"{after}\n")
    assert "postgresql://localhost/shop" in code
    on_memory, _ = _run(_block("python").code)
    on_postgresql, _ = _run(code.replace("postgresql://localhost/shop", empty_pg_dsn))
    assert on_postgresql == on_memory
