"""What happens in a run of a workflow, one move after the other, and how does it read?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from duraflow.definition.resolve import Candidate
from duraflow.definition.values import EMPTY
from duraflow.instance import HistoryEntry
from duraflow.machine.chain import AUTO

CREATED = "$created"
MoveStatus = Literal["success", "failure", "rejected", "rests", "waits"]
CommandOutcome = Literal["success", "failure", "error"]


def _answers(value: Mapping[str, bool] | None) -> Mapping[str, bool]:
    return dict(value) if value else EMPTY


def _commands(value: Iterable[Iterable[str]]) -> tuple[tuple[str, CommandOutcome], ...]:
    return tuple((name, outcome) for name, outcome in value)  # type: ignore[misc]  # what JSON gives back, too


@attrs.frozen
class Move:
    """One thing that happens to an instance: what history would have an entry for, or that a chain ends here.

    Attributes:
        event: the event; `$created`, or `$auto` for an automatic transition.
        from_state: None for the creation.
        status: `failure` when a command answers `Failure` and the error target is taken; `rejected` when guards say
            no; `rests` when guards say no to every automatic transition, so that the chain ends here; `waits` when a
            worker makes the next hop.
        path: the transition in the definition; empty where none is taken.
        guards: what the guards asked for this move answer. The others may answer as they like.
        commands: each command that runs, in order, with what it answers.
        timer: the event is a timer, which fires by itself.
        entered: whether a state is entered (also again).
        external: a worker runs it, in a step of its own.
    """

    event: str
    from_state: str | None
    to_state: str
    status: MoveStatus = "success"
    path: str = attrs.field(default="", kw_only=True)
    guards: Mapping[str, bool] = attrs.field(default=EMPTY, converter=_answers, kw_only=True, hash=False)
    commands: tuple[tuple[str, CommandOutcome], ...] = attrs.field(
        default=(), converter=_commands, kw_only=True
    )
    timer: bool = attrs.field(default=False, kw_only=True)
    entered: bool = attrs.field(default=True, kw_only=True)
    external: bool = attrs.field(default=False, kw_only=True)

    @property
    def starts(self) -> bool:
        """Whether it begins a step: a creation, an event or a timer does, an automatic move goes on."""
        return self.event != AUTO

    @property
    def recorded(self) -> bool:
        """Whether history has an entry for it."""
        return self.status not in {"rests", "waits"}

    @property
    def moves(self) -> bool:
        """Whether a transition is taken."""
        return self.status in {"success", "failure"} and self.event != CREATED

    def __str__(self) -> str:
        return f"{_what(self)} {_where(self)}{_why(self)}"


Run = tuple[Move, ...]
"""What happens to one instance, from its creation on."""


_OUTCOMES: Mapping[CommandOutcome, str] = {
    "success": "done",
    "failure": "Failure",
    "error": "raised, best effort",
}


def _what(move: Move) -> str:
    if not move.recorded:
        return f"({move.status})"
    return f"{move.event} (timer)" if move.timer else move.event


def _where(move: Move) -> str:
    if move.from_state is None:
        return f"-> {move.to_state}"
    if move.status == "rejected":
        return f"{move.from_state}, rejected"
    if not move.recorded:
        return move.from_state if move.status == "rests" else f"{move.from_state}, for a worker"
    if not move.entered:
        return f"{move.from_state}, stays"
    return f"{move.from_state} -> {move.to_state}"


def _why(move: Move) -> str:
    parts = [f"{asked}: {'yes' if answer else 'no'}" for asked, answer in move.guards.items()]
    parts += [f"{name}: {_OUTCOMES[outcome]}" for name, outcome in move.commands]
    return f"  [{', '.join(parts)}]" if parts else ""


def print_run(run: Iterable[Move], *, indent: str = "", numbered: bool = True) -> str:
    """A run as people read a history: one line for each move, what was asked and done behind it."""
    rows = []
    seq = 0
    for move in run:
        seq += move.recorded
        number = str(seq) if move.recorded and numbered else ""
        rows.append((number, _what(move), _where(move), _why(move).strip()))
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    lines = (
        f"{indent}{number:>{widths[0]}}  {what:<{widths[1]}}  {where:<{widths[2]}}  {why}"
        for number, what, where, why in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def move_of(
    candidate: Candidate,
    event: str,
    state: str,
    *,
    failing: int | None,
    guards: Mapping[str, bool],
    timer: bool,
) -> Move:
    """The move that a transition makes; `failing` is the command that answers `Failure`, None if none does."""
    names = [ref.name for ref in candidate.commands]
    if failing is None:
        target = candidate.target
        commands: list[tuple[str, CommandOutcome]] = [(name, "success") for name in names]
    else:
        target = candidate.error_target
        commands = [(name, "success") for name in names[:failing]]
        commands.append((names[failing], "failure"))
    return Move(
        event,
        state,
        target or state,
        "success" if failing is None else "failure",
        path=candidate.path,
        guards=guards,
        commands=commands,
        timer=timer,
        entered=target is not None,
        external=candidate.external,
    )


def move_of_entry(entry: HistoryEntry) -> Move:
    """What history says of a move. What the guards answered that let it pass is nothing that history keeps."""
    return Move(
        entry.event,
        entry.from_state,
        entry.to_state,
        entry.status,
        guards={blocker.guard: False for blocker in entry.blockers},
        commands=[(result.name, result.status) for result in entry.commands],
        entered=entry.entered,
    )


def move_to_json(move: Move) -> dict[str, Any]:
    """A move as plain JSON data; what has its default is left out."""
    found: dict[str, Any] = {
        "event": move.event,
        "from": move.from_state,
        "to": move.to_state,
        "status": move.status,
    }
    if move.path:
        found["path"] = move.path
    if move.guards:
        found["guards"] = dict(move.guards)
    if move.commands:
        found["commands"] = [list(command) for command in move.commands]
    for flag, default in (("timer", False), ("entered", True), ("external", False)):
        if getattr(move, flag) is not default:
            found[flag] = getattr(move, flag)
    return found


def move_from_json(data: Mapping[str, Any]) -> Move:
    """The move that `move_to_json` wrote."""
    more = {
        key: data[key]
        for key in ("path", "guards", "commands", "timer", "entered", "external")
        if key in data
    }
    return Move(data["event"], data["from"], data["to"], data.get("status", "success"), **more)
