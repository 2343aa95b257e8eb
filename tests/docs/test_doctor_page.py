"""Does docs/doctor.md say of each ailment, check, limit and option what the code says?"""

from __future__ import annotations

import inspect
import re
from datetime import timedelta
from typing import Any

import attrs
import pytest

from duraflow import InvalidArgument, Runtime
from duraflow.diagnosis import AILMENTS
from duraflow.memory import InMemoryPersistence
from duraflow_pg.doctor import PG_AILMENTS, DoctorLimits
from duraflow_pg.doctor.inspector import CHECKS
from tests.docs.pages import page
from tests.docs.test_tables import _tables

_UNITS = {"s": timedelta(seconds=1), "min": timedelta(minutes=1)}
_SIZES = {"MiB": 1_048_576, "GiB": 1_073_741_824}


def _rows(comment: str) -> list[list[str]]:
    return dict(_tables(page("docs/doctor.md"), comment.partition(" ")[0]))[comment.partition(" ")[2]]


def _value(text: str) -> object:
    number, _, unit = text.strip("`").partition(" ")
    if unit in _UNITS:
        return int(number) * _UNITS[unit]
    if number in {"True", "False"}:
        return number == "True"
    return (float(number) if "." in number else int(number)) * _SIZES.get(unit, 1)


def test_every_ailment_stands_there_as_it_is_told() -> None:
    """Word for word, in the order of the code."""
    for comment, ailments in (("ailments", AILMENTS), ("ailments pg", PG_AILMENTS)):
        assert _rows(comment) == [
            [f"`{one.code}`", one.severity, one.what, one.why, one.remedy] for one in ailments.values()
        ]


def test_every_check_stands_there() -> None:
    """In the order in which they are made."""
    rows = _rows("checks pg")
    assert [row[0].strip("`") for row in rows] == [*CHECKS, "all"]
    assert len({len(row) for row in rows}) == 1


def test_the_limits_are_those_of_the_code() -> None:
    """Each with its default."""
    rows = _rows("limits")
    assert {row[0].strip("`"): _value(row[1]) for row in rows} == attrs.asdict(DoctorLimits())


def test_the_options_are_those_of_the_code() -> None:
    """With defaults and bounds."""
    parameters = dict(inspect.signature(Runtime.doctor).parameters)
    del parameters["self"]
    rows = _rows("options doctor")
    assert {row[0].strip("`"): _value(row[1]) for row in rows} == {
        name: parameter.default for name, parameter in parameters.items()
    }
    with Runtime(workflows=(), persistence=InMemoryPersistence()) as runtime:
        for name, _, meaning in rows:
            if bounds := re.search(r"\(([\d,]+) to ([\d,]+)\)", meaning):
                least, most = (int(bound.replace(",", "")) for bound in bounds.groups())
                for good in (least, most):
                    _ask(runtime, name, good)
                for bad in (least - 1, most + 1):
                    with pytest.raises(InvalidArgument):
                        _ask(runtime, name, bad)


def _ask(runtime: Any, name: str, value: int) -> None:
    runtime.doctor(**{name.strip("`"): value})
