"""kill -9 while files of partitions are written, in two formats, appended and overwritten."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from dataflare.connectors.file.partitions import values_of
from tests.chaos.conftest import HEAD, STEPS, Case
from tests.chaos.test_kill_files import lines
from tests.chaos.trials import Trial, names

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


APPENDED, OVERWRITTEN = (Trial(HEAD + FILES.replace("WRITE_MODE", mode), content) for mode in ("append", "overwrite"))

PARTITIONS = FILES.replace("WRITE_MODE", "overwrite").replace("partition_by", "overwrite: partitions, partition_by")
REPLACED = Trial(HEAD + PARTITIONS, content)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return what an undisturbed run makes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    found = APPENDED.undisturbed(folder)
    assert len(found["rows"]) > 9000
    assert len(list((folder / "out" / "rows").glob("name=*"))) == 40
    assert [node for node, _ in found["dead"]] == ["typed"] * 13
    return found


@pytest.mark.parametrize("step", names(KILLED))
def test_a_kill_at_a_step_changes_nothing(case: Case, expected: dict[str, list[Any]], step: str) -> None:
    APPENDED.killed_at(case, step, expected)


def test_random_kills_of_an_overwrite_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    APPENDED.changes_nothing(case, [], 3, expected)
    shutil.rmtree(case.folder / ".dataflare")
    rng = random.Random(17)
    kills = [f"{when}:{step}:{rng.randint(1, 4)}" for when, step in rng.choices(KILLED, k=6)]
    OVERWRITTEN.changes_nothing(case, kills, 4, expected)


@pytest.mark.parametrize("step", names(KILLED))
def test_a_kill_while_written_partitions_are_replaced_changes_nothing_else(
    case: Case, expected: dict[str, list[Any]], step: str
) -> None:
    there = [case.folder / "out" / "rows" / name / "part-000001-1-0-0.parquet" for name in ("name=other", "name=n7")]
    for path in there:
        path.parent.mkdir(parents=True)
        pq.write_table(pa.table({"id": [-1]}), path)
    case.folder.joinpath("out", "rows", "name=other", "note.txt").write_text("mine")
    REPLACED.prepare(case)
    assert case.run_through([f"{step}:{call}" for call in (1, 2)], 4) >= 1
    other, twice = there
    assert pq.read_table(other, partitioning=None).to_pylist() == [{"id": -1}]
    assert not twice.exists()
    assert (other.parent / "note.txt").exists()
    shutil.rmtree(other.parent)
    assert content(case.folder) == expected


def test_kills_at_random_moments_change_nothing(case: Case, expected: dict[str, list[Any]]) -> None:
    rng = random.Random(5)
    APPENDED.changes_nothing(case, [f"time:{0.5 + rng.random() * 0.9:.3f}" for _ in range(5)], 5, expected)
