"""What is to be said of a workflow as a whole, before it runs?"""

from __future__ import annotations

from collections.abc import Iterable

from duraflow.definition.workflow import Workflow
from duraflow.errors import InvalidArgument
from duraflow.verify.bounds import bounds_of
from duraflow.verify.checks import find_all
from duraflow.verify.graph import MAX_EDGES, Graph, build
from duraflow.verify.invariants import Invariant
from duraflow.verify.properties import Property
from duraflow.verify.report import Checked, Counterexample, Report


def explore(
    workflow: Workflow,
    *,
    properties: Iterable[Property | Invariant] = (),
    max_automatic_moves: int = 10,
    max_edges: int = MAX_EDGES,
) -> Report:
    """Look at everything that a definition allows: states, events, guards, commands and timers, each way they can go.

    Nothing of yours runs, but for the invariants among the properties, which run on the stores in memory.

    Args:
        properties: what must hold: `never`, `always_reaches`, `at_most`, `invariant`, or anything with their methods.
        max_automatic_moves: as given to the runtime; texts speak of it.
        max_edges: how many ways to go on there may be in all.

    Raises:
        InvalidArgument: a property speaks of something that the workflow does not have, or there is too much of it.
    """
    graph = build(workflow, max_edges=max_edges)
    return Report(
        workflow=workflow.name,
        version=workflow.version,
        hash=workflow.hash,
        findings=find_all(graph, max_automatic_moves),
        checked=tuple(_check(graph, prop) for prop in properties),
        bounds=bounds_of(graph),
        states=tuple(state.name for state in workflow.states if state.name in graph.states),
        outcomes=graph.outcomes,
    )


def _check(graph: Graph, prop: Property | Invariant) -> Checked:
    if isinstance(prop, Invariant):
        tried = prop.check(graph.workflow)
        found = None
        if tried.broken is not None:
            found = Counterexample(prop, tried.broken.run, tried.broken)
        return Checked(prop, found, tried.places, tried.not_covered)
    if not isinstance(prop, Property):
        raise InvalidArgument(
            "properties", f"{prop!r} is no property: use never, always_reaches, at_most, invariant"
        )
    run = prop.counterexample(graph)
    return Checked(prop, None if run is None else Counterexample(prop, run))
