"""Four times as many bytes as the budget of memory: sorted, joined, grouped and so on in no more, killed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from tests.chaos.conftest import Case
from tests.chaos.test_memory import peak_bytes

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

BUDGET_BYTES = 64 << 20
ROW_BYTES = 140
ROWS = BUDGET_BYTES // ROW_BYTES
GROWTH_MAX = 1.3

WORKFLOW = """
id: spilling
runtime:
  budget: {{memory: 64MiB}}
  checkpoint: {{interval: {interval}, timeout: 300s}}
sources:
  made: {{type: generator, config: {{rows: {rows}, {pace}seed: 3, columns: &columns {columns}}}}}
  other: {{type: generator, config: {{rows: {rows}, {pace}seed: 3, columns: *columns}}}}
transformations:
  out: {out}
destinations:
  rows: {{type: file, inputs: [out], config: {{path: out, format: parquet}}}}
"""
COLUMNS = """{
    id: sequence, key: uuid, amount: {kind: float, min: 0, max: 1000000},
    text: {kind: string, prefix: "some text that is fifty bytes long and tells nothing ", max: 1000000000}}"""
OUT = {
    "sort": "{type: sort, inputs: [made], config: {by: [amount desc, id]}}",
    "join": "{type: join, inputs: [made, other], config: {how: full, keys: [key], take: {other: id, text: text}}}",
    "aggregate": "{type: aggregate, inputs: [made], config: {group_by: [key, text], "
    "aggregations: {n: count(*), total: sum(amount), id: max(id)}}}",
    "deduplicate": "{type: deduplicate, inputs: [made], config: {keys: [key, text]}}",
    "last": "{type: deduplicate, inputs: [made, other], config: {keys: [key, text], keep: last}}",
    "materialise": "{type: materialise, inputs: [made, other], config: {key: [key, text]}}",
}
DISTINCT = "{keys: count(distinct key), texts: count(distinct text), sum: sum(distinct id), rows: count(*)}"
OUT["distinct"] = f"{{type: aggregate, inputs: [made], config: {{aggregations: {DISTINCT}}}}}"
SHARE = {"sort": 1, "join": 2, "aggregate": 1, "deduplicate": 1, "last": 2, "materialise": 2, "distinct": 1}
"""The number of inputs that share the bytes."""


def workflow(kind: str, rows: int, interval: str = "2s", seconds: float = 0) -> str:
    rows = rows // SHARE[kind]
    pace = f"rate: {rows / seconds}, " if seconds else ""
    text = WORKFLOW.format(rows=rows, columns=COLUMNS, out=OUT[kind], interval=interval, pace=pace)
    return text if SHARE[kind] > 1 else "".join(line for line in text.splitlines(True) if "  other:" not in line)


def rows_in(folder: Path) -> pa.Table:
    return pq.read_table(folder / "out")


def check(kind: str, rows: int, found: pa.Table) -> None:
    """See that every row is there once, in order where there is one."""
    if kind == "distinct":
        (row,) = found.to_pylist()
        assert (row["keys"], row["rows"], row["sum"]) == (rows, rows, rows * (rows - 1) // 2)
        assert 0.99 * rows < row["texts"] <= rows
        return
    ids = found["id"].to_pylist()
    assert sorted(ids) == list(range(rows // SHARE[kind]))
    if kind == "sort":
        order = list(zip(found["amount"].to_pylist(), ids, strict=True))
        assert order == sorted(order, key=lambda pair: (-pair[0], pair[1]))
    elif kind == "join":
        assert found["id"].equals(found["other"])
    elif kind == "aggregate":
        assert set(found["n"].to_pylist()) == {1}
        assert found["key"].to_pylist() == sorted(found["key"].to_pylist())


@pytest.mark.parametrize("kind", OUT)
def test_four_times_the_budget_takes_no_more_memory(tmp_path: Path, kind: str) -> None:
    few = peak_bytes(tmp_path / "few", workflow(kind, ROWS))
    many = peak_bytes(tmp_path / "many", workflow(kind, 4 * ROWS))

    assert many < GROWTH_MAX * few, f"{few / 2**20:.0f} MB became {many / 2**20:.0f} MB"
    check(kind, 4 * ROWS, rows_in(tmp_path / "many"))


@pytest.mark.parametrize("kind", OUT)
def test_kills_change_nothing_of_what_waits_on_disk(tmp_path: Path, kind: str) -> None:
    case = Case(tmp_path)
    case.file.write_text(workflow(kind, ROWS, interval="20ms", seconds=1))
    kills = ["after:save_states:2", "before:seal:2", "after:retire:2", "after:made_step:2"]

    assert case.run_through(kills, seed=6) >= 2
    check(kind, ROWS, rows_in(tmp_path))
