"""Keys and fingerprints: is the same request told from another one, and is a key that cannot be one refused?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import attrs
import pytest

from duraflow.definition.values import State, Transition
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    AlreadyExists,
    IdempotencyConflict,
    InvalidArgument,
    Misuse,
    NotSupported,
)
from duraflow.instance import Instance
from duraflow.ports import Persistence
from duraflow.results import Firing, NewInstance, Unfired
from duraflow.testing.clocks import START
from duraflow.testing.conformance.subject import DAY, HOUR, World, check, note


@attrs.frozen
class Payment:
    """A typed payload with a default."""

    amount: Decimal
    on: datetime
    note: str = ""


def book(ctx: Any) -> None:
    """A command, so that there is a way with the lock, too."""
    note(ctx)


BILL = Workflow(
    name="bill",
    initial="open",
    events={"pay": Payment, "book": Payment},
    states=[
        State(
            "open",
            [
                Transition("pay", target="open"),
                Transition("book", target="open", commands=[book]),
                Transition("touch", target="open"),
                Transition("note", commands=[book]),
                Transition("close", target="closed"),
            ],
            context={"stage": "new"},
        ),
        State("closed"),
    ],
)
OTHER = attrs.evolve(BILL, name="other bill")
WHEN = datetime(2024, 1, 1, tzinfo=UTC)
GIVEN: Mapping[str, Any] = {"amount": Decimal("5.00"), "on": WHEN}


async def _receipts(world: World, instance: Instance) -> dict[str, Any]:
    async with world.opened() as ports:
        return {one.key: one for one in await ports.receipts.of(None, instance.id)}


# --- is it the same request? ----------------------------------------------------------------------------------


SAME: list[tuple[str, Any, Any]] = [
    ("pay", GIVEN, Payment(**GIVEN)),
    ("pay", Payment(**GIVEN), {**GIVEN, "note": ""}),
    ("book", {**GIVEN, "note": "é"}, dict(reversed(list({**GIVEN, "note": "é"}.items())))),
    ("touch", None, None),
    ("touch", {"a": (1, {"b": 2})}, {"a": [1, {"b": 2}]}),
    ("note", [], ()),
    ("note", 0, 0),
]
DIFFERENT: list[tuple[str, Any, Any, tuple[str, ...]]] = [
    ("pay", GIVEN, {**GIVEN, "amount": Decimal("5.01")}, ("payload.amount",)),
    ("pay", GIVEN, {**GIVEN, "amount": Decimal("5.0")}, ("payload.amount",)),
    ("book", GIVEN, Payment(Decimal(6), WHEN + DAY, "x"), ("payload.amount", "payload.note", "payload.on")),
    ("touch", None, {}, ("payload",)),
    ("touch", {"": 1}, {"": 2}, ("payload.",)),
    ("touch", None, False, ("payload",)),
    ("touch", {"a": 1}, None, ("payload",)),
    ("touch", {"a": 1}, {}, ("payload.a",)),
    ("touch", {"a": None}, {}, ("payload.a",)),
    ("touch", {"a": 1, "b": [1, 2]}, {"b": [2, 1], "c": 1}, ("payload.a", "payload.b", "payload.c")),
    ("note", 1, True, ("payload",)),
    ("note", 1, "1", ("payload",)),
    ("note", "clé", "cle\u0301", ("payload",)),
    ("note", [1], [1, None], ("payload",)),
]


@check("receipts")
async def the_same_event_is_known_by_its_payload(world: World) -> None:
    """As it is stored: class or mapping, defaults, tuples, the order of fields make no difference."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill")
        for number, (event, first, second) in enumerate(SAME):
            done = await runtime.fire(created.id, event, first, key=f"{number}")
            again = await runtime.fire(created.id, event, second, key=f"{number}")
            assert (again, again.replayed) == (done, True), (event, first, second)
            (many,) = await runtime.fire_many([Firing(created.id, event, second, key=f"{number}")])
            assert many == done
            # Who sends it, and with which objects, is not what was asked for.
            again = await runtime.fire(
                created.id, event, second, key=f"{number}", trigger={"by": "another"}, subject=object()
            )
            assert again == done


@check("receipts")
async def another_event_under_the_key_is_a_conflict(world: World) -> None:
    """It names what differs; nothing is done or recorded, and the first answer stays to be had."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill")
        for number, (event, first, second, differs) in enumerate(DIFFERENT):
            key = f"key {number}"
            done = await runtime.fire(created.id, event, first, key=key)
            before = await runtime.history(created.id)
            with pytest.raises(IdempotencyConflict, match=key) as caught:
                await runtime.fire(created.id, event, second, key=key)
            assert (caught.value.key, caught.value.differs) == (key, differs)
            assert repr(event) in caught.value.request
            assert str(created.id) in caught.value.request
            for answer in (
                await runtime.try_fire(created.id, event, second, key=key),
                *await runtime.fire_many([Firing(created.id, event, second, key=key)]),
            ):
                assert isinstance(answer, Unfired)
                assert isinstance(answer.error, IdempotencyConflict)
                assert answer.error.differs == differs
            with pytest.raises(IdempotencyConflict, match=f"was {event!r}") as caught:
                await runtime.fire(created.id, "close", first, key=key)
            assert caught.value.differs == (f"event (it was {event!r})",)
            async with runtime.transaction() as tx:
                with pytest.raises(IdempotencyConflict):
                    await tx.fire(created.id, event, second, key=key)
                assert await tx.fire(created.id, event, first, key=key) == done
            assert await runtime.history(created.id) == before


@check("receipts")
async def a_payload_that_does_not_fit_is_refused_first(world: World) -> None:
    """A bad argument is a bad argument, whatever key it carries."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill")
        await runtime.fire(created.id, "pay", GIVEN, key="k")
        with pytest.raises(InvalidArgument, match="amount"):
            await runtime.fire(created.id, "pay", {"amount": "5", "on": WHEN}, key="k")


@check("receipts")
async def another_creation_under_the_key_is_a_conflict(world: World) -> None:
    """Of another context, metadata, ref or id; all that differ are named, and nothing is created."""
    given = UUID(int=7)
    first: dict[str, Any] = {"context": {"n": (1, 2)}, "metadata": {"team": "a"}, "ref": "A1"}
    changes: list[tuple[dict[str, Any], tuple[str, ...]]] = [
        ({"context": {"n": [1, 2, 3]}}, ("context",)),
        ({"context": {}}, ("context",)),
        ({"metadata": {"team": "b"}}, ("metadata",)),
        ({"metadata": {}}, ("metadata",)),
        ({"ref": "A2"}, ("ref",)),
        ({"ref": None}, ("ref",)),
        ({"id": given}, ("id",)),
        ({"context": {"n": 1}, "metadata": {}, "ref": "A2"}, ("context", "metadata", "ref")),
    ]
    async with world.runtime(BILL, OTHER) as runtime:
        created = await runtime.create("bill", key="k", **first)
        same = {**first, "context": {"n": [1, 2]}}
        assert await runtime.create("bill", key="k", **same, trigger={"by": "b"}, subject=object()) == created
        for change, differs in changes:
            asked = {**first, **change}
            with pytest.raises(IdempotencyConflict, match="'bill'") as caught:
                await runtime.create("bill", key="k", **asked)
            assert (caught.value.key, caught.value.differs) == ("k", differs)
            with pytest.raises(IdempotencyConflict):
                await runtime.create_many([NewInstance("other bill"), NewInstance("bill", key="k", **asked)])
            async with runtime.transaction() as tx:
                with pytest.raises(IdempotencyConflict):
                    await tx.create("bill", key="k", **asked)
        assert (await runtime.list()).instances == (created,)


@check("receipts")
async def callers_may_say_themselves_what_is_the_same(world: World) -> None:
    """A text of their own is compared instead of the request; `False` compares nothing, now or later."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill", {"n": 1}, key="own", fingerprint="v1")
        assert await runtime.create("bill", {"n": 2}, key="own", fingerprint="v1") == created
        done = await runtime.fire(created.id, "touch", 1, key="own", fingerprint="v1")
        assert await runtime.fire(created.id, "close", 2, key="own", fingerprint="v1") == done
        free = await runtime.fire(created.id, "touch", 1, key="free", fingerprint=False)
        plain = await runtime.fire(created.id, "touch", 1, key="plain")
        for other in ("v2", "V1", "v1 ", True):
            with pytest.raises(IdempotencyConflict) as caught:
                await runtime.fire(created.id, "touch", 1, key="own", fingerprint=other)
            assert caught.value.differs == ("fingerprint",)
            with pytest.raises(IdempotencyConflict) as caught:
                await runtime.create("bill", {"n": 1}, key="own", fingerprint=other)
            assert caught.value.differs == ("fingerprint",)
        with pytest.raises(IdempotencyConflict) as caught:
            await runtime.fire(created.id, "touch", 1, key="plain", fingerprint="v1")
        assert caught.value.differs == ("fingerprint",)
        # Who opts out takes what there is; what was left by someone who opted out is taken by all.
        assert await runtime.fire(created.id, "note", 2, key="own", fingerprint=False) == done
        assert await runtime.fire(created.id, "note", 2, key="plain", fingerprint=False) == plain
        for fingerprint in (True, False, "v1"):
            assert await runtime.fire(created.id, "note", 2, key="free", fingerprint=fingerprint) == free
        found = await _receipts(world, created)
        assert [found[key].fingerprint for key in ("free", "plain")] == [None, {}]


# --- how long, and where --------------------------------------------------------------------------------------


@check("receipts")
async def a_receipt_says_how_long_it_is_kept(world: World) -> None:
    """`keep_for` from the time of the request, of a batch too; else as long as the instance. It answers to its end."""
    async with world.runtime(BILL) as runtime:
        (created,) = await runtime.create_many([NewInstance("bill", key="c", keep_for=DAY)])
        world.clock.advance(HOUR)
        done = await runtime.fire(created.id, "touch", key="free", keep_for=DAY)
        await runtime.fire(created.id, "note", key="locked", keep_for=2 * DAY)
        await runtime.fire_many([Firing(created.id, "touch", key="many", keep_for=HOUR)])
        await runtime.fire(created.id, "touch", key="for good")
        found = await _receipts(world, created)
        assert {key: (one.created_at, one.expires_at) for key, one in found.items()} == {
            "c": (START, START + DAY),
            "free": (START + HOUR, START + HOUR + DAY),
            "locked": (START + HOUR, START + HOUR + 2 * DAY),
            "many": (START + HOUR, START + 2 * HOUR),
            "for good": (START + HOUR, None),
        }
        assert {key: (one.first_seq, one.last_seq) for key, one in found.items()} == {
            "c": (1, 1),
            "free": (2, 2),
            "locked": (3, 3),
            "many": (4, 4),
            "for good": (5, 5),
        }
        world.clock.advance(9 * DAY)
        assert await runtime.fire(created.id, "touch", key="free", keep_for=HOUR) == done
        assert (await _receipts(world, created))["free"].expires_at == START + HOUR + DAY


@check("receipts")
async def keys_have_their_own_spaces(world: World) -> None:
    """Of events per instance, of creations per workflow and namespace; an event and a creation do not collide."""
    async with (
        world.runtime(BILL, OTHER) as runtime,
        world.runtime(BILL, namespace=f"{world.namespace}_b", invariants=False) as elsewhere,
    ):
        one = await runtime.create("bill", {"n": 1}, key="k")
        two = await runtime.create("other bill", {"n": 2}, key="k")
        there = await elsewhere.create("bill", {"n": 3}, key="k")
        assert len({one.id, two.id, there.id}) == 3
        for number, (asked, instance) in enumerate(((runtime, one), (runtime, two), (elsewhere, there))):
            assert not (await asked.fire(instance.id, "touch", number, key="k")).replayed
        # The three ways to name an instance lead to the same keys.
        named = await runtime.create("bill", ref="A1")
        done = await runtime.fire(named.id, "touch", key="k")
        for target in (named.id, str(named.id), named, ("bill", "A1")):
            assert await runtime.fire(target, "touch", key="k") == done


@check("receipts")
async def a_ref_and_a_key_go_together(world: World) -> None:
    """The same request is answered; the ref under another key, or none, is taken."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill", ref="A1", key="k")
        assert await runtime.create("bill", ref="A1", key="k") == created
        assert await runtime.create_many([NewInstance("bill", ref="A1", key="k")]) == (created,)
        for key in (None, "k2"):
            with pytest.raises(AlreadyExists) as caught:
                await runtime.create("bill", ref="A1", key=key)
            assert caught.value.instance_id == created.id
            with pytest.raises(AlreadyExists):
                await runtime.create_many(
                    [NewInstance("bill", key="k3"), NewInstance("bill", ref="A1", key=key)]
                )
        assert (await runtime.list()).instances == (created,)
        other = await runtime.create("bill", ref="A2", key="k2")
        assert other.id != created.id


# --- what cannot be a key -------------------------------------------------------------------------------------


BAD: list[tuple[dict[str, Any], str]] = [
    ({"key": ""}, "key"),
    ({"key": "k" * 257}, "key"),
    ({"key": "é" * 128 + "k"}, "key"),
    ({"key": "a\x00b"}, "key"),
    ({"key": "\ud800"}, "key"),
    ({"key": 5}, "key"),
    ({"key": b"k"}, "key"),
    ({"key": UUID(int=1)}, "key"),
    ({"key": "k", "fingerprint": ""}, "fingerprint"),
    ({"key": "k", "fingerprint": "f" * 257}, "fingerprint"),
    ({"key": "k", "fingerprint": "\x00"}, "fingerprint"),
    ({"key": "k", "fingerprint": "\udfff"}, "fingerprint"),
    ({"key": "k", "fingerprint": None}, "fingerprint"),
    ({"key": "k", "fingerprint": 1}, "fingerprint"),
    ({"key": "k", "keep_for": 0 * DAY}, "keep_for"),
    ({"key": "k", "keep_for": -DAY}, "keep_for"),
    ({"key": "k", "keep_for": 60}, "keep_for"),
    ({"key": "k", "keep_for": 36_526 * DAY}, "keep_for"),
    ({"fingerprint": "f"}, "fingerprint"),
    ({"fingerprint": False}, "fingerprint"),
    ({"keep_for": DAY}, "keep_for"),
]


@check("receipts")
async def what_cannot_be_a_key_is_refused(world: World) -> None:
    """Before anything is read: too short, too long in bytes, NUL, half a character, no text; and what needs a key."""
    async with world.runtime(BILL) as runtime:
        created = await runtime.create("bill")
        for options, argument in BAD:
            for call in (
                lambda o=options: runtime.fire(created.id, "touch", **o),
                lambda o=options: runtime.fire(UUID(int=1), "touch", **o),
                lambda o=options: runtime.try_fire(created.id, "note", **o),
                lambda o=options: runtime.create("bill", **o),
                lambda o=options: runtime.fire_many(
                    [Firing(created.id, "touch"), Firing(created.id, "touch", **o)]
                ),
                lambda o=options: runtime.create_many([NewInstance("bill"), NewInstance("bill", **o)]),
            ):
                with pytest.raises(InvalidArgument) as caught:
                    await call()
                assert caught.value.argument == argument, options
        assert (await runtime.list()).instances == (created,)
        for key in ("k" * 256, "é" * 128, "🔑" * 64, " ", "\n", "\x01"):
            made = await runtime.create("bill", key=key, fingerprint=key)
            assert await runtime.create("bill", key=key, fingerprint=key) == made
            done = await runtime.fire(made.id, "touch", key=key)
            assert await runtime.fire(made.id, "touch", key=key) == done


@check("receipts")
async def twins_in_a_batch_are_refused(world: World) -> None:
    """The same key twice for one workflow: which of them is meant? Nothing is created."""
    async with world.runtime(BILL, OTHER) as runtime:
        for ref in (None, "A1"):
            with pytest.raises(InvalidArgument, match="given twice") as caught:
                await runtime.create_many(
                    [NewInstance("bill", key="k"), NewInstance("bill", key="k", ref=ref)]
                )
            assert caught.value.argument == "instances[1].key"
        assert (await runtime.list()).instances == ()
        made = await runtime.create_many([NewInstance("bill", key="k"), NewInstance("other bill", key="k")])
        assert len(made) == 2


@check("receipts")
async def a_command_cannot_repeat_the_request_that_runs_it(world: World) -> None:
    """Under the same key it would wait for itself: refused with the remedy, and all is undone. Another key will do."""
    plan: list[Any] = []

    async def again(ctx: Any, runtime: Any) -> None:
        note(ctx)
        if ctx.context.get("inner"):
            return
        await plan[0](ctx, runtime)

    nest = Workflow(
        name="nest",
        initial="begin",
        states=[
            State("begin", [Transition(target="ready", commands=["again"])]),
            State("ready", [Transition("go", commands=["again"])]),
        ],
    )
    bad: list[Any] = [
        lambda _, runtime: runtime.create("nest", {"inner": True}, key="k"),
        lambda _, runtime: runtime.create("nest", key="k"),
        lambda _, runtime: runtime.create_many([NewInstance("bill"), NewInstance("nest", key="k")]),
    ]
    async with world.runtime(nest, BILL, commands={"again": world.driver.command(again)}) as runtime:
        for call in bad:
            plan[:] = [call]
            for create in (
                lambda: runtime.create("nest", key="k"),
                lambda: runtime.create_many([NewInstance("bill", key="b"), NewInstance("nest", key="k")]),
            ):
                with pytest.raises(Misuse, match="another key"):
                    await create()
                assert (await runtime.list()).instances == ()
        plan[:] = [lambda _, runtime: runtime.create("bill", key="k")]
        made = await runtime.create("nest", key="k")
        plan[:] = [lambda ctx, runtime: runtime.fire(ctx.instance.id, "go", key="k2")]
        with pytest.raises(Misuse, match="own instance"):
            await runtime.fire(made.id, "go", key="k2")
        plan[:] = [lambda _, runtime: runtime.create("nest", {"inner": True}, key="k3")]
        assert (await runtime.fire(made.id, "go", key="k2")).ok
        assert sum(row.count for row in await runtime.count()) == 3


@check()
async def a_store_without_receipts_takes_no_keys(world: World) -> None:
    """It says what it lacks before anything is done; without a key it works as ever."""
    full = world.persistence()
    less = Persistence(
        instances=full.instances,
        history=full.history,
        transactions=full.transactions,
        writer=full.writer,
        definitions=full.definitions,
        lifecycle=full.lifecycle,
        namespace=full.namespace,
        kind=full.kind,
    )
    async with world.driver.runtime(workflows=[BILL], persistence=less) as runtime:
        created = await runtime.create("bill")
        for call in (
            lambda: runtime.create("bill", key="k"),
            lambda: runtime.create_many([NewInstance("bill", key="k")]),
            lambda: runtime.fire(created.id, "touch", key="k"),
            lambda: runtime.try_fire(created.id, "note", key="k"),
            lambda: runtime.fire_many([Firing(created.id, "touch"), Firing(created.id, "touch", key="k")]),
        ):
            with pytest.raises(NotSupported, match="receipts"):
                await call()
        assert (await runtime.list()).instances == (created,)
