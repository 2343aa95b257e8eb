"""Can this be stored: descriptions, metadata, and declared context?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from duraflow.definition.findings import Finding
from duraflow.definition.values import MAX_JSON_DEPTH, CommandRef, GuardRef, State, Transition, as_given

if TYPE_CHECKING:
    from duraflow.definition.workflow import Workflow


def check_labels(
    prefix: str, value: Workflow | State | Transition | CommandRef | GuardRef
) -> Iterator[Finding]:
    """What can be wrong in a description and in metadata."""
    description = as_given(value.description)
    if not isinstance(description, str):
        yield Finding(f"{prefix}description", "not_json", f"{description!r} is no text")
    for path, problem in _json_problems(f"{prefix}description", str(description), 0):
        yield Finding(path, "not_json", problem)
    yield from check_json(f"{prefix}metadata", value.metadata)


def check_json(path: str, value: object) -> Iterator[Finding]:
    """Whether this mapping can be stored."""
    if not isinstance(value, Mapping):
        yield Finding(path, "not_json", f"{value!r} is no mapping")
        return
    for problem in _json_problems(path, dict(value), 0):
        yield Finding(problem[0], "not_json", problem[1])
        return


def _json_problems(path: str, value: object, depth: int) -> Iterator[tuple[str, str]]:
    if depth > MAX_JSON_DEPTH:
        yield path, f"it is nested deeper than {MAX_JSON_DEPTH} levels"
        return
    match value:
        case None | bool() | int():
            return
        case str():
            if "\x00" in value or any(0xD800 <= ord(character) <= 0xDFFF for character in value):
                yield path, "text with NUL or lone surrogates cannot be stored"
        case float():
            if not math.isfinite(value):
                yield path, f"{value!r} has no JSON form"
        case list() | tuple():
            for index, item in enumerate(value):
                yield from _json_problems(f"{path}[{index}]", item, depth + 1)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str):
                    yield path, f"the key {key!r} is not text"
                else:
                    yield from _json_problems(f"{path}.{key}", key, depth + 1)
                    yield from _json_problems(f"{path}.{key}", item, depth + 1)
        case _:
            yield path, f"{value!r} is not JSON; in definitions use text, numbers, lists and objects only"
