"""How does foreign text, such as an exception's message, become text that every store can keep?"""

from __future__ import annotations

MAX_ERROR_TEXT = 2_000


def clean(text: str, limit: int = MAX_ERROR_TEXT) -> str:
    """The text without NUL and lone surrogates, which PostgreSQL cannot store, cut to `limit` characters."""
    kept = "".join(
        "\N{REPLACEMENT CHARACTER}"
        if character == "\x00" or 0xD800 <= ord(character) <= 0xDFFF
        else character
        for character in text[: limit + 1]
    )
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"
