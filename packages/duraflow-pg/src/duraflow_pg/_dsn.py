"""How is a connection string read so that its faults are explained and its password is never shown?"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode

import attrs

from duraflow.errors import InvalidArgument
from duraflow_pg._psycopg import psycopg

_ENCODE = "percent-encode special characters in user and password (@ is %40, / is %2F, : is %3A)"
# Parameters of pools, known from other libraries; libpq refuses them.
_POOL = frozenset({"pool_size"})


@attrs.frozen
class Dsn:
    """A connection string in two parts.

    Attributes:
        conninfo: what libpq takes. It holds the password: not for printing.
        pool: the parameters that are for a pool: `pool_size`.
    """

    conninfo: str = attrs.field(repr=False)
    pool: dict[str, str]


def read_dsn(dsn: str, *, argument: str = "dsn") -> Dsn:
    """Check a connection string (URL or keywords) without connecting.

    libpq's own messages repeat pieces of what they could not parse, which may be pieces of a password, so no message
    of this function quotes the string.

    Args:
        dsn: `postgresql://…`, or `host=… dbname=…`; empty means libpq's own environment (PGHOST and so on).
        argument: what to call it in an error: the name of the environment variable it came from.

    Raises:
        InvalidArgument: it cannot be used, with the reason.
    """
    if "\0" in dsn:
        raise InvalidArgument(argument, "contains a NUL character")
    pool: dict[str, str] = {}
    scheme, is_url, rest = dsn.partition("://")
    # a keyword string may well have a URL in a value: host=… options='-c x.y=http://…'
    if is_url and "=" not in scheme:
        if scheme not in {"postgresql", "postgres"}:
            raise InvalidArgument(argument, "is not a postgresql:// URL; libpq takes no driver name in it")
        # as libpq does: everything up to the first @ is user and password, unless a path has begun before
        user, at, after = rest.partition("@")
        if "/" in user:
            user, at, after = "", "", rest
        address, _, query = after.partition("?")
        if "@" in address:
            raise InvalidArgument(argument, f"cannot be parsed: {_ENCODE}")
        pairs = parse_qsl(query, keep_blank_values=True)
        pool = {name: value for name, value in pairs if name in _POOL}
        if any(name == "search_path" for name, _ in pairs):
            raise InvalidArgument(
                argument,
                "has a parameter `search_path`, which is dbmate's, not libpq's; remove it, name the schema",
            )
        if pool:
            left = urlencode([pair for pair in pairs if pair[0] not in _POOL])
            dsn = f"{scheme}://{user}{at}{address}" + (f"?{left}" if left else "")
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError as error:
        raise InvalidArgument(argument, _without_values(str(error))) from None
    if not re.fullmatch(r"[0-9,]*", str(parts.get("port") or "")):
        raise InvalidArgument(argument, f"has a port that is not a number: {_ENCODE}")
    return Dsn(conninfo=dsn, pool=pool)


def _without_values(message: str) -> str:
    """The name of a parameter that libpq does not know is safe to repeat, anything else is not."""
    if unknown := re.search(r'(?:URI query parameter|connection option)[^"]*"(\w+)"', message):
        return f"has a parameter that libpq does not know: {unknown[1]}"
    return (
        f"is not a PostgreSQL connection string (postgresql://user@host/name, or host=… dbname=…); {_ENCODE}"
    )
