"""How does a road traffic fine go, from the roadside to payment, appeal or credit collection?

All amounts are euro, as Decimals. A fine's context:

- `amount`: what the offence costs; `penalised_amount`: what it costs from the 60th day after the notification
- `expense`: postage, known when it is sent; `paid`: what has come in
- `deliverable`: whether there is an address
- `notified_at`: when the notification was delivered; not there before
- `penalised`: whether the penalty has been added
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from duraflow import (
    Blocker,
    CommandContext,
    CommandRef,
    Failure,
    State,
    Success,
    Transition,
    Wildcard,
    Workflow,
    all_of,
)
from examples.traffic_fines.ledger import Ledger, Letter, PaymentNote

# The law counts days where the police are, not multiples of 24 hours: a night in March has 23.
ROME = ZoneInfo("Europe/Rome")
DAYS_UNTIL_PENALTY = 60
DISMISSED_BY_PREFECTURE = "#"
DISMISSED_BY_JUDGE = "G"

Context = Mapping[str, Any]


# --- payloads -----------------------------------------------------------------------------------------------------


@attrs.frozen
class Sending:
    """The fine goes out by post, which costs the offender the postage."""

    expense: Decimal


@attrs.frozen
class Payment:
    """Money came in."""

    amount: Decimal


@attrs.frozen
class Ruling:
    """What an authority decided. Anything but its own mark of dismissal leaves the fine as it is."""

    dismissal: str = "NIL"


# --- amounts ------------------------------------------------------------------------------------------------------


def new_fine(
    amount: Decimal, *, penalised_amount: Decimal | None = None, deliverable: bool = True
) -> dict[str, Any]:
    """The context of a new fine. The slip states both amounts; the second is twice the first if it does not."""
    return {
        "amount": amount,
        "penalised_amount": penalised_amount if penalised_amount is not None else 2 * amount,
        "expense": Decimal(0),
        "paid": Decimal(0),
        "deliverable": deliverable,
        "penalised": False,
    }


def open_amount(context: Context) -> Decimal:
    """What is still to be paid; negative if too much was."""
    owed: Decimal = context["penalised_amount"] if context["penalised"] else context["amount"]
    expense: Decimal = context["expense"]
    paid: Decimal = context["paid"]
    return owed + expense - paid


def penalty_due(context: Context) -> datetime:
    """The begin of the day on which the penalty is added."""
    notified: datetime = context["notified_at"]
    return notified.astimezone(ROME) + timedelta(days=DAYS_UNTIL_PENALTY)


# --- guards -------------------------------------------------------------------------------------------------------


def is_money(payload: Payment) -> bool | Blocker:
    """A payment is of more than nothing."""
    return payload.amount > 0 or Blocker("no_amount", "a payment must be of more than 0 euro")


def covers_the_rest(payload: Payment, context: Context) -> bool | Blocker:
    """A payment covers all that is open."""
    rest = open_amount(context)
    return payload.amount >= rest or Blocker("not_covered", "more than that is open", {"open": rest})


def sixty_days_are_over(context: Context, now: datetime) -> bool | Blocker:
    """The offender has had the time that the law gives."""
    due = penalty_due(context)
    return now >= due or Blocker(
        "too_early",
        f"the penalty is added {DAYS_UNTIL_PENALTY} days after the notification, not before",
        {"due": due.date()},
    )


def no_penalty_yet(context: Context) -> bool | Blocker:
    """The penalty is added once."""
    return not context["penalised"] or Blocker("penalised_already", "the penalty has been added before")


def has_a_penalty(context: Context) -> bool | Blocker:
    """The penalty has been added."""
    return bool(context["penalised"]) or Blocker("no_penalty_yet", "the 60 days are not over")


def dismissed_by_prefecture(payload: Ruling) -> bool:
    """The prefecture has let the offender off."""
    return payload.dismissal == DISMISSED_BY_PREFECTURE


def dismissed_by_judge(payload: Ruling) -> bool:
    """The judge has let the offender off."""
    return payload.dismissal == DISMISSED_BY_JUDGE


# --- delays -------------------------------------------------------------------------------------------------------


def sixty_days_after_notification(context: Context) -> datetime | None:
    """When the penalty is due, wherever the fine is by then; never a second time."""
    return None if context["penalised"] else penalty_due(context)


# --- commands -----------------------------------------------------------------------------------------------------


def file_letter(ctx: CommandContext) -> Failure | Success:
    """File a letter, in the transaction of the move."""
    kind = ctx.command.metadata["kind"]
    if not ctx.context["deliverable"]:
        return Failure("no_address", "there is no address to write to")
    ctx.resource(Ledger).file(Letter(ctx.instance.id, kind, ctx.now, ctx.transition_id))
    return Success({"kind": kind})


def add_expense(ctx: CommandContext) -> None:
    """Charge the postage."""
    ctx.context["expense"] += ctx.payload.expense


def note_notification(ctx: CommandContext) -> None:
    """From here the 60 days count."""
    ctx.context["notified_at"] = ctx.now


def note_payment(ctx: CommandContext) -> Success:
    """Note a payment, in the transaction of the move."""
    amount = ctx.payload.amount
    ctx.resource(Ledger).note(PaymentNote(ctx.instance.id, amount, ctx.now, ctx.transition_id))
    ctx.context["paid"] += amount
    return Success({"open": open_amount(ctx.context)})


def raise_the_amount(ctx: CommandContext) -> None:
    """The fine costs what it costs with the penalty."""
    ctx.context["penalised"] = True


# --- the workflow -------------------------------------------------------------------------------------------------


def letter(kind: str) -> CommandRef:
    """The command that files a letter of this kind."""
    return CommandRef("file_letter", metadata={"kind": kind}, handler=file_letter)


def _penalty(target: str | None, *guards: Any) -> Transition:
    return Transition(
        "add_penalty",
        target=target,
        after=sixty_days_after_notification,
        guard=all_of(sixty_days_are_over, *guards),
        commands=[raise_the_amount, letter("penalty")],
    )


def _send(target: str) -> Transition:
    return Transition(
        "send", target=target, error_target="undeliverable", commands=[letter("notice"), add_expense]
    )


FINE = Workflow(
    name="traffic-fine",
    version=1,
    initial="created",
    description="A road traffic fine, from the roadside to payment, appeal or credit collection.",
    events={
        "send": Sending,
        "pay": Payment,
        "rule_on_appeal": Ruling,
        "appeal_to_judge": Ruling,
    },
    groups={
        "pursued": ["notified", "penalised"],
        "under_appeal": ["appealed", "at_prefecture", "decided", "at_judge"],
    },
    states=[
        State("created", [_send("sent")]),
        State(
            "sent",
            [Transition("notify", target="notified", commands=[note_notification])],
            description="In the post.",
        ),
        State("undeliverable", [_send("sent")], description="There is no address (yet)."),
        State("notified", [_penalty("penalised")], description="The offender knows, and has 60 days."),
        State(
            "penalised",
            [Transition("collect", target="in_collection", commands=[letter("to credit collection")])],
            description="Not paid within 60 days: it costs more now.",
        ),
        # To the prefecture: noted, sent on with its opinion or dismissed at once, decided there, and the offender told.
        State(
            "appealed",
            [
                Transition("rule_on_appeal", target="dismissed", guard=dismissed_by_prefecture),
                Transition("rule_on_appeal", target="at_prefecture"),
            ],
        ),
        State("at_prefecture", [Transition("receive_result", target="decided")]),
        State(
            "decided",
            [Transition("notify_result", target="pursued_again", commands=[letter("appeal result")])],
            description="The prefecture lets the fine stand.",
        ),
        State(
            "at_judge",
            [
                Transition(
                    "collect",
                    target="in_collection",
                    guard=has_a_penalty,
                    commands=[letter("to credit collection")],
                )
            ],
            description="The judge lets the fine stand, or has not ruled yet.",
        ),
        State(
            "pursued_again",
            [Transition(target="penalised", guard=has_a_penalty), Transition(target="notified")],
            description="After an appeal in vain: as before it.",
        ),
        # Not final, although it has no transitions of its own: what the collectors bring are payments like all others.
        State(
            "in_collection",
            final=False,
            allow=["only_wildcards_leave"],
            description="Handed to credit collection.",
        ),
        State("paid", final=True),
        State("dismissed", final=True, outcome="cancelled"),
    ],
    from_any=[
        # Payments may come at any time, in parts, and before the fine is even sent.
        Transition("pay", target="paid", guard=all_of(is_money, covers_the_rest), commands=[note_payment]),
        Transition("pay", guard=is_money, commands=[note_payment]),
        # An appeal does not stop the 60 days.
        Wildcard(_penalty(None, no_penalty_yet), within="under_appeal"),
        Wildcard(
            [
                Transition("appeal_to_prefecture", target="appealed"),
                Transition("appeal_to_judge", target="dismissed", guard=dismissed_by_judge),
                Transition("appeal_to_judge", target="at_judge"),
            ],
            within="pursued",
        ),
    ],
)
"""The definition, with its handlers: `Runtime(workflows=[FINE], resources={Ledger: …}, …)` is all that it takes."""
