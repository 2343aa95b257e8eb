"""What can be said of a workflow before it runs?

`explore` looks at everything that a definition allows and reports what is wrong or doubtful in it, whether your
properties hold (with the shortest run that breaks one), and how long a run can become. `paths` gives the runs that a
test needs. Data is left out, but for invariants, which are tried with examples.

>>> from duraflow import State, Transition, Workflow
>>> door = Workflow(
...     name="door",
...     initial="open",
...     states=[
...         State("open", [Transition("close", target="closed")]),
...         State("closed", [Transition("open", target="open"), Transition("lock", target="locked")]),
...         State("locked"),
...     ],
... )
>>> report = explore(door, properties=[never("open", after="locked"), at_most(1, "close")])
>>> report.findings
()
>>> [(str(checked.prop), checked.holds) for checked in report.checked]
[('never("open", after="locked")', True), ('at_most(1, "close")', False)]
>>> print(report.broken[0])
at_most(1, "close") is broken:
  1  $created  -> open
  2  close     open -> closed
  3  open      closed -> open
  4  close     open -> closed
"""

from duraflow.verify.bounds import Bound, Bounds
from duraflow.verify.coverage import Path, paths
from duraflow.verify.data import path_to_json, run_from_json, run_to_json
from duraflow.verify.explore import explore
from duraflow.verify.invariants import Action, Broken, Invariant, Tried, invariant
from duraflow.verify.moves import Move, Run, print_run
from duraflow.verify.properties import AlwaysReaches, AtMost, Never, Property, always_reaches, at_most, never
from duraflow.verify.rehearsal import Rehearsal, rehearse
from duraflow.verify.report import Checked, Counterexample, Report
from duraflow.verify.testcase import assert_holds

__all__ = [
    # exploring
    "explore",
    "Report",
    "Checked",
    "Counterexample",
    "Bound",
    "Bounds",
    # properties
    "always_reaches",
    "at_most",
    "invariant",
    "never",
    "AlwaysReaches",
    "AtMost",
    "Never",
    "Property",
    "Invariant",
    "Action",
    "Broken",
    "Tried",
    # runs
    "Move",
    "Path",
    "Rehearsal",
    "Run",
    "assert_holds",
    "path_to_json",
    "paths",
    "print_run",
    "rehearse",
    "run_from_json",
    "run_to_json",
]
