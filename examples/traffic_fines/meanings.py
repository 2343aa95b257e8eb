"""What does each activity of the fines' log mean to the workflow?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from duraflow.replay import Case, Create, Fire, LogEvent, Meaning
from examples.traffic_fines.workflow import Payment, Ruling, Sending, new_fine


def _fine(event: LogEvent, case: Case) -> Mapping[str, Any]:
    # The slip states both amounts. The log has the second one only where the penalty was added.
    penalty = case.first("Add penalty")
    penalised = penalty.number("amount") if penalty is not None and "amount" in penalty.attributes else None
    return new_fine(
        event.number("amount"),
        penalised_amount=penalised,
        deliverable=event.attributes.get("address") != "unknown",
    )


def _labels(event: LogEvent, case: Case) -> Mapping[str, Any]:
    names = ("article", "points", "vehicleClass", "dismissal")
    return {name: event.attributes[name] for name in names if name in event.attributes}


def _ruling(event: LogEvent) -> Ruling:
    return Ruling(str(event.attributes.get("dismissal", "NIL")))


MEANINGS: Mapping[str, Meaning] = {
    "Create Fine": Create(_fine, _labels),
    "Send Fine": Fire("send", lambda event: Sending(event.number("expense", 0))),
    "Insert Fine Notification": Fire("notify"),
    "Add penalty": Fire("add_penalty"),
    "Payment": Fire("pay", lambda event: Payment(event.number("paymentAmount"))),
    "Insert Date Appeal to Prefecture": Fire("appeal_to_prefecture"),
    "Send Appeal to Prefecture": Fire("rule_on_appeal", _ruling),
    "Receive Result Appeal from Prefecture": Fire("receive_result"),
    "Notify Result Appeal to Offender": Fire("notify_result"),
    "Appeal to Judge": Fire("appeal_to_judge", _ruling),
    "Send for Credit Collection": Fire("collect"),
}
