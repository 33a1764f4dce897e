"""A followed table gets a column and loses one while it is written to files: no file has rows of two kinds."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest
from tests.changes import followed_place
from tests.chaos.processes import dataflare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.postgres import Place

pytestmark = pytest.mark.postgres

WORKFLOW = """
id: {name}
runtime: {{checkpoint: {{interval: 20ms}}}}
sources:
  shop: {{type: postgres, mode: hybrid, config: {{url: "{url}", tables: ["{name}.orders"]}}, schema: {{ddl: {ddl}}}}}
transformations:
  plain: {{type: mapping, inputs: [shop], config: {{set: {{what: _op}}}}}}
destinations:
"""
FOLDERS = """
  parquet: {type: file, inputs: [plain], config: {path: parquet, format: parquet}}
  csv: {type: file, inputs: [plain], config: {path: csv, format: csv}}
  jsonl: {type: file, inputs: [plain], config: {path: jsonl, format: jsonl}}
  parts: {type: file, inputs: [plain], config: {path: parts, format: parquet, partition_by: [what]}}
"""
SINGLE = "  one: {type: file, inputs: [plain], config: {path: one.csv}}\n"
ENDS = "  one: {type: file, inputs: [plain], config: {path: one.parquet}}\n"


class Shop:
    def __init__(self, spot: Place, folder: Path) -> None:
        self.spot, self.folder = spot, folder
        spot.run("create table {}.orders (id int primary key, name text, qty int)")
        spot.run("insert into {}.orders values (1, 'one', 1)")

    def run(self, destinations: str, ddl: str = "evolve") -> Any:
        text = WORKFLOW.format(name=self.spot.schema, url=self.spot.url, ddl=ddl) + destinations
        (self.folder / "workflow.yaml").write_text(text)
        return dataflare(self.folder, "run", "workflow.yaml", "--until", "now", "--log", "json")

    def change(self) -> None:
        """Let a column come and another go, with rows of each time, all of which one run reads."""
        for statement in (
            "insert into {}.orders values (2, 'two', 2)",
            "alter table {}.orders add note text",
            "insert into {}.orders values (3, 'three', 3, 'new')",
            "alter table {}.orders drop qty",
            "insert into {}.orders values (4, 'four', 'late')",
        ):
            self.spot.run(statement)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with followed_place() as spot:
        yield Shop(spot, tmp_path)


def kinds(found: dict[int, dict[str, Any]]) -> dict[int, tuple[set[str], Any]]:
    """Return by id which columns a row came with, of those that matter, and its note."""
    return {n: (row.keys() & {"id", "name", "qty", "note"}, row.get("note")) for n, row in found.items()}


def in_folders(folder: Path) -> dict[str, dict[int, dict[str, Any]]]:
    """Return the rows by kind of file and id, each with the columns of its file."""
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in ("parquet", "parts", "csv", "jsonl")}
    for name in ("parquet", "parts"):
        for file in (folder / name).rglob("part-*.parquet"):
            found[name] |= {row["id"]: row for row in pq.ParquetFile(file).read().to_pylist()}
    for file in (folder / "csv").glob("part-*.csv"):
        lines = list(csv.reader(file.read_text().splitlines()))
        assert {len(line) for line in lines} == {len(lines[0])}
        rows = [dict(zip(lines[0], line, strict=True)) for line in lines[1:]]
        found["csv"] |= {int(row["id"]): row for row in rows}
    for file in (folder / "jsonl").glob("part-*.jsonl"):
        found["jsonl"] |= {row["id"]: row for row in map(json.loads, file.read_text().splitlines())}
    return found


def test_each_file_of_a_folder_has_the_columns_of_its_time(shop: Shop) -> None:
    assert shop.run(FOLDERS).code == 0
    shop.change()
    done = shop.run(FOLDERS)
    assert done.code == 0, done.err
    early = {"id", "name", "qty"}
    for name, rows in in_folders(shop.folder).items():
        found = kinds(rows)
        assert found.keys() == {1, 2, 3, 4}, name
        assert found[1] == (early, None), name
        assert found[4] == ({"id", "name", "note"}, "late"), name
        assert found[3][1] == "new", name


def test_what_was_written_is_read_back_with_all_columns(shop: Shop) -> None:
    shop.run(FOLDERS)
    shop.change()
    shop.run(FOLDERS)
    (shop.folder / "again.yaml").write_text(
        "id: again\nsources:\n  in: {type: file, config: {path: 'parquet/*.parquet', columns: "
        "{id: int32, name: string, note: string}}}\n"
        "destinations:\n  out: {type: file, inputs: [in], config: {path: all.jsonl}}\n"
    )
    assert dataflare(shop.folder, "run", "again.yaml").code == 0
    rows = [json.loads(line) for line in (shop.folder / "all.jsonl").read_text().splitlines()]
    assert sorted((r["id"], r["name"], r["note"]) for r in rows) == [
        (1, "one", None),
        (2, "two", None),
        (3, "three", "new"),
        (4, "four", "late"),
    ]


@pytest.mark.parametrize(("destinations", "name"), [(SINGLE, "one.csv"), (ENDS, "one.parquet")])
def test_a_single_file_refuses_other_columns_loses_nothing_and_a_new_one_goes_on(
    shop: Shop, destinations: str, name: str
) -> None:
    assert shop.run(destinations).code == 0
    file = shop.folder / name
    before = file.read_bytes()
    shop.spot.run("alter table {}.orders add note text")
    shop.spot.run("insert into {}.orders values (2, 'two', 2, 'new')")
    done = shop.run(destinations)
    assert done.code == 3, done.err
    assert f"{name} has other columns than" in done.err
    assert "move it away" in done.err
    assert file.read_bytes() == before

    file.rename(shop.folder / f"before-{name}")
    done = shop.run(destinations)
    assert done.code == 0, done.err
    if name.endswith("csv"):
        rows = list(csv.DictReader(file.read_text().splitlines()))
    else:
        rows = pq.read_table(file).to_pylist()
    assert [(str(r["id"]), r["note"]) for r in rows] == [("2", "new")]


def test_under_the_default_a_single_file_of_columns_is_completed_with_null(shop: Shop) -> None:
    assert shop.run(ENDS, "lenient").code == 0
    shop.spot.run("alter table {}.orders drop qty")
    shop.spot.run("insert into {}.orders values (2, 'two')")
    done = shop.run(ENDS, "lenient")
    assert done.code == 0, done.err
    rows = pq.read_table(shop.folder / "one.parquet").to_pylist()
    assert [(r["id"], r["qty"]) for r in rows] == [(1, 1), (2, None)]
