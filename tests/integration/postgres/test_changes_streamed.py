"""Large transactions that come while they are open: the same changes as at their commit, whatever else goes on."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pytest
from tests.changes import Followed, followers, forget, played_back
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes.following import CHANGES

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres
WRITERS, ROWS = 3, 1000
SPILLS = "logical_decoding_work_mem%3D64kB"
KEY = ("id",)


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create table {}.t (id int primary key, n int not null, v text)")
        found.run("create table {}.u (id int primary key, n int not null, v text)")
        yield found


@pytest.fixture
def made(spot: Place) -> Iterator[Any]:
    with followers(spot, "cdc") as build:
        yield build


def begun(made: Any, spot: Place, *, streaming: bool, name: str = "") -> Followed:
    cdc: dict[str, Any] = {"streaming": streaming, **({"slot_name": name} if name else {})}
    url = f"{spot.url}{'&' if '?' in spot.url else '?'}options=-c%20{SPILLS}"
    one: Followed = made("t", "u", url=url, cdc=cdc)
    assert one.stream.id == CHANGES
    return one


def streamed(spot: Place, name: str = "") -> int:
    """Return how many transactions the server has streamed to a slot while they were open."""
    found = "select stream_txns from pg_stat_replication_slots where slot_name = $1"
    return sum(count for (count,) in spot.run(found, (name or spot.schema,)))


class Interleaved:
    """Writers that go on in turns, each within transactions and savepoints of its own, on keys of its own."""

    def __init__(self, spot: Place, seed: int) -> None:
        self._rng, self._spot = random.Random(seed), spot
        self._writers = [psycopg.connect(spot.url, autocommit=True) for _ in range(WRITERS)]
        self._depth: list[int | None] = [None] * WRITERS
        self.undone = 0

    def turn(self) -> None:
        """Let one of them do one thing."""
        rng, who = self._rng, self._rng.randrange(WRITERS)
        writer, depth = self._writers[who], self._depth[who]
        if depth is None:
            writer.execute("begin")
            self._depth[who] = 0
        elif rng.random() < 0.15:
            writer.execute("rollback" if rng.random() < 0.25 else "commit")
            self._depth[who] = None
        elif rng.random() < 0.25:
            writer.execute(f"savepoint s{depth}")
            self._depth[who] = depth + 1
        elif depth and rng.random() < 0.4:
            undo = rng.random() < 0.6
            writer.execute(f"{'rollback to' if undo else 'release'} savepoint s{depth - 1}")
            self.undone += undo
            self._depth[who] = depth - 1
        else:
            self._write(writer, who)

    def _write(self, writer: Any, who: int) -> None:
        rng, table = self._rng, f"{self._spot.schema}.{self._rng.choice('tu')}"
        first, many = who * 10_000 + rng.randrange(1, 2000), rng.choice([1, 20, ROWS])
        span = f"between {first} and {first + many}"
        rows = f"select n, 0, repeat('x', 60) from generate_series({first}, {first + many}) n"
        free = f"id % 10000 < 5000 and not exists (select from {table} o where o.id = {table}.id + 5000)"
        changes = [
            f"insert into {table} {rows} on conflict (id) do update set n = excluded.n + 1",
            f"update {table} set n = n + 1 where id {span}",
            f"update {table} set id = id + 5000, n = n + 1 where id {span} and {free}",
            f"delete from {table} where id {span}",
        ]
        writer.execute(rng.choice(changes))

    def close(self) -> None:
        """Commit what is open."""
        for writer, depth in zip(self._writers, self._depth, strict=True):
            if depth is not None:
                writer.execute("commit")
            writer.close()


def test_what_a_savepoint_undid_stays_undone_where_the_server_streams_it_and_does_not_say_so(
    made: Any, spot: Place
) -> None:
    """The server keeps what was done before the place where a reader begins on its disk, then streams it all the same.

    Of a subtransaction that it kept so it does not tell that it was rolled back.
    """
    insert = f"insert into {spot.schema}.t select n, 0, repeat('x', 50) from generate_series(%s::int, %s::int) n"
    one = begun(made, spot, streaming=True)
    with psycopg.connect(spot.url) as writer:
        writer.execute(insert, (1, 1))
        writer.execute("savepoint s")
        writer.execute(insert, (2, 20_000))
        spot.run("insert into {}.u values (1, 0, 'x')")
        assert [r["id"] for r in one.rows()] == [1]
        one.source.acknowledge({CHANGES: one.position})
        one.again()
        writer.execute("savepoint t")
        writer.execute(insert, (20_001, 40_000))
        writer.execute("rollback to savepoint s")
        writer.execute("savepoint kept")
        writer.execute(insert, (50_000, 50_001))
    assert [r["id"] for r in one.rows()] == [1, 50_000, 50_001]
    assert streamed(spot) > 0


@pytest.mark.parametrize("seed", range(2))
def test_interleaved_transactions_come_the_same_streamed_or_not_and_lead_to_the_tables(
    made: Any, spot: Place, seed: int
) -> None:
    other = f"{spot.schema}_whole"
    parts, whole = begun(made, spot, streaming=True), begun(made, spot, streaming=False, name=other)
    writers, rng = Interleaved(spot, seed), random.Random(seed)
    batches: list[Any] = []
    try:
        for turn in range(260):
            writers.turn()
            if turn % 60 == 59:  # some come while others are open; a resume may find what it had in another way
                batches += parts.batches(most=rng.randrange(1, 5))
                parts._settings["cdc"]["streaming"] = not parts._settings["cdc"]["streaming"]
                parts.again()
        writers.close()
        parts._settings["cdc"]["streaming"] = True
        parts.again()
        batches += parts.batches()
        wanted = whole.batches()
        assert streamed(spot, other) == 0
    finally:
        whole.source.close()
        forget(spot, other)
    assert writers.undone > 5
    assert streamed(spot) > 3
    for name in ("t", "u"):
        one, two = (pa.concat_tables([b.rows for b in found if b.stream == name]) for found in (batches, wanted))
        assert one.equals(two)
        rows = played_back(one.to_pylist(), KEY)
        assert {key: row["n"] for (key,), row in rows.items()} == dict(spot.run(f"select id, n from {{}}.{name}"))


def test_a_transaction_comes_in_parts_and_memory_does_not_grow_with_it(made: Any, spot: Place) -> None:
    one = begun(made, spot, streaming=True)
    spot.run("insert into {}.t select n, n, repeat('x', 200) from generate_series(1, 120000) n")
    before = pa.total_allocated_bytes()
    (first,) = one.batches(most=1)
    held = pa.total_allocated_bytes() - before
    assert held < 24 << 20
    assert first.num_rows < 60_000
    assert one.position["rows"] == first.num_rows
    seen = first.rows["id"].to_pylist()
    one.again()
    for batch in one.batches():
        seen += batch.rows["id"].to_pylist()
    assert seen == list(range(1, 120_001))
    assert streamed(spot) >= 2  # those of others count as well


def test_a_transaction_of_more_than_4_mb_comes_while_it_is_open_unless_the_url_says_otherwise(
    made: Any, spot: Place
) -> None:
    names = {spot.schema: spot.url, f"{spot.schema}_own": f"{spot.url}?options=-c%20logical_decoding_work_mem%3D60MB"}
    try:
        for name, url in names.items():
            one = made("t", url=url, cdc={"slot_name": name})
            assert one.stream.id == CHANGES
            spot.run("delete from {}.t")
            spot.run("insert into {}.t select n, n, repeat('x', 200) from generate_series(1, 30000) n")
            assert sum(b.num_rows for b in one.batches()) >= 30_000
            one.source.close()
        assert [streamed(spot, name) > 0 for name in names] == [True, False]
    finally:
        forget(spot, f"{spot.schema}_own")


def test_others_are_not_held_up_by_one_that_stays_open_and_it_is_acknowledged_behind_them(
    made: Any, spot: Place
) -> None:
    one = begun(made, spot, streaming=True)
    with psycopg.connect(spot.url) as writer:
        writer.execute(f"insert into {spot.schema}.t select n, 0, repeat('x', 60) from generate_series(1, 5000) n")
        spot.run("insert into {}.t values (-1, 0, '')")
        assert [r["id"] for r in one.rows()] == [-1]
        one.source.acknowledge({CHANGES: one.position})
        one.again()
        assert one.rows() == []
        writer.execute(f"delete from {spot.schema}.t where id > 10")
    found = one.rows()
    assert [r["id"] for r in found[:5000]] == list(range(1, 5001))
    assert [(r["_op"], r["id"]) for r in found[5000:5002]] == [("delete", 11), ("delete", 12)]
    assert len(found) == 5000 + 4990
