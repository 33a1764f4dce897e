"""kill -9 at every step of the epoch protocol, and at random ones, with files as destinations."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.chaos.conftest import HEAD, STEPS, Case
from tests.chaos.trials import Trial, names, random_kills

if TYPE_CHECKING:
    from pathlib import Path

FILES = """
  rows: {type: file, inputs: [big], config: {path: out/rows, format: parquet}}
  names: {type: file, inputs: [per_name], config: {path: out/names.jsonl, format: jsonl}}
  dead: {type: file, inputs: ["*.errors"], config: {path: out/dead, format: jsonl}}
"""


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file or folder of JSON lines, hidden names left out."""
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    return [json.loads(line) for f in files if not f.name.startswith(".") for line in f.read_text().splitlines()]


def content(folder: Path) -> dict[str, list[Any]]:
    """Return what the run made, in an order of its own."""
    tables = [pq.read_table(f) for f in sorted((folder / "out" / "rows").glob("part-*.parquet"))]
    rows = [tuple(r.values()) for t in tables for r in t.to_pylist()]
    return {
        "rows": sorted(rows),
        "names": sorted(tuple(r.values()) for r in lines(folder / "out" / "names.jsonl")),
        "dead": sorted(r["row"] for r in lines(folder / "out" / "dead")),
    }


TRIAL = Trial(HEAD + FILES, content)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run makes."""
    found = TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))
    assert len(found["rows"]) > 9000
    assert len(found["dead"]) == 13
    assert sum(n for _, n, _, _ in found["names"]) == len(found["rows"])
    return found


@pytest.mark.parametrize("step", names(STEPS))
def test_a_kill_at_a_step_changes_nothing(case: Case, expected: dict[str, list[Any]], step: str) -> None:
    TRIAL.killed_at(case, step, expected)


def test_ten_random_kills_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    TRIAL.changes_nothing(case, random_kills(random.Random(11), 10), 2, expected)


def test_kills_at_random_moments_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    rng = random.Random(3)
    TRIAL.changes_nothing(case, [f"time:{0.5 + rng.random() * 0.7:.3f}" for _ in range(6)], 3, expected)
