"""Tables are read and then followed: no change is missed and none told twice, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest
from tests.changes import KEYS, SETUP, Followed, Writer, difference, followers, wait_for
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes import parts
from dataflare.errors import DataError, ExternalError, SchemaChangedError, StateError
from dataflare.testing.stage import batches_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.batch import Batch
    from dataflare.component import Split

pytestmark = pytest.mark.postgres
ROWS = 3000


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def follow(spot: Place) -> Iterator[Callable[..., Followed]]:
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
            self.log[batch.stream] += plain(batch)
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
            self.log[batch.stream] += plain(batch)

    def ops(self, name: str) -> list[tuple[str, Any]]:
        return [(r["_op"], next(iter(r.values()))) for r in self.log[name]]


def plain(batch: Batch) -> list[dict[str, Any]]:
    """Return the rows, without dates: Python has not all of them."""
    kept = [f.name for f in batch.rows.schema if not pa.types.is_date(f.type) or f.name == "b"]
    return batch.rows.select(kept).to_pylist()


def as_json(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows as a file would have them."""
    plain = {str: str, int: int, type(None): lambda _: None, list: list}
    return [
        {k: plain.get(type(v), float if k == "v" else lambda x: x.isoformat())(v) for k, v in r.items()} for r in log
    ]


def test_what_happens_before_while_and_after_a_part_is_read_comes_once(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v text)")
    spot.run("insert into {}.a select n, 'old' from generate_series(1, 10) n")
    run = Run(follow("a"))
    spot.run("update {}.a set v = 'seen' where id = 1")  # behind the slot's begin, but read with the table
    spot.run("insert into {}.a values (11, 'seen'), (-5, 'seen')")
    spot.run("delete from {}.a where id = 2")
    run.read_all()
    spot.run("update {}.a set v = 'told' where id = 3")
    spot.run("insert into {}.a values (12, 'told')")
    run.follow()
    assert [(op, n) for op, n in run.ops("a") if op != "read"] == [("update", 3), ("insert", 12)]
    assert sorted(n for op, n in run.ops("a") if op == "read") == [-5, 1, *range(3, 12)]
    assert run.log["a"][0]["_tx"] < run.log["a"][-1]["_tx"]
    assert "seen" in run.one.position or lsn_passed(run)


def test_a_part_is_not_read_without_a_column_that_its_table_has_got_meanwhile(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("insert into {}.a values (1)")
    run = Run(follow("a"))
    spot.run("alter table {}.a add v int default 5")
    with pytest.raises(SchemaChangedError, match="column v is new"):
        run.read_all()
    assert run.log["a"] == []


def lsn_passed(run: Run) -> bool:
    """The stream has caught up: what parts have seen is forgotten."""
    return "splits" not in run.one.position


def test_a_transaction_that_was_open_while_a_part_was_read_is_told_later(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v int)")
    spot.run("insert into {}.a select n, 0 from generate_series(1, 10) n")
    run = Run(follow("a"))
    with psycopg.connect(spot.url) as open_transaction:
        open_transaction.execute(f"update {spot.schema}.a set v = 1 where id = 4")
        spot.run("update {}.a set v = 2 where id = 5")
        run.read_all()
    run.follow()
    assert [(op, n) for op, n in run.ops("a") if op != "read"] == [("update", 4)]


def test_a_slot_that_has_to_wait_for_an_open_transaction_says_so(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", lock_timeout="100ms")
    with psycopg.connect(spot.url) as open_transaction:
        open_transaction.execute(f"insert into {spot.schema}.a values (1)")
        with pytest.raises(ExternalError, match="waits for transactions to end that were open before it"):
            list(one.source.splits(None))
    assert one.slot("1") is None, "nothing is left of it"


def test_parts_under_several_snapshots_each_leave_out_what_they_have_seen(follow: Any, spot: Place) -> None:
    spot.run('create table {}.a (name text collate "en-x-icu" primary key, v int)')
    spot.run(
        "insert into {}.a select chr(97 + n % 26) || case when n % 2 = 0 then upper('q') else 'q' end || n, 0 "
        "from generate_series(1, 200) n"
    )
    run = Run(follow("a", fetch_rows=50))
    (part,) = run.parts
    middle = run.read(part, most=2)
    assert middle["rows"] < 200
    spot.run("update {}.a set v = 1")  # read by the second snapshot, told for rows of the first
    run.one.again()
    run.read(part, middle)
    spot.run("update {}.a set v = 2 where v = 1 and name < 'm'")
    run.follow()
    assert len(run.ends[part.id]["parts"]) == 2
    by_read = {r["name"]: r["v"] for r in run.log["a"] if r["_op"] == "read"}
    assert len(by_read) == 200
    updates = [(r["name"], r["v"]) for r in run.log["a"] if r["_op"] == "update"]
    ones = {name for name, v in updates if v == 1}
    assert ones == {name for name, v in by_read.items() if v == 0}
    assert 0 < len(ones) < 200
    state = {**by_read, **dict(updates)}
    assert state == dict(spot.run("select name, v from {}.a"))


def test_other_ways_to_read_rows_take_a_snapshot_too(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, at date, tags text[])")
    spot.run("insert into {}.a values (1, '12345-01-01', '{x}'), (2, '2026-01-01', null)")
    spot.run("create table {}.b (id int primary key, at date)")
    spot.run("insert into {}.b values (1, '2026-01-01'), (2, '12345-01-01')")  # no date that CSV may have
    run = Run(follow("a", "b"))
    run.read_all()
    spot.run("delete from {}.a where id = 1")
    spot.run("update {}.b set at = '2026-01-05' where id = 2")
    run.follow()
    assert run.ops("a") == [("read", 1), ("read", 2), ("delete", 1)]
    assert run.ops("b") == [("read", 1), ("read", 2), ("update", 2)]


def test_a_table_without_a_key_is_read_in_one_go_or_not_at_all(
    follow: Any, spot: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "WHOLE_BYTES", 1_000_000)  # what is larger may be committed in part
    spot.run("create table {}.a as select n as x, repeat('y', 100) as y from generate_series(1, 100000) n")
    spot.run("alter table {}.a replica identity full")
    run = Run(follow("a"))
    (part,) = run.parts
    middle = run.read(part, most=1)
    assert 0 < middle["rows"] < 100_000
    with pytest.raises(StateError, match="without a key it cannot go on"):
        run.read(part, middle)
    run.log["a"].clear()
    run.one.again()
    run.read(part)
    spot.run("delete from {}.a where x = 7")
    run.follow()
    assert [op for op, _ in run.ops("a") if op != "read"] == ["delete"]
    assert len(run.log["a"]) == 100_001


@pytest.mark.parametrize("when", ["before", "between", "after"])
def test_a_truncation_counts_where_it_was_not_seen(follow: Any, spot: Place, when: str) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("insert into {}.a select generate_series(1, 100)")
    spot.run("analyze {}.a")
    run = Run(follow("a", split_rows=50, cdc={"truncate": "apply"}))
    assert len(run.parts) == 2
    for number, part in enumerate(run.parts):
        if when == ("before", "between")[number]:
            spot.run("truncate {}.a")
            spot.run("insert into {}.a values (3), (99)")
        run.read(part)
    if when == "after":
        spot.run("truncate {}.a")
        spot.run("insert into {}.a values (3), (99)")
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


def test_a_truncation_that_all_parts_have_seen_fails_nobody(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    run = Run(follow("a"))
    spot.run("truncate {}.a")
    run.read_all()
    run.follow()
    spot.run("truncate {}.a")
    with pytest.raises(DataError, match="was truncated"):
        run.follow()


def test_a_slot_that_was_made_anew_meanwhile_ends_the_run(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("insert into {}.a select generate_series(1, 10)")
    spot.run("create table {}.b (id int primary key)")
    run = Run(follow("a", "b"))
    since = json.loads(json.dumps(run.parts[0].resume))
    spot.run(f"select pg_drop_replication_slot('{spot.schema}')")
    with pytest.raises(StateError, match="is gone"):
        list(run.one.source.splits(since))
    spot.run("insert into {}.a values (11)")
    spot.run(f"select lsn::text from pg_create_logical_replication_slot('{spot.schema}', 'pgoutput')")
    with pytest.raises(StateError, match="or the slot was made anew"):
        list(run.one.source.splits(since))


def test_tables_are_not_read_while_somebody_reads_the_slot(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a")
    split = list(one.source.splits(None))[-1]

    async def taken() -> None:
        reading = one.source.read(split, None, None)
        first = asyncio.ensure_future(anext(reading))
        await asyncio.to_thread(wait_for, lambda: one.slot("active::int"))
        with pytest.raises(ExternalError, match="is read by somebody else"):
            await asyncio.to_thread(lambda: list(follow("a").source.splits(None)))
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await reading.aclose()

    asyncio.run(taken())


@pytest.mark.parametrize("seed", [1, 2])
def test_writers_at_work_all_the_time_lose_nothing(
    follow: Any, spot: Place, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SNAPSHOT_SECONDS", 0.0)  # another snapshot for each statement
    for statement in SETUP.format(schema=spot.schema, rows=ROWS).split(";"):
        if statement.strip():
            spot.run(statement)
    writer = Writer(spot.url, spot.schema, ROWS, seed)
    writer.start()
    try:
        one = follow(*KEYS, split_rows=ROWS // 5, fetch_rows=ROWS // 20)
        run = Run(one)
        run.read_all()
        run.follow()
        one.again()
    finally:
        writer.stop()
    run.follow()
    assert {n: difference(as_json(run.log[n]), spot.url, spot.schema, n) for n in KEYS} == {n: [] for n in KEYS}
    assert "seen" not in one.position
