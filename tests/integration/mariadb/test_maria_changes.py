"""Changes of tables by the log of a real MariaDB: what they say, that none is lost or told twice, what ends a run."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from tests.maria_changes import Followed, connected, followers
from tests.mariadb import Database, database

from dataflare.connectors.mariadb.replication.places import Gtids
from dataflare.errors import DataError, StateError
from dataflare.plan_words import EdgeKind
from dataflare.sql.change_source import CHANGES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.mariadb


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


@pytest.fixture
def follow(spot: Database) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "cdc") as build:

        def begun(*tables: str, **settings: Any) -> Followed:
            one = build(*tables, **settings)
            assert one.stream.id == CHANGES
            return one

        yield begun


def test_each_change_is_a_row_in_the_order_of_the_log(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v text)")
    spot.run("create table b (x varchar(9) primary key)")
    one = follow("a", "b")
    streams = one.source.streams()
    assert {n: (s.kind, s.key) for n, s in streams.items()} == {
        "a": (EdgeKind.UPSERT, ("id",)),
        "b": (EdgeKind.UPSERT, ("x",)),
    }
    assert streams["a"].schema.names == ["id", "v", "_op", "_commit_ts", "_tx"]

    spot.run("insert into a values (1, 'one'), (2, 'two')")
    spot.run("update a set v = 'two!' where id = 2")
    spot.run("update a set id = 3 where id = 2")
    spot.run("delete from a where id = 1")
    spot.run("replace into a values (3, 'new')")
    assert one.rows() == [
        {"id": 1, "v": "one", "_op": "insert"},
        {"id": 2, "v": "two", "_op": "insert"},
        {"id": 2, "v": "two!", "_op": "update"},
        {"id": 2, "v": "two!", "_op": "delete"},
        {"id": 3, "v": "two!", "_op": "insert"},
        {"id": 1, "v": "one", "_op": "delete"},
        {"id": 3, "v": "new", "_op": "update"},
    ]
    spot.run("insert into b values ('only')")
    assert [r["x"] for r in one.rows()] == ["only"]
    assert one.rows() == []


def test_later_transactions_have_greater_texts_and_a_time(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one = follow("a")
    for number in range(3):
        spot.run(f"insert into a values ({number})")
    rows = one.rows(without=())
    assert [r["_tx"] for r in rows] == sorted({r["_tx"] for r in rows})
    now = dt.datetime.now(dt.UTC)
    assert all(abs(now - r["_commit_ts"]) < dt.timedelta(minutes=5) for r in rows)


def test_what_is_undone_is_not_told_and_savepoints_do_not_disturb(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one = follow("a")
    for sql in ("begin", "insert into a values (1)", "rollback", "begin", "insert into a values (2)", "savepoint s"):
        spot.run(sql)
    for sql in ("insert into a values (3)", "rollback to s", "insert into a values (4)", "commit"):
        spot.run(sql)
    assert [r["id"] for r in one.rows()] == [2, 4]


def test_the_former_row_is_told_where_it_is_wanted(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v text)")
    one = follow("a", cdc={"before": True})
    for sql in ("insert into a values (1, 'x')", "update a set v = null", "update a set id = 2", "delete from a"):
        spot.run(sql)
    assert [(r["_op"], r["_before"]) for r in one.rows()] == [
        ("insert", None),
        ("update", {"id": 1, "v": "x"}),
        ("delete", {"id": 1, "v": None}),
        ("insert", None),
        ("delete", {"id": 2, "v": None}),
    ]


def test_rows_without_a_key_are_told_apart_by_all_their_columns(follow: Any, spot: Database) -> None:
    spot.run("create table a (x int not null, y varchar(5) not null)")
    one = follow("a")
    spot.run("insert into a values (1, 'a')")
    spot.run("update a set y = 'b'")
    assert one.source.streams()["a"].key == ("x", "y")
    assert [(r["_op"], r["y"]) for r in one.rows()] == [("insert", "a"), ("delete", "a"), ("insert", "b")]


def test_a_transaction_passes_in_parts_and_goes_on_inside(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v varchar(2000))")
    spot.run("create table b (id int primary key)")
    one = follow("a", "b")
    spot.run("begin")
    spot.run("insert into b values (0)")
    spot.run("insert into a select seq, repeat('x', 2000) from seq_1_to_9000")  # several times what is taken at once
    spot.run("insert into b values (1)")
    spot.run("commit")
    ids, others, steps = [], [], 0
    while found := one.batches(most=1):
        steps += 1
        for batch in found:
            (ids if batch.stream == "a" else others).extend(batch.rows["id"].to_pylist())
        one.again()
    assert ids == list(range(1, 9001))
    assert others == [0, 1]
    assert steps > 3


def test_events_that_are_compressed(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v mediumtext)")
    one = follow("a")
    spot.run("set global log_bin_compress = 1, global log_bin_compress_min_len = 10")
    try:
        with connected(spot.url) as other, other.cursor() as cursor:
            cursor.execute("insert into a values (1, repeat('x', 5000)), (2, repeat('y', 70000))")
            cursor.execute("update a set v = 'z' where id = 1")
            cursor.execute("alter table a comment 'a statement that is long enough to be compressed, as I hope'")
            cursor.execute("delete from a")
    finally:
        spot.run("set global log_bin_compress = 0")
    assert [(r["_op"], r["id"], len(r["v"])) for r in one.rows()] == [
        ("insert", 1, 5000),
        ("insert", 2, 70000),
        ("update", 1, 1),
        ("delete", 1, 1),
        ("delete", 2, 70000),
    ]


def test_other_tables_move_the_position_on(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table other (id int primary key)")
    one = follow("a")
    assert one.rows() == []
    before = one.position["gtid"]
    spot.run("insert into other values (1)")
    assert one.rows() == []
    assert Gtids.read(one.position["gtid"]).number(0) > Gtids.read(before).number(0)


@pytest.mark.parametrize("statement", ["truncate table a", "truncate a"])
def test_an_emptied_table(follow: Any, spot: Database, statement: str) -> None:
    spot.run("create table a (id int primary key, v int)")
    spot.run("insert into a values (1, 1)")
    fails, skips, applies = (follow("a", cdc={"truncate": word}) for word in ("fail", "skip", "apply"))
    spot.run("insert into a values (2, 2)")
    spot.run(statement)
    spot.run("insert into a values (3, 3)")
    with pytest.raises(DataError, match="was truncated by transaction"):
        fails.rows()
    assert [r["_op"] for r in skips.rows()] == ["insert", "insert"]
    assert applies.batches(most=2)[-1].num_rows
    applies.again()
    rows = applies.rows()
    assert [(r["_op"], r["id"]) for r in rows] == [("insert", 3)], "what was passed does not come again"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("drop table a", "was dropped, made anew or renamed"),
        ("rename table a to c, b to a", "was dropped, made anew or renamed"),
        ("create or replace table a (id int primary key)", "was dropped, made anew or renamed"),
        ("alter table p truncate partition p0", "without being logged as rows"),
        ("set statement binlog_format = statement for insert into a values (5)", "without being logged as rows"),
    ],
)
def test_what_the_log_does_not_tell_as_rows_ends_the_run(follow: Any, spot: Database, change: str, told: str) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table b (id int primary key)")
    spot.run("create table p (id int primary key) partition by range (id) (partition p0 values less than maxvalue)")
    one = follow("a", "p")
    spot.run(change)
    with pytest.raises(DataError, match=told):
        one.rows()


@pytest.mark.parametrize(
    "change",
    [
        "create table if not exists a (id int primary key)",
        "create index i on a (v)",
        "alter table a add index j (v), rename index old to k",
        "create table c like a",
        "create table c select * from a",
        "insert into b select id from a",
        "drop table b",
        "optimize table a",
        "create trigger t after insert on b for each row update a set v = 0",
    ],
)
def test_definitions_beside_the_rows_change_nothing(follow: Any, spot: Database, change: str) -> None:
    spot.run("create table a (id int primary key, v int, index old (v))")
    spot.run("create table b (id int primary key)")
    one = follow("a")
    spot.run("insert into a values (1, 1)")
    spot.run(change)
    spot.run("insert into a values (2, 2)")
    assert [r["id"] for r in one.rows()] == [1, 2]


def test_an_xa_transaction_of_other_tables_passes_and_one_of_ours_ends_the_run(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table b (id int primary key)")
    one = follow("a")

    def xa(table: str) -> None:
        with connected(spot.url) as other, other.cursor() as cursor:
            for sql in (
                "xa start 'x'",
                f"insert into {table} values (1)",
                "xa end 'x'",
                "xa prepare 'x'",
                "xa commit 'x'",
            ):
                cursor.execute(sql)

    xa("b")
    spot.run("insert into a values (7)")
    assert [r["id"] for r in one.rows()] == [7]
    xa("a")
    with pytest.raises(DataError, match="was changed by an XA transaction"):
        one.rows()


def test_changes_of_another_domain_end_the_run(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table b (id int primary key)")
    spot.run("insert into b values (0)")
    one = follow("a")
    spot.run("set session gtid_domain_id = 7")
    try:
        spot.run("insert into b values (1)")
        spot.run("set session gtid_domain_id = 0")
        spot.run("insert into a values (1)")
        assert [r["id"] for r in one.rows()] == [1]
        assert sorted(g.split("-")[0] for g in one.position["gtid"].split(",")) == ["0", "7"]
        spot.run("set session gtid_domain_id = 7")
        spot.run("insert into a values (2)")
        with pytest.raises(DataError, match="was changed in the domain 7, and in 0"):
            one.rows()
    finally:
        spot.run("set session gtid_domain_id = 0")


def test_a_place_that_the_server_does_not_know_is_refused(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one = follow("a")
    assert one.rows() == []
    domain, server, number = one.position["gtid"].split(",")[0].split("-")
    one.position = {"gtid": f"{domain}-{server}-{int(number) + 1_000_000}"}
    ends: Any = {CHANGES: {"gtid": f"{domain}-{server}-{int(number) + 2_000_000}"}}
    one.source.ends = lambda: ends  # type: ignore[method-assign]
    with pytest.raises(StateError, match="does not know the transaction at which the workflow stands"):
        one.rows()


def test_two_readers_of_one_log_do_not_disturb_each_other(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    one, two = follow("a"), follow("a")
    for number in range(3):
        spot.run(f"insert into a values ({number})")
        assert [r["id"] for r in one.rows()] == [number]
    assert [r["id"] for r in two.rows()] == [0, 1, 2]
