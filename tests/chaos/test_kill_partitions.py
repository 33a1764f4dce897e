"""kill -9 while files of partitions are written, in two formats, appended and overwritten."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow.dataset as ds
import pytest

from dataflare.connectors.file.partitions import values_of
from tests.chaos.conftest import HEAD, STEPS, Case, source_csv
from tests.chaos.test_kill_files import lines

if TYPE_CHECKING:
    from pathlib import Path

FILES = """
  rows:
    type: file
    inputs: [big]
    write_mode: WRITE_MODE
    config: {path: out/rows, format: parquet, partition_by: [name], open_files_max: 7, file_rows_max: 50}
  dead:
    type: file
    inputs: ["*.errors"]
    write_mode: WRITE_MODE
    config: {path: out/dead, format: jsonl, partition_by: [node], file_bytes_max: 1kB}
"""
KILLED = [s for s in STEPS if s[1] in ("prepare", "commit", "finish", "abort", "seal")]


def content(folder: Path) -> dict[str, list[Any]]:
    """Return what the run made, in an order of its own."""
    rows = ds.dataset(folder / "out" / "rows", partitioning="hive").to_table().to_pylist()
    files = sorted((folder / "out" / "dead").glob("*=*/*.jsonl"))
    dead = [{**values_of(str(f)), **row} for f in files for row in lines(f)]
    assert all(f.is_dir() for f in (folder / "out" / "rows").glob("name=*"))
    return {
        "rows": sorted(tuple(sorted(r.items())) for r in rows),
        "dead": sorted((r["node"], r["row"]) for r in dead),
    }


def written(case: Case, mode: str) -> Case:
    case.file.write_text(HEAD + FILES.replace("WRITE_MODE", mode))
    return case


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source_csv(folder)
    assert written(Case(folder), "append").run().returncode == 0
    found = content(folder)
    assert len(found["rows"]) > 9000
    assert len(list((folder / "out" / "rows").glob("name=*"))) == 40
    assert [node for node, _ in found["dead"]] == ["typed"] * 13
    return found


@pytest.mark.parametrize(("when", "step"), KILLED, ids=lambda x: str(x))
def test_a_kill_at_a_step_changes_nothing(case: Case, expected: dict[str, list[Any]], when: str, step: str) -> None:
    killed = written(case, "append").run_through([f"{when}:{step}:1", f"{when}:{step}:2"], seed=1)

    assert killed >= 1, f"{when} {step} was never reached"
    assert content(case.folder) == expected


def test_random_kills_of_an_overwrite_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    written(case, "append").run_through([], seed=3)
    shutil.rmtree(case.folder / ".dataflare")
    rng = random.Random(17)
    kills = [f"{when}:{step}:{rng.randint(1, 4)}" for when, step in rng.choices(KILLED, k=6)]
    written(case, "overwrite").run_through(kills, seed=4)

    assert content(case.folder) == expected


def test_kills_at_random_moments_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    rng = random.Random(5)
    written(case, "append").run_through([f"time:{0.5 + rng.random() * 0.9:.3f}" for _ in range(5)], seed=5)

    assert content(case.folder) == expected
