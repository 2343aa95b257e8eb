"""Are the faults of a DSN explained without showing what may be a password?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from duraflow.errors import InvalidArgument
from duraflow_pg._dotenv import environment
from duraflow_pg._dsn import read_dsn

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p%40w@h:5433/d?sslmode=disable",
        "postgres://u@h1,h2:1,2/d",
        "host=h dbname=d password='a b'",
        "postgresql:///d?host=/tmp&user=a@b",
        "postgresql://u@[::1]:5432/d",
        "host=h options='-c a.b=http://x'",
        "",
    ],
)
def test_a_good_dsn_is_left_alone(dsn: str) -> None:
    """URLs and keywords; empty is libpq's own environment."""
    read = read_dsn(dsn)
    assert (read.conninfo, read.pool) == (dsn, {})


def test_parameters_of_a_pool_are_taken_out() -> None:
    """Libpq would refuse them."""
    read = read_dsn("postgresql://u@h/d?pool_size=5&sslmode=disable")
    assert (read.conninfo, read.pool) == ("postgresql://u@h/d?sslmode=disable", {"pool_size": "5"})
    assert read_dsn("postgresql://u@h/d?pool_size=5").conninfo == "postgresql://u@h/d"


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("postgresql://u:s@cret@h/d", "percent-encode"),
        ("postgresql://u:s/cret@h/d", "percent-encode"),
        ("postgresql://u:s:cret@h/d", None),
        ("postgresql://u:s?cret@h/d", None),
        ("postgresql://u:s?cret@h/d?pool_size=5", None),
        ("postgresql://u:s%zzcret@h/d", "percent-encode"),
        ("postgresql://u:s#cret@h:port/d", "port that is not a number"),
        ("postgresql+psycopg://u:scret@h/d", "no driver name"),
        ("//u:scret@h/d", "not a PostgreSQL connection string"),
        ("u:scret@h/d", "not a PostgreSQL connection string"),
        ("postgresql://u:scret@h/d?search_path=x", "dbmate's"),
        ("postgresql://u:scret@h/d?what=1", "does not know: what"),
        ("password=scret what=1", "does not know: what"),
        ("password=scret\0", "NUL"),
    ],
)
def test_a_bad_dsn_is_explained_and_not_shown(dsn: str, reason: str | None) -> None:
    """Whatever part of the password went astray."""
    if reason is None:
        read = read_dsn(dsn)
        assert "cret" not in repr(read)
        assert read.conninfo.startswith("postgresql://u:s")
        return
    with pytest.raises(InvalidArgument, match=reason) as raised:
        read_dsn(dsn, argument="DATABASE_URL")
    assert raised.value.argument == "DATABASE_URL"
    assert "cret" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_the_file_env_lies_beneath_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quotes, comments, `export` and `=` in a value are understood; what is set in the environment wins."""
    file = tmp_path / ".env"
    lines = [
        "# all",
        "A_ONE=1 # one",
        "export A_TWO='x # y'",
        'A_THREE="a=b"',
        "",
        "A_FOUR=p?a=b&c=d",
        "no",
        "A_SET=file",
    ]
    file.write_text("\n".join(lines))
    monkeypatch.setenv("A_SET", "environment")
    read = environment(file)
    assert {name: value for name, value in read.items() if name.startswith("A_")} == {
        "A_ONE": "1", "A_TWO": "x # y", "A_THREE": "a=b", "A_FOUR": "p?a=b&c=d", "A_SET": "environment",
    }  # fmt: skip
    assert "A_ONE" not in environment(tmp_path / "none")
