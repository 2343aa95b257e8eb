"""Which instances are meant, and which workflow?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

import attrs
import click

from duraflow import Instance, Runtime, Workflow
from duraflow_cli.codes import Code
from duraflow_cli.failing import Refused
from duraflow_cli.inputs import JsonText, MomentText, TargetText

F = TypeVar("F", bound=Callable[..., Any])

OUTCOMES = ("done", "failed", "cancelled")

target_argument: Callable[[F], F] = click.argument("target", type=TargetText())


def filters(workflow: Callable[[F], F]) -> Callable[[F], F]:
    """The options of a filter; `workflow` says how the workflow is given: as an argument, or as an option."""
    options: list[Callable[[F], F]] = [
        workflow,
        click.option(
            "--state", multiple=True, metavar="NAME", help="In this state, or group; may be repeated."
        ),
        click.option("--open/--finished", "is_open", default=None, help="Those that can move, or cannot."),
        click.option("--outcome", multiple=True, type=click.Choice(OUTCOMES), help="May be repeated."),
        click.option("--metadata", type=JsonText(an_object=True), help="What their metadata contain."),
    ]
    for what in ("created", "updated", "entered"):
        for end, word in (("since", "from"), ("until", "before")):
            says = f"{what.capitalize()} {word} this time."
            options.append(click.option(f"--{what}-{end}", type=MomentText(), metavar="TIME", help=says))

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@attrs.frozen
class Filter:
    """What the options of `filters` gave."""

    workflow: str | None
    state: tuple[str, ...]
    is_open: bool | None
    outcome: tuple[str, ...]
    metadata: Any
    created_since: datetime | None
    created_until: datetime | None
    updated_since: datetime | None
    updated_until: datetime | None
    entered_since: datetime | None
    entered_until: datetime | None

    @property
    def empty(self) -> bool:
        """Whether it lets everything through."""
        return all(value in (None, ()) for value in attrs.astuple(self, recurse=False))

    def arguments(self, runtime: Runtime) -> dict[str, Any]:
        """As `Runtime.list`, `count` and `export` take them."""
        return {
            "workflow": self.workflow,
            "state": self.state or None,
            "open": self.is_open,
            "outcome": self.outcome or None,
            "metadata": None if self.metadata is None else runtime.codec.from_plain(self.metadata),
            "created": (self.created_since, self.created_until),
            "updated": (self.updated_since, self.updated_until),
            "entered": (self.entered_since, self.entered_until),
        }


def workflow_names(runtime: Runtime) -> tuple[str, ...]:
    """Which workflows the application has."""
    return tuple(sorted({workflow.name for workflow in runtime.workflows}))


def chosen(runtime: Runtime, name: str | None, version: int | None, instance: Instance | None) -> Workflow:
    """The workflow that is meant: by name, of an instance, or the only one."""
    if instance is not None:
        if name is not None and name != instance.workflow:
            raise click.UsageError(
                f"instance {instance.id} is of workflow {instance.workflow!r}, not {name!r}"
            )
        name, version = instance.workflow, version or instance.definition_version
    names = workflow_names(runtime)
    if name is None:
        if len(names) != 1:
            raise click.UsageError(f"say which workflow; the application has {', '.join(names) or 'none'}")
        name = names[0]
    found = [workflow for workflow in runtime.workflows if workflow.name == name]
    if version is not None:
        found = [workflow for workflow in found if workflow.version == version]
    if not found:
        which = name if version is None else f"{name} version {version}"
        raise Refused(
            f"the application has no workflow {which}; it has {', '.join(names) or 'none'}", Code.NOT_FOUND
        )
    return max(found, key=lambda workflow: workflow.version)
