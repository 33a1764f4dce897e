"""What a server writes is what the decoder yields, however it is cut, wherever it goes on; damage is told."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import pgoutput

from dataflare.changes import changing
from dataflare.connectors.postgres.replication.decoder import Decoder
from dataflare.connectors.postgres.replication.frames import Frames
from dataflare.connectors.postgres.replication.messages import (
    Decoded,
    Described,
    Message,
    Point,
    Settled,
    TablePlan,
    Truncated,
)
from dataflare.errors import DataError, WorkflowError
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.postgres.replication.messages import Event, Relation

STEADY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""As on a machine that is slow and busy."""
COLUMNS = [("id", 20, True), ("a", 25, False), ("b", 1700, False)]
SCHEMA = Schema.of({"id": "int64", "a": "string", "b": "decimal(12,2)"})
TIME = 1_800_000_000_123_456
WHEN = dt.datetime(2027, 1, 15, 8, 0, 0, 123_456, tzinfo=dt.UTC)
Changes = dict[str, list[dict[str, Any]]]


def plan(relation: Relation, **changes: Any) -> TablePlan | None:
    """Plan the tables t and u; leave the others out."""
    if relation.name not in ("t", "u"):
        return None
    return TablePlan(relation.name, ("id",), SCHEMA, unchanged=True, **changes)


def decoded(messages: list[bytes], cuts: tuple[int, ...] = (), **options: Any) -> list[Event]:
    decoder = Decoder(options.pop("plan", plan), **options)
    bounds = [0, *sorted(cuts), len(messages)]
    parts = [[b"head" + m for m in messages[a:b]] for a, b in pairwise(bounds)]
    try:
        return [e for p in parts for e in decoder.feed(Frames.of(p, head=4))]
    finally:
        decoder.close()


def by_stream(events: list[Event]) -> Changes:
    found: Changes = {}
    for event in events:
        if isinstance(event, Decoded):
            found.setdefault(event.stream, []).extend(event.rows.to_pylist())
    return found


@dataclass
class Log:
    """A log in the making: its messages, those of the same changes streamed, and the rows that they mean."""

    identities: dict[int, str]
    plain: list[bytes] = field(default_factory=list)
    streamed: list[bytes] = field(default_factory=list)
    wanted: Changes = field(default_factory=dict)
    described: set[int] = field(default_factory=set)
    rows: dict[int, dict[int, list[Any]]] = field(default_factory=dict)
    lsn: int = 1000

    def shown(self, oid: int) -> list[tuple[str, int, bool]]:
        return [(n, k, key or self.identities[oid] == "f") for n, k, key in COLUMNS]

    def expect(self, oid: int, op: str, values: list[Any], unchanged: list[str] | None = None) -> None:
        a, b = (None if v is pgoutput.SAME else v for v in values[1:])
        row = {"id": values[0], "a": a, "b": None if b is None else Decimal(b)}
        extra = {"_op": op, "_commit_ts": WHEN, "_tx": f"{self.lsn:016x}", "_unchanged": unchanged}
        if oid != 3:
            self.wanted.setdefault({1: "t", 2: "u"}[oid], []).append({**row, **extra})


def changed(log: Log, oid: int, draw: Any) -> tuple[str, list[Any], list[Any] | None, bytes]:
    """Draw a change of a table and apply it; return its kind, the new and the former row, and the mark of that."""
    table, full = log.rows.setdefault(oid, {}), log.identities[oid] == "f"
    mark = b"O" if full else b"K"
    texts, numbers = st.one_of(st.none(), st.text(max_size=9)), st.sampled_from([None, "1.50", "-0.07", "0.00"])
    kind = draw(st.sampled_from(["insert", "update", "move", "delete"])) if table else "insert"
    if kind == "insert":
        key = draw(st.integers(0, 50).filter(lambda k: k not in table))
        table[key] = [key, draw(texts), draw(numbers)]
        log.expect(oid, "insert", table[key])
        return kind, table[key], None, mark
    key = draw(st.sampled_from(sorted(table)))
    old = table.pop(key)
    former = old if full else [key, None, None]
    if kind == "delete":
        log.expect(oid, "delete", former)
        return kind, [], former, mark
    same = old[1] is not None and draw(st.booleans())
    goal = key if kind == "update" else draw(st.integers(0, 50).filter(lambda k: k not in table and k != key))
    new = [goal, old[1] if same else draw(texts), draw(numbers)]
    table[goal] = new
    sent = [goal, pgoutput.SAME, new[2]] if same else new
    values, unchanged = (sent, ["a"]) if same and not full else (new, None)
    if kind == "move":
        log.expect(oid, "delete", former)
        log.expect(oid, "insert", values, unchanged)
        return kind, sent, former, mark
    log.expect(oid, "update", values, unchanged)
    return kind, sent, former if full else None, mark


def written(kind: str, oid: int, new: list[Any], old: list[Any] | None, mark: bytes, inner: int | None) -> bytes:
    if kind == "insert":
        return pgoutput.insert(oid, new, inner)
    if kind == "delete":
        return pgoutput.delete(oid, old or [], mark, inner)
    return pgoutput.update(oid, new, old, mark, inner)


@st.composite
def logs(draw: Any) -> Log:
    """Draw a log of some transactions on three tables, of which the third is not planned."""
    log = Log({oid: draw(st.sampled_from("df")) for oid in (1, 2, 3)})
    for number in range(draw(st.integers(1, 5))):
        top = 100 * (number + 1)
        log.plain.append(pgoutput.begin(log.lsn, TIME))
        log.streamed.append(pgoutput.stream_start(top))
        for at in range(draw(st.integers(0, 6))):
            oid = draw(st.integers(1, 3))
            if oid not in log.described:
                log.described.add(oid)
                facts = (oid, {1: "t", 2: "u", 3: "v"}[oid], log.shown(oid), log.identities[oid])
                log.plain.append(pgoutput.relation(*facts))
                log.streamed.append(pgoutput.relation(*facts, top))
            facts_of_change = changed(log, oid, draw)
            log.plain.append(written(facts_of_change[0], oid, *facts_of_change[1:], None))
            log.streamed.append(written(facts_of_change[0], oid, *facts_of_change[1:], top))
            if draw(st.booleans()):  # what a subtransaction does that is undone
                log.streamed += [pgoutput.insert(oid, [99, "undone", None], top + at + 1), pgoutput.stream_stop()]
                log.streamed += [pgoutput.stream_abort(top, top + at + 1), pgoutput.stream_start(top)]
        end = log.lsn + 50
        log.plain.append(pgoutput.commit(log.lsn, end, TIME))
        log.streamed += [pgoutput.stream_stop(), pgoutput.stream_commit(top, log.lsn, end, TIME)]
        log.lsn += 100
    return log


def cuts(draw: Any, messages: list[bytes]) -> tuple[int, ...]:
    return tuple(draw(st.lists(st.integers(0, len(messages)), max_size=4)))


@STEADY
@given(log=logs(), data=st.data(), rows_max=st.integers(1, 20), streamed=st.booleans())
def test_a_log_is_decoded_as_it_was_written(log: Log, data: Any, rows_max: int, *, streamed: bool) -> None:
    messages = log.streamed if streamed else log.plain
    events = decoded(messages, cuts(data.draw, messages), rows_max=rows_max)
    assert by_stream(events) == log.wanted
    for event in events:
        if isinstance(event, Decoded):
            schema = changing(SCHEMA, ("id",), unchanged=True).to_arrow()
            assert event.rows.schema.equals(schema)
            event.rows.validate(full=True)
            assert event.first <= event.last
    settled = [s for s in told(events) if s is not None]
    assert all(s.is_open == (s.end_lsn < s.point.commit_lsn) for s in settled)
    assert settled[-1].end_lsn == log.lsn - 50
    assert not settled[-1].is_open
    assert [s.point for s in settled] == sorted(s.point for s in settled)
    assert [s.end_lsn for s in settled] == sorted(s.end_lsn for s in settled)


def told(events: list[Event]) -> Iterator[Settled | None]:
    for event in events:
        if isinstance(event, Settled):
            yield event
        elif isinstance(event, Decoded):
            yield event.settled


@STEADY
@given(log=logs(), data=st.data(), rows_max=st.integers(1, 20))
def test_a_decoder_goes_on_behind_any_batch_without_loss_or_repetition(log: Log, data: Any, rows_max: int) -> None:
    events = decoded(log.plain, cuts(data.draw, log.plain), rows_max=rows_max)
    stop = data.draw(st.integers(0, len(events)))
    before, after, ahead = events[:stop], Point(), dict[str, Point]()
    for event in before:
        if isinstance(event, Decoded):
            ahead[event.stream] = event.last
    for settled in told(before):
        after = after if settled is None else settled.point
    rest = decoded(log.plain, cuts(data.draw, log.plain), after=after, ahead=ahead)
    first, second = by_stream(before), by_stream(rest)
    streams = {*first, *second}
    assert {s: first.get(s, []) + second.get(s, []) for s in streams} == log.wanted


@STEADY
@given(log=logs(), data=st.data(), streamed=st.booleans())
def test_damage_is_told_and_nothing_else_breaks(log: Log, data: Any, *, streamed: bool) -> None:
    messages = list(log.streamed if streamed else log.plain)
    at = data.draw(st.integers(0, len(messages) - 1))
    damaged = bytearray(messages[at])
    place = data.draw(st.integers(0, len(damaged) - 1))
    if data.draw(st.booleans()):
        del damaged[max(1, place) :]
    else:
        damaged[place] = data.draw(st.integers(0, 255))
    messages[at] = bytes(damaged)
    with suppress(DataError, WorkflowError):
        decoded(messages, cuts(data.draw, messages))


DESCRIBED = pgoutput.relation(1, "t", COLUMNS)
ROW = pgoutput.insert(1, [1, "x", "1.00"])


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ([b"?"], "a message of kind '\\?'"),
        ([ROW], "outside of a transaction"),
        ([pgoutput.begin(1), ROW], "a table that was not described"),
        ([pgoutput.begin(1), pgoutput.begin(2)], "outside of a transaction"),
        ([pgoutput.commit(1, 2)], "outside of a transaction"),
        ([pgoutput.begin(1)[:-1]], "begins or ends in an unknown way"),
        ([pgoutput.begin(1), DESCRIBED, ROW[:-1]], "another length than its message"),
        ([pgoutput.begin(1), DESCRIBED, ROW[:12]], "told in an unknown way|another length"),
        ([pgoutput.begin(1), DESCRIBED, ROW.replace(b"\0\3", b"\0\4", 1)], "not the columns of its table"),
        ([pgoutput.begin(1), DESCRIBED, ROW.replace(b"t", b"b", 1)], "told in an unknown way"),
        ([pgoutput.begin(1), DESCRIBED, ROW[:9] + b"\xff" * 9], "longer than its message|columns"),
        ([pgoutput.begin(1), DESCRIBED[:-1]], "a message ends too early"),
        ([pgoutput.begin(1), pgoutput.truncate([9])], "a table is truncated that was not described"),
        ([pgoutput.stream_stop()], "a streamed part ends that did not begin"),
        ([pgoutput.stream_start(1), pgoutput.stream_start(1)], "begins within another"),
        ([pgoutput.stream_commit(1, 2, 3)], "committed that was not streamed"),
    ],
)
def test_what_no_server_writes_is_refused(messages: list[bytes], told: str) -> None:
    with pytest.raises(DataError, match=rf"the replication stream is malformed: .*({told})"):
        decoded(messages)


def test_tables_of_one_stream_come_in_the_order_of_the_log() -> None:
    def parts(relation: Relation) -> TablePlan:
        return TablePlan("all", ("id",), SCHEMA)

    rows = [pgoutput.insert(1 + n % 2, [n, None, None]) for n in range(5)]
    other = pgoutput.relation(2, "u", COLUMNS)
    (found,) = [
        e
        for e in decoded([pgoutput.begin(5), DESCRIBED, other, *rows, pgoutput.commit(5, 6)], plan=parts)
        if isinstance(e, Decoded)
    ]
    assert found.rows.column("id").to_pylist() == [0, 1, 2, 3, 4]
    assert (found.first, found.last) == (Point(5, 1), Point(5, 5))
    assert found.ends


def test_changes_that_are_behind_are_left_out_with_truncations() -> None:
    messages = [
        pgoutput.begin(5),
        DESCRIBED,
        pgoutput.insert(1, [1, None, None]),
        pgoutput.truncate([1], 2),
        pgoutput.insert(1, [2, None, None]),
        pgoutput.commit(5, 6),
    ]

    def kinds(after: Point) -> list[str]:
        return [type(e).__name__ for e in decoded(messages, after=after) if not isinstance(e, Settled)]

    assert kinds(Point()) == ["Described", "Decoded", "Truncated", "Decoded"]
    assert kinds(Point(5, 1)) == ["Described", "Truncated", "Decoded"]
    assert kinds(Point(5, 2)) == ["Described", "Decoded"]
    assert kinds(Point(5, 3)) == ["Described"]


def test_messages_truncations_and_descriptions_are_read() -> None:
    messages = [
        pgoutput.message("beat", b"\0\1", 77),
        pgoutput.begin(5, TIME),
        DESCRIBED,
        DESCRIBED,
        pgoutput.truncate([1], 3),
        pgoutput.commit(5, 6, TIME),
    ]
    found = [e for e in decoded(messages) if not isinstance(e, Settled)]
    assert [type(e) for e in found] == [Message, Described, Truncated], "a description that says nothing new is none"
    assert found[0] == Message(False, 77, "beat", b"\0\1", Point(77), None)
    assert isinstance(found[2], Truncated)
    assert (found[2].streams, found[2].cascade, found[2].restart) == (("t",), True, True)
    assert (found[2].point, found[2].commit_time) == (Point(5, 1), TIME)


def test_a_streamed_transaction_that_is_undone_leaves_nothing() -> None:
    messages = [
        pgoutput.stream_start(9),
        pgoutput.relation(1, "t", COLUMNS, transaction=9),
        pgoutput.insert(1, [1, None, None], 9),
        pgoutput.stream_stop(),
        pgoutput.stream_abort(9, 9),
    ]
    assert decoded(messages) == []
    with pytest.raises(DataError, match="committed that was not streamed"):
        decoded([*messages, pgoutput.stream_commit(9, 1, 2)])


def test_a_table_described_by_what_is_undone_stays_described() -> None:
    messages = [
        pgoutput.stream_start(9),
        pgoutput.relation(1, "t", COLUMNS, transaction=10),
        pgoutput.insert(1, [1, "undone", None], 10),
        pgoutput.stream_stop(),
        pgoutput.stream_abort(9, 10),
        pgoutput.stream_start(9),
        pgoutput.insert(1, [2, "x", None], 9),
        pgoutput.stream_stop(),
        pgoutput.stream_commit(9, 1, 2),
    ]
    assert [r["id"] for r in by_stream(decoded(messages))["t"]] == [2]


def test_a_value_that_was_not_sent_is_not_taken_from_the_row_before_it() -> None:
    messages = [
        pgoutput.begin(5),
        DESCRIBED,
        pgoutput.delete(1, [1, None, None]),
        pgoutput.update(1, [2, pgoutput.SAME, "1.00"]),
        pgoutput.update(1, [4, pgoutput.SAME, "1.00"], [3, None, None]),
        pgoutput.commit(5, 6),
    ]
    rows = by_stream(decoded(messages))["t"]
    told = [(r["_op"], r["id"], r["_unchanged"]) for r in rows]
    assert told == [("delete", 1, None), ("update", 2, ["a"]), ("delete", 3, None), ("insert", 4, ["a"])]


def test_a_key_that_is_null_is_refused() -> None:
    with pytest.raises(DataError, match=r"s\.t: a row has no id"):
        decoded([pgoutput.begin(5), DESCRIBED, pgoutput.insert(1, [None, "x", None])])
    whole = pgoutput.relation(1, "t", [(n, k, True) for n, k, _ in COLUMNS], "f")
    update = pgoutput.update(1, [1, "x", None], [1, None, None], b"O")
    with pytest.raises(DataError, match=r"s\.t: a row has no a"):
        decoded([pgoutput.begin(5), whole, update], plan=lambda _: TablePlan("t", ("id", "a"), SCHEMA))
