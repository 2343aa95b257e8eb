"""Can a person let messages that are stuck be tried again, or skipped?"""

from __future__ import annotations

from duraflow import MessageHandler, MessageRetryPolicy, Runtime, State, Transition, Workflow
from duraflow_cli.codes import Code
from duraflow_pg import PgPersistence
from tests.cli.conftest import Shell
from tests.pg.kit import settled

LETTER = Workflow(
    name="letter",
    initial="written",
    states=[State("written", [Transition("send", target="sent", emits=("sent",))]), State("sent")],
)


def burn(_message: object) -> None:
    """A handler that never takes anything."""
    raise RuntimeError("the printer burns")


def test_a_parked_message_is_tried_again_or_skipped(folder: Shell, pg_dsn: str, namespace: str) -> None:
    """Listed with its error; after `retry` and after `skip` no longer; asked first for what cannot be taken back."""
    handler = MessageHandler("mailer", burn, retry=MessageRetryPolicy(park_after=1))
    persistence = PgPersistence.from_dsn(pg_dsn, namespace=namespace)
    with Runtime(workflows=[LETTER], persistence=persistence, message_handlers=[handler]) as runtime:
        runtime.fire(runtime.create("letter").id, "send")
        settled(pg_dsn)
        runtime.dispatch()
        where = ("--dsn", pg_dsn, "--namespace", namespace)
        (parked,) = folder("messages", "parked", "--json", *where).json
        assert (parked["handler"], parked["message"]["topic"]) == ("mailer", "sent")
        assert "the printer burns" in parked["error"]
        message = parked["message"]["id"]
        assert folder("messages", "retry", "mailer", message, "--json", *where).json["done"] == "retry"
        assert runtime.parked_messages() == ()
        settled(pg_dsn)
        runtime.dispatch()
    assert message in folder("messages", "parked", *where).out
    assert "give --yes" in folder("messages", "skip", "mailer", message, *where, code=Code.MISUSED).err
    folder("messages", "skip", "mailer", message, "--yes", *where)
    assert folder("messages", "parked", *where).out == "nothing is parked\n"
    folder("messages", "retry", "mailer", message, *where, code=Code.MISUSED)
    assert "give --yes" in folder("messages", "forget", "mailer", *where, code=Code.MISUSED).err
    assert folder("messages", "forget", "mailer", "--yes", *where).out == "forget: handler mailer\n"
    assert "'mailer'" in folder("messages", "forget", "mailer", "--yes", *where, code=Code.MISUSED).err
