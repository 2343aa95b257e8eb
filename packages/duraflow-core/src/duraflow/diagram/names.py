"""Under which identifier does a diagram know a state?"""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ESCAPED = "x_"

# Words that the lexers of Mermaid (11.17) read as something else, in any case; `root…` are its own nodes.
_TAKEN = re.compile(
    "accdescr|acctitle|as|class|classdef|click|default|direction|end|fork|hide|href|join|note|root|root_end|root_start"
    "|scale|state|style|title|tb|td|bt|rl|lr|constructor|prototype|tostring|valueof|hasownproperty"
    "|digraph|edge|graph|node|strict|subgraph",
    re.IGNORECASE,
)

START = f"{_ESCAPED}_start"
ANY = f"{_ESCAPED}_any"
"""Identifiers that no name has: an escaped name never goes on with an underscore and a letter beyond f."""


def identifier(name: str) -> str:
    """An identifier that Mermaid and DOT take. Different names have different ones.

    A plain name is its own identifier; any other is escaped as a whole, each odd character by its code point:

    >>> identifier("file_letter"), identifier("in review"), identifier("end"), identifier("größe")
    ('file_letter', 'x_in_20_review', 'x_end', 'x_gr_f6__df_e')
    """
    if _PLAIN.fullmatch(name) and not _TAKEN.fullmatch(name) and not name.startswith(_ESCAPED):
        return name
    return _ESCAPED + "".join(c if c.isascii() and c.isalnum() else f"_{ord(c):x}_" for c in name)
