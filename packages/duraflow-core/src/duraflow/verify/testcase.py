"""How does a counterexample become a test?"""

from __future__ import annotations

import re
from collections.abc import Sequence

from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.verify.moves import Move, print_run
from duraflow.verify.properties import AlwaysReaches, AtMost, Never, Property
from duraflow.verify.rehearsal import rehearse
from duraflow.verify.report import Counterexample
from duraflow.verify.words import source

_PLACE = re.compile(r"(?P<module>[A-Za-z_][\w.]*):(?P<root>[A-Za-z_]\w*)(?P<rest>(?:\.\w+|\[[^\]]+\])*)")


def assert_holds(workflow: Workflow, prop: Property, run: Sequence[Move]) -> None:
    """Hold a property against one run. It is well, too, if the workflow can no longer go this way.

    Raises:
        AssertionError: the run is possible, and breaks the property; the text shows it.
        InvalidArgument: the property speaks of something that the workflow does not have.
    """
    rehearsal = rehearse(workflow, run)
    if prop.broken_by(rehearsal.run, workflow):
        raise AssertionError(f"{prop} is broken:\n{print_run(rehearsal.run, indent='  ')}")


def module_of(found: Counterexample, workflow: str, prop: str | None) -> str:
    """See `Counterexample.to_test`."""
    definition = _Place.of("workflow", workflow)
    name = re.sub(r"\W+", "_", str(found.prop)).strip("_").lower()[:80]
    title = str(found.prop).replace("\\", "\\\\")
    shown = print_run(found.run, indent="    ").replace("\\", "\\\\").replace('"""', "'''")
    head = (
        f'"""{title} is broken by this run, which duraflow.verify found:\n\n{shown}\n\n'
        'The test fails as long as the workflow goes this way.\n"""\n\n'
    )
    known = isinstance(found.prop, (Never, AtMost, AlwaysReaches))
    if prop is None and not known:
        raise InvalidArgument(
            "prop", f"say where {found.prop} is, as `module:name`: the test needs it as it is"
        )
    place = None if prop is None else _Place.of("prop", prop)
    if found.broken is not None and place is not None:
        actions = "".join(f"        ({source(a.event)}, {a.example}),\n" for a in found.broken.actions)
        return (
            f"{head}{_imports(definition, place)}\n\n"
            f"def test_{name}() -> None:\n"
            f"    # what is done, and which of the examples is used for it, from 0\n"
            f"    actions = [\n{actions}    ]\n"
            f"    {place.expression}.replay({definition.expression}, actions)\n"
        )
    kind = "" if place is not None else f", {str(found.prop).partition('(')[0]}"
    imports = _imports(definition) if place is None else _imports(definition, place)
    moves = "".join(f"    {_source(move)},\n" for move in found.run)
    return (
        f"{head}from duraflow.verify import Move, assert_holds{kind}\n\n{imports}\n"
        f"RUN = [\n{moves}]\n\n\n"
        f"def test_{name}() -> None:\n"
        f"    assert_holds({definition.expression}, {found.prop if place is None else place.expression}, RUN)\n"
    )


def _source(move: Move) -> str:
    parts = [source(move.event), source(move.from_state), source(move.to_state)]
    if move.status != "success":
        parts.append(source(move.status))
    if move.guards:
        parts.append(f"guards={source(move.guards)}")
    if move.commands:
        parts.append(f"commands={source([*move.commands])}")
    if move.status == "waits":
        parts.append(f"path={source(move.path)}")
    parts += [f"{flag}=True" for flag in ("timer", "external") if getattr(move, flag)]
    if not move.entered:
        parts.append("entered=False")
    return f"Move({', '.join(parts)})"


class _Place:
    """Where something is, in Python: the module, what is imported from it, and the expression."""

    def __init__(self, module: str, root: str, rest: str) -> None:
        self.module = module
        self.root = root
        self.expression = root + rest

    @classmethod
    def of(cls, argument: str, text: str) -> _Place:
        found = _PLACE.fullmatch(text)
        if found is None:
            raise InvalidArgument(argument, f"{text!r} is no place such as `package.module:name`")
        return cls(found["module"], found["root"], found["rest"])


def _imports(*places: _Place) -> str:
    lines = {f"from {place.module} import {place.root}" for place in places}
    return "".join(f"{line}\n" for line in sorted(lines))
