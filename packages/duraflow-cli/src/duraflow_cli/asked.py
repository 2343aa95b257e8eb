"""What was asked for: by options, the environment, `.env` and pyproject.toml?"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from duraflow.errors import InvalidArgument

F = TypeVar("F", bound=Callable[..., Any])

APP_VARIABLE = "DURAFLOW_APP"
_KEYS = ("app", "namespace", "properties", "schema")


@attrs.define
class Asked:
    """The options that every command takes, as far as they were given.

    Attributes:
        secrets: texts that must never be shown, such as a password.
    """

    app: str | None = None
    no_app: bool = False
    dsn: str | None = attrs.field(default=None, repr=False)
    schema: str | None = None
    namespace: str | None = None
    json: bool = False
    traceback: bool = False
    secrets: set[str] = attrs.field(factory=set, repr=False)


@attrs.frozen
class Settings:
    """What was asked for, with everything looked up that was not said.

    Attributes:
        app: what was named as the application, None if nothing was; `app_from` says where.
        folder: the folder of the pyproject.toml that has `[tool.duraflow]`.
        properties: where it says that the properties are which `check` holds workflows to.
        schema, namespace: checked.
        places: the options that say where the data are, as given.
    """

    asked: Asked
    variables: Mapping[str, str] = attrs.field(repr=False)
    app: str | None
    app_from: str
    folder: Path | None
    properties: str | None
    schema: str
    namespace: str

    @property
    def places(self) -> tuple[str, ...]:
        given = {"--dsn": self.asked.dsn, "--schema": self.asked.schema, "--namespace": self.asked.namespace}
        return tuple(option for option, value in given.items() if value is not None)

    @property
    def conninfo(self) -> str:
        """What to connect to. It holds the password: not for printing.

        Raises:
            InvalidArgument: no database was named, or not rightly.
        """
        from duraflow_pg.places import chosen_dsn

        for dsn in (self.asked.dsn, *(self.variables.get(name) for name in ("DURAFLOW_DSN", "DATABASE_URL"))):
            if dsn:
                self.asked.secrets |= _secrets_of(dsn)
        return chosen_dsn(self.asked.dsn, self.variables).conninfo


def settings(asked: Asked) -> Settings:
    """Look up what was not said. Puts what `.env` says into the environment, beneath what is there.

    Raises:
        InvalidArgument: something cannot be used; the error names where it came from.
    """
    from duraflow_pg.places import chosen_namespace, chosen_schema, environment

    folder, table = _pyproject(Path.cwd())
    here = Path(".env")
    variables = environment(here if here.exists() or folder is None else folder / ".env")
    for name, value in variables.items():
        os.environ.setdefault(name, value)  # so that an application that reads them finds the same
    app, source = asked.app, "--app"
    if app is None and variables.get(APP_VARIABLE):
        app, source = variables[APP_VARIABLE], APP_VARIABLE
    if app is None and "app" in table:
        app, source = table["app"], "[tool.duraflow] app"
    return Settings(
        asked=asked,
        variables=variables,
        app=None if asked.no_app else app,
        app_from=source,
        folder=folder,
        properties=table.get("properties"),
        schema=chosen_schema(asked.schema, variables, table.get("schema", "public")),
        namespace=chosen_namespace(asked.namespace, variables, table.get("namespace", "default")),
    )


def _pyproject(start: Path) -> tuple[Path | None, Mapping[str, str]]:
    """The nearest pyproject.toml, upwards, that has `[tool.duraflow]`: its folder, and the table."""
    for folder in (start, *start.parents):
        file = folder / "pyproject.toml"
        if not file.is_file():
            continue
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InvalidArgument(str(file), f"cannot be read: {error}") from None
        table = document.get("tool", {}).get("duraflow")
        if table is None:
            continue
        if not isinstance(table, dict) or not all(isinstance(value, str) for value in table.values()):
            raise InvalidArgument(str(file), f"[tool.duraflow] holds texts, and of these: {', '.join(_KEYS)}")
        for key in table:
            if key not in _KEYS:
                more = "; a database is named in .env or the environment" if key == "dsn" else ""
                raise InvalidArgument(
                    str(file), f"[tool.duraflow] knows {', '.join(_KEYS)}, not {key!r}{more}"
                )
        return folder, table
    return None, {}


def importable(found: Settings) -> None:
    """Let modules be imported from the current folder, and from that of the pyproject.toml, as `python -m` would."""
    for folder in filter(None, (found.folder, Path.cwd())):
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def _secrets_of(dsn: str) -> set[str]:
    """What of a connection string must not be shown: the whole, and its password, written in either way."""
    from urllib.parse import quote, unquote

    found = {dsn}
    _, is_url, rest = dsn.partition("://")
    if is_url:
        user, at, _ = rest.partition("@")
        password = user.partition(":")[2] if at else ""
        found |= {password, unquote(password), quote(password, safe="")}
    try:
        from psycopg import conninfo

        found |= {str(value) for key, value in conninfo.conninfo_to_dict(dsn).items() if "passw" in key}
    except Exception:  # noqa: BLE001  # what cannot be read is refused where it is used
        return {secret for secret in found if secret}
    return {secret for secret in found if secret}


# --- the options ------------------------------------------------------------------------------------------------


def _note(context: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Keep an option that may stand before or after the command's name; the later one counts."""
    if value is not None and value is not False and parameter.name is not None:
        setattr(context.ensure_object(Asked), parameter.name, value)


def _common(*names: str, **options: Any) -> Callable[[F], F]:
    return click.option(*names, callback=_note, expose_value=False, **options)


_WHERE = (
    _common("--dsn", metavar="DSN", help="The database; a password is safer in DURAFLOW_DSN or .env."),
    _common("--schema", metavar="NAME", help="Where the tables are (default: $DURAFLOW_SCHEMA or public)."),
)
_NAMESPACE = _common(
    "--namespace", metavar="NAME", help="Which instances are seen (default: $DURAFLOW_NAMESPACE or default)."
)
_APP = (
    _common(
        "--app", metavar="MODULE:NAME", help="The application (default: pyproject.toml's [tool.duraflow])."
    ),
    _common("--no-app", is_flag=True, help="Work without the application's code."),
)
_JSON = _common("--json", is_flag=True, help="Print JSON, for programs.")
_TRACEBACK = _common("--traceback", is_flag=True, help="Show where an error comes from.")


def _all(options: tuple[Callable[[Any], Any], ...]) -> Callable[[F], F]:
    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


everything = _all((*_APP, *_WHERE, _NAMESPACE, _JSON, _TRACEBACK))
"""Options of a command that asks an application about the instances in a database."""
code_only = _all((*_APP, _JSON, _TRACEBACK))
"""Options of a command that needs no database."""
tables_only = _all((*_WHERE, _TRACEBACK))
"""Options of a command on the tables themselves."""
tables_and_json = _all((*_WHERE, _JSON, _TRACEBACK))
"""Options of a command on the tables themselves that prints data."""
