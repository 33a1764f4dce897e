"""SQLite evaluates conditions as the filter does, whatever is in its columns."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from tests.pushdown import check, conditions, pushed, rows_read

from dataflare.component.context import ReadHints
from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = [
    (1, -5, "a"),
    (2, 0, "A"),
    (3, None, None),
    (4, 7, "ab"),
    (5, 9_007_199_254_740_993, "b "),
    (6, 7, "é"),
    (7, -5, ""),
    (8, 0, "it's"),
    (9, 3, b"a"),
    (10, 4, "10"),
]
COLUMNS = {
    "number": ["-5", "0", "7", "9007199254740993", "9007199254740992", "3"],
    "text": ["'a'", "'A'", "''", "'b'", "'é'", "'it''s'", "'10'"],
    "id": ["1", "4", "100"],
}


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SqliteSource]:
    path = tmp_path_factory.mktemp("p") / "p.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table t (id integer primary key, number integer, text text collate nocase, x real)")
        connection.executemany("insert into t (id, number, text) values (?, ?, ?)", ROWS)
        connection.commit()

    def build(**changes: Any) -> SqliteSource:
        return staged(SqliteSource(SqliteSourceConfig(path=str(path), table="t", batch_rows=3)), **changes)

    return build


@settings(max_examples=60, deadline=None)
@given(conditions(COLUMNS))
def test_a_condition_that_is_pushed_down_keeps_the_same_rows(make: Any, condition: str) -> None:
    check(make, condition, rows_read(make()), odd={9})


@pytest.mark.parametrize(
    ("condition", "is_pushed"),
    [
        ("number > 5 and text = 'a'", True),
        ('"NUMBER" in (1, 2) or id is null', True),
        ("text > 'a' and text <= 'z'", True),
        ("text like 'a%'", False),
        ("x > 1", False),
        ("number > 1.5", False),
        ("number + 1 > 5", False),
        ("number > 5 and lower(text) = 'a'", False),
        ("number = null", False),
        ("number in (1, null)", False),
        ("number = 99999999999999999999", False),
    ],
)
def test_only_what_means_the_same_is_pushed_down(make: Any, condition: str, is_pushed: bool) -> None:
    assert (pushed(make, condition) is not None) is is_pushed


def test_a_value_that_is_none_of_its_column_is_met_by_the_filter_itself(make: Any) -> None:
    form = pushed(make, "text = 'ab'")
    assert rows_read(make(hints=ReadHints(predicate=form))).column("id").to_pylist() == [4, 9]


def test_no_more_is_read_than_is_wanted(make: Any) -> None:
    source = make(hints=ReadHints(limit=2))
    source.open()
    with closing(source):
        (split,) = source.splits(None)
        assert next(source.read(split, None, None)).num_rows == 2


def test_texts_in_utf16_are_not_ordered_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "wide.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma encoding = 'UTF-16le'")
        connection.execute("create table t (id integer primary key, text text)")
        connection.executemany(
            "insert into t values (?, ?)", [(1, "\u0100"), (2, "b"), (3, "\ue000"), (4, "\U0001f600")]
        )
        connection.commit()

    def build(**changes: Any) -> SqliteSource:
        return staged(SqliteSource(SqliteSourceConfig(path=str(path), table="t")), **changes)

    assert pushed(build, "text > 'a'") is None
    assert check(build, "text in ('b', '\U0001f600')", rows_read(build()), set())
