"""Memory does not grow with the input: eight times the rows, the same peak."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 500_000
TIMES = 8
GROWTH_MAX = 1.3

WORKFLOW = """
id: growing
sources:
  made: {{type: generator, config: {{rows: {rows}}}}}
transformations:
  kept: {{type: filter, inputs: [made], config: {{condition: amount > 50}}}}
  per_user:
    type: aggregate
    inputs: [kept]
    config: {{group_by: [user_id], aggregations: {{n: count(*), total: sum(amount)}}}}
destinations:
  rows: {{type: file, inputs: [kept], config: {{path: out/rows, format: parquet}}}}
  users: {{type: file, inputs: [per_user], config: {{path: out/users, format: jsonl}}}}
"""


def peak_bytes(folder: Path, workflow: str) -> int:
    """Run a workflow in a folder that is made for it; return the most memory that it had."""
    folder.mkdir()
    (folder / "workflow.yaml").write_text(workflow)
    return peak_of_run(folder)


def peak_of_run(folder: Path, *arguments: str) -> int:
    """Run the workflow of a folder in a process of its own; return the most memory that it had."""
    command = [sys.executable, "-m", "dataflare.cli", "run", str(folder / "workflow.yaml"), "--json", *arguments]
    silent = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=silent)
    _, status, used = os.wait4(pid, 0)
    assert status == 0
    return used.ru_maxrss * 1024


def test_eight_times_the_rows_take_the_same_memory(tmp_path: Path) -> None:
    few = peak_bytes(tmp_path / "few", WORKFLOW.format(rows=ROWS))
    many = peak_bytes(tmp_path / "many", WORKFLOW.format(rows=TIMES * ROWS))

    assert many < GROWTH_MAX * few, f"{few / 2**20:.0f} MB became {many / 2**20:.0f} MB"
