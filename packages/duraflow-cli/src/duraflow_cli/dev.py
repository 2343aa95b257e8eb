"""How does one get a database to try things on, gone with Ctrl-C?"""

from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from duraflow_cli.asked import Asked, settings, tables_and_json
from duraflow_cli.codes import Code
from duraflow_cli.failing import Refused
from duraflow_cli.output import Output, note, write

if TYPE_CHECKING:
    from duraflow_cli.embedded import EmbeddedServer


@click.command(short_help="Run a PostgreSQL for trying things.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the data there; else they are gone.",
)
@tables_and_json
@click.pass_obj
def dev(asked: Asked, directory: Path | None) -> Code:
    """Run a PostgreSQL for trying things, with Duraflow's tables, until Ctrl-C.

    Prints what to export in another shell. Whoever is on this machine may connect. Needs `duraflow-cli[dev]`.
    """
    if asked.dsn is not None:
        raise click.UsageError("`dev` makes a database of its own; --dsn says nothing here")
    found = settings(asked)
    signal.signal(signal.SIGTERM, _stop)
    server: EmbeddedServer | None = None
    try:
        server = _server(directory)
        dsn = server.create_database("duraflow")
        _migrate(dsn, found.schema)
        _tell(Output.of(asked), server, dsn, found.schema)
        while server.running:
            time.sleep(5)
        raise Refused(f"the server has ended by itself; its log is {server.log}", Code.UNAVAILABLE)
    except KeyboardInterrupt:
        note("stopping")
        return Code.DONE
    finally:
        if server is not None:
            server.close()


def _stop(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _server(directory: Path | None) -> EmbeddedServer:
    if os.name == "nt":
        raise Refused("`dev` runs on Linux and macOS; on Windows use a container", Code.FAILED)
    from duraflow_cli.embedded import EmbeddedServer, StartFailed, keep_running, kept

    try:
        if directory is None:
            return EmbeddedServer.throw_away()
        there = kept(directory)
        if there is not None and there.running:
            raise Refused(f"a server is running there already: {there.dsn('duraflow')}", Code.REFUSED)
        return keep_running(directory)
    except StartFailed as error:
        raise Refused(str(error), Code.FAILED) from error


def _migrate(dsn: str, schema: str) -> None:
    from duraflow_pg import schema as tables

    tables.migrate(dsn, schema=schema)


def _tell(out: Output, server: EmbeddedServer, dsn: str, schema: str) -> None:
    if out.json:
        out.line({"dsn": dsn, "version": server.version, "directory": str(server.base), "schema": schema})
        return
    note(f"PostgreSQL {server.version} runs until Ctrl-C. In another shell:\n")
    write(f"export DURAFLOW_DSN={shlex.quote(dsn)}")
    if schema != "public":
        write(f"export DURAFLOW_SCHEMA={shlex.quote(schema)}")
    sys.stdout.flush()
