"""Small workflow files for the tests of the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

VALID = """\
id: orders
guarantee: exactly_once
runtime: {parallelism: 1, checkpoint: {interval: 10s}}
sources:
  raw:
    type: file
    config: {path: orders.csv, columns: {id: int64, amount: int64}}
transformations:
  paid:
    type: filter
    inputs: [raw]
    config: {condition: amount > 0}
destinations:
  out:
    type: file
    inputs: [paid]
    config: {path: out, format: jsonl}
"""

BROKEN = VALID.replace("type: filter", "type: filtr").replace("format: jsonl", "fromat: jsonl")


def workflow_in(folder: Path, text: str = VALID, rows: int = 10) -> Path:
    """Write a workflow and its data; every other amount is 0."""
    (folder / "orders.csv").write_text("id,amount\n" + "".join(f"{n},{n % 2 * 5}\n" for n in range(rows)))
    file = folder / "orders.yaml"
    file.write_text(text)
    return file
