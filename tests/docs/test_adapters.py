"""Is the adapter in the docs one?"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from duraflow.testing.conformance import Check, Subject, checks
from tests.docs.pages import Runner, page


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The page's own names."""
    (module,) = Runner(page("docs/adapters.md")).run()
    return module


@pytest.mark.parametrize("check", checks(base=True), ids=str)
def test_the_sqlite_example_passes_the_base_contract(
    check: Check, example: ModuleType, tmp_path: Path
) -> None:
    """Every check that needs the three base ports only."""
    check(
        Subject(
            persistence=lambda namespace: example.sqlite_persistence(tmp_path / "store", namespace),
            concurrency=False,
        )
    )
