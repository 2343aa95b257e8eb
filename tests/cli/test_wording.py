"""Does this command advise what can be done with it, and tell errors in a way that helps who sits at a shell?"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from duraflow import Runtime
from duraflow.diagnosis import AILMENTS
from duraflow_cli.app import duraflow
from duraflow_cli.codes import Code
from duraflow_cli.wording import COMMANDS, at_a_shell
from duraflow_pg.doctor import PG_AILMENTS
from tests.cli.conftest import SHOP, Shell

# What no command does: a process of the application does.
_ONLY_IN_PYTHON = {"fire_due_timers", "dispatch"}


def test_every_remedy_names_commands() -> None:
    """What the doctor advises is a command wherever it is a function of the runtime; each command is there."""
    remedies = [ailment.remedy for ailment in (*AILMENTS.values(), *PG_AILMENTS.values())]
    named = {name for remedy in remedies for name in re.findall(r"`(\w+)(?:\(\))?`", at_a_shell(remedy))}
    assert {name for name in named if hasattr(Runtime, name)} <= _ONLY_IN_PYTHON
    for ours in COMMANDS.values():
        command, *rest = ours.strip("`").split()[1:]
        found = duraflow.commands[command]
        for word in rest:
            if word.startswith("--"):
                assert any(word in parameter.opts for parameter in found.params), ours
            else:
                found = getattr(found, "commands")[word]  # noqa: B009  # only a group has some


def test_without_a_command_its_help_is_all(folder: Shell) -> None:
    """Neither `duraflow` nor a group puts its help into an error."""
    for name in ((), ("db",), ("messages",)):
        done = folder(*name, code=Code.MISUSED)
        assert done.err.startswith("Usage: duraflow ")
        assert "(try:" not in done.err


def test_what_is_wrong_with_the_options_is_json_too(folder: Shell) -> None:
    """One line, as any other error."""
    for words in (("nosuch", "--json"), ("list", "--nosuch", "--json"), ("--json", "show")):
        (line,) = folder(*words, code=Code.MISUSED).err.splitlines()
        assert json.loads(line)["exit_code"] == Code.MISUSED


def test_a_group_says_what_it_has(folder: Shell) -> None:
    """`list` may well be looked for among the messages."""
    assert "parked, retry, skip" in folder("messages", "list", code=Code.MISUSED).err


def test_a_server_that_is_away_is_told_once(shop: Shell) -> None:
    """The pool's own log does not stand around the error."""
    done = shop("list", "--json", "--dsn", "postgresql://nobody@127.0.0.1:1/nothing", code=Code.UNAVAILABLE)
    (line,) = done.err.splitlines()
    assert json.loads(line)["error"] == "StoreUnavailable"


def test_a_definition_in_conflict_does_not_keep_from_looking(shop: Shell, create: Callable[..., str]) -> None:
    """The error names --no-app, with which an instance is found by its ref, too."""
    made = create("--ref", "A-1")
    shop.write("shop.py", SHOP.replace("timedelta(days=14)", "timedelta(days=140)"))
    refused = shop("show", "order:A-1", code=Code.REFUSED).err
    assert "raise its version number" in refused
    assert "--no-app" in refused
    assert made in shop("show", "order:A-1", "--no-app").out
    assert made in shop("why", "order:A-1", "--no-app").out
    assert made in shop("history", "order:A-1", "--no-app", "--json").out


def test_a_name_that_is_not_known_is_pointed_out(shop: Shell, create: Callable[..., str]) -> None:
    """Where nothing is found, for it may be another application's."""
    create()
    for command in ("list", "count"):
        done = shop(command, "ordre")
        assert done.out == "no instances\n"
        assert "no workflow 'ordre'; it has order" in done.err
    assert shop("list", "order", "--state", "lost").err == ""


def test_what_is_missing_for_an_event_is_told(shop: Shell, create: Callable[..., str]) -> None:
    """The fields of its payload when firing, and why a command led to its error target."""
    made = create()
    said = shop("fire", made, "pay", code=Code.MISUSED).err
    assert "give --payload, a JSON object of its fields (amount, note)" in said
    lost = shop("fire", made, "post", code=Code.REFUSED).out
    assert re.search(r"^failed +refuse_delivery: nobody lives there$", lost, re.MULTILINE)
    deleted = shop("delete", made, "--yes").out
    assert deleted == f"deleted: {made}, order in lost, with its history\n"


def test_a_guard_that_needs_a_payload_says_so(shop: Shell, create: Callable[..., str]) -> None:
    """The table names the cause, the note the way to ask; with a payload there is nothing to tell."""
    shop.write(
        "shop.py",
        SHOP.replace(
            'Transition("pay", commands=[book])',
            'Transition("pay", commands=[book], guard=lambda payload: payload.amount > 0)',
        )
        .replace("lambda payload: payload.amount > 0", "positive")
        .replace("def covered(", "def positive(payload):\n    return payload.amount > 0\n\n\ndef covered("),
    )
    made = create()
    asked = shop("explain", made)
    assert "it needs its payload: AttributeError" in asked.out
    assert "--payload 'pay={…}'" in asked.err
    given = shop("explain", made, "--payload", 'pay={"amount": 1}')
    assert "needs its payload" not in given.out
    assert given.err == ""
