"""How is an error told: in which words, with which exit code, and without anything secret?"""

from __future__ import annotations

import json
import re
import sys
import traceback
from collections.abc import Iterable

import click

from duraflow import errors
from duraflow_cli.asked import Asked
from duraflow_cli.codes import Code
from duraflow_cli.wording import at_a_shell

# The number by the class of the error; of several that fit, the first counts.
_CODES: tuple[tuple[type[BaseException], Code], ...] = (
    (errors.InstanceNotFound, Code.NOT_FOUND),
    (errors.DefinitionNotFound, Code.NOT_FOUND),
    (errors.AlreadyExists, Code.REFUSED),
    (errors.EventRefused, Code.REFUSED),
    (errors.Rejected, Code.REFUSED),
    (errors.CommandFailed, Code.REFUSED),
    (errors.ConcurrencyConflict, Code.REFUSED),
    (errors.DefinitionConflict, Code.REFUSED),
    (errors.IdempotencyConflict, Code.REFUSED),
    (errors.KeyTaken, Code.REFUSED),
    (errors.ImportRefused, Code.REFUSED),
    (errors.LiveCheckFailed, Code.REFUSED),
    (errors.Busy, Code.REFUSED),
    (errors.ChainTooDeep, Code.REFUSED),
    (errors.StoreUnavailable, Code.UNAVAILABLE),
    (errors.LockTimeout, Code.UNAVAILABLE),
    (errors.SchemaMismatch, Code.UNAVAILABLE),
    (errors.InvalidArgument, Code.MISUSED),
    (errors.DefinitionError, Code.MISUSED),
    (errors.Misuse, Code.MISUSED),
    (errors.NotSupported, Code.MISUSED),
)

_SHORTEST_SECRET = 4
_IN_URL = re.compile(r"(\w+://[^\s:/@]*):[^\s/@]+@")
_IN_KEYWORDS = re.compile(r"(\b(?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s'\"]+)")


class NotAgreed(click.ClickException):
    """Nobody agreed. Nothing was done."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = Code.NO


class Refused(click.ClickException):
    """A command of ours says no, in words of its own."""

    def __init__(self, message: str, code: Code = Code.NO) -> None:
        super().__init__(message)
        self.code = code


def code_of(error: BaseException) -> Code:
    """The exit code that says what kind of error it was."""
    if isinstance(error, (NotAgreed, Refused)):
        return error.code
    if isinstance(error, click.ClickException):
        return Code.MISUSED
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if type(error).__module__.partition(".")[0] in ("psycopg", "psycopg_pool"):
        return Code.UNAVAILABLE
    return Code.FAILED


def tell(error: BaseException, asked: Asked) -> Code:
    """Write an error to stderr, and give the code to end with."""
    code = code_of(error)
    if asked.traceback and not isinstance(error, click.ClickException):
        shown = "".join(traceback.format_exception(error))
        sys.stderr.write(hidden(shown, asked.secrets))
        return code
    if asked.json:
        from duraflow_cli.values import error_json

        known = {**error_json(error), "message": _text(error), "exit_code": int(code)}
        line = json.dumps(known, ensure_ascii=False, default=str)
    elif isinstance(error, click.exceptions.NoArgsIsHelpError):
        line = error.format_message()
    else:
        line = f"duraflow: {at_a_shell(_text(error))}"
        if code is Code.FAILED:
            line += "\n  (--traceback shows where it comes from)"
        if isinstance(error, (errors.DefinitionConflict, errors.DefinitionError, errors.LiveCheckFailed)):
            line += "\n  (what only reads works without the application's code: --no-app)"
        if isinstance(error, click.NoSuchCommand) and error.ctx is not None:
            line += _commands_of(error.ctx)
        if isinstance(error, click.UsageError) and error.ctx is not None:
            line += f"\n  (try: {error.ctx.command_path} --help)"
    sys.stderr.write(hidden(line, asked.secrets).rstrip() + "\n")
    return code


def hidden(text: str, secrets: Iterable[str]) -> str:
    """The text without the secrets, and without whatever looks like a password in a connection string."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return _IN_KEYWORDS.sub(r"\1***", _IN_URL.sub(r"\1:***@", text))


def _commands_of(context: click.Context) -> str:
    """Which commands a small group has; those of the whole are listed by its help."""
    if context.parent is None or not isinstance(context.command, click.Group):
        return ""
    return f" It has {', '.join(sorted(context.command.commands))}."


def _text(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, errors.DuraflowError):
        return str(error)
    said = " ".join(str(error).split())
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
