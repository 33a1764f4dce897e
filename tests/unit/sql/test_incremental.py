"""Incremental reading: looking back, ending, rows without a value, the newest first, and rows that came late."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.errors import DataError, WorkflowError
from dataflare.monitoring.events import Noticed
from dataflare.sql.incremental import Incremental, earlier
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NUMBERS = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 3000)"


class Shop:
    """A file with the table t, and runs over it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "shop.db"
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("pragma synchronous = off")
        self.since: Any = None
        self.notices: list[str] = []

    def run(self, sql: str, *values: Any) -> None:
        self.connection.execute(sql, values)

    def source(self, batch_rows: int = 2, events: list[Any] | None = None, **incremental: Any) -> SqliteSource:
        config = SqliteSourceConfig(
            path=str(self.path), table="t", batch_rows=batch_rows, incremental={"cursor_field": "at", **incremental}
        )
        source = staged(SqliteSource(config), events=events, mode="incremental")
        source.open()
        return source

    def read(self, meanwhile: Any = None, **incremental: Any) -> list[Any]:
        """Return the keys of what one run reads; `meanwhile` is done between a window and its reading."""
        found: list[Any] = []
        events: list[Any] = []
        source = self.source(events=events, **incremental)
        with closing(source):
            for split in splits_of(source, self.since):
                self.since = plain(split.resume)
                if meanwhile is not None:
                    meanwhile()
                for batch in batches_of(source, split):
                    found += batch.rows.column("id").to_pylist()
        self.notices = [e.message for e in events if isinstance(e, Noticed)]
        return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path)
    found.run("create table t (id integer primary key, at int)")
    with closing(found.connection):
        yield found


def test_a_row_that_comes_late_is_found_within_the_lag_and_no_other_row_comes_again(shop: Shop) -> None:
    shop.run("insert into t values (1, 90), (2, 95), (3, 100)")
    assert shop.read(lag=10) == [1, 2, 3]
    assert shop.read(lag=10) == []
    shop.run("insert into t values (4, 92), (5, 80)")
    assert shop.read(lag=10) == [4]
    shop.run("insert into t values (6, 101), (7, 90)")
    assert shop.read(lag=10) == [7, 6]
    assert shop.read(lag=10) == []


def test_a_row_that_is_changed_within_the_lag_comes_again(shop: Shop) -> None:
    shop.run("insert into t values (1, 90), (2, 95), (3, 100)")
    shop.read(lag=10)
    shop.run("update t set at = 96 where id = 1")
    assert shop.read(lag=10) == [1]


def test_all_of_the_overlap_comes_in_every_run_where_that_is_wanted(shop: Shop) -> None:
    shop.run("insert into t values (1, 80), (2, 95), (3, 100)")
    assert shop.read(lag=10, overlap="all") == [1, 2, 3]
    assert shop.read(lag=10, overlap="all") == [2, 3]
    shop.run("insert into t values (4, 91)")
    assert shop.read(lag=10, overlap="all") == [4, 2, 3]


def test_a_lag_that_holds_more_rows_than_can_be_listed_is_refused_with_the_cure(shop: Shop) -> None:
    shop.run(f"{NUMBERS} insert into t select i, i from n where i <= 3000")
    with pytest.raises(DataError, match="more than 2,500 rows of t lie within a lag of 5000") as caught:
        shop.read(lag=5000, batch_rows=5000)
    assert "overlap: all" in caught.value.hint
    assert len(shop.read(lag=5000, overlap="all", batch_rows=5000)) == 3000


def test_a_lag_that_comes_later_looks_back_from_the_next_run_on(shop: Shop) -> None:
    shop.run("insert into t values (1, 90), (2, 100)")
    shop.read()
    shop.run("insert into t values (3, 95), (4, 110)")
    assert shop.read(lag=20) == [4]
    shop.run("insert into t values (5, 96)")
    assert shop.read(lag=20) == [5]


def test_a_lag_works_when_the_newest_rows_are_gone(shop: Shop) -> None:
    shop.run("insert into t values (1, 90), (2, 100)")
    shop.read(lag=20)
    shop.run("delete from t where id = 2")
    shop.run("insert into t values (3, 95)")
    assert shop.read(lag=20) == [3]
    shop.run("insert into t values (4, 100)")
    assert shop.read(lag=20) == [4]


def test_reading_ends_at_the_end_value(shop: Shop) -> None:
    shop.run("insert into t values (1, 1), (2, 2), (3, 3), (4, 4)")
    assert shop.read(cursor_value=2, end_value=3) == [2, 3]
    shop.run("insert into t values (5, 3), (6, 5)")
    assert shop.read(cursor_value=2, end_value=3) == [5]


def test_rows_without_a_value_are_told_or_refused_or_read_once(shop: Shop) -> None:
    shop.run("insert into t values (1, 1), (2, null), (3, null), (4, null)")
    assert shop.read() == [1]
    assert shop.notices == ["t has 3 rows without at: left out"]
    with pytest.raises(DataError, match="t has 3 rows without at"):
        shop.read(missing="fail")
    shop.since = None
    assert shop.read(missing="first") == [2, 3, 4, 1]
    shop.run("insert into t values (5, null), (6, 2)")
    assert shop.read(missing="first") == [6]


def test_rows_without_a_value_come_once_where_a_run_ends_behind_them(shop: Shop) -> None:
    shop.run("insert into t values (1, 1), (2, null)")
    source = shop.source(missing="first")
    with closing(source):
        first = next(iter(splits_of(source)))
        assert [b.rows.column("id").to_pylist() for b in batches_of(source, first)] == [[2]]
    shop.since = plain(first.resume)
    assert shop.read(missing="first") == [1]


def test_the_newest_rows_come_first(shop: Shop) -> None:
    shop.run("insert into t values (1, 1), (2, 1), (3, 2), (4, 2), (5, 2), (6, 3)")
    assert shop.read(row_order="desc") == [6, 5, 4, 3, 2, 1]
    source = shop.source(row_order="desc")
    with closing(source):
        (split,) = splits_of(source)
        batches = list(batches_of(source, split))
        for number, batch in enumerate(batches):
            rest = [i for b in batches_of(source, split, batch.position) for i in b.rows.column("id").to_pylist()]
            assert rest == [i for b in batches[number + 1 :] for i in b.rows.column("id").to_pylist()]
            upto = [i for b in batches_of(source, split, None, batch.position) for i in b.rows.column("id").to_pylist()]
            assert upto == [i for b in batches[: number + 1] for i in b.rows.column("id").to_pylist()]


def test_rows_that_came_late_without_a_lag_are_told(shop: Shop) -> None:
    shop.run("insert into t values (1, 1), (2, 5), (3, 9)")
    shop.read()
    assert shop.notices == []
    shop.run("insert into t values (4, 6), (5, 0), (6, 9), (7, 12)")
    assert shop.read() == [6, 7]
    (message,) = shop.notices
    assert message.startswith("t got 2 rows whose at is older than what was read")
    assert "lag" in message
    shop.run("update t set at = 13 where id = 2")
    assert shop.read() == [2]
    assert shop.notices == []


def test_rows_far_below_what_was_read_and_their_neighbours_are_not_told(shop: Shop) -> None:
    shop.run(f"{NUMBERS} insert into t select i, i / 3 from n where i <= 400")
    shop.read(batch_rows=1000)
    shop.run("insert into t values (401, 0), (402, 500)")
    assert shop.read() == [402]
    assert shop.notices == []


@pytest.mark.parametrize(
    ("value", "kind", "lag", "expected"),
    [
        (10, "int64", 3, 7),
        (10, "int64", 2.5, 7),
        ("10.50", "decimal(10,2)", 0.25, "10.25"),
        (1.5, "float64", 1, 0.5),
        ("1.5", "float64", 0.25, "1.25"),
        ("2026-01-01", "date", 86400, "2025-12-31"),
        ("2026-01-02", "date", 60, "2026-01-01"),
        ("2026-01-01 00:00:00+00", "timestamp", 3600, "2025-12-31 23:00:00+00"),
        ("2026-01-01T00:00:00.5Z", "timestamp", 0.25, "2026-01-01T00:00:00.2Z"),
        ("2026-01-01 00:00:00.123456", "datetime", 1, "2025-12-31 23:59:59.123456"),
        ("2026-01-01 00:00:00", "datetime", 0.5, "2025-12-31 23:59:59.500000"),
        ("2026-03-29 03:30:00+02", "timestamp", 3600, "2026-03-29 02:30:00+02"),
    ],
)
def test_an_earlier_value_has_the_form_of_the_later_one_and_is_never_too_late(
    value: Any, kind: str, lag: float, expected: Any
) -> None:
    assert earlier(value, kind, lag) == expected


@pytest.mark.parametrize("value", ["infinity", "0001-01-01 00:00:00", "4713-01-01 00:00:00 BC", "yesterday"])
def test_a_time_that_has_no_earlier_one_is_told(value: str) -> None:
    with pytest.raises(DataError, match="no time is 60 seconds before the newest value"):
        earlier(value, "timestamp", 60)


@pytest.mark.parametrize(
    ("kind", "lag", "message"),
    [("int", "1h", "is a time"), ("timestamp", 5, "has no unit"), ("text", 5, "needs a number or a time")],
)
def test_a_lag_that_does_not_fit_the_column_is_refused(tmp_path: Path, kind: str, lag: Any, message: str) -> None:
    shop = Shop(tmp_path)
    with closing(shop.connection):
        shop.run(f"create table t (id integer primary key, at {kind})")
        with pytest.raises(WorkflowError, match=message):
            shop.source(lag=lag)


@pytest.mark.parametrize(
    ("said", "message"),
    [({"overlap": "all"}, "needs a lag"), ({"lag": 0}, "more than nothing"), ({"lag": "soon"}, "not a duration")],
)
def test_settings_that_say_nothing_are_refused(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Incremental(cursor_field="at", **said)


OFFSETS = st.lists(st.integers(-6, 5), max_size=6)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(OFFSETS, OFFSETS), min_size=1, max_size=5), st.integers(1, 4), st.sampled_from(["asc", "desc"])
)
def test_every_row_that_comes_within_the_lag_is_read_once(
    tmp_path_factory: Any, steps: list[tuple[list[int], list[int]]], lag: int, row_order: str
) -> None:
    """Rows come at most the lag behind the newest value that was read, before and after a window is made."""
    shop = Shop(tmp_path_factory.mktemp("w"))

    def come(offsets: list[int]) -> None:
        newest = shop.since["marks"][""]["value"] if shop.since else 0
        for offset in offsets:
            shop.run("insert into t (at) values (?)", newest + max(offset, -lag))

    with closing(shop.connection):
        shop.run("create table t (id integer primary key, at int)")
        read: list[int] = []
        for before, meanwhile in steps:
            come(before)
            read += shop.read(lambda rows=meanwhile: come(rows), lag=lag, row_order=row_order)
        read += shop.read(lag=lag, row_order=row_order)
        wanted = [i for (i,) in shop.connection.execute("select id from t")]
    assert sorted(read) == wanted
