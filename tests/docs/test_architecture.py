"""Does ARCHITECTURE.md say what the code says?"""

from __future__ import annotations

import pytest

import duraflow
import duraflow_pg
from tests.docs.architecture import PAGE, TWINS, calls, left_out, module_map, modules_in, section, signatures

_REMEDY = "run: .venv/bin/python -m tests.docs.architecture"


def test_the_public_signatures_are_those_of_the_code() -> None:
    """Every parameter and default of what users call."""
    assert section(PAGE.read_text(encoding="utf-8"), "signatures") == signatures(), _REMEDY


def test_every_public_name_is_shown() -> None:
    """What `duraflow` exports has its place in one of the groups."""
    assert left_out() == set()


@pytest.mark.parametrize("name", TWINS)
def test_the_twins_have_the_same_calls(name: str) -> None:
    """What is shown once holds for blocking and asyncio."""
    assert calls(getattr(duraflow, name)) == calls(getattr(duraflow, f"Async{name}"))


def test_both_persistences_are_made_alike() -> None:
    """`from_dsn`, `from_env` and `migrate`."""
    assert calls(duraflow_pg.PgPersistence).keys() == calls(duraflow_pg.AsyncPgPersistence).keys()


def test_the_module_map_has_every_module() -> None:
    """None is missing, and none is left that is gone."""
    written = section(PAGE.read_text(encoding="utf-8"), "module map")
    assert modules_in(written) == modules_in(module_map()), _REMEDY
