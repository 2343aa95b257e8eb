"""`key=`: does a request take effect once, however often it is sent, and is each answer the first one?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import attrs
import pytest

from duraflow.definition.values import CommandRef, State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import AlreadyExists, CommandFailed, EventRefused, InstanceNotFound, KeyTaken
from duraflow.instance import Blocker, Instance
from duraflow.results import Failure, FireResult, Firing, NewInstance, Success, Unfired
from duraflow.testing.clocks import START
from duraflow.testing.conformance.scopes import has_connections
from duraflow.testing.conformance.subject import DAY, HOUR, MINUTE, World, check, note


def work(ctx: Any) -> Success:
    """Counts, leaves an effect, and answers with values that only a codec brings back."""
    note(ctx)
    ctx.context["worked"] = ctx.context.get("worked", 0) + 1
    return Success({"at": ctx.now, "sum": Decimal("1.50"), "pair": (1, 2)})


def decline(ctx: Any) -> Failure | None:
    """The business says no, if the payload asks for it."""
    note(ctx)
    return Failure("declined", "not today") if ctx.payload == "decline" else None


def burst(ctx: Any) -> None:
    """Raises, unless the context says that all is well."""
    note(ctx)
    if not ctx.context.get("well"):
        raise ZeroDivisionError("by nothing")


def mail(ctx: Any) -> None:
    """Never run by a runtime: it is a worker's job."""
    raise AssertionError("an external command ran inside a step")


def never(now: datetime) -> Blocker:
    """Always no, with a reason that has values in it."""
    return Blocker("never", "not ever", {"when": now, "tries": (1, 2)})


def unsteady(context: Mapping[str, Any]) -> bool:
    """Raises, unless the context says that all is well."""
    if not context.get("well"):
        raise LookupError("no guard can say")
    return True


KEYED = Workflow(
    name="keyed",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("touch", target="open"),
                Transition("work", commands=[work]),
                Transition("ask", target="closed", guard=never),
                Transition("demand", target="closed", guard=never, commands=[work]),
                Transition("pay", target="paid", commands=[work, decline], error_target="unpaid"),
                Transition("post", target="posting", commands=[work]),
                Transition("send", target="sending", commands=[work]),
                Transition("burst", target="closed", commands=[work, burst]),
                Transition("fail", target="closed", commands=[work, decline]),
                Transition("doubt", target="closed", guard=unsteady),
                Transition("close", target="closed"),
                Transition("late", target="open", after=HOUR),
            ],
            context={"stage": "open"},
        ),
        State("posting", [Transition(commands=[work]), Transition(target="paid", commands=[work])]),
        State("sending", [Transition(target="closed", commands=[CommandRef("mail", external=True)])]),
        State("paid", [Transition("close", target="closed")], context={"stage": "paid", "deep": {"a": [1]}}),
        State("unpaid", [Transition("close", target="closed")]),
        State("closed"),
    ],
)
LOUD = Workflow(
    name="loud",
    initial="begin",
    states=[
        State("begin", [Transition(target="ready", commands=[work, decline, burst])]),
        State("ready", [Transition("go", target="over"), Transition("late", target="ready", after=DAY)]),
        State("over"),
    ],
)
STOPPED = Workflow(
    name="stopped",
    initial="begin",
    states=[
        State("begin", [Transition(target="sent", commands=[CommandRef("mail", external=True)])]),
        State("sent"),
    ],
)
WORKFLOWS = (KEYED, LOUD, STOPPED)
HANDLERS: Mapping[str, Any] = {"commands": [mail]}

EVENTS: Mapping[str, tuple[Any, str]] = {
    "touch": (None, "success"),
    "work": ({"a": (1, 2), "when": START}, "success"),
    "ask": ([1], "rejected"),
    "demand": (None, "rejected"),
    "pay": ("decline", "failure"),
    "post": ({"to": ["anna"]}, "success"),
    "send": ({"sum": Decimal("2.50")}, "continuing"),
    "close": (None, "success"),
}
"""Events of `KEYED`: a payload, and what comes of them. Some run commands, some do not, some do not move on."""

Ask = Callable[[Any, Firing], Coroutine[Any, Any, Any]]


async def _fire(runtime: Any, one: Firing) -> Any:
    return await runtime.fire(
        one.target, one.event, one.payload, key=one.key, fingerprint=one.fingerprint, keep_for=one.keep_for
    )


async def _try_fire(runtime: Any, one: Firing) -> Any:
    return await runtime.try_fire(one.target, one.event, one.payload, key=one.key)


async def _fire_many(runtime: Any, one: Firing) -> Any:
    return (await runtime.fire_many([one]))[0]


async def _by_handle(runtime: Any, one: Firing) -> Any:
    return await runtime.handle(one.target).fire(one.event, one.payload, key=one.key)


async def _in_transaction(runtime: Any, one: Firing) -> Any:
    async with runtime.transaction() as tx:
        return await _fire(tx, one)


async def _in_savepoint(runtime: Any, one: Firing) -> Any:
    async with runtime.transaction() as tx, tx.transaction() as inner:
        return await _fire_many(inner, one)


async def _while_locked(runtime: Any, one: Firing) -> Any:
    async with runtime.locked(one.target) as held:
        return await _fire(held, one)


FORMS: tuple[Ask, ...] = (
    _fire,
    _try_fire,
    _fire_many,
    _by_handle,
    _in_transaction,
    _in_savepoint,
    _while_locked,
)
AGAIN: tuple[Ask, ...] = (_fire, _fire_many, _in_transaction)
"""The ways that an answer is looked up: after a lost race, before it, and under the lock."""


async def _seen(world: World, runtime: Any, target: Any, told: list[Any]) -> Any:
    """All that a request could change."""
    instance = await runtime.get(target)
    history = await runtime.history(instance.id, limit=1_000)
    count = sum(row.count for row in await runtime.count())
    return instance, history, dict(world.ledger.counts), len(told), count


@check("receipts", "due")
async def an_event_is_done_once(world: World) -> None:
    """In whatever form it is sent, and sent again: the first result, and nothing runs, is written or is told again."""
    told: list[Any] = []
    for locking in ("auto", "always"):
        async with world.runtime(
            *WORKFLOWS,
            **HANDLERS,
            observers=[told.append],
            locking=locking,
            namespace=f"{world.namespace}_{locking}",
            invariants=locking == "auto",  # later the ledger has the effects of both
        ) as runtime:
            for event, (payload, status) in EVENTS.items():
                for form in FORMS if locking == "auto" else AGAIN:
                    created = await runtime.create(
                        "keyed", {"n": [1]}, metadata={"m": 1}, ref=f"{event} {form}"
                    )
                    world.clock.advance(MINUTE)
                    request = Firing(created.id, event, payload, key="k")
                    first = await form(runtime, request)
                    assert (first.status, first.replayed, first.event) == (status, False, event)
                    before = await _seen(world, runtime, created.id, told)
                    assert first.instance == before[0]
                    assert first.entries == before[1][1:]
                    world.clock.advance(MINUTE)
                    for again in AGAIN if form is not _fire else FORMS:
                        result = await again(runtime, request)
                        assert (result, result.replayed) == (first, True)
                    by_ref = attrs.evolve(request, target=("keyed", f"{event} {form}"))
                    assert await _fire(runtime, by_ref) == first
                    assert await _seen(world, runtime, created.id, told) == before


@check("receipts", "due")
async def an_event_is_answered_whatever_came_after(world: World) -> None:
    """After the instance moved on, was forced back and forth, and ended; by another runtime, too."""
    async with (
        world.runtime(*WORKFLOWS, **HANDLERS, invariants=False) as runtime,
        world.runtime(*WORKFLOWS, **HANDLERS) as other,
    ):
        for event, (payload, _) in EVENTS.items():
            created = await runtime.create("keyed", {"n": [1]})
            request = Firing(created.id, event, payload, key="k")
            first = await _fire(runtime, request)

            async def answered(request: Firing = request, first: FireResult = first) -> None:
                for asked, form in zip((runtime, other, other), AGAIN, strict=True):
                    result = await form(asked, request)
                    assert (result, result.replayed) == (first, True)

            await answered()
            world.clock.advance(DAY)
            await runtime.force(created.id, state="open", reason="x", context={"n": 2, "more": True})
            await answered()
            await runtime.fire(created.id, "work", {"other": 1}, key="another")
            await runtime.fire(created.id, "touch")
            await answered()
            await runtime.fire(created.id, "pay")
            await runtime.cancel(created.id, reason="x")
            await answered()


@check("receipts", "due")
async def who_is_deleted_has_no_answers(world: World) -> None:
    """Receipts go with their instance: its events find nobody, and its creation can be done anew."""
    async with world.runtime(KEYED, **HANDLERS) as runtime:
        created = await runtime.create("keyed", key="c")
        await runtime.fire(created.id, "close", key="k")
        await runtime.delete(created.id)
        for form in (_fire, _by_handle, _in_transaction, _while_locked):
            with pytest.raises(InstanceNotFound):
                await form(runtime, Firing(created.id, "close", key="k"))
        again = await runtime.create("keyed", key="c")
        assert again.id != created.id
        assert await runtime.create("keyed", key="c") == again


async def _create(runtime: Any, new: NewInstance) -> Instance:
    asked = attrs.asdict(new, recurse=False)
    created: Instance = await runtime.create(asked.pop("workflow"), asked.pop("context"), **asked)
    return created


async def _create_many(runtime: Any, new: NewInstance) -> Instance:
    (created,) = await runtime.create_many([new])
    return created  # type: ignore[no-any-return]


async def _create_among_others(runtime: Any, new: NewInstance) -> Instance:
    _, created, _ = await runtime.create_many(
        [NewInstance("keyed", key="before"), new, NewInstance("loud", {"well": True}, key="after")]
    )
    return created  # type: ignore[no-any-return]


async def _create_in_transaction(runtime: Any, new: NewInstance) -> Instance:
    async with runtime.transaction() as tx:
        return await _create(tx, new)


async def _create_many_in_savepoint(runtime: Any, new: NewInstance) -> Instance:
    async with runtime.transaction() as tx, tx.transaction() as inner:
        return await _create_many(inner, new)


CREATIONS: tuple[Callable[[Any, NewInstance], Coroutine[Any, Any, Instance]], ...] = (
    _create,
    _create_many,
    _create_in_transaction,
    _create_many_in_savepoint,
    _create_among_others,
)


@check("receipts", "due")
async def an_instance_is_created_once(world: World) -> None:
    """In whatever form it is asked for: the instance as it was then, and nothing runs, is written or is told again."""
    told: list[Any] = []
    async with (
        world.runtime(*WORKFLOWS, **HANDLERS, observers=[told.append], invariants=False) as runtime,
        world.runtime(*WORKFLOWS, **HANDLERS, observers=[told.append]) as other,
    ):
        await _create_among_others(runtime, NewInstance("keyed", key="warm"))
        for name in ("keyed", "loud", "stopped"):
            for number, form in enumerate(CREATIONS):
                new = NewInstance(
                    name,
                    {"well": True, "pair": (1, 2), "sum": Decimal("1.50")},
                    {"team": ("a",)},
                    f"{number}" if number % 2 else None,
                    key=f"{name} {number}",
                )
                first = await form(runtime, new)
                assert first == await runtime.get(first.id)

                async def answered(new: NewInstance = new, first: Instance = first) -> None:
                    before = await _seen(world, runtime, first.id, told)
                    world.clock.advance(MINUTE)
                    for again in CREATIONS:
                        assert await again(other, new) == first
                    assert await _seen(world, runtime, first.id, told) == before

                await answered()
                state = "paid" if name == "keyed" else "ready" if name == "loud" else "sent"
                await runtime.force(first.id, state=state, reason="x", context={"more": 1})
                await answered()
                if name != "stopped":
                    await runtime.cancel(first.id, reason="x")
                    await answered()


@check("receipts", "due")
async def what_did_not_happen_leaves_its_key_free(world: World) -> None:
    """Refused, failed without a route, raised by a command or a guard, rolled back: the key can be used, and anew."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        created = await runtime.create("keyed")
        cases: list[tuple[type[Exception], str, Any]] = [
            (EventRefused, "sing", None),
            (CommandFailed, "fail", "decline"),
            (ZeroDivisionError, "burst", None),
            (LookupError, "doubt", None),
        ]
        for error, event, payload in cases:
            for form in (_fire, _by_handle, _in_transaction, _while_locked):
                with pytest.raises(error):
                    await form(runtime, Firing(created.id, event, payload, key="k"))
            answer = await _fire_many(runtime, Firing(created.id, event, payload, key="k"))
            assert isinstance(answer, Unfired)
            assert isinstance(answer.error, error)
        with pytest.raises(ArithmeticError):
            async with runtime.transaction() as tx:
                assert not (await tx.fire(created.id, "touch", key="k")).replayed
                assert (await tx.fire(created.id, "touch", key="k")).replayed
                await tx.create("keyed", key="k")
                raise ArithmeticError
        async with runtime.transaction() as tx:
            with pytest.raises(ArithmeticError):
                async with tx.transaction() as inner:
                    await inner.fire(created.id, "work", key="k")
                    raise ArithmeticError
        assert await runtime.get(created.id) == created
        assert len(world.ledger) == 0
        result = await runtime.fire(created.id, "work", {"now": "it works"}, key="k")
        assert (result.status, result.replayed) == ("success", False)


@check("receipts", "due")
async def a_creation_that_did_not_happen_leaves_its_key_free(world: World) -> None:
    """Failed, raised, refused for its ref, rolled back."""
    async with world.runtime(*WORKFLOWS, **HANDLERS) as runtime:
        taken = await runtime.create("keyed", ref="A1")
        for form in CREATIONS[:4]:
            with pytest.raises(ZeroDivisionError):
                await form(runtime, NewInstance("loud", key="k"))
            with pytest.raises(AlreadyExists) as caught:
                await form(runtime, NewInstance("keyed", ref="A1", key="k"))
            assert caught.value.instance_id == taken.id
        with pytest.raises(ZeroDivisionError):
            await runtime.create_many([NewInstance("keyed", key="k"), NewInstance("loud", key="k")])
        with pytest.raises(ArithmeticError):
            async with runtime.transaction() as tx:
                inside = await tx.create("keyed", {"n": 1}, key="k")
                assert await tx.create("keyed", {"n": 1}, key="k") == inside
                raise ArithmeticError
        assert [one.id for one in (await runtime.list()).instances] == [taken.id]
        made = await runtime.create("keyed", {"n": 2}, key="k")
        assert await runtime.create("keyed", {"n": 2}, key="k") == made
        assert (await runtime.create("loud", {"well": True}, key="k")).state == "ready"


@check("receipts", "due")
async def observers_are_told_once(world: World) -> None:
    """After the commit of what was done, and not of what is answered again, in a transaction either."""
    told: list[Any] = []
    async with world.runtime(KEYED, **HANDLERS, observers=[told.append]) as runtime:
        created = await runtime.create("keyed", key="c")
        assert [notice.entry.event for notice in told] == ["$created"]
        async with runtime.transaction() as tx:
            await tx.create("keyed", key="c")
            await tx.fire(created.id, "post", key="k")
            await tx.fire(created.id, "post", key="k")
            assert len(told) == 1
        assert [notice.entry.seq for notice in told] == [1, 2, 4]
        await runtime.fire_many([Firing(created.id, "post", key="k")] * 2)
        assert len(told) == 3


@check("receipts", "due")
async def a_batch_answers_each_by_its_own_key(world: World) -> None:
    """Done before, done in this batch, not done: in order, the same key twice at one instance is done once."""
    async with world.runtime(KEYED, **HANDLERS) as runtime:
        one, two = await runtime.create_many([NewInstance("keyed", ref="A1", key="c"), NewInstance("keyed")])
        earlier = await runtime.fire(one.id, "touch", key="k0")
        results = await runtime.fire_many(
            [
                Firing(one.id, "touch", key="k0"),
                Firing(two.id, "touch", key="k0"),
                Firing(one.id, "touch", key="k1"),
                Firing(("keyed", "A1"), "touch", key="k1"),
                Firing(one.id, "work", key="k2"),
                Firing(two.id, "touch"),
                Firing(one.id, "work", key="k2"),
                Firing(one.id, "touch", {"not": "the same"}, key="k0"),
                Firing(two.id, "sing", key="k3"),
                Firing(two.id, "close", key="k3"),
            ]
        )
        assert [result.ok for result in results] == [True] * 7 + [False, False, True]
        done = [result for result in results if isinstance(result, FireResult)]
        assert [result.replayed for result in done] == [
            True, False, False, True, False, False, True, False
        ]  # fmt: skip
        assert results[0] == earlier
        assert results[3] == results[2]
        assert results[6] == results[4]
        assert (await runtime.get(one.id)).version == 4
        assert (await runtime.get(two.id)).version == 4
        # A creation that was done before stands in its place among those that are not.
        again = await runtime.create_many([NewInstance("keyed"), NewInstance("keyed", ref="A1", key="c")])
        assert again[1] == one
        assert again[0].id not in (one.id, two.id)


@check("receipts", "due")
async def commands_use_keys_for_other_instances(world: World) -> None:
    """Through `ctx.runtime`: in a chain that is sent again, and one that is repeated with another key."""

    async def spread(ctx: Any, runtime: Any) -> None:
        child = await runtime.create("keyed", {"of": str(ctx.instance.id)}, key=f"child of {ctx.instance.id}")
        result = await runtime.fire(child.id, "work", key="begin")
        ctx.context.setdefault("replayed", []).append(result.replayed)
        ctx.context["child"] = str(child.id)

    parent = Workflow(
        name="parent", initial="a", states=[State("a", [Transition("spread", commands=["spread"])])]
    )
    commands = {"spread": world.driver.command(spread), "mail": mail}
    async with world.runtime(KEYED, parent, commands=commands) as runtime:
        created = await runtime.create("parent")
        for key in ("k1", "k2"):
            await runtime.fire(created.id, "spread", key=key)
        result = await runtime.fire(created.id, "spread", key="k1")
        assert result.instance.context["replayed"] == [False]
        after = (await runtime.get(created.id)).context
        assert after["replayed"] == [False, True]
        assert (await runtime.get(after["child"])).context == {
            "stage": "open", "of": str(created.id), "worked": 1
        }  # fmt: skip


@check("receipts", "due")
async def a_callers_transaction_has_keys_too(world: World) -> None:
    """Where the store has connections: with `using`, what is rolled back is free, what is committed is answered."""
    async with world.runtime(KEYED, **HANDLERS) as runtime:
        if not await has_connections(world):
            return
        async with world.opened() as ports:
            created = await runtime.create("keyed")

            async def both(unit: Any) -> tuple[FireResult, Instance]:
                async with runtime.using(unit.connection) as bound:
                    first = await bound.fire(created.id, "touch", key="k")
                    assert await bound.fire(created.id, "touch", key="k") == first
                    made = await bound.create("keyed", key="c")
                    assert await bound.create("keyed", key="c") == made
                return first, made

            with pytest.raises(ArithmeticError):
                async with ports.persistence.transactions.begin(eager=True) as unit:
                    await both(unit)
                    raise ArithmeticError
            async with ports.persistence.transactions.begin(eager=True) as unit:
                first, made = await both(unit)
            assert await runtime.fire(created.id, "touch", key="k") == first
            assert await runtime.create("keyed", key="c") == made


@check("receipts", "due", "concurrency")
async def at_the_same_time_one_does_it(world: World) -> None:
    """Several with one key, with commands or without: one effect, equal answers, nobody meets an error."""
    async with world.runtime(KEYED, LOUD, **HANDLERS) as runtime:
        created = await runtime.create("keyed")
        for event in ("touch", "work", "ask", "demand"):
            request = Firing(created.id, event, {"n": 1}, key=event)
            forms = [_fire, _fire_many, _try_fire, _in_transaction, _fire]
            results = await world.driver.together(*(partial(form, runtime, request) for form in forms))
            assert [result == results[0] for result in results] == [True] * 5, results
            assert sorted(result.replayed for result in results) == [False] + [True] * 4
        assert (await runtime.get(created.id)).version == 5
        for name in ("keyed", "loud"):
            for ref in (None, f"{name}-1"):
                new = NewInstance(name, {"well": True}, ref=ref, key=f"k {ref}")
                many = [*CREATIONS[:4], _create]
                made = await world.driver.together(*(partial(form, runtime, new) for form in many))
                assert [one == made[0] for one in made] == [True] * 5
        assert sum(row.count for row in await runtime.count()) == 5
        assert len(world.ledger) == 7


@check("receipts", "concurrency")
async def a_batch_of_creations_meets_single_ones(world: World) -> None:
    """However many of its keys others use meanwhile: all are answered alike, and nobody sees `KeyTaken`."""
    async with world.runtime(KEYED, **HANDLERS) as runtime:
        for round_ in range(3):
            new = [
                NewInstance("keyed", {"n": n}, ref=f"{round_} {n}" if round_ else None, key=f"{round_} {n}")
                for n in range(12)
            ]

            async def singles(backwards: bool, which: list[NewInstance] = new) -> list[Instance]:
                return [await _create(runtime, one) for one in (which[::-1] if backwards else which)]

            async def batch(backwards: bool, which: list[NewInstance] = new) -> list[Instance]:
                return [*await runtime.create_many(which[::-1] if backwards else which)]

            try:
                calls = [partial(form, backwards) for form in (singles, batch) for backwards in (False, True)]
                made = await world.driver.together(*calls)
            except KeyTaken as error:
                raise AssertionError("a caller saw what is between store and runtime") from error
            assert made[0] == made[1][::-1] == made[2] == made[3][::-1]
        assert sum(row.count for row in await runtime.count()) == 36


@check("receipts", "definitions")
async def an_answer_survives_the_code(world: World) -> None:
    """Another process has another version only: the payload is compared as it was read then, defaults included."""

    @attrs.frozen
    class Payment:
        amount: int
        on: datetime
        note: str = ""

    def bill(version: int, *states: State, **more: Any) -> Workflow:
        return Workflow(name="bill", version=version, initial="open", states=states, **more)

    first = bill(1, State("open", [Transition("pay", target="paid")]), State("paid"), events={"pay": Payment})
    second = bill(2, State("open", [Transition("settle", target="paid")]), State("paid"))
    given = {"amount": 5, "on": datetime(2024, 1, 1, tzinfo=UTC)}
    async with world.runtime(first) as runtime:
        created = await runtime.create("bill", key="c")
        done = await runtime.fire(created.id, "pay", Payment(**given), key="k")  # type: ignore[arg-type]
        assert await runtime.fire(created.id, "pay", given, key="k") == done
    for workflows in ((second,), (first, second)):
        async with world.runtime(*workflows) as runtime:
            assert await runtime.fire(created.id, "pay", given, key="k") == done
            (many,) = await runtime.fire_many([Firing(created.id, "pay", given, key="k")])
            assert many == done
            assert await runtime.create("bill", key="c") == created


@check("receipts", "definitions")
async def an_answer_survives_an_upgrade(world: World) -> None:
    """The instance is governed by another version, in another state, with another context: the answer is the first."""

    def renew(context: Mapping[str, Any], metadata: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**context, "renewed": True}

    old = Workflow(
        name="plan",
        initial="draft",
        states=[
            State("draft", [Transition("touch", target="draft"), Transition("work", commands=[work])]),
            State("done"),
        ],
    )
    sketch = State("sketch", [Transition("touch", target="sketch")])
    new = attrs.evolve(old, version=2, initial="sketch", states=(sketch, State("done")))
    async with world.runtime(old, invariants=False) as runtime:
        created = await runtime.create("plan", {"n": 1}, key="c")
        requests = [Firing(created.id, "touch", {"n": 1}, key="k1"), Firing(created.id, "work", key="k2")]
        done = [await _fire(runtime, request) for request in requests]
    async with world.runtime(old, new) as runtime:
        plan = await runtime.plan_upgrade("plan", 1, 2, states={"draft": "sketch"}, transform=renew)
        await runtime.apply_upgrade(plan)
    async with world.runtime(new, commands=[work]) as runtime:
        after = await runtime.get(created.id)
        assert (after.definition_version, after.state, after.context["renewed"]) == (2, "sketch", True)
        for request, result in zip(requests, done, strict=True):
            for again in AGAIN:
                assert await again(runtime, request) == result
        assert await _create(runtime, NewInstance("plan", {"n": 1}, key="c")) == created
        assert await runtime.get(created.id) == after


@check("receipts", "retention")
async def a_pruned_receipt_frees_its_key(world: World) -> None:
    """From the time of its `keep_for` on; not before, and not those that are kept for good."""
    async with world.runtime(KEYED, **HANDLERS, invariants=False) as runtime:
        created = await runtime.create("keyed", key="c", keep_for=HOUR)
        done = {
            key: await runtime.fire(created.id, "touch", key=key, keep_for=keep_for)
            for key, keep_for in (("hour", HOUR), ("day", DAY), ("good", None))
        }
        world.clock.advance(HOUR - MINUTE)
        assert (await runtime.prune(older_than=DAY)).receipts == 0
        world.clock.advance(MINUTE)
        assert (await runtime.prune(older_than=DAY)).receipts == 2
        assert (await runtime.create("keyed", key="c")).id != created.id
        for key, first in done.items():
            again = await runtime.fire(created.id, "touch", key=key)
            assert again.replayed is (key != "hour")
            assert (again == first) is (key != "hour")
