"""Does every error say what happened and what to do, and survive a trip to another process?"""

from __future__ import annotations

import copy
import inspect
import pickle
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import attrs
import pytest

from duraflow import Blocker, FireResult, Instance, errors
from duraflow.definition.findings import Finding
from duraflow.errors import (
    AlreadyExists,
    Busy,
    ChainTooDeep,
    CommandFailed,
    ConcurrencyConflict,
    DefinitionConflict,
    DefinitionError,
    DefinitionNotFound,
    DuraflowError,
    EventRefused,
    IdempotencyConflict,
    ImportRefused,
    InstanceNotFound,
    InvalidArgument,
    KeyTaken,
    LiveCheckFailed,
    LockTimeout,
    Misuse,
    NotSupported,
    Rejected,
    SchemaMismatch,
    StoreUnavailable,
)
from duraflow.results import LiveProblem

ID = UUID(int=7)
NOW = datetime(2024, 1, 1, tzinfo=UTC)
INSTANCE = Instance(ID, "default", "fine", 1, "sent", 2, NOW, NOW, NOW)
RESULT = FireResult(
    "rejected", "pay", "sent", "sent", INSTANCE, (), (Blocker("low", "need 5"), Blocker("late"))
)

# Each error with what its text must contain: the facts first, then the remedy.
TABLE: list[tuple[DuraflowError, list[str]]] = [
    (InvalidArgument("limit", "0 is too small"), ["limit", "0 is too small"]),
    (Misuse("the runtime is not started", "call `start()`"), ["not started", "call `start()`"]),
    (
        ImportRefused(7, "it is no JSON", 3),
        ["line 7", "it is no JSON", "which stay: 3", "on_conflict='skip'"],
    ),
    (NotSupported("timers", "the port due"), ["timers", "needs the port due"]),
    (
        DefinitionError(
            "fine",
            (
                Finding("states[a]", "bad", "it is bad"),
                Finding("initial", "worse", "it is worse"),
                Finding("states[b]", "odd", "a warning", "warning"),
            ),
        ),
        ["'fine'", "states[a]", "it is bad", "initial", "it is worse"],
    ),
    (
        DefinitionConflict("fine", 3, "states[a].target"),
        ["'fine'", "3", "states[a].target", "raise its version"],
    ),
    (DefinitionNotFound("fine", None, ("bill",)), ["'fine'", "bill", "`workflows=`"]),
    (DefinitionNotFound("fine", 4, ()), ["'fine' version 4", "known: none"]),
    (
        DefinitionNotFound("fine", 4, (), "no guard 'paid'"),
        ["'fine' version 4", "snapshot", "no guard 'paid'"],
    ),
    (
        LiveCheckFailed((LiveProblem("fine", 4, 12, "no guard 'paid'"),)),
        ["12 open", "'fine'", "version 4", "no guard 'paid'", "upgrade"],
    ),
    (InstanceNotFound(ID, "default"), [str(ID), "'default'", "check"]),
    (InstanceNotFound(("fine", "A1"), "tests"), ["'fine'", "'A1'", "'tests'"]),
    (AlreadyExists("fine", "A1", ID), ["'fine'", "'A1'", str(ID)]),
    (AlreadyExists("fine", None, ID), [str(ID), "already exists"]),
    (
        EventRefused(ID, "fine", "sent", "sing", "unknown_event", ("pay",)),
        [str(ID), "'sing'", "'sent'", "'pay'"],
    ),
    (EventRefused(ID, "fine", "sent", "pay", "not_accepted", ()), ["does not accept 'pay'", "no events"]),
    (EventRefused(ID, "fine", "paid", "pay", "finished", ()), [str(ID), "'paid'", "finished", "'pay'"]),
    (EventRefused(ID, "fine", "sent", "mail", "external", ("mail",)), ["external", "`send`"]),
    (
        IdempotencyConflict("k1", f"'pay' at instance {ID}", ("payload.amount", "payload.on")),
        ["'k1'", "'pay'", str(ID), "payload.amount, payload.on", "one key for each request"],
    ),
    (KeyTaken("'k1' at fine"), ["'k1' at fine", "a receipt is there"]),
    (Rejected(RESULT), [str(ID), "'pay'", "need 5", "late"]),
    (
        CommandFailed(ID, "pay", "charge", "declined", "no cover"),
        [str(ID), "'charge'", "'pay'", "declined", "no cover", "error_target"],
    ),
    (ConcurrencyConflict(ID, 4), [str(ID), "version 4", "retry"]),
    (Busy(ID, "a worker"), [str(ID), "a worker", "retry"]),
    (ChainTooDeep(ID, 10, ("a", "b")), [str(ID), "10", "a -> b", "max_automatic_moves"]),
    (LockTimeout("5 s"), ["5 s", "retry"]),
    (StoreUnavailable("down", retryable=True), ["down", "nothing was written", "retry"]),
    (StoreUnavailable("cut", "unknown"), ["cut", "unknown", "read first"]),
    (SchemaMismatch("public", "no tables", "dbmate up"), ["'public'", "no tables", "dbmate up"]),
]
EVERY = [
    cls
    for _, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, DuraflowError) and cls is not DuraflowError
]


def test_the_table_has_every_error() -> None:
    """A new class needs a row."""
    assert {type(error) for error, _ in TABLE} == set(EVERY)


@pytest.mark.parametrize(("error", "parts"), TABLE, ids=lambda value: type(value).__name__)
def test_the_text_says_what_and_what_to_do(error: DuraflowError, parts: list[str]) -> None:
    """Facts and remedy, in one line but for lists of findings."""
    text = str(error)
    assert [part for part in parts if part not in text] == []
    assert "a warning" not in text
    assert isinstance(error, DefinitionError) or "\n" not in text


@pytest.mark.parametrize("error", [error for error, _ in TABLE], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_pickling(error: DuraflowError, protocol: int) -> None:
    """With all its fields and its text, at every protocol."""
    again = pickle.loads(pickle.dumps(error, protocol))
    assert type(again) is type(error)
    assert str(again) == str(error)
    for name in error.__match_args__:  # type: ignore[attr-defined]  # attrs writes it
        assert getattr(again, name) == getattr(error, name), name


@pytest.mark.parametrize("error", [error for error, _ in TABLE], ids=lambda error: type(error).__name__)
def test_it_can_be_copied_raised_and_noted(error: DuraflowError) -> None:
    """As any exception: copied, raised from another, with notes and a traceback."""
    again = copy.copy(error)
    with pytest.raises(type(error)) as caught:
        raise again from ValueError("cause")
    assert isinstance(caught.value.__cause__, ValueError)
    caught.value.add_note("a note")
    assert "a note" in caught.value.__notes__


@pytest.mark.parametrize("cls", EVERY, ids=lambda cls: cls.__name__)
def test_it_says_what_was_written(cls: type[Any]) -> None:
    """Each class has a docstring; whoever catches one by the base class catches all."""
    assert cls.__doc__
    assert len(cls.__doc__) > 40
    assert issubclass(cls, DuraflowError)


def test_fields_do_not_change() -> None:
    """An error is a value."""
    error: Any = Busy(ID, "x")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        error.holder = "y"
