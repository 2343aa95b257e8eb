"""How is the command started? `duraflow`, or `python -m duraflow_cli`."""

from __future__ import annotations

import sys

from duraflow_cli.app import run


def main() -> None:
    """Run the command, and end with its exit code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
