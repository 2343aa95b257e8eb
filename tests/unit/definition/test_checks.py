"""Does every rule about definitions speak up, with its path and code, and do all speak at once?"""

from __future__ import annotations

import ast
import logging
from datetime import timedelta
from enum import Enum, StrEnum
from pathlib import Path
from typing import Any

import pytest

import duraflow.definition.checks
from duraflow.definition.checks.handlers import missing_handlers
from duraflow.definition.values import (
    AllOf,
    CommandRef,
    GuardRef,
    State,
    Transition,
    Wildcard,
    all_of,
    any_of,
    not_,
)
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionError, InvalidArgument

DONE = State("done", final=True)
LEFT = State("left")
DAY = timedelta(days=1)


def one_state(*transitions: Any, **state: Any) -> dict[str, Any]:
    """A definition whose state `open` has these transitions; it leads to `done`."""
    return {
        "name": "w",
        "initial": "open",
        "states": [State("open", transitions or [Transition("go", target="done")], **state), DONE],
    }


def transition(**fields: Any) -> dict[str, Any]:
    """A definition whose first transition differs from a good one in these fields."""
    return one_state(Transition(**{"event": "go", "target": "done", **fields}))


def wildcard(*wildcards: Any) -> dict[str, Any]:
    """A good definition with these wildcards."""
    return {**one_state(), "from_any": wildcards}


OPEN = "states[open]"
FIRST = f"{OPEN}.transitions[0]"
SECOND = f"{OPEN}.transitions[1]"
SHARED = "from_any[0].transitions[0]"
CYCLE = [Transition(target="a")]

ERRORS: list[tuple[str, str, dict[str, Any]]] = [
    # names
    ("bad_name", "name", {**one_state(), "name": 5}),
    ("bad_name", "name", {**one_state(), "name": "a\nb"}),
    ("bad_name", "name", {**one_state(), "name": "a\x00b"}),
    ("bad_name", "name", {**one_state(), "name": "a\ud800"}),
    ("bad_name", f"{FIRST}.event", transition(event=["go", "on"])),
    ("bad_name", "states[0].name", {**one_state(), "states": [State(["open"])]}),
    ("blank_name", "name", {**one_state(), "name": " "}),
    ("blank_name", "name", {**one_state(), "name": ""}),
    ("blank_name", f"{FIRST}.event", transition(event="go ")),
    ("reserved_name", f"{FIRST}.event", transition(event="$auto")),
    ("reserved_name", f"{FIRST}.commands[0]", transition(commands=["$c"])),
    ("reserved_name", f"{FIRST}.guard", transition(guard="$g")),
    ("reserved_name", f"{FIRST}.after", transition(after="$d")),
    ("bad_name", f"{FIRST}.emits[0]", transition(emits=[5])),
    ("bad_name", f"{FIRST}.emits[1]", transition(emits=["told", "a\x00b"])),
    ("blank_name", f"{FIRST}.emits[0]", transition(emits=" told")),
    ("reserved_name", f"{FIRST}.emits[0]", transition(emits=["$told"])),
    ("long_name", f"{FIRST}.emits[0]", transition(emits=["t" * 201])),
    ("reserved_name", "events[$e]", {**one_state(), "events": ["$e"]}),
    ("reserved_name", "groups[$g]", {**one_state(), "groups": {"$g": ["open"]}}),
    ("reserved_name", "states[0].name", {**one_state(), "states": [State("$created")]}),
    ("long_name", "name", {**one_state(), "name": "x" * 201}),
    # the workflow
    ("bad_version", "version", {**one_state(), "version": 0}),
    ("bad_version", "version", {**one_state(), "version": True}),
    ("bad_version", "version", {**one_state(), "version": 1.0}),
    ("bad_version", "version", {**one_state(), "version": 2**31}),
    ("bad_follows", "follows", {**one_state(), "follows": "newest"}),
    ("not_json", "metadata.when", {**one_state(), "metadata": {"when": DAY}}),
    ("not_json", "metadata", {**one_state(), "metadata": {1: 2}}),
    ("not_json", "metadata", {**one_state(), "metadata": ["a"]}),
    ("not_json", "description", {**one_state(), "description": 5}),
    ("not_json", "description", {**one_state(), "description": "a\x00"}),
    ("no_states", "states", {"name": "w", "initial": "open", "states": []}),
    ("unknown_initial", "initial", {**one_state(), "initial": "opne"}),
    ("unknown_initial", "initial", {**one_state(), "initial": []}),
    ("bad_payload_type", "events[go]", {**one_state(), "events": {"go": int}}),
    # states
    ("bad_state", "states[0]", {**one_state(), "states": ["open"]}),
    ("bad_state", "states[0]", {**one_state(), "states": 5}),
    ("duplicate_state", OPEN, {**one_state(), "states": [State("open"), State("open")]}),
    ("bad_transition", FIRST, one_state("done")),
    ("bad_transition", FIRST, {**one_state(), "states": [State("open", "done")]}),  # type: ignore[arg-type]
    ("unknown_finding", f"{OPEN}.allow", one_state(allow="shadowed")),
    ("bad_final", f"{OPEN}.final", one_state(final="no")),
    ("bad_final", f"{OPEN}.final", one_state(final=0)),
    ("final_with_transitions", OPEN, one_state(final=True)),
    ("bad_outcome", "states[end].outcome", {**one_state(), "states": [State("end", outcome="ok")]}),
    ("outcome_of_open_state", f"{OPEN}.outcome", one_state(outcome="done")),
    ("not_json", f"{OPEN}.context.x[1]", one_state(context={"x": [1, float("nan")]})),
    ("not_json", f"{OPEN}.metadata.x", one_state(metadata={"x": "\ud800"})),
    # groups
    ("ambiguous_group", "groups[open]", {**one_state(), "groups": {"open": ["done"]}}),
    ("empty_group", "groups[g]", {**one_state(), "groups": {"g": []}}),
    ("unknown_state", "groups[g]", {**one_state(), "groups": {"g": ["opne"]}}),
    # transitions
    ("unknown_target", f"{FIRST}.target", transition(target="doen")),
    ("unknown_target", f"{FIRST}.target", transition(target=["done"])),
    ("unknown_error_target", f"{FIRST}.error_target", transition(commands=["c"], error_target="x")),
    ("does_nothing", FIRST, transition(target=None)),
    ("does_nothing", FIRST, transition(target=None, emits=[])),
    ("idle_error_target", f"{FIRST}.error_target", transition(error_target="done")),
    ("bad_command", f"{FIRST}.commands[1]", transition(commands=["c", 5])),
    ("bad_command", f"{FIRST}.commands[0].external", transition(commands=[CommandRef("c", external="yes")])),  # type: ignore[arg-type]
    ("bad_command", f"{FIRST}.commands[0]", transition(commands=5)),
    (
        "not_json",
        f"{FIRST}.commands[0].metadata.x",
        transition(commands=[CommandRef("c", metadata={"x": {1}})]),
    ),
    (
        "external_after_transactional",
        f"{FIRST}.commands[1]",
        transition(commands=["c", CommandRef("e", external=True)]),
    ),
    ("empty_guard", f"{FIRST}.guard", transition(guard=all_of())),
    ("empty_guard", f"{FIRST}.guard[1].not", transition(guard=any_of("a", not_(AllOf(()))))),
    ("bad_guard", f"{FIRST}.guard", transition(guard=5)),
    ("bad_guard", f"{FIRST}.guard[0]", transition(guard=all_of(5))),  # type: ignore[arg-type]
    ("not_json", f"{FIRST}.guard.metadata.x", transition(guard=GuardRef("g", metadata={"x": DAY}))),
    ("not_json", f"{FIRST}.metadata.x", transition(metadata={"x": b""})),
    ("not_json", f"{FIRST}.description", transition(description=None)),
    # timers
    ("bad_on_rejected", f"{FIRST}.on_rejected", transition(after=DAY, on_rejected="never")),
    ("not_a_timer", f"{FIRST}.on_rejected", transition(on_rejected="disarm")),
    ("timer_without_event", FIRST, transition(event=None, after=DAY)),
    ("bad_timer", f"{FIRST}.after", transition(after=timedelta(0))),
    ("bad_timer", f"{FIRST}.after", transition(after=-DAY)),
    ("bad_timer", f"{FIRST}.after", transition(after=timedelta.max)),
    ("bad_timer", f"{FIRST}.after", transition(after=60)),
    ("bad_timer", f"{FIRST}.after", transition(after=float("inf"))),
    (
        "two_timers",
        f"{SECOND}.after",
        one_state(
            Transition("go", target="done", after=DAY, guard="g"),
            Transition("go", target="done", after=2 * DAY),
        ),
    ),
    (
        "two_timers",
        f"{SECOND}.on_rejected",
        one_state(
            Transition("go", target="done", after=DAY, guard="g", on_rejected="disarm"),
            Transition("go", target="done", after=DAY),
        ),
    ),
    (
        "two_timers",
        f"{SHARED}.after",
        {
            **transition(after=DAY, guard="g"),
            "from_any": [Transition("go", target="done", after=2 * DAY)],
        },
    ),
    # wildcards
    ("bad_wildcard", "from_any[0]", wildcard("done")),
    ("bad_transition", SHARED, wildcard(Wildcard(["done"]))),  # type: ignore[list-item]
    (
        "unknown_state",
        "from_any[0].within",
        wildcard(Wildcard(Transition("x", target="done"), within="opne")),
    ),
    (
        "unknown_state",
        "from_any[0].exclude",
        wildcard(Wildcard(Transition("x", target="done"), exclude="opne")),
    ),
    (
        "leaves_final_state",
        "from_any[0].within",
        wildcard(Wildcard(Transition("x", target="done"), within="done")),
    ),
    ("automatic_wildcard", SHARED, wildcard(Transition(target="done"))),
    ("unknown_target", f"{SHARED}.target", wildcard(Transition("x", target="doen"))),
    # candidates
    ("shadowed", SECOND, one_state(Transition("go", target="done"), Transition("go", target="open"))),
    (
        "shadowed",
        f"{OPEN}.transitions[2]",
        one_state(
            Transition("go", target="done"),
            Transition("go", target="open", guard="g"),
            Transition("go", target="open", guard="h"),
        ),
    ),
    ("shadowed", SECOND, one_state(Transition("go", commands=["c"]), Transition("go", target="done"))),
    ("shadowed", SECOND, one_state(Transition(target="done"), Transition(target="open", guard="g"))),
    (
        "shadowed",
        "from_any[1].transitions[0]",
        wildcard(Transition("x", target="done"), Transition("x", target="open")),
    ),
    (
        "automatic_cycle",
        "states[a].transitions[0]",
        {"name": "w", "initial": "a", "states": [State("a", [Transition(target="b")]), State("b", CYCLE)]},
    ),
    (
        "automatic_cycle",
        "states[a].transitions[0]",
        {"name": "w", "initial": "a", "states": [State("a", CYCLE)]},
    ),
    (
        "automatic_cycle",
        "states[a].transitions[1]",
        {
            "name": "w",
            "initial": "a",
            "states": [State("a", [Transition(commands=["c"]), Transition(target="a")]), DONE],
        },
    ),
]

WARNINGS: list[tuple[str, str, dict[str, Any]]] = [
    ("unreachable_state", "states[lost]", {**one_state(), "states": [*one_state()["states"], State("lost")]}),
    (
        "no_way_to_final",
        OPEN,
        {"name": "w", "initial": "open", "states": [State("open", [Transition("again", target="open")])]},
    ),
    (
        "only_wildcards_leave",
        OPEN,
        {
            "name": "w",
            "initial": "open",
            "states": [State("open", final=False), DONE],
            "from_any": [Transition("go", target="done")],
        },
    ),
    (
        "final_by_inference",
        "states[left]",
        {
            "name": "w",
            "initial": "open",
            "states": [
                State("open", [Transition("leave", target="left"), Transition("end", target="done")]),
                LEFT,
                DONE,
            ],
            "from_any": [Transition("go", target="done")],
        },
    ),
    ("unanswered_event", "events[stop]", {**one_state(), "events": {"stop": None}}),
]


def codes(findings: Any) -> list[tuple[str, str]]:
    """(code, path) of each finding."""
    return [(finding.code, finding.path) for finding in findings]


@pytest.mark.parametrize(
    ("code", "path", "definition"), ERRORS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_an_error_is_raised_with_its_path_and_code(code: str, path: str, definition: dict[str, Any]) -> None:
    """Each wrong definition is refused on construction, and the finding says where and what."""
    with pytest.raises(DefinitionError) as caught:
        Workflow(**definition)
    assert (code, path) in codes(caught.value.findings)
    assert f"[{code}]" in str(caught.value)
    assert {finding.severity for finding in caught.value.findings} == {"error"}


@pytest.mark.parametrize(
    ("code", "path", "definition"), WARNINGS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_warning_is_logged_once_and_kept(
    code: str, path: str, definition: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A doubtful definition can be used: its findings are logged when it is made, never again."""
    with caplog.at_level(logging.WARNING, "duraflow.definition"):
        workflow = Workflow(**definition)
    assert codes(workflow.findings) == [(code, path)]
    assert workflow.findings == Workflow.check(**definition)
    assert [f"[{code}]" in record.getMessage() for record in caplog.records][:1] == [True]
    caplog.clear()
    assert workflow.findings
    assert caplog.records == []


@pytest.mark.parametrize(
    "code", ["unreachable_state", "no_way_to_final", "only_wildcards_leave", "final_by_inference"]
)
def test_a_warning_can_be_allowed_for_its_state_only(code: str) -> None:
    """`allow` on the state silences the finding there; on another state it does not."""
    definition = next(definition for found, _, definition in WARNINGS if found == code)
    path = next(path for found, path, _ in WARNINGS if found == code)

    def allowing(name: str) -> dict[str, Any]:
        states = [
            State(
                state.name,
                state.transitions,
                final=state.final,
                allow=[code] if (f"states[{state.name}]" == path) == (name == "it") else [],
            )
            for state in definition["states"]
        ]
        return {**definition, "states": states}

    assert Workflow(**allowing("it")).findings == ()
    assert codes(Workflow(**allowing("others")).findings) == [(code, path)]


def test_every_code_has_a_test() -> None:
    """A rule that is added to the checks without an example here is noticed."""
    folder = Path(duraflow.definition.checks.__path__[0])
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in folder.glob("*.py")]
    written = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding":
            code = node.args[1]
            if isinstance(code, ast.Constant):
                written.add(code.value)
        if isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and len(node.value.elts) == 2:
            first = node.value.elts[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                written.add(first.value)
    shown = {code for code, _, _ in ERRORS + WARNINGS}
    assert written - shown == {"unknown_command", "unknown_guard", "unknown_delay"}


def test_all_errors_are_reported_together() -> None:
    """One construction tells everything that is wrong, in every part of the definition."""
    found = Workflow.check(
        name="",
        version=0,
        initial="nowhere",
        states=[
            State("a", [Transition("$x", target="b", guard=all_of(), commands=[5], after=-DAY)]),
            State("a"),
        ],
        groups={"a": []},
        from_any=[Transition(target="a")],
        events={"go": 5},
    )
    assert codes(found) == [
        ("blank_name", "name"),
        ("bad_version", "version"),
        ("duplicate_state", "states[a]"),
        ("ambiguous_group", "groups[a]"),
        ("empty_group", "groups[a]"),
        ("unknown_initial", "initial"),
        ("reserved_name", "states[a].transitions[0].event"),
        ("unknown_target", "states[a].transitions[0].target"),
        ("bad_command", "states[a].transitions[0].commands[0]"),
        ("empty_guard", "states[a].transitions[0].guard"),
        ("bad_timer", "states[a].transitions[0].after"),
        ("automatic_wildcard", "from_any[0].transitions[0]"),
        ("bad_payload_type", "events[go]"),
        ("automatic_cycle", "from_any[0].transitions[0]"),
    ]


def test_one_clash_of_two_wildcards_is_told_once() -> None:
    """However many states two wildcards meet in, their clash is one finding."""
    states = [State(name, [Transition(f"leave_{name}", target="done")]) for name in "abc"]
    found = Workflow.check(
        name="w",
        initial="a",
        states=[*states, DONE],
        from_any=[Transition("x", target="done"), Transition("x", target="a")],
    )
    assert codes(found) == [("shadowed", "from_any[1].transitions[0]")]


def test_what_is_no_mapping_of_groups_is_refused() -> None:
    """Groups have names; a list of states has none."""
    with pytest.raises(InvalidArgument, match="groups: expected a mapping"):
        Workflow(name="w", initial="a", states=[State("a")], groups=["a"])  # type: ignore[arg-type]


def test_an_own_candidate_before_a_wildcard_overrides_it() -> None:
    """A state's own unguarded transition hides a shared one: that is meant, and no finding."""
    workflow = Workflow(**one_state(), from_any=[Transition("go", target="open")])
    assert workflow.findings == ()
    assert [candidate.path for candidate in workflow.state("open").events["go"]] == [FIRST, SHARED]


def test_a_state_that_nothing_leaves_is_not_said_to_be_left_by_wildcards() -> None:
    """Internal transitions leave no state, so only the way to a final state is missing."""
    workflow = Workflow(name="w", initial="a", states=[State("a", [Transition("x", commands=["c"])])])
    assert codes(workflow.findings) == [("no_way_to_final", "states[a]")]


def test_an_error_target_is_a_way_out() -> None:
    """A state that is left only when its internal command fails is left by itself, not by a wildcard."""
    workflow = Workflow(
        name="w",
        initial="a",
        states=[State("a", [Transition("x", commands=["c"], error_target="b")]), State("b", final=True)],
        from_any=[Transition("y", target="b")],
    )
    assert workflow.findings == ()


def test_guarded_automatic_moves_may_lead_back() -> None:
    """Only a cycle that certainly never ends is an error; guards can end one, and the chain bound does."""
    states = [
        State("a", [Transition(target="b", guard="more"), Transition(target="done")]),
        State("b", [Transition(target="a")]),
        DONE,
    ]
    assert Workflow(name="w", initial="a", states=states).findings == ()


@pytest.mark.parametrize(
    "name", ["items", "__init__", "constructor", "class", "None", "keys", "self", "__proto__"]
)
def test_names_of_built_ins_are_ordinary_names(name: str) -> None:
    """Names that mean something to Python or JavaScript mean nothing here, in every place for a name."""
    workflow = Workflow(
        name=name,
        initial=name,
        states=[
            State(
                name,
                [Transition(name, target=name + "2", guard=name, commands=[name], after=name)],
                context={name: name},
            ),
            State(name + "2"),
        ],
        events={name: None},
        groups={name + "3": [name]},
        from_any=[Wildcard(Transition(name + "x", target=name), within=[name + "3"], exclude=[name + "2"])],
        metadata={name: name},
    )
    assert workflow.findings == ()
    assert workflow.state(name).accepted == (name, name + "x")
    assert Workflow.from_json(workflow.to_json()) == workflow


def test_str_enum_members_are_names() -> None:
    """Members of a StrEnum, or of an enum of strings, stand for their values, as plain text."""

    class Stage(StrEnum):
        OPEN = "open"
        DONE = "done"

    class Event(str, Enum):  # noqa: UP042  # the older way to write it must work too
        GO = "go"

    workflow = Workflow(
        name=Stage.OPEN,
        initial=Stage.OPEN,
        states=[
            State(Stage.OPEN, [Transition(Event.GO, target=Stage.DONE, commands=[Stage.DONE])]),
            State(Stage.DONE),
        ],
        events={Event.GO: None},
        groups={Stage.OPEN + "s": [Stage.OPEN]},
        metadata={"stage": Stage.OPEN},
    )
    plain = Workflow(
        name="open",
        initial="open",
        states=[State("open", [Transition("go", target="done", commands=["done"])]), State("done")],
        events={"go": None},
        groups={"opens": ["open"]},
        metadata={"stage": "open"},
    )
    assert workflow == plain
    assert workflow.hash == plain.hash
    texts = [
        workflow.name,
        workflow.initial,
        *workflow.resolved,
        *workflow.event_names,
        workflow.metadata["stage"],
    ]
    assert {type(text) for text in texts} == {str}


def test_a_definition_does_not_follow_later_changes_of_what_it_was_made_from() -> None:
    """Metadata and context are copied as deep as they go."""
    context: dict[str, Any] = {"lines": [{"price": 1}], "pair": (1, 2)}
    workflow = Workflow(**one_state(context=context))
    before = workflow.to_json()
    context["lines"][0]["price"] = 2
    assert workflow.to_json() == before
    assert workflow.state("open").context == {"lines": [{"price": 1}], "pair": [1, 2]}


def test_handlers_that_a_runtime_lacks_are_found() -> None:
    """Once the registries are known, every name that they lack is reported where it is used."""
    workflow = Workflow(
        **transition(commands=["c", "known"], guard=all_of("g", not_("known")), after="d"),
        from_any=[Transition("x", target="done", commands=["c"])],
    )

    def known(name: str) -> bool:
        return name == "known"

    found = missing_handlers(workflow, commands=known, guards=known, delays=known)
    assert codes(found) == [
        ("unknown_command", f"{FIRST}.commands[0]"),
        ("unknown_guard", f"{FIRST}.guard"),
        ("unknown_delay", f"{FIRST}.after"),
        ("unknown_command", f"{SHARED}.commands[0]"),
    ]
