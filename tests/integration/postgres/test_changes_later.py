"""Tables that come later while others write, read in pieces or, without a key, at once: no row comes a second time."""

from __future__ import annotations

import datetime as dt
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.changes import KEYS, SETUP, Followed, Writer, begun, followers, there
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes import following, parts
from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres

KEYLESS = """
create table {}.w (x int, t text);
alter table {}.w replica identity full;
insert into {}.w select n % 50, repeat('x', n % 50) from generate_series(1, 5000) n;
"""


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def follow(spot: Place) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "hybrid") as build:
        yield build


def rows_left(log: list[dict[str, Any]]) -> Counter[Any]:
    """Return the rows that a log leads to, equal ones counted; fail for a delete of a row that is not there."""
    rows: Counter[Any] = Counter()
    for change in log:
        row = change["x"], change["t"]
        if change["_op"] == "delete":
            assert rows[row] > 0, change
            rows[row] -= 1
        elif change["_op"] != "update":  # of values that are what they were
            rows[row] += 1
    return +rows


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_table_without_a_key_comes_while_others_write(follow: Any, spot: Place, seed: int) -> None:
    """Its rows come at once, and changes behind that; equal rows are counted."""
    spot.run("create table {}.a (id int primary key)")
    for statement in KEYLESS.split(";")[:-1]:
        spot.run(statement)
    one = begun(follow("a"))
    one.source.close()
    two = follow("a", "w", fetch_rows=500)
    two.position, two.stream = one.position, one.stream
    done, log = threading.Event(), list[dict[str, Any]]()
    writing = threading.Thread(target=_write_keyless, args=(spot, seed, done))
    writing.start()
    try:
        for _ in range(4):
            log += [row for batch in two.batches() for row in batch.rows.to_pylist()]
    finally:
        done.set()
        writing.join()
    log += [row for batch in two.batches() for row in batch.rows.to_pylist()]
    found = Counter(spot.run("select x, t from {}.w"))
    assert rows_left([c for c in log if "x" in c]) == found
    assert sum(c["_op"] == "read" for c in log) > 4000
    assert two.position.get("again") is None
    spot.run("insert into {}.a values (7)")
    two.batches()
    assert "seen" not in two.position


def _write_keyless(spot: Place, seed: int, done: threading.Event) -> None:
    rng = random.Random(seed)
    with psycopg.connect(spot.url, autocommit=True) as connection:
        while not done.wait(0.002):
            x = rng.randrange(50)
            one = f"ctid = (select min(ctid) from {spot.schema}.w where x = {x})"
            connection.execute(
                rng.choice(
                    [
                        f"insert into {spot.schema}.w values ({x}, 'new')",
                        f"delete from {spot.schema}.w where {one}",
                        f"update {spot.schema}.w set x = {rng.randrange(50)} where {one}",
                    ]
                )
            )


def test_a_table_without_a_key_that_is_large_does_not_come_later(
    follow: Any, spot: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    spot.run("create table {}.a (id int primary key)")
    for statement in KEYLESS.split(";")[:-1]:
        spot.run(statement)
    one, two = begun(follow("a")), follow("a", "w")
    one.source.close()
    two.position, two.stream = one.position, one.stream
    monkeypatch.setattr(following, "WHOLE_BYTES", 100_000)
    with pytest.raises(StateError, match="is new in the workflow, has no key and takes 0 MiB"):
        two.batches()


def test_the_first_reading_of_a_small_table_without_a_key_is_one_batch(follow: Any, spot: Place) -> None:
    """An epoch has all of it, or nothing: it begins anew, and none of it comes a second time."""
    spot.run("create table {}.w (x int, t text)")
    spot.run("alter table {}.w replica identity full")
    spot.run("insert into {}.w select n, repeat('x', 8000) from generate_series(1, 4000) n")  # several of the driver's
    one = follow("w")
    split, _ = one.source.splits(None)
    (batch,) = one.source.read(split, None, None)
    assert batch.num_rows == 4000
    one.again()
    (batch,) = one.source.read(split, None, None)
    assert batch.num_rows == 4000


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_tables_that_come_later_go_on_anywhere_while_others_write(
    follow: Any, spot: Place, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step goes on from the position of a batch, as after a kill: in strict order, and nothing is lost."""
    monkeypatch.setattr(parts, "PIECE_ROWS", 100)
    for statement in SETUP.format(schema=spot.schema, rows=300).split(";"):
        if statement.strip():
            spot.run(statement)
    spot.run("create table {}.a (id int primary key)")
    rng, one = random.Random(seed), begun(follow("a"))
    one.source.close()
    two = follow("a", *KEYS, fetch_rows=60)
    two.position, two.stream = one.position, one.stream
    logs: dict[str, list[dict[str, Any]]] = {name: [] for name in ("a", *KEYS)}
    writer, steps = Writer(spot.url, spot.schema, 300, seed), 0
    writer.start()
    try:
        while steps == 0 or two.position.get("again"):
            steps += 1
            for batch in two.batches(rng.choice([3, 20, 100])):
                logs[batch.stream] += batch.rows.to_pylist()
    finally:
        writer.stop()
    for batch in two.batches():
        logs[batch.stream] += batch.rows.to_pylist()
    assert steps > 1
    for name, key in KEYS.items():
        assert _in_order(logs[name], key) == there(spot.url, spot.schema, name).keys()


def _in_order(log: list[dict[str, Any]], key: tuple[str, ...]) -> set[Any]:
    """Return the keys that a log leads to; fail for a change that cannot be the next one of its row."""
    rows: set[Any] = set()
    for change in log:
        at = tuple(str(v) if isinstance(v := change[k], dt.date) else v for k in key)
        assert (change["_op"] in ("read", "insert")) == (at not in rows), (at, change["_op"])
        (rows.discard if change["_op"] == "delete" else rows.add)(at)
    return rows
