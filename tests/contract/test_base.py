"""Is the base contract enough for an adapter that has only what it must have?"""

from __future__ import annotations

import unittest
from typing import Any

import attrs
import pytest

from duraflow.memory import InMemoryDatabase, InMemoryPersistence
from duraflow.ports import Persistence
from duraflow.testing.conformance import Check, Subject, World, checks
from duraflow.testing.driver import BlockingDriver


def base_only(*, asyncio: bool = False) -> Subject:
    """A store with the three base ports (and the lifecycle that this one cannot do without)."""
    database = InMemoryDatabase()

    def make(namespace: str) -> Persistence:
        full = InMemoryPersistence(database=database, namespace=namespace)
        return Persistence(
            instances=full.instances,
            history=full.history,
            transactions=full.transactions,
            lifecycle=full.lifecycle,
            namespace=namespace,
        )

    return Subject(persistence=make, asyncio=asyncio, concurrency=False)


@pytest.mark.parametrize("check", checks(base=True), ids=str)
@pytest.mark.parametrize("asyncio", [False, True], ids=["blocking", "asyncio"])
def test_base_contract(check: Check, asyncio: bool) -> None:
    """The default writer makes moves of the three base ports."""
    check(base_only(asyncio=asyncio))


def test_the_base_contract_is_a_real_part_of_the_whole() -> None:
    """It needs nothing but base ports, and still covers ports and runtime."""
    base, every = checks(base=True), checks()
    assert set(base) < set(every)
    assert {"instances", "history", "transactions", "writing", "creating", "firing", "scopes"} <= {
        check.part for check in base
    }
    assert not {"due", "definitions", "races", "timers"} & {check.part for check in base}


def test_what_a_store_does_not_have_is_skipped_by_name() -> None:
    """As a skip that pytest and unittest understand."""
    needs_due = next(check for check in checks() if check.needs == {"due", "concurrency"})
    with pytest.raises(unittest.SkipTest, match="no concurrency, due"):
        needs_due(base_only())


def test_every_check_has_a_name_of_its_own() -> None:
    """Names are what pytest shows and `-k` selects."""
    names = [str(check) for check in checks()]
    assert len(set(names)) == len(names)
    assert all(check.body.__doc__ for check in checks())


class _Forgetful:
    """A history store that forgets to write."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def append(self, unit: Any, entries: Any, /) -> None:
        """Nothing."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_broken_adapter_is_found_out() -> None:
    """An adapter that loses history fails checks of the ports and of the runtime."""
    subject = base_only()

    def make(namespace: str) -> Persistence:
        full = subject.persistence(namespace)
        return attrs.evolve(full, history=_Forgetful(full.history))

    broken = attrs.evolve(subject, persistence=make)
    failed = set()
    for check in checks(base=True):
        try:
            check(broken)
        except BaseException:  # noqa: BLE001  # whatever it fails with; those of pytest are no Exceptions
            failed.add(check.part)
    assert {"history", "transactions", "writing", "creating", "firing", "scopes"} <= failed


def test_a_check_can_be_run_by_hand() -> None:
    """With a world of one's own, for a debugger."""
    check = checks(base=True)[0]
    driver = BlockingDriver()
    driver.run(check.body(World(base_only(), driver)))
