"""`Inspector`: is a healthy store found healthy, and each broken thing found, and only that?

What is broken here is broken through the ports, as an adapter with a defect, or an old version of it, would do it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import attrs
import pytest

from duraflow.definition.values import EMPTY, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.diagnosis import AILMENTS, DoctorReport
from duraflow.errors import InvalidArgument
from duraflow.instance import Instance
from duraflow.messages import Message, MessageHandler, MessageRetryPolicy
from duraflow.runtime.aio import AsyncRuntime
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, MINUTE, SECOND, World, check, dispatched
from duraflow.writes import ClearDue, Emitted, Receipt, SetDue, TimerRetry

Break = Callable[[Any, Any, Instance, Instance], Awaitable[None]]


def never(payload: object) -> bool:
    """A guard that always says no."""
    return False


def _pass(ctx: Any) -> None:
    """A command that does nothing."""


PARCEL = Workflow(
    name="parcel",
    initial="packed",
    states=[
        State(
            "packed",
            [
                Transition("send", target="sent"),
                Transition("lose", target="lost"),
                Transition("weigh", commands=["weigh"]),
                Transition("remind", commands=["weigh"], after=DAY),
            ],
        ),
        State("lost", [Transition(target="sent", guard="never")]),
        State("sent", final=True),
    ],
)
"""`lost` has no way out but an automatic one, whose guard says no."""


def _runtime(world: World, *workflows: Workflow, more: Mapping[str, Any] = EMPTY, **options: Any) -> Any:
    """A runtime with the functions of these workflows. Nobody checks the invariants behind it."""
    commands = {"weigh": _pass, **more}
    return world.runtime(
        *workflows,
        commands=commands,
        guards={"never": never},
        live_check="off",
        invariants=False,
        **options,
    )


LETTER = Workflow(
    name="letter",
    initial="written",
    states=[State("written", [Transition("post", target="posted", emits=["posted"])]), State("posted")],
)


@asynccontextmanager
async def _shop(world: World) -> Any:
    """A runtime with three instances: one waits for its timer, one has moved in place, one is finished."""
    async with _runtime(world, PARCEL) as runtime:
        waiting = await runtime.create(PARCEL, {"weight": 1}, ref="waiting")
        moved = await runtime.create(PARCEL, ref="moved")
        await runtime.fire(moved.id, "weigh")
        finished = await runtime.create(PARCEL, ref="finished")
        await runtime.fire(finished.id, "send")
        yield runtime, await runtime.get(waiting.id), await runtime.get(finished.id)


def _ours(report: DoctorReport) -> set[str]:
    """The codes that every store has; what is said of the server is none of this suite's business."""
    return {diagnosis.code for diagnosis in report.findings if diagnosis.code in AILMENTS}


async def _found_only(
    world: World, code: str, breaking: Break, *, also: frozenset[str] = frozenset()
) -> None:
    """Break something, by ports in a transaction, and look what is found."""
    async with _shop(world) as (runtime, waiting, finished):
        assert _ours(await runtime.doctor()) == set()
        persistence = world.persistence()
        async with _opened(world, persistence), persistence.transactions.begin() as unit:
            await breaking(persistence, unit, waiting, finished)
        for exact in (False, True):
            report = await runtime.doctor(exact=exact)
            assert _ours(report) == {code} | also, str(report)
            (first, *_) = [diagnosis for diagnosis in report.findings if diagnosis.code == code]
            assert first.total >= 1
            assert first.rows
            assert first.why
            assert first.remedy
            assert code in report.to_text()
            assert report.to_json()["ok"] is report.ok
            assert report.ok is not any(diagnosis.severity == "error" for diagnosis in report.findings)


@asynccontextmanager
async def _opened(world: World, persistence: Any) -> Any:
    from duraflow.codec import Codec
    from duraflow.ports import Environment

    if persistence.lifecycle is not None:
        await persistence.lifecycle.start(Environment(world.driver.waits, Codec()))
    try:
        yield
    finally:
        if persistence.lifecycle is not None:
            await persistence.lifecycle.close()


# --- healthy ----------------------------------------------------------------------------------------------------


@check("inspector")
async def a_healthy_store_has_nothing_to_tell(world: World) -> None:
    """Each check says what it has looked at; instances of all kinds, and an operator's doings, are no ailments."""
    async with _shop(world) as (runtime, _, finished):
        await runtime.force(finished.id, state="packed", reason="sent back")
        other = await runtime.create(PARCEL)
        await runtime.cancel(other.id, reason="no longer wanted")
        report = await runtime.doctor()
        assert _ours(report) == set(), str(report)
        assert report.ok
        assert report.namespace == world.namespace
        assert report.checks
        assert all(one.scanned and one.how in ("exact", "partly") for one in report.checks), str(report)
        assert len({one.name for one in report.checks}) == len(report.checks)


@check("inspector")
async def an_empty_store_has_nothing_to_tell(world: World) -> None:
    """Nothing to look at is no reason to fail."""
    async with _runtime(world, PARCEL) as runtime:
        for exact in (False, True):
            report = await runtime.doctor(exact=exact)
            assert _ours(report) == set(), str(report)
            assert not [one for one in report.checks if one.how == "not run"], str(report)


@check("inspector")
async def other_namespaces_are_not_looked_at(world: World) -> None:
    """What is broken there is found there."""
    async with _shop(world) as (runtime, waiting, _):
        await runtime.fire(waiting.id, "lose")
        async with _runtime(world, PARCEL, namespace=f"{world.namespace}_b") as other:
            assert _ours(await other.doctor()) == set()
        assert _ours(await runtime.doctor()) == {"nothing_wakes_it"}


@check("inspector")
async def rows_are_shown_up_to_a_number(world: World) -> None:
    """The total is all of them."""
    async with _runtime(world, PARCEL) as runtime:
        for _ in range(3):
            instance = await runtime.create(PARCEL)
            await runtime.fire(instance.id, "lose")
        for shown in (0, 2, 10):
            (found,) = (await runtime.doctor(shown=shown)).errors
            assert (found.code, found.total, len(found.rows)) == ("nothing_wakes_it", 3, min(shown, 3))


@check("inspector")
async def bad_numbers_are_refused(world: World) -> None:
    """Before anything is read."""
    async with _runtime(world, PARCEL) as runtime:
        await _refused(runtime, "sample", sample=0)
        await _refused(runtime, "shown", shown=-1)
        await _refused(runtime, "timeout", timeout=SECOND * 0)
        await _refused(runtime, "timeout", timeout=30)


async def _refused(runtime: AsyncRuntime, argument: str, **options: Any) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        await runtime.doctor(**options)
    assert refusal.value.argument == argument


# --- ailing -----------------------------------------------------------------------------------------------------


@check("inspector")
async def what_nothing_wakes_is_found(world: World) -> None:
    """An open instance whose only way out is an automatic transition that was refused."""
    async with _shop(world) as (runtime, waiting, _):
        await runtime.fire(waiting.id, "lose")
        report = await runtime.doctor()
        assert _ours(report) == {"nothing_wakes_it"}
        assert str(waiting.id) in report.errors[0].rows[0]
        assert not report.ok


@check("inspector")
async def a_row_unlike_its_history_is_found(world: World) -> None:
    """The context was written past the runtime."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        assert await ports.instances.save(
            unit, attrs.evolve(waiting, context={"weight": 2}), expected=waiting
        )

    await _found_only(world, "row_unlike_history", breaking)


@check("inspector")
async def a_gap_in_history_is_found(world: World) -> None:
    """An entry that stands too high; the row has its version."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        (last,) = await ports.history.read(unit, waiting.id, after=0, limit=1, newest_first=True)
        later = attrs.evolve(
            last, seq=3, kind="forced", from_state="packed", metadata=None, attempt_id=uuid4(), timers=None
        )
        await ports.history.append(unit, [later])
        assert await ports.instances.save(unit, attrs.evolve(waiting, version=3), expected=waiting)

    await _found_only(world, "history_gap", breaking)


@check("inspector")
async def a_move_that_does_not_exist_is_found(world: World) -> None:
    """The definition has no such event."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        (last,) = await ports.history.read(unit, waiting.id, after=0, limit=1, newest_first=True)
        strange = attrs.evolve(
            last, seq=2, kind="moved", event="fly", from_state="packed", metadata=None, attempt_id=uuid4(),
            timers=None, entered=False, change=type(last.change)(),
        )  # fmt: skip
        await ports.history.append(unit, [strange])
        assert await ports.instances.save(unit, attrs.evolve(waiting, version=2), expected=waiting)

    await _found_only(world, "unknown_move", breaking)


@check("inspector")
async def a_change_after_the_end_is_found(world: World) -> None:
    """Something was written after a final instance was finished, and not by `force`."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        (last,) = await ports.history.read(unit, finished.id, after=0, limit=1, newest_first=True)
        after = attrs.evolve(
            last, seq=3, kind="cancelled", event="$cancelled", from_state="sent", entered=False,
            attempt_id=uuid4(), timers=None,
        )  # fmt: skip
        await ports.history.append(unit, [after])
        assert await ports.instances.save(unit, attrs.evolve(finished, version=3), expected=finished)

    await _found_only(world, "changed_after_end", breaking)


@check("inspector")
async def an_unknown_state_is_found(world: World) -> None:
    """The row is where its version has no such state; history says otherwise, which is told too."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        assert await ports.instances.save(unit, attrs.evolve(waiting, state="limbo"), expected=waiting)

    await _found_only(world, "unknown_state", breaking, also=frozenset({"row_unlike_history"}))


@check("inspector", "due")
async def a_timer_without_a_due_row_is_found(world: World) -> None:
    """No sweep would ever find it."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        await ports.due.write(unit, waiting, ClearDue())

    await _found_only(world, "timer_without_due", breaking)


@check("inspector", "due")
async def a_due_row_without_work_is_found(world: World) -> None:
    """A finished instance has none."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        await ports.due.write(unit, finished, SetDue(START + DAY))

    await _found_only(world, "due_without_work", breaking)


@check("inspector", "due")
async def a_due_row_that_is_too_late_is_found(world: World) -> None:
    """Its timer is due before."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        await ports.due.write(unit, waiting, SetDue(START + 2 * DAY))

    await _found_only(world, "due_too_late", breaking)


@check("inspector", "due")
async def what_is_parked_is_found(world: World) -> None:
    """It waits for a person, who is told so."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        retry = TimerRetry(None, failed=10, error="no stamps", parked_at=START)
        await ports.due.write(unit, waiting, SetDue(None, {"remind": retry}))

    await _found_only(world, "timer_parked", breaking)


@check("inspector", "due")
async def what_is_overdue_is_found(world: World) -> None:
    """By the runtime's clock; what is only just due is not."""
    async with _shop(world) as (runtime, _, _):
        world.clock.set(START + DAY + SECOND)
        assert _ours(await runtime.doctor()) == set()
        world.clock.set(START + DAY + HOUR)
        report = await runtime.doctor()
        assert _ours(report) == {"overdue"}
        assert report.ok  # a warning
        assert (await runtime.fire_due_timers()).fired == 2
        assert _ours(await runtime.doctor()) == set()


@check("inspector", "receipts")
async def a_receipt_of_nothing_is_found(world: World) -> None:
    """It points at entries that are not there."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        await ports.receipts.add(unit, Receipt(finished.id, "good", 2, 2, START))
        await ports.receipts.add(unit, Receipt(waiting.id, "bad", 7, 8, START))

    await _found_only(world, "receipt_without_history", breaking)


@check("inspector", "outbox")
async def a_message_of_nothing_is_found(world: World) -> None:
    """It tells of a move that history does not have."""

    async def breaking(ports: Any, unit: Any, waiting: Instance, finished: Instance) -> None:
        await ports.outbox.add(unit, [Emitted(uuid4(), finished.id, 2, 0, "sent")])
        await ports.outbox.add(unit, [Emitted(uuid4(), waiting.id, 7, 0, "sent")])

    await _found_only(world, "message_without_history", breaking)


@check("inspector", "outbox")
async def what_a_handler_cannot_take_is_found(world: World) -> None:
    """It waits for a person, and later ones behind it."""
    async with _runtime(world, LETTER, message_handlers=[_handler(_refuse)]) as runtime:
        instance = await runtime.create(LETTER)
        await runtime.fire(instance.id, "post")
        await dispatched(world, runtime, 1)
        report = await runtime.doctor()
        assert _ours(report) == {"message_parked"}, str(report)
        (found,) = [one for one in report.findings if one.code == "message_parked"]
        assert str(instance.id) in found.rows[0]
        assert "no stamps" in found.rows[0]


@check("inspector", "outbox")
async def a_handler_that_nobody_serves_is_found(world: World) -> None:
    """Once a message waits for too long; not before, and no longer when it was delivered."""
    async with _runtime(world, LETTER, message_handlers=[_handler(_take, start="now")]) as runtime:
        await runtime.dispatch()
        assert _ours(await runtime.doctor()) == set()
        instance = await runtime.create(LETTER)
        await runtime.fire(instance.id, "post")
        world.clock.advance(MINUTE)
        assert _ours(await runtime.doctor()) == set()
        world.clock.advance(HOUR)
        await _until(world, runtime, {"handler_lags"})
        await dispatched(world, runtime, 1)
        assert _ours(await runtime.doctor()) == set()


def _take(message: Message) -> None:
    """A handler that takes everything."""


def _refuse(message: Message) -> None:
    raise ValueError("no stamps")


def _handler(call: Callable[[Message], None], **options: Any) -> MessageHandler:
    return MessageHandler("post", call, retry=MessageRetryPolicy(park_after=1), **options)


async def _until(world: World, runtime: AsyncRuntime, codes: set[str]) -> None:
    """For the same reason, what waits is seen to wait a little later."""
    for _ in range(500):
        if _ours(await runtime.doctor()) == codes:
            return
        await world.driver.waits.sleep(0.02)
    raise AssertionError(str(await runtime.doctor()))


@check("inspector", "definitions")
async def versions_that_are_not_in_code_are_told(world: World) -> None:
    """With open instances only: by whether the runtime has the functions that they need."""
    second = attrs.evolve(PARCEL, version=2)
    states = [State("packed", [Transition("send", target="sent", commands=["stamp"])]), State("sent")]
    third = Workflow(name="parcel", version=3, initial="packed", states=states)
    letter = attrs.evolve(third, name="letter", version=1)
    stamp = {"stamp": _pass}
    made = []
    for workflow in (second, third, letter):
        async with _runtime(world, workflow, more=stamp) as runtime:
            made.append(await runtime.create(workflow))
    async with _runtime(world, PARCEL, second, third, letter, more=stamp) as runtime:
        assert _ours(await runtime.doctor()) == set()
    async with _runtime(world, PARCEL) as runtime:
        report = await runtime.doctor()
        assert _ours(report) == {"version_from_store", "version_unusable", "workflow_not_given"}, str(report)
        assert [one.code for one in report.errors] == ["version_unusable"]
        assert "stamp" in report.errors[0].rows[0]
    async with _runtime(world, PARCEL, letter, more=stamp) as runtime:
        assert _ours(await runtime.doctor()) == {"version_from_store"}
        for instance in made:
            await runtime.fire(instance.id, "send")
        assert _ours(await runtime.doctor()) == set()
