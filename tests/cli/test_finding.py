"""Is the application found, and the database, wherever they are named?"""

from __future__ import annotations

import attrs
import pytest

from duraflow_cli.codes import Code
from tests.cli.conftest import SHOP, Shell, plain_environment

WORKFLOWS = """
from duraflow import State, Transition, Workflow

def open_sesame(context):
    return True

door = Workflow(name="door", initial="shut", states=[
    State("shut", [Transition("open", target="opened", guard="password")]), State("opened"),
])
workflows = [door]
guards = {"password": open_sesame}
"""

ASYNC = """
import asyncio
from duraflow import AsyncRuntime, State, Transition, Workflow

async def ring(ctx):
    await asyncio.sleep(0)
    ctx.context["rung"] = True

bell = Workflow(name="bell", initial="still", states=[
    State("still", [Transition("ring", target="rung", commands=[ring])]), State("rung"),
])

def runtime(persistence) -> AsyncRuntime:
    return AsyncRuntime(workflows=[bell], persistence=persistence)

def unannotated(persistence):
    return AsyncRuntime(workflows=[bell], persistence=persistence)

workflows = [bell]
"""

OWN = """
from duraflow import Runtime
from duraflow_pg import PgPersistence
from doors import door, guards

runtime = Runtime(workflows=[door], guards=guards, persistence=PgPersistence.from_env())
"""


@pytest.mark.parametrize("name", ["doors", "doors:workflows", "bells:runtime", "bells"])
def test_what_may_be_named(name: str, folder: Shell, pg_dsn: str, namespace: str) -> None:
    """A module, a list of workflows, and functions that make either kind of runtime."""
    folder.write("doors.py", WORKFLOWS)
    folder.write("bells.py", ASYNC)
    here = attrs.evolve(
        folder, environment={**folder.environment, "DURAFLOW_DSN": pg_dsn, "DURAFLOW_NAMESPACE": namespace}
    )
    if name == "doors:workflows":
        said = here("diagram", "--app", name, code=Code.MISUSED).err
        assert "'password' is not registered" in said or "password" in said
        return
    workflow, event, last = ("door", "open", "opened") if name == "doors" else ("bell", "ring", "rung")
    made = here("--app", name, "create", workflow, "--json").json["id"]
    assert here("fire", made, event, "--app", name, "--json").json["to_state"] == last
    assert here("history", made, "--json").json[-1]["to_state"] == last
    if workflow == "bell":  # what comes one by one comes from an asyncio runtime, too
        changes, export, limited = here.many(
            [
                [*words, "--app", name]
                for words in (["changes", "--json"], ["export", made], ["changes", "--limit", "1"])
            ]
        )
        assert [line["entry"]["to_state"] for line in changes.lines] == ["still", "rung"]
        assert len(export.lines) == 4
        assert limited.code == Code.DONE


def test_a_ready_runtime_knows_its_database(folder: Shell, pg_dsn: str, namespace: str) -> None:
    """`.env` is in its environment; an option that it could not follow is refused, not ignored."""
    folder.write("doors.py", WORKFLOWS)
    folder.write("own.py", OWN)
    folder.write(".env", f"DURAFLOW_DSN='{pg_dsn}'\nexport DURAFLOW_NAMESPACE={namespace}  # ours\n")
    made = folder("create", "door", "--app", "own:runtime", "--json").json
    assert made["namespace"] == namespace
    said = folder("list", "--app", "own:runtime", "--namespace", "other", code=Code.MISUSED).err
    assert said.startswith("duraflow: --namespace: 'own:runtime' brings its own persistence")


def test_the_nearest_pyproject_that_says_something(folder: Shell, pg_dsn: str) -> None:
    """Found from a folder below; its own folder can be imported from, and its `.env` counts."""
    folder.write("shop.py", SHOP)
    folder.write("pyproject.toml", '[tool.duraflow]\napp = "shop:runtime"\nnamespace = "from-the-file"\n')
    folder.write(".env", f"DATABASE_URL={pg_dsn}\n")
    folder.write("parts/pyproject.toml", "[tool.other]\n")
    below = attrs.evolve(folder, folder=folder.folder / "parts")
    assert (
        below("create", "order", "--context", '{"total": 1}', "--json").json["namespace"] == "from-the-file"
    )
    assert below("list", "--json", "--namespace", "elsewhere").json == {"instances": [], "cursor": None}


def test_what_is_asked_wrongly_is_one_clear_line(folder: Shell) -> None:
    """Ends with 2, says what to do, on stderr, without a traceback."""
    folder.write("shop.py", SHOP)
    folder.write("bells.py", ASYNC)
    for (arguments, said), done in zip(
        _WRONG, folder.many([arguments.split(" ") for arguments, _ in _WRONG]), strict=True
    ):
        assert (done.code, done.out) == (Code.MISUSED, ""), arguments
        assert done.err.startswith("duraflow: ")
        assert said in done.err
        assert "Traceback" not in done.err


_WRONG = [
    ("diagram", "this needs the application's code; name it with --app MODULE:NAME"),
    ("diagram --app nowhere:x", "--app: there is no module 'nowhere'"),
    ("diagram --app shop:nothing", "--app: 'shop' has no 'nothing'; it has "),
    ("diagram --app shop:", "--app: 'shop:' is not MODULE:NAME"),
    ("diagram --app json", "--app: the module 'json' has neither `runtime` nor `workflows`"),
    ("diagram --app shop:Payment", "'shop:Payment' gave Payment, not Runtime"),
    ("diagram --app shop:covered.__name__", "is str; name a function that takes a persistence"),
    ("diagram --app bells:unannotated", "annotate it with `-> AsyncRuntime`"),
    ("diagram --app json:dump", "is a function of obj, fp; it may take `persistence` only"),
    ("list", "--dsn: no database was named; give --dsn, or set DURAFLOW_DSN or DATABASE_URL"),
    ("list --dsn mysql://x", "--dsn: is not a postgresql:// URL"),
    ("list --schema pg_x", "--schema: "),
    ("list --namespace  ", "--namespace: '' is blank"),
    ("show x", "Invalid value for 'TARGET': 'x' is neither an id nor WORKFLOW:REF"),
    ("show order:x --seq 1 --time 1d", "give --seq or --time, not both"),
    ("list --metadata {", "is not JSON"),
    ("list --metadata NaN", "JSON has no NaN"),
    ("list --metadata []", "is not a JSON object"),
    ("list --metadata @nowhere.json", "cannot read 'nowhere.json'"),
    ("list --created-since 2026-11-21T09:00", "has no time zone"),
    ("list --created-since yesterday", "is not a time such as 2026-11-21T09:00Z, nor how long ago"),
    ("prune --older-than 1x", "is not a time"),
    ("explain order:x --payload pay", "'pay' is not EVENT=JSON"),
    ("db migrate --timeout soon", "'soon' is not a length of time such as 90d"),
    ("export order:x --open", "name instances, or give a filter, not both"),
    ("nonsense", "No such command 'nonsense'"),
    ("list --nonsense", "No such option '--nonsense'"),
]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[tool.duraflow]\napp = "nowhere"\n', "[tool.duraflow] app: there is no module 'nowhere'"),
        ('[tool.duraflow]\ndsn = "x"\n', "not 'dsn'; a database is named in .env or the environment"),
        ("[tool.duraflow]\napp = 3\n", "[tool.duraflow] holds texts"),
        ("[tool.duraflow\n", "cannot be read"),
    ],
)
def test_a_wrong_pyproject_is_named(text: str, said: str, folder: Shell) -> None:
    """The file, and what is wrong in it."""
    folder.write("pyproject.toml", text)
    assert said in folder("diagram", code=Code.MISUSED).err


def test_an_application_that_cannot_be_imported_says_where(folder: Shell) -> None:
    """The error of the application's own code is not hidden behind ours."""
    folder.write("broken.py", "import does_not_exist\n")
    said = folder("diagram", "--app", "broken", code=Code.FAILED).err
    assert said.splitlines()[0] == "duraflow: ModuleNotFoundError: No module named 'does_not_exist'"


def test_the_environment_of_the_tests_names_nothing() -> None:
    """So that a developer's own variables change no answer."""
    assert not [name for name in plain_environment() if name.startswith("DURAFLOW")]
