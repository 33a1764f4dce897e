"""Columns of a followed table come, go, get other names and types: the workflow goes on under another plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.changes import forget
from tests.changing_shop import SETUP, ChangingShop, SameForAllServers, events, told
from tests.chaos.processes import wait_until
from tests.postgres import Place, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.postgres

COLUMNS = "select column_name::text from information_schema.columns where table_schema = $1 and table_name = 'copy'"


class Shop(ChangingShop):
    """In a schema of PostgreSQL."""

    kind = "postgres"

    def __init__(self, spot: Place, folder: Path) -> None:
        super().__init__(spot.schema, spot.url, folder)
        self.spot = spot
        self.change(SETUP)

    def change(self, statements: str) -> None:
        """Execute statements as one transaction."""
        with psycopg.connect(self.url) as connection:
            connection.execute(statements.replace("{}", self.name))

    def copy(self, columns: str) -> list[tuple[Any, ...]]:
        return self.spot.run(f"select {columns} from {{}}.copy order by id")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with place() as spot:
        one = Shop(spot, tmp_path)
        try:
            yield one
        finally:
            one.end()
            forget(spot, f"dataflare_{spot.schema}_shop")


class TestSchemaChanges(SameForAllServers):
    """Of tables of PostgreSQL."""


def test_new_columns_and_wider_ones_are_followed_while_it_runs_and_nothing_is_lost(shop: Shop) -> None:
    shop.workflow()
    shop.begin()
    shop.change(
        "insert into {}.orders values (3, 'three', 3); alter table {}.orders add note text; "
        "insert into {}.orders values (4, 'four', 4, 'new'); alter table {}.orders alter qty type bigint; "
        "insert into {}.orders values (5, 'five', 5000000000, 'wide')"
    )
    shop.wait(5)
    shop.change("update {}.orders set note = 'late' where id = 1")
    shop.change("alter table {}.orders drop qty; insert into {}.orders values (6, 'six', 'gone')")
    shop.wait(6)
    said = shop.stop()

    found = told(said)
    assert found == ["column qty was int32 and is int64 now", "column note is new (string)", "column qty is gone"]
    assert [e["event"] for e in said if e["event"] == "attempt_failed"] == []
    rows = shop.copy("id, name, note, twice")
    assert rows[2:] == [(3, "three", None, 6), (4, "four", "new", 8), (5, "five", "wide", 10), (6, "six", "gone", 12)]
    assert rows[0] == (1, "one", "late", 2)
    changes = [(r["id"], r["_op"]) for r in shop.log()]
    assert changes == [(1, "read"), (2, "read"), *((n, "insert") for n in (3, 4, 5)), (1, "update"), (6, "insert")]
    assert [r.get("qty") for r in shop.log()] == [1, 2, 3, 4, 5_000_000_000, 1, None]


def test_what_changed_while_it_was_stopped_is_followed(shop: Shop) -> None:
    shop.workflow("{ddl: evolve}")
    assert shop.run().code == 0
    shop.change("insert into {}.orders values (3, 'three', 3)")
    shop.change("alter table {}.orders rename name to label; alter table {}.orders add note text")
    shop.change("insert into {}.orders values (4, 'four', 4, 'new')")
    done = shop.run()

    assert done.code == 0, done.err
    assert told(events(done)) == ["column name is called label now", "column note is new (string)"]
    assert [(r["id"], r.get("label"), r.get("note")) for r in shop.log()[2:]] == [
        (3, "three", None),  # the log still calls it by its former name
        (4, "four", "new"),
    ]
    assert told(events(shop.run())) == []
    assert shop.copy("id, label, note") == [(1, "one", None), (2, "two", None), (3, "three", None), (4, "four", "new")]
    assert "name" not in {n for (n,) in shop.spot.run(COLUMNS, (shop.spot.schema,))}


def test_a_column_that_nobody_planned_with_is_found_beside_computed_and_dropped_ones(shop: Shop) -> None:
    shop.workflow("{ddl: evolve}")
    assert shop.run().code == 0
    shop.change("alter table {}.orders add computed int generated always as (id * 3) stored, add note text")
    shop.change("insert into {}.orders (id, note) values (3, 'first')")
    shop.change("alter table {}.orders rename note to label; alter table {}.orders add later int")
    shop.change("alter table {}.orders drop later; insert into {}.orders (id, label) values (4, 'second')")
    assert shop.run().code == 0
    assert shop.copy("id, label") == [(1, None), (2, None), (3, "first"), (4, "second")]


def test_state_of_nodes_goes_on_under_other_columns(shop: Shop) -> None:
    shop.workflow("{ddl: evolve}")
    text = (shop.folder / "workflow.yaml").read_text()
    whole = "more: {type: materialise, inputs: [shop], config: {emit: changes}}"
    text = text.replace("more: {type: mapping, inputs: [shop], config: {set: {twice: id * 2}}}", whole)
    (shop.folder / "workflow.yaml").write_text(text)
    shop.change("alter table {}.orders alter name set storage external; update {}.orders set name = repeat(name, 3000)")
    shop.begin()
    assert shop.process is not None
    shop.change(  # the label is left out of the change: the state has it, as the name
        "alter table {}.orders rename name to label; alter table {}.orders add note text; "
        "update {}.orders set qty = 7 where id = 1"
    )
    wait_until(lambda: len(shop.log()) == 3, shop.process)
    shop.change("alter table {}.orders drop qty; update {}.orders set note = 'late' where id = 2")
    wait_until(lambda: len(shop.log()) == 4, shop.process)
    shop.stop()
    assert shop.copy("id, length(label), note") == [(1, 9000, None), (2, 9000, "late")]


@pytest.mark.parametrize("options", ["", "?options=-c%20logical_decoding_work_mem%3D64kB"], ids=["whole", "streamed"])
def test_columns_that_a_rollback_or_a_savepoint_undid_were_never_there(shop: Shop, options: str) -> None:
    shop.url += options
    shop.workflow("{ddl: evolve}")
    shop.begin()
    many = "insert into {}.orders select n, repeat('x', 90), n from generate_series(%d, %d) n"
    noted = "insert into {}.orders (id, name, note) select n, 'undone', 'x' from generate_series(%d, %d) n"
    with psycopg.connect(shop.spot.url) as undone:
        for statement in (many % (10, 2009), "alter table {}.orders add note text", noted % (2010, 4009)):
            undone.execute(statement.replace("{}", shop.spot.schema))
        undone.rollback()
    shop.change("insert into {}.orders values (3, 'three', 3)")
    shop.wait(3)
    steps = [many % (10, 2009), "savepoint s", "alter table {}.orders add note text", noted % (2010, 4009)]
    steps += ["alter table {}.orders drop qty", "update {}.orders set name = 'undone' where id < 100"]
    shop.change(";".join([*steps, "rollback to s", many % (5000, 5999), "insert into {}.orders values (4, 'four', 4)"]))
    shop.wait(4)
    said = shop.stop()

    assert told(said) == []
    assert [e for e in said if e["event"] == "attempt_failed"] == []
    ids = [1, 2, 3, *range(10, 2010), *range(5000, 6000), 4]
    assert [r["id"] for r in shop.log()] == ids
    assert not any("note" in r or r["name"] == "undone" for r in shop.log())
    assert shop.copy("id, qty")[1:3] == [(2, 2), (3, 3)]
    assert len(shop.copy("id")) == len(ids)


def test_columns_that_change_while_the_table_is_read_the_first_time(shop: Shop) -> None:
    shop.spot.run("insert into {}.orders select n, repeat('x', 90), n from generate_series(10, 12009) n")
    shop.spot.run("analyze {}.orders")  # which makes several parts of it: the change comes between two
    shop.workflow("{ddl: evolve}")
    file = shop.folder / "workflow.yaml"
    file.write_text(file.read_text().replace("tables:", "split_rows: 1000, fetch_rows: 40, tables:"))
    shop.begin()
    shop.change(
        "update {}.orders set name = 'before' where id % 2 = 0; alter table {}.orders add note text; "
        "update {}.orders set note = 'n' || id where id % 3 = 0; insert into {}.orders values (5, 'five', 5, 'new')"
    )
    assert shop.process is not None
    assert len(shop.log()) < 12_000, "the table had been read by then"
    shop.wait(5)
    shop.change("alter table {}.orders rename qty to many; update {}.orders set many = 7 where id % 5 = 0")
    wait_until(lambda: any("many" in r for r in shop.log()), shop.process)
    said = shop.stop()

    assert [e for e in said if e["event"] == "attempt_failed"] == []
    assert shop.run().code == 0
    columns = "id, name, many, note"
    assert shop.copy(columns) == shop.spot.run(f"select {columns} from {{}}.orders order by id")
