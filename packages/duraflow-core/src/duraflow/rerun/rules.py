"""Which guards and delays are asked in a rerun, and what if one cannot answer?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.values import DelayRef, guard_refs
from duraflow.definition.workflow import Workflow
from duraflow.handlers import Asked, HandlerTable, handler_table
from duraflow.machine.step import Rules
from duraflow.rerun.verdicts import Unanswerable

_NO_ID = UUID(int=0)


def rules_for(workflow: Workflow, rules: Rules, given: HandlerTable) -> Rules:
    """The rules of a runtime for a rerun: no id is used up, and a guard or delay that cannot answer says so.

    Args:
        given: guards and delays that go before those that the definition carries, and before those of the runtime.
    """
    carried = handler_table((workflow,), commands=(), guards=(), delays=())
    guards = {**rules.handlers.guards, **carried.guards, **given.guards}
    delays = {**rules.handlers.delays, **carried.delays, **given.delays}
    used_guards, used_delays = _used(workflow)
    return attrs.evolve(
        rules,
        ids=lambda: _NO_ID,
        handlers=HandlerTable(
            {},
            {name: _asking("guard", name, guards.get(name)) for name in used_guards},
            {name: _asking("delay", name, delays.get(name)) for name in used_delays},
        ),
    )


def _used(workflow: Workflow) -> tuple[set[str], set[str]]:
    guards: set[str] = set()
    delays: set[str] = set()
    for state in workflow.resolved.values():
        for candidate in (*state.automatic, *(c for found in state.events.values() for c in found)):
            guards.update(ref.name for ref in guard_refs(candidate.guard))
            if isinstance(candidate.transition.after, DelayRef):
                delays.add(candidate.transition.after.name)
    return guards, delays


def _asking(kind: str, name: str, handler: Callable[..., Any] | None) -> Callable[..., Any]:
    def ask(asked: Asked, *more: Any) -> Any:
        if handler is None:
            raise Unanswerable(kind, name, f"the {kind} {name!r} is not registered")
        try:
            return handler(asked, *more)
        except Exception as error:
            raise Unanswerable(
                kind, name, f"the {kind} {name!r} raised {type(error).__name__}: {error}"
            ) from error

    return ask
