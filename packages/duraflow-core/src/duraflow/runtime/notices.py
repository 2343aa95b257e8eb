"""How are observers told, after the commit, without being able to do harm?"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import attrs

from duraflow.instance import Change
from duraflow.results import Notice

if TYPE_CHECKING:
    from duraflow.machine.step import Step
    from duraflow.runtime.engine import Engine
    from duraflow.writes import Writes

_log = logging.getLogger("duraflow.observers")

Observer = Callable[[Notice], Any]
OnObserverError = Callable[[Exception, Notice], Any]


def freeze(value: Any) -> Any:
    """The same data, read-only all the way down: mappings become read-only views of copies, lists become tuples."""
    if isinstance(value, Mapping):
        return MappingProxyType({key: freeze(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return value


def notices_of(step: Step, writes: Writes) -> list[Notice]:
    """One notice for each state that the step entered, in order."""
    found = []
    for after, index in step.snapshots or ():
        entry = writes.entries[index]
        if entry.entered or entry.kind == "cancelled":
            last = index == len(writes.entries) - 1
            snapshot = writes.after if last else after
            found.append(
                Notice(
                    attrs.evolve(
                        snapshot, context=freeze(snapshot.context), metadata=freeze(snapshot.metadata)
                    ),
                    attrs.evolve(
                        entry,
                        payload=freeze(entry.payload),
                        trigger=freeze(entry.trigger),
                        change=Change(freeze(entry.change.set), entry.change.unset),
                        commands=tuple(attrs.evolve(row, data=freeze(row.data)) for row in entry.commands),
                    ),
                )
            )
    return found


async def tell(engine: Engine, notices: Sequence[Notice]) -> None:
    """Tell every observer of every notice, in order. Whatever they raise is contained."""
    for notice in notices:
        for observer in engine.observers:
            try:
                answer = observer(notice)
                if inspect.isawaitable(answer):
                    await engine.resolve(answer, "an observer")
            except Exception as error:  # noqa: BLE001  # observers must not reach the caller
                await _contain(engine, error, notice)


async def _contain(engine: Engine, error: Exception, notice: Notice) -> None:
    if engine.on_observer_error is None:
        _log.exception("an observer failed for instance %s, seq %s", notice.instance.id, notice.entry.seq)
        return
    try:
        answer = engine.on_observer_error(error, notice)
        if inspect.isawaitable(answer):
            await engine.resolve(answer, "on_observer_error")
    except Exception:  # noqa: BLE001  # nor may a failing error handler
        _log.exception(
            "on_observer_error failed for instance %s, seq %s", notice.instance.id, notice.entry.seq
        )
