"""How does a program read what was found?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from duraflow.definition.findings import Finding
from duraflow.errors import InvalidArgument
from duraflow.verify.bounds import Bound
from duraflow.verify.coverage import Path
from duraflow.verify.moves import Run, move_from_json, move_to_json
from duraflow.verify.report import Checked, Counterexample, Report


def report_to_json(report: Report) -> dict[str, Any]:
    """A whole report as plain JSON data. Times are in seconds."""
    bounds = report.bounds
    return {
        "workflow": report.workflow,
        "version": report.version,
        "hash": report.hash,
        "ok": report.ok,
        "states": list(report.states),
        "outcomes": report.outcomes,
        "findings": [_finding(finding) for finding in report.findings],
        "properties": [_checked(checked) for checked in report.checked],
        "bounds": None
        if bounds is None
        else {
            "moves": _bound(bounds.moves),
            "commands": _bound(bounds.commands),
            "entries": _bound(bounds.entries),
            "waiting_s": _bound(bounds.waiting),
            "no_timer": list(bounds.no_timer),
            "unsure": list(bounds.unsure),
        },
    }


def counterexample_to_json(found: Counterexample) -> dict[str, Any]:
    """A counterexample as plain JSON data. Examples and contexts are shown as Python writes them."""
    data: dict[str, Any] = {"property": str(found.prop), "run": run_to_json(found.run)}
    if found.broken is not None:
        data["message"] = found.broken.message
        data["actions"] = [[action.event, action.example] for action in found.broken.actions]
        data["given"] = [repr(given) for given in found.broken.given]
        data["context"] = repr(found.broken.context)
    return data


def path_to_json(path: Path) -> dict[str, Any]:
    """What a path leads to, and its run, as plain JSON data."""
    data: dict[str, Any] = {"kind": path.kind, "path": path.path, "state": path.state}
    if path.kind == "guard":
        data |= {"guard": path.guard, "answer": path.answer}
    return {**data, "run": run_to_json(path.run)}


def run_to_json(run: Run) -> list[dict[str, Any]]:
    """A run as plain JSON data."""
    return [move_to_json(move) for move in run]


def run_from_json(data: object) -> Run:
    """The run that `run_to_json` wrote.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        if not isinstance(data, list):
            raise TypeError(f"{type(data).__name__} is no list")
        return tuple(move_from_json(move) for move in data)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidArgument("run", f"it is no run as `run_to_json` writes it: {error!r}") from None


def _finding(finding: Finding) -> Mapping[str, Any]:
    return {
        "severity": finding.severity,
        "code": finding.code,
        "path": finding.path,
        "state": finding.state,
        "message": finding.message,
    }


def _checked(checked: Checked) -> Mapping[str, Any]:
    found = checked.counterexample
    return {
        "property": str(checked.prop),
        "holds": checked.holds,
        "tried": checked.tried,
        "not_covered": list(checked.not_covered),
        "counterexample": None if found is None else counterexample_to_json(found),
    }


def _bound(bound: Bound) -> Mapping[str, Any]:
    value = bound.value.total_seconds() if isinstance(bound.value, timedelta) else bound.value
    return {
        "limited": bound.limited,
        "value": value,
        "exact": bound.exact,
        "run": run_to_json(bound.run),
        "loop": run_to_json(bound.loop),
    }
