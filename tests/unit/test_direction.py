"""Does the core import inwards only? The lint rule says so for most modules; this says it for all."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

_CORE = Path(__file__).parents[2] / "packages" / "duraflow-core" / "src"


def _imported(module: Path) -> set[str]:
    roots = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            roots |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            roots.add(str(node.module).partition(".")[0])
    return roots


@pytest.mark.parametrize("module", sorted(_CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(_CORE)))
def test_the_core_needs_attrs_and_python_only(module: Path) -> None:
    """No module of the core, the in-memory stores and `testing` included, imports a driver or an adapter."""
    # the published suites are for pytest and hypothesis, which who runs them has installed
    allowed = {"attr", "attrs", "duraflow"} | (
        {"hypothesis", "pytest"} if "testing" in module.parts else set()
    )
    assert _imported(module) - allowed - sys.stdlib_module_names == set()
