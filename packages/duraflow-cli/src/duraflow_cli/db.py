"""How do Duraflow's tables get into a database from the shell, and do they fit?"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import click

from duraflow import SchemaMismatch
from duraflow_cli.agreeing import agree, yes_option
from duraflow_cli.asked import Asked, settings, tables_and_json, tables_only
from duraflow_cli.codes import Code
from duraflow_cli.failing import Refused
from duraflow_cli.inputs import DurationText
from duraflow_cli.output import Output, note, write
from duraflow_cli.wording import at_a_shell


@click.group(short_help="Apply, copy, print or check the migrations.")
@tables_only
def db() -> None:
    """Apply, copy, print or check the migrations of Duraflow's tables."""


@db.command(short_help="Apply what is missing, without dbmate.")
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


@db.command(short_help="Say whether the tables are as this version needs them.")
@click.option(
    "--reset-positions", is_flag=True, help="Mend the feed after a restore into another server. Asks first."
)
@yes_option
@tables_and_json
@click.pass_obj
def check(asked: Asked, reset_positions: bool, yes: bool) -> Code:
    """Say whether the tables are as this version needs them, and the positions of the feed as the server counts.

    Ends with 1 if not. Run it with --reset-positions after a restore, before the application starts.
    """
    import duraflow_pg
    from duraflow_pg import schema as tables

    found = settings(asked)
    try:
        tables.check_schema(found.conninfo, schema=found.schema)
    except SchemaMismatch as error:
        return _unfit(asked, found.schema, error.problem, error.remedy)
    problem = duraflow_pg.positions_problem(found.conninfo, schema=found.schema)
    if problem is not None and not reset_positions:
        return _unfit(asked, found.schema, problem, "duraflow db check --reset-positions")
    changed = 0
    if problem is not None:
        agree(f"{problem}\nReset them now? Nothing else may write meanwhile.", yes=yes)
        note("resetting; some seconds for each million transactions that the counter is behind")
        changed = duraflow_pg.reset_positions(found.conninfo, schema=found.schema)
    out = Output.of(asked)
    if out.json:
        out.document({"schema": found.schema, "fits": True, "positions_reset": problem is not None})
        return Code.DONE
    if problem is not None:
        write(
            f"positions are behind the server's counter again; {changed:,} history entries have another one"
        )
    write(f"schema {found.schema!r} is up to date")
    return Code.DONE


def _unfit(asked: Asked, schema: str, problem: str, remedy: str) -> Code:
    out = Output.of(asked)
    if out.json:
        out.document({"schema": schema, "fits": False, "problem": problem, "remedy": remedy})
    else:
        note(at_a_shell(f"duraflow: schema {schema!r}: {problem}\nrun: {remedy}"))
    return Code.NO


@db.command(short_help="Copy the files, for dbmate.")
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


@db.command("print", short_help="Print the SQL, for other tools.")
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
