"""Is a definition kept as JSON without loss, and recognised by its content?"""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest

from duraflow.definition.payloads import DescribedPayload
from duraflow.definition.serial import difference, duration_text, from_json, to_json
from duraflow.definition.values import CommandRef, GuardRef, State, Transition, Wildcard, all_of, any_of, not_
from duraflow.definition.workflow import Workflow
from duraflow.errors import DefinitionError, InvalidArgument


@attrs.frozen
class Payment:
    amount: Decimal
    note: str = ""


def covers(payload: Any, context: Any) -> bool:
    """A guard given as a function."""
    return bool(payload.amount >= context["amount"])


def full(**changes: Any) -> Workflow:
    """A workflow that uses every field of the model."""
    return Workflow(
        **{
            "name": "fine",
            "version": 3,
            "initial": "sent",
            "states": [
                State(
                    "sent",
                    [
                        Transition(
                            "pay",
                            target="paid",
                            guard=all_of(covers, any_of(GuardRef("g", metadata={"max": 5}), not_("h"))),
                            commands=[
                                CommandRef("charge", external=True, metadata={"$": 1e22}),
                                CommandRef("note", best_effort=True, description="why"),
                                "file",
                            ],
                            error_target="failed",
                            emits=["fine.paid", "mail"],
                            description="pays",
                            metadata={"ui": {"color": "red"}},
                        ),
                        Transition(
                            "remind",
                            target="sent",
                            after=timedelta(days=60, microseconds=1),
                            on_rejected="disarm",
                        ),
                        Transition("expire", target="failed", after="expiry"),
                        Transition(commands=["on_entry"]),
                    ],
                    context={"stage": "sent", "zero": -0.0},
                    description="where it begins",
                    metadata={"x": 1},
                ),
                State(
                    "open",
                    final=False,
                    allow=["no_way_to_final", "only_wildcards_leave", "unreachable_state"],
                ),
                State("paid"),
                State("failed", outcome="failed", final=True),
            ],
            "events": {"pay": Payment, "remind": None},
            "from_any": [Wildcard(Transition("dismiss", target="paid"), within=["early"], exclude=["open"])],
            "groups": {"early": ["sent", "open"]},
            "description": "a fine",
            "metadata": {"owner": "city"},
            **changes,
        }
    )


DOCUMENT: dict[str, Any] = {
    "format": 1,
    "name": "fine",
    "version": 3,
    "initial": "sent",
    "states": [
        {
            "name": "sent",
            "transitions": [
                {
                    "event": "pay",
                    "target": "paid",
                    "guard": {
                        "all_of": [
                            "covers",
                            {"any_of": [{"name": "g", "metadata": {"max": 5}}, {"not": "h"}]},
                        ]
                    },
                    "commands": [
                        {
                            "name": "charge",
                            "metadata": {"$": "object", "v": {"$$": {"$": "float", "v": "1e+22"}}},
                            "external": True,
                        },
                        {"name": "note", "best_effort": True, "description": "why"},
                        "file",
                    ],
                    "error_target": "failed",
                    "emits": ["fine.paid", "mail"],
                    "description": "pays",
                    "metadata": {"ui": {"color": "red"}},
                },
                {"event": "remind", "target": "sent", "after": "P60DT0.000001S", "on_rejected": "disarm"},
                {"event": "expire", "target": "failed", "after": {"function": "expiry"}},
                {"commands": ["on_entry"]},
            ],
            "context": {"stage": "sent", "zero": {"$": "float", "v": "-0.0"}},
            "description": "where it begins",
            "metadata": {"x": 1},
        },
        {
            "name": "open",
            "final": False,
            "allow": ["no_way_to_final", "only_wildcards_leave", "unreachable_state"],
        },
        {"name": "paid"},
        {"name": "failed", "final": True, "outcome": "failed"},
    ],
    "events": {"pay": {"object": {"amount": "decimal", "note": "str"}, "optional": ["note"]}, "remind": None},
    "from_any": [
        {"transitions": [{"event": "dismiss", "target": "paid"}], "within": ["early"], "exclude": ["open"]}
    ],
    "groups": {"early": ["sent", "open"]},
    "description": "a fine",
    "metadata": {"owner": "city"},
}


def test_the_document_is_plain_json() -> None:
    """Every field has its place, and what has its default is left out."""
    assert to_json(full()) == DOCUMENT
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT


def test_a_document_gives_the_definition_back() -> None:
    """Equal, but for handlers and payload classes; the document made from it is the same again."""
    original = full()
    again = Workflow.from_json(json.loads(json.dumps(original.to_json())))
    assert again.to_json() == DOCUMENT
    assert again.hash == original.hash
    assert again.events["pay"] == DescribedPayload(DOCUMENT["events"]["pay"])
    assert attrs.evolve(again, events=original.events) == original
    assert str(again.state("sent").context["zero"]) == "-0.0"


def test_the_shortest_definition_has_the_shortest_document() -> None:
    """Nothing is written that is not said, so that a field added to the model changes no hash."""
    workflow = Workflow(name="w", initial="a", states=[State("a")])
    assert to_json(workflow) == {
        "format": 1,
        "name": "w",
        "version": 1,
        "initial": "a",
        "states": [{"name": "a"}],
    }
    hashed = '{"format":1,"initial":"a","name":"w","states":[{"name":"a"}]}'
    assert workflow.hash == hashlib.sha256(hashed.encode()).hexdigest()


def test_the_hash_does_not_know_the_version() -> None:
    """The same content under another version number has the same hash."""
    assert full(version=4).hash == full().hash


def test_the_hash_knows_names_not_functions() -> None:
    """A guard given as a function and one given by its name are the same content."""

    def flow(guard: Any) -> Workflow:
        states = [State("a", [Transition("go", target="z", guard=guard)]), State("z")]
        return Workflow(name="w", initial="a", states=states)

    assert flow(covers) == flow("covers")
    assert flow(covers).hash == flow("covers").hash


def test_the_hash_does_not_know_the_order_of_mappings_nor_the_name_of_a_class() -> None:
    """Only what can be seen in the document counts; a renamed payload class is the same payload."""

    @attrs.frozen
    class Renamed:
        note: str = ""
        amount: Decimal = attrs.field(kw_only=True)

    turned = full(events={"remind": None, "pay": Renamed}, metadata={"owner": "city"})
    assert turned.hash == full().hash


CHANGES: list[dict[str, Any]] = [
    {"name": "fines"},
    {"initial": "paid"},
    {"description": ""},
    {"metadata": {"owner": "state"}},
    {"events": {"pay": Payment}},
    {"events": {"pay": None, "remind": None}},
    {"groups": {"early": ["open", "sent"]}},
    {"from_any": []},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_every_other_change_changes_the_hash(change: dict[str, Any]) -> None:
    """Content is everything but the version."""
    assert full(**change).hash != full().hash


@pytest.mark.parametrize(
    ("duration", "text"),
    [
        (timedelta(days=60), "P60D"),
        (timedelta(hours=1, minutes=30), "PT1H30M"),
        (timedelta(seconds=1), "PT1S"),
        (timedelta(microseconds=1), "PT0.000001S"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=500), "P1DT2H3M4.5S"),
        (timedelta(seconds=59, microseconds=999_999), "PT59.999999S"),
        (timedelta(days=36_525), "P36525D"),
    ],
)
def test_durations_are_exact_text(duration: timedelta, text: str) -> None:
    """A duration is written as ISO 8601 and read back to the microsecond."""
    assert duration_text(duration) == text
    document = {
        **DOCUMENT,
        "states": [{"name": "sent", "transitions": [{"event": "x", "target": "sent", "after": text}]}],
    }
    document = {key: document[key] for key in ("format", "name", "version", "initial", "states")}
    assert from_json(document).states[0].transitions[0].after == duration


def damaged(path: str, value: Any) -> Any:
    """The document with another value at a path such as `states.0.name`; `...` takes the key away."""
    document = json.loads(json.dumps(DOCUMENT))
    *steps, last = path.split(".")
    where = document
    for step in steps:
        where = where[int(step) if isinstance(where, list) else step]
    if value is ...:
        del where[last]
    elif isinstance(where, list):
        where[int(last)] = value
    else:
        where[last] = value
    return document


FIRST = "states.0.transitions.0"
DAMAGE: list[tuple[str, Any, str]] = [
    ("format", ..., "workflow.format: is missing"),
    ("format", 2, "workflow.format: 2 is unknown, 1 is known"),
    ("format", "1", "workflow.format: expected a whole number, got str"),
    ("name", ..., "workflow.name: is missing"),
    ("name", 5, "workflow.name: expected text, got int"),
    ("version", True, "workflow.version: expected a whole number, got bool"),
    ("initial", None, "workflow.initial: expected text, got null"),
    ("states", {}, "workflow.states: expected a list, got dict"),
    ("states.1", "open", "workflow.states[1]: expected an object, got str"),
    ("states.1.name", ..., "workflow.states[1].name: is missing"),
    ("states.1.final", "no", "workflow.states[1].final: expected true or false, got str"),
    ("states.1.colour", "red", "workflow.states[1].colour: is unknown; a newer version of Duraflow"),
    ("states.0.context", [], "workflow.states[0].context: expected an object, got list"),
    ("states.0.context", {"$": "no"}, "workflow.states[0].context: has an object with the key"),
    (
        "states.0.context",
        {"$": "date", "v": "2024-02-29"},
        "workflow.states[0].context: expected an object, got date",
    ),
    (f"{FIRST}.event", 5, "workflow.states[0].transitions[0].event: expected text, got int"),
    (f"{FIRST}.guard", 5, "workflow.states[0].transitions[0].guard: expected an object, got int"),
    (f"{FIRST}.guard", {}, "workflow.states[0].transitions[0].guard.name: is missing"),
    (f"{FIRST}.guard", {"not": "a", "x": 1}, "workflow.states[0].transitions[0].guard.x: is unknown"),
    (
        f"{FIRST}.guard.all_of.0",
        None,
        "workflow.states[0].transitions[0].guard.all_of[0]: expected an object, got null",
    ),
    (
        f"{FIRST}.commands.0.external",
        1,
        "workflow.states[0].transitions[0].commands[0].external: expected true",
    ),
    (
        f"{FIRST}.after",
        "60 days",
        "workflow.states[0].transitions[0].after: '60 days' is no ISO 8601 duration",
    ),
    (f"{FIRST}.emits", "mail", "workflow.states[0].transitions[0].emits: expected a list, got str"),
    (f"{FIRST}.emits.0", 5, "workflow.states[0].transitions[0].emits[0]: expected text, got int"),
    (f"{FIRST}.after", "P", "workflow.states[0].transitions[0].after: 'P' is no ISO 8601 duration"),
    (f"{FIRST}.after", "P1DT", "workflow.states[0].transitions[0].after: 'P1DT' is no ISO 8601 duration"),
    (
        f"{FIRST}.after",
        "P999999999DT24H",
        "workflow.states[0].transitions[0].after: 'P999999999DT24H' is too long",
    ),
    (f"{FIRST}.after", {"name": "x"}, "workflow.states[0].transitions[0].after.function: is missing"),
    ("events.pay", "Payment", "workflow.events[pay]: expected an object, got str"),
    ("events.pay.object.amount", "money", "workflow.events[pay].object.amount: 'money' is no type"),
    ("from_any.0.transitions", ..., "workflow.from_any[0].transitions: is missing"),
    ("groups.early", "sent", "workflow.groups[early]: expected a list, got str"),
    ("extra", 1, "workflow.extra: is unknown"),
]


@pytest.mark.parametrize(("path", "value", "message"), DAMAGE)
def test_a_damaged_document_is_refused_with_the_path(path: str, value: Any, message: str) -> None:
    """Whatever is wrong with it, the error says where, and it is never a KeyError."""
    with pytest.raises(InvalidArgument) as caught:
        from_json(damaged(path, value))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("data", [None, 5, "text", [], True])
def test_what_is_no_document_is_refused(data: object) -> None:
    """A definition is an object."""
    with pytest.raises(InvalidArgument, match=r"^workflow: expected an object"):
        from_json(data)


def test_endless_nesting_is_refused() -> None:
    """A document too deep to read is an error, not a crash."""
    guard: Any = "g"
    described: Any = "str"
    for _ in range(100_000):
        guard = {"not": guard}
        described = {"list": described}
    with pytest.raises(InvalidArgument, match="is nested too deeply"):
        from_json({**DOCUMENT, "events": {"pay": {"object": {"a": described}}}})
    with pytest.raises(InvalidArgument, match="is nested too deeply"):
        from_json(
            damaged("format", 1)
            | {"states": [{"name": "sent", "transitions": [{"event": "x", "guard": guard}]}]}
        )


def test_a_document_of_a_wrong_definition_is_a_definition_error() -> None:
    """The rules hold for definitions from JSON, too."""
    with pytest.raises(DefinitionError) as caught:
        from_json(damaged(f"{FIRST}.target", "nowhere"))
    assert [finding.code for finding in caught.value.findings] == ["unknown_target"]


def test_a_description_that_is_no_json_is_refused() -> None:
    """A foreign payload type must describe itself in JSON."""

    class Foreign:
        def load(self, data: Any, /) -> object:
            return data

        def dump(self, value: Any, /) -> object:
            return value

        def describe(self) -> dict[str, Any]:
            return {"type": float("nan")}

    with pytest.raises(InvalidArgument, match=r"^events\[pay\]: describe\(\) must give JSON"):
        to_json(full(events={"pay": Foreign()}))


DIFFERENCES: list[tuple[dict[str, Any], str]] = [
    ({"version": 4}, "no difference"),
    ({"initial": "paid"}, 'initial: "sent" became "paid"'),
    ({"description": ""}, 'description: "a fine" is gone'),
    ({"groups": {"early": ["sent"]}}, 'groups.early[1]: "open" is gone'),
    ({"groups": {"early": ["sent", "open"], "g": ["paid"]}}, 'groups.g: ["paid"] is new'),
    ({"events": {"pay": Payment, "remind": Payment}}, "events.remind: null became {"),
    (
        {"initial": "paid", "description": "x", "metadata": {"a": 1}, "events": {}},
        'initial: "sent" became "paid"; events: {"pay": {"object": {"amount": "decimal", "note": "str"}, "o… is gone;',
    ),
]


@pytest.mark.parametrize(("change", "text"), DIFFERENCES)
def test_a_difference_is_told_by_its_first_places(change: dict[str, Any], text: str) -> None:
    """The message of a conflict says what changed, in a line."""
    found = difference(DOCUMENT, to_json(full(**change)))
    assert found.startswith(text)
    assert "\n" not in found


def test_states_are_compared_by_name() -> None:
    """A state put in between changes nothing about those after it."""
    old = {"states": [{"name": "a"}, {"name": "b", "final": True}]}
    new = {"states": [{"name": "a"}, {"name": "c"}, {"name": "b", "final": False}]}
    assert difference(old, new) == 'states[b].final: true became false; states[c]: {"name": "c"} is new'
    assert difference(old, {"states": old["states"][::-1]}) == "states: the order changed"


def test_long_values_are_cut_and_further_places_counted() -> None:
    """A message stays a line, however much changed."""
    old = {str(number): "x" * 100 for number in range(9)}
    found = difference(old, {})
    assert found.endswith("… is gone; and 6 more")
    assert len(found) < 300
