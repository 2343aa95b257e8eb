"""Is the generated SQL that of the files, for the schema and the ids asked for?"""

from __future__ import annotations

import pytest

from duraflow.errors import InvalidArgument
from duraflow_pg.schema import generate_migration_sql


def test_for_public_no_schema_is_made() -> None:
    """`public` is there, or was removed on purpose; names are qualified all the same."""
    generated = generate_migration_sql()
    assert "CREATE SCHEMA" not in generated.up
    assert 'CREATE TABLE "public".workflow_instances (' in generated.up
    assert 'DROP TABLE "public".workflow_instances;' in generated.down
    assert "migrate:" not in generated.up + generated.down


def test_another_schema_is_made_first_and_never_dropped() -> None:
    """It may hold other things."""
    generated = generate_migration_sql(schema='o"x')
    assert generated.up.index('CREATE SCHEMA IF NOT EXISTS "o""x";') < generated.up.index("CREATE TABLE")
    assert "DROP SCHEMA" not in generated.down


def test_v7_changes_the_default_of_ids_and_nothing_else() -> None:
    """One function for another, and a check of the server in front."""
    random = generate_migration_sql(uuid_strategy="random", server_version=180_000)
    v7 = generate_migration_sql(uuid_strategy="v7", server_version=180_000)
    assert "uuidv7" not in random.up
    assert "DEFAULT uuidv7()" in v7.up
    assert v7.up.replace("uuidv7()", "gen_random_uuid()") == random.up
    assert v7.down == random.down
    checked = generate_migration_sql(uuid_strategy="v7")
    assert checked.up.endswith(v7.up)
    assert "need PostgreSQL 18" in checked.up.removesuffix(v7.up)


def test_v7_is_refused_for_an_older_server() -> None:
    """Known beforehand, it is an error beforehand."""
    with pytest.raises(InvalidArgument, match="'v7' needs PostgreSQL 18 or later, the server is 16"):
        generate_migration_sql(uuid_strategy="v7", server_version=160_014)
    assert generate_migration_sql(server_version=150_000).up


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"uuid_strategy": "v4"}, "uuid_strategy"),
        ({"schema": ""}, "schema"),
        ({"server_version": 18}, "server_version"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], argument: str) -> None:
    """Each error names the option."""
    with pytest.raises(InvalidArgument, match=f"^{argument}: "):
        generate_migration_sql(**options)  # type: ignore[arg-type]  # wrong on purpose
