"""`dataflare verify` reads both sides again, and names what is not the same."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from tests.chaos.processes import dataflare
from tests.mariadb import database
from tests.postgres import place

from dataflare.component import Registry
from dataflare.operate.verifying import Options, verify
from dataflare.workflow import plan_or_raise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ROWS = 2000
WORKFLOW = """
id: shop
sources:
  orders:
    type: file
    mode: incremental
    config:
      path: orders.csv
      columns:
        {id: int64, name: string, price: "decimal(10,2)", share: float64, at: timestamp, day: date, ok: bool, doc: json}
    tags: {name: pii}
transformations:
  some: {type: filter, inputs: [orders], config: {condition: "id % 5 <> 0"}}
  masked: {type: mask, inputs: [some], config: {rules: {pii: {method: hash}}}}
destinations:
  table: {type: sqlite, inputs: [masked], write_mode: merge, key: [id], config: {path: lake.db, table: orders}}
  parquet: {type: file, inputs: [masked], config: {path: parquet, format: parquet}}
  parts: {type: file, inputs: [masked], config: {path: parts, format: jsonl, partition_by: [ok]}}
  csv: {type: file, inputs: [masked], config: {path: out.csv, null_value: "-"}}
"""


def orders(folder: Path) -> None:
    lines = []
    for n in range(ROWS):
        name, day, ok = f"{'n' if n % 3 else ''}{n % 7}", n % 28 + 1, "true" if n % 2 else "false"
        lines.append(
            f"{n},{name},{n / 4:.2f},{n / 3},2026-01-01T00:00:{n % 60:02}.000001Z,2026-02-{day:02},{ok},"
            f'"{{""b"": {n}, ""a"": [1.0]}}"'
        )
    (folder / "orders.csv").write_text("id,name,price,share,at,day,ok,doc\n" + "\n".join(lines) + "\n")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    orders(tmp_path)
    (tmp_path / "workflow.yaml").write_text(WORKFLOW)
    assert dataflare(tmp_path, "run", "workflow.yaml", "--json").code == 0
    return tmp_path


def test_all_destinations_of_a_run_are_equal_and_one_that_was_changed_is_not(shop: Path) -> None:
    found = dataflare(shop, "verify", "workflow.yaml")
    assert (found.code, found.err) == (0, "")
    rows = ROWS - ROWS // 5
    assert found.out.splitlines() == [
        f"{name}: equal, {rows:,} rows on both sides" for name in ("table", "parquet", "parts", "csv")
    ]
    with closing(sqlite3.connect(shop / "lake.db")) as database:
        database.execute("update orders set price = price + 1, ok = null where id = 3")
        database.execute("delete from orders where id = 4")
        database.execute("insert into orders (id, name) values (-1, 'x')")
        database.commit()
    found = dataflare(shop, "verify", "workflow.yaml", "table")
    assert (found.code, found.err) == (1, "")
    both = f"{rows:,} rows in the source, {rows:,} in the destination"
    assert found.out.splitlines() == [
        f"table: not equal; keys: 1 different, 1 missing, 1 surplus; {both}",
        "           id  columns",
        "surplus    -1",
        "different  3   price, ok",
        "missing    4",
    ]
    told = json.loads(dataflare(shop, "verify", "workflow.yaml", "table", "--json").out)
    assert (told["equal"], told["counts"]) == (False, {"different": 1, "missing": 1, "surplus": 1})
    assert told["examples"][1] == {"kind": "different", "key": {"id": 3}, "columns": ["price", "ok"]}
    assert told["source"]["checksum"] != told["written"]["checksum"]
    only = dataflare(shop, "verify", "workflow.yaml", "table", "--where", "id > 4")
    assert only.code == 0


def test_a_destination_without_a_key_is_compared_by_whole_rows(shop: Path) -> None:
    with (shop / "out.csv").open("a") as file:
        file.write((shop / "out.csv").read_text().splitlines(keepends=True)[1])
    found = dataflare(shop, "verify", "workflow.yaml", "csv")
    assert found.code == 1
    assert "rows: 1 surplus" in found.out
    assert "--key" in found.out
    assert "repeated  1" in dataflare(shop, "verify", "workflow.yaml", "csv", "--key", "id").out


def test_rows_that_are_on_their_way_are_not_told(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(sqlite3.connect(shop / "lake.db")) as database:
        database.execute("delete from orders where id = 4")
        database.commit()

    def arrive(_: float) -> None:
        assert dataflare(shop, "run", "again.yaml", "--json").code == 0

    again = WORKFLOW.replace("id: shop", "id: again").replace("mode: incremental", "mode: full")
    (shop / "again.yaml").write_text(again)
    monkeypatch.setattr("dataflare.operate.verifying.looks.wait_blocking", arrive)
    registry = Registry.installed()
    plan = plan_or_raise(shop / "again.yaml", registry=registry, environ={}, level="sample")
    report = verify(plan, registry, "table", Options(pause_seconds=1.0))
    assert (report.equal, report.settled, report.looks) == (True, 1, 2)


def test_what_cannot_be_verified_is_told(shop: Path) -> None:
    found = dataflare(shop, "verify", "workflow.yaml", "nope")
    assert (found.code, "there are: table, parquet, parts, csv" in found.err) == (2, True)
    hook = "sources:\n  a: {type: webhook, config: {port: 1, columns: {id: int64}}}\n"
    ends = "destinations:\n  o: {type: file, inputs: [a], config: {path: o, format: jsonl}}\n"
    (shop / "hook.yaml").write_text(f"id: hook\n{hook}{ends}")
    found = dataflare(shop, "verify", "hook.yaml")
    assert (found.code, "a cannot be read again as a whole" in found.err) == (2, True)
    for option, words in (("--sample", "no share"), ("--where", "cannot be used"), ("--key", "no column")):
        found = dataflare(shop, "verify", "workflow.yaml", "table", option, "0" if option == "--sample" else "zz")
        assert (found.code, words in found.err) == (2, True), option


@pytest.mark.postgres
def test_a_table_of_postgres_is_read_back_as_it_was_written(shop: Path) -> None:
    with place() as spot:
        ends = f"config: {{url: '{spot.url}', table: '{spot.table('orders')}'}}"
        text = WORKFLOW.replace("type: sqlite", "type: postgres").replace(
            "config: {path: lake.db, table: orders}", ends
        )
        (shop / "pg.yaml").write_text(text.replace("id: shop", "id: pg"))
        assert dataflare(shop, "run", "pg.yaml", "--json").code == 0
        found = dataflare(shop, "verify", "pg.yaml", "table")
        assert (found.code, found.err) == (0, ""), found
        spot.run("update {}.orders set doc = '{\"a\": 2}', share = share + 1e-9 where id = 7")
        found = dataflare(shop, "verify", "pg.yaml", "table")
        assert (found.code, "different  7   share, doc" in found.out) == (1, True), found


NESTED = """
id: nested
sources:
  rows:
    type: file
    config:
      path: rows.jsonl
      columns:
        {at: timestamp, l: list<int32>, s: "struct<a: int32, b: string>", m: "map<string, float64>",
         d: "list<decimal(30,10)>", n: "list<struct<a: int32>>"}
destinations:
  table: {type: KIND, inputs: [rows], write_mode: merge, key: [at], config: CONFIG}
"""
NESTED_ROWS = r"""
{"at":"2026-01-01T00:00:00Z","l":[1,null],"s":{"a":1,"b":"x\ny"},"m":{"k":0.5},"d":["12345678901234567.1234567891"],"n":[{"a":1}]}
{"at":"2026-01-01T00:00:01Z","l":[],"s":{"a":null,"b":"[]"},"m":{},"d":[],"n":[]}
{"at":"2026-01-01T00:00:02Z","l":null,"s":null,"m":null,"d":null,"n":null}
"""


@contextmanager
def table_of(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[str], object]]]:
    """Give the settings of a table, and what executes a statement."""
    if kind == "postgres":
        with place() as spot:
            yield (
                f"{{url: '{spot.url}', table: '{spot.table('t')}'}}",
                lambda sql: spot.run(sql.replace(" t ", " {}.t ")),
            )
    elif kind == "mariadb":
        with database() as server:
            yield f"{{url: '{server.url}', table: t}}", server.run
    else:

        def run(sql: str) -> None:
            with closing(sqlite3.connect(folder / "t.db")) as file, file:
                file.execute(sql)

        yield "{path: t.db, table: t}", run


@pytest.mark.parametrize(
    "kind",
    [
        "sqlite",
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("mariadb", marks=pytest.mark.mariadb),
    ],
)
def test_lists_and_structs_are_compared_where_a_database_keeps_them_as_json(kind: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(NESTED_ROWS.lstrip())
    with table_of(kind, tmp_path) as (config, run):
        (tmp_path / "nested.yaml").write_text(NESTED.replace("KIND", kind).replace("CONFIG", config))
        assert dataflare(tmp_path, "run", "nested.yaml", "--json").code == 0
        found = dataflare(tmp_path, "verify", "nested.yaml")
        assert (found.code, found.err) == (0, ""), found
        run('update t set s = \'{"a": 1, "b": "y"}\', n = \'[{"a": 2}]\' where at >= \'2026-01-01 00:00:02\'')
        found = dataflare(tmp_path, "verify", "nested.yaml")
        assert "different  2026-01-01 00:00:02+00  s, n" in found.out, found


def test_a_destination_that_cannot_be_read_is_named(shop: Path) -> None:
    (shop / "lake.db").unlink()
    found = dataflare(shop, "verify", "workflow.yaml", "table", "--json")
    assert (found.code, json.loads(found.err)["path"]) == (3, "table"), found
