"""What do the environment and the file `.env` say? For commands: the library never reads the file on import."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LINE = re.compile(r"\s*(?:export\s+)?([A-Za-z_]\w*)\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|(.*?))\s*(?:\s#.*)?")


def environment(env_file: Path) -> Mapping[str, str]:
    """The environment, and beneath it what the file says: `NAME=value` a line, quotes and `#` comments allowed."""
    try:
        lines = env_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        lines = []
    found = (_LINE.fullmatch(line) for line in lines)
    said = {line[1]: line[2] or line[3] or line[4] or "" for line in found if line}
    return {**said, **os.environ}
