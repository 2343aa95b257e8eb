"""Are versions listed, instances upgraded, and histories tried against another definition?"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from duraflow_cli.codes import Code
from tests.cli.conftest import SHOP, Shell

NEXT = """
import attrs
from shop import order, Runtime, State, Transition

packed = State("packed", [Transition("pay", commands=[attrs.NOTHING])])
second = attrs.evolve(
    order,
    version=2,
    states=[attrs.evolve(order.states[0], name="pending"), *order.states[1:]],
    initial="pending",
)


def runtime(persistence):
    return Runtime(workflows=[order, second], persistence=persistence)


def noted(context, metadata):
    return {**context, "upgraded": True}
"""


@pytest.fixture
def both(shop: Shell, create: Callable[..., str]) -> Shell:
    """Two orders of version 1, and an application that has version 2, whose first state has another name."""
    create("--ref", "A-1")
    create("--ref", "A-2")
    shop.write("shop2.py", NEXT.replace("packed = ", "# "))
    shop.write("pyproject.toml", '[tool.duraflow]\napp = "shop2:runtime"\n')
    return shop


def test_an_upgrade_is_planned_and_done(both: Shell) -> None:
    """Not covered is a no; covered it is done once somebody agrees, and every instance is on the new version."""
    both("create", "order", "--context", '{"total": 1}', "--ref", "B-1")
    rows = both("versions", "order", "--json").json
    assert [(v["version"], v["open"], v["source"]) for v in rows] == [(1, 2, "code"), (2, 1, "code")]
    planned = both("upgrade", "plan", "order", "1", "2", code=Code.NO)
    assert "NOT COVERED" in planned.out
    for done in (planned, both("upgrade", "apply", "order", "1", "2", code=Code.MISUSED)):
        assert "give --state OLD=NEW for each, or --skip-uncovered" in done.err
    assert "no terminal" not in done.err  # nobody is asked whether to do what would be refused
    asked = ("order", "1", "2", "--state", "open=pending", "--transform", "shop2:noted")
    plan = both("upgrade", "plan", *asked, "--json").json
    assert (plan["count"], plan["total"], plan["plan"]["transform"]) == (2, True, "noted")
    assert "give --yes" in both("upgrade", "apply", *asked, code=Code.MISUSED).err
    assert both("upgrade", "apply", *asked, "--dry-run", "--json").json["dry_run"] is True
    first = both("upgrade", "apply", *asked, "--yes", "--limit", "1", "--reason", "new year")
    assert "moved  1" in first.out
    assert "--cursor" in first.err
    assert both("upgrade", "apply", *asked, "--yes", "--json").json["moved"] == 1
    shown = both("show", "order:A-1", "--json").json["instance"]
    assert (shown["definition_version"], shown["state"], shown["context"]["upgraded"]) == (2, "pending", True)
    assert both("history", "order:A-1", "--json").json[-1]["trigger"]["reason"] == "new year"
    assert both("versions").out.splitlines()[1].split()[:4] == ["order", "1", "0", "0"]


def test_what_cannot_be_planned(both: Shell) -> None:
    """Wrong names are told before anything is read."""
    said = both("upgrade", "plan", "order", "1", "2", "--state", "open", code=Code.MISUSED).err
    assert "'open' is not OLD=NEW" in said
    said = both("upgrade", "plan", "order", "1", "2", "--transform", "shop2:nothing", code=Code.MISUSED).err
    assert said.startswith("duraflow: --transform: 'shop2' has no 'nothing'")
    both("upgrade", "plan", "order", "1", "9", code=Code.NOT_FOUND)


def test_histories_are_tried_against_a_definition(both: Shell) -> None:
    """The same one tells the same story; one whose first state has another name does not."""
    assert both("replay", "order", "--version", "1", "--json").json["same"] == 2
    report = both("replay", "--instance", "order:A-1", "--json", code=Code.NO).json
    assert (report["total"], report["different"]) == (1, 1)
    assert "2 instances" in both("replay", "order", code=Code.NO).out


def test_the_example_is_what_it_says() -> None:
    """The second version is made of the first."""
    assert "def runtime(persistence)" in SHOP
