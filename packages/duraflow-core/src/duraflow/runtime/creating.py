"""How do instances come into being? `create` and `create_many`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import attrs

from duraflow.definition.checks.names import name_problem
from duraflow.definition.values import EMPTY
from duraflow.definition.workflow import Workflow
from duraflow.errors import AlreadyExists, InvalidArgument, KeyTaken, Misuse
from duraflow.instance import Instance
from duraflow.machine.chain import advance
from duraflow.machine.step import Step
from duraflow.results import NewInstance
from duraflow.runtime.commands import drive_free, drive_machine
from duraflow.runtime.engine import Engine
from duraflow.runtime.keys import Keyed, keyed, receipt_of, short_hash
from duraflow.runtime.notices import notices_of
from duraflow.runtime.receipts import answer_to_creation
from duraflow.runtime.work import Work
from duraflow.writes import Applied, Failed, Receipt, Writes

T = TypeVar("T")

MAX_REF_BYTES = 256


@attrs.frozen
class Checked:
    """A new instance whose parts are known to be usable.

    Attributes:
        context: the initial state's with the caller's over it, as the codec's text: encoding it is the check.
        parts: of one with a key, what the caller asked for, by part, in short.
    """

    workflow: Workflow
    context: str
    metadata: Mapping[str, Any]
    ref: str | None
    id: UUID
    trigger: Mapping[str, Any]
    subject: Any = None
    keyed: Keyed | None = None
    parts: Mapping[str, str] = EMPTY

    @property
    def pair(self) -> tuple[str, str]:
        """Where its key is unique; only of one that has a key."""
        assert self.keyed is not None
        return self.workflow.name, self.keyed.key

    @property
    def quiet(self) -> bool:
        """Whether its creation can run no command."""
        return self.workflow.resolved[self.workflow.initial].quiet


def check(engine: Engine, new: NewInstance) -> Checked:
    """Check a new instance before any I/O.

    Raises:
        DefinitionNotFound: the runtime does not have the workflow.
        InvalidArgument: context, metadata, ref, id or key cannot be stored.
        NotSupported: it has a key, and the persistence keeps no receipts.
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
        request := keyed(engine, new.key, new.fingerprint, new.keep_for),
        EMPTY if request is None else _parts(engine, new),
    )


def _parts(engine: Engine, new: NewInstance) -> Mapping[str, str]:
    """What tells one request from another: as asked for, whatever the definition makes of it."""
    parts = {"context": short_hash(engine, dict(new.context), "context")}
    if new.metadata:
        parts["metadata"] = short_hash(engine, dict(new.metadata), "metadata")
    if new.ref is not None:
        parts["ref"] = new.ref
    if new.id is not None:
        parts["id"] = str(new.id)
    return parts


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
            if isinstance(answer.error, (AlreadyExists, KeyTaken)):
                # Whether a request with a key was done before is asked only now: it meets its receipt, or its ref.
                done = await _done_before(engine, None, checked)
                if done is not None:
                    return done
            if not isinstance(answer.error, KeyTaken):
                raise answer.error
    use_case = partial(_create_in, engine, checked=checked)
    return await _again_if_taken(engine, work, use_case, (checked,), eager=not checked.quiet)


async def _again_if_taken(
    engine: Engine,
    work: Work | None,
    use_case: Callable[[Work], Coroutine[Any, Any, T]],
    checked: Sequence[Checked],
    *,
    eager: bool,
) -> T:
    """Again from the start when someone who did not wait has used a key meanwhile: then its receipt is there.

    If that one has a ref too, then it is the ref that is met, so it is looked whether there are more receipts now.
    """
    pairs = [one.pair for one in checked if one.keyed is not None]
    unit = work.unit if work is not None else None
    known = 0
    for _ in pairs:  # each can be taken once
        try:
            return await engine.in_work(work, use_case, eager=eager)
        except KeyTaken:
            continue
        except AlreadyExists:
            found = len(await engine.receipts.find_creations(unit, pairs))
            if found == known:
                raise
            known = found
    return await engine.in_work(work, use_case, eager=eager)


async def _done_before(engine: Engine, work: Work | None, checked: Checked) -> Instance | None:
    """What came of an earlier creation under the same key; None if there was none, or it has no key.

    In a transaction, whoever creates under it at the same time is waited for, and others wait for this one.
    """
    if checked.keyed is None:
        return None
    receipts = engine.receipts

    async def find() -> Mapping[tuple[str, str], Receipt]:
        unit = None if work is None else work.unit
        return await receipts.find_creations(unit, [checked.pair], hold=work is not None)

    for receipt in (await (engine.retrying(find) if work is None else find())).values():
        unit = None if work is None else work.unit
        return await answer_to_creation(engine, unit, checked.keyed, checked.parts, receipt)
    return None


async def _quietly(engine: Engine, checked: Checked) -> tuple[Step, Writes]:
    step = begin(engine, checked, await store_now(engine, None))
    drive_free(advance(step, None, "$created", None, engine.rules))
    return step, _finish(step, checked)


def _finish(step: Step, checked: Checked) -> Writes:
    """What a creation writes, the receipt included."""
    writes = step.finish()
    if checked.keyed is None:
        return writes
    return attrs.evolve(writes, receipt=receipt_of(checked.keyed, writes, step.now, creation=checked.parts))


async def store_now(engine: Engine, work: Work | None) -> datetime:
    """The time of a creation, which has no row to read it with."""
    given = engine.now()
    if given is not None:
        return given
    now = engine.persistence.instances.now
    return await (engine.retrying(now) if work is None else now(work.unit))


async def _create_in(engine: Engine, work: Work, *, checked: Checked) -> Instance:
    with _creating(work, checked):
        done = await _done_before(engine, work, checked)
        if done is not None:
            return done
        step = begin(engine, checked, await store_now(engine, work))
        machine = advance(step, None, "$created", None, engine.rules)
        await drive_machine(engine, work, step, machine, checked.subject)
        writes = _finish(step, checked)
        (answer,) = await engine.writer.apply(work.unit, (writes,), last=work.ending)
    if isinstance(answer, Failed):
        raise answer.error
    work.notices += notices_of(step, writes)
    return writes.after


@contextmanager
def _creating(work: Work, *checked: Checked) -> Iterator[None]:
    """Note under which keys instances are being created: their commands must not do the same again.

    Raises:
        Misuse: one of them is being used already, by the creation whose command this is.
    """
    pairs = [one.pair for one in checked if one.keyed is not None]
    for workflow, key in pairs:
        if (workflow, key) in work.creating:
            raise Misuse(
                f"a command of the creation of {workflow!r} under the key {key!r} created under the same key again",
                "use another key inside the command",
            )
    work.creating.update(pairs)
    try:
        yield
    finally:
        work.creating.difference_update(pairs)


async def create_many(engine: Engine, work: Work | None, new: Sequence[NewInstance]) -> tuple[Instance, ...]:
    """All of them or none, in one transaction."""
    engine.check_usable(work)
    checked = [check(engine, one) for one in new]
    _refuse_twins(checked)
    if not checked:
        return ()
    loud = not all(one.quiet for one in checked)
    use_case = partial(_create_all, engine, checked=checked)
    return await _again_if_taken(engine, work, use_case, checked, eager=loud)


def _refuse_twins(checked: Sequence[Checked]) -> None:
    refs: set[tuple[str, str]] = set()
    ids: dict[UUID, int] = {}
    keys: set[tuple[str, str]] = set()
    for index, one in enumerate(checked):
        if one.ref is not None:
            if (one.workflow.name, one.ref) in refs:
                raise InvalidArgument(f"instances[{index}].ref", f"{one.ref!r} is given twice")
            refs.add((one.workflow.name, one.ref))
        if ids.setdefault(one.id, index) != index:
            raise InvalidArgument(f"instances[{index}].id", f"{one.id} is given twice")
        if one.keyed is not None:
            if one.pair in keys:
                raise InvalidArgument(f"instances[{index}].key", f"{one.keyed.key!r} is given twice")
            keys.add(one.pair)


async def _create_all(engine: Engine, work: Work, *, checked: Sequence[Checked]) -> tuple[Instance, ...]:
    with _creating(work, *checked):
        found = await _all_done_before(engine, work, checked)
        now = await store_now(engine, work)
        steps: list[tuple[Step, Writes]] = []
        for one in checked:
            if one.id in found:
                continue
            step = begin(engine, one, now)
            machine = advance(step, None, "$created", None, engine.rules)
            if one.quiet:
                drive_free(machine)
            else:
                await drive_machine(engine, work, step, machine, one.subject)
            steps.append((step, _finish(step, one)))
        answers = await engine.writer.apply(work.unit, [writes for _, writes in steps], last=work.ending)
    for (step, writes), answer in zip(steps, answers, strict=True):
        if isinstance(answer, Failed):
            raise answer.error
        work.notices += notices_of(step, writes)
        found[writes.after.id] = writes.after
    return tuple(found[one.id] for one in checked)


async def _all_done_before(engine: Engine, work: Work, checked: Sequence[Checked]) -> dict[UUID, Instance]:
    """Those of a batch that were created under their keys before, by the ids that they would have got now."""
    by_pair = {one.pair: one for one in checked if one.keyed is not None}
    if not by_pair:
        return {}
    receipts = await engine.receipts.find_creations(work.unit, list(by_pair), hold=True)
    found = {}
    for pair, receipt in receipts.items():
        one = by_pair[pair]
        assert one.keyed is not None
        done = await answer_to_creation(engine, work.unit, one.keyed, one.parts, receipt)
        if done is not None:
            found[one.id] = done
    return found
