"""Where a stream of changes stands, and which changes a first reading has seen."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataflare.connectors.postgres.changes.place import Place, lsn_of
from dataflare.connectors.postgres.changes.snapshots import Reading, Seen, Snapshot
from dataflare.connectors.postgres.replication.messages import Decoded, Point, Settled

LEAST, GREATEST = -(1 << 63), (1 << 63) - 1


def snapshot(high: int, *running: int, lsn: int = 1000) -> Snapshot:
    return Snapshot(min(running, default=high), high, frozenset(running), lsn)


def stored(place: Place) -> Place:
    """Return a place as a resume finds it."""
    return Place.at(json.loads(json.dumps(place.position())), 0)


def decoded(stream: str, last: Point, settled: Settled | None = None) -> Decoded:
    return Decoded(stream, pa.table({}), last, last, settled)


@pytest.mark.parametrize(
    ("transaction", "seen"), [(5, True), (9, True), (10, False), (11, True), (12, False), (13, True), (14, False)]
)
def test_a_snapshot_saw_what_was_committed_and_not_what_ran_or_came_later(transaction: int, seen: bool) -> None:
    assert snapshot(14, 10, 12).saw(transaction) is seen


def test_the_numbers_of_transactions_in_the_log_begin_anew_after_four_thousand_million() -> None:
    wrapped = snapshot((3 << 32) + 5)
    assert wrapped.saw(4)
    assert wrapped.saw(0xFFFFFFF0)  # some before the number began anew
    assert not wrapped.saw(6)
    before = snapshot((3 << 32) - 5)
    assert not before.saw(3)  # some behind it
    assert before.saw(0xFFFFFFFA)


def test_a_snapshot_is_the_same_after_a_resume() -> None:
    one = snapshot(14, 10, 12)
    assert Snapshot.from_json(json.loads(json.dumps(one.to_json()))) == one


def never(*_: Any) -> Any:
    raise AssertionError("the server is asked for what is known")


def test_ranges_of_numbers_each_have_their_snapshots() -> None:
    first = Reading("a", [LEAST, 100], parts=[(None, snapshot(10)), ([50], snapshot(20))])
    second = Reading("a", [101, GREATEST], parts=[(None, snapshot(30)), ([GREATEST], snapshot(90))])
    seen = Seen.from_json(json.loads(json.dumps(Seen([second, first]).to_json())))
    keys = pa.array([LEAST, 50, 51, 100, 101, 5000], pa.int64())
    for transaction, expected in ((9, [1, 1, 1, 1, 1, 1]), (15, [0, 0, 1, 1, 1, 1]), (25, [0, 0, 0, 0, 1, 1])):
        flags = seen.flags(np.full(6, transaction), [keys], never)
        assert flags.tolist() == [bool(e) for e in expected]
    assert seen.by_all(9)
    assert not seen.by_all(15)
    assert seen.until == 1000


def test_a_table_in_one_part_is_not_asked_about_until_it_has_several_snapshots() -> None:
    keys, transactions = [pa.array(["a", "b"])], np.array([15, 15])
    assert (
        Seen([Reading("a", None, parts=[(None, snapshot(20))])]).flags(transactions, keys, never).tolist() == [True] * 2
    )
    several = Seen([Reading("a", None, parts=[(None, snapshot(10)), (["a"], snapshot(20))])])

    def ranks(columns: Any, parts: Any) -> Any:
        assert parts == [["a"]]
        return np.array([0, 1]) if columns == keys else never()

    assert several.flags(transactions, keys, ranks).tolist() == [False, True]
    assert several.flags(np.array([25, 25]), keys, never).tolist() == [False, False]


def test_a_place_tells_the_transaction_that_is_open_and_what_streams_are_ahead() -> None:
    place = Place(100)
    place.passed(decoded("a", Point(150, 3)))
    assert stored(place).ahead == {"a": Point(150, 3)}
    assert stored(place).after == Point()
    place.passed(decoded("b", Point(150, 5), Settled(Point(150, 5), 0, is_open=True)))
    assert place.position() == {"lsn": "0/64", "tx": "0/96", "rows": 5}
    assert stored(place).after == Point(150, 5)
    place.read_up_to(500)
    assert place.lsn == 100, "a transaction is open"
    place.settled(Settled(Point(150, 9), 160, is_open=False))
    assert place.position() == {"lsn": "0/A0"}
    place.read_up_to(500)
    assert lsn_of(place.position()) == 500


def test_a_resume_in_the_midst_of_a_transaction_stands_where_it_stood_until_it_gets_beyond() -> None:
    place = Place.at({"lsn": "0/64", "tx": "0/96", "rows": 5, "ahead": {"a": ["0/96", 8]}}, 0)
    place.settled(Settled(Point(150, 2), 0, is_open=True))
    assert place.after == Point(150, 5)
    assert place.ahead == {"a": Point(150, 8)}
    place.settled(Settled(Point(150, 9), 0, is_open=True))
    assert (place.after, place.ahead) == (Point(150, 9), {})


def test_what_the_server_says_before_it_tells_an_open_transaction_again_does_not_forget_how_far_that_was_passed() -> (
    None
):
    place = Place.at({"lsn": "0/64", "tx": "0/96", "rows": 5}, 0)
    place.read_up_to(120)
    assert place.position() == {"lsn": "0/78", "tx": "0/96", "rows": 5}
    place.settled(Settled(Point(130, 2), 140, is_open=False))  # one that was not published before
    assert place.position() == {"lsn": "0/8C", "tx": "0/96", "rows": 5}
    place.read_up_to(200)
    assert place.position() == {"lsn": "0/C8"}


def test_what_was_seen_is_forgotten_behind_it() -> None:
    readings = {"table a": Reading("a", None, parts=[(None, snapshot(10, lsn=1000))]).position()}
    place = Place.at({"splits": json.loads(json.dumps(readings))}, 900)
    assert place.lsn == 900
    assert list(stored(place).seen) == ["a"]
    place.read_up_to(1000)
    assert place.position() == {"lsn": "0/3E8"}
    assert lsn_of({"splits": readings}) == 0
