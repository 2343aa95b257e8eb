"""Are instances found, shown, created and moved as the runtime would?"""

from __future__ import annotations

from collections.abc import Callable

from duraflow_cli.codes import Code
from tests.cli.conftest import Shell


def test_an_order_from_creation_to_the_end(shop: Shell) -> None:
    """Created from a file, paid with exact decimals, shipped; each command tells the same story."""
    shop.write("order.json", '{"total": {"$": "decimal", "v": "12.30"}}')
    made = shop("create", "order", "--context", "@order.json", "--ref", "A-1", "--by", "anna", "--json").json
    assert (made["state"], made["ref"], made["version"], made["outcome"]) == ("open", "A-1", 1, None)
    assert made["context"] == {"total": {"$": "decimal", "v": "12.30"}, "paid": 0}
    (timer,) = made["timers"]
    assert timer["event"] == "expire"

    refused = shop("fire", "order:A-1", "ship", "--json", code=Code.REFUSED).json
    assert refused["status"] == "rejected"
    assert refused["blockers"][0]["parameters"] == {"missing": {"$": "decimal", "v": "12.30"}}

    paid = shop("fire", made["id"], "pay", "--payload", '{"amount": 12.30, "note": null}', "--json").json
    assert paid["instance"]["context"]["paid"] == {"$": "decimal", "v": "12.30"}
    shipped = shop("fire", "order:A-1", "ship").out
    assert "open -> shipped" in shipped

    entries = shop("history", "order:A-1", "--json").json
    assert [(e["seq"], e["kind"], e["event"], e["status"]) for e in entries] == [
        (1, "created", "$created", "success"),
        (2, "rejected", "ship", "rejected"),
        (3, "moved", "pay", "success"),
        (4, "moved", "ship", "success"),
    ]
    assert entries[0]["trigger"] == {"by": "anna"}
    table = shop("history", "order:A-1", "--newest-first").out.splitlines()
    assert table[0].split() == ["SEQ", "AT", "KIND", "EVENT", "FROM", "TO", "STATUS", "DETAILS"]
    assert table[1].split()[0] == "4"
    assert "not_covered" not in table[3]
    assert "something is still to be paid" in table[3]


def test_a_page_of_history_goes_on(shop: Shell, create: Callable[..., str]) -> None:
    """A full page says how to go on, and there it does."""
    made = create()
    shop("fire", made, "pay", "--payload", '{"amount": "1"}')
    first = shop("history", made, "--limit", "1")
    assert "--after 1" in first.err
    assert shop("history", made, "--after", "1", "--json").json[0]["seq"] == 2
    assert shop("history", made, "--after", "2").out == "no more entries\n"


def test_list_and_count_take_the_same_filter(shop: Shell, create: Callable[..., str]) -> None:
    """By state, metadata, time; pages go on with a cursor."""
    cheap = create("--metadata", '{"shop": "north"}', total=0)
    dear = create("--metadata", '{"shop": "south"}')
    shop("fire", cheap, "ship")
    page = shop("list", "order", "--limit", "1", "--json").json
    assert [i["id"] for i in page["instances"]] == [dear]
    again = shop("list", "order", "--limit", "1", "--cursor", page["cursor"], "--json").json
    assert ([i["id"] for i in again["instances"]], again["cursor"]) == ([cheap], None)

    rows = shop("list", "--metadata", '{"shop": "south"}', "--open", "--created-since", "1h").out.splitlines()
    assert rows[0].split() == ["ID", "WORKFLOW", "REF", "STATE", "OUTCOME", "UPDATED", "DUE"]
    assert [row.split()[0] for row in rows[1:]] == [dear]
    assert shop("list", "--created-until", "1h").out == "no instances\n"
    counts = shop("count", "--json").json
    assert [(c["state"], c["open"], c["count"]) for c in counts] == [("open", True, 1), ("shipped", False, 1)]
    assert shop("count", "--finished", "--outcome", "done").out.splitlines()[1].split() == [
        "order",
        "shipped",
        "no",
        "1",
    ]


def test_show_tells_what_each_event_would_do(shop: Shell, create: Callable[..., str]) -> None:
    """The instance, its timers, and its events with the guards' reasons."""
    made = create("--ref", "B-1")
    shown = shop("show", "order:B-1").out
    assert made in shown
    assert "expire at " in shown
    assert "covered: something is still to be paid" in shown
    document = shop("show", made, "--json").json
    assert document["instance"]["id"] == made
    assert {e["event"]: e["verdict"] for e in document["events"]} == {
        "pay": "fires", "ship": "rejected", "post": "fires", "print": "fires", "expire": "fires",
    }  # fmt: skip


def test_show_needs_no_code(shop: Shell, create: Callable[..., str]) -> None:
    """On a machine without the application the database still answers."""
    made = create()
    document = shop("show", made, "--no-app", "--json").json
    assert document["instance"]["state"] == "open"
    assert shop("list", "--no-app", "--json").json["instances"][0]["id"] == made


def test_explain_takes_payloads(shop: Shell, create: Callable[..., str]) -> None:
    """For guards that look at them; read as `fire` reads them."""
    made = create()
    events = shop("explain", made, "--payload", 'pay={"amount": "1.50"}', "--json").json
    assert [e["event"] for e in events] == ["pay", "ship", "post", "print", "expire"]
    said = shop("explain", made, "--payload", 'pay={"amount": true}', code=Code.MISUSED).err
    assert said.startswith("duraflow: payload.amount: expected Decimal, got bool")


def test_a_routed_failure_is_told_and_recorded(shop: Shell, create: Callable[..., str]) -> None:
    """The move to the error target has happened; the exit code says that it was not the one asked for."""
    made = create()
    failed = shop("fire", made, "post", "--json", code=Code.REFUSED).json
    assert (failed["status"], failed["to_state"], failed["instance"]["outcome"]) == (
        "failure",
        "lost",
        "failed",
    )
    assert "refuse_delivery failure: nobody lives there" in shop("history", made).out


def test_what_a_command_raises_is_no_traceback(shop: Shell, create: Callable[..., str]) -> None:
    """One line, and the way to more; with --traceback the place."""
    made = create()
    said = shop("fire", made, "print", code=Code.FAILED).err
    assert said.splitlines()[0] == "duraflow: RuntimeError: the printer burns"
    assert "--traceback" in said
    assert "Traceback" not in said
    more = shop("fire", made, "print", "--traceback", code=Code.FAILED).err
    assert "Traceback" in more
    assert "shop.py" in more


def test_control_characters_do_not_reach_the_terminal(shop: Shell) -> None:
    """What a stranger stored cannot speak to the terminal of who looks at it."""
    shop("create", "order", "--context", '{"total": 1, "note": "\\u001b[2J"}', "--ref", "\x9b31mred")
    for command in (("list",), ("show", "order:\x9b31mred"), ("list", "--json")):
        out = shop(*command).out
        assert "\x9b" not in out
        assert "\x1b" not in out
    assert "\\x9b31mred" in shop("list").out
    assert shop("list", "--json").json["instances"][0]["ref"] == "\x9b31mred"
