"""What is the SQL of all migrations for a given schema, to be run by another tool than dbmate?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import attrs

from duraflow.errors import InvalidArgument
from duraflow_pg.schema.files import migration_files
from duraflow_pg.schema.names import check_schema_name
from duraflow_pg.schema.placement import create_schema, objects_made, qualify
from duraflow_pg.schema.tokens import tokens

if TYPE_CHECKING:
    from duraflow_pg.schema.files import MigrationFile, Section

UuidStrategy = Literal["random", "v7"]

_V7_SINCE = 180_000
_V7_CHECK = """\
DO $duraflow$
BEGIN
    IF current_setting('server_version_num')::integer < 180000 THEN
        RAISE EXCEPTION 'ids by uuidv7() need PostgreSQL 18 or later, this is %', current_setting('server_version')
            USING ERRCODE = 'feature_not_supported', HINT = 'Generate the migrations with the uuid strategy "random".';
    END IF;
END $duraflow$;
"""


@attrs.frozen
class MigrationSql:
    """SQL that makes Duraflow's schema, and SQL that takes it back.

    Attributes:
        up: makes everything. Run it in one transaction.
        down: drops everything that `up` made, with all data; the schema itself stays.
    """

    up: str
    down: str


def generate_migration_sql(
    *, schema: str = "public", uuid_strategy: UuidStrategy = "random", server_version: int | None = None
) -> MigrationSql:
    """The SQL of all migrations, each name qualified with the schema, for tools other than dbmate.

    Nothing is recorded in `schema_migrations`: that is the business of the tool that runs it.

    Args:
        schema: where the tables go; any name but the server's own. It is created if missing, unless it is `public`.
        uuid_strategy: what makes an instance's id where the caller gives none: `random` (`gen_random_uuid()`), or
            `v7` (`uuidv7()`, ordered by time, PostgreSQL 18 and later).
        server_version: of the server it is for, if known, as libpq gives it (180004 is 18.4). Without it, SQL
            with `v7` begins with a check that stops it on an older server.

    Raises:
        InvalidArgument: the schema cannot have that name; there is no such strategy, or not on that server.
    """
    check_schema_name(schema)
    if uuid_strategy not in {"random", "v7"}:
        raise InvalidArgument("uuid_strategy", f"{uuid_strategy!r} is neither 'random' nor 'v7'")
    if server_version is not None and server_version < 10_000:
        raise InvalidArgument(
            "server_version", f"{server_version} is too low; write 18.4 as 180004, as libpq does"
        )
    v7 = uuid_strategy == "v7"
    if v7 and server_version is not None and server_version < _V7_SINCE:
        raise InvalidArgument(
            "uuid_strategy",
            f"'v7' needs PostgreSQL 18 or later, the server is {server_version // 10_000}; use 'random'",
        )
    files = migration_files()
    objects = objects_of(files)

    def place(file: MigrationFile, section: Section) -> str:
        body = _with_v7(section.body) if v7 else section.body
        return f"-- {file.name}\n\n{qualify(body, schema, objects).strip()}\n"

    up = [_V7_CHECK] if v7 and server_version is None else []
    up += [create_schema(schema)] if schema != "public" else []
    up += [place(file, section) for file in files for section in file.up]
    down = [place(file, section) for file in reversed(files) for section in file.down]
    return MigrationSql(up="\n".join(up), down="\n".join(down))


def place_file(file: MigrationFile, schema: str, objects: frozenset[str], *, first: bool) -> str:
    """A migration as a dbmate file for another schema; the first one also makes the schema."""
    text = qualify(file.text, schema, objects)
    if first:
        # the marker is the first section's first line, and qualifying leaves comments alone
        marker = file.up[0].sql.partition("\n")[0]
        text = text.replace(f"{marker}\n", f"{marker}\n\n{create_schema(schema)}", 1)
    return text


@lru_cache
def objects_of(files: tuple[MigrationFile, ...]) -> frozenset[str]:
    """The names of all tables, indexes and so on that the migrations make."""
    return frozenset().union(*(objects_made(section.sql) for file in files for section in file.up))


def _with_v7(sql: str) -> str:
    """Defaults by `gen_random_uuid()` become defaults by `uuidv7()`."""
    written = []
    last = ""
    for token in tokens(sql):
        is_default = token.keyword == "GEN_RANDOM_UUID" and last == "DEFAULT"
        written.append("uuidv7" if is_default else token.text)
        if token.kind not in {"space", "comment"}:
            last = token.keyword
    return "".join(written)
