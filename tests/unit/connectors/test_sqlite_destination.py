"""The SQLite destination writes each row once, whatever dies, and says what is wrong with a file."""

from __future__ import annotations

import datetime as dt
import sqlite3
import threading
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.sqlite.destination import SqliteDestination
from dataflare.connectors.sqlite.settings import SqliteDestinationConfig, SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.errors import DataError, ExternalError, FencedError, StateError, UnavailableError, WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCHEMA = Schema.of({"id": "int64", "name": "string"})


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., SqliteDestination]]:
    made: list[SqliteDestination] = []

    def build(schema: Schema = SCHEMA, settings: dict[str, Any] | None = None, **changes: Any) -> SqliteDestination:
        config = SqliteDestinationConfig(**{"path": "shop.db", "table": "out", "wait": "100ms", **(settings or {})})
        changes = {"mechanism": Mechanism.DIRECT, "schemas": {"0": schema}, **changes}
        made.append(staged(SqliteDestination(config), tmp_path, **changes))
        made[-1].open()
        return made[-1]

    yield build
    for destination in made:
        destination.close()


def rows(*pairs: tuple[Any, ...]) -> Batch:
    return Batch(pa.table([[p[0] for p in pairs], [p[1] for p in pairs]], schema=SCHEMA.to_arrow()))


def query(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "shop.db")) as connection, connection:
        return connection.execute(sql).fetchall()


def commit(destination: SqliteDestination, number: int, *pairs: tuple[Any, ...]) -> None:
    if pairs:
        destination.write(rows(*pairs))
    epoch = Epoch(number, destination.context.attempt)
    destination.commit(epoch, destination.prepare(epoch))


def test_a_zombie_cannot_commit_after_a_newer_attempt_took_over(make: Any, tmp_path: Path) -> None:
    zombie = make(attempt=1)
    zombie.write(rows((1, "old")))
    zombie.prepare(Epoch(1, 1))
    successor = make(attempt=2)
    with pytest.raises(FencedError):
        zombie.commit(Epoch(1, 1), [])
    commit(successor, 1, (1, "new"))
    assert query(tmp_path, "select * from out") == [(1, "new")]
    assert successor.last_epoch() == Epoch(1, 2)


def test_a_staged_zombie_cannot_commit_either(make: Any, tmp_path: Path) -> None:
    zombie = make(attempt=1, mechanism=Mechanism.STAGED)
    zombie.write(rows((1, "old")))
    handles = zombie.prepare(Epoch(1, 1))
    successor = make(attempt=2, mechanism=Mechanism.STAGED)
    with pytest.raises(FencedError):
        zombie.commit(Epoch(1, 1), handles)
    successor.commit(Epoch(1, 1), handles)
    assert query(tmp_path, "select * from out") == [(1, "old")]


def test_a_transaction_goes_on_in_another_thread(make: Any, tmp_path: Path) -> None:
    destination = make()
    steps = (
        lambda: destination.write(rows((1, "a"))),
        lambda: destination.prepare(Epoch(1, 1)),
        lambda: destination.commit(Epoch(1, 1), []),
    )
    for step in steps:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert query(tmp_path, "select * from out") == [(1, "a")]


def test_the_file_is_not_locked_between_commits(make: Any, tmp_path: Path) -> None:
    one, two = make(node="one"), make(node="two", settings={"table": "other"})
    one.write(rows(*((n, "x") for n in range(200_000))))  # more than is held in memory
    one.prepare(Epoch(1, 1))
    query(tmp_path, "create table mine (a)")
    commit(two, 1, (1, "b"))
    commit(one, 1)
    assert query(tmp_path, "select count(*) from out") == [(200_000,)]
    assert query(tmp_path, "select * from other") == [(1, "b")]


def test_two_destinations_in_one_file_take_turns_as_the_engine_commits(make: Any, tmp_path: Path) -> None:
    decider = make(node="a")
    other = make(node="b", settings={"table": "other"}, mechanism=Mechanism.STAGED)
    for number in (1, 2):
        decider.write(rows((number, "a")))
        other.write(rows((number, "b")))
        epoch = Epoch(number, 1)
        decider.prepare(epoch)
        handles = other.prepare(epoch)
        decider.commit(epoch, [])
        decider.write(rows((number + 10, "next")))  # rows flow again before the other has committed
        other.commit(epoch, handles)
    assert query(tmp_path, "select * from other") == [(1, "b"), (2, "b")]


def test_staged_rows_that_are_gone_are_told(make: Any, tmp_path: Path) -> None:
    destination = make(mechanism=Mechanism.STAGED)
    destination.write(rows((1, "a")))
    (handle,) = destination.prepare(Epoch(1, 1))
    query(tmp_path, f'drop table "{handle["table"]}"')
    with pytest.raises(StateError, match=r"rows of epoch 1 that were staged in .* are gone"):
        destination.commit(Epoch(1, 1), [handle])
    assert destination.last_epoch() is None


def test_a_merge_keeps_the_last_row_of_a_key(make: Any, tmp_path: Path) -> None:
    destination = make(write_mode="merge", key=("id",))
    commit(destination, 1, (1, "a"), (2, "b"), (1, "c"))
    commit(destination, 2, (2, "d"), (3, "e"), (3, None))
    assert query(tmp_path, "select * from out order by id") == [(1, "c"), (2, "d"), (3, None)]


def test_staged_parts_are_merged_in_their_order(make: Any, tmp_path: Path) -> None:
    destination = make(write_mode="merge", key=("id",), mechanism=Mechanism.STAGED)
    handles = []
    for name in ("first", "second"):
        destination.write(rows((1, "x"), (1, name)))
        handles += destination.prepare(Epoch(1, 1))
    destination.commit(Epoch(1, 1), handles)
    assert query(tmp_path, "select * from out") == [(1, "second")]


def test_a_merge_without_a_unique_index_is_refused_at_once(make: Any, tmp_path: Path) -> None:
    query(tmp_path, "create table out (id int, name text)")
    with pytest.raises(WorkflowError, match="no unique index on id"):
        make(write_mode="merge", key=("id",))
    query(tmp_path, "create unique index i on out (id)")
    commit(make(write_mode="merge", key=("id",)), 1, (1, "a"))


def test_missing_columns_are_added_and_others_stay_null(make: Any, tmp_path: Path) -> None:
    query(tmp_path, "create table out (id integer primary key, mine text)")
    commit(make(), 1, (1, "a"))
    assert query(tmp_path, "select id, mine, name from out") == [(1, None, "a")]


def test_missing_columns_are_an_error_where_the_settings_say_so(make: Any, tmp_path: Path) -> None:
    query(tmp_path, "create table out (id integer primary key)")
    with pytest.raises(WorkflowError, match="no column name"):
        make(settings={"new_columns": "error"})


def test_overwrite_keeps_indexes_and_views(make: Any, tmp_path: Path) -> None:
    query(tmp_path, "create table out (id integer primary key, name text unique)")
    query(tmp_path, "create view v as select name from out")
    commit(make(), 1, (1, "old"))
    destination = make(attempt=2, write_mode="overwrite")
    commit(destination, 2, (7, "new"))
    assert query(tmp_path, "select * from v") == [("old",)]
    destination.finish()
    destination.finish()
    assert query(tmp_path, "select * from v") == [("new",)]
    assert query(tmp_path, "select count(*) from sqlite_schema where name like '%dataflare_new%'") == [(0,)]
    with pytest.raises(sqlite3.IntegrityError):
        query(tmp_path, "insert into out values (8, 'new')")


def test_a_run_that_died_leaves_no_rows_to_the_next_overwrite(make: Any, tmp_path: Path) -> None:
    dead = make(attempt=1, write_mode="overwrite")
    dead.write(rows((1, "never")))
    dead.prepare(Epoch(1, 1))
    dead.close()
    destination = make(attempt=2, write_mode="overwrite")
    commit(destination, 1, (2, "b"))
    destination.finish()
    assert query(tmp_path, "select * from out") == [(2, "b")]


EVERY = Schema.of(
    {
        "i": "int64",
        "s": "int16",
        "b": "bool",
        "f": "float64",
        "d": "decimal(12,2)",
        "long": "decimal(30,4)",
        "small": "decimal(30,9)",
        "t": "string",
        "raw": "binary",
        "day": "date",
        "at": "time",
        "ts": "timestamp",
        "dt": "datetime",
        "j": "json",
    }
)
UTC = dt.datetime(2026, 2, 28, 12, 30, 1, 5, tzinfo=dt.UTC)
MOMENT = UTC.replace(tzinfo=None)
VALUES = {
    "i": 2**63 - 1,
    "s": -5,
    "b": True,
    "f": 0.1,
    "d": Decimal("1234567890.12"),
    "long": Decimal("12345678901234567890123456.7890"),
    "small": Decimal("0.000000001"),
    "t": "é'\"\n",
    "raw": b"\x00\xff",
    "day": MOMENT.date(),
    "at": MOMENT.time(),
    "ts": UTC,
    "dt": MOMENT,
    "j": '{"a": 1}',
}


def test_every_type_comes_back_as_it_was(make: Any, tmp_path: Path) -> None:
    records = [VALUES, dict.fromkeys(VALUES)]
    destination = make(EVERY)
    destination.write(Batch.of(records, schema=EVERY.to_arrow()))
    commit(destination, 1)
    source = staged(SqliteSource(SqliteSourceConfig(path="shop.db", table="out")), tmp_path)
    assert source.context.schemas[""] == EVERY
    source.open()
    assert [r for s in splits_of(source) for b in batches_of(source, s) for r in b.rows.to_pylist()] == records
    source.close()


def test_times_are_text_that_sqlite_understands(make: Any, tmp_path: Path) -> None:
    destination = make(EVERY)
    destination.write(Batch.of([VALUES], schema=EVERY.to_arrow()))
    commit(destination, 1)
    found = query(tmp_path, "select ts, strftime('%Y/%m', ts), day, at, d + 1, typeof(d) from out")
    assert found == [("2026-02-28 12:30:01.000005Z", "2026/02", "2026-02-28", "12:30:01.000005", 1234567891.12, "real")]


def test_nested_values_are_json(make: Any, tmp_path: Path) -> None:
    schema = Schema.of({"l": "list<int64>", "o": "struct<a: int64>"})
    destination = make(schema)
    destination.write(Batch.of([{"l": [1, None], "o": {"a": 5}}, {"l": None, "o": None}], schema=schema.to_arrow()))
    commit(destination, 1)
    assert query(tmp_path, "select l, o, json_extract(o, '$.a') from out") == [
        ("[1,null]", '{"a":5}', 5),
        (None, None, None),
    ]


def test_nan_is_refused_because_it_would_become_null(make: Any) -> None:
    schema = Schema.of({"f": "float64"})
    destination = make(schema)
    destination.write(Batch.of([{"f": float("nan")}], schema=schema.to_arrow()))
    with pytest.raises(DataError, match="f holds NaN"):
        destination.prepare(Epoch(1, 1))


def test_a_number_beyond_64_bits_is_a_data_error(make: Any) -> None:
    schema = Schema.of({"u": "uint64"})
    destination = make(schema)
    destination.write(Batch.of([{"u": 2**63}], schema=schema.to_arrow()))
    with pytest.raises(DataError, match="too large"):
        destination.prepare(Epoch(1, 1))


def test_a_constraint_of_the_table_is_a_data_error_and_undoes_the_epoch(make: Any, tmp_path: Path) -> None:
    query(tmp_path, "create table out (id integer primary key, name text check (name != 'bad'))")
    destination = make()
    destination.write(rows((1, "good"), (2, "bad")))
    with pytest.raises(DataError, match="CHECK constraint failed"):
        commit(destination, 1)
    assert query(tmp_path, "select * from out") == []
    assert destination.last_epoch() is None


def test_another_writer_is_waited_for_then_told_and_the_commit_can_be_tried_again(make: Any, tmp_path: Path) -> None:
    destination = make()
    destination.write(rows((1, "a")))
    with closing(sqlite3.connect(tmp_path / "shop.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(ExternalError, match="kept locked by another program"):
            destination.commit(Epoch(1, 1), [])
        other.execute("rollback")
    again = make(attempt=2)
    commit(again, 1, (1, "a"))
    assert query(tmp_path, "select * from out") == [(1, "a")]


def test_a_full_disk_is_told_and_nothing_is_half_there(make: Any, tmp_path: Path) -> None:
    destination = make()
    commit(destination, 1, (1, "a"))
    (pages,) = query(tmp_path, "pragma page_count")[0]
    destination.session.run(f"pragma max_page_count = {pages + 2}")
    destination.write(rows(*((n, "x" * 100) for n in range(2000))))
    with pytest.raises(UnavailableError, match="the disk is full"):
        commit(destination, 2)
    assert query(tmp_path, "select * from out") == [(1, "a")]
    assert make(attempt=2).last_epoch() == Epoch(1, 1)


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b"this is no database file at all......", {}, "no SQLite database"),
        (None, {"create": False}, "there is no file"),
        (None, {"path": "nowhere/shop.db"}, "there is no folder"),
    ],
)
def test_what_cannot_be_opened_is_told(make: Any, tmp_path: Path, content: Any, settings: Any, message: str) -> None:
    if content is not None:
        (tmp_path / "shop.db").write_bytes(content * 100)
    with pytest.raises(UnavailableError, match=message):
        make(settings=settings)


def test_rows_after_a_committed_epoch_are_never_dropped_in_silence(make: Any, tmp_path: Path) -> None:
    destination = make()
    commit(destination, 3, (1, "a"))
    destination.write(rows((2, "b")))
    with pytest.raises(StateError, match="epoch 3 is committed"):
        destination.commit(Epoch(3, 1), [])
    assert query(tmp_path, "select * from out") == [(1, "a")]


def test_names_need_no_care(make: Any, tmp_path: Path) -> None:
    schema = Schema.of({'a "b" c': "int64", "select": "string", "rowid": "int64"})
    destination = make(schema, settings={"table": "or der's"}, write_mode="merge", key=('a "b" c',))
    record = {'a "b" c': 1, "select": "x", "rowid": 9}
    destination.write(Batch.of([record, {**record, "select": "y", "rowid": 5}], schema=schema.to_arrow()))
    commit(destination, 1)
    assert query(tmp_path, 'select * from "or der\'s"') == [(1, "y", 5)]
