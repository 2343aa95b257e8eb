"""Where is the application, and how does it become a runtime?

`--app MODULE:NAME` may name a function that takes a persistence and gives a `Runtime` or `AsyncRuntime` (the best,
because the command then says which database), one without parameters, a runtime, a `Workflow` or several. A module
alone stands for its `runtime`, else for its `workflows` with `commands`, `guards`, `delays` and so on, as far as
it has them.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

import attrs
import click

from duraflow import (
    AsyncRuntime,
    DefinitionError,
    Instance,
    InvalidArgument,
    Persistence,
    Runtime,
    Workflow,
)
from duraflow_cli.asked import Asked, Settings, importable, settings
from duraflow_cli.bridge import Bridged

_PARTS = ("commands", "guards", "delays", "resources", "message_handlers")


@attrs.frozen
class Application:
    """What was named, and how a runtime is made of it.

    Attributes:
        make: gives a runtime over a persistence; a runtime that is there already is given as it is.
        asyncio: whether it wants an asyncio persistence.
        ready: whether it brings its own persistence, so that the options for it would say nothing.
    """

    make: Callable[[Persistence | None], Runtime | AsyncRuntime]
    asyncio: bool = False
    ready: bool = False


# --- from a name to an application ------------------------------------------------------------------------------


def application(found: Settings) -> Application | None:
    """The application that was named; None if none was.

    Raises:
        InvalidArgument: it cannot be imported, or is nothing that makes a runtime.
    """
    if found.app is None:
        return None
    importable(found)
    module_name, colon, path = found.app.partition(":")
    if not module_name or (colon and not path):
        raise InvalidArgument(found.app_from, f"{found.app!r} is not MODULE:NAME, such as shop.flows:runtime")
    module = _module(found, module_name)
    if not colon:
        return _of_module(found, module)
    named: Any = module
    for part in path.split("."):
        try:
            named = getattr(named, part)
        except AttributeError:
            known = ", ".join(name for name in vars(module) if not name.startswith("_")) or "nothing"
            raise InvalidArgument(
                found.app_from, f"{module_name!r} has no {path!r}; it has {known}"
            ) from None
    return _of(found, named, {})


def _module(found: Settings, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise InvalidArgument(
            found.app_from,
            f"there is no module {error.name!r}; modules are looked for in the current folder, beside the "
            "pyproject.toml that names the application, and among what is installed",
        ) from error


def _of_module(found: Settings, module: ModuleType) -> Application:
    if hasattr(module, "runtime"):
        return _of(found, module.runtime, {})
    if hasattr(module, "workflows"):
        return _of(
            found, module.workflows, {part: getattr(module, part) for part in _PARTS if hasattr(module, part)}
        )
    raise InvalidArgument(
        found.app_from,
        f"the module {module.__name__!r} has neither `runtime` nor `workflows`; name one: MODULE:NAME",
    )


def _of(found: Settings, named: Any, parts: dict[str, Any]) -> Application:
    if isinstance(named, (Runtime, AsyncRuntime)):
        return Application(lambda _persistence: named, isinstance(named, AsyncRuntime), ready=True)
    if isinstance(named, Workflow):
        named = (named,)
    if isinstance(named, Iterable) and not isinstance(named, str):
        workflows = tuple(named)
        if workflows and all(isinstance(workflow, Workflow) for workflow in workflows):
            return _of_workflows(workflows, parts)
    if callable(named):
        return _of_function(found, named)
    raise InvalidArgument(
        found.app_from,
        f"{found.app!r} is {type(named).__name__}; name a function that takes a persistence and gives a Runtime, "
        "a Runtime, or workflows",
    )


def _of_workflows(workflows: tuple[Workflow, ...], parts: dict[str, Any]) -> Application:
    from duraflow.memory import InMemoryPersistence

    def make(kind: Any, persistence: Persistence | None) -> Runtime | AsyncRuntime:
        made: Runtime | AsyncRuntime = kind(workflows=workflows, persistence=persistence, **parts)
        return made

    try:
        make(Runtime, InMemoryPersistence())
    except DefinitionError as error:
        if {finding.code for finding in error.findings} != {"async_command"}:
            raise
        return Application(lambda persistence: make(AsyncRuntime, persistence), asyncio=True)
    return Application(lambda persistence: make(Runtime, persistence))


def _of_function(found: Settings, function: Callable[..., Any]) -> Application:
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, TypeError, ValueError):
        signature = inspect.signature(function)
    returned = signature.return_annotation
    is_asyncio = inspect.iscoroutinefunction(function) or (
        (inspect.isclass(returned) and issubclass(returned, AsyncRuntime))
        or (isinstance(returned, str) and returned.rpartition(".")[2] == "AsyncRuntime")
    )
    needed = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    takes = "persistence" in signature.parameters
    if len(needed) > 1 or (needed and not takes and needed[0].kind is inspect.Parameter.KEYWORD_ONLY):
        raise InvalidArgument(
            found.app_from,
            f"{found.app!r} is a function of {', '.join(p.name for p in needed)}; it may take `persistence` only",
        )

    def make(persistence: Persistence | None) -> Any:
        if takes:
            return function(persistence=persistence)
        return function(persistence) if needed else function()

    return Application(make, is_asyncio, ready=not takes and not needed)


def imported(place: str, argument: str) -> Any:
    """What MODULE:NAME stands for, once `importable` was called.

    Raises:
        InvalidArgument: it is not there.
    """
    module, colon, name = place.partition(":")
    if not module or not colon or not name.isidentifier():
        raise InvalidArgument(argument, f"{place!r} is not MODULE:NAME, such as shop.upgrades:name")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        raise InvalidArgument(argument, f"{module!r} has no {name!r}") from None
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise InvalidArgument(argument, f"there is no module {error.name!r}") from error


def place_of(found: Settings, workflow: Workflow) -> str:
    """Where another module can import a workflow of the application from, as MODULE:NAME.

    Raises:
        InvalidArgument: no name of the application's module stands for it.
    """
    module_name = str(found.app).partition(":")[0]
    for name, value in vars(importlib.import_module(module_name)).items():
        if value == workflow:
            return f"{module_name}:{name}"
        if isinstance(value, (list, tuple)) and workflow in value:
            return f"{module_name}:{name}[{value.index(workflow)}]"
    raise InvalidArgument(
        found.app_from,
        f"no name in {module_name!r} stands for workflow {workflow.name!r} version {workflow.version}, so no test can "
        "import it; import it there",
    )


# --- from an application to a runtime ---------------------------------------------------------------------------


@contextmanager
def opened(asked: Asked, *, needs_code: bool = False) -> Iterator[Runtime]:
    """The application's runtime, started, over the database that was asked for. An asyncio one is called likewise.

    Args:
        needs_code: refuse to go on without an application; else a runtime without workflows serves.
    """
    found = settings(asked)
    named = _required(found) if needs_code else application(found)
    if named is None:
        named = Application(
            lambda persistence: Runtime(
                workflows=(), persistence=cast("Persistence", persistence), live_check="off"
            )
        )
    if named.ready and found.places:
        raise InvalidArgument(
            found.places[0],
            f"{found.app!r} brings its own persistence; name a function that takes one, or leave the option out",
        )

    def persistence() -> Persistence | None:
        return None if named.ready else _postgres(found, named.asyncio)

    with _runtime(found, named, persistence) as runtime, runtime:
        yield runtime


@contextmanager
def at_rest(asked: Asked) -> Iterator[Runtime]:
    """The application's runtime, not started, for what only its definitions say: over memory, not a database."""
    from duraflow.memory import InMemoryPersistence

    found = settings(asked)
    with _runtime(found, _required(found), InMemoryPersistence) as runtime:
        yield runtime


@contextmanager
def _runtime(
    found: Settings, named: Application, persistence: Callable[[], Persistence | None]
) -> Iterator[Runtime]:
    def make() -> Any:
        return named.make(persistence())

    if not named.asyncio:
        made = make()
        _check_kind(found, made, Runtime)
        yield made
        return
    with asyncio.Runner() as runner:
        made = runner.run(_made(make))
        _check_kind(found, made, AsyncRuntime)
        yield cast("Runtime", Bridged(made, runner))


async def _made(make: Callable[[], Any]) -> Any:
    """Inside the loop: a pool may look for the one that runs."""
    made = make()
    return await made if inspect.isawaitable(made) else made


def _check_kind(found: Settings, made: object, expected: type) -> None:
    if isinstance(made, expected):
        return
    more = "; annotate it with `-> AsyncRuntime`" if isinstance(made, AsyncRuntime) else ""
    raise InvalidArgument(
        found.app_from, f"{found.app!r} gave {type(made).__name__}, not {expected.__name__}{more}"
    )


def _required(found: Settings) -> Application:
    named = application(found)
    if named is None:
        raise click.UsageError(
            "this needs the application's code; name it with --app MODULE:NAME, DURAFLOW_APP, or in pyproject.toml:\n"
            '    [tool.duraflow]\n    app = "shop.flows:runtime"'
        )
    return named


def _postgres(found: Settings, is_asyncio: bool) -> Persistence:
    from duraflow_pg import AsyncPgPersistence, PgPersistence

    kind = AsyncPgPersistence if is_asyncio else PgPersistence
    return kind.from_dsn(
        found.conninfo, schema=found.schema, namespace=found.namespace, fallback_application_name="duraflow"
    )


def governing(runtime: Runtime, instance: Instance) -> Workflow | None:
    """The definition that an event of this instance will meet; None where the application does not have it."""
    own = [workflow for workflow in runtime.workflows if workflow.name == instance.workflow]
    newest = max(own, key=lambda workflow: workflow.version, default=None)
    if newest is not None and newest.follows == "latest":
        return newest
    return next((workflow for workflow in own if workflow.version == instance.definition_version), None)
