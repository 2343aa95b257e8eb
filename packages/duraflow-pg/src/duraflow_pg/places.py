"""Which database, and which schema and namespace in it, do a command's options, the environment and `.env` name?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duraflow.definition.checks.names import name_problem
from duraflow.errors import InvalidArgument
from duraflow_pg._dotenv import environment
from duraflow_pg._dsn import Dsn, read_dsn
from duraflow_pg.schema.names import check_schema_name

if TYPE_CHECKING:
    from collections.abc import Mapping

DSN_VARIABLES = ("DURAFLOW_DSN", "DATABASE_URL")
SCHEMA_VARIABLE = "DURAFLOW_SCHEMA"
NAMESPACE_VARIABLE = "DURAFLOW_NAMESPACE"

__all__ = [
    "DSN_VARIABLES", "NAMESPACE_VARIABLE", "SCHEMA_VARIABLE", "Dsn", "chosen_dsn", "chosen_namespace", "chosen_schema",
    "environment",
]  # fmt: skip


def chosen_dsn(given: str | None, variables: Mapping[str, str]) -> Dsn:
    """The first DSN that is set: the option, `DURAFLOW_DSN`, `DATABASE_URL`.

    Raises:
        InvalidArgument: there is none, or it cannot be used; the error names where it came from, and quotes nothing.
    """
    for source, dsn in [("--dsn", given), *((name, variables.get(name)) for name in DSN_VARIABLES)]:
        if dsn:
            return read_dsn(dsn, argument=source)
    raise InvalidArgument("--dsn", f"no database was named; give --dsn, or set {' or '.join(DSN_VARIABLES)}")


def chosen_schema(given: str | None, variables: Mapping[str, str], default: str = "public") -> str:
    """The schema: the option, `DURAFLOW_SCHEMA`, or the default. Raises `InvalidArgument` for what cannot be one."""
    if given is not None:
        return check_schema_name(given, argument="--schema")
    return check_schema_name(variables.get(SCHEMA_VARIABLE) or default, argument=SCHEMA_VARIABLE)


def chosen_namespace(given: str | None, variables: Mapping[str, str], default: str = "default") -> str:
    """The namespace: the option, `DURAFLOW_NAMESPACE`, or the default. Raises `InvalidArgument` likewise."""
    argument = NAMESPACE_VARIABLE if given is None else "--namespace"
    namespace = (variables.get(NAMESPACE_VARIABLE) or default) if given is None else given
    problem = name_problem(namespace)
    if problem is not None:
        raise InvalidArgument(argument, problem[1])
    return namespace
