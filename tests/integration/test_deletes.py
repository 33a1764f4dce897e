"""Rows that are deleted at a source of mode incremental go at the destination, whatever happened between the runs."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from tests.shops import SHOPS, Shop

from dataflare import Workflow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(
    params=[
        pytest.param(name, marks=[getattr(pytest.mark, name)]) if name in ("postgres", "mariadb") else name
        for name in SHOPS
    ]
)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with SHOPS[request.param](tmp_path) as found:
        yield found


def lake(shop: Shop, folder: Path, memory: str = "512MiB", **deletes: Any) -> Workflow:
    """Return the workflow that keeps a table like that of the shop, and a log of what it did."""
    workflow = Workflow("lake", directory=folder, runtime={"parallelism": 2, "budget": {"memory": memory}})
    incremental = {"cursor_field": "moved", "deletes": {"compare": "keys", **deletes}}
    orders = workflow.source("orders", shop.type, {**shop.settings, "incremental": incremental}, mode="incremental")
    orders.into("table", "sqlite", {"path": "lake.db", "table": "orders"}, write_mode="merge")
    orders.into("log", "file", {"path": "log", "format": "jsonl"})
    return workflow


def table(folder: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "lake.db")) as connection:
        return sorted(connection.execute("select tenant, id, amount, moved from orders").fetchall())


def log(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for part in sorted((folder / "log").glob("*.jsonl")) for line in part.read_text().splitlines()
    ]


def test_the_table_is_that_of_the_source_after_each_run(shop: Shop, tmp_path: Path) -> None:
    rng, clock, there = random.Random(5), 0, set[tuple[str, int]]()
    for _ in range(4):
        for _ in range(3):
            clock += 1
            new = {(rng.choice("abc"), rng.randrange(300)) for _ in range(rng.choice([1, 40, 200]))} - there
            shop.put([(tenant, number, clock, clock) for tenant, number in sorted(new)]) if new else None
            there |= new
            gone = rng.randrange(300)
            shop.run(f"delete from orders where id between {gone} and {gone + 30}")
            there -= {key for key in there if gone <= key[1] <= gone + 30}
            shop.run(f"update orders set amount = amount + 1, moved = {clock} where id = {rng.randrange(300)}")
        lake(shop, tmp_path).run()
        assert table(tmp_path) == shop.rows()
    told: dict[tuple[str, int], str] = {}
    for change in log(tmp_path):
        key = change["tenant"], change["id"]
        assert change["_op"] != "delete" or told.get(key) != "delete", f"{key} was deleted twice"
        told[key] = change["_op"]
    assert {key for key, op in told.items() if op != "delete"} == there


def test_a_row_that_comes_back_is_there_and_goes_again(shop: Shop, tmp_path: Path) -> None:
    shop.put([("a", n, 0, 1) for n in range(3)])
    for sql, keys in (
        ("delete from orders where id = 1", [0, 2]),
        ("insert into orders values ('a', 1, 7, 2)", [0, 1, 2]),
        ("delete from orders where id = 1", [0, 2]),
        ("delete from orders", []),
    ):
        lake(shop, tmp_path).run()
        shop.run(sql)
        lake(shop, tmp_path).run()
        assert [number for _, number, _, _ in table(tmp_path)] == keys
