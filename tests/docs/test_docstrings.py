"""Do the examples in docstrings do what they show?"""

from __future__ import annotations

import doctest
import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import duraflow
import duraflow_pg


def _modules() -> Iterator[str]:
    for package in (duraflow, duraflow_pg):
        yield package.__name__
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not found.name.endswith("__main__"):
                yield found.name


def _examples(module: ModuleType) -> list[doctest.DocTest]:
    return [test for test in doctest.DocTestFinder(exclude_empty=True).find(module) if test.examples]


@pytest.mark.parametrize("name", sorted(_modules()))
def test_docstrings(name: str) -> None:
    """Every `>>>` of a module gives what stands below it."""
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    said: list[str] = []
    for test in _examples(importlib.import_module(name)):
        runner.run(test, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_there_are_examples() -> None:
    """The search finds them: a runner that finds nothing passes, too."""
    found = [name for name in _modules() if _examples(importlib.import_module(name))]
    assert {"duraflow.codec", "duraflow.memory", "duraflow.testing"} <= set(found)
