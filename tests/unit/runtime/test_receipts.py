"""Receipts: what happens between two reads of one request, which no check of a store can arrange?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest

from duraflow import Firing, NewInstance, Runtime, State, Transition, Workflow
from duraflow.memory import InMemoryDatabase, InMemoryPersistence

DOOR = Workflow(
    name="door",
    initial="open",
    states=[State("open", [Transition("touch", target="open"), Transition("close", target="closed")]), State("closed")],
)  # fmt: skip


@attrs.define(eq=False)
class _Meddled:
    """A store before whose first question of a kind something else happens."""

    inner: Any
    method: str
    meddle: Callable[[], object] | None

    def __getattr__(self, name: str) -> Any:
        if name == self.method and self.meddle is not None:
            meddle, self.meddle = self.meddle, None
            meddle()
        return getattr(self.inner, name)


def _meddled(
    database: InMemoryDatabase, method: str, meddle: Callable[[], object], port: str = "receipts"
) -> Runtime:
    full = InMemoryPersistence(database=database)
    store: Any = _Meddled(getattr(full, port), method, meddle)
    return Runtime(workflows=[DOOR], persistence=attrs.evolve(full, database=database, **{port: store}))


def test_what_is_done_between_the_reads_of_a_batch_is_answered() -> None:
    """`fire_many` reads instances, then receipts: one that another has left in between is newer than the instance."""
    database = InMemoryDatabase()
    with Runtime(workflows=[DOOR], persistence=InMemoryPersistence(database=database)) as other:
        one = other.create("door")
        firing = Firing(one.id, "touch", {"n": 1}, key="k")
        done: list[Any] = []

        def meddle() -> None:
            other.fire(one.id, "touch")
            done.extend(other.fire_many([firing]))

        with _meddled(database, "find", meddle) as runtime:
            (answer,) = runtime.fire_many([firing])
        assert (answer, answer.replayed) == (done[0], True)  # type: ignore[union-attr]
        assert other.get(one.id).version == 3


@pytest.mark.parametrize("together", [False, True])
def test_who_is_deleted_between_the_reads_of_a_creation_leaves_the_key_free(together: bool) -> None:
    """As a pruning may do: the receipt has gone with the instance, so the request is done anew."""
    database = InMemoryDatabase()
    with Runtime(workflows=[DOOR], persistence=InMemoryPersistence(database=database)) as other:
        one = other.create("door", key="k")

        def meddle() -> None:
            other.delete(one.id, force=True)

        with _meddled(database, "get", meddle, "instances") as runtime:
            if together:
                (new,) = runtime.create_many([NewInstance("door", key="k")])
            else:
                new = runtime.create("door", key="k")
            assert runtime.create("door", key="k") == new
        assert new.id != one.id
        assert other.list().instances == (new,)
