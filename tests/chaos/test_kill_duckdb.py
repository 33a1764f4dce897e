"""kill -9 with a DuckDB file as the decider, beside a second table of the same file."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import duckdb

from tests.chaos.conftest import HEAD, STEPS, Case, source_csv

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WORKFLOW = (
    HEAD
    + """
  table: {type: duckdb, inputs: [big], config: {path: out.duckdb, table: rows}}
  totals: {type: duckdb, inputs: [per_name], write_mode: overwrite, config: {path: out.duckdb, table: totals}}
"""
)
OFTEN = [s for s in STEPS if s[1] in ("seal", "commit", "mark_committed", "prepare", "save_states", "_read_and_run")]
"""Steps of every epoch, so that a run hardly ends before it is killed."""


def everything(folder: Path) -> dict[str, list[Any]]:
    """Return the rows of the tables, sorted."""
    with duckdb.connect(folder / "out.duckdb") as connection:
        return {
            table: sorted(connection.execute(f"select * from {table}").fetchall(), key=repr)
            for table in ("rows", "totals")
        }


def test_ten_random_kills_change_nothing(case: Case, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("calm")
    source_csv(folder)
    calm = Case(folder)
    for each in (calm, case):
        each.file.write_text(WORKFLOW)
    assert calm.run().returncode == 0
    expected = everything(folder)
    assert len(expected["rows"]) == len(set(expected["rows"])) > 9000

    chance = random.Random(23)
    kills = [f"{when}:{step}:{chance.randint(1, 2)}" for when, step in chance.choices(OFTEN, k=10)]
    assert case.run_through(kills, seed=5) >= 5
    assert everything(case.folder) == expected
