"""Does an operator's command do what it says, and only when somebody agrees?"""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import psycopg
import pytest

from duraflow_cli.codes import Code
from tests.cli.conftest import Shell

_PARKED = json.dumps(
    {
        "expire": {
            "next_at": None, "rejected": 0, "failed": 10, "blockers": None, "error": "the printer burns",
            "parked_at": "2026-11-21T09:00:00+00:00",
        }
    }
)  # fmt: skip


def at_a_terminal(shell: Shell, *arguments: str, answer: str, columns: int = 120) -> tuple[int, str]:
    """Run the command at a terminal, where somebody types the answer; the exit code, and what was seen."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "duraflow_cli", *arguments],
        cwd=shell.folder, env={**shell.environment, "TERM": "xterm", "COLUMNS": str(columns)},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(theirs)
        seen = b""
        answered = False
        while True:
            try:
                more = os.read(ours, 4096)
            except OSError:  # the last one at the other end has gone
                break
            if not more:
                break
            seen += more
            if b"[y/N]" in seen and not answered:
                os.write(ours, answer.encode())
                answered = True
        os.close(ours)
    return process.returncode, seen.decode()


@pytest.mark.parametrize(
    "command",
    [
        ("cancel",),
        ("force", "--state", "shipped", "--reason", "lost in the post"),
        ("delete", "--even-open"),
    ],
)
def test_without_a_terminal_it_takes_yes(
    command: tuple[str, ...], shop: Shell, create: Callable[..., str]
) -> None:
    """Refused with the way to say it, and nothing has happened; with --yes it is done."""
    made = create()
    said = shop(command[0], made, *command[1:], code=Code.MISUSED).err
    assert "There is no terminal to ask at: give --yes to do it." in said
    assert shop("show", made, "--json").json["instance"]["version"] == 1
    shop(command[0], made, *command[1:], "--yes")
    if command[0] == "delete":
        shop("show", made, code=Code.NOT_FOUND)
    else:
        assert (
            shop("history", made, "--json").json[-1]["kind"]
            == {"cancel": "cancelled", "force": "forced"}[command[0]]
        )


def test_at_a_terminal_it_asks(shop: Shell, create: Callable[..., str]) -> None:
    """A no changes nothing and ends with 1; a yes does it."""
    made = create()
    code, seen = at_a_terminal(shop, "cancel", made, answer="n\n")
    assert (code, "nothing was done" in seen) == (Code.NO, True)
    code, seen = at_a_terminal(shop, "cancel", made, "--reason", "too late", "--by", "anna", answer="y\n")
    assert (code, f"Cancel instance {made} of order, now in open?" in seen) == (Code.DONE, True)
    assert shop("history", made, "--json").json[-1]["trigger"] == {"reason": "too late", "by": "anna"}
    # prune counts first, and tells what it would take out
    code, seen = at_a_terminal(shop, "prune", "--older-than", "0s", answer="n\n")
    assert (code, "Take out 0 instances" in seen) == (Code.MISUSED, False)
    code, seen = at_a_terminal(shop, "prune", "--older-than", "1s", answer="n\n")
    assert "instances with" in seen


def test_ctrl_c_at_a_question_is_an_interrupt(shop: Shell, create: Callable[..., str]) -> None:
    """130, and nothing has happened."""
    made = create()
    code, _ = at_a_terminal(shop, "cancel", made, answer="\x04")
    assert code == Code.INTERRUPTED
    assert shop("show", made, "--json").json["instance"]["outcome"] is None


def test_a_forced_context_is_laid_over(shop: Shell, create: Callable[..., str]) -> None:
    """By key; what is not named stays."""
    made = create()
    result = shop(
        "force", made, "--state", "open", "--reason", "typo", "--context", '{"total": 5}', "--yes", "--json"
    ).json
    assert result["instance"]["context"] == {"total": 5, "paid": 0}


def test_a_finished_instance_needs_no_more_to_go(shop: Shell, create: Callable[..., str]) -> None:
    """An open one is refused unless it is said."""
    made = create(total=0)
    assert "--even-open" in shop("delete", made, "--yes", code=Code.MISUSED).err
    shop("fire", made, "ship")
    assert shop("delete", made, "--yes", "--json").json["id"] == made


def test_what_is_parked_is_armed_again(shop: Shell, create: Callable[..., str], pg_dsn: str) -> None:
    """Listed with its error; `rearm` takes several."""
    first, second = create(), create()
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE workflow_due SET parked_at = now(), error = 'burning', retries = %s WHERE instance_id = %s",
            [_PARKED, first],
        )
    assert "the printer burns" in shop("parked").out
    (parked,) = shop("parked", "--json").json
    assert (parked["instance_id"], parked["event"], parked["attempts"]) == (first, "expire", 10)
    assert [line["id"] for line in shop("rearm", first, second, "--json").lines] == [first, second]
    assert shop("parked").out == "nothing is parked\n"
