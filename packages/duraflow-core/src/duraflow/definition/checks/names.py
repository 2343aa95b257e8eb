"""Can this be a name?"""

from __future__ import annotations

from collections.abc import Iterator

from duraflow.definition.findings import Finding

MAX_NAME = 200


def name_problem(name: object) -> tuple[str, str] | None:
    """(code, reason) if this cannot be a name: blank, reserved, too long, or not fit for JSONB or logs."""
    if not isinstance(name, str):
        return "bad_name", f"{name!r} is not a name: give text or a StrEnum member"
    if not name.strip() or name != name.strip():
        return "blank_name", f"{name!r} is blank or has white space around it"
    if name.startswith("$"):
        return "reserved_name", f"{name!r}: names that begin with $ are reserved"
    if len(name) > MAX_NAME:
        return "long_name", f"{name[:20]!r}… has {len(name)} characters; {MAX_NAME} is the limit"
    if any(
        ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF or ord(character) == 127
        for character in name
    ):
        return "bad_name", f"{name!r} has control characters or lone surrogates"
    return None


def check_name(path: str, name: object) -> Iterator[Finding]:
    """Whether this can be a name."""
    problem = name_problem(name)
    if problem is not None:
        yield Finding(path, problem[0], problem[1])


def listed(names: frozenset[str] | set[str]) -> str:
    """Names as people read them."""
    return ", ".join(sorted(map(str, names))) or "none"
