"""How do Duraflow's tables get into a database from the shell, and do they fit?"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from duraflow import SchemaMismatch
from duraflow_cli.asked import Asked, settings, tables_and_json, tables_only
from duraflow_cli.codes import Code
from duraflow_cli.failing import Refused
from duraflow_cli.inputs import DurationText
from duraflow_cli.output import Output, note, write


@click.group(short_help="Apply, copy, print or check the migrations.")
@tables_only
def db() -> None:
    """Apply, copy, print or check the migrations of Duraflow's tables."""


@db.command()
@click.option(
    "--timeout",
    type=DurationText(),
    default="5m",
    show_default=True,
    help="How long to wait for other migrations.",
)
@tables_and_json
@click.pass_obj
def migrate(asked: Asked, timeout: timedelta) -> None:
    """Apply what is missing, without dbmate. Safe beside others, and run again."""
    from duraflow_pg import schema as tables

    found = settings(asked)
    applied = tables.migrate(found.conninfo, schema=found.schema, timeout=timeout)
    out = Output.of(asked)
    if out.json:
        out.document({"schema": found.schema, "applied": applied})
        return
    for version in applied:
        write(f"applied {version} to schema {found.schema!r}")
    if not applied:
        write(f"schema {found.schema!r} is up to date")


@db.command()
@tables_and_json
@click.pass_obj
def check(asked: Asked) -> Code:
    """Say whether the tables are as this version needs them; ends with 1 if not."""
    from duraflow_pg import schema as tables

    found = settings(asked)
    out = Output.of(asked)
    try:
        tables.check_schema(found.conninfo, schema=found.schema)
    except SchemaMismatch as error:
        if out.json:
            out.document(
                {"schema": found.schema, "fits": False, "problem": error.problem, "remedy": error.remedy}
            )
        else:
            note(f"duraflow: schema {error.schema!r}: {error.problem}\nrun: {error.remedy}")
        return Code.NO
    if out.json:
        out.document({"schema": found.schema, "fits": True})
    else:
        write(f"schema {found.schema!r} is up to date")
    return Code.DONE


@db.command()
@click.argument("directory", type=click.Path(path_type=Path))
@tables_and_json
@click.pass_obj
def copy(asked: Asked, directory: Path) -> None:
    """Copy the files into DIRECTORY, a folder of dbmate migrations."""
    from duraflow_pg import schema as tables

    try:
        report = tables.copy_migrations(directory, schema=settings(asked).schema)
    except tables.FilesDiffer as error:
        raise Refused(str(error), Code.REFUSED) from error
    out = Output.of(asked)
    if out.json:
        out.document({"copied": map(str, report.copied), "identical": map(str, report.identical)})
        return
    for path in report.identical:
        write(f"unchanged  {path}")
    for path in report.copied:
        write(f"new        {path}")
    if not report.copied:
        write("nothing new")


@db.command("print")
@click.option(
    "--uuid", type=click.Choice(["random", "v7"]), default="random", show_default=True, help="v7: from 18 on."
)
@click.option("--down", is_flag=True, help="What takes it back.")
@tables_only
@click.pass_obj
def print_(asked: Asked, uuid: str, down: bool) -> None:
    """Print the SQL, for tools other than dbmate."""
    from duraflow_pg import schema as tables

    generated = tables.generate_migration_sql(
        schema=settings(asked).schema, uuid_strategy="v7" if uuid == "v7" else "random"
    )
    # bytes: a schema's name may not fit the terminal's encoding, and the SQL goes to a file or a pipe
    sys.stdout.buffer.write((generated.down if down else generated.up).encode())
