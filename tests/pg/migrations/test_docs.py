"""Does docs/migrations.md work as it stands?"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from duraflow_pg.__main__ import _parser

_PAGE = (Path(__file__).parents[3] / "docs" / "migrations.md").read_text(encoding="utf-8")
_COMMANDS = re.findall(
    r"python -m duraflow_pg ([^\n`&]*)", "".join(re.findall(r"```sh\n(.*?)```", _PAGE, re.DOTALL))
)


def test_the_python_on_the_page_runs(empty_pg_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a database without tables, block after block."""
    monkeypatch.setenv("DATABASE_URL", empty_pg_dsn)
    blocks = re.findall(r"```python\n(.*?)```", _PAGE, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/migrations.md", "exec"), {"__name__": "docs"})


@pytest.mark.parametrize("command", sorted(set(_COMMANDS)))
def test_the_commands_on_the_page_are_understood(command: str) -> None:
    """Every option exists."""
    _parser().parse_args(shlex.split(command))
