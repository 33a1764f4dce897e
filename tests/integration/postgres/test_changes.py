"""Changes of tables on a real server: what they say, that none is lost or told twice, and what ends a run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import Followed, followers, wait_for
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes.following import CHANGES
from dataflare.connectors.postgres.replication.messages import lsn_number
from dataflare.errors import DataError, ExternalError, SchemaChangedError, StateError, UnavailableError, WorkflowError
from dataflare.plan_words import EdgeKind
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def follow(spot: Place) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "cdc") as build:

        def begun(*tables: str, **settings: Any) -> Followed:
            one = build(*tables, **settings)
            assert one.stream.id == CHANGES
            return one

        yield begun


def test_each_change_is_a_row_in_the_order_of_the_log(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v text)")
    spot.run("create table {}.b (x text primary key)")
    one = follow("a", "b")
    streams = one.source.streams()
    assert {n: (s.kind, s.key) for n, s in streams.items()} == {
        "a": (EdgeKind.UPSERT, ("id",)),
        "b": (EdgeKind.UPSERT, ("x",)),
    }
    assert streams["a"].schema.names == ["id", "v", "_op", "_commit_ts", "_tx", "_unchanged"]

    spot.run("insert into {}.a values (1, 'one'), (2, 'two')")
    spot.run("update {}.a set v = 'two!' where id = 2")
    spot.run("update {}.a set id = 3 where id = 2")
    spot.run("delete from {}.a where id = 1")
    assert one.rows(without=("_tx", "_commit_ts", "_unchanged")) == [
        {"id": 1, "v": "one", "_op": "insert"},
        {"id": 2, "v": "two", "_op": "insert"},
        {"id": 2, "v": "two!", "_op": "update"},
        {"id": 2, "v": None, "_op": "delete"},
        {"id": 3, "v": "two!", "_op": "insert"},
        {"id": 1, "v": None, "_op": "delete"},
    ]
    spot.run("insert into {}.b values ('only')")
    assert [r["x"] for r in one.rows()] == ["only"]
    assert one.rows() == []


def test_later_transactions_have_greater_texts_and_a_time(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    for number in range(3):
        spot.run("insert into {}.a values ($1)", (number,))
    rows = one.rows(without=())
    assert [r["_tx"] for r in rows] == sorted({r["_tx"] for r in rows})
    assert [r["_commit_ts"] for r in rows] == sorted(r["_commit_ts"] for r in rows)


def test_a_long_value_that_was_not_sent_is_named_and_never_taken_for_null(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, n int, long text)")
    spot.run("alter table {}.a alter long set storage external")
    one = follow("a")
    spot.run("insert into {}.a values (1, 1, repeat('x', 9000))")
    spot.run("update {}.a set n = 2")
    assert [(r["n"], r["_unchanged"]) for r in one.rows()] == [(1, None), (2, ["long"])]
    spot.run("update {}.a set id = 5")
    with pytest.raises(DataError, match=r"got another key, and its long value of long was not sent"):
        one.rows()


def test_the_whole_former_row_is_told_where_it_is_logged_and_asked_for(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, n int, long text)")
    spot.run("alter table {}.a alter long set storage external, replica identity full")
    one = follow("a", cdc={"before": True})
    assert "_unchanged" not in one.source.streams()["a"].schema
    spot.run("insert into {}.a values (1, 1, repeat('x', 9000))")
    spot.run("update {}.a set id = 4, n = 2")
    moved = one.rows()[1:]
    assert [(r["_op"], r["id"], r["n"], len(r["long"])) for r in moved] == [
        ("delete", 1, 1, 9000),
        ("insert", 4, 2, 9000),
    ]
    spot.run("update {}.a set n = 3")
    (last,) = one.rows()
    assert (last["_before"]["n"], last["n"], len(last["_before"]["long"])) == (2, 3, 9000)


def test_rows_of_a_table_without_a_key_are_told_apart_by_all_columns(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (x int, y text)")
    with pytest.raises(WorkflowError, match="has no key") as refused:
        follow("a")
    spot.run(refused.value.hint.partition("run: ")[2])
    one = follow("a")
    assert one.source.streams()["a"].key == ("x", "y")
    spot.run("insert into {}.a values (1, 'q')")
    spot.run("update {}.a set y = 'r'")
    assert [(r["_op"], r["y"]) for r in one.rows()] == [("insert", "q"), ("delete", "q"), ("insert", "r")]


def test_the_key_is_that_of_the_replica_identity(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, code text not null, unique (code))")
    spot.run("alter table {}.a replica identity using index a_code_key")
    one = follow("a")
    assert one.source.streams()["a"].key == ("code",)
    spot.run("insert into {}.a values (1, 'x')")
    spot.run("delete from {}.a")
    assert [(r["_op"], r["code"]) for r in one.rows()] == [("insert", "x"), ("delete", "x")]
    with pytest.raises(WorkflowError, match="do not tell id, which is of the key"):
        Followed(spot, "cdc", ["a"], key=["id"])


def test_changes_of_partitions_come_as_those_of_the_table(follow: Any, spot: Place) -> None:
    spot.run("create table {}.p (id int, at date, v int, primary key (id, at)) partition by range (at)")
    spot.run("create table {}.p1 partition of {}.p for values from ('2026-01-01') to ('2026-02-01')")
    spot.run("create table {}.p2 partition of {}.p for values from ('2026-02-01') to ('2026-03-01')")
    one = follow("p")
    spot.run("insert into {}.p values (1, '2026-01-05', 1), (2, '2026-02-05', 1)")
    spot.run("update {}.p set at = '2026-02-09' where id = 1")
    rows = one.rows()
    assert [(r["_op"], r["id"], r["at"].isoformat()) for r in rows] == [
        ("insert", 1, "2026-01-05"),
        ("insert", 2, "2026-02-05"),
        ("delete", 1, "2026-01-05"),
        ("insert", 1, "2026-02-09"),
    ]


def test_generated_columns_are_left_out(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, twice int generated always as (id * 2) stored)")
    one = follow("a")
    spot.run("insert into {}.a values (1)")
    assert [set(r) for r in one.rows()] == [{"id", "_op"}]


@pytest.mark.parametrize("policy", ["fail", "skip", "apply"])
def test_a_truncation_is_what_the_settings_say(follow: Any, spot: Place, policy: str) -> None:
    spot.run("create table {}.a (id int primary key, v int not null)")
    one = follow("a", cdc={"truncate": policy})
    spot.run("insert into {}.a values (1, 1)")
    spot.run("truncate {}.a")
    spot.run("insert into {}.a values (2, 2)")
    if policy == "fail":
        with pytest.raises(DataError, match=r"was truncated.*cdc: \{truncate: apply\}"):
            one.rows()
        return
    told = [(r["_op"], r["id"]) for r in one.rows()]
    assert told == [("insert", 1), *([("truncate", None)] if policy == "apply" else []), ("insert", 2)]


def test_a_reader_goes_on_in_the_midst_of_a_transaction(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("create table {}.b (id int primary key)")
    one = follow("a", "b")
    spot.run("insert into {}.a select generate_series(1, 100)")
    spot.run(
        "with a as (insert into {}.a select generate_series(1001, 160000)) "
        "insert into {}.b select generate_series(1, 90000)"
    )
    spot.run("insert into {}.b values (0)")
    seen: dict[str, list[int]] = {"a": [], "b": []}
    reads = 0
    while sum(map(len, seen.values())) < 249_101:
        for batch in one.batches(most=2**reads):
            seen[batch.stream] += batch.rows["id"].to_pylist()
        one.again()
        reads += 1
    assert reads > 2
    assert seen == {"a": [*range(1, 101), *range(1001, 160_001)], "b": [*range(1, 90_001), 0]}
    assert one.rows() == []


def test_the_server_keeps_what_is_not_acknowledged_and_forgets_what_is(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    begin = one.confirmed()
    spot.run("insert into {}.a values (1)")
    assert len(one.rows()) == 1
    first = one.position
    spot.run("insert into {}.a values (2)")
    assert len(one.rows()) == 1
    one.source.acknowledge({CHANGES: first})
    one.again()
    assert begin < lsn_number(first["lsn"]) < lsn_number(one.position["lsn"])
    wait_for(lambda: one.confirmed() == lsn_number(first["lsn"]))


def test_log_of_others_is_passed_while_nothing_changes(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("create table {}.other as select 1 as x")
    one = follow("a")
    spot.run("insert into {}.other select generate_series(1, 10000)")
    ((end,),) = spot.run("select (pg_current_wal_lsn() - '0/0'::pg_lsn)::int8")
    assert one.confirmed() < end
    assert one.rows() == []
    one.source.acknowledge({CHANGES: one.position})
    one.source.close()
    wait_for(lambda: one.confirmed() >= end)


def test_a_slot_that_somebody_reads_is_waited_for_and_then_told(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"slot_wait": "300ms"})
    other, split = one.made(), one.stream
    other.open()

    async def both() -> None:
        reading = one.source.read(split, None, None)
        first = asyncio.ensure_future(anext(reading))
        await asyncio.to_thread(wait_for, lambda: one.slot("active::int"))
        with pytest.raises(UnavailableError, match=r"is read by somebody else, process \d+"):
            await anext(other.read(split, None, None))
        spot.run("insert into {}.a values (7)")
        batch = await first
        while not batch.num_rows:  # others write to the log of the server, too
            batch = await anext(reading)
        assert batch.rows["id"].to_pylist() == [7]
        await reading.aclose()

    try:
        asyncio.run(both())
    finally:
        other.close()


def test_a_slot_that_is_gone_or_has_moved_on_is_an_error_with_a_way_out(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    split = one.stream
    spot.run("insert into {}.a values (1)")
    one.rows()
    early = one.position
    spot.run("insert into {}.a values (2)")
    one.rows()
    one.source.acknowledge({CHANGES: one.position})
    one.again()
    wait_for(lambda: one.confirmed() == lsn_number(one.position["lsn"]))
    with pytest.raises(StateError, match=r"what is between was told to somebody else.*another id"):
        list(batches_of(one.source, split, early))
    one.source.close()
    wait_for(lambda: not one.slot("active::int"))
    spot.run(f"select pg_drop_replication_slot('{spot.schema}')")
    one.again()
    with pytest.raises(StateError, match=r"is gone, and with it the changes since the last run"):
        list(batches_of(one.source, split, one.position))


def test_a_column_that_is_added_needs_another_plan_and_nothing_is_lost_meanwhile(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    spot.run("insert into {}.a values (1)")
    assert [r["id"] for r in one.rows()] == [1]
    spot.run("alter table {}.a add v int default 5")
    spot.run("insert into {}.a values (2)")
    spot.run("update {}.a set v = 6 where id = 2")
    with pytest.raises(SchemaChangedError, match=r"a: column v is new \(int32\)"):
        one.rows()
    one.again()
    assert [(r["id"], r["v"]) for r in one.rows()] == [(2, 5), (2, 6)]


def test_log_from_before_a_column_was_there_has_null_in_it(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    spot.run("insert into {}.a values (1)")
    spot.run("alter table {}.a add v int default 5")
    one.again()
    assert [(r["id"], r["v"]) for r in one.rows()] == [(1, None)]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("alter table {}.a drop v", "column v is gone"),
        ("alter table {}.a rename v to w", "column v is called w now"),
        ("alter table {}.a alter v type bigint", "column v was int32 and is int64 now"),
    ],
)
def test_another_shape_of_a_planned_column_needs_another_plan(follow: Any, spot: Place, change: str, told: str) -> None:
    spot.run("create table {}.a (id int primary key, v int)")
    one = follow("a")
    spot.run("insert into {}.a values (1, 1)")
    assert len(one.rows()) == 1
    spot.run(change)
    spot.run("insert into {}.a (id) values (2)")
    with pytest.raises(SchemaChangedError, match=told):
        one.rows()
    one.again()
    assert [r["id"] for r in one.rows()] == [2]


def test_a_type_that_is_no_wider_one_is_read_as_it_was_planned(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v int)")
    one = follow("a")
    spot.run("alter table {}.a alter v type text")
    spot.run("insert into {}.a values (2, '7')")
    assert [(r["id"], r["v"]) for r in one.rows()] == [(2, 7)]
    assert [e.message for e in one.events if e.code == "schema.left_out"] == [
        f"{spot.schema}.a: column v was int32 and is string now, which is left out"
    ]


def test_log_that_piles_up_is_told_once(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"max_wal": "1KiB", "heartbeat": "20ms"})
    spot.run("insert into {}.a select generate_series(1, 20000)")
    split = one.stream

    async def held_up() -> None:
        reading = one.source.read(split, None, None)
        await anext(reading)
        await asyncio.to_thread(wait_for, lambda: [e for e in one.events if e.code == "slot.behind"])
        for _ in range(3):
            await asyncio.to_thread(one.source._following._stream._beat)
        await reading.aclose()

    asyncio.run(held_up())
    told = [e.message for e in one.events if e.code == "slot.behind"]
    assert len(told) == 1
    assert "more than max_wal" in told[0]


def test_a_cut_connection_can_be_tried_again(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    split = one.stream

    async def cut() -> None:
        reading = one.source.read(split, None, None)
        first = asyncio.ensure_future(anext(reading))
        pid = await asyncio.to_thread(wait_for, lambda: one.slot("active_pid"))
        spot.run("select pg_terminate_backend($1::int4)", (pid,))
        with pytest.raises(ExternalError):
            await first

    asyncio.run(cut())
    spot.run("insert into {}.a values (1)")
    one.again()
    assert [r["id"] for r in one.rows()] == [1]


def test_a_query_has_no_changes_and_a_view_neither(spot: Place) -> None:
    spot.run("create view {}.v as select 1 as x")
    for settings in ({"query": "select 1"}, {"table": spot.table("v")}):
        with pytest.raises(WorkflowError, match=r"cannot be followed|has no changes"):
            Followed(spot, "cdc", [], **settings)
