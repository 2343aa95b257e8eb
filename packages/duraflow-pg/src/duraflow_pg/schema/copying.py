"""How do the migrations get into the folder from which an application's own dbmate applies them?"""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from duraflow.errors import InvalidArgument
from duraflow_pg.schema.files import migration_files
from duraflow_pg.schema.generate import objects_of, place_file
from duraflow_pg.schema.names import check_schema_name


@attrs.frozen
class CopyReport:
    """What `copy_migrations` did.

    Attributes:
        copied: the files that are new in the folder, in the order in which dbmate applies them.
        identical: the files that were there already with the same content, maybe under a name of the user's.
    """

    copied: tuple[Path, ...]
    identical: tuple[Path, ...]


@attrs.frozen
class FilesDiffer(InvalidArgument):
    """Migrations of the same name but other content are in the folder. Nothing was copied.

    Attributes:
        files: the ones that differ.
    """

    files: tuple[Path, ...]


def copy_migrations(directory: str | os.PathLike[str], *, schema: str = "public") -> CopyReport:
    """Put Duraflow's migrations into a folder of dbmate migrations. Run it again after each update of duraflow-pg.

    For `public` the files are copied as they are, without schema names: dbmate makes the tables where the
    connection's `search_path` says, which is `public` unless changed. For another schema each name in them is
    qualified.

    A file that is there already is left alone if its content is the same (also under another name, also with other
    line ends). If one of the same name differs, nothing is copied at all: a migration may have been applied, and must
    not change.

    Args:
        directory: it is made if it is missing.
        schema: where the tables are to be.

    Raises:
        FilesDiffer: files of the same name with other content are there. Nothing was written.
        InvalidArgument: the folder or the schema's name cannot be used. Nothing was written.
    """
    check_schema_name(schema)
    folder = Path(directory)
    if folder.exists() and not folder.is_dir():
        raise InvalidArgument("directory", f"{folder} is not a folder")
    there = {_normal(path.read_bytes()): path for path in sorted(folder.glob("*.sql"), reverse=True)}
    new: dict[Path, bytes] = {}
    identical: list[Path] = []
    changed: list[Path] = []
    files = migration_files()
    for file in files:
        if schema == "public":
            text = file.text
        else:
            text = place_file(file, schema, objects_of(files), first=file is files[0])
        content = text.encode()
        if (same := there.get(_normal(content))) is not None:
            identical.append(same)
        elif (folder / file.name).exists():
            changed.append(folder / file.name)
        else:
            new[folder / file.name] = content
    if changed:
        raise FilesDiffer(
            "directory",
            f"{folder} has files of the same name with other content: {', '.join(path.name for path in changed)}; "
            "nothing was copied. If they are for another schema, use a folder for each schema; if they were edited, "
            "put the edits into a migration of your own and restore them",
            tuple(changed),
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in new.items():
        # never a half-written migration under its real name
        partial = path.with_suffix(".sql.part")
        partial.write_bytes(content)
        partial.replace(path)
    return CopyReport(copied=tuple(new), identical=tuple(identical))


def _normal(content: bytes) -> bytes:
    """Without what git's autocrlf changes."""
    return content.replace(b"\r\n", b"\n")
