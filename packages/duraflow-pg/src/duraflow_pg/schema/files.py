"""Where are the migration files, and what do they hold, read as dbmate reads them?"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import attrs

# As dbmate 2.37 (measured against the program by tests/pg/migrations): at the beginning of a line, in lower case,
# options after a blank; a line that is indented, or `migrate:upwards`, is an ordinary comment.
_MARKER = re.compile(r"^--\s*migrate:(up|down)(?:[ \t\r\f\v]*$|[ \t]+\S.*$)", re.MULTILINE)
_FILE_NAME = re.compile(r"^(\d+).*\.sql$")


class MigrationFileError(ValueError):
    """A migration file is not what dbmate takes. Nothing was applied; the message names the file and the line."""


@attrs.frozen
class Section:
    """One `-- migrate:up` or `-- migrate:down` part of a file.

    Attributes:
        sql: the part, its marker line included (a comment to the server, and dbmate sends it, too).
        transaction: whether it runs inside a transaction: it does unless marked `transaction:false`.
    """

    sql: str
    transaction: bool = True

    @property
    def body(self) -> str:
        """The part without its marker line."""
        return self.sql.partition("\n")[2]


@attrs.frozen
class MigrationFile:
    """A migration file.

    Attributes:
        name: its file name.
        text: all of it.
        up: its up sections in order; nearly always one.
        down: its down sections, in the order in which they are run: the last one of the file first.
    """

    name: str
    text: str
    up: tuple[Section, ...]
    down: tuple[Section, ...]

    @property
    def version(self) -> str:
        """The digits that the name begins with: what dbmate records."""
        return _version(self.name)


def migrations_path() -> Path:
    """The folder with Duraflow's migration files: `dbmate --migrations-dir` takes it as it is.

    In an installed package it is a folder of the package; in a checkout it is `sql/dbmate`.

    Raises:
        FileNotFoundError: there is none, so the installation is broken.
    """
    package = Path(__file__).parents[1]
    installed = package / "migrations"
    if any(installed.glob("*.sql")):
        return installed
    # <checkout>/packages/duraflow-pg/src/duraflow_pg; an installation may stand nearer to the root
    checkout = package.parents[3] / "sql" / "dbmate" if len(package.parents) > 3 else installed
    if any(checkout.glob("*.sql")):
        return checkout
    raise FileNotFoundError(
        f"duraflow-pg was installed without its migrations: none in {installed}; install it again"
    )


@cache
def migration_files() -> tuple[MigrationFile, ...]:
    """Duraflow's migrations in the order in which they are applied."""
    return read_directory(migrations_path())


def read_directory(directory: Path) -> tuple[MigrationFile, ...]:
    """The migrations in a folder, in the order of their file names, as dbmate applies them.

    Raises:
        MigrationFileError: one of them is not what dbmate takes, or two have one version.
    """
    paths = sorted(
        (path for path in directory.iterdir() if _FILE_NAME.match(path.name)), key=lambda path: path.name
    )
    files = tuple(parse_migration(path.name, path.read_text(encoding="utf-8")) for path in paths)
    for one, other in pairwise(files):
        if one.version == other.version:
            raise MigrationFileError(
                f"{one.name} and {other.name} have one version: dbmate would apply only the first"
            )
    return files


def parse_migration(name: str, text: str) -> MigrationFile:
    r"""Read a migration as dbmate does.

    >>> file = parse_migration("20260101_x.sql", "-- migrate:up\nSELECT 1;\n-- migrate:down transaction:false\n")
    >>> file.version, file.up[0].body, file.down[0].transaction
    ('20260101', 'SELECT 1;\n', False)

    Raises:
        MigrationFileError: as dbmate's: no up, no down, a down before its up, statements before the first up.
    """
    _version(name)
    markers = [*_MARKER.finditer(text)]
    kinds = [marker[1] for marker in markers]
    before = text[: markers[0].start()] if markers else text
    # dbmate allows blank lines and `--` comments there, no block comment
    if kinds and any(line.strip() and not line.lstrip().startswith("--") for line in before.split("\n")):
        raise MigrationFileError(f"{name}: there are statements before `-- migrate:up`")
    if "up" not in kinds:
        raise MigrationFileError(f"{name}: `-- migrate:up` is missing")
    if "down" not in kinds:
        raise MigrationFileError(f"{name}: `-- migrate:down` is missing")
    if kinds != ["up", "down"] * (len(kinds) // 2):
        raise MigrationFileError(f"{name}: each `-- migrate:up` needs one `-- migrate:down` after it")
    ends = [marker.start() for marker in markers[1:]] + [len(text)]
    sections = [
        Section(text[marker.start() : end], transaction="transaction:false" not in marker[0].split())
        for marker, end in zip(markers, ends, strict=True)
    ]
    return MigrationFile(name=name, text=text, up=tuple(sections[0::2]), down=tuple(sections[1::2][::-1]))


def _version(name: str) -> str:
    found = _FILE_NAME.match(name)
    if found is None:
        raise MigrationFileError(f"{name}: a migration's name begins with digits and ends in .sql")
    return found[1]
