"""Rows of MariaDB's log have the shape that they had there, whatever the table is when they are read."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from tests.maria_changes import Followed, connected, followers
from tests.mariadb import Database, database

from dataflare.component.known import KnownColumn
from dataflare.errors import SchemaChangedError, StateError, WorkflowError
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.batch import Batch

pytestmark = pytest.mark.mariadb
UUID, OTHER = "123e4567-e89b-12d3-a456-426655440000", "6ccd780c-baba-1026-9564-5b8c656024db"


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


@pytest.fixture
def follow(spot: Database) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "cdc") as build:

        def begun(*tables: str, **settings: Any) -> Followed:
            one = build(*tables, **settings)
            assert one.stream is not None
            return one

        yield begun


def test_a_column_that_is_added_needs_another_plan_and_nothing_is_lost_meanwhile(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one = follow("a")
    spot.run("insert into a values (1)")
    assert [r["id"] for r in one.rows()] == [1]
    spot.run("alter table a add v int default 5 first")
    spot.run("insert into a (id) values (2)")
    spot.run("update a set v = 6 where id = 2")
    with pytest.raises(SchemaChangedError, match=r"a: column v is new \(int32\)"):
        one.rows()
    one.again()
    assert [(r["id"], r["v"]) for r in one.rows()] == [(2, 5), (2, 6)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("drop v", "column v is gone"),
        ("rename column v to w", r"column w is new \(int32\); column v is gone"),
        ("change v w int", r"column w is new \(int32\); column v is gone"),
        ("modify v bigint", "column v was int32 and is int64 now"),
        ("modify v int unsigned", "column v was int32 and is uint32 now"),
    ],
)
def test_another_shape_of_a_planned_column_needs_another_plan(
    follow: Any, spot: Database, change: str, told: str
) -> None:
    spot.run("create table a (id int primary key, v int)")
    one = follow("a")
    spot.run("insert into a values (1, 1)")
    assert len(one.rows()) == 1
    spot.run(f"alter table a {change}")
    spot.run("insert into a (id) values (2)")
    with pytest.raises(SchemaChangedError, match=told):
        one.rows()
    one.again()
    assert [r["id"] for r in one.rows()] == [2]


def test_a_type_that_is_no_wider_one_is_read_as_it_was_planned(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v int)")
    one = follow("a")
    spot.run("alter table a modify v text")
    spot.run("insert into a values (2, '7')")
    assert [(r["id"], r["v"]) for r in one.rows()] == [(2, 7)]
    assert [e.message for e in one.events if e.code == "schema.left_out"] == [
        f"{spot.name}.a: column v was int32 and is string now, which is left out"
    ]


TYPES = {
    "int": ("41", 41, "bigint", 41),
    "int unsigned": ("4000000000", 4_000_000_000, "bigint unsigned", 4_000_000_000),
    "smallint": ("-5", -5, "varchar(9)", "-5"),
    "decimal(9,2)": ("-12.50", None, "varchar(20)", "-12.50"),
    "date": ("'2026-01-02'", None, "varchar(20)", "2026-01-02"),
    "datetime(3)": ("'2026-01-02 03:04:05.678'", None, "varchar(40)", "2026-01-02 03:04:05.678"),
    "time": ("'03:04:05'", None, "varchar(20)", "03:04:05"),
    "enum('x','y')": ("'y'", "y", "varchar(5)", "y"),
    "set('x','y')": ("'x,y'", "x,y", "varchar(5)", "x,y"),
    "char(3) character set latin1": ("'é'", "é", "varchar(3) character set utf8mb4", "é"),
    "uuid": (f"'{UUID}'", UUID, "varchar(40)", UUID),
    "inet4": ("'10.0.0.1'", "10.0.0.1", "varchar(40)", "10.0.0.1"),
    "inet6": ("'::1'", "::1", "varchar(40)", "::1"),
    "bit(1)": ("1", None, "int", 1),
    "text": ("'long'", "long", "json", None),
}


@pytest.mark.parametrize("kind", TYPES)
def test_rows_of_before_are_read_by_their_own_shape_under_the_plan_of_now(
    follow: Any, spot: Database, kind: str
) -> None:
    """Each type as it was, then as it is: the place and the form of the values in the log are those of before."""
    value, _, wider, after = TYPES[kind]
    value = "'{\"a\": 1}'" if wider == "json" else value
    spot.run(f"create table a (id int primary key, v {kind}, w int)")
    one = follow("a")
    spot.run(f"insert into a values (1, {value}, 7)")
    spot.run(f"alter table a drop w, modify v {wider} first, add x int after v")
    spot.run(f"insert into a values ({value}, 8, 2)")
    one.again()
    after = '{"a": 1}' if wider == "json" else after
    assert one.rows() == [
        {"v": after, "x": None, "id": 1, "_op": "insert"},
        {"v": after, "x": 8, "id": 2, "_op": "insert"},
    ]


def test_columns_that_go_and_come_again_while_it_is_stopped(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v int)")
    one = follow("a")
    for sql in (
        "insert into a values (1, 10)",
        "alter table a drop v",
        "insert into a values (2)",
        "alter table a add v varchar(9) first",
        "insert into a values ('x', 3)",
        "alter table a add w date after v",
        "insert into a values ('y', '2026-01-01', 4)",
        "alter table a drop w",
        "insert into a values ('z', 5)",
    ):
        spot.run(sql)
    one.again()
    assert [(r["id"], r["v"]) for r in one.rows()] == [(1, "10"), (2, None), (3, "x"), (4, "y"), (5, "z")]
    assert [e.message for e in one.events if e.code == "schema.gone"] == [
        f"{spot.name}.a: column w of the log is not there any more: it is not read"
    ]


def test_a_column_that_is_held_has_the_values_that_the_log_still_tells(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, u uuid, i inet6, v int)")
    one = follow("a")
    spot.run(f"insert into a values (1, '{UUID}', '::1', 5)")
    spot.run("alter table a drop u, drop i, drop v")
    spot.run("insert into a values (2)")
    known = (KnownColumn("id", "int32"), *(KnownColumn(n, "string", held=True) for n in "ui"))
    known += (KnownColumn("v", "int32", held=True),)
    planned = one.source.context.schemas["a"]
    one.again(known={"a": known}, schemas={"a": planned})
    assert one.rows() == [
        {"id": 1, "u": UUID, "i": "::1", "v": 5, "_op": "insert"},
        {"id": 2, "u": None, "i": None, "v": None, "_op": "insert"},
    ]


def test_bytes_of_the_same_form_are_told_apart_by_what_they_were(follow: Any, spot: Database) -> None:
    """The log says the same of a uuid, of an address and of 16 bytes."""
    spot.run("create table a (id int primary key, u uuid)")
    one = follow("a")
    assert one.rows() == []
    spot.run(f"insert into a values (1, '{UUID}')")
    spot.run("alter table a drop u")
    spot.run("alter table a add u inet6")
    spot.run("insert into a values (2, '::1')")
    one.again()
    assert [r["u"] for r in one.rows()] == [UUID, "::1"]
    spot.run("insert into a values (3, '::3')")
    spot.run("alter table a drop u, add v int, add u uuid")
    spot.run(f"insert into a values (4, 4, '{OTHER}')")
    one.again()
    assert [r["u"] for r in one.rows()] == ["::3", OTHER]


def test_bytes_of_which_nobody_knows_what_they_were_end_the_run(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one = follow("a")
    spot.run("alter table a add u uuid")
    spot.run(f"insert into a values (1, '{UUID}')")
    spot.run("alter table a modify u varchar(40)")
    one.again()
    with pytest.raises(StateError, match="u is logged as bytes, and its column is another since"):
        one.rows()


def test_a_change_of_columns_ends_the_transaction_that_was_open(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table b (id int primary key)")
    one = follow("a", "b")
    with connected(spot.url) as other, other.cursor() as cursor:
        for sql in ("begin", "insert into a values (1)", "insert into b values (1)", "alter table a add v int"):
            cursor.execute(sql)
        cursor.execute("insert into b values (2)")
        for sql in ("begin", "insert into b values (3)", "insert into a values (2, 2)", "insert into b values (4)"):
            cursor.execute(sql)
        cursor.execute("commit")
    found: list[Batch] = []
    with pytest.raises(SchemaChangedError):
        one.batches(found=found)
    one.again()
    one.batches(found=found)
    seen = [(batch.stream, n) for batch in found for n in batch.rows["id"].to_pylist()]
    assert [n for s, n in seen if s == "a"] == [1, 2]
    assert [n for s, n in seen if s == "b"] == [1, 2, 3, 4]


def test_what_came_before_a_change_of_columns_is_told_under_the_plan_of_before(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one = follow("a")
    spot.run("insert into a values (1)")

    seen: list[int] = []

    async def gathered() -> None:
        async for batch in one.source.read(one.stream, None, None):
            seen.extend(batch.rows["id"].to_pylist())
            if seen == [1]:
                for sql in ("insert into a values (2)", "alter table a add v int", "insert into a values (3, 3)"):
                    spot.run(sql)  # nobody reads meanwhile, so that all of it comes at once

    with pytest.raises(SchemaChangedError):
        asyncio.run(gathered())
    assert seen == [1, 2]


@pytest.mark.parametrize(
    "change",
    [
        "alter table b add v int",
        "alter table a comment 'the same columns'",
        "alter table a add index (v), rename index old to younger",
        "alter table a alter v set default 5",
        "alter table a add c int as (v + 1) virtual",
        "alter table a modify v int not null",
        "alter table {}_2.a add w int",
    ],
)
def test_what_changes_no_column_of_ours_is_no_matter(follow: Any, spot: Database, change: str) -> None:
    spot.run("create table a (id int primary key, v int, index old (v))")
    spot.run("create table b (id int primary key)")
    spot.run(f"create database {spot.name}_2")
    try:
        spot.run(f"create table {spot.name}_2.a (id int primary key)")
        one = follow("a")
        spot.run("insert into a (id, v) values (1, 1)")
        spot.run(change.replace("{}", spot.name))
        spot.run("insert into a (id, v) values (2, 2)")
        assert [(r["id"], r["v"]) for r in one.rows()] == [(1, 1), (2, 2)]
        assert one.events == []
    finally:
        spot.run(f"drop database {spot.name}_2")


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize(
    ("change", "now"),
    [
        ("rename column id to number", "number"),
        ("drop primary key, add primary key (id, v)", "id, v"),
        ("drop primary key", "none"),
    ],
)
def test_another_key_ends_the_run(follow: Any, spot: Database, change: str, now: str, *, runs: bool) -> None:
    spot.run("create table a (id int not null primary key, v int not null)")
    one = follow("a")
    assert one.rows() == []
    spot.run("insert into a values (1, 1)")
    spot.run(f"alter table a {change}")
    spot.run("insert into a values (2, 2)")
    if not runs or "rename" in change:
        one.again()
    with pytest.raises(WorkflowError, match=f"the key of .*a was id and is {now} now"):
        one.rows()


def test_a_table_without_a_key_goes_on_with_other_columns(follow: Any, spot: Database) -> None:
    spot.run("create table a (x int not null, y int not null)")
    one = follow("a")
    spot.run("insert into a values (1, 1)")
    assert len(one.rows()) == 1
    spot.run("alter table a add z int not null default 0")
    spot.run("insert into a values (2, 2, 2)")
    with pytest.raises(SchemaChangedError):
        one.rows()
    one.again()
    assert one.rows() == [{"x": 2, "y": 2, "z": 2, "_op": "insert"}]


def test_a_first_reading_sees_the_columns_that_are_planned_or_needs_another_plan(spot: Database) -> None:
    spot.run("create table a (id int primary key, v int)")
    spot.run("insert into a select seq, seq from seq_1_to_10")
    with followers(spot, "hybrid") as build:
        one = build("a", fetch_rows=4)
        *parts, changes = list(one.source.splits(None))
        spot.run("update a set v = 100 where id = 1")
        spot.run("alter table a add w int default 3 first")
        spot.run("update a set w = 4 where id = 2")
        with pytest.raises(SchemaChangedError, match=r"column w is new \(int32\)"):
            list(batches_of(one.source, parts[0], None))
        one.again()
        read = [(b.position, r) for b in batches_of(one.source, parts[0], None) for r in b.rows.to_pylist()]
        assert {r["id"]: (r["v"], r["w"]) for _, r in read} == {
            n: (100 if n == 1 else n, 4 if n == 2 else 3) for n in range(1, 11)
        }
        spot.run("insert into a values (7, 11, 11)")
        spot.run("alter table a drop v")
        spot.run("insert into a values (8, 12)")
        one.position, one.stream = {"splits": {parts[0].id: read[-1][0]}}, changes
        one.again()
        assert one.rows() == [
            {"w": 7, "id": 11, "_op": "insert"},
            {"w": 8, "id": 12, "_op": "insert"},
        ]


def test_a_table_that_is_being_altered_is_told_whole(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v int)")
    one, done = follow("a"), threading.Event()
    session = one.source.session
    session.run("select get_lock('t', 0)")  # who holds anything is not kept waiting by the catalogue: it tells nothing

    def alter() -> None:
        with connected(spot.url) as other, other.cursor() as cursor:
            while not done.is_set():
                cursor.execute("alter table a modify v bigint first")
                cursor.execute("alter table a modify v int after id")

    with ThreadPoolExecutor(1) as others:
        altering = others.submit(alter)
        try:
            told = {tuple(one.source.relations(session)["a"].schema.names) for _ in range(200)}
        finally:
            done.set()
        altering.result()
    assert told == {("id", "v"), ("v", "id")}
