"""Is a call that cannot work told what to do instead?"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any
from uuid import uuid4

import attrs
import pytest

from duraflow import (
    AsyncRuntime,
    CommandRef,
    DefinitionConflict,
    DefinitionError,
    DefinitionNotFound,
    Firing,
    InstanceNotFound,
    InvalidArgument,
    Limits,
    Misuse,
    NewInstance,
    NotSupported,
    Persistence,
    Runtime,
    State,
    StoreRetryPolicy,
    TimerRetryPolicy,
    Transition,
    Workflow,
)
from duraflow.memory import InMemoryPersistence
from duraflow.testing import ManualClock
from duraflow.testing.conformance import World
from duraflow.testing.driver import BlockingDriver

FLOW = Workflow(name="flow", initial="a", states=[State("a", [Transition("go", target="b")]), State("b")])

CALLS: list[tuple[str, Callable[[Any], Any]]] = [
    ("create", lambda r: r.create("flow")),
    ("create_many", lambda r: r.create_many([NewInstance("flow")])),
    ("fire", lambda r: r.fire(uuid4(), "go")),
    ("try_fire", lambda r: r.try_fire(uuid4(), "go")),
    ("fire_many", lambda r: r.fire_many([Firing(uuid4(), "go")])),
    ("get", lambda r: r.get(uuid4())),
    ("list", lambda r: r.list()),
    ("count", lambda r: r.count()),
    ("history", lambda r: r.history(uuid4())),
    ("explain", lambda r: r.explain(uuid4())),
    ("parked", lambda r: r.parked()),
    ("cancel", lambda r: r.cancel(uuid4())),
    ("force", lambda r: r.force(uuid4(), state="a", reason="x")),
    ("rearm", lambda r: r.rearm(uuid4())),
    ("delete", lambda r: r.delete(uuid4())),
    ("fire_due_timers", lambda r: r.fire_due_timers()),
    ("handle", lambda r: r.handle(uuid4()).get()),
]


@pytest.mark.parametrize(("name", "call"), CALLS, ids=[name for name, _ in CALLS])
async def test_an_unstarted_runtime_says_so(world: World, name: str, call: Callable[[Any], Any]) -> None:
    """Before start and after close; a runtime can be started again."""
    runtime = world.driver.runtime(workflows=[FLOW], persistence=world.persistence())
    for _ in range(2):
        with pytest.raises(Misuse, match=r"`start\(\)`"):
            await call(runtime)
        await runtime.start()
        await runtime.start()
        await runtime.create("flow")
        await runtime.close()


@pytest.mark.parametrize("scope", ["transaction", "locked", "using"])
async def test_scopes_of_an_unstarted_runtime_say_so(world: World, scope: str) -> None:
    """Nothing inside them is run."""
    runtime: Any = world.driver.runtime(workflows=[FLOW], persistence=world.persistence())
    arguments = () if scope == "transaction" else (uuid4(),)
    with pytest.raises(Misuse, match=r"`start\(\)`"):
        async with getattr(runtime, scope)(*arguments):
            raise AssertionError("it was entered")


async def test_making_a_runtime_does_nothing(world: World) -> None:
    """No port is called before start."""

    class Untouchable:
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was called")

    port: Any = Untouchable()
    world.driver.runtime(
        workflows=[FLOW], persistence=Persistence(instances=port, history=port, transactions=port)
    )


BAD_TARGETS: list[Any] = [
    None,
    5,
    b"x",
    "not an id",
    "",
    (),
    ("flow",),
    ("flow", "a", "b"),
    ("flow", 5),
    (5, "a"),
    {"id": 1},
]


@pytest.mark.parametrize("target", BAD_TARGETS, ids=repr)
async def test_a_target_that_names_nothing_is_refused(world: World, target: Any) -> None:
    """By every call that takes one."""
    async with world.runtime(FLOW) as runtime:
        calls = [
            runtime.get(target),
            runtime.fire(target, "go"),
            runtime.try_fire(target, "go"),
            runtime.history(target),
            runtime.explain(target),
            runtime.cancel(target),
            runtime.force(target, state="a", reason="x"),
            runtime.rearm(target),
            runtime.delete(target),
            runtime.fire_many([Firing(target, "go")]),
        ]
        for call in calls:
            with pytest.raises(InvalidArgument, match="target"):
                await call


class _Numbers(Enum):
    ONE = 1


BAD_NAMES: list[Any] = [
    None,
    5,
    "",
    " ",
    " go",
    "go ",
    "$go",
    "$created",
    "x" * 201,
    "a\nb",
    "a\x00b",
    "\ud800",
    b"go",
    _Numbers.ONE,
    ["go"],
]


@pytest.mark.parametrize("event", BAD_NAMES, ids=repr)
async def test_an_event_that_is_no_name_is_refused(world: World, event: Any) -> None:
    """Nothing is recorded."""
    async with world.runtime(FLOW) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(InvalidArgument, match="event"):
            await runtime.fire(created.id, event)
        with pytest.raises(InvalidArgument, match="event"):
            await runtime.explain(created.id, {event: 1} if isinstance(event, (str, bytes, int)) else {5: 1})  # type: ignore[dict-item]
        assert await runtime.get(created.id) == created


BAD_REFS: list[Any] = [5, "", " ", " a", "a ", "a\x00", "\ud800", "x" * 257, "ü" * 129, b"a", ("a",)]


@pytest.mark.parametrize("ref", BAD_REFS, ids=repr)
async def test_a_ref_that_cannot_be_kept_is_refused(world: World, ref: Any) -> None:
    """Before anything is written."""
    async with world.runtime(FLOW) as runtime:
        with pytest.raises(InvalidArgument, match="ref"):
            await runtime.create("flow", ref=ref)
        with pytest.raises(InvalidArgument, match="ref"):
            await runtime.create_many([NewInstance("flow"), NewInstance("flow", ref=ref)])
        assert (await runtime.list()).instances == ()


@pytest.mark.parametrize("ref", ["x" * 256, "ü" * 128, "a b", "$a", "a/b:c", "🙂", "0", "None"])
async def test_a_ref_is_the_callers_own(world: World, ref: str) -> None:
    """Up to 256 bytes, with whatever signs."""
    async with world.runtime(FLOW) as runtime:
        created = await runtime.create("flow", ref=ref)
        assert await runtime.get(("flow", ref)) == created


BAD_VALUES: list[Any] = [
    {1, 2},
    object(),
    float("nan"),
    float("-inf"),
    "\x00",
    "\ud800",
    {1: 2},
    {None: 1},
    datetime(2024, 1, 1),  # noqa: DTZ001  # naive on purpose
    lambda: 1,
    Exception("x"),
    1j,
]


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: repr(value)[:20])
async def test_what_json_does_not_have_is_refused(world: World, value: Any) -> None:
    """LESSONS 4.12: one rule for context, metadata, payload, trigger and operators' context, before any I/O."""
    async with world.runtime(FLOW) as runtime:
        created = await runtime.create("flow")
        deep = {"a": [{"b": value}]}
        calls = [
            runtime.create("flow", deep),
            runtime.create("flow", metadata=deep),
            runtime.create("flow", trigger=deep),
            runtime.fire(created.id, "go", deep),
            runtime.fire(created.id, "go", trigger=deep),
            runtime.fire_many([Firing(created.id, "go", deep)]),
            runtime.force(created.id, state="b", reason="x", context=deep),
            runtime.list(metadata=deep),
        ]
        for call in calls:
            with pytest.raises(InvalidArgument, match="a"):
                await call
        assert (await runtime.list()).instances == (created,)


async def test_a_cycle_and_depth_and_size_are_refused(world: World) -> None:
    """Before they are sent; the limits can be set."""
    cycle: list[Any] = []
    cycle.append(cycle)
    deep: Any = 1
    for _ in range(70):
        deep = [deep]
    async with world.runtime(FLOW, limits=Limits(max_bytes=1_000)) as runtime:
        created = await runtime.create("flow", {"fits": "x" * 900})
        for value in (cycle, deep, "x" * 1_001):
            with pytest.raises(InvalidArgument, match="payload"):
                await runtime.fire(created.id, "go", value)


@pytest.mark.parametrize("value", [None, 5, "x", [1], ("a", 1)])
async def test_what_is_no_mapping_is_refused(world: World, value: Any) -> None:
    """Context and metadata are objects."""
    async with world.runtime(FLOW) as runtime:
        for arguments in ({"context": value}, {"metadata": value}):
            with pytest.raises(InvalidArgument, match="mapping"):
                await runtime.create("flow", **arguments)
        if value:
            with pytest.raises(InvalidArgument, match="trigger"):
                await runtime.create("flow", trigger=value)


@pytest.mark.parametrize("name", ["nothing", "", 5, None])
async def test_an_unknown_workflow_is_named_with_the_known_ones(world: World, name: Any) -> None:
    """So is one that a ref belongs to."""
    async with world.runtime(FLOW) as runtime:
        with pytest.raises(DefinitionNotFound, match="known: flow"):
            await runtime.create(name)


async def test_a_runtime_without_workflows_only_looks(world: World) -> None:
    """It finds an instance by its ref, and cannot move it. One with workflows says which names it knows."""
    async with world.runtime(FLOW) as runtime:
        made = await runtime.create("flow", ref="A-1")
        with pytest.raises(DefinitionNotFound, match="known: flow"):
            await runtime.get(("flwo", "A-1"))
    async with world.runtime() as reader:
        assert await reader.get(("flow", "A-1")) == made
        assert (await reader.why(("flow", "A-1"))).reason == "no_definition"
        with pytest.raises(InstanceNotFound):
            await reader.get(("flow", "A-2"))
        for call in (reader.fire(("flow", "A-1"), "go"), reader.cancel(("flow", "A-1"))):
            with pytest.raises(DefinitionNotFound, match="known: none"):
                await call


async def test_an_instance_of_an_unknown_version_is_told(world: World) -> None:
    """It can be read and listed, but not moved, by a runtime that lacks what its definition needs."""
    async with world.runtime(FLOW):
        pass
    post = State("a", [Transition("go", target="b", commands=["post"])])
    second = attrs.evolve(FLOW, version=2, states=(post, *FLOW.states[1:]))
    async with world.runtime(second, commands={"post": print}) as runtime:
        newer = await runtime.create("flow")
    async with world.runtime(FLOW) as runtime:
        assert await runtime.get(newer.id) == newer
        assert (await runtime.list()).instances == (newer,)
        for call in (runtime.fire(newer.id, "go"), runtime.cancel(newer.id), runtime.explain(newer.id)):
            with pytest.raises(DefinitionNotFound, match=r"version 2.*no command 'post' is registered"):
                await call


BAD_OPTIONS: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"max_automatic_moves": 0}, InvalidArgument),
    ({"max_automatic_moves": 1_001}, InvalidArgument),
    ({"locking": "never"}, InvalidArgument),
    ({"workflows": ["flow"]}, InvalidArgument),
    ({"workflows": [FLOW, attrs.evolve(FLOW, states=(State("a"),))]}, DefinitionConflict),
    ({"commands": [5]}, InvalidArgument),
    ({"commands": {"x": 5}}, InvalidArgument),
    ({"persistence": attrs.evolve(InMemoryPersistence(), kind="asyncio")}, InvalidArgument),
]


@pytest.mark.parametrize(("options", "error"), BAD_OPTIONS, ids=lambda value: str(value)[:40])
def test_a_bad_option_is_refused_when_the_runtime_is_made(
    options: dict[str, Any], error: type[Exception]
) -> None:
    """Each by its name."""
    with pytest.raises(error, match=next(iter(options)) if error is InvalidArgument else "flow"):
        Runtime(**{"workflows": [FLOW], "persistence": InMemoryPersistence(), **options})


def test_a_blocking_persistence_does_not_serve_asyncio() -> None:
    """Nor the other way round."""
    persistence = attrs.evolve(InMemoryPersistence(), kind="blocking")
    with pytest.raises(InvalidArgument, match="blocking"):
        AsyncRuntime(workflows=[FLOW], persistence=persistence)


POLICIES: list[dict[str, Any]] = [
    {"first": -TimerRetryPolicy().first},
    {"first": TimerRetryPolicy().first * 0},
    {"cap": TimerRetryPolicy().first / 2},
    {"factor": 0.5},
    {"factor": 101.0},
    {"factor": float("nan")},
    {"park_after": 0},
]


@pytest.mark.parametrize("options", POLICIES, ids=str)
def test_a_back_off_that_makes_no_sense_is_refused(options: dict[str, Any]) -> None:
    """Its bounds are those that the docs name."""
    with pytest.raises(InvalidArgument, match="timer_retry"):
        TimerRetryPolicy(**options)


def test_the_default_back_off_is_what_the_docs_say() -> None:
    """One minute doubling to an hour, parked after 10; also after very many tries."""
    policy = TimerRetryPolicy()
    minutes = [policy.delay(tries).total_seconds() / 60 for tries in (1, 2, 3, 6, 7, 8, 1_000_000)]
    assert minutes == [1, 2, 4, 32, 60, 60, 60]
    assert policy.park_after == 10
    assert StoreRetryPolicy() == StoreRetryPolicy(attempts=6, first_s=0.02, cap_s=2.0)


# --- blocking and asyncio ------------------------------------------------------------------------------------


async def _async_command(ctx: Any) -> None:
    """A command for asyncio."""


class _AsyncObject:
    async def execute(self, ctx: Any) -> None:
        """The same as a method."""


class _AsyncCall:
    async def __call__(self, ctx: Any) -> None:
        """The same as a call."""


@pytest.mark.parametrize(
    "command", [_async_command, _AsyncObject(), _AsyncCall()], ids=["function", "execute", "call"]
)
def test_an_async_command_is_refused_by_the_blocking_runtime(command: Any) -> None:
    """When it is made, by name."""
    flow = attrs.evolve(FLOW, states=(State("a", [Transition("go", target="b", commands=["c"])]), State("b")))
    with pytest.raises(DefinitionError, match="'c' is async"):
        Runtime(workflows=[flow], commands={"c": command}, persistence=InMemoryPersistence())


def test_a_command_that_turns_out_to_be_async_is_refused_too() -> None:
    """A plain function that gives an awaitable: refused when it does, nothing written, no warning left behind."""

    def sly(ctx: Any) -> Any:
        return _async_command(ctx)

    flow = attrs.evolve(FLOW, states=(State("a", [Transition("go", target="b", commands=[sly])]), State("b")))
    with Runtime(workflows=[flow], persistence=InMemoryPersistence()) as runtime:
        created = runtime.create("flow")
        with pytest.raises(Misuse, match="'sly' is async"):
            runtime.fire(created.id, "go")
        assert runtime.get(created.id) == created


def test_what_waits_for_a_loop_is_named() -> None:
    """A port that suspends under the blocking runtime: closed, and reported by name."""

    class Sleepy:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        async def get(self, *arguments: Any, **options: Any) -> Any:
            await asyncio.sleep(0)

    persistence = InMemoryPersistence()
    persistence = attrs.evolve(persistence, instances=Sleepy(persistence.instances))
    with Runtime(workflows=[FLOW], persistence=persistence) as runtime, pytest.raises(Misuse, match="sleep"):
        runtime.get(uuid4())


def test_plain_and_async_commands_work_in_asyncio() -> None:
    """Side by side, objects too."""

    def plain(ctx: Any) -> None:
        ctx.context["plain"] = True

    async def waits(ctx: Any) -> None:
        await asyncio.sleep(0)
        ctx.context["waited"] = True

    commands = [plain, waits, CommandRef("object", handler=_AsyncObject())]
    flow = attrs.evolve(
        FLOW, states=(State("a", [Transition("go", target="b", commands=commands)]), State("b"))
    )

    async def run() -> dict[str, Any]:
        async with AsyncRuntime(workflows=[flow], persistence=InMemoryPersistence()) as runtime:
            created = await runtime.create("flow")
            return (await runtime.fire(created.id, "go")).instance.context

    assert asyncio.run(run()) == {"plain": True, "waited": True}


async def test_a_clock_without_a_zone_is_refused(world: World) -> None:
    """Every time is aware."""

    class Naive:
        def now(self) -> datetime:
            return datetime(2024, 1, 1)  # noqa: DTZ001  # naive on purpose

    async with world.runtime(FLOW, clock=Naive(), invariants=False) as runtime:
        with pytest.raises(InvalidArgument, match="time zone"):
            await runtime.create("flow")


async def test_a_missing_port_is_named(world: World) -> None:
    """What needs timers says so, and what does not works without."""
    full = world.persistence()
    base = Persistence(
        instances=full.instances,
        history=full.history,
        transactions=full.transactions,
        lifecycle=full.lifecycle,
    )
    timed = attrs.evolve(
        FLOW,
        name="timed",
        states=(State("a", [Transition("go", target="b", after=TimerRetryPolicy().first)]), State("b")),
    )
    base = attrs.evolve(base, namespace=world.namespace)
    async with world.driver.runtime(workflows=[FLOW, timed], persistence=base) as runtime:
        created = await runtime.create("flow")
        assert (await runtime.fire(created.id, "go")).ok
        for call in (
            runtime.create("timed"),
            runtime.fire_due_timers(),
            runtime.parked(),
            runtime.rearm(created.id),
        ):
            with pytest.raises(NotSupported, match="DueStore"):
                await call
        assert [one.workflow for one in (await runtime.list()).instances] == ["flow"]
    bare = attrs.evolve(base, lifecycle=None)
    unstarted = world.driver.runtime(workflows=[FLOW], persistence=bare)
    with pytest.raises(NotSupported, match="lifecycle"):
        await unstarted.health()


def test_tools_are_strict_too() -> None:
    """A clock without a zone, a crash at call 0."""
    with pytest.raises(ValueError, match="time zone"):
        ManualClock(datetime(2024, 1, 1))  # noqa: DTZ001  # naive on purpose
    assert BlockingDriver().name == "blocking"
