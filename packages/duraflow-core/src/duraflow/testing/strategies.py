"""How do property tests get workflows? Hypothesis strategies; they need the package `hypothesis`.

>>> from hypothesis import given
>>> @given(workflows())
... def test_round_trip(workflow):
...     assert Workflow.from_json(workflow.to_json()) == workflow
>>> test_round_trip()
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import cache
from typing import Any

from hypothesis import strategies as st

from duraflow.definition.checks.names import MAX_NAME, name_problem
from duraflow.definition.values import (
    OUTCOMES,
    CommandRef,
    DelayRef,
    Guard,
    GuardRef,
    State,
    Transition,
    Wildcard,
    all_of,
    any_of,
    not_,
)
from duraflow.definition.workflow import Workflow

HOSTILE_NAMES = (
    # built-ins of Python and JavaScript
    *(
        "items",
        "keys",
        "__init__",
        "__class__",
        "__proto__",
        "constructor",
        "class",
        "None",
        "self",
        "toString",
    ),
    # words of Mermaid, DOT, SQL and YAML
    *(
        "end",
        "state",
        "State",
        "note",
        "default",
        "style",
        "root_start",
        "root",
        "graph",
        "node",
        "select",
        "null",
    ),
    # punctuation and what looks like an escape
    *(
        "a b",
        "a-b",
        "a_b",
        "a.b",
        "x_a",
        "x_61_",
        "x__any",
        "x__start",
        '"',
        "'",
        "\\",
        "a|b",
        "`",
        "[*]",
        "-->",
    ),
    *(
        "#35;",
        "&amp;",
        "<br>",
        "a: b",
        "a; b",
        "%% c",
        "{}",
        "$".join("ab"),
        "a\\nb",
        "state a as b",
        "/",
        "[x]",
    ),
    # not ASCII
    *("größe", "状態", "🙂", "e\u0301", "\u00e9", "ﬂ°°35¶ß", "a\u2028b", "\u202ea", "a\u00a0b", "İ", "ı"),
    "x" * MAX_NAME,
)


# Making and validating a strategy takes longer than drawing from it.
@cache
def names(*, hostile: bool = True) -> st.SearchStrategy[str]:
    """Valid names of states, events, commands: with `hostile`, also those that break careless code."""
    plain = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
    if not hostile:
        return plain
    text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
        lambda name: name_problem(name) is None
    )
    return st.one_of(plain, st.sampled_from(HOSTILE_NAMES), text)


@cache
def json_objects(*, max_leaves: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    """JSON objects as they stand in metadata and context, floats that `jsonb` changes and the codec's keys included."""
    texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    keys = st.one_of(texts, st.sampled_from(("$", "$$", "v", "name", "__proto__")))
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    )
    values = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
        max_leaves=max_leaves,
    )
    return st.dictionaries(keys, values, max_size=3)


@cache
def guards(names_: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Guard]:
    """Guards and combinations of them."""
    refs = st.builds(
        GuardRef, names() if names_ is None else names_, metadata=st.just({}) | json_objects(max_leaves=2)
    )
    return st.recursive(
        refs,
        lambda inner: st.one_of(
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: all_of(*parts)),
            st.lists(inner, min_size=1, max_size=3).map(lambda parts: any_of(*parts)),
            inner.map(not_),
        ),
        max_leaves=4,
    )


@cache
def durations() -> st.SearchStrategy[timedelta]:
    """Delays of timers, from a microsecond to a hundred years."""
    return st.one_of(
        st.sampled_from(
            (timedelta(microseconds=1), timedelta(seconds=1), timedelta(days=60), timedelta(days=36_525))
        ),
        st.timedeltas(timedelta(microseconds=1), timedelta(days=36_525)),
    )


@st.composite
def workflows(
    draw: st.DrawFn,
    *,
    hostile: bool = True,
    max_states: int = 5,
    commands: st.SearchStrategy[str] | None = None,
    guard_names: st.SearchStrategy[str] | None = None,
    delays: st.SearchStrategy[str] | None = None,
    external: bool = True,
    wildcards: bool = True,
    events: Mapping[str, Any] | None = None,
) -> Workflow:
    """Valid workflows that use every part of the model.

    Args:
        draw: given by hypothesis.
        hostile: with names that break careless code.
        max_states: at most so many states, at least one.
        commands: names of commands, to be registered by the test; any by default.
        guard_names: the same for guards.
        delays: the same for delay functions.
        external: with external commands, which `fire` refuses.
        wildcards: with transitions from many states.
        events: payload types of events; their names are among those used.
    """
    name = names(hostile=hostile)
    maker = _Maker(
        draw,
        states=draw(st.lists(name, min_size=1, max_size=max_states, unique=True)),
        events=[*(events or {}), *draw(st.lists(name, min_size=1, max_size=4, unique=True))],
        commands=name if commands is None else commands,
        guards=guards(name if guard_names is None else guard_names),
        delays=name if delays is None else delays,
        external=external,
    )
    states = [maker.state(index) for index in range(len(maker.states))]
    open_states = [state.name for state in states if state.transitions or state.final is False]
    groups = {}
    if draw(st.booleans()):
        group = draw(name.filter(lambda found: found not in maker.states))
        groups[group] = draw(st.lists(st.sampled_from(maker.states), min_size=1, max_size=3, unique=True))
    from_any = maker.wildcards(open_states, list(groups)) if wildcards else []
    return Workflow(
        name=draw(name),
        version=draw(st.integers(1, 5)),
        initial=draw(st.sampled_from(maker.states)),
        states=states,
        events=events or {},
        from_any=from_any,
        groups=groups,
        description=draw(st.sampled_from(("", "what it | is\nfor"))),
        metadata=draw(json_objects()),
    )


class _Maker:
    """Makes the parts of one workflow so that they fit together."""

    def __init__(
        self,
        draw: st.DrawFn,
        *,
        states: list[str],
        events: list[str],
        commands: st.SearchStrategy[str],
        guards: st.SearchStrategy[Guard],
        delays: st.SearchStrategy[str],
        external: bool,
    ) -> None:
        self.draw = draw
        self.states = states
        self.events = list(dict.fromkeys(events))
        self._commands = commands
        self._guards = guards
        self._delays = delays
        self._external = external

    def state(self, index: int) -> State:
        draw = self.draw
        transitions: list[Transition] = []
        for event in draw(st.lists(st.sampled_from(self.events), max_size=3, unique=True)):
            transitions += self._answers(event, draw(st.integers(1, 3)), timers=True)
        transitions += self._automatic(index)
        final: bool | None = None
        outcome = None
        if not transitions:
            final = draw(st.sampled_from((None, True, False)))
            outcome = draw(st.sampled_from((None, *OUTCOMES))) if final is not False else None
        return State(
            self.states[index],
            transitions,
            context=draw(json_objects()),
            final=final,
            outcome=outcome,
            allow=draw(st.sampled_from(((), ("no_way_to_final", "unreachable_state")))),
            description=draw(st.sampled_from(("", "somewhere"))),
        )

    def wildcards(self, open_states: list[str], groups: list[str]) -> list[Wildcard]:
        draw = self.draw
        found = []
        # Each event once, so that no wildcard hides another.
        for event in draw(st.lists(st.sampled_from(self.events), max_size=2, unique=True)):
            within: list[str] = []
            limited = draw(st.booleans())
            if limited and open_states:
                within = draw(
                    st.lists(st.sampled_from(open_states + groups), min_size=1, max_size=2, unique=True)
                )
            exclude = draw(st.lists(st.sampled_from(self.states + groups), max_size=2, unique=True))
            answers = self._answers(event, draw(st.integers(1, 2)), timers=False)
            found.append(Wildcard(answers, within=within, exclude=exclude))
        return found

    def _answers(self, event: str, count: int, *, timers: bool) -> list[Transition]:
        """Candidates for one event: all but the last have a guard, and all timers agree."""
        draw = self.draw
        after = None
        if timers and draw(st.booleans()):
            after = draw(st.one_of(durations(), st.builds(DelayRef, self._delays)))
        on_rejected = draw(st.sampled_from(("retry", "disarm"))) if after is not None else "retry"
        return [
            self._transition(
                event=event,
                after=after,
                on_rejected=on_rejected,
                guard=draw(self._guards if number < count - 1 else st.one_of(st.none(), self._guards)),
                target=draw(st.one_of(st.none(), st.sampled_from(self.states))),
            )
            for number in range(count)
        ]

    def _automatic(self, index: int) -> list[Transition]:
        """Automatic transitions: without a guard only onward, so that none goes round for ever."""
        draw = self.draw
        found = []
        for _ in range(draw(st.integers(0, 2))):
            target = draw(st.one_of(st.none(), st.sampled_from(self.states)))
            guard = draw(self._guards) if target is not None else draw(st.one_of(st.none(), self._guards))
            found.append(self._transition(event=None, target=target, guard=guard))
        onward = self.states[index + 1 :]
        if onward and draw(st.integers(0, 3)) == 0:
            found.append(self._transition(event=None, target=draw(st.sampled_from(onward)), guard=None))
        return found

    def _transition(self, *, target: str | None, **fields: Any) -> Transition:
        draw = self.draw
        kinds = draw(st.lists(st.booleans(), min_size=int(target is None), max_size=2))
        # External commands come first.
        commands = [self._command(external=kind and self._external) for kind in sorted(kinds, reverse=True)]
        error_target = draw(st.one_of(st.none(), st.sampled_from(self.states))) if commands else None
        description = draw(st.sampled_from(("", "why: | this\nand that")))
        return Transition(
            **fields, target=target, commands=commands, error_target=error_target, description=description
        )

    def _command(self, *, external: bool) -> CommandRef:
        draw = self.draw
        return CommandRef(
            draw(self._commands),
            metadata=draw(json_objects(max_leaves=2)) if draw(st.booleans()) else {},
            best_effort=draw(st.booleans()),
            external=external,
        )


__all__ = ["HOSTILE_NAMES", "durations", "guards", "json_objects", "names", "workflows"]
