"""numpy is withheld from pyarrow only where nobody can want it there."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = """
import sys
from dataflare.cli.lean import withhold_numpy
withhold_numpy(sys.argv[1:])
import pyarrow
import pyarrow.compute
import pyarrow.parquet
taken = "numpy" in sys.modules
import numpy
print(taken, pyarrow.array([1, 2]).to_pylist(), numpy.arange(2).tolist())
"""


def told(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("sources: {a: {type: file}}", False),
        ("transformations: {a: {type: python}}", True),
        ("sources: {a: {type: 'python:parts:Source'}}", True),
        ("sources: {a: {type: postgres, mode: cdc}}", True),
        ("sources: {a: {type: postgres, mode: hybrid}}", True),
        ("sources: {a: {type: postgres, mode: '${HOW}'}}", True),
    ],
)
def test_a_file_that_may_want_numpy_keeps_it(tmp_path: Path, text: str, taken: bool) -> None:
    (tmp_path / "workflow.yaml").write_text(text)
    assert told(tmp_path, "run", "workflow.yaml", "--json") == f"{taken} [1, 2] [0, 1]"
    assert told(tmp_path, "run", str(tmp_path)) == f"{taken} [1, 2] [0, 1]", "a folder of workflows"


def test_without_a_file_or_with_components_of_others_it_stays(tmp_path: Path) -> None:
    assert told(tmp_path, "status", "shop").startswith("True")
    (tmp_path / "workflow.yaml").write_text("id: a")
    offers = tmp_path / "parts-1.0.dist-info"
    offers.mkdir()
    (offers / "entry_points.txt").write_text("[dataflare.source]\nblurt = parts:Blurt\n")
    (offers / "METADATA").write_text("Name: parts\nVersion: 1.0\n")
    assert told(tmp_path, "run", "workflow.yaml").startswith("True")
