"""Workflows that shape rows, through the command line: what comes out, and what is counted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.chaos.processes import lines, run

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = """
id: shape
sources:
  rows: {type: file, config: {path: in.jsonl, format: jsonl, columns: %s}}
transformations:
%s
destinations:
  out: {type: file, inputs: [%s], config: {path: out, format: jsonl}}
"""


def workflow(folder: Path, rows: list[dict[str, Any]], columns: str, nodes: str, last: str) -> None:
    """Write the rows and the workflow."""
    (folder / "in.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "workflow.yaml").write_text(SOURCE % (columns, nodes, last))


def test_a_row_that_is_lost_and_one_that_becomes_several_are_counted_apart(tmp_path: Path) -> None:
    rows = [{"id": 1, "items": [{"a": 1, "b": 2}, {"a": 3, "b": None}]}, {"id": 2, "items": []}]
    nodes = """
  each: {type: explode, inputs: [rows], config: {columns: [items]}}
  flat: {type: flatten, inputs: [each]}
  long: {type: unpivot, inputs: [flat], config: {columns: ["items_*"]}}
"""
    workflow(tmp_path, rows, '{id: int64, items: "list<struct<a: int64, b: int64>>"}', nodes, "long")
    done = run(tmp_path)
    assert done.code == 0, done.err
    assert lines(tmp_path / "out") == [
        {"id": 1, "name": "items_a", "value": 1},
        {"id": 1, "name": "items_b", "value": 2},
        {"id": 1, "name": "items_a", "value": 3},
    ]
    assert done.rows("each") == {"in": 2, "out": 2, "filtered": 1, "expanded": 1}
    assert done.rows("long") == {"in": 2, "out": 3, "expanded": 1}
