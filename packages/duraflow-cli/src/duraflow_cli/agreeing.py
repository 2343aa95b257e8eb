"""Does somebody agree to what cannot be taken back?"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from duraflow_cli.failing import NotAgreed

F = TypeVar("F", bound=Callable[..., Any])

yes_option: Callable[[F], F] = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def agree(question: str, *, yes: bool) -> None:
    """Return if it may be done: `--yes` was given, or the person at the terminal says so.

    Raises:
        click.UsageError: there is nobody to ask.
        NotAgreed: the answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask at: give --yes to do it.")
    if not click.confirm(question, err=True):
        raise NotAgreed("nothing was done")
