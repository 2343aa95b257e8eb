"""Are answers fit for who reads them: values as JSON, tables at a terminal and in a pipe?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import attrs

from duraflow import Codec, EventRefused, Instance, Unfired
from duraflow_cli.codes import Code
from duraflow_cli.values import as_json
from tests.cli.conftest import Shell
from tests.cli.test_operating import at_a_terminal

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
ID = UUID("0192d3c0-0000-7000-8000-000000000001")


@attrs.frozen
class Line:
    article: str
    price: Decimal


def test_an_instance_is_an_object_with_its_attributes() -> None:
    """What the user stored is written as the codec keeps it, registered classes included."""
    codec = Codec(types=[Line])
    instance = Instance(
        ID,
        "default",
        "order",
        1,
        "open",
        1,
        NOW,
        NOW,
        NOW,
        {"line": Line("tea", Decimal("1.50")), "when": NOW},
    )
    found = as_json(instance, codec)
    assert list(found) == [field.name for field in attrs.fields(Instance)]
    assert (found["id"], found["created_at"], found["outcome"]) == (
        str(ID),
        "2026-11-21T09:00:00+00:00",
        None,
    )
    assert codec.from_plain(found["context"]) == instance.context
    assert json.loads(json.dumps(found)) == found


def test_errors_and_lengths_inside_values() -> None:
    """An error is an object with its class, a length of time is ISO 8601."""
    refused = as_json(Unfired(EventRefused(ID, "order", "open", "ship", "not_accepted", ("pay",))))
    assert (refused["error"]["error"], refused["error"]["accepted"]) == ("EventRefused", ["pay"])
    assert as_json((timedelta(minutes=90), timedelta(0))) == ["PT1H30M", "PT0S"]


def test_a_table_fits_the_terminal_and_is_whole_in_a_pipe(shop: Shell, create: Callable[..., str]) -> None:
    """A program finds each instance in one line; a person sees no line longer than the window, and nothing cut off."""
    ref = "A-" + "x" * 200
    made = create("--ref", ref)
    _, row = shop("list").out.splitlines()
    assert row.split()[:4] == [made, "order", ref, "open"]
    code, seen = at_a_terminal(shop, "list", answer="")
    assert code == Code.DONE
    lines = seen.replace("\r", "").splitlines()
    assert max(map(len, map(_bare, lines))) <= 120
    assert seen.count("x") >= 200


def test_an_id_is_whole_in_a_narrow_window(shop: Shell, create: Callable[..., str]) -> None:
    """It is there to be copied; so is a time, which may stand on two lines."""
    made = create("--ref", "A-1")
    for command in (("list",), ("history", made), ("explain", made)):
        _, seen = at_a_terminal(shop, *command, answer="", columns=60)
        lines = [_bare(line) for line in seen.replace("\r", "").splitlines()]
        if command == ("list",):
            assert any(line.startswith(f"{made}  order") for line in lines)
        assert any("20" in line and re.search(r"\b\d{4}-\d\d-\d\d\b", line) for line in lines), lines
        assert any(re.search(r"\b\d\d:\d\d:\d\dZ", line) for line in lines), lines


def _bare(line: str) -> str:
    """Without what colours it."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)
