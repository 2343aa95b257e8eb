"""Does a machine without libpq get told what to install?"""

from __future__ import annotations

import subprocess
import sys

_WITHOUT_LIBPQ = """\
import ctypes.util, sys
sys.modules["psycopg_c"] = None
sys.modules["psycopg_binary"] = None
ctypes.util.find_library = lambda name: None
"""


def _import(prelude: str, module: str = "duraflow_pg._psycopg") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"{prelude}\nimport {module}"], capture_output=True, text=True, check=False
    )


def test_a_missing_libpq_names_the_extra() -> None:
    """Psycopg's own words stand above it."""
    result = _import(_WITHOUT_LIBPQ)
    assert result.returncode == 1
    assert "ImportError: psycopg, or the libpq library" in result.stderr.splitlines()[-1]
    assert 'pip install "duraflow-pg[binary]"' in result.stderr.splitlines()[-1]
    assert "no pq wrapper available" in result.stderr


def test_so_does_a_missing_psycopg() -> None:
    """As after `pip install --no-deps`."""
    result = _import('import sys; sys.modules["psycopg"] = None')
    assert 'pip install "duraflow-pg[binary]"' in result.stderr.splitlines()[-1]


def test_an_implementation_that_was_asked_for_is_the_users_business() -> None:
    """Psycopg says best what is wrong with PSYCOPG_IMPL."""
    result = _import('import os; os.environ["PSYCOPG_IMPL"] = "nonsense"')
    assert result.returncode == 1
    assert "duraflow-pg[binary]" not in result.stderr
    assert "nonsense" in result.stderr.splitlines()[-1]


def test_the_commands_say_it_too() -> None:
    """Nothing of ours imports psycopg before the module that explains."""
    result = _import(_WITHOUT_LIBPQ, "duraflow_pg.__main__")
    assert 'pip install "duraflow-pg[binary]"' in result.stderr.splitlines()[-1]
