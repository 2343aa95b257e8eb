"""How do instances come into being? `create` and `create_many`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import attrs

from duraflow.definition.checks.names import name_problem
from duraflow.definition.values import EMPTY
from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.instance import Instance
from duraflow.machine.chain import advance
from duraflow.machine.step import Step
from duraflow.results import NewInstance
from duraflow.runtime.commands import drive_free, drive_machine
from duraflow.runtime.engine import Engine
from duraflow.runtime.notices import notices_of
from duraflow.runtime.work import Work
from duraflow.writes import Applied, Failed, Writes

MAX_REF_BYTES = 256


@attrs.frozen
class Checked:
    """A new instance whose parts are known to be usable.

    Attributes:
        context: the initial state's with the caller's over it, as the codec's text: encoding it is the check.
    """

    workflow: Workflow
    context: str
    metadata: Mapping[str, Any]
    ref: str | None
    id: UUID
    trigger: Mapping[str, Any]
    subject: Any = None

    @property
    def quiet(self) -> bool:
        """Whether its creation can run no command."""
        return self.workflow.resolved[self.workflow.initial].quiet


def check(engine: Engine, new: NewInstance) -> Checked:
    """Check a new instance before any I/O.

    Raises:
        DefinitionNotFound: the runtime does not have the workflow.
        InvalidArgument: context, metadata, ref or id cannot be stored.
    """
    name = new.workflow.name if isinstance(new.workflow, Workflow) else new.workflow
    workflow = engine.definitions.latest(str(getattr(name, "value", name)))
    for part, value in (("context", new.context), ("metadata", new.metadata)):
        if not isinstance(value, Mapping):
            raise InvalidArgument(part, f"{value!r} is not a mapping from names to JSON values")
    context = engine.codec.encode(
        {**workflow.resolved[workflow.initial].context, **new.context}, path="context"
    )
    metadata: Mapping[str, Any] = EMPTY
    if new.metadata:
        metadata = engine.codec.copy(dict(new.metadata), path="metadata")  # type: ignore[assignment]  # an object
    if new.ref is not None:
        _check_ref(new.ref)
    if new.id is not None and not isinstance(new.id, UUID):
        raise InvalidArgument("id", f"{new.id!r} is not a UUID")
    return Checked(
        workflow,
        context,
        metadata,
        new.ref,
        new.id or engine.rules.ids(),
        engine.trigger(new.trigger),
        new.subject,
    )


def _check_ref(ref: object) -> None:
    problem = name_problem(ref) if not isinstance(ref, str) or not ref.startswith("$") else None
    if problem is not None and problem[0] != "long_name":
        raise InvalidArgument("ref", problem[1])
    if len(str(ref).encode()) > MAX_REF_BYTES:
        raise InvalidArgument("ref", f"it has more than {MAX_REF_BYTES} bytes")


def begin(engine: Engine, checked: Checked, now: datetime) -> Step:
    """The step that creates an instance, up to where automatic transitions begin."""
    state = checked.workflow.resolved[checked.workflow.initial]
    blank = Instance(
        id=checked.id,
        namespace=engine.persistence.namespace,
        workflow=checked.workflow.name,
        definition_version=checked.workflow.version,
        state=state.name,
        version=0,
        created_at=now,
        updated_at=now,
        entered_at=now,
        metadata=checked.metadata,
        ref=checked.ref,
        root_id=checked.id,
    )
    step = Step(
        engine.rules, checked.workflow, blank, now=now, new=True, trigger=checked.trigger,
        snapshots=bool(engine.observers),
    )  # fmt: skip
    step.create(checked.context)
    return step


async def create(engine: Engine, work: Work | None, new: NewInstance) -> Instance:
    """See `Runtime.create`."""
    engine.check_usable(work)
    checked = check(engine, new)
    if checked.quiet and work is None:
        step, writes = await _quietly(engine, checked)
        (answer,) = await engine.writer.apply(None, (writes,))
        if isinstance(answer, Applied):
            await engine.observers.tell(notices_of(step, writes))
            return writes.after
        if isinstance(answer, Failed) and not getattr(answer.error, "retryable", False):
            raise answer.error
    return await engine.in_work(work, lambda own: _create_in(engine, own, checked), eager=not checked.quiet)


async def _quietly(engine: Engine, checked: Checked) -> tuple[Step, Writes]:
    step = begin(engine, checked, await store_now(engine, None))
    drive_free(advance(step, None, "$created", None, engine.rules))
    return step, step.finish()


async def store_now(engine: Engine, work: Work | None) -> datetime:
    """The time of a creation, which has no row to read it with."""
    given = engine.now()
    if given is not None:
        return given
    now = engine.persistence.instances.now
    return await (engine.retrying(now) if work is None else now(work.unit))


async def _create_in(engine: Engine, work: Work, checked: Checked) -> Instance:
    step = begin(engine, checked, await store_now(engine, work))
    machine = advance(step, None, "$created", None, engine.rules)
    await drive_machine(engine, work, step, machine, checked.subject)
    writes = step.finish()
    (answer,) = await engine.writer.apply(work.unit, (writes,), last=work.ending)
    if isinstance(answer, Failed):
        raise answer.error
    work.notices += notices_of(step, writes)
    return writes.after


async def create_many(engine: Engine, work: Work | None, new: Sequence[NewInstance]) -> tuple[Instance, ...]:
    """All of them or none, in one transaction."""
    engine.check_usable(work)
    checked = [check(engine, one) for one in new]
    _refuse_twins(checked)
    if not checked:
        return ()
    loud = not all(one.quiet for one in checked)
    return await engine.in_work(work, lambda own: _create_all(engine, own, checked), eager=loud)


def _refuse_twins(checked: Sequence[Checked]) -> None:
    refs: set[tuple[str, str]] = set()
    ids: dict[UUID, int] = {}
    for index, one in enumerate(checked):
        if one.ref is not None:
            if (one.workflow.name, one.ref) in refs:
                raise InvalidArgument(f"instances[{index}].ref", f"{one.ref!r} is given twice")
            refs.add((one.workflow.name, one.ref))
        if ids.setdefault(one.id, index) != index:
            raise InvalidArgument(f"instances[{index}].id", f"{one.id} is given twice")


async def _create_all(engine: Engine, work: Work, checked: Sequence[Checked]) -> tuple[Instance, ...]:
    now = await store_now(engine, work)
    steps = []
    for one in checked:
        step = begin(engine, one, now)
        machine = advance(step, None, "$created", None, engine.rules)
        if one.quiet:
            drive_free(machine)
        else:
            await drive_machine(engine, work, step, machine, one.subject)
        steps.append((step, step.finish()))
    answers = await engine.writer.apply(work.unit, [writes for _, writes in steps], last=work.ending)
    for (step, writes), answer in zip(steps, answers, strict=True):
        if isinstance(answer, Failed):
            raise answer.error
        work.notices += notices_of(step, writes)
    return tuple(writes.after for _, writes in steps)
