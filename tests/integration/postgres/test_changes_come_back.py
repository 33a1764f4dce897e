"""Tables that come to those that are followed are read beside the stream, and read anew wherever they come back."""

from __future__ import annotations

import asyncio
import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import Followed, begun, followers, ops, read_ahead
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes.following import CHANGES
from dataflare.errors import UnavailableError

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


def test_a_table_that_is_new_is_read_first_and_followed_then(follow: Any, spot: Place) -> None:
    for name in "ab":
        spot.run(f"create table {{}}.{name} (id int primary key, v int)")
        spot.run(f"insert into {{}}.{name} select n, 0 from generate_series(1, 5) n")
    one = begun(follow("a"))
    spot.run("update {}.b set v = 9 where id = 1")
    two = follow("a", "b")
    one.source.close()
    two.position, two.stream = one.position, one.stream
    spot.run("update {}.a set v = 1 where id = 2")
    found = read_ahead(two, lambda: spot.run("update {}.b set v = 1 where id = 5"))
    by_table = [(len(r) > 0, r["_op"], r["id"], r["v"]) for r in found]
    assert sorted(by_table) == sorted(
        [(True, "update", 2, 1), (True, "read", 1, 9), *((True, "read", n, 0) for n in (2, 3, 4)), (True, "read", 5, 1)]
    )
    spot.run("update {}.b set v = 2 where id = 5")
    spot.run("delete from {}.b where id = 1")
    assert [(r[0], r[1]) for r in ops(two)] == [("update", 5), ("delete", 1)]
    assert list(two.position["tables"]) == ["a", "b"]
    published = f"select tablename::text from pg_publication_tables where pubname = '{spot.schema}' order by 1"
    assert spot.run(published) == [("a",), ("b",)]

    three = follow("b")
    two.source.close()
    three.position, three.stream = two.position, two.stream
    spot.run("insert into {}.a values (77, 0)")
    spot.run("insert into {}.b values (77, 0)")
    assert ops(three) == [("insert", 77, 0)]
    assert spot.run(published) == [("a",), ("b",)]
    three.source.acknowledge({CHANGES: three.position})
    three.source.close()
    assert spot.run(published) == [("b",)]
    four = follow("a", "b")
    three.source.close()
    four.position, four.stream = three.position, three.stream
    assert sorted(ops(four)) == [("read", n, 1 if n == 2 else 0) for n in (1, 2, 3, 4, 5, 77)]


def test_a_table_that_comes_while_the_others_are_read_the_first_time_is_read_as_well(follow: Any, spot: Place) -> None:
    for name in "abc":
        spot.run(f"create table {{}}.{name} (id int primary key)")
        spot.run(f"insert into {{}}.{name} values (1)")
    one = follow("a", "b")
    first = next(iter(one.source.splits(None)))
    since = json.loads(json.dumps(first.resume))
    one.source.close()
    two = follow("c", "b")  # one is new, and one that is read already is gone
    *rest, two.stream = list(two.source.splits(since))
    assert [split.data["stream"] for split in rest] == ["b"]
    ends = {}
    for split in rest:
        for batch in two.source.read(split, None, None):
            ends[split.id] = json.loads(json.dumps(batch.position))
    assert [batch.num_rows for batch in two.source.read(first, None, None)] == [0]
    two.position = {"splits": {**ends, first.id: None}}
    assert ops(two) == [("read", 1)]


def three_tables(spot: Place) -> None:
    for name in "abc":
        spot.run(f"create table {{}}.{name} (id int primary key)")
        spot.run(f"insert into {{}}.{name} values (1), (2)")


def read_parts(one: Followed, splits: list[Any]) -> dict[str, Any]:
    """Return the last positions of splits as the state keeps them."""
    ends = {}
    for split in splits:
        for batch in one.source.read(split, None, None):
            ends[split.id] = json.loads(json.dumps(batch.position))
    return ends


def test_a_table_that_was_left_out_while_the_parts_were_found_is_read_when_it_comes_back(
    follow: Any, spot: Place
) -> None:
    three_tables(spot)
    one = follow("a", "b", "c")
    first = next(iter(one.source.splits(None)))
    ends = read_parts(one, [first])
    one.source.close()
    two = follow("a", "c")
    last, _ = list(two.source.splits(json.loads(json.dumps(first.resume))))
    ends |= read_parts(two, [last])
    two.source.close()
    three = follow("a", "b", "c")
    (three.stream,) = list(three.source.splits(json.loads(json.dumps(last.resume))))
    three.position = {"splits": ends}
    assert ops(three) == [("read", 1), ("read", 2)]
    spot.run("insert into {}.b values (3)")
    assert ops(three) == [("insert", 3)]


def test_a_table_that_was_left_out_while_its_part_was_to_be_read_is_read_when_it_comes_back(
    follow: Any, spot: Place
) -> None:
    three_tables(spot)
    one = follow("a", "b", "c")
    *parts, stream = list(one.source.splits(None))
    ends = read_parts(one, parts[:1])
    one.source.close()
    two = follow("a", "c")
    ends |= read_parts(two, parts[1:])
    two.source.close()
    three = follow("a", "b", "c")
    three.stream, three.position = stream, {"splits": ends}
    assert ops(three) == [("read", 1), ("read", 2)]
    spot.run("delete from {}.b where id = 1")
    assert ops(three) == [("delete", 1)]


def test_a_table_that_was_left_out_by_a_run_that_was_killed_goes_on_as_if_nothing_had_been(
    follow: Any, spot: Place
) -> None:
    """What was not committed must not have been said to the server either: the state still follows the table."""
    three_tables(spot)
    one = begun(follow("a", "b"))
    one.source.close()
    two = follow("a")
    two.stream, two.position = one.stream, one.position
    spot.run("insert into {}.a values (3)")
    assert ops(two) == [("insert", 3)]
    two.source.close()
    spot.run("insert into {}.b values (3)")
    three = follow("a", "b")
    three.source.admit("b")
    three.stream, three.position = one.stream, one.position
    assert sorted(ops(three)) == [("insert", 3), ("insert", 3)]


def test_a_table_that_lost_the_publication_is_read_anew(follow: Any, spot: Place) -> None:
    three_tables(spot)
    one = begun(follow("a", "b"))
    spot.run(f"alter publication {spot.schema} drop table {{}}.b")
    spot.run("insert into {}.b values (3)")
    one.again()
    assert sorted(ops(one)) == [("read", 1), ("read", 2), ("read", 3)]
    spot.run("insert into {}.b values (4)")
    assert ops(one) == [("insert", 4)]


@pytest.mark.parametrize("held", ["for table {}.p", "for all tables", "for tables in schema {}"])
def test_a_table_that_is_held_in_another_way_is_not_read_again(follow: Any, spot: Place, held: str) -> None:
    spot.run("create table {}.p (id int primary key) partition by list (id)")
    spot.run("create table {}.a partition of {}.p for values in (1, 2)")
    spot.run("insert into {}.a values (1)")
    spot.run(f"create publication {spot.schema} {held}")
    one = begun(follow("a"))
    spot.run("insert into {}.p values (2)")
    one.again()
    assert ops(one) == [("insert", 2)]


def test_a_table_that_others_took_out_of_their_publication_is_told(follow: Any, spot: Place) -> None:
    three_tables(spot)
    spot.run(f"create publication {spot.schema} for table {{}}.a, {{}}.b")
    one = begun(follow("a", "b"))
    one.source.close()
    spot.run(f"alter publication {spot.schema} drop table {{}}.b")
    two = follow("a", "b", cdc={"create": False})
    two.stream, two.position = one.stream, one.position
    with pytest.raises(UnavailableError, match=rf"does not hold {spot.table('b')}"):
        ops(two)


def test_a_table_that_is_made_anew_is_told_and_read_by_the_next_run(follow: Any, spot: Place) -> None:
    three_tables(spot)
    one = begun(follow("a", "b"))

    def told() -> list[str]:
        return [e.message for e in one.events if getattr(e, "code", "") == "publication.lacks"]

    async def watched() -> None:
        reading = one.source.read(one.stream, one.position, None)
        for number in count(3):
            spot.run(f"insert into {{}}.a values ({number})")
            one.position = json.loads(json.dumps((await anext(reading)).position))
            if number == 3:
                spot.run("drop table {}.b")
                spot.run("create table {}.b (id int primary key)")
                spot.run("insert into {}.b values (7)")
            if told():
                break
        await reading.aclose()

    asyncio.run(asyncio.wait_for(watched(), 60))
    assert [f"does not hold {spot.table('b')} any more" in message for message in told()] == [True]
    one.again()
    assert ("read", 7) in ops(one)
    spot.run("insert into {}.b values (8)")
    assert ops(one) == [("insert", 8)]
