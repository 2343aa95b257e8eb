"""`ReceiptStore`: is one receipt kept for each key, exactly as it was given, and only with its move?"""

# ruff: noqa: PT012  # what leaves a transaction is what these checks are about

from __future__ import annotations

import unicodedata
from typing import Any
from uuid import UUID, uuid4

import attrs
import pytest

from duraflow.errors import InstanceNotFound, KeyTaken, Misuse
from duraflow.instance import Instance
from duraflow.testing.clocks import START
from duraflow.testing.conformance.made_up import create, entry, made, moved, new
from duraflow.testing.conformance.subject import DAY, MINUTE, Ports, World, check
from duraflow.writes import Applied, Failed, Lost, Receipt, Writes


def receipt(instance: Instance, key: str = "k", **changes: Any) -> Receipt:
    """What an event that made this version left."""
    values: dict[str, Any] = {
        "instance_id": instance.id,
        "key": key,
        "first_seq": instance.version,
        "last_seq": instance.version,
        "created_at": START,
        "fingerprint": {},
        "result": {"status": "success"},
    }
    return Receipt(**{**values, **changes})


def creation(instance: Instance, key: str = "k", **changes: Any) -> Receipt:
    """What its creation left."""
    return receipt(instance, key, **{"workflow": instance.workflow, **changes})


async def _add(ports: Ports, *receipts: Receipt) -> None:
    async with ports.begin() as unit:
        for one in receipts:
            await ports.receipts.add(unit, one)


def _step(before: Instance, key: str = "k") -> Writes:
    """A move that leaves a receipt."""
    after = moved(before, state="two")
    return Writes(before, after, (entry(after),), receipt=receipt(after, key))


@check("receipts")
async def a_receipt_comes_back_as_it_was(world: World) -> None:
    """Every field, by key and with all of its instance, in order; what there is none of is left out."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        first = receipt(
            one,
            "second",
            first_seq=2,
            last_seq=5,
            created_at=START + MINUTE / 7,
            fingerprint={"given": 'the caller\'s é\t"own" \\'},
            result={
                "status": "continuing",
                "continuation": {
                    "payload": {"when": START, "deep": [1, None, {"a": True}]},
                    "id": UUID(int=3),
                },
            },
            expires_at=START + DAY + MINUTE / 3,
        )
        full = creation(
            one, "first", fingerprint={"context": "x" * 32, "ref": "A1"}, result={"status": "success"}
        )
        bare = receipt(one, "third", first_seq=2, last_seq=2, fingerprint=None, result={}, expires_at=None)
        await _add(ports, first, full, bare)
        found = await ports.receipts.find(None, [(one.id, "second"), (one.id, "none"), (one.id, "third")])
        assert found == {(one.id, "second"): first, (one.id, "third"): bare}
        assert found[one.id, "second"].created_at == START + MINUTE / 7
        assert await ports.receipts.find_creations(None, [("port", "first"), ("port", "second")]) == {
            ("port", "first"): full
        }
        assert [*await ports.receipts.of(None, one.id)] == [full, first, bare]
        assert [*await ports.receipts.of(None, UUID(int=1))] == []
        assert await ports.receipts.find(None, []) == {}
        assert await ports.receipts.find_creations(None, []) == {}


NEAR = (
    "key",
    "Key",
    "key ",
    " key",
    "key\t",
    "key\n",
    "ke\u200by",
    unicodedata.normalize("NFC", "clé"),
    unicodedata.normalize("NFD", "clé"),
    "straße",
    "strasse",
    "ı",
    "i",
    "%",
    "_",
    "\\",
    "'",
    "{}",
    "NULL",
    "🔑",
    "k" * 255 + "a",
    "k" * 255 + "b",
    "é" * 128,
    "\x01",
)
"""Keys that careless comparisons would take for one another, of up to 256 bytes."""


@check("receipts")
async def keys_are_compared_exactly(world: World) -> None:
    """Case, white space, normal forms, wildcards, the last of 256 bytes: each key is only itself."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        kept: list[str] = []
        for key in NEAR:
            unkept = NEAR[len(kept) :]
            assert await ports.receipts.find(None, [(one.id, other) for other in unkept]) == {}
            assert await ports.receipts.find_creations(None, [("port", other) for other in unkept]) == {}
            await _add(ports, receipt(one, key), creation(one, key))
            kept.append(key)
            events = await ports.receipts.find(None, [(one.id, other) for other in NEAR])
            assert set(events) == {(one.id, other) for other in kept}
            assert {found.key for found in events.values()} == set(kept)
            creations = await ports.receipts.find_creations(None, [("port", other) for other in NEAR])
            assert set(creations) == {("port", other) for other in kept}
        listed = [found.key for found in await ports.receipts.of(None, one.id)]
        assert listed[::2] == sorted(NEAR, key=str.encode)


@check("receipts")
async def a_key_is_taken_once(world: World) -> None:
    """The second receipt is refused, in the same transaction and in a later one, and the first stays as it was."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        for first in (receipt(one), creation(one)):
            second = attrs.evolve(first, last_seq=9, result={"status": "rejected"})
            with pytest.raises(KeyTaken):
                await _add(ports, first, second)
            assert await _all_of(ports, one) == []
            await _add(ports, first)
            with pytest.raises(KeyTaken):
                await _add(ports, second)
            async with ports.begin() as unit:
                with pytest.raises(KeyTaken):
                    async with unit.savepoint():
                        await ports.receipts.add(unit, second)
                await ports.receipts.add(unit, attrs.evolve(first, key="another"))
            assert await _all_of(ports, one) == [attrs.evolve(first, key="another"), first]
            await _forget(ports, one)
            await _create_again(ports, one)


async def _all_of(ports: Ports, instance: Instance) -> list[Receipt]:
    return [*await ports.receipts.of(None, instance.id)]


async def _forget(ports: Ports, instance: Instance) -> None:
    async with ports.begin() as unit:
        assert await ports.instances.delete(unit, instance.id)


async def _create_again(ports: Ports, instance: Instance) -> None:
    async with ports.begin() as unit:
        await ports.instances.create(unit, instance)
        await ports.history.append(unit, [entry(instance)])


@check("receipts")
async def each_key_has_its_own_space(world: World) -> None:
    """Of events per instance, of creations per workflow; the two do not collide, nor do namespaces."""
    async with world.opened() as ports, world.opened(f"{world.namespace}_b") as others:
        one, two = await made(ports, world, 2)
        (other,) = await made(ports, world, workflow="other port")
        (elsewhere,) = await made(others, world, namespace=f"{world.namespace}_b")
        receipts = [receipt(one), receipt(two), creation(one), creation(other)]
        await _add(ports, *receipts)
        await _add(others, receipt(elsewhere), creation(elsewhere))
        assert await ports.receipts.find(None, [(each.id, "k") for each in (one, two, other, elsewhere)]) == {
            (one.id, "k"): receipts[0],
            (two.id, "k"): receipts[1],
        }
        pairs = [("port", "k"), ("other port", "k")]
        assert await ports.receipts.find_creations(None, pairs) == {
            pairs[0]: receipts[2],
            pairs[1]: receipts[3],
        }
        assert await others.receipts.find(None, [(one.id, "k")]) == {}
        assert [*await others.receipts.of(None, one.id)] == []
        assert await others.receipts.find_creations(None, pairs) == {pairs[0]: creation(elsewhere)}
        with pytest.raises(InstanceNotFound):
            await _add(others, receipt(one, "k2"))
        with pytest.raises(InstanceNotFound):
            await _add(ports, receipt(new(world), "k2"))


@check("receipts")
async def a_receipt_is_there_with_its_transaction(world: World) -> None:
    """Seen inside at once; gone with a rollback and with a savepoint that is undone; then the key is free."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        pairs: Any = [("port", "k")]
        with pytest.raises(ZeroDivisionError):
            async with ports.begin() as unit:
                for made_here in (receipt(one), creation(one)):
                    await ports.receipts.add(unit, made_here)
                assert [*await ports.receipts.of(unit, one.id)] == [receipt(one), creation(one)]
                assert await ports.receipts.find(unit, [(one.id, "k")]) == {(one.id, "k"): receipt(one)}
                assert await ports.receipts.find_creations(unit, pairs) == {pairs[0]: creation(one)}
                raise ZeroDivisionError
        assert await _all_of(ports, one) == []
        async with ports.begin() as unit:
            with pytest.raises(ZeroDivisionError):
                async with unit.savepoint():
                    await ports.receipts.add(unit, receipt(one))
                    raise ZeroDivisionError
            assert await ports.receipts.find(unit, [(one.id, "k")]) == {}
            await ports.receipts.add(unit, receipt(one, last_seq=7))
        assert await _all_of(ports, one) == [receipt(one, last_seq=7)]


@check("receipts")
async def receipts_go_with_their_instance(world: World) -> None:
    """Deleting it frees its keys, those of its creation too."""
    async with world.opened() as ports:
        one, two = await made(ports, world, 2)
        await _add(ports, receipt(one), creation(one), receipt(two))
        await _forget(ports, one)
        assert await _all_of(ports, one) == []
        assert await ports.receipts.find(None, [(one.id, "k"), (two.id, "k")]) == {
            (two.id, "k"): receipt(two)
        }
        assert await ports.receipts.find_creations(None, [("port", "k")]) == {}
        await _add(ports, creation(two))
        await _create_again(ports, one)
        assert await _all_of(ports, one) == []


@check("receipts")
async def a_receipt_is_written_with_its_move(world: World) -> None:
    """By the writer, alone and in a transaction, for a move and a creation; a lost move leaves none."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        stale = attrs.evolve(one, version=4)
        assert [*await ports.writer.apply(None, [_step(stale)])] == [Lost()]
        assert await _all_of(ports, one) == []
        step = _step(one)
        assert [*await ports.writer.apply(None, [step])] == [Applied()]
        assert await _all_of(ports, one) == [step.receipt]
        born = new(world)
        async with ports.begin() as unit:
            births = Writes(None, born, (entry(born),), receipt=creation(born))
            assert [*await ports.writer.apply(unit, [births])] == [Applied()]
            again = _step(step.after, "k2")
            assert [*await ports.writer.apply(unit, [again], last=True)] == [Applied()]
        assert await _all_of(ports, one) == [step.receipt, again.receipt]
        assert await _all_of(ports, born) == [creation(born)]
        twin = new(world)
        alone = Writes(None, twin, (entry(twin),), receipt=creation(twin, "k3"))
        assert [*await ports.writer.apply(None, [alone])] == [Applied()]
        assert await _all_of(ports, twin) == [creation(twin, "k3")]


@check("receipts")
async def a_move_whose_key_is_taken_is_not_written(world: World) -> None:
    """Its answer is `KeyTaken`; of a batch without a transaction the others are written, with their receipts."""
    async with world.opened() as ports:
        one, two, three = await made(ports, world, 3)
        await _add(ports, receipt(one, "k"), creation(three, "k"))
        (answer,) = await ports.writer.apply(None, [_step(one)])
        assert _is_taken(answer)
        assert (await ports.read(one.id), await ports.entries(one.id)) == (one, [entry(one)])
        first, second = new(world), new(world)
        writes = [
            _step(one),
            _step(two),
            Writes(None, first, (entry(first),), receipt=creation(first, "k")),
            Writes(None, second, (entry(second),), receipt=creation(second, "k2")),
            _step(three),
        ]
        answers = [*await ports.writer.apply(None, writes)]
        assert [_is_taken(answer) for answer in answers] == [True, False, True, False, False]
        assert [answers[index] for index in (1, 3, 4)] == [Applied()] * 3
        assert (await ports.read(one.id), await ports.entries(one.id)) == (one, [entry(one)])
        assert await ports.read(first.id) is None
        for written in (writes[1], writes[3], writes[4]):
            assert await ports.read(written.after.id) == written.after
            assert written.receipt in await _all_of(ports, written.after)


@check("receipts")
async def a_key_that_is_taken_ends_the_transaction(world: World) -> None:
    """Also as its last write, with which the commit would go: nothing else that was done in it stays."""
    async with world.opened() as ports:
        one, two = await made(ports, world, 2)
        await _add(ports, receipt(one, "k"))
        with pytest.raises(KeyTaken):
            async with ports.begin() as unit:
                assert [*await ports.writer.apply(unit, [_step(two)])] == [Applied()]
                await ports.writer.apply(unit, [_step(one)], last=True)
        assert (await ports.read(two.id), await ports.entries(two.id)) == (two, [entry(two)])
        assert await _all_of(ports, two) == []


def _is_taken(answer: object) -> bool:
    return isinstance(answer, Failed) and isinstance(answer.error, KeyTaken)


@check("receipts", "concurrency")
async def who_creates_under_a_key_is_waited_for(world: World) -> None:
    """`hold` waits for the end of whoever holds the key, and then sees what that left; other keys are free."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        held, order = world.signal(), list[str]()

        async def first() -> Any:
            async with ports.begin() as unit:
                assert await ports.receipts.find_creations(unit, [("port", "k")], hold=True) == {}
                held.set()
                await world.driver.waits.sleep(0.05)
                await ports.receipts.add(unit, creation(one))
                order.append("first")

        async def second() -> Any:
            await held.wait()
            async with ports.begin() as unit:
                free: Any = [("port", "other"), ("other port", "k")]
                assert await ports.receipts.find_creations(unit, free, hold=True) == {}
                order.append("free")
                found = await ports.receipts.find_creations(unit, [("port", "k")], hold=True)
                order.append("second")
                return found

        _, seen = await world.driver.together(first, second)
        assert order == ["free", "first", "second"]
        assert seen == {("port", "k"): creation(one)}


@check("receipts")
async def a_lock_brings_the_receipt_along(world: World) -> None:
    """By id and by ref: the row, and the receipt of an event with this very key, if there is one."""
    async with world.opened() as ports:
        one = new(world, ref="A1")
        await create(ports, one)
        await _add(ports, receipt(one), attrs.evolve(creation(one), key="c"))
        async with ports.begin() as unit:
            for target in (one.id, ("port", "A1")):
                loaded, found = await ports.receipts.lock(unit, target, "k", clock=None)
                assert loaded is not None
                assert (loaded.instance, found) == (one, receipt(one))
                for key in ("other", "c"):  # what created it is no event's
                    loaded, found = await ports.receipts.lock(unit, target, key, clock=None)
                    assert loaded is not None
                    assert (loaded.instance, found) == (one, None)
            for target in (uuid4(), ("port", "A2"), ("other port", "A1")):
                assert await ports.receipts.lock(unit, target, "k", clock=None) == (None, None)


@check("receipts", "concurrency")
async def a_lock_sees_what_was_waited_for(world: World) -> None:
    """The receipt that whoever held the row has left meanwhile, and the row as it is now."""
    async with world.opened() as ports:
        (one,) = await made(ports, world)
        held = world.signal()

        async def first() -> None:
            async with ports.begin() as unit:
                await ports.instances.lock(unit, one.id, clock=None)
                held.set()
                await world.driver.waits.sleep(0.05)
                after = moved(one, state="two")
                assert await ports.instances.save(unit, after, expected=one)
                await ports.history.append(unit, [entry(after)])
                await ports.receipts.add(unit, receipt(one))

        async def second() -> Any:
            await held.wait()
            async with ports.begin() as unit:
                return await ports.receipts.lock(unit, one.id, "k", clock=None)

        _, (loaded, found) = await world.driver.together(first, second)
        assert loaded.instance == moved(one, state="two")
        assert found == receipt(one)


@check("receipts")
async def only_a_transaction_can_hold_a_key(world: World) -> None:
    """Without a unit there is nothing that could end the waiting."""
    async with world.opened() as ports:
        with pytest.raises(Misuse):
            await ports.receipts.find_creations(None, [("port", "k")], hold=True)
