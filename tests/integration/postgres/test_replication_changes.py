"""What happens to tables of a real PostgreSQL, as its log tells it."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place
from tests.replication import Stream, stream

from dataflare.connectors.postgres.replication.messages import (
    Decoded,
    Described,
    Message,
    OriginNamed,
    Point,
    Settled,
    Truncated,
)
from dataflare.errors import DataError, WorkflowError
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.postgres.replication.messages import Event, Relation, TablePlan

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def log(spot: Place) -> Iterator[Stream]:
    with stream(spot) as found:
        yield found


def change(op: str, **values: Any) -> dict[str, Any]:
    return {**values, "_op": op}


def test_changes_come_with_their_values_and_deletes_with_their_key(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key, a text, b int)")
    spot.run("insert into {}.t values (1, 'x', 1), (2, null, 2)")
    spot.run("update {}.t set a = 'y' where id = 1")
    spot.run("delete from {}.t where id = 2")
    assert log.rows() == [
        change("insert", id=1, a="x", b=1),
        change("insert", id=2, a=None, b=2),
        change("update", id=1, a="y", b=1),
        change("delete", id=2, a=None, b=None),
    ]


def test_a_change_of_the_key_is_a_delete_and_an_insert(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (a int, b text, c int, primary key (a, b))")
    spot.run("insert into {}.t values (1, 'x', 1)")
    spot.run("update {}.t set b = 'y', c = 2")
    spot.run("update {}.t set c = 3")
    assert log.rows()[1:] == [
        change("delete", a=1, b="x", c=None),
        change("insert", a=1, b="y", c=2),
        change("update", a=1, b="y", c=3),
    ]


@pytest.mark.parametrize("identity", ["default", "full", "index"])
def test_a_large_value_that_did_not_change_is_told_or_named(spot: Place, log: Stream, identity: str) -> None:
    spot.run("create table {}.t (id int primary key, big text, small int not null)")
    spot.run("alter table {}.t alter big set storage external")
    spot.run("create unique index by_id on {}.t (id)")
    told = {"index": "using index by_id"}.get(identity, identity)
    spot.run(f"alter table {{}}.t replica identity {told}")
    big = "x" * 5000
    spot.run(f"insert into {{}}.t values (1, '{big}', 1)")
    spot.run("update {}.t set small = 2")
    spot.run("update {}.t set big = null")
    log.start(lambda relation: log.plan(relation, unchanged=True))
    whole = identity == "full"
    assert log.rows() == [
        change("insert", id=1, big=big, small=1, _unchanged=None),
        change("update", id=1, big=big if whole else None, small=2, _unchanged=None if whole else ["big"]),
        change("update", id=1, big=None, small=2, _unchanged=None),
    ]


def test_an_unchanged_value_never_becomes_null_where_nothing_could_say_so(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key, big text, small int)")
    spot.run("alter table {}.t alter big set storage external")
    spot.run("insert into {}.t values (1, repeat('x', 5000), 1)")
    spot.run("update {}.t set small = 2")
    with pytest.raises(DataError, match=r"t: unchanged values of big were not sent") as caught:
        log.rows()
    assert "replica identity full" in caught.value.hint


def test_a_large_key_is_known_although_it_is_not_sent_again(spot: Place, log: Stream) -> None:
    key = "".join(chr(65 + (n * n + n // 7) % 26) for n in range(2400))
    spot.run("create table {}.t (k text primary key, a int)")
    spot.run("alter table {}.t alter k set storage external")
    spot.run(f"insert into {{}}.t values ('{key}', 1)")
    spot.run("update {}.t set a = 2")
    assert log.rows() == [change("insert", k=key, a=1), change("update", k=key, a=2)]


def test_former_rows_are_told_where_they_are_wanted_and_sent(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key, a text)")
    spot.run("alter table {}.t replica identity full")
    spot.run("insert into {}.t values (1, 'x')")
    spot.run("update {}.t set a = 'y'")
    spot.run("update {}.t set id = 2")
    spot.run("delete from {}.t")
    log.start(lambda relation: log.plan(relation, before=True))
    assert log.rows() == [
        change("insert", id=1, a="x", _before=None),
        change("update", id=1, a="y", _before={"id": 1, "a": "x"}),
        change("delete", id=1, a="y", _before={"id": 1, "a": "y"}),
        change("insert", id=2, a="y", _before=None),
        change("delete", id=2, a="y", _before={"id": 2, "a": "y"}),
    ]


def test_a_replica_identity_without_the_key_is_refused_once_it_matters(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key, other int not null unique)")
    spot.run("alter table {}.t replica identity using index t_other_key")
    spot.run("insert into {}.t values (1, 1)")
    assert log.rows() == [change("insert", id=1, other=1)]
    spot.run("update {}.t set id = 2")
    with pytest.raises(DataError, match="without their key id") as caught:
        log.rows()
    assert "replica identity full" in caught.value.hint


def kinds(events: list[Event]) -> list[str]:
    return [type(e).__name__ for e in events]


def test_truncations_and_messages_stand_between_the_changes(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("create table {}.u (id int primary key references {}.t)")
    spot.run("insert into {}.t values (1)")
    spot.run("truncate {}.t restart identity cascade")
    spot.run("insert into {}.t values (2)")
    spot.run("select pg_logical_emit_message(false, 'beat', 'one')::text")
    log.script("begin; select pg_logical_emit_message(true, 'signal', 'two'); insert into {}.t values (3); commit")
    events = [e for e in log.events() if not isinstance(e, Described | Settled)]
    assert kinds(events) == ["Decoded", "Truncated", "Decoded", "Message", "Message", "Decoded"]
    truncated, beat, signal = events[1], events[3], events[4]
    assert isinstance(truncated, Truncated)
    assert (truncated.streams, truncated.cascade, truncated.restart) == (("t", "u"), True, True)
    assert truncated.point.number == 1
    assert isinstance(beat, Message)
    assert (beat.transactional, beat.prefix, beat.content) == (False, "beat", b"one")
    assert isinstance(signal, Message)
    assert (signal.transactional, signal.prefix, signal.content) == (True, "signal", b"two")


def test_a_table_that_changes_is_described_where_it_changes(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key, a text)")
    spot.run("insert into {}.t values (1, 'x')")
    spot.run("alter table {}.t add column b int default 7")
    spot.run("update {}.t set a = 'y'")
    spot.run("alter table {}.t rename a to c")
    spot.run("alter table {}.t alter b type text")
    spot.run("insert into {}.t values (2, 'z', 'w')")

    def plan(relation: Relation) -> TablePlan:
        names = {25: "string", 23: "int32"}
        schema = Schema.of({c.name: names[c.type] for c in relation.columns})
        return replace(log.plan(relation, types={}), schema=schema)

    log.start(plan)
    found = [e for e in log.events() if isinstance(e, Described | Decoded)]
    assert kinds(found) == ["Described", "Decoded"] * 3
    rows = [r for e in found if isinstance(e, Decoded) for r in e.rows.drop(["_tx", "_commit_ts"]).to_pylist()]
    assert rows == [
        change("insert", id=1, a="x"),
        change("update", id=1, a="y", b=7),
        change("insert", id=2, c="z", b="w"),
    ]
    described = found[2]
    assert isinstance(described, Described)
    assert described.former is not None
    assert [c.name for c in described.former.columns] == ["id", "a"]
    assert [c.name for c in described.relation.columns] == ["id", "a", "b"]


def test_a_column_that_the_log_lacks_is_refused_or_null_as_the_plan_says(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("insert into {}.t values (1)")
    spot.run("alter table {}.t add column a int")
    with pytest.raises(WorkflowError, match=r"t has no column a at this place of the log"):
        log.rows()
    log.again()
    log.start(lambda relation: log.plan(relation, absent=frozenset({"a"})))
    assert log.rows() == [change("insert", id=1, a=None)]


def test_what_is_undone_does_not_come(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    log.script("begin; insert into {}.t values (1); rollback")
    log.script(
        "begin; insert into {}.t values (2); savepoint a; insert into {}.t values (3); rollback to a; "
        "insert into {}.t values (4); commit"
    )
    assert log.rows() == [change("insert", id=2), change("insert", id=4)]


def test_changes_have_points_that_grow_and_a_resume_at_any_of_them_repeats_none(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("create table {}.u (id int primary key)")
    for n in range(0, 30, 10):
        log.script(
            f"begin; insert into {{}}.t select generate_series({n}, {n} + 4); insert into {{}}.u values ({n}); "
            f"insert into {{}}.t select generate_series({n} + 5, {n} + 9); commit"
        )
    log.start(lambda relation: log.plan(relation) if relation.name == "t" else None, rows_max=7)
    found = log.decoded()
    assert [i for d in found for i in d.rows.column("id").to_pylist()] == list(range(30))
    assert all(a.last < b.first for a, b in itertools.pairwise(found))
    assert found[0].first.number == 1
    assert max(d.last.number for d in found) == 11, "changes that nobody wants count as well"
    texts = [t for d in found for t in d.rows.column("_tx").to_pylist()]
    assert texts == sorted(texts)
    assert texts[0] == f"{found[0].first.commit_lsn:016x}"
    for n, batch in enumerate(found):
        log.again()
        log.start(lambda relation: log.plan(relation) if relation.name == "t" else None, after=batch.last)
        rest = [i for d in log.decoded() for i in d.rows.column("id").to_pylist()]
        assert rest == [i for d in found[n + 1 :] for i in d.rows.column("id").to_pylist()]


def test_a_stream_may_be_ahead_of_the_others(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("create table {}.u (id int primary key)")
    log.script("insert into {}.t values (-1); insert into {}.u values (-1)")
    assert [d.stream for d in log.decoded()] == ["t", "u"]
    for low in range(1, 40, 2):  # the server describes a table again when others change theirs: that stands between
        values = f"values ({low}), ({low + 1})"
        log.script(f"begin; insert into {{}}.t {values}; insert into {{}}.u {values}; commit")
        first, second = log.decoded()
        if first.settled is None:
            break
    assert (first.stream, first.settled) == ("t", None)
    assert second.settled is not None
    assert second.ends
    log.again()
    log.start(ahead={"t": first.last, "u": Point(first.last.commit_lsn, 3)})
    assert [(d.stream, d.rows.column("id").to_pylist()) for d in log.decoded()] == [("u", [low + 1])]


def test_a_transaction_without_rows_for_us_can_be_acknowledged(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("insert into {}.t values (1)")
    log.start(lambda _: None)
    settled = [e for e in log.events() if isinstance(e, Settled)]
    assert settled[-1].end_lsn > log.slot.lsn
    log.connection.acknowledge(settled[-1].end_lsn)
    log.again()
    assert log.decoded() == []


def test_a_transaction_from_elsewhere_says_so(spot: Place, log: Stream) -> None:
    spot.run("create table {}.t (id int primary key)")
    name = f"{spot.schema}_origin"
    spot.run(f"select pg_replication_origin_create('{name}')::int8")
    spot.run(f"select pg_replication_origin_session_setup('{name}')::text")
    spot.run("insert into {}.t values (1)")
    spot.run("select pg_replication_origin_session_reset()::text")
    events = [e for e in log.events() if isinstance(e, OriginNamed)]
    spot.run(f"select pg_replication_origin_drop('{name}')::text")
    assert [e.name for e in events] == [name]
