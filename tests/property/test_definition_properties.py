"""Do JSON, hash and diagrams hold for any workflow, and payload types for any value?"""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NotRequired, TypedDict
from uuid import UUID

import attrs
from hypothesis import given
from hypothesis import strategies as st

from duraflow.codec import Codec
from duraflow.definition.payloads import DescribedPayload, FieldsPayload, payload_type
from duraflow.definition.serial import content_hash, difference
from duraflow.definition.workflow import Workflow
from duraflow.diagram import to_dot, to_markdown, to_mermaid, transition_table
from duraflow.diagram.names import identifier
from duraflow.testing.strategies import names, workflows


class Mood(Enum):
    GOOD = "good"
    BAD = 2


class Spot(TypedDict):
    x: int
    note: NotRequired[str]


@attrs.frozen
class Inner:
    size: float
    mood: Mood = Mood.GOOD


@attrs.frozen
class Outer:
    text: str
    count: int
    flag: bool
    money: Decimal
    key: UUID
    raw: bytes
    day: date
    at: datetime
    wait: timedelta
    inner: Inner
    maybe: Inner | None
    either: int | str | Inner | list[Mood]
    spot: Spot
    inners: list[Inner]
    tags: tuple[str, ...]
    pair: tuple[Mood, int]
    moods: set[Mood]
    prices: dict[str, Decimal | None]
    kind: Literal["a", 1, True]
    extra: Any
    parent: Outer | None = None


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
_INNER = st.builds(Inner, st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(Mood))


def _outers(parent: st.SearchStrategy[Outer | None]) -> st.SearchStrategy[Outer]:
    return st.builds(
        Outer,
        text=_TEXT,
        count=st.integers(),
        flag=st.booleans(),
        money=_DECIMALS,
        key=st.uuids(),
        raw=st.binary(max_size=5),
        day=st.dates(),
        at=st.datetimes(timezones=st.just(UTC)),
        wait=st.timedeltas(),
        inner=_INNER,
        maybe=st.none() | _INNER,
        either=st.one_of(
            st.integers(), _TEXT, _INNER, st.lists(st.sampled_from(Mood), min_size=1, max_size=2)
        ),
        spot=st.one_of(st.fixed_dictionaries({"x": st.integers()}, optional={"note": _TEXT})),
        inners=st.lists(_INNER, max_size=2),
        tags=st.lists(_TEXT, max_size=2).map(tuple),
        pair=st.tuples(st.sampled_from(Mood), st.integers()),
        moods=st.sets(st.sampled_from(Mood)),
        prices=st.dictionaries(_TEXT, st.none() | _DECIMALS, max_size=2),
        kind=st.sampled_from(("a", 1, True)),
        extra=st.none() | st.integers() | _TEXT | st.lists(_TEXT, max_size=2),
        parent=parent,
    )


@given(_outers(st.none() | _outers(st.none())))
def test_a_payload_comes_back_as_it_was(value: Outer) -> None:
    """`load(dump(v)) == v`, also through the codec; and the description alone keeps the same data."""
    payload = payload_type(Outer)
    assert isinstance(payload, FieldsPayload)
    assert payload.load(value) is value
    dumped = payload.dump(value)
    assert payload.load(dumped) == value
    assert payload.load(Codec().copy(dumped)) == value
    described = DescribedPayload(json.loads(json.dumps(payload.describe())))
    assert described.describe() == payload.describe()
    assert described.dump(described.load(dumped)) == dumped


@given(workflows(events={"outer": Outer, "free": None}))
def test_a_workflow_comes_back_from_its_json(workflow: Workflow) -> None:
    """Through JSON text, a definition is equal but for the payload classes; its document and hash are the same."""
    document = workflow.to_json()
    again = Workflow.from_json(json.loads(json.dumps(document)))
    assert again.to_json() == document
    assert again.hash == workflow.hash == content_hash(workflow)
    assert attrs.evolve(again, events=workflow.events) == workflow
    assert again.findings == workflow.findings
    assert difference(document, again.to_json()) == "no difference"


@given(workflows(), st.integers(1, 100))
def test_the_hash_leaves_the_version_out(workflow: Workflow, version: int) -> None:
    """The version number alone does not make another content."""
    assert attrs.evolve(workflow, version=version).hash == workflow.hash


@given(workflows())
def test_a_changed_workflow_has_another_hash_and_a_difference(workflow: Workflow) -> None:
    """Adding one label is seen by the hash and told by `difference`."""
    changed = attrs.evolve(workflow, metadata={**workflow.metadata, "really new": True})
    assert changed.hash != workflow.hash
    assert difference(workflow.to_json(), changed.to_json()) != "no difference"


@given(st.lists(names(), unique=True))
def test_two_names_never_become_one_identifier(found: list[str]) -> None:
    """Identifiers are safe words, as many as there are names, and none is one that diagrams need themselves."""
    identifiers = {identifier(name) for name in found}
    assert len(identifiers) == len(found)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", found) for found in identifiers)
    taken = {"root", "root_start", "root_end", "end", "state", "note", "graph", "node", "edge"}
    assert not any(
        found.startswith(("x__any", "x__start")) or found.lower() in taken for found in identifiers
    )


_LINE = re.compile(
    r"""stateDiagram-v2
    |\ {4}direction\ (TB|BT|LR|RL)
    |\ {4}state\ "[^"]+"\ as\ \w+
    |\ {4}(\w+|\[\*\])\ -->\ (\w+|\[\*\])(\ :\ [^;:"<>{}|]*?([^;:"<>{}|]|\#\d+;)+)?
    |\ {4}\w+\ :\ ([^;:"<>{}|]|\#\d+;)+
    |\ {4}classDef\ highlighted\ \S+
    |\ {4}class\ \w+\ highlighted""",
    re.VERBOSE,
)


@given(workflows())
def test_mermaid_lines_are_well_formed(workflow: Workflow) -> None:
    """Every state and every edge has its line, and no name can break one."""
    text = to_mermaid(workflow, highlight=workflow.initial, counts=dict.fromkeys(workflow.resolved, 2))
    lines = text.split("\n")
    assert [line for line in lines if not _LINE.fullmatch(line)] == []
    declared = [line.rpartition(" ")[2] for line in lines if line.startswith("    state ")]
    assert len(set(declared)) == len(declared)
    assert set(declared) >= {identifier(name) for name in workflow.resolved}
    rows = transition_table(workflow)
    edges = [line for line in lines if " --> " in line.partition(" : ")[0]]
    finals = sum(state.final for state in workflow.resolved.values())
    moves = sum(not row.internal for row in rows) + sum(row.error_target is not None for row in rows)
    assert len(edges) == 1 + moves + finals
    used = {word for line in edges for word in re.findall(r"\w+", line.partition(" : ")[0])}
    assert used <= set(declared)


_DOT_STRING = r'"(?:[^"\\]|\\.)*"'
_DOT_LINE = re.compile(
    rf"digraph {_DOT_STRING} {{{{|}}}}|    rankdir=\w\w;|    node \[.*\];"
    rf"|    \w+(?: -> \w+)?(?: \[\w+=(?:{_DOT_STRING}|\w+)(?:, \w+=(?:{_DOT_STRING}|\w+))*\])?;".replace(
        "{{", "{"
    ).replace("}}", "}")
)


@given(workflows())
def test_dot_lines_are_well_formed(workflow: Workflow) -> None:
    """No name can break a line of DOT."""
    lines = to_dot(workflow).split("\n")
    assert [line for line in lines if not _DOT_LINE.fullmatch(line)] == []
    nodes = {
        line.split()[0] for line in lines if line.startswith("    ") and " -> " not in line.partition("[")[0]
    }
    assert nodes >= {identifier(name) for name in workflow.resolved}


@given(workflows())
def test_markdown_tables_are_well_formed(workflow: Workflow) -> None:
    """Every row has as many cells as the head, whatever names and descriptions hold."""
    lines = to_markdown(workflow).split("\n")
    assert len(lines) == 2 + len(transition_table(workflow))
    assert {line.count("|") for line in lines} == {lines[0].count("|")}
