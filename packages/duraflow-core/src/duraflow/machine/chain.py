"""Which hops does a step take, one after the other? The machine itself.

`advance` is a generator: it yields a `Run` whenever commands must run and is sent what `Ran`; who drives it does all
the waiting. Without commands it never yields. It can stop before any automatic hop.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from duraflow.definition.resolve import Candidate
from duraflow.machine.guards import Memo, choose
from duraflow.machine.requests import NOTHING_RAN, Ran, Run
from duraflow.machine.step import Rules, Step

AUTO = "$auto"

Machine = Generator[Run, Ran, None]


def advance(step: Step, first: Candidate | None, event: str, stored_payload: Any, rules: Rules) -> Machine:
    """Take a transition, then follow automatic ones until the chain rests or must stop for a worker.

    Args:
        first: the chosen transition; None to begin with the automatic ones (after a creation).
    """
    if first is not None:
        transition_id = rules.ids()
        ran = NOTHING_RAN
        if first.commands:
            ran = yield Run(first, event, transition_id)
        step.move(first, event, stored_payload, transition_id, ran)
        if first.internal and ran.failure is None:
            return
    while (yield from _automatic_hop(step, event, rules)):
        pass


def _automatic_hop(step: Step, event: str, rules: Rules) -> Generator[Run, Ran, bool]:
    """Try the automatic transitions of the state in order; whether one of them led on."""
    candidates = step.state.automatic
    if not candidates:
        return False
    memo: Memo = {}
    asked = step.asked()
    for candidate in candidates:
        if choose((candidate,), asked, rules.handlers.guards, memo).candidate is None:
            continue
        if candidate.external:
            step.stop_before(candidate, event)
            return False
        step.count_hop()
        transition_id = rules.ids()
        ran = NOTHING_RAN
        if candidate.commands:
            ran = yield Run(candidate, AUTO, transition_id)
            memo, asked = {}, step.asked()
        step.move(candidate, AUTO, None, transition_id, ran)
        if not candidate.internal or ran.failure is not None:
            return True
    return False
