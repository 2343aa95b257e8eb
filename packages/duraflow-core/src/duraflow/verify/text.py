"""How does a person read what was found?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from duraflow.verify.bounds import Bound, Bounds
from duraflow.verify.moves import Run, print_run
from duraflow.verify.report import Checked, Counterexample, Report
from duraflow.verify.words import span

_WIDTH = 118


def report_text(report: Report) -> str:
    """A whole report."""
    return "\n".join(_report(report))


def counterexample_text(found: Counterexample) -> str:
    """One counterexample: what it breaks, and the run."""
    return f"{found.prop} is broken{_said(found)}:\n{_body(found, '  ')}"


def _report(report: Report) -> Iterator[str]:
    explored = f"{len(report.states)} states, {report.outcomes} outcomes explored"
    yield f"{report.workflow}, version {report.version}: {explored}"
    yield ""
    yield _summary(report)
    for finding in report.findings:
        yield _wrapped(f"{finding.severity}: {finding}", "  ", "    ")
    if report.checked:
        yield ""
        yield "properties:"
        for checked in report.checked:
            yield from _checked(checked)
    if report.bounds is not None:
        yield ""
        yield "one instance, at most:"
        yield from _bounds(report.bounds)


def _summary(report: Report) -> str:
    counts = [(len(report.errors), "error"), (len(report.warnings), "warning")]
    told = [f"{number} {what}{'' if number == 1 else 's'}" for number, what in counts if number]
    return f"{' and '.join(told)}:" if told else "nothing wrong or doubtful was found"


def _checked(checked: Checked) -> Iterator[str]:
    if checked.counterexample is not None:
        yield f"  broken  {checked.prop}{_said(checked.counterexample)}"
        yield _body(checked.counterexample, "    ")
    elif checked.tried is None:
        yield f"  holds   {checked.prop}"
    else:
        yield f"  holds   {checked.prop}, in {checked.tried} places tried"
    for missed in checked.not_covered:
        yield _wrapped(f"not tried: {missed}", "    ", "      ")


def _said(found: Counterexample) -> str:
    return f" ({found.broken.message})" if found.broken is not None else ""


def _body(found: Counterexample, indent: str) -> str:
    lines = [print_run(found.run, indent=indent)]
    if found.broken is not None:
        done = zip(found.broken.actions, found.broken.given, strict=True)
        told = [f"{action.event} with {given!r}" for action, given in done if given is not None]
        lines += [_wrapped(line, indent, indent + "  ") for line in told]
        lines.append(_wrapped(f"context then: {found.broken.context!r}", indent, indent + "  "))
    return "\n".join(lines)


def _bounds(bounds: Bounds) -> Iterator[str]:
    rows = (
        ("moves", bounds.moves),
        ("commands", bounds.commands),
        ("history entries", bounds.entries),
        ("time in timers", bounds.waiting),
    )
    for what, bound in rows:
        yield f"  {what + ':':<17}{_value(bound)}"
    for names, why in (
        (bounds.unsure, "longer, where timers are computed, may be refused or fail"),
        (bounds.no_timer, "without limit, where no timer leads on"),
    ):
        if names:
            yield _wrapped(f"it may wait {why}: {', '.join(names)}", "  ", "      ")
    told: list[Run] = []
    for _, bound in rows:
        if bound.loop and bound.loop not in told:
            told.append(bound.loop)
            same = [other for other, found in rows if found.loop == bound.loop]
            yield f"  no limit to {_and(same)}, because this can go on for ever:"
            yield print_run(bound.loop, indent="    ", numbered=False)


def _value(bound: Bound) -> str:
    value = _plain(bound.value)
    least = "" if bound.exact else "at least "
    if bound.limited:
        return f"{least}{value}"
    return f"no limit; {least}{value} without going round"


def _and(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _plain(value: Any) -> str:
    return span(value) if isinstance(value, timedelta) else str(value)


def _wrapped(text: str, indent: str, more: str) -> str:
    return textwrap.fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=more,
        break_long_words=False,
        break_on_hyphens=False,
    )
