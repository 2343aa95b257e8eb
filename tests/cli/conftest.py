"""A folder with an application in it, and the command run there as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from duraflow_cli.codes import Code
from tests.pg.kit import settled

_ROOT = Path(__file__).parents[2]

SHOP = '''
"""An order is paid in parts; what was paid is counted by a command, what is enough by a guard."""

from datetime import timedelta
from decimal import Decimal

import attrs

from duraflow import Blocker, Failure, Runtime, State, Transition, Workflow


@attrs.frozen
class Payment:
    amount: Decimal
    note: str | None = None


def covered(context):
    missing = context["total"] - context["paid"]
    return missing <= 0 or Blocker("not_covered", "something is still to be paid", {"missing": missing})


def book(ctx):
    ctx.context["paid"] += ctx.payload.amount


def refuse_delivery(ctx):
    return Failure("no_address", "nobody lives there")


def explode(ctx):
    raise RuntimeError("the printer burns")


order = Workflow(
    name="order",
    initial="open",
    events={"pay": Payment},
    states=[
        State(
            "open",
            [
                Transition("pay", commands=[book]),
                Transition("ship", target="shipped", guard=covered),
                Transition("post", target="shipped", commands=[refuse_delivery], error_target="lost"),
                Transition("print", target="shipped", commands=[explode]),
                Transition("expire", target="expired", after=timedelta(days=14)),
            ],
            context={"paid": 0},
        ),
        State("shipped"),
        State("lost", outcome="failed"),
        State("expired", outcome="cancelled"),
    ],
)


def runtime(persistence):
    return Runtime(workflows=[order], persistence=persistence)
'''


@attrs.frozen
class Done:
    """What a run of the command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON Lines on stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


@attrs.frozen
class Shell:
    """Runs the command in one folder, with one environment, and no terminal."""

    folder: Path
    environment: Mapping[str, str]

    def __call__(self, *arguments: str, code: int = Code.DONE, input: str = "", **environment: str) -> Done:  # noqa: A002
        """Run `duraflow` with these arguments; fails unless it ends with the code."""
        dsn = {**self.environment, **environment}.get("DURAFLOW_DSN")
        if "changes" in arguments and "--follow" not in arguments and dsn:
            settled(dsn)
        done = subprocess.run(
            [sys.executable, "-m", "duraflow_cli", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            input=input,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, (
            f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def many(self, commands: Sequence[Sequence[str]]) -> list[Done]:
        """Run several, one after the other, in one process, which takes a fraction of the time."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.cli.one_process"],
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(_ROOT)},
            input=json.dumps([list(command) for command in commands]),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [Done(*one) for one in json.loads(done.stdout)]

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path


def plain_environment() -> dict[str, str]:
    """The environment of this process without what the command would read."""
    ours = ("DURAFLOW_", "DATABASE_URL", "PG", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@pytest.fixture(scope="session")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes keep compiled modules: to compile them for each takes longer than what they are to do."""
    return tmp_path_factory.mktemp("compiled")


@pytest.fixture
def folder(tmp_path: Path, _compiled: Path) -> Shell:
    """An empty folder, and an environment that names nothing."""
    return Shell(tmp_path, {**plain_environment(), "PYTHONPYCACHEPREFIX": str(_compiled)})


@pytest.fixture
def shop(folder: Shell, pg_dsn: str, namespace: str) -> Shell:
    """A folder with the application `shop`, named in pyproject.toml; database and namespace in the environment."""
    folder.write("shop.py", SHOP)
    folder.write("pyproject.toml", '[tool.duraflow]\napp = "shop:runtime"\n')
    return attrs.evolve(
        folder, environment={**folder.environment, "DURAFLOW_DSN": pg_dsn, "DURAFLOW_NAMESPACE": namespace}
    )


@pytest.fixture
def create(shop: Shell) -> Callable[..., str]:
    """Creates an order, and gives its id."""

    def make(*options: str, total: object = 100) -> str:
        context = json.dumps({"total": {"$": "decimal", "v": str(total)}})
        return str(shop("create", "order", "--context", context, "--json", *options).json["id"])

    return make
