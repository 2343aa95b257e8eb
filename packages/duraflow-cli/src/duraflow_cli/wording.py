"""How is what the library advises said to someone who sits at a shell?

Texts of the library name its functions: "`rearm` each of them", "pass skip_uncovered=True". Where this command prints
such a text for people, it names its own command or option instead. JSON keeps the library's words.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

COMMANDS: Mapping[str, str] = MappingProxyType(
    {
        "`cancel`": "`duraflow cancel`",
        "`force`": "`duraflow force`",
        "`parked()`": "`duraflow parked`",
        "`parked_messages()`": "`duraflow messages parked`",
        "`rearm`": "`duraflow rearm`",
        "`retry_message`": "`duraflow messages retry`",
        "`skip_message`": "`duraflow messages skip`",
        "`forget_handler`": "`duraflow messages forget`",
        "`state_at`": "`duraflow show --seq`",
    }
)
"""What a function of the runtime is called here."""

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "got NoneType; give one, or a mapping": "got nothing; give --payload, a JSON object",
        "with on_conflict='skip'": "with --skip-existing",
        "in `states`": "with --state OLD=NEW",
        "pass skip_uncovered=True": "give --skip-uncovered",
        "is `schema=` right?": "is --schema right?",
        "run: python -m duraflow_pg migrate": "run: duraflow db migrate",
        "python -m duraflow_pg migrations copy": "duraflow db copy",
    }
)
"""What an argument, or the other program for the tables, is called here."""


def at_a_shell(text: str) -> str:
    """The text, with the names of commands and options.

    >>> at_a_shell("`rearm` each of them")
    '`duraflow rearm` each of them'
    """
    for words in (COMMANDS, OPTIONS):
        for theirs, ours in words.items():
            text = text.replace(theirs, ours)
    return text
