"""Is everything that is stored as it should be, and what it is stored in? `doctor`."""

from __future__ import annotations

from datetime import timedelta

from duraflow.definition.workflow import Workflow
from duraflow.diagnosis import DoctorReport
from duraflow.errors import InvalidArgument, NotSupported
from duraflow.ports import Examination
from duraflow.runtime.engine import Engine

MAX_SHOWN = 1_000


async def doctor(
    engine: Engine,
    exact: bool,
    sample: int,
    shown: int,
    timeout: object,  # noqa: ASYNC109 - of each statement, which the server keeps
) -> DoctorReport:
    """See `Runtime.doctor`."""
    engine.check_usable(None)
    for name, value, least, most in (("sample", sample, 1, 10_000_000), ("shown", shown, 0, MAX_SHOWN)):
        if type(value) is not int or not least <= value <= most:
            raise InvalidArgument(name, f"{value!r} is not a whole number from {least} to {most}")
    if not isinstance(timeout, timedelta) or timeout < timedelta(milliseconds=1):
        raise InvalidArgument("timeout", f"{timeout!r} is not a timedelta of at least 1 ms")
    inspector = engine.persistence.inspector
    if inspector is None:
        raise NotSupported("doctor", "a persistence with the port `inspector: Inspector`")
    examination = Examination(
        versions={(given.name, given.version): given for given in engine.definitions.given},
        unable=lambda workflow: _unable(engine, workflow),
        exact=bool(exact),
        sample=sample,
        shown=shown,
        timeout=timeout,
        clock=engine.now(),
    )
    return await engine.retrying(lambda: inspector.examine(examination))


def _unable(engine: Engine, workflow: Workflow) -> str:
    """The names of the functions that a definition needs and this runtime does not have."""
    missing = engine.rules.handlers.missing(workflow)
    return ", ".join(dict.fromkeys(finding.message.partition(";")[0] for finding in missing))
