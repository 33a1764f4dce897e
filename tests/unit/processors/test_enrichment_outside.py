"""Lookups outside of the workflow: asked by keys, remembered, read again when old, down and back."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from dataflare.batch import Batch
from dataflare.component import Registry, lookup
from dataflare.errors import DataError, UnavailableError, WorkflowError
from dataflare.executor.runtime import LocalRuntime
from dataflare.monitoring.events import Noticed
from dataflare.processors.enrichment import Enrichment
from dataflare.schema import Schema
from dataflare.testing.clock import ManualClock
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MAIN = Schema.of({"id": "int64", "customer": "int64"})
QUICK = {"attempts": 2, "initial": "0s", "max": "0s"}


class Shop:
    """A SQLite file that a test changes, and nodes that look in it."""

    def __init__(self, folder: Path) -> None:
        self.path, self.events, self.clock = folder / "shop.db", [], ManualClock()
        self.folder, self.nodes = folder, []
        self.run("create table customers (id integer primary key, segment text, since timestamp, level int)")
        self.run("insert into customers values (7, 'gold', '2026-01-01', 1), (8, 'iron', '2026-01-02', 2)")
        self.run("insert into customers values (9, 'lost', 'no time', 3)")

    def run(self, sql: str) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(sql)
        connection.close()

    def away(self) -> None:
        self.path.rename(self.folder / "away.db")

    def back(self) -> None:
        (self.folder / "away.db").rename(self.path)

    def node(self, on_error: str = "fail", origin: dict[str, Any] | None = None, **config: Any) -> Any:
        settings = {
            "keys": {"customer": "id"},
            "from": {"type": "sqlite", "path": "shop.db", "table": "customers", **(origin or {})},
            "retry": QUICK,
            **config,
        }
        component = Enrichment(Enrichment.spec.config.model_validate(settings))
        runtime = LocalRuntime(self.events.append, clock=self.clock)
        staged(
            component,
            self.folder,
            runtime=runtime,
            schemas={"0": MAIN},
            on_error=on_error,
            lookups=partial(Registry.installed().find, lookup),
        )
        self.nodes.append(component)
        component.open()
        return component

    def notices(self) -> list[str]:
        return [e.code for e in self.events if isinstance(e, Noticed)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path)
    yield found
    for node in found.nodes:
        node.close()


def rows(*customers: int | None) -> Batch:
    return Batch(pa.table({"id": list(range(len(customers))), "customer": list(customers)}, schema=MAIN.to_arrow()))


def segments(node: Any, *customers: int | None) -> list[str | None]:
    return [s for b in node.process(rows(*customers)) if not b.stream for s in b.rows["segment"].to_pylist()]


def test_a_database_is_asked_for_the_keys_that_come_and_for_no_other(shop: Shop) -> None:
    node = shop.node()
    assert segments(node, 8, None, 7, 99, 8) == ["iron", None, "gold", None, "iron"]
    with pytest.raises(DataError, match="a value of since is no timestamp"):
        segments(node, 9)
    with pytest.raises(DataError, match="a value of since is no timestamp"):
        segments(shop.node(cache="all"), 7)


def test_declared_columns_are_all_that_is_read(shop: Shop) -> None:
    node = shop.node(origin={"columns": {"id": "int64", "segment": "string", "level": "string"}})
    assert [b.rows["level"].to_pylist() for b in node.process(rows(9, 7))] == [["3", "1"]]
    assert node.outputs([MAIN])[""].names == ["id", "customer", "segment", "level"]


@pytest.mark.parametrize("cache", ["keys", "all"])
def test_what_was_read_holds_until_it_is_old(shop: Shop, cache: str) -> None:
    shop.run("delete from customers where id = 9")
    calm, fresh = shop.node(cache=cache), shop.node(cache=cache, refresh="10s")
    assert [segments(n, 7, 70) for n in (calm, fresh)] == [["gold", None]] * 2
    shop.run("update customers set segment = 'steel' where id = 7")
    shop.run("insert into customers values (70, 'new', null, 4)")
    shop.clock.advance(9.0)
    assert [segments(n, 7, 70) for n in (calm, fresh)] == [["gold", None]] * 2
    shop.clock.advance(2.0)
    assert [segments(n, 7, 70) for n in (calm, fresh)] == [["gold", None], ["steel", "new"]]


@pytest.mark.parametrize("cache", ["keys", "all"])
def test_while_it_does_not_answer_what_was_read_holds_for_the_stated_time(shop: Shop, cache: str) -> None:
    shop.run("delete from customers where id = 9")
    node = shop.node(cache=cache, refresh="10s", stale="60s")
    assert segments(node, 7) == ["gold"]
    shop.away()
    shop.clock.advance(30.0)
    node.close()  # the file that is open would answer
    assert segments(node, 7) == ["gold"]
    shop.clock.advance(41.0)
    with pytest.raises(UnavailableError, match="it cannot be opened"):
        segments(node, 7)
    shop.back()
    shop.run("update customers set segment = 'steel' where id = 7")
    assert segments(node, 7) == ["steel"]
    assert shop.notices() == ["lookup.down", "lookup.back"]


@pytest.mark.parametrize(
    ("on_error", "kept"),
    [("skip", ["gold", "gold"]), ("dead_letter", ["gold", "gold"]), ("null", ["gold", None, "gold"])],
)
def test_rows_that_are_not_answered_follow_the_policy_of_the_node(shop: Shop, on_error: str, kept: list[Any]) -> None:
    node = shop.node(on_error, miss="drop")
    assert segments(node, 7) == ["gold"]
    shop.away()
    node._side._patience.close()
    found = list(node.process(rows(7, 8, 7)))
    assert [s for b in found if not b.stream for s in b.rows["segment"].to_pylist()] == kept
    errors = [b.rows for b in found if b.stream == "errors"]
    assert len(errors) == (on_error != "null")
    for rejected in errors:
        assert rejected["row"].to_pylist() == ['{"id":1,"customer":8}']
        assert rejected["error"][0].as_py().startswith("the lookup does not answer: ")


def test_a_lookup_that_is_down_is_not_asked_again_at_once(shop: Shop) -> None:
    node = shop.node("null", retry={"attempts": 1, "initial": "0s", "max": "5s"})
    asked = []
    find = node._side._patience.lookup.find
    node._side._patience.lookup.find = lambda keys: asked.append(keys.num_rows) or find(keys)
    shop.away()
    assert [segments(node, 7), segments(node, 7)] == [[None], [None]]
    assert asked == [1]
    shop.back()
    shop.clock.advance(6.0)
    assert segments(node, 7) == ["gold"]
    assert asked == [1, 1]


def test_what_is_remembered_is_bounded_and_still_right(shop: Shop) -> None:
    shop.run("delete from customers")
    with sqlite3.connect(shop.path) as connection:
        many = ((n, f"s{n % 97}", None, n) for n in range(5000))
        connection.executemany("insert into customers values (?, ?, ?, ?)", many)
    connection.close()
    node = shop.node(cache_bytes="32KiB")
    for start in range(0, 5000, 137):
        wanted = [*range(start, min(start + 300, 5300)), start // 2]
        expected = [f"s{n % 97}" if n < 5000 else None for n in wanted]
        assert segments(node, *wanted) == expected
        assert sum(s.size for s in node._side._segments[:-1]) <= 32 << 10
    assert len(node._side._segments) < 10


@pytest.mark.parametrize("multiple", ["first", "last", "all", "error"])
def test_keys_that_are_asked_for_may_have_several_rows(shop: Shop, multiple: str) -> None:
    shop.run("insert into customers values (10, 'zinc', null, 1)")
    node = shop.node(keys={"customer": "level"}, take=["segment"], multiple=multiple)
    assert segments(node, 2) == ["iron"]
    ask: Callable[[], list[str | None]] = partial(segments, node, 1, 2)
    if multiple == "error":
        with pytest.raises(DataError, match="have several rows"):
            ask()
    else:
        wanted = {"first": ["gold", "iron"], "last": ["zinc", "iron"], "all": ["gold", "zinc", "iron"]}
        assert ask() == wanted[multiple] == ask()


def test_times_are_no_keys_of_sqlite_one_by_one(shop: Shop) -> None:
    main = Schema.of({"at": "timestamp"})
    node = shop.node(keys={"customer": "id"})
    node.context = replace(node.context, schemas={"0": main})
    node.config = node.config.model_copy(update={"keys": {"at": "since"}})
    node.open()
    with pytest.raises(WorkflowError, match="SQLite keeps times as text"):
        list(node.process(Batch(pa.table({"at": [0]}).cast(main.to_arrow()))))


def test_a_lookup_that_changed_its_columns_is_told(shop: Shop) -> None:
    node = shop.node()
    node.context = replace(node.context, outputs=node.outputs([MAIN]))
    shop.run("alter table customers add column more text")
    with pytest.raises(DataError, match="other columns than when the workflow was planned"):
        node.open()
