"""Does the real Mermaid read our diagrams as what they mean?"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from duraflow.definition.values import State, Transition, Wildcard
from duraflow.definition.workflow import Workflow
from duraflow.diagram import Row, to_mermaid, transition_table
from duraflow.diagram.mermaid import edge_text, failure_text, wildcard_ids
from duraflow.diagram.names import identifier
from duraflow.testing.strategies import HOSTILE_NAMES, workflows
from tests.unit.definition.test_diagrams import FINE

# The last of each that run on Node 20; the words that must be escaped are those of this Mermaid.
PACKAGES = {"mermaid": "11.17.2", "jsdom": "29.1.1"}
SCRIPT = Path(__file__).with_name("mermaid_parse.mjs")
CACHE = Path(__file__).parents[3] / "build" / "mermaid-node"
SAMPLES = 40


def installed() -> Path:
    """A folder in which Node finds the packages; kept for later runs, skips the test where it cannot be had."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("mermaid leg: needs node and npm")
    folder = CACHE / "-".join(f"{name}-{version}" for name, version in PACKAGES.items())
    if not folder.is_dir():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Made beside and moved into place at once: several test processes may be at it.
        made = Path(tempfile.mkdtemp(dir=CACHE, prefix="new-"))
        try:
            (made / "package.json").write_text(json.dumps({"private": True, "dependencies": PACKAGES}))
            command = [npm, "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock"]
            # Without a registry the answer should come soon.
            command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
            done = subprocess.run(command, cwd=made, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode != 0:
                pytest.skip(f"mermaid leg: npm install failed: {done.stderr.strip()[-300:]}")
            try:
                made.rename(folder)
            except OSError:
                assert folder.is_dir()
        except subprocess.TimeoutExpired:
            pytest.skip("mermaid leg: npm install took longer than two minutes")
        finally:
            shutil.rmtree(made, ignore_errors=True)
    return folder


def understood(diagrams: list[str]) -> list[dict[str, Any]]:
    """What Mermaid understood of each diagram, from one Node process."""
    folder = installed()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        # Node looks for packages from where the script is.
        script = shutil.copy(SCRIPT, place)
        done = subprocess.run(
            [str(shutil.which("node")), script],
            input=json.dumps(diagrams),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={"PATH": os.environ.get("PATH", "")},
        )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def samples() -> list[Workflow]:
    """Workflows as hypothesis finds them, and those that a person would think of."""
    # All hostile names in one diagram and in every place: two that fall together would be seen.
    every = HOSTILE_NAMES
    states = [
        State(
            name,
            [
                Transition(name, target=after, guard=name, commands=[name, after], error_target=name),
                Transition("stay", commands=[name], after=name),
            ],
        )
        for name, after in zip(every, [*every[1:], every[0]], strict=True)
    ]
    # The names of groups must not be those of states.
    groups = {f"{name[:150]} group": [name] for name in every}
    shared = [
        Wildcard([Transition("shared", target=group[:-6])], within=[group]) for group in list(groups)[:-1]
    ]
    hostile = Workflow(name="all", initial="end", states=states, groups=groups, from_any=shared)
    found = [FINE, hostile]

    @settings(
        max_examples=SAMPLES,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(workflows())
    def collect(workflow: Workflow) -> None:
        found.append(workflow)

    collect()
    return found


def meant(workflow: Workflow) -> dict[str, Any]:
    """What Mermaid should understand: texts by state, and how often each edge is there."""
    rows = transition_table(workflow)
    nodes = wildcard_ids(rows)

    def source(row: Row) -> str:
        return identifier(row.source) if row.source is not None else nodes[row.within, row.exclude][1]

    states = {identifier(name): [f"{name} (1)"] for name in workflow.resolved}
    states |= {node: [row.reach] for row, node in nodes.values()}
    edges = Counter([("root_start", identifier(workflow.initial), "")])
    for row in rows:
        if row.target is None:
            states[source(row)].append(edge_text(row))
        else:
            edges[source(row), identifier(row.target), edge_text(row)] += 1
        if row.error_target is not None:
            edges[source(row), identifier(row.error_target), failure_text(row)] += 1
    for name, state in workflow.resolved.items():
        if state.final:
            edges[identifier(name), "root_end", "" if state.outcome == "done" else str(state.outcome)] += 1
    return {"states": states, "edges": edges}


@pytest.mark.slow
def test_mermaid_understands_every_name_and_edge() -> None:
    """States, labels and edges come out as they went in, whatever the names are."""
    found = samples()
    diagrams = [
        to_mermaid(workflow, highlight=workflow.initial, counts=dict.fromkeys(workflow.resolved, 1))
        for workflow in found
    ]
    for workflow, diagram, result in zip(found, diagrams, understood(diagrams), strict=True):
        assert "error" not in result, f"{result['error']}\n{diagram}"
        states = {key: texts for key, texts in result["states"] if key not in {"root_start", "root_end"}}
        edges = Counter(tuple(edge) for edge in result["edges"])
        assert {"states": states, "edges": edges} == meant(workflow), diagram
