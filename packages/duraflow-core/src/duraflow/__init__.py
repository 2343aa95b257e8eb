"""Durable state-machine workflows: define states and transitions, fire events on instances, lose nothing.

The core is pure: everything outside is reached through ports (`duraflow.ports`). `duraflow.memory` keeps instances in
memory, `duraflow_pg` in PostgreSQL, `duraflow.testing` has what tests and adapter authors need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from duraflow.clock import SystemClock
from duraflow.codec import Codec, Limits
from duraflow.definition.findings import Finding
from duraflow.definition.payloads import PayloadType
from duraflow.definition.values import (
    CommandRef,
    DelayRef,
    GuardRef,
    State,
    Transition,
    Wildcard,
    all_of,
    any_of,
    not_,
)
from duraflow.definition.workflow import Workflow
from duraflow.errors import (
    AlreadyExists,
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionConflict,
    DefinitionError,
    DefinitionNotFound,
    DuraflowError,
    EventRefused,
    IdempotencyConflict,
    ImportRefused,
    InstanceNotFound,
    InvalidArgument,
    LiveCheckFailed,
    LockTimeout,
    Misuse,
    NotSupported,
    Rejected,
    SchemaMismatch,
    StoreUnavailable,
)
from duraflow.fold import Folded, fold
from duraflow.handlers import command, delay, guard
from duraflow.instance import (
    ArmedTimer,
    Blocker,
    Change,
    CommandResult,
    Continuation,
    HistoryEntry,
    Instance,
)
from duraflow.messages import DispatchResult, Message, MessageHandler, MessageRetryPolicy, ParkedMessage
from duraflow.ports import FeedEntry, Persistence
from duraflow.results import (
    Explanation,
    Failure,
    FireResult,
    Firing,
    Health,
    LiveProblem,
    NewInstance,
    Notice,
    Page,
    Parked,
    StateCount,
    Success,
    SweepResult,
    Unfired,
    VersionInfo,
)
from duraflow.runtime.commands import CommandContext
from duraflow.runtime.options import StoreRetryPolicy, TimerRetryPolicy
from duraflow.runtime.work import UnitResources

if TYPE_CHECKING:
    from duraflow.diagnosis import Checkup, Diagnosis, DoctorReport
    from duraflow.diagram import to_dot, to_markdown, to_mermaid, transition_table
    from duraflow.differences import InstanceDiff
    from duraflow.reasons import WaitingTimer, Why
    from duraflow.rerun import RerunDifference, RerunGroup, RerunOutcome, RerunReport, RerunUnknown
    from duraflow.retention import ImportResult, PruneResult, Skipped
    from duraflow.runtime.aio import (
        AsyncBoundRuntime,
        AsyncChanges,
        AsyncHandle,
        AsyncLockedRuntime,
        AsyncRuntime,
    )
    from duraflow.runtime.blocking import BoundRuntime, Changes, Handle, LockedRuntime, Runtime
    from duraflow.upgrades import NotUpgraded, UpgradePlan, UpgradeReport, UpgradeRow

__version__ = "0.1.0"

__all__ = [
    "AlreadyExists",
    "ArmedTimer",
    "AsyncBoundRuntime",
    "AsyncChanges",
    "AsyncHandle",
    "AsyncLockedRuntime",
    "AsyncRuntime",
    "Blocker",
    "BoundRuntime",
    "Busy",
    "ChainTooDeep",
    "Change",
    "Changes",
    "Checkup",
    "Codec",
    "CommandContext",
    "CommandFailed",
    "CommandRef",
    "CommandResult",
    "ConcurrencyConflict",
    "Continuation",
    "DefinitionConflict",
    "DefinitionError",
    "DefinitionNotFound",
    "DelayRef",
    "Diagnosis",
    "DispatchResult",
    "DoctorReport",
    "DuraflowError",
    "EventRefused",
    "Explanation",
    "Failure",
    "FeedEntry",
    "Finding",
    "FireResult",
    "Firing",
    "Folded",
    "GuardRef",
    "Handle",
    "Health",
    "HistoryEntry",
    "IdempotencyConflict",
    "ImportRefused",
    "ImportResult",
    "Instance",
    "InstanceDiff",
    "InstanceNotFound",
    "InvalidArgument",
    "Limits",
    "LiveCheckFailed",
    "LiveProblem",
    "LockTimeout",
    "LockedRuntime",
    "Message",
    "MessageHandler",
    "MessageRetryPolicy",
    "Misuse",
    "NewInstance",
    "NotSupported",
    "NotUpgraded",
    "Notice",
    "Page",
    "Parked",
    "ParkedMessage",
    "PayloadType",
    "Persistence",
    "PruneResult",
    "Rejected",
    "RerunDifference",
    "RerunGroup",
    "RerunOutcome",
    "RerunReport",
    "RerunUnknown",
    "Runtime",
    "SchemaMismatch",
    "Skipped",
    "State",
    "StateCount",
    "StoreRetryPolicy",
    "StoreUnavailable",
    "Success",
    "SweepResult",
    "SystemClock",
    "TimerRetryPolicy",
    "Transition",
    "Unfired",
    "UnitResources",
    "UpgradePlan",
    "UpgradeReport",
    "UpgradeRow",
    "VersionInfo",
    "WaitingTimer",
    "Why",
    "Wildcard",
    "Workflow",
    "all_of",
    "any_of",
    "command",
    "delay",
    "fold",
    "guard",
    "not_",
    "to_dot",
    "to_markdown",
    "to_mermaid",
    "transition_table",
]

# Half of what there is, and nobody needs all of it: an asyncio application not the blocking runtime, a service not the
# operator's tools. Each of these is imported when it is first asked for.
_LATER = {
    "AsyncBoundRuntime": "duraflow.runtime.aio",
    "AsyncChanges": "duraflow.runtime.aio",
    "AsyncHandle": "duraflow.runtime.aio",
    "AsyncLockedRuntime": "duraflow.runtime.aio",
    "AsyncRuntime": "duraflow.runtime.aio",
    "BoundRuntime": "duraflow.runtime.blocking",
    "Changes": "duraflow.runtime.blocking",
    "Checkup": "duraflow.diagnosis",
    "Diagnosis": "duraflow.diagnosis",
    "DoctorReport": "duraflow.diagnosis",
    "Handle": "duraflow.runtime.blocking",
    "ImportResult": "duraflow.retention",
    "InstanceDiff": "duraflow.differences",
    "LockedRuntime": "duraflow.runtime.blocking",
    "NotUpgraded": "duraflow.upgrades",
    "PruneResult": "duraflow.retention",
    "RerunDifference": "duraflow.rerun",
    "RerunGroup": "duraflow.rerun",
    "RerunOutcome": "duraflow.rerun",
    "RerunReport": "duraflow.rerun",
    "RerunUnknown": "duraflow.rerun",
    "Runtime": "duraflow.runtime.blocking",
    "Skipped": "duraflow.retention",
    "UpgradePlan": "duraflow.upgrades",
    "UpgradeReport": "duraflow.upgrades",
    "UpgradeRow": "duraflow.upgrades",
    "WaitingTimer": "duraflow.reasons",
    "Why": "duraflow.reasons",
    "to_dot": "duraflow.diagram",
    "to_markdown": "duraflow.diagram",
    "to_mermaid": "duraflow.diagram",
    "transition_table": "duraflow.diagram",
}


def __getattr__(name: str) -> Any:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(module), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
