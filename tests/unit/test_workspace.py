"""Does the workspace hold together: licences, pins, no names of hosts?"""

from __future__ import annotations

import re
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def test_every_distribution_carries_the_licence() -> None:
    """A distribution can only take files from its own folder, so the licence is there as a copy."""
    licence = (_ROOT / "LICENSE").read_text()
    for package in ("duraflow-core", "duraflow-pg", "duraflow-cli"):
        assert (_ROOT / "packages" / package / "LICENSE").read_text() == licence


def test_every_requirement_is_pinned() -> None:
    """What dev.txt names has one version in constraints.txt, and neither names an index or a path."""
    requirements = (_ROOT / "requirements" / "dev.txt").read_text()
    constraints = (_ROOT / "constraints.txt").read_text()
    pinned = {
        re.sub(r"[-_.]+", "-", name.lower())
        for name in re.findall(r"^([\w.-]+)==\S+$", constraints, re.MULTILINE)
    }
    named = {
        re.sub(r"[-_.]+", "-", name.lower()) for name in re.findall(r"^([\w.-]+)", requirements, re.MULTILINE)
    }
    assert named - pinned == set()
    assert not re.search(r"://|^-|@|^/", constraints + requirements, re.MULTILINE)
