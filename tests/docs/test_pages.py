"""Does everything that the docs show work as it stands?"""

from __future__ import annotations

import importlib.util
import re
import shlex
from typing import Any

import click
import psycopg
import pytest

from duraflow_cli.app import duraflow
from duraflow_pg.__main__ import _parser
from tests.docs.pages import ROOT, Page, Runner, page, pages

_PAGES = pages()

_WITHOUT_REASON = {
    # written before reasons were asked for; the pages say around the block what it is
    "docs/contributing.md": "test functions, which pytest calls with fixtures",
}
_PROGRAMS = {"cd", "curl", "dbmate", "docker", "export", "git", "mv", "pip", "psql", "test"}


def _parameters(*, code: bool) -> list[Any]:
    return [
        pytest.param(found, id=found.name, marks=pytest.mark.pg if code and found.needs_database else ())
        for found in _PAGES
        if not code or any(block.runs for block in found.blocks)
    ]


@pytest.mark.parametrize("found", _parameters(code=True))
def test_the_code_of_a_page_runs(
    found: Page, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who types it in, from the first block to the last, sees what the page says."""
    given = {}
    if found.needs_database:
        given["dsn"] = request.getfixturevalue("fresh_pg_dsn")
        monkeypatch.setenv("DURAFLOW_DSN", given["dsn"])
        monkeypatch.setenv("DATABASE_URL", given["dsn"])
    if found.name != "docs/sql.md":
        assert Runner(found, given).run()
        return
    with psycopg.connect(given["dsn"], autocommit=True) as connection:
        runner = Runner(found, given, lambda statement: _rows(connection, statement))
        runner.run()
    assert runner.count == sum(block.runs or block.language == "sql" for block in found.blocks)


def _rows(connection: psycopg.Connection[object], statement: str) -> str:
    """What a statement gives, as a table."""
    cursor = connection.execute(statement.encode())
    if cursor.description is None:
        return ""
    rows = [[column.name for column in cursor.description]]
    rows += [["" if value is None else str(value) for value in row] for row in cursor.fetchall()]  # type: ignore[attr-defined]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(
        line.rstrip() for line in [lines[0], "-+-".join("-" * width for width in widths), *lines[1:]]
    )


@pytest.mark.parametrize("found", _parameters(code=False))
def test_what_is_not_run_says_why(found: Page) -> None:
    """Every block that is left out has a reason a reader can judge."""
    for block in found.blocks:
        if block.language == "python" and not block.runs:
            reason = block.info.removeprefix("notest").lstrip(": ") or _WITHOUT_REASON.get(found.name)
            assert reason, f"{found.name}, line {block.line}: say why: ```python notest: reason"


@pytest.mark.parametrize("found", _parameters(code=False))
def test_links_lead_somewhere(found: Page) -> None:
    """To a file that is there, and to a heading that it has."""
    for link in found.links:
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (found.path.parent / path).resolve() if path else found.path
        assert target.exists(), f"{found.name}: {link} leads nowhere"
        if anchor and target.suffix == ".md":
            assert anchor in Page.read(target).anchors, f"{found.name}: there is no heading for {link}"


@pytest.mark.parametrize("found", _parameters(code=False))
def test_commands_are_understood(found: Page) -> None:
    """What stands after a $ is a target of make, an option of ours, a module, or a known program."""
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for block in found.blocks:
        if block.language != "console":
            continue
        commands = [line[2:] for line in block.code.splitlines() if line.startswith("$ ")]
        assert commands, f"{found.name}, line {block.line}: a console block shows commands after `$ `"
        for command in commands:
            words = [word for word in shlex.split(command, comments=True) if not re.match(r"\w+=", word)]
            match words:
                case ["make", *asked]:
                    assert set(asked) <= targets, command
                case ["duraflow", *options]:
                    _check_command(options)
                case ["python", "-m", "duraflow_pg", *options]:
                    _parser().parse_args(options)
                case ["python", "-m", module, *_]:
                    assert importlib.util.find_spec(module) is not None, command
                case [program, *_]:
                    assert program in _PROGRAMS, command


def _check_command(words: list[str]) -> None:
    """Whether there is such a command of `duraflow`, with these options; tests/cli runs those of docs/cli.md."""
    command: click.Command = duraflow
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    for word in words:
        if word.startswith("-") and len(word) > 1:
            assert word.partition("=")[0] in known | {"--help"}, (command.name, word)
        elif isinstance(command, click.Group):
            assert word in command.commands, word
            command = command.commands[word]
            known |= {
                option for parameter in command.params for option in parameter.opts + parameter.secondary_opts
            }


def test_the_index_names_every_page() -> None:
    """A page that nobody can find is not there."""
    listed = {link.partition("#")[0] for link in page("docs/index.md").links}
    written = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert written <= listed
