"""A source reads only the columns that somebody behind it looks at, through sort, join, sql, limit and top_n."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.chaos.processes import dataflare, lines, run

if TYPE_CHECKING:
    from pathlib import Path

SORT = "{type: sort, inputs: [rows], config: {by: [amount desc]}}"
TOP = "{type: top_n, inputs: [rows], config: {rows: 2, by: [amount desc], per: [kind], rank: place}}"
ASKED = "{type: sql, inputs: [rows, others], config: {query: "
JOINED = "{type: join, inputs: [rows, others], config: "
CASES: dict[str, tuple[str, str, list[str] | None, list[str] | None]] = {
    "sort": (SORT, "{keep: [id]}", ["id", "amount"], None),
    "top_n": (TOP, "{keep: [id, place]}", ["id", "kind", "amount"], None),
    "limit": ("{type: limit, inputs: [rows], config: {rows: 3}}", "{keep: [name, id]}", ["id", "name"], None),
    "inner join": (JOINED + "{keys: {id: id}}}", "{keep: [id, kind]}", ["id", "kind"], ["id"]),
    "both sides": (JOINED + "{keys: {id: id}}}", "{keep: [id, kind_right]}", ["id", "kind"], ["id", "kind"]),
    "taken": (
        JOINED + "{keys: [id], how: left, take: {n: name}}}", "{keep: [amount]}", ["id", "amount"], ["id", "name"]
    ),
    "semi join": (JOINED + "{keys: [id], how: semi}}", "{keep: [name]}", ["id", "name"], ["id"]),
    "anti join": (JOINED + "{keys: [kind], how: anti}}", "{keep: [name]}", ["kind", "name"], ["kind"]),
    "as-of join": (
        JOINED + "{keys: [kind], how: asof, at: {amount: id}}}",
        "{keep: [name]}", ["kind", "amount", "name"], ["id", "kind"],
    ),
    "a group": (
        ASKED + '"select max(rows.name) as m, count(*) as n from rows join others using (id)"}}',
        "{keep: [n]}", ["id", "name"], ["id", "name"],
    ),
    "qualified": (
        ASKED + '"select r.id, max(o.amount) as id2 from rows r join others o on r.id = o.id group by 1"}}',
        "{set: {done: 'true'}}", ["id", "amount"], ["id", "amount"],
    ),
    "nested": (
        ASKED + '"with a as (select id, name as n from rows) select n from a where id in (select id from others)"}}',
        "{set: {done: 'true'}}", ["id", "name"], ["id", "name"],
    ),
}  # fmt: skip
WORKFLOW = """
id: few
runtime: {{state: {{type: memory}}}}
sources:
  rows: {{type: file, config: {{path: rows.parquet}}}}
  others: {{type: file, config: {{path: others.parquet}}}}
transformations:
  node: {node}
  kept: {{type: mapping, inputs: [node], config: {keep}}}
destinations:
  out: {{type: file, inputs: [kept], config: {{path: out, format: jsonl}}}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two files that hold a column that nobody can read."""
    found = tmp_path_factory.mktemp("files")
    rows = [{"id": n, "kind": "ab"[n % 2], "amount": n * 7 % 10, "name": f"name {n}", "bad": n} for n in range(10)]
    for name in ("rows", "others"):
        path = found / f"{name}.parquet"
        pq.write_table(pa.Table.from_pylist(rows), path, compression="none", use_dictionary=False)
        column = pq.read_metadata(path).row_group(0).column(4)
        data = bytearray(path.read_bytes())
        data[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = (
            b"\xff" * column.total_compressed_size
        )
        path.write_bytes(data)
    return found


def planned(folder: Path, name: str) -> dict[str, Any]:
    """Write the workflow of a case, and return the columns that are read by source."""
    node, keep, _, others = CASES[name]
    text = WORKFLOW.format(node=node, keep=keep)
    if others is None:
        text = "\n".join(line for line in text.splitlines() if not line.startswith("  others:"))
    (folder / "workflow.yaml").write_text(text)
    told = dataflare(folder, "plan", "workflow.yaml", "--json")
    assert told.code == 0, told.out + told.err
    return {n["id"]: n["traits"].get("columns") for n in json.loads(told.out)["nodes"]}


@pytest.mark.parametrize("name", CASES)
def test_a_source_reads_the_columns_that_the_plan_says_and_no_other(folder: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    found = planned(tmp_path, name)
    assert found["rows"] == CASES[name][2]
    assert found.get("others") == CASES[name][3]
    done = run(tmp_path)
    assert done.code == 0, done.err
    assert lines(tmp_path / "out") or "anti" in name


@pytest.mark.parametrize(
    "query", ["select * from rows", "select r from rows r", "select 1 from rows natural join others"]
)
def test_all_is_read_where_all_may_be_meant(folder: Path, tmp_path: Path, query: str) -> None:
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    node = f"{{type: sql, inputs: [rows, others], config: {{query: {query}}}}}"
    (tmp_path / "workflow.yaml").write_text(WORKFLOW.format(node=node, keep="{set: {done: 'true'}}"))
    told = dataflare(tmp_path, "plan", "workflow.yaml", "--json")
    assert told.code == 0, told.out + told.err
    assert not [n["id"] for n in json.loads(told.out)["nodes"] if n["traits"].get("columns")]
    assert run(tmp_path).code == 1, "the column that cannot be read is read"
