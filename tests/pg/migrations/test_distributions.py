"""Do the migrations travel in the wheel, however that was built?"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from duraflow_pg.schema import migrations_path
from tests.pg.migrations.shapes import versions

_PACKAGE = Path(__file__).parents[3] / "packages" / "duraflow-pg"
_SHIPPED = {path.name: path.read_bytes() for path in migrations_path().glob("*.sql")}
_CORE = Path(__file__).parents[3] / "packages" / "duraflow-core" / "src"


def _build(source: Path, kind: str, to: Path) -> Path:
    command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(to), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = to.iterdir()
    return built


@pytest.mark.slow
@pytest.mark.parametrize("by_way_of_the_sdist", [False, True])
def test_an_installed_wheel_migrates(empty_pg_dsn: str, tmp_path: Path, by_way_of_the_sdist: bool) -> None:
    """From a checkout or from its sdist: the files are inside, byte by byte, and are found and applied."""
    source = _PACKAGE
    if by_way_of_the_sdist:
        with tarfile.open(_build(_PACKAGE, "sdist", tmp_path / "sdist")) as sdist:
            sdist.extractall(tmp_path / "source", filter="data")
        (source,) = (tmp_path / "source").iterdir()
    wheel = _build(source, "wheel", tmp_path / "wheel")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    inside = installed / "duraflow_pg" / "migrations"
    assert {path.name: path.read_bytes() for path in inside.iterdir()} == _SHIPPED
    # before site-packages, so the installed one is found instead of the checkout
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), str(_CORE)])}
    found = subprocess.run(
        [sys.executable, "-c", "from duraflow_pg.schema import migrations_path; print(migrations_path())"],
        env=environment, cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(found.stdout.strip()) == inside
    subprocess.run(
        [sys.executable, "-m", "duraflow_pg", "migrate", "--dsn", empty_pg_dsn],
        env=environment, cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    assert versions(empty_pg_dsn) == sorted(name.partition("_")[0] for name in _SHIPPED)
