"""`prune`, `export`, `import_`: is no more taken out than was asked for, and does all of it come back?"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import ImportRefused, InstanceNotFound, InvalidArgument
from duraflow.instance import Instance
from duraflow.messages import Message, MessageHandler
from duraflow.ports import Retention
from duraflow.retention import ImportResult, PruneResult, Skipped
from duraflow.runtime.aio import AsyncRuntime
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import create, entry, moved, new
from duraflow.testing.conformance.subject import DAY, HOUR, Ports, World, check, dispatched
from duraflow.writes import Emitted, Receipt, SetDue, TimerRetry, Writes

JOB = Workflow(
    name="job",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("finish", target="finished", emits=("finished",)),
                Transition("fail", target="failed"),
                Transition("note", commands=["keep"]),
                Transition("refuse", target="finished", guard="never"),
                Transition("expire", target="expired", after=DAY),
            ],
        ),
        State("finished"),
        State("failed", outcome="failed"),
        State("expired"),
        State("stopped", outcome="cancelled"),
    ],
)
ERRAND = attrs.evolve(JOB, name="errand")


def never() -> bool:
    """No."""
    return False


def keep(ctx: Any) -> None:
    """Remember what it was given, whatever it is."""
    ctx.context["kept"] = ctx.payload


HANDLERS: dict[str, Any] = {"guards": [never], "commands": [keep]}


async def _lines(runtime: AsyncRuntime, *targets: Any, **filters: Any) -> list[str]:
    return [line async for line in runtime.export(*targets, **filters)]


async def _ended(runtime: AsyncRuntime, event: str = "finish", workflow: str = "job") -> Instance:
    created = await runtime.create(workflow)
    return (await runtime.fire(created.id, event)).instance


async def _ids(runtime: AsyncRuntime) -> set[UUID]:
    return {instance.id for instance in (await runtime.list(limit=1_000)).instances}


def _store(ports: Ports) -> Retention:
    store = ports.persistence.retention
    assert store is not None
    return store


# --- prune --------------------------------------------------------------------------------------------------


@check("retention", "due")
async def what_finished_before_is_pruned(world: World) -> None:
    """With its history; what finished later, or at that very moment, stays. So does everything open, however old."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        alive = await runtime.create("job")
        old = await _ended(runtime)
        world.clock.advance(HOUR)
        young = await _ended(runtime)
        result = await runtime.prune(older_than=world.clock.now())
        assert result == PruneResult(instances=1, entries=2)
        assert await _ids(runtime) == {alive.id, young.id}
        with pytest.raises(InstanceNotFound):
            await runtime.history(old.id)
        world.clock.advance(DAY - timedelta(microseconds=1))
        assert await runtime.prune(older_than=DAY) == PruneResult()
        world.clock.advance(timedelta(microseconds=1))
        assert await runtime.prune(older_than=DAY) == PruneResult()
        world.clock.advance(timedelta(microseconds=1))
        assert await runtime.prune(older_than=DAY) == PruneResult(instances=1, entries=2)
        assert await _ids(runtime) == {alive.id}


@check("retention", "due")
async def outcomes_and_workflow_choose_what_is_pruned(world: World) -> None:
    """Everything else stays."""
    async with world.runtime(JOB, ERRAND, **HANDLERS) as runtime:
        done = await _ended(runtime)
        await _ended(runtime, "fail")
        other = await _ended(runtime, "fail", "errand")
        stopped = (await runtime.cancel((await runtime.create("job")).id)).instance
        world.clock.advance(DAY)
        assert (await runtime.prune(older_than=HOUR, outcomes=["failed"], workflow="job")).instances == 1
        assert await _ids(runtime) == {done.id, other.id, stopped.id}
        assert (await runtime.prune(older_than=HOUR, outcomes=["failed", "cancelled"])).instances == 2
        assert await _ids(runtime) == {done.id}
        assert (await runtime.prune(older_than=HOUR, workflow=ERRAND)).instances == 0
        assert (await runtime.prune(older_than=HOUR, outcomes="done")).instances == 1


@check("retention", "due")
async def pruning_goes_in_batches_oldest_first(world: World) -> None:
    """Progress is told after each; a limit ends it, and says that there is more."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        ended = []
        for _ in range(7):
            world.clock.advance(HOUR)
            ended.append(await _ended(runtime))
        world.clock.advance(DAY)
        told: list[PruneResult] = []
        result = await runtime.prune(older_than=HOUR, batch=2, limit=5, on_progress=told.append)
        assert result == PruneResult(instances=5, entries=10, complete=False)
        assert [one.instances for one in told[:3]] == [2, 4, 5]
        assert told[-1] == result
        assert await _ids(runtime) == {instance.id for instance in ended[5:]}
        assert await runtime.prune(older_than=HOUR, batch=2) == PruneResult(instances=2, entries=4)


@check("retention", "due")
async def many_may_finish_at_one_moment(world: World) -> None:
    """A batch boundary among equal times loses none."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        for _ in range(9):
            await _ended(runtime)
        world.clock.advance(DAY)
        assert await runtime.prune(older_than=HOUR, batch=4) == PruneResult(instances=9, entries=18)


@check("retention", "due")
async def a_dry_run_counts_and_writes_nothing(world: World) -> None:
    """It promises what the pruning then does."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        for number in range(5):
            created = await runtime.create("job", key=f"k{number}", keep_for=HOUR)
            await runtime.fire(created.id, "finish", key="k")
        world.clock.advance(DAY)
        before = await _lines(runtime)
        options: dict[str, Any] = {
            "older_than": HOUR, "batch": 2, "receipts_older_than": HOUR, "messages_older_than": HOUR
        }  # fmt: skip
        dry = await runtime.prune(**options, dry_run=True)
        assert dry == PruneResult(instances=5, entries=10, receipts=10, messages=5, dry_run=True)
        assert await _lines(runtime) == before
        limited = await runtime.prune(**options, dry_run=True, limit=3)
        assert (limited.instances, limited.receipts, limited.complete) == (3, 3, False)
        # Receipts and messages go with their instances, and are not counted again.
        assert await runtime.prune(**options) == PruneResult(instances=5, entries=10)
        assert await _ids(runtime) == set()


@check("retention", "receipts")
async def receipts_go_by_their_own_age(world: World) -> None:
    """When their time has passed, also at open instances; by age only when that is asked for."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        created = await runtime.create("job", key="mine")
        await runtime.fire(created.id, "note", "a", key="short", keep_for=HOUR)
        await runtime.fire(created.id, "note", "b", key="long", keep_for=9 * DAY)
        world.clock.advance(HOUR - timedelta(microseconds=1))
        assert await runtime.prune(older_than=DAY) == PruneResult()
        world.clock.advance(timedelta(microseconds=1))
        assert await runtime.prune(older_than=DAY) == PruneResult(receipts=1)
        assert (await runtime.fire(created.id, "note", "c", key="short")).replayed is False
        assert (await runtime.fire(created.id, "note", "b", key="long")).replayed is True
        world.clock.advance(DAY)
        assert await runtime.prune(older_than=DAY, receipts_older_than=DAY, batch=1) == PruneResult(
            receipts=2
        )
        assert (await runtime.create("job", key="mine")).id != created.id


@check("retention", "outbox")
async def messages_stay_until_their_age_is_asked_for(world: World) -> None:
    """They go with their instance, or by their own age."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        await _ended(runtime)
        world.clock.advance(HOUR)
        await _ended(runtime)
        assert await runtime.prune(older_than=DAY) == PruneResult()
        assert await runtime.prune(older_than=DAY, messages_older_than=HOUR) == PruneResult()
        world.clock.advance(timedelta(microseconds=1))
        assert await runtime.prune(older_than=DAY, messages_older_than=HOUR) == PruneResult(messages=1)
        assert await runtime.prune(older_than=DAY, messages_older_than=HOUR) == PruneResult()
        world.clock.advance(HOUR)
        assert await runtime.prune(older_than=DAY, messages_older_than=HOUR) == PruneResult(messages=1)


@check("retention")
async def children_forget_a_pruned_parent(world: World) -> None:
    """They live on, and are not pruned with it."""
    async with world.opened() as ports:
        parent = new(world, state="three", outcome="done", finished_at=START)
        await create(ports, parent)
        child = new(world, parent_id=parent.id, root_id=parent.id)
        await create(ports, child)
        async with ports.begin() as unit:
            batch = await _store(ports).prune_instances(
                unit, before=START + DAY, outcomes=None, workflow=None, after=None, limit=10, dry_run=False
            )
        assert (batch.taken, batch.reached) == (1, None)
        assert await ports.read(parent.id) is None
        assert await ports.read(child.id) == attrs.evolve(child, parent_id=None)


@check("retention", "concurrency")
async def what_others_hold_is_passed_over(world: World) -> None:
    """Nobody waits: a held instance, and one whose child is held, stay until the next pruning."""
    async with world.opened() as ports:
        one, two, three = (new(world, state="three", outcome="done", finished_at=START) for _ in range(3))
        await create(ports, one, two, three)
        child = new(world, parent_id=two.id, root_id=two.id)
        await create(ports, child)
        prune: dict[str, Any] = {
            "before": START + DAY, "outcomes": None, "workflow": None, "after": None, "limit": 10, "dry_run": False
        }  # fmt: skip
        async with ports.begin() as unit:
            assert await ports.instances.lock(unit, one.id, clock=None)
            assert await ports.instances.lock(unit, child.id, clock=None)
            async with ports.begin() as other:
                assert (await _store(ports).prune_instances(other, **prune)).taken == 1
            assert await ports.read(three.id) is None
        async with ports.begin() as unit:
            assert (await _store(ports).prune_instances(unit, **prune)).taken == 2


@check("retention", "concurrency", "due")
async def two_prunings_share_the_work(world: World) -> None:
    """While instances are fired at; every one goes once, and nothing open is touched."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        for _ in range(40):
            await _ended(runtime)
        alive = [await runtime.create("job") for _ in range(5)]
        world.clock.advance(HOUR)

        async def prune() -> PruneResult:
            return await runtime.prune(older_than=timedelta(minutes=1), batch=3)

        async def live() -> PruneResult:
            for number in range(10):
                for instance in alive:
                    await runtime.fire(instance.id, "note", number)
            return PruneResult()

        results = await world.driver.together(prune, live, prune)
        again = await prune()
        assert sum(result.instances for result in results) + again.instances == 40
        assert await _ids(runtime) == {instance.id for instance in alive}
        for instance in alive:
            assert (await runtime.get(instance.id)).context == {"kept": 9}


@check("retention")
async def a_pruning_says_what_it_cannot_do(world: World) -> None:
    """Before anything is read."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        bad: list[tuple[dict[str, Any], str]] = [
            ({"older_than": timedelta()}, "older_than"),
            ({"older_than": -DAY}, "older_than"),
            ({"older_than": 30}, "older_than"),
            ({"older_than": START.replace(tzinfo=None)}, "older_than"),
            ({"older_than": timedelta.max}, "older_than"),
            ({"older_than": DAY, "outcomes": ["open"]}, "'open' is not one of done, failed, cancelled"),
            ({"older_than": DAY, "outcomes": []}, "outcomes"),
            ({"older_than": DAY, "outcomes": 5}, "outcomes"),
            ({"older_than": DAY, "workflow": 5}, "workflow"),
            ({"older_than": DAY, "batch": 0}, "batch"),
            ({"older_than": DAY, "batch": 10_001}, "batch"),
            ({"older_than": DAY, "limit": 0}, "limit"),
            ({"older_than": DAY, "dry_run": 1}, "dry_run"),
            ({"older_than": DAY, "receipts_older_than": timedelta()}, "receipts_older_than"),
            ({"older_than": DAY, "messages_older_than": -DAY}, "messages_older_than"),
            ({"older_than": DAY, "on_progress": 5}, "on_progress"),
        ]
        for arguments, match in bad:
            with pytest.raises(InvalidArgument, match=match):
                await runtime.prune(**arguments)


# --- export and import --------------------------------------------------------------------------------------


async def _busy_lives(world: World, runtime: AsyncRuntime) -> None:
    """Instances with everything that an instance can have."""
    one = await runtime.create(
        "job", {"when": START, "n": 1.5e300}, metadata={"of": "a"}, ref="A1", key="made"
    )
    await runtime.fire(one.id, "note", {"deep": [1, {"$": "x"}]}, key="k1", trigger={"by": "anna"})
    await runtime.fire(one.id, "refuse")
    await runtime.fire(one.id, "note", None, key="k2", keep_for=9 * DAY)
    world.clock.advance(HOUR)
    two = await runtime.create("job")
    await runtime.fire(two.id, "finish", key="k1")
    three = await runtime.create("errand", ref="A1")
    await runtime.force(three.id, state="expired", reason="lost", by="anna", context={"x": None})
    world.clock.advance(HOUR)
    await runtime.cancel((await runtime.create("errand")).id, reason="no")


@check("retention", "due", "receipts", "outbox", "definitions")
async def an_export_comes_in_as_it_was(world: World) -> None:
    """Rows, histories, receipts, messages and timers: all of it, and the next export says the same."""
    async with world.runtime(JOB, ERRAND, **HANDLERS) as runtime:
        await _busy_lives(world, runtime)
        lines = await _lines(runtime)
        before = [*(await runtime.list(oldest_first=True)).instances]
        histories = [await runtime.history(instance.id) for instance in before]
        for instance in before:
            await runtime.delete(instance.id, force=True)
        assert await _ids(runtime) == set()
    async with world.runtime(JOB, ERRAND, **HANDLERS) as runtime:
        result = await runtime.import_(lines)
        entries = sum(len(history) for history in histories)
        assert result == ImportResult(instances=4, entries=entries, complete=True)
        for instance, history in zip(before, histories, strict=True):
            assert await runtime.get(instance.id) == instance
            assert await runtime.history(instance.id) == history
        assert (await _lines(runtime))[1:] == lines[1:]
        # Life goes on: keys are known, refs are taken, timers fire.
        one = before[0]
        made: dict[str, Any] = {"context": {"when": START, "n": 1.5e300}, "metadata": {"of": "a"}}
        assert (await runtime.create("job", **made, ref="A1", key="made")).id == one.id
        assert (await runtime.fire(one.id, "note", {"deep": [1, {"$": "x"}]}, key="k1")).replayed is True
        world.clock.advance(DAY)
        assert (await runtime.fire_due_timers()).fired == 1
        assert (await runtime.get(one.id)).state == "expired"


@check("retention", "due", "definitions")
async def an_export_goes_to_another_namespace(world: World) -> None:
    """Which knows nothing yet, not even the definition; what it keeps of it is enough."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        created = await runtime.create("job", {"n": 1}, ref="A1")
        lines = await _lines(runtime)
        await runtime.delete(created.id, force=True)
    other = f"{world.namespace}-other"
    async with world.runtime(ERRAND, namespace=other, invariants=False, **HANDLERS) as runtime:
        result = await runtime.import_(lines)
        assert result == ImportResult(instances=1, entries=1, definitions=1, complete=True)
        assert await runtime.get(created.id) == attrs.evolve(created, namespace=other)
        assert (await runtime.import_([lines[0], lines[1]])).definitions == 0


@check("retention", "due")
async def tries_of_timers_come_along(world: World) -> None:
    """A timer that was tried, or parked, is so where it goes."""
    states = [State("open", [Transition("late", target="done", after=HOUR, guard="never")]), State("done")]
    waiting = Workflow(name="waiting", initial="open", states=states)
    async with world.runtime(waiting, guards=[never]) as runtime:
        created = await runtime.create("waiting")
        world.clock.advance(HOUR)
        assert (await runtime.fire_due_timers()).rejected == 1
        lines = await _lines(runtime)
        await runtime.delete(created.id, force=True)
        await runtime.import_(lines)
        assert (await _lines(runtime))[1:] == lines[1:]
        assert (await runtime.fire_due_timers()).total == 0
        world.clock.advance(HOUR)
        assert (await runtime.fire_due_timers()).rejected == 1
        # The same reasons are not recorded twice, also not elsewhere.
        assert (await runtime.get(created.id)).version == 2


@check("retention", "due")
async def an_export_is_of_what_was_asked_for(world: World) -> None:
    """By the filter of `list`, oldest first; or by name, in that order, each once."""
    async with world.runtime(JOB, ERRAND, **HANDLERS) as runtime:
        made = []
        for number in range(6):
            workflow = "job" if number % 2 else "errand"
            made.append(await runtime.create(workflow, ref=f"R{number}", metadata={"n": number}))
            world.clock.advance(HOUR)
        await runtime.fire(made[1].id, "finish")

        async def exported(*targets: Any, **filters: Any) -> list[UUID]:
            parsed = [json.loads(line) for line in await _lines(runtime, *targets, **filters)]
            assert (parsed[0]["type"], parsed[-1]["type"]) == ("header", "end")
            found = [UUID(line["instance"]["id"]) for line in parsed if line["type"] == "instance"]
            assert parsed[-1]["instances"] == len(found)
            named = {line["instance"]["workflow"] for line in parsed if line["type"] == "instance"}
            assert {line["workflow"] for line in parsed if line["type"] == "definition"} == named
            return found

        ids = [instance.id for instance in made]
        assert await exported() == ids
        assert await exported(workflow="job") == [ids[1], ids[3], ids[5]]
        assert await exported(open=False) == [ids[1]]
        assert await exported(state="open", created=(START + 2 * HOUR, None), workflow=ERRAND) == [
            ids[2],
            ids[4],
        ]
        assert await exported(metadata={"n": 3}) == [ids[3]]
        assert await exported(state="nowhere") == []
        assert await exported(ids[4]) == [ids[4]]
        assert await exported(("job", "R3")) == [ids[3]]
        assert await exported([made[5], str(ids[0]), ("errand", "R0"), ids[5]]) == [ids[5], ids[0]]
        assert await exported([]) == []
        for targets, filters in (([ids[0]], {"workflow": "job"}), (5, {}), (["x"], {})):
            with pytest.raises(InvalidArgument):
                runtime.export(targets, **filters)  # type: ignore[arg-type]
        with pytest.raises(InstanceNotFound):
            await exported([uuid4()])


@check("retention", "due")
async def what_is_there_is_not_imported_over(world: World) -> None:
    """An id or a ref that is taken ends the import at that line; or is passed over, and told."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        one, two = await runtime.create("job", ref="A"), await runtime.create("job", ref="B")
        three = await runtime.create("job")
        lines = await _lines(runtime, [one.id, two.id, three.id])
        numbers = {instance.id: 3 + index for index, instance in enumerate((one, two, three))}
        await runtime.delete(two.id, force=True)
        await runtime.delete(three.id, force=True)
        rival = await runtime.create("job", ref="B")
        with pytest.raises(ImportRefused, match=f"{one.id}") as caught:
            await runtime.import_(lines)
        assert caught.value.line == numbers[one.id]
        await runtime.delete(three.id, force=True)
        result = await runtime.import_(lines, on_conflict="skip")
        assert attrs.evolve(result, skips=()) == ImportResult(
            instances=1, entries=1, skipped=2, complete=True
        )
        assert set(result.skips) == {
            Skipped(numbers[one.id], "job", "A", one.id, one.id),
            Skipped(numbers[two.id], "job", "B", two.id, rival.id),
        }
        assert await runtime.get(one.id) == one
        assert await _ids(runtime) == {one.id, three.id, rival.id}


@check("retention", "due", "receipts")
async def a_key_that_is_taken_keeps_its_instance_out(world: World) -> None:
    """A creation's key stands for one instance."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        created = await runtime.create("job", key="k")
        lines = await _lines(runtime)
        await runtime.delete(created.id, force=True)
        rival = await runtime.create("job", key="k")
        result = await runtime.import_(lines, on_conflict="skip")
        assert result.skips == (Skipped(3, "job", None, created.id, rival.id),)
        assert await _ids(runtime) == {rival.id}


@check("retention", "due")
async def a_line_that_does_not_add_up_is_refused(world: World) -> None:
    """Named by its number; what came before it is in, what comes after is not."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        first = await runtime.create("job")
        second = await runtime.create("job", {"n": 1}, ref="A", key="k")
        await runtime.fire(second.id, "note", 5, key="k")
        lines = await _lines(runtime, [first.id, second.id])
        for instance in (first, second):
            await runtime.delete(instance.id, force=True)

        def without(line: dict[str, Any]) -> None:
            del line["history"][1]

        changes: list[tuple[Any, str]] = [
            (lambda line: line["instance"].update(state="finished"), "state"),
            (lambda line: line["instance"]["context"].update(n=2), "'n'"),
            (lambda line: line["instance"].update(version=3), "version"),
            (lambda line: line["instance"].update(outcome="done"), "outcome"),
            (lambda line: line["instance"].update(entered_at="2024-01-02T00:00:00+00:00"), "entered_at"),
            (lambda line: line["instance"].update(definition_version=2), "version 2"),
            (lambda line: line["instance"].update(workflow="unknown"), "'unknown'"),
            (lambda line: line["instance"].update(id="x"), "id"),
            (lambda line: line["instance"].update(created_at="2024-01-01"), "created_at"),
            (lambda line: line["instance"].update(extra=1), "'extra'"),
            (lambda line: line["instance"].pop("state"), "lacks state"),
            (lambda line: line["instance"].update(timers=[]), "timers"),
            (lambda line: line["history"][0].update(kind="odd"), "odd"),
            (lambda line: line["history"][1].update(seq=3), "gap"),
            (lambda line: line["history"][1].update(event="other"), "other"),
            (lambda line: line["history"][1].update(payload={"$": "class:Gone", "v": {}}), "Gone"),
            (lambda line: line.update(history=5), "history"),
            (without, "version"),
            (lambda line: line["receipts"][0].update(last_seq=7), "receipt"),
            (lambda line: line["receipts"][0].update(key=""), "key"),
            (lambda line: line["receipts"].append(line["receipts"][0]), "two receipts"),
            (lambda line: line.update(retries={"other": _retry()}), "other"),
            (lambda line: line.update(retries={"expire": _retry() | {"next_at": "2024-01-01"}}), "time zone"),
            (lambda line: line["history"][1].update(trigger=[]), "trigger"),
            (lambda line: line["history"][0].update(timers=[{}]), "timers"),
            (lambda line: line["messages"].append({}), "messages"),
        ]
        for change, match in changes:
            line = json.loads(lines[-2])
            change(line)
            with pytest.raises(ImportRefused, match=match) as caught:
                await runtime.import_([*lines[:-2], json.dumps(line), lines[-1]])
            assert (caught.value.line, caught.value.imported) == (4, 1)
            assert await _ids(runtime) == {first.id}
            await runtime.delete(first.id, force=True)
        assert (await runtime.import_(lines)).instances == 2


def _retry() -> dict[str, Any]:
    fields = {"next_at": None, "rejected": 1, "failed": 0, "blockers": "", "error": "", "parked_at": None}
    return dict(fields)


@check("retention", "due", "definitions")
async def a_stream_that_is_no_export_is_refused(world: World) -> None:
    """With the number of the line, and nothing is written."""
    async with world.runtime(JOB, **HANDLERS) as runtime:
        created = await runtime.create("job")
        header, definition, instance, end = await _lines(runtime)
        await runtime.delete(created.id, force=True)
        other = json.loads(definition)
        other["snapshot"]["states"][0]["transitions"][0]["target"] = "failed"
        unknown = json.loads(definition)
        unknown["snapshot"]["version"] = 2
        newer = json.loads(header)
        newer["version"] = 99
        bad: list[tuple[list[Any], int, str]] = [
            ([instance], 1, "no header"),
            ([header, "{"], 2, "no JSON"),
            ([header, "[]"], 2, "no line of an export"),
            ([header, '{"type": "other"}'], 2, "no line of an export"),
            ([header, b"{}"], 2, "no text"),
            ([json.dumps(newer)], 1, "version 99"),
            ([header.replace("duraflow export", "x")], 1, "format"),
            ([header, json.dumps(other)], 2, "other content"),
            ([header, json.dumps(unknown)], 2, "version 2"),
            ([header, json.dumps({"type": "definition", "snapshot": {}})], 2, "snapshot"),
            ([header, definition, end], 3, "had 1 instances"),
        ]
        for lines, number, match in bad:
            with pytest.raises(ImportRefused, match=match) as caught:
                await runtime.import_(lines)
            assert (caught.value.line, caught.value.imported) == (number, 0)
        for arguments in (
            {"lines": header},
            {"lines": 5},
            {"lines": [], "on_conflict": "x"},
            {"lines": [], "messages": 1},
        ):
            with pytest.raises(InvalidArgument):
                await runtime.import_(**arguments)
        # Blank lines are nothing, exports may follow each other, and one that was cut short says so.
        assert (await runtime.import_([header, "", definition, instance, "\n"])).complete is False
        await runtime.delete(created.id, force=True)
        result = await runtime.import_(
            [header, definition, instance, end, header, definition, '{"type":"end","instances":0}']
        )
        assert (result.instances, result.complete) == (1, True)


@check("retention")
async def parents_come_with_their_children(world: World) -> None:
    """In whatever order they stand; without its parent a child comes alone, and is counted."""
    async with world.opened() as ports:
        parent = new(world)
        child = new(world, parent_id=parent.id, root_id=parent.id)
        await create(ports, parent)
        await create(ports, child)
    async with world.runtime(invariants=False) as runtime:
        lines = await _lines(runtime, [child.id, parent.id])
        for instance in (child, parent):
            await runtime.delete(instance.id, force=True)
        result = await runtime.import_(lines)
        assert (result.instances, result.orphaned) == (2, 0)
        assert await runtime.get(child.id) == child
        for instance in (child, parent):
            await runtime.delete(instance.id, force=True)
        result = await runtime.import_(
            line for line in lines if f'"id":"{parent.id}"' not in line and '"end"' not in line
        )
        assert (result.instances, result.orphaned) == (1, 1)
        assert await runtime.get(child.id) == attrs.evolve(child, parent_id=None)


@check("retention", "receipts", "outbox", "due")
async def whole_instances_are_read_at_one_moment(world: World) -> None:
    """All that is kept of each, in the order asked for; what is gone is left out."""
    async with world.opened() as ports:
        one, two = new(world), new(world)
        await create(ports, one, two)
        later = moved(one, state="two")
        retry = TimerRetry(START + DAY, rejected=2)
        await ports.writer.apply(
            None,
            [
                Writes(
                    one,
                    later,
                    (entry(later),),
                    SetDue(START + DAY, {"late": retry}),
                    Receipt(one.id, "k", 2, 2, START),
                    (Emitted(uuid4(), one.id, 2, 0, "told", {"n": 1}),),
                )
            ],
        )
        async with ports.begin() as unit:
            found = await _store(ports).read(unit, [two.id, uuid4(), one.id])
        assert [whole.instance["id"] for whole in found] == [two.id, one.id]
        bare, full = found
        assert (len(bare.entries), bare.retries, bare.receipts, bare.messages) == (1, None, (), ())
        assert ([entry["seq"] for entry in full.entries], full.instance["version"]) == ([1, 2], 2)
        assert json.loads(full.retries or "")["late"]["rejected"] == 2
        assert [receipt["key"] for receipt in full.receipts] == ["k"]
        assert [(m["topic"], json.loads(m["payload"]), m["delivered"]) for m in full.messages] == [
            ("told", {"n": 1}, False)
        ]


# --- messages and those who take them -----------------------------------------------------------------------


@check("retention", "outbox", "due")
async def what_a_handler_still_waits_for_stays(world: World) -> None:
    """A message that it has not had, or did not take, keeps itself and its instance; others go."""
    broken = True

    def take(message: Message) -> None:
        if broken and message.ref == "stuck":
            raise ValueError("not now")

    handlers = [MessageHandler("mail", take)]
    async with world.runtime(JOB, message_handlers=handlers, **HANDLERS) as runtime:
        old: dict[str, Any] = {"older_than": HOUR, "messages_older_than": HOUR}
        stuck = await runtime.create("job", ref="stuck")
        await runtime.fire(stuck.id, "finish")
        await _ended(runtime)
        assert (await dispatched(world, runtime, 2)).delivered == 1
        new = await _ended(runtime)
        world.clock.advance(2 * HOUR)
        dry = await runtime.prune(**old, dry_run=True)
        assert dry == PruneResult(instances=1, entries=2, messages=1, waiting=2, dry_run=True)
        assert await runtime.prune(**old) == PruneResult(instances=1, entries=2, waiting=2)
        assert await _ids(runtime) == {stuck.id, new.id}
        broken = False
        assert (await dispatched(world, runtime, 2)).delivered == 2
        alive = await runtime.create("job")
        assert await runtime.prune(older_than=DAY, messages_older_than=HOUR) == PruneResult(messages=2)
        assert await runtime.prune(**old) == PruneResult(instances=2, entries=4)
        assert await _ids(runtime) == {alive.id}


@check("retention", "outbox", "due")
async def delivered_messages_need_not_come_along(world: World) -> None:
    """Unless they are asked for. What was not delivered is delivered where it goes, under the same id."""
    told: list[Message] = []
    handlers = [MessageHandler("mail", told.append)]
    async with world.runtime(JOB, message_handlers=handlers, **HANDLERS) as runtime:
        first = await _ended(runtime)
        await dispatched(world, runtime, 1)
        second = await _ended(runtime)
        lines = await _lines(runtime, [first.id, second.id])
        messages = [json.loads(line)["messages"] for line in lines[2:4]]
        assert [[one["delivered"] for one in each] for each in messages] == [[True], [False]]
        choices: list[tuple[dict[str, Any], list[UUID]]] = [
            ({}, [second.id]),
            ({"messages": "all"}, [first.id, second.id]),
        ]
        for options, expected in choices:
            for instance in (first, second):
                await runtime.delete(instance.id)
            told.clear()
            await runtime.import_(lines, **options)
            await dispatched(world, runtime, len(expected))
            assert sorted(message.instance_id for message in told) == sorted(expected)
            ids = {message["id"] for each in messages for message in each}
            assert {str(message.id) for message in told} <= ids
