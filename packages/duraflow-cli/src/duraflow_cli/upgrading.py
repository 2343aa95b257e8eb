"""How are living instances moved from one version of their workflow to another?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import attrs
import click

from duraflow import InvalidArgument, NotUpgraded, Runtime, UpgradePlan, UpgradeReport
from duraflow_cli.agreeing import agree, yes_option
from duraflow_cli.asked import Asked, everything
from duraflow_cli.codes import Code
from duraflow_cli.failing import Refused
from duraflow_cli.finding import imported, opened
from duraflow_cli.inputs import PairText
from duraflow_cli.moving import by_option
from duraflow_cli.output import Output, note, write
from duraflow_cli.progress import progress

F = TypeVar("F", bound=Callable[..., Any])

TIMERS = ("keep_elapsed", "keep_due", "restart")


@click.group(short_help="Plan, and apply, upgrades of living instances.")
@everything
def upgrade() -> None:
    """Move the open instances of one version of a workflow to another."""


def _rules(function: F) -> F:
    """What a plan is made of."""
    options: list[Callable[[F], F]] = [
        click.argument("workflow"),
        click.argument("from_version", type=click.IntRange(1)),
        click.argument("to_version", type=click.IntRange(1)),
        click.option(
            "--state", "states", multiple=True, type=PairText("OLD=NEW"), help="Where those in OLD go."
        ),
        click.option(
            "--transform", metavar="MODULE:NAME", help="A function of (context, metadata): the new context."
        ),
        click.option("--timers", type=click.Choice(TIMERS), default="keep_elapsed", show_default=True),
        click.option(
            "--sample",
            type=click.IntRange(0, 1000),
            default=100,
            show_default=True,
            help="How many to try it on.",
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@attrs.frozen
class _Rules:
    """What the options of `_rules` gave."""

    workflow: str
    from_version: int
    to_version: int
    states: tuple[tuple[str, str], ...]
    transform: str | None
    timers: Any
    sample: int

    def plan(self, runtime: Runtime) -> UpgradePlan:
        """Have it worked out."""
        transform = None
        if self.transform is not None:
            transform = imported(self.transform, "--transform")
            if not callable(transform):
                raise InvalidArgument("--transform", f"{self.transform!r} is no function")
        return runtime.plan_upgrade(
            self.workflow,
            self.from_version,
            self.to_version,
            states=dict(self.states),
            transform=transform,
            timers=self.timers,
            sample=self.sample,
        )


@upgrade.command(short_help="Say what an upgrade would do.")
@_rules
@everything
@click.pass_obj
def plan(asked: Asked, /, **options: Any) -> Code:
    """Say what it would mean to move the open instances of WORKFLOW from FROM_VERSION to TO_VERSION.

    Nothing is written. Ends with 1 if some state is not covered, or an instance that was tried would fail.
    """
    with opened(asked, needs_code=True) as runtime:
        found = _Rules(**options).plan(runtime)
    out = Output.of(asked)
    if out.json:
        out.document(
            {"count": found.count, "total": found.total, "uncovered": found.uncovered, "plan": found}
        )
    else:
        _print_plan(out, found)
        if not found.total:
            note(_nowhere(found))
    return Code.DONE if found.total and not found.failures else Code.NO


def _nowhere(found: UpgradePlan) -> str:
    states = ", ".join(map(repr, found.uncovered))
    return (
        f"nothing says where open instances in {states} go; give --state OLD=NEW for each, or --skip-uncovered to "
        "leave these as they are"
    )


def _print_plan(out: Output, found: UpgradePlan) -> None:
    out.table(
        ("STATE", "OPEN", "GO TO", "TIMERS", "THEN"),
        [
            (
                row.state,
                row.count,
                row.target if row.covered else "NOT COVERED",
                ", ".join(f"{event} {effect}" for event, effect in row.timers.items()),
                ", ".join(
                    word
                    for word, so in (("ends there", row.final), ("moves on by itself", row.automatic))
                    if so
                ),
            )
            for row in found.rows
        ],
        empty="no open instances",
    )
    busy = found.leased + found.continuing
    for count, says in (
        (busy, "busy now, moved last"),
        (found.waiting, "with queued events, which the new version decides about"),
        (found.sampled, "tried without writing"),
    ):
        if count:
            write(f"{count:,} {says}")
    _print_held(out, "would fail", found.failures)


def _print_held(out: Output, says: str, held: tuple[NotUpgraded, ...]) -> None:
    for one in held:
        write(f"{says}: {out.text(str(one))}")


@upgrade.command(short_help="Do it.")
@_rules
@click.option("--skip-uncovered", is_flag=True, help="Leave alone those of which nothing says where they go.")
@click.option("--dry-run", is_flag=True, help="Work all out, write nothing.")
@click.option("--limit", type=click.IntRange(1), help="Move at most so many.")
@click.option(
    "--batch", type=click.IntRange(1, 1000), default=100, show_default=True, help="Written together."
)
@click.option("--cursor", help="Go on where an earlier run ended.")
@click.option("--reason", default="", help="Why, for the history.")
@by_option
@yes_option
@everything
@click.pass_obj
def apply(
    asked: Asked,
    /,
    skip_uncovered: bool,
    dry_run: bool,
    limit: int | None,
    batch: int,
    cursor: str | None,
    reason: str,
    by: str | None,
    yes: bool,
    **options: Any,
) -> Code:
    """Move the open instances of WORKFLOW from FROM_VERSION to TO_VERSION. Asks first.

    May be stopped at any time and run again. Ends with 1 if an instance failed, or was busy to the end.
    """
    with opened(asked, needs_code=True) as runtime:
        out = Output.of(asked)
        found = _Rules(**options).plan(runtime)
        if not dry_run:
            if not out.json and not yes:
                _print_plan(out, found)
            if not found.total and not skip_uncovered:
                raise Refused(_nowhere(found), Code.MISUSED)
            question = f"Move {found.count:,} instances of {found.workflow} from version {found.from_version}"
            agree(f"{question} to {found.to_version}?", yes=yes)
        with progress("upgrading") as advance:
            report = runtime.apply_upgrade(
                found,
                skip_uncovered=skip_uncovered,
                dry_run=dry_run,
                limit=limit,
                batch=batch,
                cursor=cursor,
                on_progress=lambda done: advance(done.moved, found.count),
                reason=reason,
                by=by or "",
            )
    if out.json:
        out.document(report)
    else:
        _print_report(out, report)
    return Code.NO if report.failed or report.busy else Code.DONE


def _print_report(out: Output, report: UpgradeReport) -> None:
    out.pairs(
        [
            ("would move" if report.dry_run else "moved", f"{report.moved:,}"),
            ("continuing", f"{report.continuing:,}, for a worker" if report.continuing else None),
            (
                "announced",
                f"{report.announced:,}, whose commands only a real run runs" if report.announced else None,
            ),
            ("skipped", f"{report.skipped:,}, not covered" if report.skipped else None),
            ("busy", f"{report.busy:,}: run it again for these" if report.busy else None),
            ("failed", f"{report.failed:,}" if report.failed else None),
            ("gone", f"{report.gone:,}, finished or moved by others" if report.gone else None),
        ]
    )
    _print_held(out, "failed", report.failures)
    _print_held(out, "busy", report.held)
    if report.cursor is not None and not report.done:
        note(f"go on with: --cursor {report.cursor}")
