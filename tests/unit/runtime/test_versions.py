"""Is a stored version loaded once, for good, and for its own workflow only?"""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest

from duraflow import (
    AsyncRuntime,
    DefinitionNotFound,
    Finding,
    InvalidArgument,
    Misuse,
    NotSupported,
    Runtime,
    State,
    StoreUnavailable,
    Transition,
    Workflow,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing.conformance import World
from duraflow.testing.crashes import count_calls

FLOW = Workflow(
    name="flow",
    initial="a",
    states=[State("a", [Transition("go", target="b"), Transition("run", target="b", commands=["run"])]), State("b")],
)  # fmt: skip
NEWER = attrs.evolve(FLOW, version=2, description="newer")


def run(ctx: Any) -> None:
    """Does nothing."""


def test_it_is_loaded_once() -> None:
    """Pinned resolution asks the store at the first touch, and never again."""
    persistence = InMemoryPersistence()
    with Runtime(workflows=[FLOW], commands=[run], persistence=persistence) as runtime:
        ids = [runtime.create("flow").id for _ in range(5)]
    counted, calls = count_calls(persistence)
    with Runtime(workflows=[NEWER], commands=[run], persistence=counted, live_check="off") as runtime:
        calls.calls.clear()
        for instance_id in ids:
            runtime.fire(instance_id, "go")
        assert [call for call in calls.calls if call.startswith("definitions")] == ["definitions.load"]
        assert calls.calls[:2] == ["instances.get", "definitions.load"]
    counted, calls = count_calls(persistence)
    with Runtime(workflows=[NEWER], commands=[run], persistence=counted) as runtime:
        # All are finished: the check at start has loaded nothing.
        assert calls.calls == ["definitions.register", "definitions.known", "definitions.counts"]


def test_the_check_at_start_loads_what_lives() -> None:
    """So that the first event, and its payload, are understood without asking."""
    persistence = InMemoryPersistence()
    with Runtime(workflows=[FLOW], commands=[run], persistence=persistence) as runtime:
        created = runtime.create("flow")
    counted, calls = count_calls(persistence)
    with Runtime(workflows=[NEWER], commands=[run], persistence=counted) as runtime:
        assert calls.calls[-1] == "definitions.load"
        calls.calls.clear()
        runtime.fire(created.id, "go")
        assert [call for call in calls.calls if call.startswith("definitions")] == []


def test_nothing_is_counted_where_all_versions_are_in_code() -> None:
    """A start then costs one small query."""
    counted, calls = count_calls(InMemoryPersistence())
    with Runtime(workflows=[FLOW, NEWER], commands=[run], persistence=counted):
        assert calls.calls == ["definitions.register", "definitions.known"]


def test_a_start_registers_only_what_was_given() -> None:
    """What was loaded from the store belongs to it already."""
    persistence = InMemoryPersistence()
    with Runtime(workflows=[FLOW], commands=[run], persistence=persistence) as runtime:
        created = runtime.create("flow")
    runtime = Runtime(workflows=[NEWER], commands=[run], persistence=persistence)
    with runtime:
        runtime.fire(created.id, "go")
    with runtime:
        assert [workflow.version for workflow in runtime.workflows] == [2]
        assert runtime.create("flow").definition_version == 2


async def test_a_warning_is_logged_once(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """One record for each version, through the logger of the library."""
    async with world.runtime(FLOW, commands=[run]) as runtime:
        for _ in range(3):
            await runtime.create("flow")
    fine = Workflow(name="flow", version=2, initial="a", states=[State("a")])
    with caplog.at_level(logging.WARNING, logger="duraflow"):
        async with world.runtime(fine, invariants=False) as runtime:
            await runtime.check_live()
    told = [record.getMessage() for record in caplog.records if record.name == "duraflow.versions"]
    reason = "no command 'run' is registered; pass it in `Runtime(commands=…)`"
    assert told == [
        f"3 open instances of 'flow' are governed by version 1, which this runtime cannot use: {reason}"
    ]


async def test_a_check_that_fails_only_warns(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A count that runs into a timeout keeps nobody from starting, unless the check is fatal."""

    @attrs.frozen
    class Slow:
        inner: Any

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def known(self, unit: Any, /) -> Any:
            raise StoreUnavailable("statement timeout")

    def runtime(**options: Any) -> AsyncRuntime:
        persistence = world.persistence()
        slow = attrs.evolve(persistence, definitions=Slow(persistence.definitions))
        return world.driver.runtime(workflows=[FLOW], commands=[run], persistence=slow, **options)

    with caplog.at_level(logging.WARNING, logger="duraflow"):
        async with runtime() as started:
            await started.create("flow")
    assert "could not be checked" in caplog.text
    async with runtime(live_check="off") as started:
        await started.create("flow")
    with pytest.raises(StoreUnavailable):
        async with runtime(live_check={"flow": "fatal"}):
            raise AssertionError("it must not start")


@pytest.mark.parametrize("value", ["loud", None, 5, {"flow": "loud"}, {"flow": None}])
def test_a_bad_live_check_is_refused(value: Any) -> None:
    """When the runtime is made."""
    with pytest.raises(InvalidArgument, match="live_check"):
        Runtime(workflows=[FLOW], commands=[run], persistence=InMemoryPersistence(), live_check=value)


async def test_a_store_without_definitions_says_so(world: World) -> None:
    """It starts, and what needs them is refused by name."""
    persistence = attrs.evolve(world.persistence(), definitions=None)
    runtime = world.driver.runtime(workflows=[FLOW], commands=[run], persistence=persistence)
    with pytest.raises(Misuse, match="not started"):
        await runtime.versions()
    async with runtime as started:
        for call in (started.versions(), started.check_live()):
            with pytest.raises(NotSupported, match="DefinitionStore"):
                await call
        created = await started.create("flow")
    other = attrs.evolve(world.persistence(), definitions=None)
    async with world.driver.runtime(workflows=[NEWER], commands=[run], persistence=other) as started:
        with pytest.raises(DefinitionNotFound, match="'flow' version 1"):
            await started.fire(created.id, "go")


async def test_a_snapshot_that_does_not_load_is_told(world: World) -> None:
    """As of a newer Duraflow, or of a payload that was edited."""

    @attrs.frozen
    class Edited:
        inner: Any

        def __getattr__(self, name: str) -> Any:
            return getattr(self.inner, name)

        async def load(self, *key: Any) -> Any:
            return {**await self.inner.load(*key), "shape": "round"}

    async with world.runtime(FLOW, commands=[run]) as runtime:
        created = await runtime.create("flow")
    persistence = world.persistence()
    edited = attrs.evolve(persistence, definitions=Edited(persistence.definitions))
    runtime = world.driver.runtime(workflows=[NEWER], commands=[run], persistence=edited)
    async with runtime as started:
        with pytest.raises(DefinitionNotFound, match=r"version 1 .*workflow\.shape.*is unknown"):
            await started.fire(created.id, "go")
        (problem,) = await started.check_live()
        assert "workflow.shape" in problem.problem


@pytest.mark.parametrize("follows", ["", "newest", None, 5])
def test_follows_is_checked(follows: Any) -> None:
    """One of two words."""
    (finding,) = Workflow.check(name="flow", initial="a", states=[State("a")], follows=follows)
    assert finding == Finding(
        "follows", "bad_follows", f"{follows!r} is not one of pinned, latest", "error", None
    )


def test_follows_is_part_of_the_content() -> None:
    """Only where it is not the default, so that no hash of an earlier definition changes."""
    latest = attrs.evolve(FLOW, follows="latest")
    assert "follows" not in FLOW.to_json()
    assert latest.to_json()["follows"] == "latest"
    assert Workflow.from_json(latest.to_json()) == latest
    assert latest.hash != FLOW.hash
