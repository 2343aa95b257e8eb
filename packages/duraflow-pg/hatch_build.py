"""How do the migrations of the checkout's sql/dbmate get into the sdist and the wheel?

There is one copy of the migrations in the repository, `sql/dbmate/*.sql`, outside this package. Three cases:

- sdist, built from a checkout: the files are put at `src/duraflow_pg/migrations/`;
- wheel, built from a checkout: the files are put at `duraflow_pg/migrations/`; built from an sdist: they already
  are part of the package and nothing is to do;
- editable install: nothing is copied, so that a changed migration is seen at once.

So code finds them like this, in this order:

    here = Path(__file__).parent                    # …/duraflow_pg
    here / "migrations"                             # installed from a wheel
    here.parents[3] / "sql" / "dbmate"              # editable: <checkout>/packages/duraflow-pg/src/duraflow_pg
"""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class MigrationsHook(BuildHookInterface):  # type: ignore[type-arg]  # hatchling is no dependency of ours
    """Adds the migrations to what hatchling packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called before a build; `version` is `standard` or `editable`."""
        if version == "editable":
            return
        root = Path(self.root)
        if any((root / "src" / "duraflow_pg" / "migrations").glob("*.sql")):
            return
        files = sorted((root.parents[1] / "sql" / "dbmate").glob("*.sql"))
        if not files:
            raise FileNotFoundError(
                "no migrations found: neither src/duraflow_pg/migrations (sdist) nor ../../sql/dbmate (checkout)"
            )
        inside = "src/duraflow_pg/migrations" if self.target_name == "sdist" else "duraflow_pg/migrations"
        for file in files:
            build_data["force_include"][str(file)] = f"{inside}/{file.name}"
