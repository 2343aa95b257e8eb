"""Are the blocking and the asyncio runtime the same, name by name?"""

from __future__ import annotations

import importlib
import inspect
import re
from types import ModuleType
from typing import Any

import pytest

import duraflow
from duraflow.runtime import aio, blocking

GROUPS = ("moving", "asking", "seeing", "versioning", "feeding", "keeping", "doctoring")


def _group(package: ModuleType, name: str, prefix: str) -> type:
    module = importlib.import_module(f"{package.__name__}.{name}")
    found: type = getattr(module, f"{prefix}{name.capitalize()}")
    return found


PAIRS = [
    *((_group(blocking, name, ""), _group(aio, name, "Async")) for name in GROUPS),
    (blocking.Calls, aio.AsyncCalls),
    (blocking.Runtime, aio.AsyncRuntime),
    (blocking.BoundRuntime, aio.AsyncBoundRuntime),
    (blocking.LockedRuntime, aio.AsyncLockedRuntime),
    (blocking.Handle, aio.AsyncHandle),
    (blocking.Changes, aio.AsyncChanges),
]
TWINS = {
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
    "__iter__": "__aiter__",
    "__next__": "__anext__",
}
SCOPES = {"transaction", "using", "locked"}
PLAIN = {"__init__", "__aiter__", "handle", "resource", "connection", "changes", "export"}


def _twin(cls: type, name: str) -> str:
    """The name on the asyncio side; iterators are closed by what `contextlib.aclosing` calls."""
    return "aclose" if (cls, name) == (blocking.Changes, "close") else TWINS.get(name, name)


def _members(cls: type) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(cls).items()
        if (callable(value) or isinstance(value, property))
        and (not name.startswith("__") or name in TWINS or name in TWINS.values() or name == "__init__")
    }


def _plain(text: object) -> str:
    """A text of the asyncio side as the blocking side would have it."""
    found = re.sub(r"\bAsync(?=[A-Z])", "", str(text))
    return found.replace("typing.", "").replace("AsyncIterator", "Iterator").replace("collections.abc.", "")


def _same_text(ours: str | None, theirs: str | None) -> bool:
    def words(text: str | None) -> str:
        return " ".join(_plain(text or "").replace("async with", "with").replace("await ", "").split())

    return words(ours) == words(theirs)


@pytest.mark.parametrize(("blocking_class", "asyncio_class"), PAIRS, ids=lambda cls: cls.__name__)
def test_they_have_the_same_members(blocking_class: type, asyncio_class: type) -> None:
    """Every name of one is in the other, in the same order."""
    ours, theirs = _members(blocking_class), _members(asyncio_class)
    assert [_twin(blocking_class, name) for name in ours] == list(theirs)


@pytest.mark.parametrize(("blocking_class", "asyncio_class"), PAIRS, ids=lambda cls: cls.__name__)
def test_they_take_and_give_the_same(blocking_class: type, asyncio_class: type) -> None:
    """Parameters, their kinds, defaults and types, and what comes back."""
    theirs = _members(asyncio_class)
    for name, method in _members(blocking_class).items():
        twin = theirs[_twin(blocking_class, name)]
        if isinstance(method, property):
            assert isinstance(twin, property)
            method, twin = method.fget, twin.fget
        mine, other = inspect.signature(method), inspect.signature(twin)
        assert [(p.name, p.kind, p.default, _plain(p.annotation)) for p in mine.parameters.values()] == [
            (p.name, p.kind, p.default, _plain(p.annotation)) for p in other.parameters.values()
        ], name
        assert _plain(mine.return_annotation) == _plain(other.return_annotation), name


@pytest.mark.parametrize(("blocking_class", "asyncio_class"), PAIRS, ids=lambda cls: cls.__name__)
def test_they_say_the_same(blocking_class: type, asyncio_class: type) -> None:
    """The docstrings differ in `await` at most (the asyncio side may point to its twin); nothing public is without."""
    theirs = _members(asyncio_class)
    for name, method in _members(blocking_class).items():
        if name.startswith("__"):
            continue
        twin = theirs[_twin(blocking_class, name)]
        assert method.__doc__, name
        pointed = twin.__doc__ is not None and f"`{blocking_class.__name__}.{name}`" in twin.__doc__
        pointed |= twin.__doc__ is not None and f"`Runtime.{name}`" in twin.__doc__
        assert pointed or _same_text(method.__doc__, twin.__doc__), (name, method.__doc__, twin.__doc__)


@pytest.mark.parametrize(("blocking_class", "asyncio_class"), PAIRS, ids=lambda cls: cls.__name__)
def test_what_waits_is_async(blocking_class: type, asyncio_class: type) -> None:
    """On the asyncio side every call is a coroutine function, but for those that neither read nor write."""
    for name, method in _members(asyncio_class).items():
        if isinstance(method, property) or name in PLAIN:
            assert not inspect.iscoroutinefunction(method), name
        elif name in SCOPES:
            assert inspect.isasyncgenfunction(inspect.unwrap(method)), name
        else:
            assert inspect.iscoroutinefunction(method), name


def test_every_public_class_says_where_it_is_from() -> None:
    """`__all__` is sorted by nothing but holds; all of it is there."""
    for name in duraflow.__all__:
        assert hasattr(duraflow, name), name
    assert len(set(duraflow.__all__)) == len(duraflow.__all__)
