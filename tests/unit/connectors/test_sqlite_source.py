"""The SQLite source reads what is there, once, and says what it cannot read."""

from __future__ import annotations

import datetime as dt
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.testing.source_suite import plain, rows_of
from dataflare.testing.stage import batches_of, settled, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., SqliteSource]]:
    made: list[SqliteSource] = []

    def build(mode: str = "full", **settings: Any) -> SqliteSource:
        made.append(staged(SqliteSource(SqliteSourceConfig(path="shop.db", **settings)), tmp_path, mode=mode))
        made[-1].open()
        return made[-1]

    yield build
    for source in made:
        source.close()


def script(folder: Path, text: str) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executescript(text)


def read(source: SqliteSource, since: Any = None) -> tuple[list[dict[str, Any]], Any]:
    """Return all rows after a mark, and the mark after them."""
    found = []
    for split in splits_of(source, since):
        since = plain(split.resume)
        found += [r for rows in rows_of(batches_of(source, split)).values() for r in rows]
    return found, since


def test_values_of_other_programs_are_understood(make: Any, tmp_path: Path) -> None:
    script(
        tmp_path,
        """create table t (id integer primary key, price numeric(10,2), born date, seen timestamp, at datetime, x);
        insert into t values (1, 0.1 + 0.2, '2026-01-02', '2026-01-02 03:04:05', '2026-01-02', 7);
        insert into t values (2, 5, null, '2026-01-02T03:04:05+02:00', '2026-01-02T03:04:05.5', null);
        insert into t values (3, '1.20', null, '2026-01-02', null, 9);""",
    )
    source = make(table="t")
    types = {c.name: c.type for c in source.context.schemas[""]}
    assert types == {
        "id": "int64",
        "price": "decimal(10,2)",
        "born": "date",
        "seen": "timestamp",
        "at": "datetime",
        "x": "int64",
    }
    found, _ = read(source)
    assert [r["price"] for r in found] == [Decimal("0.30"), Decimal("5.00"), Decimal("1.20")]
    assert [r["seen"].isoformat() for r in found] == [
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T01:04:05+00:00",
        "2026-01-02T00:00:00+00:00",
    ]
    assert [r["at"] for r in found] == [
        None if t is None else dt.datetime.fromisoformat(t) for t in ("2026-01-02", "2026-01-02T03:04:05.5", None)
    ]


def test_a_value_that_is_not_of_its_type_is_told_with_the_cure_which_works(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (id integer primary key, n int); insert into t values (1, 'secret')")
    with pytest.raises(DataError, match="a value of n is no int64") as caught:
        read(make(table="t"))
    assert "types: {n: string}" in caught.value.hint
    assert "secret" not in str(caught.value)
    assert read(make(table="t", types={"n": "string"}))[0] == [{"id": 1, "n": "secret"}]


def test_several_tables_are_outputs_of_their_names(make: Any, tmp_path: Path) -> None:
    script(
        tmp_path, "create table a (x int); create table b (y text); insert into a values (1); insert into b values (2)"
    )
    source = make(tables=["a", "b"])
    assert sorted(source.context.schemas) == ["a", "b"]
    streams = {b.stream: b.rows.to_pylist() for s in splits_of(source) for b in batches_of(source, s)}
    assert streams == {"a": [{"x": 1}], "b": [{"y": "2"}]}


@pytest.mark.parametrize("table", ["t", "T"])
def test_a_sparse_table_is_not_cut_into_countless_parts(make: Any, tmp_path: Path, table: str) -> None:
    script(tmp_path, "create table t (id integer primary key); insert into t values (-9000000000), (5), (9000000000)")
    source = make(table=table, split_rows=1)
    assert len(list(splits_of(source))) <= 257
    assert [r["id"] for r in read(source)[0]] == [-9_000_000_000, 5, 9_000_000_000]


def test_a_column_named_rowid_is_not_mistaken_for_the_row_id(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (rowid text, v int); insert into t values ('b', 1), ('a', 2), ('a', 3)")
    assert [r["v"] for r in read(make(table="t", batch_rows=1))[0]] == [1, 2, 3]


def test_an_empty_table_has_no_rows(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (id integer primary key)")
    assert read(make(table="t"))[0] == []


def test_a_view_is_read_with_types_from_its_rows(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (a); insert into t values (1), (2.5); create view v as select a, 'x' as b from t")
    source = make(table="v")
    assert {c.name: c.type for c in source.context.schemas[""]} == {"a": "float64", "b": "string"}
    assert read(source)[0] == [{"a": 1.0, "b": "x"}, {"a": 2.5, "b": "x"}]


@pytest.mark.parametrize("values", ["(1), (2), (2), (3)", "(null), (1), (2), (3)"])
def test_a_key_that_does_not_tell_rows_apart_is_refused_not_skipped_over(
    make: Any, tmp_path: Path, values: str
) -> None:
    script(tmp_path, f"create table t (k int); insert into t values {values}")
    with pytest.raises(DataError, match="does not tell rows apart"):
        read(make(query="select k from t", key=["k"], batch_rows=2))


def test_rows_that_come_at_the_newest_value_are_found_by_the_next_run(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (id integer primary key, at text); insert into t values (1, 'a'), (2, 'b')")
    source = make("incremental", table="t", incremental={"cursor_field": "at"})
    first, mark = read(source)
    assert [r["id"] for r in first] == [1, 2]
    assert read(source, mark) == ([], mark)
    script(tmp_path, "insert into t values (3, 'b'), (4, 'c')")
    second, mark = read(source, mark)
    assert [r["id"] for r in second] == [3, 4]
    script(tmp_path, "insert into t values (5, 'a')")  # older than what was read: no query can tell
    assert read(source, mark)[0] == []


def test_a_run_may_begin_in_the_middle(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (id integer primary key, n int); insert into t values (1, 5), (2, 6), (3, null)")
    source = make("incremental", table="t", incremental={"cursor_field": "n", "cursor_value": 6})
    found, mark = read(source)
    assert [r["id"] for r in found] == [2]
    late = make("incremental", table="t", incremental={"cursor_field": "n", "cursor_value": 7})
    assert read(late) == ([], None)
    assert mark["marks"][""]["value"] == 6


def test_very_many_rows_of_one_value_are_read_and_the_value_is_complete(make: Any, tmp_path: Path) -> None:
    numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 6000)"
    script(tmp_path, f"create table t (id integer primary key, at int); insert into t {numbers} select i, 1 from n")
    source = make("incremental", table="t", incremental={"cursor_field": "at"})
    found, mark = read(source)
    assert len(found) == 6000
    assert mark["marks"][""]["keys"] is None
    script(tmp_path, "insert into t values (9001, 1), (9002, 2)")
    assert [r["id"] for r in read(source, mark)[0]] == [9002]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": "nothing"}, "there is no table nothing"),
        ({"query": "select * frm t"}, "syntax error"),
        ({"query": "select 1 as a", "key": ["b"]}, "no column b"),
        ({"table": "t", "types": {"nope": "string"}}, "types names nope"),
        ({"mode": "incremental", "table": "t"}, "needs a column that grows"),
        ({"mode": "incremental", "table": "t", "incremental": {"cursor_field": "no"}}, "has no column no"),
        (
            {"mode": "incremental", "query": "select 1 as a", "incremental": {"cursor_field": "a"}},
            "tell the rows",
        ),
    ],
)
def test_what_is_not_there_is_told(make: Any, tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    script(tmp_path, "create table t (id integer primary key)")
    with pytest.raises(WorkflowError, match=message):
        make(**settings)


@pytest.mark.parametrize("settings", [{}, {"table": "a", "query": "select 1"}])
def test_exactly_one_thing_is_read(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only one of the three"):
        SqliteSourceConfig(path="x", **settings)


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    source = SqliteSource(SqliteSourceConfig(path="none.db", table="t"))
    with pytest.raises(UnavailableError, match="cannot be opened"):
        staged(source, tmp_path)
    assert not (tmp_path / "none.db").exists()
    settled(source.close())


def test_a_table_that_comes_or_goes_takes_none_of_the_others_with_it(make: Any, tmp_path: Path) -> None:
    """A run that was interrupted goes on by a file that has changed, or finds another table by a pattern."""
    script(tmp_path, "".join(f"create table {n} (id integer); insert into {n} values (1);" for n in "abcd"))
    first, *_ = splits_of(make(tables=["b", "c", "d"]), None)
    assert first.data["stream"] == "b"
    since = plain(first.resume)
    assert [s.data["stream"] for s in splits_of(make(tables=["a", "b", "c", "d"]), since)] == ["c", "d", "a"]
    assert [s.data["stream"] for s in splits_of(make(tables=["c", "d"]), since)] == ["c", "d"]
    assert [s.data["stream"] for s in splits_of(make(tables=["d", "b"]), since)] == ["d"]
    _, second, *_ = splits_of(make(tables=["a", "b", "c", "d"]), since)
    assert [s.data["stream"] for s in splits_of(make(tables=["a", "c"]), plain(second.resume))] == ["a"]
    assert [s.data["stream"] for s in splits_of(make(tables=["b", "c", "d"]), {"table": 1})] == ["c", "d"]
