"""kill -9 at every step of the epoch protocol, and at random ones, with files as destinations."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from tests.chaos.conftest import HEAD, STEPS, Case

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


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run makes."""
    from tests.chaos.conftest import source_csv

    folder = tmp_path_factory.mktemp("undisturbed")
    source_csv(folder)
    calm = Case(folder)
    calm.file.write_text(HEAD + FILES)
    assert calm.run().returncode == 0
    found = content(folder)
    assert len(found["rows"]) > 9000
    assert len(found["dead"]) == 13
    assert sum(n for _, n, _, _ in found["names"]) == len(found["rows"])
    return found


@pytest.mark.parametrize(("when", "step"), STEPS, ids=lambda x: str(x))
def test_a_kill_at_a_step_changes_nothing(case: Case, expected: dict[str, list[Any]], when: str, step: str) -> None:
    case.file.write_text(HEAD + FILES)
    killed = case.run_through([f"{when}:{step}:1", f"{when}:{step}:2"], seed=1)

    assert killed >= 1, f"{when} {step} was never reached"
    assert content(case.folder) == expected


def random_kills(rng: random.Random, number: int) -> list[str]:
    """Draw kills at random calls of random steps."""
    return [f"{when}:{step}:{rng.randint(1, 6)}" for when, step in rng.choices(STEPS, k=number)]


def test_ten_random_kills_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    case.file.write_text(HEAD + FILES)
    case.run_through(random_kills(random.Random(11), 10), seed=2)

    assert content(case.folder) == expected


def test_kills_at_random_moments_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    case.file.write_text(HEAD + FILES)
    rng = random.Random(3)
    case.run_through([f"time:{0.5 + rng.random() * 0.7:.3f}" for _ in range(6)], seed=3)

    assert content(case.folder) == expected
