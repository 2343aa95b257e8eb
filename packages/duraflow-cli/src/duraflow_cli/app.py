"""Which commands are there, and how does the program begin and end?"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

import click

from duraflow_cli import (
    __version__,
    checking,
    db,
    dev,
    diagrams,
    feed,
    looking,
    messages,
    moving,
    operating,
    rerunning,
    retention,
    upgrading,
    versions,
)
from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import MEANINGS, Code
from duraflow_cli.failing import tell

_SECTIONS: tuple[tuple[str, tuple[click.Command, ...]], ...] = (
    ("Look", (*looking.commands, *feed.commands)),
    ("Move", moving.commands),
    ("Operate", (*operating.commands, messages.messages)),
    ("Workflows", (checking.check, diagrams.diagram, versions.versions, upgrading.upgrade, rerunning.replay)),
    ("Keep", retention.commands),
    ("Database", (checking.doctor, db.db, dev.dev)),
)


def _codes() -> str:
    """The exit codes in a sentence."""
    return ", ".join(f"{code.value} {re.split('[:;]', meaning)[0]}" for code, meaning in MEANINGS.items())


class _Closed(Exception):
    """Whoever read the output is gone."""


class _Sections(click.Group):
    """A group whose help lists its commands by what they are for."""

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        longest = max(len(name) for name in self.commands)
        for title, commands in _SECTIONS:
            rows = [
                (command.name or "", command.get_short_help_str(formatter.width - longest - 6))
                for command in commands
            ]
            with formatter.section(title):
                formatter.write_dl(rows, col_max=longest)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # click itself would end with 1, which has a meaning here
            raise _Closed from error


@click.group(
    cls=_Sections,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="TARGET is an instance's id, or WORKFLOW:REF. Options of all commands may stand before or after the name. "
    "Exit codes: " + _codes() + ".",
)
@click.version_option(__version__, prog_name="duraflow", message="%(prog)s %(version)s")
@everything
def duraflow() -> None:
    """Look at durable workflows and their instances, move and operate them."""


for _, _commands in _SECTIONS:
    for _command in _commands:
        duraflow.add_command(_command)


def run(arguments: Sequence[str] | None = None) -> Code:
    """Run one command; gives the exit code."""
    asked = Asked()
    # what it says of definitions, `check` says
    logging.getLogger("duraflow.definition").addHandler(logging.NullHandler())
    # what a pool says of its connections, the error that follows says once
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
    try:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        ended = duraflow.main(
            None if arguments is None else list(arguments), "duraflow", standalone_mode=False, obj=asked
        )
        sys.stdout.flush()
    except (_Closed, BrokenPipeError):
        # the interpreter flushes at its end, into what is closed
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Code.CLOSED
    except (click.Abort, KeyboardInterrupt):
        return Code.INTERRUPTED
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told in one place
        given = sys.argv[1:] if arguments is None else arguments
        asked.json = asked.json or "--json" in given  # not noted yet where the options themselves are wrong
        return tell(error, asked)
    return Code(ended) if isinstance(ended, int) else Code.DONE
