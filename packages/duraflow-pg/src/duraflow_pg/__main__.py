"""How are the migrations copied, printed, applied and checked from a shell? `python -m duraflow_pg`.

Exit codes: 0 done, or nothing to do; 1 it did not work (the schema is not as required, a file would be overwritten,
the server refused or could not be reached); 2 it was not asked rightly (unknown option, bad name, no DSN).
"""

from __future__ import annotations

import argparse
import sys
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from duraflow.errors import DuraflowError, InvalidArgument, SchemaMismatch
from duraflow_pg._psycopg import psycopg
from duraflow_pg.places import DSN_VARIABLES, chosen_dsn, chosen_schema, environment
from duraflow_pg.schema.applying import migrate
from duraflow_pg.schema.checking import check_schema
from duraflow_pg.schema.copying import FilesDiffer, copy_migrations
from duraflow_pg.schema.generate import generate_migration_sql

if TYPE_CHECKING:
    from collections.abc import Sequence

_DONE, _FAILED, _MISUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. `--help` and wrong options raise SystemExit, as argparse does."""
    variables = environment(Path(".env"))
    asked = _parser().parse_args(arguments)
    try:
        schema = chosen_schema(asked.schema, variables)
        match asked.command, getattr(asked, "subcommand", None):
            case "migrations", "copy":
                return _copy(asked.directory, schema)
            case "migrations", "print":
                return _print(schema, asked.uuid, down=asked.down)
            case "migrate", _:
                return _migrate(chosen_dsn(asked.dsn, variables).conninfo, schema, asked.timeout)
            case _:
                return _check(chosen_dsn(asked.dsn, variables).conninfo, schema)
    except InvalidArgument as error:
        _complain(str(error))
        return _MISUSED
    except SchemaMismatch as error:
        _complain(f"schema {error.schema!r}: {error.problem}\nrun: {error.remedy}")
        return _FAILED
    except (DuraflowError, psycopg.Error, OSError) as error:
        _complain(str(error).strip())
        return _FAILED


def _copy(directory: str, schema: str) -> int:
    try:
        report = copy_migrations(directory, schema=schema)
    except FilesDiffer as error:
        _complain(str(error))
        return _FAILED
    for path in report.identical:
        print(f"unchanged  {path}")
    for path in report.copied:
        print(f"new        {path}")
    if not report.copied:
        print("nothing new")
    return _DONE


def _print(schema: str, uuid: str, *, down: bool) -> int:
    generated = generate_migration_sql(schema=schema, uuid_strategy="v7" if uuid == "v7" else "random")
    # not print: a schema's name may not fit the terminal's encoding, and the SQL goes to a file or a pipe
    sys.stdout.buffer.write((generated.down if down else generated.up).encode())
    sys.stdout.flush()
    return _DONE


def _migrate(dsn: str, schema: str, timeout: timedelta) -> int:
    applied = migrate(dsn, schema=schema, timeout=timeout)
    for version in applied:
        print(f"applied {version} to schema {schema!r}")
    if not applied:
        print(f"schema {schema!r} is up to date")
    return _DONE


def _check(dsn: str, schema: str) -> int:
    check_schema(dsn, schema=schema)
    print(f"schema {schema!r} is up to date")
    return _DONE


def _seconds(text: str) -> timedelta:
    try:
        seconds = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if seconds < timedelta(0):
        raise argparse.ArgumentTypeError(f"{text!r} is negative")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m duraflow_pg",
        description="Duraflow's tables: copy, print, apply or check the migrations.",
        epilog="Variables are read from the environment and from .env in the current folder. "
        "Exit codes: 0 done, 1 it did not work, 2 it was not asked rightly.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    migrations = commands.add_parser("migrations", help="copy or print the migration files")
    kinds = migrations.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    copy = kinds.add_parser("copy", help="copy the files into a folder of dbmate migrations")
    copy.add_argument("directory", metavar="DIR", help="the folder, such as db/migrations")
    show = kinds.add_parser("print", help="print the SQL, for tools other than dbmate")
    show.add_argument(
        "--uuid",
        choices=["random", "v7"],
        default="random",
        help="how the server makes ids; v7 from PostgreSQL 18",
    )
    show.add_argument("--down", action="store_true", help="print what takes it back")

    apply = commands.add_parser("migrate", help="apply what is missing, without dbmate")
    apply.add_argument(
        "--timeout",
        type=_seconds,
        default=timedelta(minutes=5),
        metavar="SECONDS",
        help="how long to wait for others (default: 300)",
    )
    check = commands.add_parser(
        "check", help="exit with 0 if the schema is as this version needs it, else with 1"
    )

    for command in (apply, check):
        command.add_argument(
            "--dsn",
            help=f"the database (default: ${' or $'.join(DSN_VARIABLES)}); a password is safer in a variable",
        )
    for command in (copy, show, apply, check):
        command.add_argument(
            "--schema",
            help="where the tables are (default: $DURAFLOW_SCHEMA or public)",
        )
    return parser


def _complain(text: str) -> None:
    print(f"duraflow: {text}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
