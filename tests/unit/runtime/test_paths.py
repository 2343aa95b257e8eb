"""Which way does a firing take: free or locked, tried again or not? Seen by the calls that reach the ports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest

from duraflow import (
    AlreadyExists,
    ConcurrencyConflict,
    Failure,
    Firing,
    InvalidArgument,
    NewInstance,
    Persistence,
    State,
    StoreRetryPolicy,
    StoreUnavailable,
    Transition,
    Unfired,
    UnitResources,
    Workflow,
)
from duraflow.runtime.drive import drive
from duraflow.testing import count_calls
from duraflow.testing.conformance import World
from duraflow.writer import DefaultWriter
from duraflow.writes import APPLIED, LOST, Answer, Failed, Writes


def _act(ctx: Any) -> None:
    ctx.context["n"] = ctx.context.get("n", 0) + 1


FLOW = Workflow(
    name="flow",
    initial="a",
    states=[
        State(
            "a",
            [
                Transition("go", target="a"),
                Transition("act", commands=[_act]),
                Transition("chain", target="b"),
                Transition("both", target="a"),
            ],
        ),
        State("b", [Transition(target="c", commands=[_act])]),
        State("c", [Transition("go", target="a"), Transition("both", commands=[_act])]),
    ],
)
FREE = ["instances.get", "transactions.begin", "instances.save", "history.append", "transactions.commit"]
LOCKED = ["transactions.begin", "instances.lock", "instances.save", "history.append", "transactions.commit"]


@pytest.mark.parametrize(
    ("event", "calls"),
    [
        ("go", FREE),
        ("act", LOCKED),
        ("chain", LOCKED),
        # In another state it has a command: known only once the row is read.
        ("both", LOCKED),
    ],
)
async def test_only_what_can_run_no_command_goes_without_a_lock(
    world: World, event: str, calls: list[str]
) -> None:
    """By a look at the definition, the automatic chain included."""
    persistence, counted = count_calls(world.persistence())
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence) as runtime:
        created = await runtime.create("flow")
        counted.calls.clear()
        await runtime.fire(created.id, event)
        assert counted.calls == calls


async def test_a_lock_can_be_asked_for(world: World) -> None:
    """`locking="always"`, and inside a transaction."""
    persistence, counted = count_calls(world.persistence())
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence, locking="always") as runtime:
        created = await runtime.create("flow")
        counted.calls.clear()
        await runtime.fire(created.id, "go")
        assert counted.calls == LOCKED


@attrs.define
class Moody:
    """A writer that answers as told, then writes."""

    inner: DefaultWriter
    answers: list[Any]
    seen: list[bool] = attrs.field(factory=list)
    lasts: list[bool] = attrs.field(factory=list)

    async def apply(self, unit: Any, writes: Sequence[Writes], /, *, last: bool = False) -> Sequence[Answer]:
        self.seen.append(unit is None)
        self.lasts.append(last)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, BaseException):
                raise answer
            if answer is not APPLIED:
                return [answer for _ in writes]
        return await self.inner.apply(unit, writes, last=last)


def _moody(persistence: Persistence, *answers: Any) -> tuple[Persistence, Moody]:
    writer = Moody(
        DefaultWriter(persistence.instances, persistence.history, persistence.transactions, persistence.due),
        list(answers),
    )
    return attrs.evolve(persistence, writer=writer), writer


FAST = StoreRetryPolicy(attempts=3, first_s=0.0, cap_s=0.0)
AGAIN = StoreUnavailable("deadlock", retryable=True)
DOWN = StoreUnavailable("down")
UNKNOWN = StoreUnavailable("cut", "unknown", retryable=True)


@pytest.mark.parametrize("answer", [LOST, Failed(AGAIN)], ids=["lost", "retryable"])
@pytest.mark.parametrize("how", ["fire", "fire_many", "try_fire"])
async def test_a_lost_race_takes_the_locked_path(world: World, how: str, answer: Answer) -> None:
    """Once: the caller does not see it."""
    persistence, writer = _moody(world.persistence(), APPLIED, answer)
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence, store_retry=FAST) as runtime:
        created = await runtime.create("flow")
        if how == "fire":
            result: Any = await runtime.fire(created.id, "go")
        elif how == "try_fire":
            result = await runtime.try_fire(created.id, "go")
        else:
            (result,) = await runtime.fire_many([Firing(created.id, "go")])
        assert (result.status, result.instance.version) == ("success", 2)
        assert writer.seen == [True, True, False]


async def test_what_the_store_asks_for_is_tried_again(world: World) -> None:
    """Only while nothing was written, and not for ever."""
    cases: list[tuple[list[Any], type[Exception] | None]] = [
        ([APPLIED, AGAIN, AGAIN], None),
        ([APPLIED, AGAIN, AGAIN, AGAIN], StoreUnavailable),
        ([APPLIED, DOWN], StoreUnavailable),
        ([APPLIED, UNKNOWN], StoreUnavailable),
    ]
    for answers, error in cases:
        persistence, writer = _moody(world.persistence(), *answers)
        async with world.driver.runtime(
            workflows=[FLOW], persistence=persistence, store_retry=FAST
        ) as runtime:
            created = await runtime.create("flow")
            if error is None:
                assert (await runtime.fire(created.id, "act")).instance.context == {"n": 1}
            else:
                with pytest.raises(error):
                    await runtime.fire(created.id, "act")
                assert await runtime.get(created.id) == created
            assert writer.answers == []


async def test_a_callers_transaction_is_not_tried_again(world: World) -> None:
    """What the caller did in it cannot be done again for them."""
    persistence, _ = _moody(world.persistence(), APPLIED, AGAIN)
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence, store_retry=FAST) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(StoreUnavailable):
            async with runtime.transaction() as tx:
                await tx.fire(created.id, "act")
        assert await runtime.get(created.id) == created


@pytest.mark.parametrize("call", ["act", "cancel", "force"])
async def test_a_row_that_changes_under_the_lock_is_a_conflict(world: World, call: str) -> None:
    """A store that does not lock is found out: nothing is written, and the error says to retry."""
    persistence, _ = _moody(world.persistence(), APPLIED, LOST)
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence) as runtime:
        created = await runtime.create("flow")
        calls: dict[str, Any] = {
            "act": lambda: runtime.fire(created.id, "act"),
            "cancel": lambda: runtime.cancel(created.id),
            "force": lambda: runtime.force(created.id, state="c", reason="x"),
        }
        with pytest.raises(ConcurrencyConflict) as caught:
            await calls[call]()
        assert (caught.value.instance_id, caught.value.expected_version) == (created.id, 1)
        assert await runtime.get(created.id) == created


async def test_a_refusal_of_the_store_is_raised_or_given(world: World) -> None:
    """By `fire` and `create` as an error, by `fire_many` as a value."""
    refusal = Failed(InvalidArgument("context", "too large"))
    persistence, _ = _moody(world.persistence(), APPLIED, refusal, refusal, refusal)
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence) as runtime:
        created = await runtime.create("flow")
        with pytest.raises(InvalidArgument, match="too large"):
            await runtime.fire(created.id, "go")
        (answer,) = await runtime.fire_many([Firing(created.id, "go")])
        assert isinstance(answer, Unfired)
        assert isinstance(answer.error, InvalidArgument)
        with pytest.raises(InvalidArgument, match="too large"):
            await runtime.create("flow")


async def test_a_creation_is_tried_again_in_a_transaction(world: World) -> None:
    """When the store asks for it."""
    persistence, writer = _moody(world.persistence(), Failed(AGAIN), AGAIN)
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence, store_retry=FAST) as runtime:
        created = await runtime.create("flow", ref="A1")
        assert writer.seen == [True, False, False]
        with pytest.raises(AlreadyExists):
            await runtime.create("flow", ref="A1")
        assert (await runtime.list()).instances == (created,)


async def test_reads_are_tried_again(world: World) -> None:
    """Outside a transaction, when the store asks for it."""
    failures: list[Exception] = []

    class Flaky:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            method = getattr(self._inner, name)

            async def call(*arguments: Any, **options: Any) -> Any:
                if failures:
                    raise failures.pop()
                return await method(*arguments, **options)

            return call

    plain = world.persistence()
    persistence = attrs.evolve(plain, instances=Flaky(plain.instances), history=Flaky(plain.history))
    async with world.driver.runtime(workflows=[FLOW], persistence=persistence, store_retry=FAST) as runtime:
        created = await runtime.create("flow")
        for read in (
            lambda: runtime.get(created.id),
            lambda: runtime.list(),
            lambda: runtime.count(),
            lambda: runtime.history(created.id),
            lambda: runtime.explain(created.id),
        ):
            failures[:] = [AGAIN, AGAIN]
            assert await read()
            failures[:] = [AGAIN, AGAIN, AGAIN]
            with pytest.raises(StoreUnavailable):
                await read()
            failures.clear()
        failures[:] = [AGAIN, AGAIN, AGAIN, AGAIN, AGAIN, AGAIN]
        (answer,) = await runtime.fire_many([Firing(created.id, "go")])
        assert isinstance(answer, Unfired)
        assert answer.error is AGAIN
        failures[:] = [AGAIN, AGAIN]
        (answer,) = await runtime.fire_many([Firing(created.id, "go")])
        assert answer.ok


async def test_only_the_outermost_step_may_take_the_commit_along(world: World) -> None:
    """Not what a command does through `ctx.runtime`, nor anything in a caller's transaction."""

    async def spawn(ctx: Any, runtime: Any) -> None:
        child = await runtime.create("flow")
        await runtime.create_many([NewInstance("flow")])
        await runtime.fire(child.id, "act")
        await runtime.cancel(child.id)

    states = [State("a", [Transition("spawn", target="b", commands=["spawn"])]), State("b")]
    parent = Workflow(name="parent", initial="a", states=states)
    persistence, writer = _moody(world.persistence())
    options = {"commands": {"spawn": world.driver.command(spawn)}, "persistence": persistence}
    async with world.driver.runtime(workflows=[FLOW, parent], **options) as runtime:
        created = await runtime.create("parent")
        writer.lasts.clear()
        await runtime.fire(created.id, "spawn")
        assert writer.lasts == [False, False, False, False, True]
        writer.lasts.clear()
        await runtime.create_many([NewInstance("flow")])
        await runtime.cancel((await runtime.create("flow")).id)
        assert writer.lasts == [True, False, True]
        writer.lasts.clear()
        async with runtime.transaction() as tx:
            one = await tx.create("flow")
            await tx.fire(one.id, "act")
            await tx.fire(one.id, "go")
        assert writer.lasts == [False, False, False]


@pytest.mark.parametrize("part", ["transaction", "savepoint"])
async def test_resources_are_undone_while_the_rows_are_still_held(world: World, part: str) -> None:
    """So that nobody sees rows undone and resources not."""
    free: list[bool] = []

    async def look(target: Any) -> bool:
        async with world.opened() as ports, ports.begin() as unit:
            return await ports.instances.lock(unit, target, clock=None, skip_locked=True) is not None

    def fail(ctx: Any) -> Failure:
        ctx.resource(UnitResources).on_rollback(lambda: free.append(drive(look(ctx.instance.id))))
        return Failure("no")

    states = [State("a", [Transition("fail", target="b", commands=[fail])]), State("b")]
    options: dict[str, Any] = {
        "persistence": world.persistence(),
        "resources": {UnitResources: lambda unit: unit},
    }
    flow = Workflow(name="flow", initial="a", states=states)
    async with world.driver.runtime(workflows=[flow], **options) as runtime:
        created = await runtime.create("flow")
        if part == "transaction":
            await runtime.try_fire(created.id, "fail")
        else:
            async with runtime.transaction() as tx:
                await tx.try_fire(created.id, "fail")
        assert free == [False]
        assert await look(created.id)
