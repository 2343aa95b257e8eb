"""How does a process of its own upgrade instances, slowly enough to be killed in the middle of it?

    python -m tests.pg.upgrade_process DSN NAMESPACE

It prints a line for each batch that is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from duraflow import NewInstance, Runtime, State, Transition, UpgradePlan, UpgradeReport, Workflow
from duraflow_pg import PgPersistence

DAY = timedelta(days=1)


def stamp(ctx: Any) -> None:
    """Leaves a row that belongs to the move."""
    ctx.context["stamped"] = True
    ctx.connection.execute("INSERT INTO app_stamps VALUES (%s)", [ctx.instance.id])


OLD = Workflow(
    name="parcel",
    initial="open",
    states=[
        State("open", [Transition("pack", target="packed"), Transition("expire", target="lost", after=DAY)]),
        State(
            "packed", [Transition("unpack", target="open"), Transition("ship", target="shipped", after=DAY)]
        ),
        State("shipped"),
        State("lost", outcome="failed"),
    ],
)
NEW = Workflow(
    name="parcel",
    version=2,
    initial="open",
    states=[
        State("open", [Transition("wrap", target="wrapped"), Transition("expire", target="lost", after=2 * DAY)]),
        State("wrapped", [Transition("ship", target="stamped")]),
        State("sealed", [Transition(target="stamped", commands=[stamp])]),
        State("stamped", [Transition("ship", target="shipped")]),
        State("shipped"),
        State("lost", outcome="failed"),
    ],
)  # fmt: skip


def counted(context: dict[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Would show if it took effect twice."""
    return {**context, "upgrades": context.get("upgrades", 0) + 1}


def plan(runtime: Runtime) -> UpgradePlan:
    """Open ones stay open, packed ones are sealed, and then stamped by a command."""
    return runtime.plan_upgrade("parcel", 1, 2, states={"packed": "sealed"}, transform=counted)


def make(dsn: str, namespace: str, count: int) -> None:
    """So many instances of the old version, every third one packed."""
    with Runtime(workflows=[OLD], persistence=PgPersistence.from_dsn(dsn, namespace=namespace)) as runtime:
        made = runtime.create_many([NewInstance("parcel", {"n": n}) for n in range(count)])
        for one in made[::3]:
            runtime.fire(one.id, "pack")


def main(dsn: str, namespace: str) -> None:
    """Upgrade them, telling each batch."""

    def told(report: UpgradeReport) -> None:
        sys.stdout.write(f"{report.moved}\n")
        sys.stdout.flush()
        time.sleep(0.02)

    with Runtime(
        workflows=[OLD, NEW], persistence=PgPersistence.from_dsn(dsn, namespace=namespace)
    ) as runtime:
        runtime.apply_upgrade(plan(runtime), batch=7, on_progress=told)
        sys.stdout.write("done\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
