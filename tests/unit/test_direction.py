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


_PG = Path(__file__).parents[2] / "packages" / "duraflow-pg" / "src"
_CLI = Path(__file__).parents[2] / "packages" / "duraflow-cli" / "src"


@pytest.mark.parametrize("module", sorted(_PG.rglob("*.py")), ids=lambda path: str(path.relative_to(_PG)))
def test_the_adapter_needs_the_core_and_psycopg_only(module: Path) -> None:
    """No module of duraflow-pg imports the command, or anything that the command brings."""
    allowed = {"attr", "attrs", "duraflow", "duraflow_pg", "psycopg", "psycopg_pool"}
    assert _imported(module) - allowed - sys.stdlib_module_names == set()


@pytest.mark.parametrize("module", sorted(_CLI.rglob("*.py")), ids=lambda path: str(path.relative_to(_CLI)))
def test_the_command_stands_on_what_is_public(module: Path) -> None:
    """The command imports no private module and no private name of the packages below it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in (
            "duraflow",
            "duraflow_pg",
        ):
            names = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            assert [name for name in names if name.startswith("_")] == []
