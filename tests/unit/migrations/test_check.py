"""Is a missing or old schema told from a right one, with the command to run?"""

from __future__ import annotations

import pytest

from duraflow_pg.schema import EXPECTED_COLUMNS, SCHEMA_PARAMETERS, schema_problem


def _rows(schema: str) -> list[tuple[str, str, list[str]]]:
    return [(schema, table, list(columns)) for table, columns in EXPECTED_COLUMNS.items()]


def test_a_complete_schema_has_no_problem() -> None:
    """Nor has one with more in it: a newer migration may be there before the new code is."""
    rows = _rows("s")
    assert schema_problem(rows, "s") is None
    rows[0][2].append("new_column")
    assert schema_problem([*rows, ("s", "workflow_new", ["id"])], "s") is None


def test_a_missing_schema_says_what_to_run() -> None:
    """The command for this very schema, and the way with dbmate."""
    problem = schema_problem([], "public")
    assert problem is not None
    assert problem.problem == "Duraflow's tables are missing"
    assert problem.remedy == (
        "python -m duraflow_pg migrate"
        "  (with dbmate: python -m duraflow_pg migrations copy db/migrations, then dbmate up)"
    )
    odd = schema_problem([], "it's mine")
    assert odd is not None
    assert odd.remedy.startswith("""python -m duraflow_pg migrate --schema 'it'"'"'s mine'  (""")


def test_tables_in_another_schema_are_pointed_at() -> None:
    """A `search_path` of the role puts unqualified migrations there."""
    problem = schema_problem([*_rows("app"), *_rows("b")], "public")
    assert problem is not None
    assert (
        problem.problem == "Duraflow's tables are missing (there are some in 'app', 'b': is `schema=` right?)"
    )


def test_an_old_schema_says_what_it_lacks() -> None:
    """Tables and columns by name."""
    rows = [row for row in _rows("s") if row[1] != "workflow_due"]
    for _, table, columns in rows:
        if table == "workflow_history":
            columns.remove("attempt_id")
            columns.remove("kind")
    problem = schema_problem(rows, "s")
    assert problem is not None
    assert problem.problem == (
        "it is older than this library: missing table workflow_due; "
        "column workflow_history.kind, workflow_history.attempt_id"
    )


@pytest.mark.parametrize("table", EXPECTED_COLUMNS)
def test_the_query_asks_for_every_table(table: str) -> None:
    """What is not asked for would seem to be missing."""
    assert table in SCHEMA_PARAMETERS["tables"]
