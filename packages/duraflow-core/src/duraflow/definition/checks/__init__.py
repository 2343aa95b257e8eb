"""Is a definition right? Every rule about definitions is in this package, one function for each question.

A check yields findings and never raises, also on values that make no sense, so that one construction reports
all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from duraflow.definition.checks.names import listed
from duraflow.definition.checks.parts import check_events, check_groups, check_identity, check_states
from duraflow.definition.checks.together import find_automatic_cycles, find_clashing_timers, find_shadowed
from duraflow.definition.checks.transitions import check_transition, check_wildcards
from duraflow.definition.checks.warnings import find_warnings
from duraflow.definition.findings import Finding
from duraflow.definition.resolve import ResolvedState, all_transitions

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow

Resolved = Mapping[str, ResolvedState]


def check_definition(workflow: Workflow, resolved: Resolved) -> tuple[Finding, ...]:
    """Everything found, errors first, each kind in the order of the definition."""
    found = [*_errors(workflow, resolved)]
    if not found:
        allowed = {state.name: frozenset(state.allow) for state in workflow.states}
        found = [w for w in find_warnings(workflow, resolved) if w.code not in allowed.get(w.state or "", ())]
    return tuple(found)


def _errors(workflow: Workflow, resolved: Resolved) -> Iterator[Finding]:
    yield from check_identity(workflow)
    yield from check_states(workflow)
    yield from check_groups(workflow)
    known = frozenset(resolved)
    if workflow.initial not in known:
        yield Finding(
            "initial", "unknown_initial", f"{workflow.initial!r} is not a state; known: {listed(known)}"
        )
    for path, found, place in all_transitions(workflow):
        yield from check_transition(path, found, place, known)
    yield from check_wildcards(workflow, known)
    yield from check_events(workflow)
    # Two wildcards can be at odds in every state; once is enough.
    told: set[tuple[str, str]] = set()
    for state in resolved.values():
        for finding in [*find_shadowed(state), *find_clashing_timers(state)]:
            if (finding.path, finding.code) not in told:
                told.add((finding.path, finding.code))
                yield finding
    yield from find_automatic_cycles(resolved)
