"""Is every command that docs/operations.md and README.md tell people to run there, with those options?"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest

from duraflow_cli.app import duraflow
from duraflow_cli.asked import Asked
from tests.docs.pages import page

_INLINE = re.compile(r"`(duraflow [^`]+)`")
# What stands for something that whoever is on call knows.
_STANDS_FOR = {"ID": "0192d3c0-0000-7000-8000-000000000001", "…": "something"}


def _commands(name: str) -> Iterator[tuple[str, int]]:
    """The commands of a page, in its blocks for a shell and in its sentences, with their lines."""
    found = page(name)
    for block in found.blocks:
        for number, line in enumerate(block.code.splitlines(), block.line):
            if block.language in ("sh", "console") and line.removeprefix("$ ").startswith("duraflow "):
                yield line.removeprefix("$ "), number
    for number, line in enumerate(found.text.splitlines(), 1):
        for inline in _INLINE.findall(line):
            yield inline, number


def _parse(line: str) -> click.Context:
    """Let click read a line, without running it; raises `click.UsageError` for what it does not know."""
    words = [_STANDS_FOR.get(word, word) for word in shlex.split(line, comments=True)][1:]
    context = duraflow.make_context("duraflow", words, obj=Asked(), resilient_parsing=False)
    command: click.Command = duraflow
    while isinstance(command, click.Group):
        _, child, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert child is not None
        command = child
        if isinstance(command, click.Group) and not rest:
            return context  # a sentence may speak of all of them, such as `duraflow upgrade`
        context = command.make_context(command.name, rest, parent=context)
    return context


@pytest.mark.parametrize("name", ["docs/operations.md", "README.md", "docs/doctor.md", "docs/retention.md"])
def test_what_the_page_says_can_be_run(name: str) -> None:
    """Each command, option and value is one that click takes. What is to be copied is whole."""
    found = list(_commands(name))
    assert len(found) >= {"docs/operations.md": 20}.get(name, 1)
    for line, number in found:
        try:
            _parse(line)
        except click.MissingParameter:
            # a sentence names a command without all that it needs: `duraflow prune`; a block is to be copied
            assert len(shlex.split(line)) <= 3, f"{name}:{number}: {line}"
            assert f"`{line}`" in page(name).text, f"{name}:{number}: {line}"
        except click.UsageError as error:
            pytest.fail(f"{name}:{number}: {line}: {error.format_message()}")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("duraflow prune --older-then 400d", "No such option"),
        ("duraflow prune --older-than 400x", "is not a time"),
        ("duraflow purge", "No such command"),
        ("duraflow messages park", "No such command"),
        ("duraflow why order:A-1 more", "unexpected extra argument"),
        ("duraflow force ID --state open", "Missing option"),
    ],
)
def test_what_is_not_there_is_found_out(line: str, says: str) -> None:
    """The test above can fail."""
    with pytest.raises(click.UsageError) as refused:
        _parse(line)
    assert says in refused.value.format_message()
