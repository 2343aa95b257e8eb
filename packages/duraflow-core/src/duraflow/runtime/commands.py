"""How does a command run inside a step, and what does it see?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.checks.names import name_problem
from duraflow.definition.values import CommandRef, to_name
from duraflow.errors import InvalidArgument, Misuse, StoreUnavailable
from duraflow.instance import CommandResult, Instance
from duraflow.machine.chain import Machine
from duraflow.machine.requests import Ran, Run
from duraflow.machine.step import Step
from duraflow.results import Failure, Success
from duraflow.runtime.ambient import running
from duraflow.runtime.drive import resolved
from duraflow.runtime.engine import Engine
from duraflow.runtime.work import Work
from duraflow.texts import clean


@attrs.frozen(eq=False)
class CommandContext:
    """What a command receives.

    Attributes:
        payload: the event's payload, as its declared type; the one that began the chain, also in automatic hops.
        subject: whatever object the caller gave to `fire`.
        context: the instance's data; write to it in place.
        metadata: the instance's labels.
        command: the reference in the definition, with its own `metadata`.
        trigger: who or what fired it, as the caller said.
        now: the one time of this step (aware, UTC).
        event: the event; `$auto` in an automatic hop.
        to_state: where the transition leads if all goes well; the state itself for an internal one.
        transition_id: shared by all commands of this hop.
        instance: the row as it was before the step.
    """

    payload: Any
    subject: Any
    context: dict[str, Any]
    metadata: Mapping[str, Any]
    command: CommandRef
    trigger: Mapping[str, Any]
    now: datetime
    event: str
    from_state: str
    to_state: str
    transition_id: UUID
    instance: Instance
    _engine: Engine
    _work: Work
    _step: Step

    def emit(self, topic: str, payload: Any = None) -> None:
        """Leave a message in the outbox, which is written with the move, or not at all, and delivered after it.

        Args:
            payload: JSON, copied now; what is changed in it afterwards is not in the message.

        Raises:
            InvalidArgument: the topic cannot be a name, or the payload cannot be stored.
        """
        name = to_name(topic)
        problem = name_problem(name)
        if problem is not None:
            raise InvalidArgument("topic", problem[1])
        copied = None if payload is None else self._engine.codec.copy(payload, path="payload")
        self._step.emit(name, copied)

    @property
    def connection(self) -> Any:
        """The open connection of this transaction: what is written on it commits with the move.

        Raises:
            NotSupported: the store has none (in-memory); use `resource`.
        """
        return self._work.unit.connection

    def resource(self, kind: Any) -> Any:
        """The resource of this kind for this unit of work; see `Runtime(resources=…)`."""
        return self._work.resource(kind)

    @property
    def runtime(self) -> Any:
        """The runtime, bound to this transaction, to act on *other* instances."""
        return self._engine.bind(self._work)


async def drive_machine(engine: Engine, work: Work, step: Step, machine: Machine, subject: Any) -> None:
    """Run a step to its end, running commands whenever the machine asks for them."""
    instance_id = step.instance.id
    work.stepping.add(instance_id)
    try:
        request = next(machine)
        while True:
            request = machine.send(await _run(engine, work, step, request, subject))
    except StopIteration:
        return
    finally:
        work.stepping.discard(instance_id)


def drive_free(machine: Machine) -> None:
    """Run a step that cannot run a command."""
    for request in machine:
        raise AssertionError(f"a command-free step asks to run {request.candidate.commands}")


async def _run(engine: Engine, work: Work, step: Step, request: Run, subject: Any) -> Ran:
    step.context.watch()
    results: list[CommandResult] = []
    for ref in request.candidate.commands:
        context = CommandContext(
            payload=step.payload,
            subject=subject,
            context=step.context.data,
            metadata=step.instance.metadata,
            command=ref,
            trigger=step.trigger,
            now=step.now,
            event=request.event,
            from_state=step.state.name,
            to_state=request.candidate.target or step.state.name,
            transition_id=request.transition_id,
            instance=step.instance,
            engine=engine,
            work=work,
            step=step,
        )
        if ref.best_effort:
            results.append(await _best_effort(engine, work, step, ref, context))
            continue
        result = await _call(engine, ref, context)
        results.append(result)
        if result.status == "failure":
            return Ran(tuple(results), result)
    return Ran(tuple(results))


async def _best_effort(
    engine: Engine, work: Work, step: Step, ref: CommandRef, context: CommandContext
) -> CommandResult:
    earlier, emitted = step.context.rewatch(), step.emitted
    try:
        async with work.savepoint():
            return await _call(engine, ref, context)
    except (StoreUnavailable, Misuse):
        raise
    except Exception as error:  # noqa: BLE001  # whatever it raises becomes its recorded result
        step.context.restore()
        step.unemit(emitted)
        return CommandResult(ref.name, "error", code=type(error).__name__, message=clean(str(error)))
    finally:
        step.context.watch_from(earlier)


async def _call(engine: Engine, ref: CommandRef, context: CommandContext) -> CommandResult:
    token = running.set(engine)
    try:
        answer = await resolved(
            engine.rules.handlers.commands[ref.name](context),
            f"command {ref.name!r}",
            suspends=engine.waits.suspends,
        )
    except Exception as error:
        error.add_note(f"raised by the command {ref.name!r} of instance {context.instance.id}")
        raise
    finally:
        running.reset(token)
    if answer is None:
        return CommandResult(ref.name)
    if isinstance(answer, Success):
        data = (
            None
            if answer.data is None
            else engine.codec.copy(answer.data, path=f"result of command {ref.name!r}")
        )
        return CommandResult(ref.name, data=data)
    if isinstance(answer, Failure):
        return CommandResult(ref.name, "failure", code=clean(answer.code), message=clean(answer.message))
    raise InvalidArgument(
        f"command {ref.name!r}",
        f"it returned {answer!r}; a command returns None, Success(data) or Failure(code)",
    )
