"""What can go wrong, one class for each different reaction of a caller?

Every error is a value: it has fields, survives pickling, and its text says what to do next. Unless a class says
otherwise, nothing was written when it is raised.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from uuid import UUID

    from duraflow.definition.findings import Finding
    from duraflow.results import FireResult, LiveProblem


class DuraflowError(Exception):
    """Base of all errors that Duraflow raises on purpose."""


@attrs.frozen
class InvalidArgument(DuraflowError):
    """A value given by the caller cannot be used. Nothing was read or written; correct it and call again."""

    argument: str
    reason: str

    def __str__(self) -> str:
        return f"{self.argument}: {self.reason}"


@attrs.frozen
class Misuse(DuraflowError):
    """The API was called in a way that cannot work, whatever the data. `remedy` names the call to make instead."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}"


@attrs.frozen
class NotSupported(DuraflowError):
    """Something that the operation needs was not given to this runtime or is not in this persistence."""

    operation: str
    needs: str

    def __str__(self) -> str:
        return f"{self.operation} needs {self.needs}"


@attrs.frozen
class DefinitionError(DuraflowError):
    """A workflow definition is wrong. `findings` holds everything found, errors and warnings, not only the first."""

    workflow: str
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        lines = "".join(f"\n  {finding}" for finding in self.findings if finding.severity == "error")
        return f"workflow {self.workflow!r} cannot be used:{lines}"


@attrs.frozen
class DefinitionConflict(DuraflowError):
    """One workflow name and version stands for two different contents. Give the changed one a new version number."""

    workflow: str
    version: int
    difference: str

    def __str__(self) -> str:
        return (
            f"workflow {self.workflow!r} version {self.version} is already known with other content "
            f"({self.difference}); raise its version number, or undo the change"
        )


@attrs.frozen
class DefinitionNotFound(DuraflowError):
    """The runtime has no definition for this workflow (and version). Pass it to `Runtime(workflows=[…])`.

    Attributes:
        problem: why the snapshot that the store keeps of this version cannot be used; empty if there is none.
    """

    workflow: str
    version: int | None
    known: tuple[str, ...]
    problem: str = ""

    def __str__(self) -> str:
        wanted = f"{self.workflow!r}" + (f" version {self.version}" if self.version is not None else "")
        if self.problem:
            return f"workflow {wanted} is not in `workflows=`, and its stored snapshot cannot be used: {self.problem}"
        known = ", ".join(self.known) or "none"
        return f"no definition of workflow {wanted} in this runtime (known: {known}); pass it in `workflows=`"


@attrs.frozen
class LiveCheckFailed(DuraflowError):
    """Open instances of a workflow cannot move in this runtime, and `live_check` calls that fatal. It did not start."""

    problems: tuple[LiveProblem, ...]

    def __str__(self) -> str:
        found = "; ".join(map(str, self.problems))
        return f"{found}; give the runtime what is missing, upgrade these instances, or start with live_check='warning'"


@attrs.frozen
class InstanceNotFound(DuraflowError):
    """There is no such instance in this namespace."""

    target: UUID | tuple[str, str]
    namespace: str

    def __str__(self) -> str:
        if isinstance(self.target, tuple):
            workflow, ref = self.target
            what = f"of workflow {workflow!r} with ref {ref!r}"
        else:
            what = str(self.target)
        return f"no instance {what} in namespace {self.namespace!r}; check the id, the ref and the namespace"


@attrs.frozen
class AlreadyExists(DuraflowError):
    """The ref (or id) is taken. `instance_id` is the instance that has it: fire at that one, or use another ref."""

    workflow: str
    ref: str | None
    instance_id: UUID

    def __str__(self) -> str:
        if self.ref is None:
            return (
                f"instance {self.instance_id} already exists, in this namespace or another one of the schema; "
                "ids are made once"
            )
        return f"workflow {self.workflow!r} already has an instance with ref {self.ref!r}: {self.instance_id}"


@attrs.frozen
class EventRefused(DuraflowError):
    """The event cannot be fired at this instance now. Nothing was recorded.

    Attributes:
        reason: `unknown_event` (no state of the workflow declares it), `not_accepted` (this state does not),
            `finished` (the instance is final), `external` (the transition calls the outside world: a worker's job).
        accepted: the events that the current state answers, in declared order.
    """

    instance_id: UUID
    workflow: str
    state: str
    event: str
    reason: str
    accepted: tuple[str, ...]

    def __str__(self) -> str:
        where = f"instance {self.instance_id} of {self.workflow!r} in state {self.state!r}"
        accepted = "it accepts " + (", ".join(map(repr, self.accepted)) or "no events")
        match self.reason:
            case "unknown_event":
                return f"no state of {self.workflow!r} declares the event {self.event!r}; {where}: {accepted}"
            case "finished":
                return f"{where} is finished and answers no event; {self.event!r} was refused"
            case "external":
                return (
                    f"{where}: the transition for {self.event!r} has external commands, which never run inside "
                    "`fire`; they are a worker's job, who is given the event with `send`"
                )
            case _:
                return f"{where} does not accept {self.event!r}; {accepted}"


@attrs.frozen
class Rejected(DuraflowError):
    """A guard said no; raised only by `FireResult.or_raise()`. The rejection is recorded in the history."""

    result: FireResult

    def __str__(self) -> str:
        reasons = "; ".join(str(blocker) for blocker in self.result.blockers)
        return f"instance {self.result.instance.id}: {self.result.event!r} was rejected: {reasons}"


@attrs.frozen
class IdempotencyConflict(DuraflowError):
    """The key was used before, for another request. Nothing was done; give each request a key of its own.

    Attributes:
        request: what carried the key, such as `'pay' at instance …`.
        differs: what is not as it was the first time, such as `payload.amount`.
    """

    key: str
    request: str
    differs: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"the key {self.key!r} was used before for another request: {self.request} differs in "
            f"{', '.join(self.differs)}; use one key for each request, and send a request again as it was"
        )


@attrs.frozen
class KeyTaken(DuraflowError):
    """A store says that there is a receipt for this key. Runtimes answer with what it says; callers never see this."""

    detail: str

    def __str__(self) -> str:
        return f"a receipt is there already: {self.detail}"


@attrs.frozen
class ImportRefused(DuraflowError):
    """A line of an export cannot be taken in. What came before it is written; correct the line, or what is in its way,
    and import again with on_conflict="skip".

    Attributes:
        line: its number, counted from 1.
        imported: how many instances this import has written, each of them whole.
    """

    line: int
    reason: str
    imported: int

    def __str__(self) -> str:
        return (
            f"line {self.line}: {self.reason}. Instances imported until then, which stay: {self.imported}; with "
            "on_conflict='skip' the next import passes over what is there"
        )


@attrs.frozen
class CommandFailed(DuraflowError):
    """A command returned a `Failure` and its transition has no `error_target`. Everything was rolled back."""

    instance_id: UUID
    event: str
    command: str
    code: str
    message: str

    def __str__(self) -> str:
        return (
            f"instance {self.instance_id}: command {self.command!r} of {self.event!r} failed with {self.code}: "
            f"{self.message}; give the transition an `error_target` to route failures"
        )


@attrs.frozen
class ConcurrencyConflict(DuraflowError):
    """Someone else moved the instance since it was read. Nothing was written; retry from the start."""

    instance_id: UUID
    expected_version: int

    def __str__(self) -> str:
        return f"instance {self.instance_id}: version {self.expected_version} is no longer current; read it and retry"


@attrs.frozen
class Busy(DuraflowError):
    """Durable work holds the instance. Nothing was written; wait until that work is done, then retry."""

    instance_id: UUID
    holder: str

    def __str__(self) -> str:
        return f"instance {self.instance_id} is busy: {self.holder}; retry when that is done"


@attrs.frozen
class ChainTooDeep(DuraflowError):
    """Automatic transitions went on past the limit. All was rolled back; look for a loop whose guards stay true."""

    instance_id: UUID
    limit: int
    states: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"instance {self.instance_id}: more than {self.limit} automatic moves in one step "
            f"({' -> '.join(self.states)}); break the loop or raise `max_automatic_moves`"
        )


@attrs.frozen
class LockTimeout(DuraflowError):
    """The instance stayed locked by someone else for longer than the lock timeout. Nothing was written; retry."""

    detail: str

    def __str__(self) -> str:
        return f"gave up waiting for a lock: {self.detail}; retry, or raise the lock timeout"


@attrs.frozen
class StoreUnavailable(DuraflowError):
    """The store cannot serve now: down, restarting, read-only, out of connections, or asking for a retry.

    Attributes:
        detail: what the store said.
        outcome: `not_written` (safe to retry), or `unknown` (the answer to a COMMIT was lost and could not be looked
            up: read the instance before retrying).
        retryable: whether the same call may well succeed in a moment; the runtime has then already tried again itself,
            where the transaction was its own.
    """

    detail: str
    outcome: str = "not_written"
    retryable: bool = False

    def __str__(self) -> str:
        if self.outcome == "unknown":
            return f"the store failed while committing: {self.detail}; whether it took effect is unknown: read first"
        return f"the store is not available: {self.detail}; nothing was written, retry later"


@attrs.frozen
class SchemaMismatch(DuraflowError):
    """The database schema is missing or older than this library needs. `remedy` is the command to run."""

    schema: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"schema {self.schema!r}: {self.problem}; run: {self.remedy}"
