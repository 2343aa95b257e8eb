"""Does every command say what it is for, and is every one of them in the docs?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from duraflow_cli.app import duraflow
from tests.cli.conftest import Shell

_DOCS = Path(__file__).parents[2] / "docs" / "cli.md"


def _commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for child in command.commands.values():
            yield from _commands(child, f"{name} {child.name}".strip())


_ALL = dict(_commands(duraflow, ""))
_LEAVES = sorted(name for name, command in _ALL.items() if not isinstance(command, click.Group))


@pytest.mark.parametrize("name", sorted(_ALL))
def test_every_command_explains_itself(name: str) -> None:
    """A text, and a text for each of its options; `--help` ends well and needs no application."""
    command = _ALL[name]
    assert command.help
    assert command.short_help or not name
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name not in ("limit", "timers", "kind", "uuid"):
            assert parameter.help, parameter.name
    done = CliRunner().invoke(duraflow, [*name.split(), "--help"], prog_name="duraflow")
    assert done.exit_code == 0
    assert done.output.startswith(f"Usage: {f'duraflow {name}'.strip()} ")


def test_the_help_of_the_whole_lists_every_command(folder: Shell) -> None:
    """Each is in exactly one of its sections."""
    listed = re.findall(r"^  ([a-z]+)  ", folder("--help").out, re.MULTILINE)
    assert sorted(listed) == sorted(duraflow.commands)


def test_every_command_has_an_example_in_the_docs() -> None:
    """A reader finds it."""
    shown = re.findall(r"^\$ duraflow (.*)$", _DOCS.read_text(), re.MULTILINE)
    for name in _LEAVES:
        assert any(f" {line} ".startswith(f" {name} ") for line in shown), name


@pytest.mark.parametrize("name", [n for n in _LEAVES if n not in ("db print", "db copy", "export")])
def test_every_command_that_prints_data_prints_json(name: str) -> None:
    """`--json` everywhere, but where the output is SQL, files, or JSON Lines anyway."""
    assert any("--json" in parameter.opts for parameter in _ALL[name].params)
