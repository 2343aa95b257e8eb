"""Does docs/cli.md show what happens?"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import attrs

from tests.cli.conftest import Shell
from tests.docs.pages import page

_ROOT = Path(__file__).parents[2]
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
    done = subprocess.run(
        [sys.executable, "-m", "tests.cli.one_process"],
        cwd=folder.folder,
        env={**folder.environment, "DURAFLOW_DSN": empty_pg_dsn, "PYTHONPATH": str(_ROOT)},
        input=json.dumps([command.arguments for command in shown]),
        capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    for command, (code, out, err) in zip(shown, json.loads(done.stdout), strict=True):
        what = f"docs/cli.md, line {command.line}: duraflow {shlex.join(command.arguments)}\n{out}\n{err}"
        assert code == command.code, what
        assert "Traceback" not in err, what
        if command.output:
            assert _plain(out) == _plain(command.output), what
        if "--json" in command.arguments and out:
            [json.loads(line) for line in out.splitlines()] if "changes" in command.arguments else json.loads(
                out
            )
