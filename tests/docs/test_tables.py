"""Do the tables of the docs say what the code says?"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import psycopg
import pytest

import duraflow.errors
from duraflow import (
    DuraflowError,
    InvalidArgument,
    Limits,
    MessageRetryPolicy,
    Runtime,
    StoreRetryPolicy,
    TimerRetryPolicy,
)
from duraflow.codec import Codec
from duraflow.definition.values import EMPTY
from duraflow.memory import InMemoryPersistence
from duraflow_pg import PgPersistence, Timeouts
from tests.docs.pages import ROOT, Page, page

_CORE = ROOT / "packages" / "duraflow-core" / "src" / "duraflow"


def _tables(found: Page, comment: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The rows of each table that stands below a comment which begins so, with the rest of the comment."""
    lines = found.text.splitlines()
    for number, line in enumerate(lines):
        if match := re.fullmatch(rf"<!-- {comment} *(.*?) -->", line):
            rows = []
            for row in lines[number + 1 :]:
                if row.startswith("|"):
                    rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]])
                elif rows:
                    break
            yield match[1], rows[2:]


# --- findings ---------------------------------------------------------------------------------------------------


def _codes(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
            match node.args[1]:
                case ast.Constant(value=str(code)):
                    yield code
                case ast.JoinedStr():
                    yield from ("unknown_target", "unknown_error_target")
        # `name_problem` gives (code, reason)
        match node:
            case ast.Return(value=ast.Tuple(elts=[ast.Constant(value=str(code)), _])):
                yield code


def test_every_code_of_a_finding_is_explained() -> None:
    """And nothing is that the checks never say."""
    files = [*(_CORE / "definition" / "checks").glob("*.py"), _CORE / "runtime" / "engine.py"]
    said = {code for file in files for code in _codes(file)}
    (_, rows) = next(_tables(page("docs/definitions.md"), "findings"))
    explained = [code for row in rows for code in re.findall(r"`(\w+)`", row[0])]
    assert sorted(explained) == sorted(said)


# --- errors -----------------------------------------------------------------------------------------------------


def test_every_error_has_its_section() -> None:
    """A heading for each class that is raised, and no other."""
    raised = {
        name
        for name, value in vars(duraflow.errors).items()
        if isinstance(value, type) and issubclass(value, DuraflowError) and value is not DuraflowError
    }
    text = page("docs/errors.md").text
    assert set(re.findall(r"^### `(\w+)`$", text, re.MULTILINE)) == raised


def test_every_error_says_what_is_to_be_known() -> None:
    """Cause, what was written, remedy: under each heading."""
    for part in re.split(r"^### ", page("docs/errors.md").text, flags=re.MULTILINE)[1:]:
        for label in ("Cause:", "Written:", "Remedy:"):
            assert label in part, f"{part.splitlines()[0]} has no {label}"


# --- SQL --------------------------------------------------------------------------------------------------------


@pytest.mark.pg
def test_every_column_is_explained(fresh_pg_dsn: str) -> None:
    """The tables are a contract, so each column has its line."""
    written = {
        table: sorted(name for row in rows for name in re.findall(r"`(\w+)`", row[0]))
        for table, rows in _tables(page("docs/sql.md"), "columns of")
    }
    with psycopg.connect(fresh_pg_dsn) as connection:
        found = connection.execute(
            'SELECT table_name, array_agg(column_name::text ORDER BY column_name::text COLLATE "C")'
            " FROM information_schema.columns WHERE table_schema = 'public' AND table_name LIKE 'workflow%'"
            " GROUP BY table_name"
        ).fetchall()
    assert written == dict(found)


# --- options ----------------------------------------------------------------------------------------------------


def _options_of(target: str) -> dict[str, Any]:
    """What it takes, with the default of each; `inspect.Parameter.empty` where one must be given."""
    module, _, name = target.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError:
        module, _, owner = module.rpartition(".")
        found = getattr(getattr(importlib.import_module(module), owner), name)
    defaults = {
        parameter.name: parameter.default
        for parameter in inspect.signature(found).parameters.values()
        if parameter.name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    }
    if attrs.has(found):
        for field in attrs.fields(found):
            factory = field.default
            if isinstance(factory, attrs.Factory) and field.alias in defaults:  # type: ignore[arg-type]
                defaults[str(field.alias)] = _made_by(factory)
    return defaults


_MADE = object()
"""A default that depends on the other options."""

_NEW = object()
"""A default that is made anew each time, and equal to nothing."""


def _made_by(factory: Any) -> Any:
    if factory.takes_self:
        return _MADE
    made = factory.factory()
    return made if made == factory.factory() else _NEW


def _option_tables() -> list[Any]:
    path = ROOT / "docs" / "options.md"
    found = _tables(Page.read(path), "options of") if path.exists() else ()
    return [pytest.param(target, rows, id=target) for target, rows in found]


@pytest.mark.parametrize(("target", "rows"), _option_tables())
def test_options_and_defaults_are_those_of_the_code(target: str, rows: list[list[str]]) -> None:
    """Every option in its order, with the default that it has."""
    actual = _options_of(target)
    written = [row[0].strip("`") for row in rows]
    listed = {name: default for name, default in actual.items() if default is not _MADE}
    assert written == [*listed]
    names = {
        "timedelta": timedelta,
        "EMPTY": EMPTY,
        "Limits": Limits,
        "Timeouts": Timeouts,
        "MessageRetryPolicy": MessageRetryPolicy,
    }
    for name, row in zip(written, rows, strict=True):
        cell = row[1].strip("`")
        special = {"required": inspect.Parameter.empty, "new": _NEW}
        default = special[cell] if cell in special else eval(cell, {**names})
        assert default == listed[name], f"{target}: {name} is {listed[name]!r}"


def test_the_page_has_the_tables() -> None:
    """What people set has its table."""
    targets = {target for target, _ in _tables(page("docs/options.md"), "options of")}
    assert {
        "duraflow.Runtime", "duraflow.TimerRetryPolicy", "duraflow.StoreRetryPolicy", "duraflow.Limits",
        "duraflow.Codec",
        "duraflow_pg.PgPersistence.from_dsn", "duraflow_pg.PgPersistence", "duraflow_pg.Timeouts",
        "duraflow.memory.InMemoryPersistence",
    } <= targets  # fmt: skip


def test_both_runtimes_have_the_same_options() -> None:
    """One table serves the two, and the two persistences."""
    assert _options_of("duraflow.Runtime") == _options_of("duraflow.AsyncRuntime")
    blocking = _options_of("duraflow_pg.PgPersistence.from_dsn")
    assert blocking == _options_of("duraflow_pg.AsyncPgPersistence.from_dsn")


def _refused(call: Any) -> None:
    with pytest.raises(InvalidArgument):
        call()


def test_the_bounds_hold() -> None:
    """What the page calls out of bounds is refused; the bounds themselves are not."""
    memory = InMemoryPersistence()
    for moves in (0, 1_001):
        _refused(lambda moves=moves: Runtime(workflows=(), persistence=memory, max_automatic_moves=moves))
    for moves in (1, 1_000):
        Runtime(workflows=(), persistence=memory, max_automatic_moves=moves)
    _refused(lambda: Runtime(workflows=(), persistence=memory, locking="never"))  # type: ignore[arg-type]
    for size in (0, 268_435_456):
        _refused(lambda size=size: Limits(max_bytes=size))
    for depth in (0, 257):
        _refused(lambda depth=depth: Limits(max_depth=depth))
    Limits(max_bytes=268_435_455, max_depth=256)
    for wrong in (
        {"first": timedelta(0)},
        {"cap": timedelta(seconds=1)},
        {"factor": 0.9},
        {"factor": 101},
        {"park_after": 0},
    ):
        _refused(lambda wrong=wrong: TimerRetryPolicy(**wrong))
    TimerRetryPolicy(factor=100, park_after=1)
    for unusable in ({"attempts": 0}, {"first_s": -0.1}, {"cap_s": float("nan")}):
        _refused(lambda unusable=unusable: StoreRetryPolicy(**unusable))
    StoreRetryPolicy(attempts=1, first_s=0, cap_s=0)
    Codec(limits=Limits(max_depth=1))
    for sizes in ({"min_size": -1}, {"min_size": 3, "max_size": 2}, {"max_size": 0, "min_size": 0}):
        _refused(lambda sizes=sizes: PgPersistence.from_dsn("dbname=x", **sizes))
    with Runtime(workflows=(), persistence=InMemoryPersistence()) as runtime:
        for limit in (0, 1_001):
            _refused(lambda limit=limit: runtime.list(limit=limit))
            _refused(lambda limit=limit: runtime.parked(limit=limit))
        _refused(lambda: runtime.fire_due_timers(limit=0))
        runtime.list(limit=1_000)


def test_every_environment_variable_is_listed() -> None:
    """Those that the packages read, and no other."""
    read: set[str] = set()
    for path in (ROOT / "packages").glob("*/src/**/*.py"):
        read.update(re.findall(r"\b(?:DURAFLOW_[A-Z_]+|DATABASE_URL)\b", path.read_text(encoding="utf-8")))
    (_, rows) = next(_tables(page("docs/options.md"), "environment"))
    assert {row[0].strip("`") for row in rows} == read
