"""Every `async def` test here runs twice: straight through a blocking runtime, and in an event loop."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.testing.conformance import Subject, World
from duraflow.testing.driver import AsyncioDriver, BlockingDriver, Driver


@pytest.fixture(params=["blocking", "asyncio"])
def driver(request: pytest.FixtureRequest) -> Driver:
    """What runs the test."""
    return AsyncioDriver() if request.param == "asyncio" else BlockingDriver()


@pytest.fixture
def world(driver: Driver) -> World:
    """Runtimes on one in-memory database, by a clock that stands still."""
    database = InMemoryDatabase()
    subject = Subject(
        persistence=lambda namespace: InMemoryPersistence(database=database, namespace=namespace),
        asyncio=driver.waits.suspends,
    )
    return World(subject, driver)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Let the driver run coroutine functions."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    values: dict[str, Any] = pyfuncitem.funcargs
    driver: Driver = values["driver"]
    arguments = {name: values[name] for name in pyfuncitem._fixtureinfo.argnames}
    driver.run(pyfuncitem.obj(**arguments))
    return True
