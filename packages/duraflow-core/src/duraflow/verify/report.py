"""What came of exploring a workflow?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from duraflow.definition.findings import Finding
from duraflow.verify.bounds import Bounds
from duraflow.verify.invariants import Broken, Invariant
from duraflow.verify.moves import Run
from duraflow.verify.properties import Property


@attrs.frozen
class Counterexample:
    """The shortest run that breaks a property.

    Attributes:
        prop: the property.
        run: what happens, move by move.
        broken: of an invariant: what was done, with which examples, and what came of it.
    """

    prop: Property | Invariant
    run: Run
    broken: Broken | None = None

    def __str__(self) -> str:
        from duraflow.verify.text import counterexample_text

        return counterexample_text(self)

    def to_json(self) -> dict[str, Any]:
        """It as plain JSON data; `run_from_json` reads the run back."""
        from duraflow.verify.data import counterexample_to_json

        return counterexample_to_json(self)

    def to_test(self, workflow: str, prop: str | None = None) -> str:
        """It as the text of a Python module for pytest: a test that fails as long as the workflow goes this way.

        Args:
            workflow: where the definition is: `module:name`, or `module:runtime.workflows[0]`.
            prop: where the property is, in the same way; `never`, `always_reaches` and
                `at_most` do not need it, an invariant does, for its function and examples.

        Raises:
            InvalidArgument: it is no such place, or that of the property is needed.
        """
        from duraflow.verify.testcase import module_of

        return module_of(self, workflow, prop)


@attrs.frozen
class Checked:
    """Whether a property holds.

    Attributes:
        counterexample: how it is broken; None if it holds.
        tried: of an invariant: how many places were looked at; None for what was checked for all of them.
        not_covered: what could not be looked at, and why; empty for what was checked for all.
    """

    prop: Property | Invariant
    counterexample: Counterexample | None = None
    tried: int | None = None
    not_covered: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing was found that breaks it."""
        return self.counterexample is None


@attrs.frozen
class Report:
    """Everything that was found about a workflow.

    Attributes:
        findings: what is wrong or doubtful: that of the construction and that of the exploration, errors first.
        checked: each property, in the order given.
        bounds: how long a run can become; None if no instance can be created.
        states: those that an instance can enter, in the order of the definition.
        outcomes: in how many ways events, guards, commands and timers can turn out, all of which were looked at.
    """

    workflow: str
    version: int
    hash: str
    findings: tuple[Finding, ...]
    checked: tuple[Checked, ...]
    bounds: Bounds | None
    states: tuple[str, ...]
    outcomes: int

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that make the definition unusable, or a part of it."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """The findings that may be meant; a state can allow them."""
        return tuple(finding for finding in self.findings if finding.severity == "warning")

    @property
    def broken(self) -> tuple[Counterexample, ...]:
        """How properties are broken."""
        return tuple(c.counterexample for c in self.checked if c.counterexample is not None)

    @property
    def ok(self) -> bool:
        """Whether there are no errors, and every property holds."""
        return not self.errors and not self.broken

    def exit_code(self, *, strict: bool = False) -> int:
        """For a program that checks: 0 if all is well, 1 if not; with `strict` a warning is not well either."""
        return 0 if self.ok and not (strict and self.warnings) else 1

    def to_text(self) -> str:
        """It for people."""
        from duraflow.verify.text import report_text

        return report_text(self)

    def to_json(self) -> Mapping[str, Any]:
        """It for programs, as plain JSON data."""
        from duraflow.verify.data import report_to_json

        return report_to_json(self)

    def __str__(self) -> str:
        return self.to_text()
