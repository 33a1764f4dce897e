"""Tables of MariaDB are read and then followed: no change is missed and none told twice, whatever happens meanwhile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.maria_changes import KEYS, SETUP, Followed, Writer, connected, difference, followers
from tests.mariadb import Database, database

from dataflare.errors import DataError, StateError
from dataflare.sql import change_source
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.component import Split

pytestmark = pytest.mark.mariadb
ROWS = 3000


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


@pytest.fixture
def follow(spot: Database) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "hybrid") as build:
        yield build


class Run:
    """What an engine does with the splits: each part is read, the stream begins where all parts have ended."""

    def __init__(self, one: Followed) -> None:
        self.one, self.log = one, {name: list[dict[str, Any]]() for name in one.source.streams()}
        self.ends: dict[str, Any] = {}
        *self.parts, self.changes = list(one.source.splits(None))
        assert all(p.before == self.changes.id for p in self.parts)

    def read(self, split: Split, since: Any = None, most: int = 1 << 30) -> Any:
        """Read a part; return where it stands after at most some batches, None at its end."""
        for number, batch in enumerate(batches_of(self.one.source, split, since)):
            self.log[batch.stream] += batch.rows.to_pylist()
            self.ends[split.id] = json.loads(json.dumps(batch.position))
            if number + 1 == most:
                return self.ends[split.id]
        return None

    def read_all(self) -> None:
        for part in self.parts:
            self.read(part)

    def follow(self) -> None:
        """Read changes up to now."""
        if self.one.position is None:
            self.one.position = {"splits": self.ends}
        self.one.stream = self.changes
        for batch in self.one.batches():
            self.log[batch.stream] += batch.rows.to_pylist()

    def ops(self, name: str) -> list[tuple[str, Any]]:
        return [(r["_op"], next(iter(r.values()))) for r in self.log[name]]


def test_what_happens_before_while_and_after_a_part_is_read_comes_once(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v text)")
    spot.run("insert into a select seq, 'old' from seq_1_to_10")
    run = Run(follow("a"))
    spot.run("update a set v = 'seen' where id = 1")  # behind the begin, but read with the table
    spot.run("insert into a values (11, 'seen'), (-5, 'seen')")
    spot.run("delete from a where id = 2")
    run.read_all()
    spot.run("update a set v = 'told' where id = 3")
    spot.run("insert into a values (12, 'told')")
    run.follow()
    assert [(op, n) for op, n in run.ops("a") if op != "read"] == [("update", 3), ("insert", 12)]
    assert sorted(n for op, n in run.ops("a") if op == "read") == [-5, 1, *range(3, 12)]
    assert run.log["a"][0]["_tx"] < run.log["a"][-1]["_tx"]
    assert "seen" not in run.one.position, "the stream has caught up: what parts have seen is forgotten"


def test_a_transaction_that_was_open_while_a_part_was_read_is_told_later(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key, v int)")
    spot.run("insert into a select seq, 0 from seq_1_to_10")
    run = Run(follow("a"))
    with connected(spot.url) as other, other.cursor() as cursor:
        cursor.execute("begin")
        cursor.execute("update a set v = 1 where id = 4")
        spot.run("update a set v = 2 where id = 5")
        run.read_all()
        cursor.execute("commit")
    run.follow()
    assert [(op, n) for op, n in run.ops("a") if op != "read"] == [("update", 4)]


TEXT = "varchar(20) character set utf8mb4 collate utf8mb4_german2_ci"
KEYED = {
    "text": (f"name {TEXT} primary key", "concat(char(97 + seq % 26), if(seq % 2, 'Q', 'q'), 'ä', seq)", "name"),
    "pair": ("a int, name date, primary key (name, a)", "seq, date '2026-01-01' + interval (seq div 9) day", "a, name"),
    "numbers": ("a int, name int, primary key (a, name)", "seq div 9, seq", "a, name"),
    "unsigned": ("name bigint unsigned primary key", "18446744073709551615 - seq", "name"),
    "uuid": ("name uuid primary key", "sys_guid()", "name"),
    "bytes": ("name varbinary(9) primary key", "left(unhex(md5(seq)), 9)", "name"),
    "moment": ("name datetime(3) primary key", "timestamp '2026-01-01 00:00:00' + interval seq second", "name"),
    "decimal": ("name decimal(20,3) primary key", "seq / 8 - 10", "name"),
}


@pytest.mark.parametrize("kind", KEYED)
def test_parts_under_several_snapshots_each_leave_out_what_they_have_seen(
    follow: Any, spot: Database, kind: str
) -> None:
    columns, values, names = KEYED[kind]
    spot.run(f"create table a ({columns}, v int)")
    spot.run(f"insert into a ({names}, v) select {values}, 0 from seq_1_to_200")
    run = Run(follow("a", fetch_rows=50))
    (part,) = run.parts
    middle = run.read(part, most=2)
    assert middle["rows"] < 200
    spot.run("update a set v = 1")  # read by the second snapshot, told for rows of the first
    run.one.again()
    run.read(part, middle)
    spot.run("update a set v = 2 where v = 1")
    run.follow()
    assert len(run.ends[part.id]["parts"]) == 2
    keys = names.split(", ")

    def by_key(op: str, value: int | None = None) -> set[Any]:
        return {tuple(r[k] for k in keys) for r in run.log["a"] if r["_op"] == op and value in (None, r["v"])}

    assert len(by_key("read")) == 200
    assert by_key("update", 1) == by_key("read", 0)
    assert 0 < len(by_key("update", 1)) < 200
    assert by_key("update", 2) == by_key("read")


def test_a_table_without_a_key_is_read_in_one_go_or_not_at_all(follow: Any, spot: Database) -> None:
    spot.run("create table a (x int not null, y varchar(100) not null)")
    spot.run("insert into a select seq, repeat('y', 100) from seq_1_to_30000")
    run = Run(follow("a"))
    (part,) = run.parts
    middle = run.read(part, most=1)
    assert 0 < middle["rows"] < 30_000
    with pytest.raises(StateError, match="without a key it cannot go on"):
        run.read(part, middle)
    run.log["a"].clear()
    run.one.again()
    run.read_all()
    spot.run("delete from a where x = 7")
    run.follow()
    assert [op for op, _ in run.ops("a") if op != "read"] == ["delete"]
    assert len(run.log["a"]) == 30_001


def test_keys_whose_order_is_not_compared_are_read_in_one_go_too(follow: Any, spot: Database) -> None:
    spot.run("create table b (e enum('a', 'b', 'c') primary key)")
    spot.run("insert into b values ('c'), ('a'), ('b')")
    run = Run(follow("b", fetch_rows=2))
    middle = run.read(run.parts[0], most=1)
    with pytest.raises(StateError, match="with such a key it cannot go on"):
        run.read(run.parts[0], middle)
    run.log["b"].clear()
    run.one.again()
    run.read_all()
    spot.run("delete from b where e = 'b'")
    run.follow()
    assert run.ops("b") == [("read", "a"), ("read", "b"), ("read", "c"), ("delete", "b")]


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_truncation_counts_where_it_was_not_seen(follow: Any, spot: Database, when: str) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("insert into a select seq from seq_1_to_100")
    spot.run("analyze table a")
    run = Run(follow("a", split_rows=50, cdc={"truncate": "apply"}))
    assert len(run.parts) == 2
    for number, part in enumerate(run.parts):
        if when == ("before", "between")[number]:
            spot.run("truncate a")
            spot.run("insert into a values (3), (99)")
        run.read(part)
    if when == "after":
        spot.run("truncate a")
        spot.run("insert into a values (3), (99)")
    run.follow()
    rows: set[int] = set()
    for op, number in run.ops("a"):
        if op == "truncate":
            rows.clear()
        else:
            assert number not in rows
            rows.add(number)
    assert rows == {3, 99}
    assert ("truncate", None) in run.ops("a") or when == "before"


def test_a_truncation_that_all_parts_have_seen_fails_nobody(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    run = Run(follow("a"))
    spot.run("truncate a")
    run.read_all()
    run.follow()
    spot.run("truncate a")
    with pytest.raises(DataError, match="was truncated"):
        run.follow()


def test_a_row_behind_the_last_batch_is_read_under_the_snapshot_that_sees_it(
    follow: Any, spot: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change_source, "SNAPSHOT_SECONDS", 0.0)
    spot.run("create table a (id int primary key)")
    spot.run("insert into a values (1), (2)")
    run = Run(follow("a"))
    (part,) = run.parts
    for batch in batches_of(run.one.source, part):
        run.log["a"] += batch.rows.to_pylist()
        run.ends[part.id] = json.loads(json.dumps(batch.position))
        if batch.num_rows == 2:
            spot.run("insert into a values (99)")  # all that there was is read, and another snapshot follows
    run.follow()
    assert sorted(n for _, n in run.ops("a")) == [1, 2, 99]


def test_a_table_that_is_new_in_the_workflow_is_refused(follow: Any, spot: Database) -> None:
    spot.run("create table a (id int primary key)")
    spot.run("create table b (id int primary key)")
    run = Run(follow("a"))
    run.read_all()
    two = follow("a", "b")
    two.stream = run.changes
    with pytest.raises(StateError, match="is new in the workflow, and its rows were not read"):
        two.batches()


def test_a_table_that_goes_while_the_others_are_read_takes_none_of_them_with_it(follow: Any, spot: Database) -> None:
    for name in "abc":
        spot.run(f"create table {name} (id int primary key)")
        spot.run(f"insert into {name} values (1), (2)")
    run = Run(follow("a", "b", "c"))
    first, second, _ = run.parts
    run.read(first)
    two = follow("b", "c")
    *rest, _ = list(two.source.splits(json.loads(json.dumps(first.resume))))
    assert [split.data["stream"] for split in rest] == ["b", "c"]
    three = follow("a", "c")
    assert [b.num_rows for b in batches_of(three.source, second, None)] == [0]
    *rest, three.stream = list(three.source.splits(json.loads(json.dumps(first.resume))))
    assert [split.data["stream"] for split in rest] == ["c"]
    assert three.stream.data["tables"] == ["a", "c"]


@pytest.mark.parametrize("begun", [False, True])
def test_a_table_that_was_left_out_for_a_while_is_refused(follow: Any, spot: Database, begun: bool) -> None:
    for name in "ab":
        spot.run(f"create table {name} (id int primary key)")
        spot.run(f"insert into {name} values (1), (2)")
    run = Run(follow("a", "b"))
    if begun:
        run.read_all()
        run.follow()
    two = follow("a")
    run.one = two
    run.read_all()
    two.position = json.loads(json.dumps(run.one.position)) if run.one.position else {"splits": run.ends}
    two.stream = run.changes
    spot.run("insert into b values (3)")
    spot.run("insert into a values (3)")
    assert [r["id"] for r in two.rows() if r["_op"] == "insert"] == [3]
    three = follow("a", "b")
    three.stream, three.position = run.changes, two.position
    with pytest.raises(StateError, match="was left out of the workflow, and its changes were not followed"):
        three.batches()


def test_a_table_that_others_write_to_is_read_and_followed_without_a_gap(
    follow: Any, spot: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are left and gone on with, and snapshots renewed, between batches."""
    monkeypatch.setattr(change_source, "SNAPSHOT_SECONDS", 0.0)
    for statement in SETUP.format(rows=ROWS).split(";"):
        spot.run(statement)
    writer = Writer(spot.url, ROWS, 5)
    writer.start()
    try:
        run = Run(follow(*KEYS, split_rows=800, fetch_rows=200))
        assert len(run.parts) > 3
        for number, part in enumerate(run.parts):
            middle = run.read(part, most=2) if number % 2 else None
            if middle is not None:
                run.one.again()
            run.read(part, middle)
        assert max(len(end["parts"]) for end in run.ends.values()) > 2
        for _ in range(3):
            run.follow()
            run.one.again()
    finally:
        writer.stop()
    run.follow()
    logs = {name: json.loads(json.dumps(log, default=str)) for name, log in run.log.items()}
    for row in logs["pairs"]:
        row["v"] = float(row["v"])
    assert {c["_op"] for log in logs.values() for c in log} == {"read", "insert", "update", "delete"}
    assert {name: difference(log, spot.url, name) for name, log in logs.items()} == {name: [] for name in KEYS}
