"""Is a workflow right before it runs, and is what is stored well?"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from duraflow import DefinitionError, InvalidArgument, Workflow
from duraflow_cli.asked import Asked, Settings, code_only, everything, importable, settings
from duraflow_cli.codes import Code
from duraflow_cli.failing import Refused
from duraflow_cli.finding import at_rest, imported, opened, place_of
from duraflow_cli.inputs import DurationText
from duraflow_cli.output import Output, note, visible, write
from duraflow_cli.wording import at_a_shell

if TYPE_CHECKING:
    from duraflow.verify import Invariant, Property, Report

    Properties = tuple[Property | Invariant, ...]


@click.command(short_help="Verify workflows before they run.")
@click.argument("workflow", required=False)
@click.option("--properties", metavar="MODULE:NAME", help="What must hold: a list, or lists by workflow.")
@click.option("--strict", is_flag=True, help="A warning is a problem, too.")
@click.option(
    "--save", type=click.Path(file_okay=False, path_type=Path), help="Write counterexamples there, as tests."
)
@code_only
@click.pass_obj
def check(
    asked: Asked, workflow: str | None, properties: str | None, strict: bool, save: Path | None
) -> Code:
    """Explore everything that the application's workflows allow, and report what is wrong or doubtful.

    Ends with 1 if there is an error or a property does not hold. Properties are found by --properties, or in
    pyproject.toml, [tool.duraflow] properties.
    """
    found = settings(asked)
    out = Output.of(asked)
    try:
        with at_rest(asked) as runtime:
            chosen = [w for w in runtime.workflows if workflow is None or w.name == workflow]
            names = sorted({w.name for w in runtime.workflows})
    except DefinitionError as error:
        if out.json:
            out.document({"ok": False, "error": error, "workflows": []})
        else:
            write(visible(str(error)))
        return Code.NO
    if not chosen:
        raise Refused(
            f"the application has no workflow {workflow!r}; it has {', '.join(names)}", Code.NOT_FOUND
        )
    from duraflow.verify import explore

    held = _Held.read(found, properties or found.properties, names)
    reports = [
        (w, explore(w, properties=held.of(w))) for w in sorted(chosen, key=lambda w: (w.name, w.version))
    ]
    ended = max(report.exit_code(strict=strict) for _, report in reports)
    if out.json:
        out.document({"ok": ended == 0, "workflows": [report.to_json() for _, report in reports]})
    else:
        write("\n\n".join(visible(report.to_text()) for _, report in reports))
    if save is not None:
        for checked, report in reports:
            _save(save, place_of(found, checked), held, report)
    return Code.NO if ended else Code.DONE


@attrs.frozen
class _Held:
    """What workflows are held to.

    Attributes:
        place: where it says so; empty if nothing does.
        by_name: whether they are in a mapping there, else in one list.
        properties: by the name of the workflow.
    """

    place: str
    by_name: bool
    properties: Mapping[str, Properties]

    @classmethod
    def read(cls, found: Settings, place: str | None, workflows: list[str]) -> _Held:
        """Import them."""
        if place is None:
            return cls("", False, {})
        importable(found)
        named = imported(place, "--properties")
        if isinstance(named, Mapping):
            unknown = sorted(map(repr, named.keys() - set(workflows)))
            if unknown:
                raise InvalidArgument(
                    "--properties",
                    f"{place!r} names workflows that the application does not have: {', '.join(unknown)}",
                )
            return cls(place, True, {name: tuple(properties) for name, properties in named.items()})
        if len(workflows) != 1 or not isinstance(named, (list, tuple)):
            raise InvalidArgument(
                "--properties",
                f"{place!r} is neither a list for the one workflow, nor lists by the name of the workflow",
            )
        return cls(place, False, {workflows[0]: tuple(named)})

    def of(self, workflow: Workflow) -> Properties:
        """Those of one workflow."""
        return self.properties.get(workflow.name, ())

    def where(self, workflow: str, number: int) -> str:
        """Where one of them is, in Python."""
        return f"{self.place}[{workflow!r}][{number}]" if self.by_name else f"{self.place}[{number}]"


def _save(folder: Path, workflow: str, held: _Held, report: Report) -> None:
    """Write each counterexample as a test for pytest."""
    for number, checked in enumerate(report.checked):
        if checked.counterexample is None:
            continue
        text = checked.counterexample.to_test(workflow, held.where(report.workflow, number))
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"\W+", "_", f"{report.workflow}_v{report.version}_{number + 1}")
        path = folder / f"test_{name}.py"
        path.write_text(text, encoding="utf-8")
        note(f"saved {path}")


@click.command(short_help="Examine what is stored, and the database it is stored in.")
@click.option(
    "--exact", is_flag=True, help="Look at every instance and its whole history; minutes for millions."
)
@click.option(
    "--sample", type=click.IntRange(1), default=10_000, show_default=True, help="How many, where not all."
)
@click.option(
    "--shown", type=click.IntRange(0, 1000), default=10, show_default=True, help="Rows that a finding names."
)
@click.option("--timeout", type=DurationText(), default="30s", show_default=True, help="Of one statement.")
@click.option("--strict", is_flag=True, help="A warning, and what could not be checked, is a problem, too.")
@everything
@click.pass_obj
def doctor(asked: Asked, exact: bool, sample: int, shown: int, timeout: timedelta, strict: bool) -> Code:
    """Examine what is stored in the namespace, and the database it is stored in. It only reads.

    Ends with 1 if there is an error.
    """
    with opened(asked) as runtime:
        report = runtime.doctor(exact=exact, sample=sample, shown=shown, timeout=timeout)
    out = Output.of(asked)
    if out.json:
        out.document(report.to_json())
    else:
        write(at_a_shell(visible(report.to_text())))
    doubtful = any(d.severity == "warning" for d in report.findings) or bool(report.not_run)
    return Code.DONE if report.ok and not (strict and doubtful) else Code.NO


commands = (check, doctor)
