"""How is a PostgreSQL server run in a directory of ours?

    with EmbeddedServer.throw_away(durable=True) as server:     # for a measurement: gone afterwards
        migrate(server.create_database("app"))

    dsn = keep_running(Path("demo/pg")).create_database("app")  # for a demo: goes on after the process ends

It listens on 127.0.0.1 and on a unix socket, and lets in whoever is on this machine: it is for trying things.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

import attrs
import psycopg
from psycopg import sql

from duraflow_cli.embedded.programs import (
    Installation,
    StartFailed,
    can_be_reached,
    find_installations,
    newest,
    reachable_bin_dir,
    run_as_server_user,
    server_user,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_SUPERUSER = "postgres"
# The longest path of a unix socket is 103 bytes on macOS and 107 on Linux, `/.s.PGSQL.65535` included.
_LONGEST_SOCKET_DIR = 87

StopMode = Literal["smart", "fast", "immediate"]


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
        server = cls(installation or newest(), base, _free_port(), durable=durable, temporary=temporary)
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
        user = server_user()
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
        return run_as_server_user(
            [str(reachable_bin_dir(self.installation) / program), *arguments], cwd=self.base, check=check
        )


def keep_running(directory: Path, installation: Installation | None = None) -> EmbeddedServer:
    """A durable server in `directory`, made or started when necessary, that goes on after this process.

    Its data stay. They may have to be in the temporary directory instead (see `programs`): the
    result's `base` is where they really are. Stop it with `stop()`.
    """
    server = kept(directory)
    if server is None:
        base = _base(directory)
        # what an interrupted initdb left is not a database
        shutil.rmtree(base / "data", ignore_errors=True)
        return EmbeddedServer.make(base, installation, durable=True)
    if not server.running:
        server.port = _free_port()
        server.configure({"port": str(server.port)})
        server.start()
    return server


def kept(directory: Path) -> EmbeddedServer | None:
    """The server that `keep_running` has made in `directory`, running or not; None if there is none.

    Raises:
        StartFailed: it was made by a version that is not here.
    """
    base = _base(directory)
    major_file = base / "data" / "PG_VERSION"
    if not major_file.exists():
        return None
    major = int(major_file.read_text())
    try:
        same_version = find_installations()[major]
    except KeyError:
        raise StartFailed(f"{base} was made by PostgreSQL {major}, which is not here: remove it") from None
    server = EmbeddedServer(same_version, base, 0, durable=True)
    if server.running:
        # the fourth line is the port that it listens on
        server.port = int((base / "data" / "postmaster.pid").read_text().splitlines()[3])
    return server


def _base(directory: Path) -> Path:
    """Where the data of `directory` really are."""
    base = directory.resolve()
    if can_be_reached(base.parent):
        return base
    return Path(tempfile.gettempdir()) / f"duraflow-{hashlib.sha256(os.fsencode(base)).hexdigest()[:12]}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
