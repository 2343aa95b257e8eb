"""Does a runtime have every handler that a definition names?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from duraflow.definition.findings import Finding
from duraflow.definition.resolve import all_transitions
from duraflow.definition.values import DelayRef, guard_refs

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow


def missing_handlers(
    workflow: Workflow,
    *,
    commands: Callable[[str], bool],
    guards: Callable[[str], bool],
    delays: Callable[[str], bool],
) -> Iterator[Finding]:
    """Names that a definition uses and a runtime's registries do not have."""
    for path, transition, state in all_transitions(workflow):
        for index, ref in enumerate(transition.commands):
            if not commands(ref.name):
                yield Finding(
                    f"{path}.commands[{index}]",
                    "unknown_command",
                    f"no command {ref.name!r} is registered; pass it in `Runtime(commands=…)`",
                    state=state,
                )
        for guard in guard_refs(transition.guard):
            if not guards(guard.name):
                yield Finding(
                    f"{path}.guard",
                    "unknown_guard",
                    f"no guard {guard.name!r} is registered; pass it in `Runtime(guards=…)`",
                    state=state,
                )
        if isinstance(transition.after, DelayRef) and not delays(transition.after.name):
            yield Finding(
                f"{path}.after",
                "unknown_delay",
                f"no delay function {transition.after.name!r} is registered; pass it in `Runtime(delays=…)`",
                state=state,
            )
