"""How are names and times written in texts?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any


def quoted(name: str) -> str:
    """A name as Python source, in double quotes."""
    return json.dumps(name, ensure_ascii=False)


def source(value: Any) -> str:
    """Names, numbers, and lists, tuples and mappings of them, as Python source."""
    match value:
        case str():
            return quoted(value)
        case Mapping():
            return f"{{{', '.join(f'{source(key)}: {source(item)}' for key, item in value.items())}}}"
        case list():
            return f"[{', '.join(map(source, value))}]"
        case tuple():
            return f"({', '.join(map(source, value))}{',' if len(value) == 1 else ''})"
        case _:
            return repr(value)


def span(time: timedelta) -> str:
    """A time without what is nought in it: `45 days`, `1:30:00`."""
    return str(time).removesuffix(", 0:00:00") if time else "none"
