"""Do the commands that the docs name exist?"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_PAGES = sorted([*_ROOT.glob("*.md"), *(_ROOT / "docs").rglob("*.md"), _ROOT / ".ci" / "run"])


def _targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):.*## ", (_ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", _PAGES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    """A reader who types a command from the docs is not told that there is no rule for it."""
    named = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE))
    assert named - _targets() == set()


def test_every_target_is_in_the_list_of_phony_ones() -> None:
    """A file that happens to have a target's name (build, bench, docs) must not stop it."""
    phony = re.findall(r"^\.PHONY: (.*)$", (_ROOT / "Makefile").read_text(), re.MULTILINE)
    assert _targets() - set(" ".join(phony).split()) == set()
