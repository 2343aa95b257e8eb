"""Where does this package get psycopg from? Here only, so that a missing libpq is explained once."""

from __future__ import annotations

try:
    import psycopg
except ImportError as error:
    # PSYCOPG_IMPL=c without the C build, or a name it does not know, is a wish of the user's: psycopg says it best.
    if not (
        isinstance(error, ModuleNotFoundError) and error.name == "psycopg"
    ) and "no pq wrapper" not in str(error):
        raise
    raise ImportError(
        "psycopg, or the libpq library that it needs, is not installed; "
        'run: pip install "duraflow-pg[binary]" (or install your system\'s libpq)',
        name="psycopg",
    ) from error

__all__ = ["psycopg"]
