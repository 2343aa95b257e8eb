"""How are many commands run in one process, so that a page of them takes seconds?

Reads a JSON list of argument lists from stdin, runs them one after the other, and writes what each gave.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys

from duraflow_cli.app import run
from tests.pg.kit import settled


def main() -> None:
    """Run them all."""
    done = []
    dsn = os.environ.get("DURAFLOW_DSN")
    for arguments in json.load(sys.stdin):
        if "changes" in arguments and dsn:
            settled(dsn)
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(arguments)
        texts = [stream.buffer.getvalue().decode() for stream in (out, err)]
        done.append([int(code), *texts])
    json.dump(done, sys.stdout)


if __name__ == "__main__":
    main()
