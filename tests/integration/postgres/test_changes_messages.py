"""What others write into the log comes as rows, each once; and what becomes of a log that is beyond the budget."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.changes import Followed, followers, wait_for
from tests.postgres import Place, place

from dataflare.connectors.postgres.changes.logical import HELD_MAX
from dataflare.connectors.postgres.changes.place import MESSAGES
from dataflare.connectors.postgres.replication.refusals import SlotLostError
from dataflare.errors import StateError, WorkflowError
from dataflare.plan_words import EdgeKind

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
            assert one.stream is not None
            return one

        yield begun


def told(one: Followed, most: int = 1 << 30) -> list[tuple[str, str]]:
    """Return messages and changes as (prefix or stream, content or id)."""
    rows = [(batch.stream, row) for batch in one.batches(most) for row in batch.rows.to_pylist()]
    return [(r["prefix"], r["content"].decode()) if s == MESSAGES else (s, str(r["id"])) for s, r in rows]


def test_messages_come_with_their_transaction_or_where_they_stand(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"messages": ["outbox", "audit.*"]})
    assert one.source.streams()[MESSAGES].kind is EdgeKind.APPEND

    spot.run(
        "do $$ begin perform pg_logical_emit_message(true, 'outbox', 'first'); insert into {}.a values (1);"
        "perform pg_logical_emit_message(true, 'audit.login', '\\x00ff'::bytea); end $$"
    )
    spot.run("select pg_logical_emit_message(true, 'other', 'nobody asked')")
    spot.run("select pg_logical_emit_message(false, 'outbox', 'alone')")
    spot.run("select pg_logical_emit_message(true, 'outbox', ''), pg_logical_emit_message(true, 'outboxes', 'x')")
    rows = [row for b in one.batches() if b.stream == MESSAGES for row in b.rows.to_pylist()]
    assert [(r["prefix"], r["content"], r["transactional"], r["committed_at"] is not None) for r in rows] == [
        ("outbox", b"first", True, True),
        ("audit.login", b"\x00\xff", True, True),
        ("outbox", b"alone", False, False),
        ("outbox", b"", True, True),
    ]
    assert len({r["lsn"] for r in rows}) == 4
    assert one.batches() == []


def test_what_is_rolled_back_says_nothing_unless_it_belongs_to_no_transaction(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"messages": ["*"]})
    spot.run(
        "do $$ begin begin perform pg_logical_emit_message(true, 'm', 'undone'); "
        "perform pg_logical_emit_message(false, 'm', 'stays'); insert into {}.a values (1); "
        "raise 'no'; exception when others then null; end; "
        "perform pg_logical_emit_message(true, 'm', 'done'); end $$"
    )
    assert told(one) == [("m", "stays"), ("m", "done")]


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_each_comes_once_wherever_a_resume_begins(follow: Any, spot: Place, seed: int, streaming: bool) -> None:
    rng = random.Random(seed)
    spot.run("create table {}.a (id int primary key, v text)")
    options = "&options=-c%20logical_decoding_work_mem%3D64kB"
    url = spot.url + ("?" + options[1:] if "?" not in spot.url else options)
    one = follow("a", url=url, cdc={"messages": ["m"], "streaming": streaming})
    expected: list[tuple[str, str]] = []
    for number in range(12):
        steps = []
        for n in range(rng.choice([1, 2, 5])):
            key = f"{number}.{n}"
            if rng.random() < 0.6:
                steps.append(f"perform pg_logical_emit_message(true, 'm', '{key}');")
                expected.append(("m", key))
            else:
                size = rng.choice([1, 400])
                first = (number * 100 + n) * 1000
                last = first + size - 1
                steps.append(f"insert into {{}}.a select i, repeat('x', 300) from generate_series({first}, {last}) i;")
                expected += [("a", str(i)) for i in range(first, last + 1)]
        spot.run(f"do $$ begin {' '.join(steps)} end $$")
    found: list[tuple[str, str]] = []
    while more := told(one, 1):
        found += more
        one.again()
    for name in ("m", "a"):
        assert [f for f in found if f[0] == name] == [e for e in expected if e[0] == name]


def test_one_of_no_transaction_takes_none_of_the_transaction_around_it_with_it(follow: Any, spot: Place) -> None:
    """Where it is the last of it, it ends where the commit begins: their places in the log are the same."""
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"messages": ["m"]})
    for number in range(3):
        spot.run(
            f"do $$ begin insert into {{}}.a values ({number}); perform pg_logical_emit_message(true, 'm', "
            f"'within {number}'); perform pg_logical_emit_message(false, 'm', 'alone {number}'); end $$"
        )
    found = told(one)
    assert [f for f in found if f[0] == "a"] == [("a", "0"), ("a", "1"), ("a", "2")]
    assert [f[1] for f in found if f[0] == "m"] == [f"{kind} {n}" for n in range(3) for kind in ("alone", "within")]


@pytest.mark.parametrize("streaming", [True, False])
def test_one_of_no_transaction_comes_once_where_a_resume_begins_within_the_one_around_it(
    follow: Any, spot: Place, streaming: bool
) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"messages": ["m"], "streaming": streaming})
    expected = []
    for number in range(3):
        steps = [
            f"perform pg_logical_emit_message({word}, 'm', '{number} {word} {n}'); "
            f"insert into {{}}.a values ({number}{n});"
            for n, word in enumerate(("false", "true", "false", "true"))
        ]
        spot.run(f"do $$ begin {' '.join(steps)} end $$")
        expected += [f"{number} {word} {n}" for word, n in (("false", 0), ("false", 2), ("true", 1), ("true", 3))]
    found: list[tuple[str, str]] = []
    while more := told(one, 1):
        found += more
        one.again()
    assert [value for name, value in found if name == "m"] == expected
    assert [value for name, value in found if name == "a"] == [str(int(f"{t}{n}")) for t in range(3) for n in range(4)]


def test_a_prefix_is_what_it_is_but_for_its_stars(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"messages": ["[a]*", "b?", ""]})
    for prefix in ("[a]", "[a]x", "ax", "b?", "bx", "", "x"):
        spot.run(f"select pg_logical_emit_message(true, '{prefix}', 'm')")
    rows = [row for b in one.batches() if b.stream == MESSAGES for row in b.rows.to_pylist()]
    assert [r["prefix"] for r in rows] == ["[a]", "[a]x", "b?", ""]


def test_many_messages_are_few_batches(follow: Any, spot: Place) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"messages": ["m"]})
    count = HELD_MAX + 500
    spot.run(f"select pg_logical_emit_message(true, 'm', n::text) from generate_series(1, {count}) n")
    batches = one.batches()
    assert [int(v) for b in batches for v in b.rows["content"].to_pylist()] == list(range(1, count + 1))
    assert len(batches) < 20


def test_the_output_needs_a_name_of_its_own(follow: Any, spot: Place) -> None:
    spot.run("create table {}.messages (id int primary key)")
    with pytest.raises(WorkflowError, match="adds the output messages"):
        follow("messages", cdc={"messages": ["m"]})


@pytest.mark.parametrize("action", ["stop", "drop"])
def test_log_beyond_the_budget_ends_the_run(follow: Any, spot: Place, action: str) -> None:
    spot.run("create table {}.a (id int primary key)")
    one = follow("a", cdc={"max_wal": "1KiB", "heartbeat": "20ms", "beyond_max_wal": action})
    split = one.stream
    spot.run("insert into {}.a select generate_series(1, 20000)")
    kind = StateError if action == "stop" else SlotLostError

    async def read() -> None:
        async for _ in one.source.read(split, None, None):
            pass

    with pytest.raises(kind, match=r"more than max_wal .*beyond_max_wal"):
        asyncio.run(read())
    assert [e.code for e in one.events].count("slot.behind") == 1
    if action == "drop":
        wait_for(lambda: one.slot("1") is None)
    else:
        assert one.slot("1") == 1
