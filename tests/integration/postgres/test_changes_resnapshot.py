"""Tables are read again, and new ones for the first time, beside the stream of their changes."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.changes import KEYS, SETUP, Followed, Writer, begun, followers, forget, ops, read_ahead, there
from tests.postgres import Place, place

from dataflare.component import Reread
from dataflare.connectors.postgres.changes import parts
from dataflare.connectors.postgres.changes.following import CHANGES
from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def follow(spot: Place) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "hybrid") as build:
        yield build


def asked(one: Followed, stream: str = "a", low: Any = None, high: Any = None, name: str = "1") -> None:
    one.source.ask([Reread(name, stream, low, high)])


def test_a_range_is_read_again_beside_changes(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v int)")
    spot.run("insert into {}.a select n, 0 from generate_series(0, 9) n")
    one = begun(follow("a"))
    spot.run("update {}.a set v = 1 where id = 3")  # in what is read
    spot.run("update {}.a set v = 1 where id = 8")
    asked(one, low=[2], high=[5])
    found = ops(one)
    assert [r for r in found if r[0] == "read"] == [("read", 2, 0), ("read", 3, 1), ("read", 4, 0), ("read", 5, 0)]
    assert [r for r in found if r[0] != "read"] in ([("update", 8, 1)], [("update", 3, 1), ("update", 8, 1)])
    spot.run("update {}.a set v = 2 where id = 3")
    assert ops(one) == [("update", 3, 2)]
    assert one.position["answered"] == ["1"]
    one.source.acknowledge({CHANGES: one.position})
    assert one.source.answered() == ["1"]
    assert one.source.answered() == []


def test_a_row_waits_for_the_changes_that_it_holds(follow: Any, spot: Place) -> None:
    """The stream stands before them when the range is read: it has not been told of them yet."""
    spot.run("create table {}.a (id int primary key, v int)")
    spot.run("insert into {}.a select n, 0 from generate_series(0, 9) n")
    one = begun(follow("a"))
    asked(one)
    found = read_ahead(one, lambda: spot.run("update {}.a set v = v + 1 where id in (3, 4)"))
    reads = [r for r in found if r["_op"] == "read"]
    assert [r["id"] for r in reads] == list(range(10))
    for key in range(10):
        row = [r for r in found if r["id"] == key]
        assert [r["_tx"] for r in row] == sorted(r["_tx"] for r in row)
        assert [r["v"] for r in row] == sorted(r["v"] for r in row), "it went back in time"
        assert row[-1]["v"] == (1 if key in (3, 4) else 0)


def test_a_range_of_texts_has_the_order_of_the_server(follow: Any, spot: Place) -> None:
    spot.run('create table {}.a (name text collate "en-x-icu" primary key, v int)')
    spot.run("insert into {}.a values ('a', 0), ('B', 0), ('c', 0), ('D', 0)")
    one = begun(follow("a"))
    asked(one, low=["B"], high=["c"])
    found = read_ahead(one, lambda: spot.run("update {}.a set v = 1"))
    by_key = {key: [(r["_op"], r["v"]) for r in found if r["name"] == key] for key in "aBcD"}
    again = [("update", 1), ("read", 1)]
    assert by_key == {"a": again[:1], "B": again, "c": again, "D": again[:1]}


def test_what_is_passed_on_is_seen_by_what_is_read(follow: Any, spot: Place) -> None:
    """Transactions that were open when it was asked for hold it up; the stream goes on meanwhile."""
    spot.run("create table {}.a (id int primary key, v int)")
    spot.run("insert into {}.a values (1, 0)")
    one = begun(follow("a"))
    asked(one)
    seen: list[tuple[Any, ...]] = []
    with psycopg.connect(spot.url) as open_transaction:
        open_transaction.execute(f"insert into {spot.schema}.a values (2, 0)")
        spot.run("update {}.a set v = 1 where id = 1")
        end = one.source.ends()[CHANGES]

        async def gather() -> None:
            reading = one.source.read(one.stream, one.position, end)
            async for batch in reading:
                seen.extend((r["_op"], r["id"], r["v"]) for r in batch.rows.to_pylist())
                if seen == [("update", 1, 1)] and not open_transaction.closed:
                    open_transaction.commit()
                    open_transaction.close()
            await reading.aclose()

        asyncio.run(gather())
    assert seen[0] == ("update", 1, 1)
    assert sorted(seen[1:]) in ([("insert", 2, 0), ("read", 1, 1), ("read", 2, 0)], [("read", 1, 1), ("read", 2, 0)])


def test_a_table_that_others_hold_for_themselves_is_read_later(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("create table {}.b (id int primary key)")
    spot.run("insert into {}.a values (1)")
    one = begun(follow("a", "b"))
    seen: list[tuple[str, int]] = []
    with psycopg.connect(spot.url) as holding:
        spot.run("insert into {}.b values (7)")
        end = one.source.ends()[CHANGES]

        async def gather() -> None:
            reading = one.source.read(one.stream, one.position, end)
            async for batch in reading:
                seen.extend((r["_op"], r["id"]) for r in batch.rows.to_pylist())
                if batch.num_rows == 0:  # the server's own changes move the stream on
                    continue
                if seen == [("insert", 7)]:
                    holding.execute(f"lock table {spot.schema}.a in access exclusive mode")
                    asked(one)
                    spot.run("insert into {}.b values (8)")
                elif len(seen) == 2:
                    holding.rollback()
            await reading.aclose()

        asyncio.run(gather())
    assert seen == [("insert", 7), ("insert", 8), ("read", 1)]


@pytest.mark.parametrize("policy", ["apply", "skip"])
def test_a_truncation_beside_it_counts(follow: Any, spot: Place, policy: str) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("insert into {}.a values (1), (2)")
    one = begun(follow("a", cdc={"truncate": policy}))
    asked(one, low=[1], high=[5])
    found = read_ahead(one, lambda: [spot.run("truncate {}.a"), spot.run("insert into {}.a values (2), (9)")])
    rows: set[int] = {1, 2}
    for row in found:
        if row["_op"] == "truncate":
            rows.clear()
        else:
            rows.add(row["id"])
    assert rows == ({2, 9} if policy == "apply" else {1, 2, 9})


def test_what_cannot_be_read_again_is_said(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    spot.run("create table {}.w (x int)")
    spot.run("alter table {}.w replica identity full")
    spot.run("create table {}.p (a int, b int, primary key (a, b))")
    spot.run("create table {}.u (id uuid primary key)")
    spot.run("create table {}.big (id bigint primary key)")
    source = follow("a", "w", "p", "u", "big").source
    assert source.reread("a", ("2", None)) == Reread("", "a", [2], None)
    assert source.reread(f'{spot.schema}."a"', (" 2 ", None)) == Reread("", "a", [2], None)
    greatest = (1 << 63) - 1
    assert source.reread("big", (None, str(greatest))) == Reread("", "big", None, [greatest])
    assert source.reread(spot.table("p"), (None, None)) == Reread("", "p")
    for table, bounds, told in (
        ("none", (None, None), "follows no table none"),
        ("w", (None, None), "has no key"),
        ("p", ("1,2,3", "2"), "has more values than the key"),
        ("p", ("1,x", None), "b is a whole number"),
        ("a", ("x", None), "id is a whole number"),
        ("a", ("1", "2147483648"), "2147483648 is no key"),  # of int4: the server would fail at it in each attempt
        ("a", ("5", "1"), "5..1 holds no key"),
        ("p", ("2,7", "2,6"), "holds no key"),
        ("u", ("b0000000-0000-0000-0000-000000000000", "a0000000-0000-0000-0000-000000000000"), "holds no key"),
        ("u", ("1", None), "uuid"),
    ):
        with pytest.raises(WorkflowError, match=told):
            source.reread(table, bounds)
    for where, told in (
        ("i = 1", "no column 'i'"),
        ("id + 1 = 2", "cannot be asked"),
        ("id = ", "id = "),
        ("id = 'x'", "'x'"),
    ):
        with pytest.raises(WorkflowError, match=told):
            source.reread("a", (None, None), where)


def test_a_range_of_a_key_of_several_columns_is_read_again(follow: Any, spot: Place) -> None:
    spot.run("create table {}.p (a int, b text, v int, primary key (a, b))")
    spot.run("insert into {}.p select n / 3, 'k' || n % 3 || ', x', 0 from generate_series(0, 8) n")
    one = begun(follow("p", fetch_rows=2))
    keys = [(a, f"k{b}, x") for a in range(3) for b in range(3)]
    for number, (low, high, wanted) in enumerate(
        (
            ('0,"k1, x"', '1,"k0, x"', keys[1:4]),
            ("1", "1", keys[3:6]),
            (None, '0,"k0, x"', keys[:1]),
            ("2", None, keys[6:]),
        )
    ):
        one.source.ask([replace(one.source.reread("p", (low, high)), id=str(number))])
        assert ops(one) == [("read", *key, 0) for key in wanted]


def test_rows_that_meet_a_condition_are_read_again_and_go_not_back(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key, v int, day date)")
    spot.run("insert into {}.a select n, 0, date '2026-01-01' + n from generate_series(0, 9) n")
    one = begun(follow("a", fetch_rows=2))
    request = one.source.reread("a", ("1", None), "day >= date '2026-01-04' and v = 0")
    one.source.ask([replace(request, id="1")])
    found = read_ahead(one, lambda: spot.run("update {}.a set v = v + 1 where id in (4, 5)"))
    reads = [r["id"] for r in found if r["_op"] == "read"]
    assert reads == [3, 6, 7, 8, 9]
    assert [(r["id"], r["v"]) for r in found if r["_op"] == "update"] == [(4, 1), (5, 1)]
    spot.run("create table {}.names (name text primary key, v int)")
    spot.run("insert into {}.names values ('a', 1), ('b', 2), ('c', 3)")
    one.source.close()
    other = follow("names", cdc={"slot_name": f"{spot.schema}_n"})
    try:
        begun(other)
        other.source.ask([replace(other.source.reread("names", (None, "b"), "v > 1"), id="1")])
        assert ops(other) == [("read", "b", 2)]
    finally:
        other.source.close()
        forget(spot, f"{spot.schema}_n")


def test_a_condition_that_takes_the_server_too_long_is_let_go(
    follow: Any, spot: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "_SEARCH", "set local statement_timeout = 1")
    spot.run("create table {}.a (id int primary key, v text)")
    spot.run("insert into {}.a select n, repeat('x', 2000) from generate_series(1, 20000) n")
    one = begun(follow("a"))
    one.source.ask([replace(one.source.reread("a", ("1", "5"), "v like '%y%'"), id="1")])
    one.source.ask([replace(one.source.reread("a", ("1", "20000"), "v like '%y%'"), id="2")])
    found = ops(one)
    assert len(found) >= 20_000
    assert [e.code for e in one.events if getattr(e, "code", "") == "resnapshot.slow"]


@pytest.mark.parametrize("seed", [3, 4])
def test_ranges_that_are_read_again_while_others_write_never_take_a_row_back(
    follow: Any, spot: Place, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "PIECE_ROWS", 40)
    for statement in SETUP.format(schema=spot.schema, rows=400).split(";"):
        if statement.strip():
            spot.run(statement)
    rng, one = random.Random(seed), begun(follow(*KEYS, fetch_rows=60))
    logs: dict[str, list[dict[str, Any]]] = {name: [] for name in KEYS}
    first = {name: there(spot.url, spot.schema, name) for name in KEYS}
    writer = Writer(spot.url, spot.schema, 400, seed)
    writer.start()
    try:
        for number in range(6):
            low = rng.randrange(1, 900)
            bounds = {"items": ([low], [low + 300]), "names": (["n2"], ["n5z"]), "pairs": (None, None)}
            name = rng.choice(list(KEYS))
            asked(one, name, *bounds[name], name=str(number))
            for batch in one.batches():
                logs[batch.stream] += batch.rows.to_pylist()
            if rng.random() < 0.5:
                one.again()
    finally:
        writer.stop()
    for batch in one.batches():
        logs[batch.stream] += batch.rows.to_pylist()
    assert sum(row["_op"] == "read" for log in logs.values() for row in log) > 100
    for name, key in KEYS.items():
        assert _gone_back(logs[name], key) == []
        assert _states(first[name], logs[name], key) == _plain(there(spot.url, spot.schema, name), key)


def _gone_back(log: list[dict[str, Any]], key: tuple[str, ...]) -> list[Any]:
    """Return keys of rows whose places in the log are not in order."""
    newest: dict[Any, str] = {}
    wrong = []
    for row in log:
        at = tuple(row[k] for k in key)
        if row["_tx"] < newest.get(at, ""):
            wrong.append(at)
        newest[at] = row["_tx"]
    return wrong


def _states(first: dict[Any, Any], log: list[dict[str, Any]], key: tuple[str, ...]) -> dict[Any, Any]:
    rows = _plain(first, key)
    for row in log:
        at = tuple(str(row[k]) for k in key)
        if row["_op"] == "delete":
            assert at in rows, f"{at} is gone already"
            del rows[at]
            continue
        assert row["_op"] != "update" or at in rows, f"{at} was lost"
        assert row["_op"] != "insert" or at not in rows, f"{at} is there already"
        kept = {n: rows[at][n] for n in row.get("_unchanged") or ()}
        rows[at] = {**_values(row), **kept}
    return rows


def _values(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if v is None else f"{float(v)}" if k == "v" and not isinstance(v, str) else str(v)
            for k, v in row.items() if not k.startswith("_")}  # fmt: skip


def _plain(rows: dict[Any, Any], key: tuple[str, ...]) -> dict[Any, Any]:
    return {tuple(str(row[k]) for k in key): _values(row) for row in rows.values()}
