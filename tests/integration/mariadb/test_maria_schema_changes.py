"""Columns of a followed table of MariaDB come, go and get other types: the workflow goes on under another plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.changing_shop import SETUP, ChangingShop, SameForAllServers, events, told
from tests.chaos.processes import wait_until
from tests.maria_changes import connected
from tests.mariadb import Database, database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mariadb
COLUMNS = "select column_name from information_schema.columns where table_schema = database() and table_name = 'copy'"


class Shop(ChangingShop):
    """In a database of MariaDB."""

    kind = "mariadb"

    def __init__(self, spot: Database, folder: Path) -> None:
        super().__init__(spot.name, spot.url, folder)
        self.spot = spot
        self.change(SETUP)

    def change(self, statements: str) -> None:
        """Execute statements in one transaction, which ends where columns change."""
        with connected(self.url) as connection, connection.cursor() as cursor:
            cursor.execute("set autocommit = 0")
            for statement in statements.replace("{}", self.name).split("; "):
                cursor.execute(statement)
            connection.commit()

    def copy(self, columns: str) -> list[tuple[Any, ...]]:
        return self.spot.run(f"select {columns} from copy order by id")

    def columns(self) -> list[str]:
        """Return the columns of the copy, without what the workflow adds."""
        return sorted({name for (name,) in self.spot.run(COLUMNS)} - {"id", "twice"})


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with database() as spot:
        one = Shop(spot, tmp_path)
        try:
            yield one
        finally:
            one.end()


class TestSchemaChanges(SameForAllServers):
    """Of tables of MariaDB."""


def test_new_columns_and_wider_ones_are_followed_while_it_runs_and_nothing_is_lost(shop: Shop) -> None:
    shop.workflow()
    shop.begin()
    shop.change(
        "insert into {}.orders values (3, 'three', 3); alter table {}.orders add note text first; "
        "insert into {}.orders values ('new', 4, 'four', 4); alter table {}.orders modify qty bigint after id; "
        "insert into {}.orders values ('wide', 5, 5000000000, 'five')"
    )
    shop.wait(5)
    shop.change("update {}.orders set note = 'late' where id = 1")
    shop.change("alter table {}.orders drop qty; insert into {}.orders values ('gone', 6, 'six')")
    shop.wait(6)
    said = shop.stop()

    found = told(said)
    assert sorted(found[:2]) == ["column note is new (string)", "column qty was int32 and is int64 now"]
    assert found[2:] == ["column qty is gone"]
    assert [e["event"] for e in said if e["event"] == "attempt_failed"] == []
    rows = shop.copy("id, name, note, twice")
    assert rows[2:] == [(3, "three", None, 6), (4, "four", "new", 8), (5, "five", "wide", 10), (6, "six", "gone", 12)]
    assert rows[0] == (1, "one", "late", 2)
    changes = [(r["id"], r["_op"]) for r in shop.log()]
    assert changes == [(1, "read"), (2, "read"), *((n, "insert") for n in (3, 4, 5)), (1, "update"), (6, "insert")]
    assert [r.get("qty") for r in shop.log()] == [1, 2, 3, 4, 5_000_000_000, 1, None]


def test_a_name_that_changes_while_it_is_stopped_is_a_column_that_goes_and_one_that_comes(shop: Shop) -> None:
    shop.workflow()
    assert shop.run().code == 0
    shop.change("insert into {}.orders values (3, 'three', 3)")
    shop.change("alter table {}.orders rename column name to label, add note text first")
    shop.change("insert into {}.orders values ('new', 4, 'four', 4)")
    done = shop.run()

    assert done.code == 0, done.err
    assert told(events(done)) == [
        "column note is new (string)",
        "column label is new (string)",
        "column name is gone",
    ]
    assert [(r["id"], r.get("name"), r.get("label"), r.get("note")) for r in shop.log()[2:]] == [
        (3, "three", None, None),  # the log still calls it by its former name, and the plan still knows that one
        (4, None, "four", "new"),
    ]
    assert told(events(shop.run())) == []
    assert shop.copy("id, name, label, note")[1:] == [
        (2, "two", None, None),
        (3, "three", None, None),
        (4, None, "four", "new"),
    ]


ADD = "alter table {}.orders add note text default 'none'; insert into {}.orders values (3, 'three', 3, 'new')"
DROP = "alter table {}.orders drop name; insert into {}.orders values (3, 3)"
RENAME = "alter table {}.orders rename column name to label; insert into {}.orders values (3, 'three', 3)"
WIDER = "alter table {}.orders modify qty bigint; insert into {}.orders values (3, 'three', 5000000000)"
OTHER = "alter table {}.orders modify qty varchar(20); insert into {}.orders values (3, 'three', '7')"


@pytest.mark.parametrize(
    ("schema", "change", "columns", "row"),
    [
        ("{}", ADD, ["name", "note", "qty"], ("three", "new", 3)),
        ("{}", DROP, ["name", "qty"], (None, 3)),
        ("{}", RENAME, ["label", "name", "qty"], ("three", None, 3)),
        ("{}", WIDER, ["name", "qty"], ("three", 5_000_000_000)),
        ("{}", OTHER, ["name", "qty"], ("three", 7)),
        ("{ddl: evolve}", ADD, ["name", "note", "qty"], ("three", "new", 3)),
        ("{ddl: evolve}", DROP, ["qty"], (3,)),
        ("{ddl: evolve}", RENAME, ["label", "qty"], ("three", 3)),
        ("{ddl: evolve}", WIDER, ["name", "qty"], ("three", 5_000_000_000)),
        ("{ddl: evolve}", OTHER, ["name", "qty"], ("three", "7")),
        ("{ddl: try_evolve}", DROP, ["qty"], (3,)),
        ("{ddl: ignore}", ADD, ["name", "qty"], ("three", 3)),
        ("{ddl: ignore}", DROP, ["name", "qty"], (None, 3)),
        ("{ddl: ignore}", OTHER, ["name", "qty"], ("three", 7)),
        ("{contract: {columns: discard}}", ADD, ["name", "qty"], ("three", 3)),
        ("{ddl: evolve, exclude: [drop.column]}", DROP, ["name", "qty"], (None, 3)),
        ("{ddl: evolve, include: [add.column]}", OTHER, ["name", "qty"], ("three", 7)),
    ],
)
@pytest.mark.parametrize("runs", [True, False], ids=["running", "stopped"])
def test_what_becomes_of_each_kind_of_change(
    shop: Shop, schema: str, change: str, columns: list[str], row: tuple[Any, ...], *, runs: bool
) -> None:
    shop.workflow(schema)
    if runs:
        shop.begin()
        shop.change(change)
        shop.wait(3)
        said = shop.stop()
    else:
        assert shop.run().code == 0
        shop.change("update {}.orders set qty = 9 where id = 2")
        shop.change(change)
        done = shop.run()
        assert done.code == 0, done.err
        said = events(done)
    assert shop.columns() == columns
    assert shop.copy(", ".join(columns))[-1] == row
    assert [e["event"] for e in said if e["event"] == "attempt_failed"] == []
    if not runs and "qty" in columns:
        assert [str(q) for (q,) in shop.copy("qty")][:2] == ["1", "9"]


@pytest.mark.parametrize(
    ("schema", "change"),
    [
        ("{ddl: exception}", DROP),
        ("{ddl: exception}", OTHER),
        ("{contract: {columns: freeze}}", RENAME),
        ("{contract: {data_type: freeze}}", WIDER),
    ],
)
def test_what_may_not_be_ends_the_run_before_a_row_of_the_new_shape(shop: Shop, schema: str, change: str) -> None:
    shop.workflow(schema)
    shop.begin()
    shop.change(change)
    done = shop.ended()
    assert done.code == 2
    assert "which is refused" in done.err
    assert [r["id"] for r in shop.log()] == [1, 2]
    assert shop.columns() == ["name", "qty"]


def test_state_of_nodes_goes_on_under_other_columns(shop: Shop) -> None:
    shop.workflow("{ddl: evolve}")
    text = (shop.folder / "workflow.yaml").read_text()
    whole = "more: {type: materialise, inputs: [shop], config: {emit: changes}}"
    text = text.replace("more: {type: mapping, inputs: [shop], config: {set: {twice: id * 2}}}", whole)
    (shop.folder / "workflow.yaml").write_text(text)
    shop.begin()
    assert shop.process is not None
    shop.change("alter table {}.orders add note text first; update {}.orders set qty = 7 where id = 1")
    wait_until(lambda: len(shop.log()) == 3, shop.process)
    shop.change("alter table {}.orders drop qty; update {}.orders set note = 'late' where id = 2")
    wait_until(lambda: len(shop.log()) == 4, shop.process)
    shop.stop()
    assert shop.copy("id, name, note") == [(1, "one", None), (2, "two", "late")]
