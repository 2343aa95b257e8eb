"""Do the diagrams and the table show what the definition says?"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from duraflow.definition.values import CommandRef, State, Transition, Wildcard, all_of, any_of, not_
from duraflow.definition.workflow import Workflow
from duraflow.diagram import Row, to_dot, to_markdown, to_mermaid, transition_table
from duraflow.diagram.names import identifier
from duraflow.diagram.table import delay_text, guard_text
from duraflow.errors import InvalidArgument

FINE = Workflow(
    name="traffic-fine",
    initial="created",
    states=[
        State(
            "created",
            [
                Transition(
                    "send",
                    target="sent",
                    commands=[CommandRef("print", external=True), CommandRef("file", best_effort=True)],
                    error_target="undeliverable",
                ),
                Transition("pay", target="paid", guard=all_of("enough", any_of("small", not_("late fee")))),
                Transition("pay", commands=["note_part_payment"], description="stays | put"),
            ],
        ),
        State(
            "sent",
            [
                Transition("remind", target="sent", after=timedelta(days=60)),
                Transition("expire", target="checking", after="expiry", guard="open"),
            ],
        ),
        State("checking", [Transition(target="paid", guard="settled"), Transition(target="undeliverable")]),
        State("paid"),
        State("undeliverable", outcome="failed"),
    ],
    groups={"early": ["created", "sent"]},
    from_any=[
        Transition("dismiss", target="paid"),
        Wildcard(
            [Transition("lose", target="undeliverable"), Transition("touch", commands=["note"])],
            within=["early"],
            exclude=["sent"],
        ),
    ],
)


def test_the_table_lists_every_transition_in_the_order_of_the_definition() -> None:
    """States first, then wildcards, each once; texts are ready to be shown."""
    assert transition_table(FINE) == (
        Row(
            path="states[created].transitions[0]",
            source="created",
            kind="event",
            event="send",
            commands="print (external), file (best effort)",
            target="sent",
            error_target="undeliverable",
        ),
        Row(
            path="states[created].transitions[1]",
            source="created",
            kind="event",
            event="pay",
            guard="enough and (small or not “late fee”)",
            target="paid",
        ),
        Row(
            path="states[created].transitions[2]",
            source="created",
            kind="event",
            event="pay",
            commands="note_part_payment",
            target=None,
            description="stays | put",
        ),
        Row(
            path="states[sent].transitions[0]",
            source="sent",
            kind="timer",
            event="remind",
            target="sent",
            after="60d",
        ),
        Row(
            path="states[sent].transitions[1]",
            source="sent",
            kind="timer",
            event="expire",
            guard="open",
            target="checking",
            after="expiry",
        ),
        Row(
            path="states[checking].transitions[0]",
            source="checking",
            kind="automatic",
            event=None,
            guard="settled",
            target="paid",
        ),
        Row(
            path="states[checking].transitions[1]",
            source="checking",
            kind="automatic",
            event=None,
            target="undeliverable",
        ),
        Row(path="from_any[0].transitions[0]", source=None, kind="event", event="dismiss", target="paid"),
        Row(
            path="from_any[1].transitions[0]",
            source=None,
            within=("early",),
            exclude=("sent",),
            kind="event",
            event="lose",
            target="undeliverable",
        ),
        Row(
            path="from_any[1].transitions[1]",
            source=None,
            within=("early",),
            exclude=("sent",),
            kind="event",
            event="touch",
            commands="note",
            target=None,
        ),
    )
    rows = transition_table(FINE)
    assert [row.internal for row in rows] == [False, False, True, *[False] * 6, True]
    assert [row.reach for row in rows] == [
        *[""] * 7,
        "any state",
        "any of early but sent",
        "any of early but sent",
    ]


MERMAID = """\
stateDiagram-v2
    direction LR
    state "created" as created
    state "sent (1200)" as sent
    state "checking" as checking
    state "paid (0)" as paid
    state "undeliverable" as undeliverable
    state "any state" as x__any
    state "any of early but sent" as x__any_2
    [*] --> created
    created --> sent : send / print (external), file (best effort)
    created --> undeliverable : ✗ send
    created --> paid : pay [enough and (small or not “late fee”)]
    created : pay / note_part_payment
    sent --> sent : remind ⏱ 60d
    sent --> checking : expire ⏱ expiry [open]
    checking --> paid : [settled]
    checking --> undeliverable
    x__any --> paid : dismiss
    x__any_2 --> undeliverable : lose
    x__any_2 : touch / note
    paid --> [*]
    undeliverable --> [*] : failed
    classDef highlighted fill:#ffd54f,stroke:#e65100,stroke-width:3px
    class sent highlighted"""


def test_mermaid_shows_all_of_it() -> None:
    """One line for each state and edge; counts, highlight and direction on demand."""
    counts = {"sent": 1200, "paid": 0, "of another version": 1}
    assert to_mermaid(FINE, direction="LR", highlight="sent", counts=counts) == MERMAID


def test_mermaid_escapes_what_it_would_read() -> None:
    """Punctuation in names becomes codes, so that a name is a name."""
    workflow = Workflow(
        name="w",
        initial='a"b',
        states=[
            State(
                'a"b',
                [Transition("x; y: z", target="end", guard="p --> q", commands=["#35;", "<br>", "\\n"])],
            ),
            State("end"),
        ],
    )
    assert to_mermaid(workflow).splitlines()[2:] == [
        '    state "a#34;b" as x_a_22_b',
        '    state "end" as x_end',
        "    [*] --> x_a_22_b",
        "    x_a_22_b --> x_end : x#59; y#58; z [“p --#62; q”] / #35;35#59;, #60;br#62;, #92;n",
        "    x_end --> [*]",
    ]


DOT = """\
digraph "traffic-fine" {
    rankdir=TB;
    node [shape=box, style="rounded,filled", fillcolor=white];
    x__start [shape=point];
    created [label="created"];
    sent [label="sent (3)", fillcolor=gold];
    checking [label="checking"];
    paid [label="paid", peripheries=2];
    undeliverable [label="undeliverable", peripheries=2];
    x__any [label="any state", style="rounded,dashed"];
    x__any_2 [label="any of early but sent", style="rounded,dashed"];
    x__start -> created;
    created -> sent [label="send / print (external), file (best effort)"];
    created -> undeliverable [label="✗ send", style=dashed];
    created -> paid [label="pay [enough and (small or not “late fee”)]"];
    created -> created [label="pay / note_part_payment", style=dotted];
    sent -> sent [label="remind ⏱ 60d"];
    sent -> checking [label="expire ⏱ expiry [open]"];
    checking -> paid [label="[settled]"];
    checking -> undeliverable [label=""];
    x__any -> paid [label="dismiss"];
    x__any_2 -> undeliverable [label="lose"];
    x__any_2 -> x__any_2 [label="touch / note", style=dotted];
}"""


def test_dot_shows_all_of_it() -> None:
    """The same for Graphviz, with dashed edges for failures and dotted loops for what stays."""
    assert to_dot(FINE, highlight="sent", counts={"sent": 3}) == DOT


def test_dot_escapes_what_it_would_read() -> None:
    """Quotes, backslash sequences and entities are shown as they are."""
    workflow = Workflow(name='a"\\', initial="\\N &amp;", states=[State("\\N &amp;")])
    lines = to_dot(workflow).splitlines()
    assert lines[0] == 'digraph "a\\"\\\\" {'
    assert lines[4] == '    x__5c_N_20__26_amp_3b_ [label="\\\\N &amp;amp;", peripheries=2];'


def test_markdown_shows_all_of_it() -> None:
    """A table with the columns that have something in them."""
    assert to_markdown(FINE).splitlines() == [
        "| From | Event | After | Guard | Commands | To | On failure | Description |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| `created` | `send` |  |  | `print (external), file (best effort)` | `sent` | `undeliverable` |  |",
        "| `created` | `pay` |  | `enough and (small or not “late fee”)` |  | `paid` |  |  |",
        "| `created` | `pay` |  |  | `note_part_payment` | *stays* |  | stays &#124; put |",
        "| `sent` | `remind` | 60d |  |  | `sent` |  |  |",
        "| `sent` | `expire` | expiry | `open` |  | `checking` |  |  |",
        "| `checking` | *automatic* |  | `settled` |  | `paid` |  |  |",
        "| `checking` | *automatic* |  |  |  | `undeliverable` |  |  |",
        "| *any state* | `dismiss` |  |  |  | `paid` |  |  |",
        "| *any of early but sent* | `lose` |  |  |  | `undeliverable` |  |  |",
        "| *any of early but sent* | `touch` |  |  | `note` | *stays* |  |  |",
    ]


def test_markdown_escapes_what_it_would_read() -> None:
    """A pipe, a back-tick and a line break do not break the table."""
    states = [State("a|b", [Transition("`x`", target="a|b", description="one\n*two*")])]
    workflow = Workflow(name="w", initial="a|b", states=states)
    assert to_markdown(workflow).splitlines()[2:] == [
        "| <code>a&#124;b</code> | <code>&#96;x&#96;</code> | <code>a&#124;b</code> | one&#10;&#42;two&#42; |",
    ]


TELLING = Workflow(
    name="telling",
    initial="open",
    states=[
        State(
            "open",
            [
                Transition("pay", target="paid", guard="enough", commands=["book"], emits=["paid", "mail"]),
                Transition("note", emits=["noted"]),
                Transition(emits=["entered"]),
                Transition("give up", target="paid", commands=["tell"]),
            ],
        ),
        State("paid"),
    ],
)


def test_what_a_transition_emits_is_shown() -> None:
    """In the table, as a column where there is something to say, and behind what the transition does."""
    assert [row.emits for row in transition_table(TELLING)] == ["paid, mail", "noted", "entered", ""]
    assert to_markdown(TELLING).splitlines() == [
        "| From | Event | Guard | Commands | Emits | To |",
        "| --- | --- | --- | --- | --- | --- |",
        "| `open` | `pay` | `enough` | `book` | `paid, mail` | `paid` |",
        "| `open` | `note` |  |  | `noted` | *stays* |",
        "| `open` | *automatic* |  |  | `entered` | *stays* |",
        "| `open` | `give up` |  | `tell` |  | `paid` |",
    ]
    assert to_mermaid(TELLING).splitlines()[5:9] == [
        "    open --> paid : pay [enough] / book ✉ paid, mail",
        "    open : note ✉ noted",
        "    open : ✉ entered",
        "    open --> paid : give up / tell",
    ]
    assert 'label="pay [enough] / book ✉ paid, mail"' in to_dot(TELLING)


def test_a_changed_transition_changes_one_line() -> None:
    """Diagrams are for version control: a small change gives a small diff."""
    created = FINE.states[0]
    changed = attrs.evolve(created.transitions[1], guard="enough")
    states = [
        attrs.evolve(created, transitions=[created.transitions[0], changed, created.transitions[2]]),
        *FINE.states[1:],
    ]
    workflow = attrs.evolve(FINE, states=states)
    for draw in (to_mermaid, to_dot, to_markdown):
        pairs = zip(draw(FINE).splitlines(), draw(workflow).splitlines(), strict=True)
        assert sum(old != new for old, new in pairs) == 1


@pytest.mark.parametrize("draw", [to_mermaid, to_dot])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"direction": "UP"}, "direction: 'UP' is not one of TB, BT, LR, RL"),
        ({"highlight": "nowhere"}, "highlight: workflow 'traffic-fine' has no state 'nowhere'"),
    ],
)
def test_wrong_options_are_refused(draw: Any, options: dict[str, Any], message: str) -> None:
    """A direction or a state that there is not is the caller's mistake."""
    with pytest.raises(InvalidArgument) as caught:
        draw(FINE, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("guard", "text"),
    [
        ("a", "a"),
        (not_("a"), "not a"),
        (all_of("a", "b"), "a and b"),
        (any_of("a", all_of("b", "c")), "a or (b and c)"),
        (not_(any_of("a", "b")), "not (a or b)"),
        (all_of("a", not_(not_("b"))), "a and not not b"),
        (all_of(any_of("a")), "a"),
        (all_of("a or b", "c"), "“a or b” and c"),
    ],
)
def test_guards_read_as_conditions(guard: Any, text: str) -> None:
    """Brackets where needed, quotes around names with spaces."""
    assert guard_text(Transition("x", guard=guard).guard) == text


@pytest.mark.parametrize(
    ("delay", "text"),
    [
        (None, ""),
        (timedelta(days=60), "60d"),
        (timedelta(hours=1, minutes=30), "1h 30m"),
        (timedelta(seconds=10), "10s"),
        (timedelta(microseconds=1), "0.000001s"),
        (timedelta(days=1, seconds=0.5), "1d 0.5s"),
    ],
)
def test_delays_are_short(delay: timedelta | None, text: str) -> None:
    """A delay reads as its parts, exactly."""
    assert delay_text(delay) == text


def test_identifiers_of_plain_names_are_the_names() -> None:
    """What a diagram takes as it is stays readable; reserved words and odd characters are escaped."""
    assert [identifier(name) for name in ("paid", "in_review2", "x", "xylophone")] == [
        "paid",
        "in_review2",
        "x",
        "xylophone",
    ]
    escaped = ["end", "State", "root_start", "x_a", "x_end", "_a", "2a", "a-b", "ä", "a b"]
    assert [identifier(name) for name in escaped] == [
        "x_end",
        "x_State",
        "x_root_5f_start",
        "x_x_5f_a",
        "x_x_5f_end",
        "x__5f_a",
        "x_2a",
        "x_a_2d_b",
        "x__e4_",
        "x_a_20_b",
    ]
