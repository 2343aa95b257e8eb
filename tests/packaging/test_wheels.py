"""Do the packages work as a stranger gets them: wheels built from sdists, installed where nothing else is?"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("duraflow-core", "duraflow-pg", "duraflow-cli")


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command; on failure show everything it said."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All wheels, each built from its sdist, which holds all that is needed."""
    made: dict[str, Path] = {}
    for name in PACKAGES:
        folder = tmp_path_factory.mktemp(name)
        build = [sys.executable, "-m", "build", "--no-isolation"]
        run(*build, "--sdist", "--outdir", folder, ROOT / "packages" / name, cwd=folder)
        (sdist,) = folder.glob("*.tar.gz")
        run("tar", "-xzf", sdist, cwd=folder)
        unpacked = folder / sdist.name.removesuffix(".tar.gz")
        run(*build, "--wheel", "--outdir", folder, unpacked, cwd=folder)
        (made[name],) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def stranger(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a new environment that has the wheels and what they ask for."""
    folder = tmp_path_factory.mktemp("stranger")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    run(
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-c", ROOT / "constraints.txt",
        wheels["duraflow-core"], f"duraflow-pg[binary] @ file://{wheels['duraflow-pg']}", wheels["duraflow-cli"],
        cwd=folder,
    )  # fmt: skip
    return python


def test_the_wheel_carries_the_migrations_and_the_types(wheels: dict[str, Path]) -> None:
    """What is in the repository's one copy is in the wheel, byte for byte, beside `py.typed`."""
    with zipfile.ZipFile(wheels["duraflow-pg"]) as archive:
        names = set(archive.namelist())
        for file in (ROOT / "sql" / "dbmate").glob("*.sql"):
            assert archive.read(f"duraflow_pg/migrations/{file.name}") == file.read_bytes()
    assert "duraflow_pg/py.typed" in names
    with zipfile.ZipFile(wheels["duraflow-core"]) as archive:
        assert "duraflow/py.typed" in archive.namelist()
    with zipfile.ZipFile(wheels["duraflow-cli"]) as archive:
        assert "duraflow_cli/py.typed" in archive.namelist()


def test_the_core_asks_for_attrs_only(wheels: dict[str, Path]) -> None:
    """The core stays light: nothing else is installed with it."""
    with zipfile.ZipFile(wheels["duraflow-core"]) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("METADATA")]
        text = archive.read(metadata).decode()
    asked = re.findall(r"^Requires-Dist: ([\w-]+)", text, re.MULTILINE)
    assert asked == ["attrs"]


def test_the_readme_example_runs_where_nothing_else_is(stranger: Path, tmp_path: Path) -> None:
    """The first example of the README is a whole program."""
    (example, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "example.py").write_text(example)
    run(stranger, "example.py", cwd=tmp_path)


def test_the_installed_package_copies_its_migrations(stranger: Path, tmp_path: Path) -> None:
    """`python -m duraflow_pg migrations copy` works from a wheel, without the repository."""
    run(stranger, "-m", "duraflow_pg", "migrations", "copy", tmp_path / "db", cwd=tmp_path)
    copied = {file.name for file in (tmp_path / "db").glob("*.sql")}
    assert copied == {file.name for file in (ROOT / "sql" / "dbmate").glob("*.sql")}


def test_the_installed_command_runs(stranger: Path, tmp_path: Path) -> None:
    """`duraflow` is on the path, and draws a workflow of the folder that it is called in."""
    (example, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    definition = example.partition("with Runtime(")[0]
    (tmp_path / "shop.py").write_text(f"{definition}\nworkflows = [order]\n")
    command = stranger.parent / "duraflow"
    assert run(command, "--version", cwd=tmp_path) == "duraflow 0.1.0\n"
    assert run(command, "diagram", "--app", "shop", cwd=tmp_path).startswith("stateDiagram-v2")
