"""kill -9 with `ledger: hash`: the sums of a run are those of its rows, however often it was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflare.cli.controlling import manager_of
from dataflare.component import Registry
from dataflare.executor.runtime import LocalRuntime
from dataflare.executor.surroundings import StateOf
from dataflare.expression.row_sums import row_sum
from tests.chaos.conftest import HEAD, Case
from tests.chaos.trials import Trial

if TYPE_CHECKING:
    from pathlib import Path

DESTINATIONS = """
  rows: {type: file, inputs: [big], config: {path: out/rows, format: parquet}}
  names: {type: file, inputs: [per_name], config: {path: out/names, format: parquet}}
  dead: {type: file, inputs: ["*.errors"], config: {path: out/dead, format: jsonl}}
"""


def content(folder: Path) -> dict[str, Any]:
    """Return rows and hash of the edges whose rows do not depend on epochs; and that of what came of them."""
    plan = Case(folder).plan()
    with StateOf.of_plan(plan).existing_store(Registry.installed(), LocalRuntime()) as store:
        edges = manager_of(store, plan.workflow).proposals()[-1].edges
    told = {e: (edges[e]["rows_total"], edges[e]["hash_total"]) for e in ("orders -> typed", *WRITTEN)}
    for edge, name in WRITTEN.items():
        rows = pa.concat_tables([pq.read_table(f) for f in sorted((folder / "out" / name).glob("part-*.parquet"))])
        assert told[edge] == (rows.num_rows, f"{row_sum(rows):032x}"), edge
    return told


WRITTEN = {"big -> rows": "rows", "per_name -> names": "names"}
TRIAL = Trial(HEAD.replace("parallelism: 2", "parallelism: 2\n  ledger: hash") + DESTINATIONS, content)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what an undisturbed run tells."""
    return TRIAL.undisturbed(tmp_path_factory.mktemp("undisturbed"))


def test_kills_before_and_behind_a_seal_change_no_sum(case: Case, expected: dict[str, Any]) -> None:
    kills = ["after:_read_and_run:3", "before:seal:1", "after:seal:1", "before:mark_committed:1", "after:save_states:1"]
    assert TRIAL.changes_nothing(case, kills, 2, expected) >= 3
