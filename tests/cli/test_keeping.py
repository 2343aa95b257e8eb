"""Is what is old taken out, and do instances travel?"""

from __future__ import annotations

import json
from collections.abc import Callable

from duraflow_cli.codes import Code
from tests.cli.conftest import Shell


def test_only_what_finished_long_ago_goes(shop: Shell, create: Callable[..., str]) -> None:
    """Counted by --dry-run, asked for, and then gone; what is open or young stays."""
    done, still = create(total=0), create()
    shop("fire", done, "ship")
    assert shop("prune", "--older-than", "90d", "--dry-run", "--json").json["instances"] == 0
    assert (
        "would go" in shop("prune", "--older-than", "2100-01-01T00:00Z", "--outcome", "done", "--dry-run").out
    )
    assert "give --yes" in shop("prune", "--older-than", "2100-01-01T00:00Z", code=Code.MISUSED).err
    result = shop("prune", "--older-than", "2100-01-01T00:00Z", "--yes", "--json").json
    assert (result["instances"], result["entries"], result["dry_run"]) == (1, 2, False)
    assert [i["id"] for i in shop("list", "--json").json["instances"]] == [still]


def test_an_export_is_imported_elsewhere(shop: Shell, create: Callable[..., str], namespace: str) -> None:
    """Into another namespace, the same to the last entry; a second time it is in the way, or passed over."""
    made = create("--ref", "A-1")
    create("--ref", "A-2")
    shop("fire", made, "pay", "--payload", '{"amount": "1.50"}')
    before = shop("history", made, "--json").json
    said = shop("export", "--workflow", "order", "-o", "orders.jsonl").err
    assert said.endswith("lines written to orders.jsonl\n")
    assert [file.name for file in shop.folder.glob("orders*")] == ["orders.jsonl"]
    lines = (shop.folder / "orders.jsonl").read_text().splitlines()
    assert shop("export", made).out.count("\n") == 4  # header, definition, instance, end
    # an id is there once in a database, so the first ones go
    for one in ("order:A-1", "order:A-2"):
        shop("delete", one, "--even-open", "--yes")
    there = ("--namespace", f"{namespace}_2")
    assert "give --yes" in shop("import", "orders.jsonl", *there, code=Code.MISUSED).err
    assert shop("import", "-", "--yes", "--json", *there, input="\n".join(lines)).json["instances"] == 2
    assert shop("history", made, "--json", *there).json == before
    assert shop("import", "orders.jsonl", "--yes", *there, code=Code.REFUSED).err.startswith(
        "duraflow: line "
    )
    assert (
        "2 whose id, ref or key is taken"
        in shop("import", "orders.jsonl", "--yes", "--skip-existing", *there).out
    )
    cut = shop("import", "-", "--yes", "--skip-existing", *there, code=Code.NO, input="\n".join(lines[:-1]))
    assert cut.out.splitlines()[-1].split() == ["complete", "no"]
    shop("export", made, "--open", code=Code.MISUSED)


def test_nothing_half_written_has_the_name_of_the_file(shop: Shell) -> None:
    """An export that fails leaves the one of yesterday as it was, and nothing else behind."""
    shop.write("x.jsonl", "of yesterday")
    shop("export", "order:nobody", "-o", "x.jsonl", code=Code.NOT_FOUND)
    assert [(path.name, path.read_text()) for path in shop.folder.glob("x*")] == [("x.jsonl", "of yesterday")]


def test_changes_go_on_with_a_cursor(shop: Shell, create: Callable[..., str]) -> None:
    """JSON Lines for programs; each line with the place to go on from."""
    made = create("--ref", "A-1")
    shop("fire", made, "ship", code=Code.REFUSED)
    lines = shop("changes", "--json").lines
    assert [(line["ref"], line["entry"]["seq"], line["entry"]["kind"]) for line in lines] == [
        ("A-1", 1, "created"),
        ("A-1", 2, "rejected"),
    ]
    rest = shop("changes", "--after", lines[0]["cursor"], "--json").lines
    assert rest == lines[1:]
    told = shop("changes", "--limit", "1")
    assert "order:A-1  #1  created  $created  open" in told.out
    assert told.err == f"go on with: --after {lines[0]['cursor']}\n"
    assert shop("changes", "--workflow", "letter", "--json").out == ""


def test_changes_are_followed_until_interrupted(shop: Shell, create: Callable[..., str]) -> None:
    """What happens later comes, line by line, at once; Ctrl-C ends it with 130."""
    import signal
    import subprocess
    import sys

    with subprocess.Popen(
        [sys.executable, "-m", "duraflow_cli", "changes", "--follow", "--poll", "0.05s", "--json"],
        cwd=shop.folder, env=dict(shop.environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        made = create()
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["entry"]["instance_id"] == made
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == Code.INTERRUPTED
    assert "Traceback" not in said
