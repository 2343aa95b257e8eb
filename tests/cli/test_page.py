"""Does docs/cli.md show what happens?"""

from __future__ import annotations

import re
import shlex

import attrs

from tests.cli.conftest import Shell
from tests.docs.pages import page

_VARYING = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\S*"
)


@attrs.frozen
class Shown:
    """A command of the page, with what the page shows of its output."""

    line: int
    arguments: list[str]
    code: int
    output: str


def _shown() -> list[Shown]:
    found: list[Shown] = []
    for block in page("docs/cli.md").blocks:
        if block.language != "console" or block.comment.startswith("not run"):
            continue
        ends = re.fullmatch(r"ends with (\d+)", block.comment)
        *pieces, last = re.split(r"^\$ ", block.code, flags=re.MULTILINE)[1:]
        for number, piece in enumerate([*pieces, last]):
            command, _, output = piece.partition("\n")
            words = shlex.split(command)
            if words[0] != "duraflow":
                continue
            code = int(ends[1]) if ends is not None and number == len(pieces) else 0
            found.append(Shown(block.line, words[1:], code, output.strip()))
    return found


def _plain(text: str) -> list[str]:
    """Without what differs from run to run: ids, times, the width of columns."""
    return [" ".join(_VARYING.sub("…", line).split()) for line in text.strip().splitlines()]


def test_the_page_runs_from_top_to_bottom(folder: Shell, empty_pg_dsn: str) -> None:
    """Its files are written, its commands run in their order: they end as it says, and print what it shows."""
    for block in page("docs/cli.md").blocks:
        if block.comment.startswith("file: "):
            folder.write(block.comment.removeprefix("file: "), block.code)
    shown = _shown()
    assert len(shown) > 40
    there = attrs.evolve(folder, environment={**folder.environment, "DURAFLOW_DSN": empty_pg_dsn})
    for command, done in zip(shown, there.many([command.arguments for command in shown]), strict=True):
        what = f"docs/cli.md, line {command.line}: duraflow {shlex.join(command.arguments)}\n{done.out}\n{done.err}"
        assert done.code == command.code, what
        assert "Traceback" not in done.err, what
        if command.output:
            assert _plain(done.out) == _plain(command.output), what
        if "--json" in command.arguments:
            assert done.lines if "changes" in command.arguments else done.json, what
