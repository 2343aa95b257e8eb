"""Do the transitions of a state, and the states among themselves, go together?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta

from duraflow.definition.findings import Finding
from duraflow.definition.resolve import Candidate, ResolvedState
from duraflow.definition.values import DelayRef


def find_shadowed(state: ResolvedState) -> Iterator[Finding]:
    """An unguarded candidate hides those after it. A state's own may hide a wildcard: that is overriding."""
    rows: list[tuple[str, tuple[Candidate, ...]]] = [*state.events.items()]
    rows.append(("$auto", tuple(c for c in state.automatic if not c.internal)))
    for event, candidates in rows:
        for wildcard in (False, True):
            group = [candidate for candidate in candidates if candidate.wildcard is wildcard]
            earlier = next((candidate for candidate in group if candidate.guard is None), None)
            if earlier is not None:
                for later in group[group.index(earlier) + 1 :]:
                    yield Finding(
                        later.path,
                        "shadowed",
                        f"in state {state.name!r} it is never tried for {event!r}: {earlier.path} comes "
                        "first and has no guard; guard that one, or put it last",
                        state=state.name,
                    )


def find_clashing_timers(state: ResolvedState) -> Iterator[Finding]:
    """Two timers under one event."""
    for event, timer in state.timers.items():
        for candidate in timer.candidates[1:]:
            if candidate.transition.after != timer.after:
                yield Finding(
                    f"{candidate.path}.after",
                    "two_timers",
                    f"in state {state.name!r} the event {event!r} already has a timer of "
                    f"{_delay(timer.after)}; use another event name for the second one",
                    state=state.name,
                )
            elif candidate.transition.on_rejected != timer.candidates[0].transition.on_rejected:
                yield Finding(
                    f"{candidate.path}.on_rejected",
                    "two_timers",
                    f"the candidates of one timer ({event!r}) must agree on `on_rejected`",
                    state=state.name,
                )


def _delay(after: timedelta | DelayRef) -> str:
    return repr(after.name) if isinstance(after, DelayRef) else str(after)


def find_automatic_cycles(resolved: Mapping[str, ResolvedState]) -> Iterator[Finding]:
    """States whose first automatic move has no guard lead on for ever if they lead back to each other."""
    onward: dict[str, Candidate] = {}
    for state in resolved.values():
        leaving = [candidate for candidate in state.automatic if not candidate.internal]
        if leaving and leaving[0].guard is None and leaving[0].target in resolved:
            onward[state.name] = leaving[0]
    reported: set[str] = set()
    for start in onward:
        path: list[str] = []
        name: str | None = start
        while name in onward and name not in path and name not in reported:
            path.append(name)
            name = onward[name].target
        if name in path:
            cycle = path[path.index(name) :]
            reported.update(cycle)
            yield Finding(
                onward[cycle[0]].path,
                "automatic_cycle",
                "automatic transitions without guards lead round for ever: "
                f"{' -> '.join([*cycle, cycle[0]])}",
                state=cycle[0],
            )
