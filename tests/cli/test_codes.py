"""Does every error have its exit code and one clear line, with nothing secret in it?"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import attrs
import click
import pytest

from duraflow import errors
from duraflow_cli.asked import Asked
from duraflow_cli.codes import MEANINGS, Code
from duraflow_cli.failing import _CODES, NotAgreed, Refused, code_of, hidden
from tests.cli.conftest import Shell

_DOCS = Path(__file__).parents[2] / "docs" / "cli.md"
SECRET = "correct horse/battery"


def test_every_error_of_duraflow_has_a_code_of_its_own() -> None:
    """A new class of errors is not told as a fault of ours by accident."""
    public = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert public - {errors.DuraflowError} - {kind for kind, _ in _CODES} == set()


def test_the_table_in_the_docs_is_that_of_the_code() -> None:
    """Programs are written by it."""
    rows = [
        line
        for line in _DOCS.read_text().splitlines()
        if line.startswith("| ") and line.split("|")[1].strip().isdigit()
    ]
    assert rows == [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    assert set(MEANINGS) == set(Code)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (click.UsageError("x"), Code.MISUSED),
        (click.ClickException("x"), Code.MISUSED),
        (NotAgreed("x"), Code.NO),
        (Refused("x", Code.NOT_FOUND), Code.NOT_FOUND),
        (errors.InvalidArgument("a", "b"), Code.MISUSED),
        (errors.StoreUnavailable("x"), Code.UNAVAILABLE),
        (errors.DuraflowError("x"), Code.FAILED),
        (OSError("x"), Code.FAILED),
    ],
)
def test_errors_and_their_codes(error: BaseException, code: Code) -> None:
    """The number says what a caller can do about it."""
    assert code_of(error) is code


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://me:pw@host/db now", "at postgresql://me:***@host/db now"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("host=x password=pw dbname=y", "host=x password=*** dbname=y"),
        ("host=x password = 'p w' dbname=y", "host=x password = *** dbname=y"),
        ("it is hunter22!", "it is ***!"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    """What was given as a secret, and whatever looks like one in a connection string."""
    assert hidden(text, {"hunter22", "pw"}) == shown


def test_options_do_not_show_their_secrets() -> None:
    """Not in a repr, which may stand in a traceback of someone's tool."""
    assert "hunter" not in repr(Asked(dsn="postgresql://me:hunter22@x/y"))


def test_what_is_not_there(shop: Shell, create: Callable[..., str]) -> None:
    """3, with the name that was asked for."""
    said = shop("show", "order:nobody", code=Code.NOT_FOUND).err
    assert said.startswith("duraflow: no instance of workflow 'order' with ref 'nobody' in namespace")
    shop("create", "nonsense", code=Code.NOT_FOUND)
    shop("diagram", "nonsense", code=Code.NOT_FOUND)
    shop("check", "nonsense", code=Code.NOT_FOUND)


def test_what_is_refused(shop: Shell, create: Callable[..., str]) -> None:
    """4, and as JSON for a program: the class, the text, and what the error knows."""
    made = create("--ref", "A-1")
    again = shop("create", "order", "--ref", "A-1", "--context", '{"total": 1}', "--json", code=Code.REFUSED)
    error = json.loads(again.err)
    assert (error["error"], error["instance_id"], error["exit_code"]) == ("AlreadyExists", made, 4)
    assert "A-1" in error["message"]
    shop("fire", made, "ship_it", code=Code.REFUSED)


def test_a_key_takes_effect_once(shop: Shell, create: Callable[..., str]) -> None:
    """Sent again it is answered again; with another payload it is a conflict."""
    made = create("--key", "k-1")
    assert create("--key", "k-1") == made
    pay = ("fire", made, "pay", "--key", "p-1", "--keep-for", "30d")
    first = shop(*pay, "--payload", '{"amount": "1"}', "--json").json
    second = shop(*pay, "--payload", '{"amount": "1"}', "--json").json
    assert (first["replayed"], second["replayed"]) == (False, True)
    assert second["entries"] == first["entries"]
    said = shop(*pay, "--payload", '{"amount": "2"}', code=Code.REFUSED).err
    assert "payload.amount" in said


def test_an_empty_database_says_what_to_run(shop: Shell, empty_pg_dsn: str) -> None:
    """5 for who wants to work on it."""
    said = shop("list", "--dsn", empty_pg_dsn, code=Code.UNAVAILABLE).err
    assert "Duraflow's tables are missing" in said


def test_a_server_that_is_not_there_shows_no_password(shop: Shell) -> None:
    """Neither in the line, nor in JSON, nor in the traceback; however the DSN was given."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, not listening: nobody answers there
        port = held.getsockname()[1]
        url = f"postgresql://me:correct%20horse%2Fbattery@127.0.0.1:{port}/x"
        keywords = f"host=127.0.0.1 port={port} dbname=x user=me password='{SECRET}'"
        for option in ((), ("--json",), ("--traceback",)):
            done = shop("list", *option, code=Code.UNAVAILABLE, DURAFLOW_DSN=url)
            _without_secret(done.out + done.err)
        done = shop("db", "check", "--traceback", "--dsn", keywords, code=Code.UNAVAILABLE)
        _without_secret(done.out + done.err)


def test_a_password_in_an_error_of_the_application_is_hidden(shop: Shell, pg_dsn: str) -> None:
    """Also where the application's own code puts the DSN into its message."""
    dsn = pg_dsn.replace("postgres@", "postgres:correct%20horse%2Fbattery@")  # trust: any password will do
    shop.write(
        "leaky.py",
        """
        import os

        def runtime(persistence):
            raise RuntimeError(f"cannot use {os.environ['DURAFLOW_DSN']} with correct horse/battery")
        """,
    )
    for option in ((), ("--traceback",), ("--json",)):
        done = shop("list", "--app", "leaky:runtime", *option, code=Code.FAILED, DURAFLOW_DSN=dsn)
        assert "cannot use" in done.err
        _without_secret(done.err)
    shop("list", DURAFLOW_DSN=dsn)


def _without_secret(text: str) -> None:
    for piece in (SECRET, "correct%20horse", "battery"):
        assert piece not in text


def test_a_reader_that_goes_away_is_no_error(shop: Shell, create: Callable[..., str]) -> None:
    """`duraflow … | head` ends quietly."""
    import os
    import subprocess
    import sys

    create()
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "duraflow_cli", "list"],
        cwd=shop.folder, env=dict(shop.environment), stdout=written, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(written)
    assert (done.returncode, done.stderr) == (Code.CLOSED, "")


def test_options_stand_before_or_after(shop: Shell) -> None:
    """The later one counts."""
    assert attrs.asdict(Asked())["json"] is False
    assert shop("--json", "list", "--namespace", "empty").json["instances"] == []
    assert shop("--namespace", " ", "list", "--namespace", "empty").out == "no instances\n"
