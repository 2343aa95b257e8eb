"""What is wrong, or doubtful, in a definition, and where?"""

from __future__ import annotations

from typing import Literal

import attrs

ALLOWABLE = frozenset(
    {
        # found when a definition is made
        "unreachable_state",
        "no_way_to_final",
        "only_wildcards_leave",
        "final_by_inference",
        # found by `duraflow.verify`
        "automatic_loop",
        "dead_error_target",
        "dead_timer",
        "dead_transition",
        "nothing_wakes",
        "trap_after_failure",
        "unaccepted_event",
    }
)
"""Codes of warnings that a state may declare to be meant."""

Severity = Literal["error", "warning"]


@attrs.frozen
class Finding:
    """One thing found in a definition.

    Attributes:
        path: where, as in the constructor: `states[created].transitions[2].guard`.
        code: a stable name for programs, such as `unknown_target`.
        message: what is wrong and what to do.
        severity: an `error` makes the definition unusable; a `warning` is logged once, and can be allowed by
            the state it concerns with `State(…, allow=["code"])`.
        state: the state it concerns, if it concerns one.
    """

    path: str
    code: str
    message: str
    severity: Severity = "error"
    state: str | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message} [{self.code}]"
